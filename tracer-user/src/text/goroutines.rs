//! Goroutines: those that are alike as one group, or one by one.

use std::fmt::Write as _;

use tracer_model::ids::Goid;
use tracer_model::query::{GroupBy, group};
use tracer_model::snapshot::{Goroutine, Snapshot};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{WaitObject, WaitReason};

use super::{BOLD, DIM, NOTICE, count, elapsed, goids, styled, thousands};
use crate::document::WaitingOn;

/// How many ids a group shows.
const GOIDS: usize = 10;

/// How to show goroutines of a snapshot.
pub(crate) struct List<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) symbols: &'a dyn Symbolizer,
    /// Frames of a stack at most.
    pub(crate) depth: usize,
    /// Groups or goroutines at most.
    pub(crate) limit: usize,
}

impl List<'_> {
    /// Shows the goroutines at these indices in groups, the largest first.
    pub(crate) fn grouped(&self, indices: &[usize], by: &GroupBy) -> String {
        let groups = group(self.snapshot, indices.iter().copied(), by, self.symbols);
        let mut text = String::new();
        for group in groups.iter().take(self.limit) {
            let members: Vec<&Goroutine> = group
                .members
                .iter()
                .filter_map(|index| self.snapshot.goroutines.get(*index))
                .collect();
            match (by, &members[..]) {
                (GroupBy::Stack, members) => self.alike(&mut text, members),
                (_, members) => self.labelled(&mut text, &group.label, members),
            }
        }
        self.note_rest(&mut text, groups.len(), "group");
        text
    }

    /// Shows the goroutines at these indices one by one.
    pub(crate) fn each(&self, indices: &[usize]) -> String {
        let mut text = String::new();
        for goroutine in indices
            .iter()
            .take(self.limit)
            .filter_map(|index| self.snapshot.goroutines.get(*index))
        {
            self.alike(&mut text, &[goroutine]);
        }
        self.note_rest(&mut text, indices.len(), "goroutine");
        text
    }

    fn note_rest(&self, text: &mut String, all: usize, noun: &str) {
        if all > self.limit {
            let rest = count(all - self.limit, noun);
            let _ = writeln!(
                text,
                "{}",
                styled(DIM, format!("and {rest} more (--limit)"))
            );
        }
    }

    /// A group with something in common but the stack.
    fn labelled(&self, text: &mut String, label: &str, members: &[&Goroutine]) {
        let ids: Vec<Goid> = members.iter().map(|goroutine| goroutine.goid).collect();
        let longest = members
            .iter()
            .filter_map(|goroutine| self.waited(goroutine))
            .max();
        let longest = longest.map_or(String::new(), |nanos| {
            format!(", longest wait {} or more", elapsed(nanos))
        });
        let _ = writeln!(
            text,
            "{:>7}  {}{}\n         {}",
            thousands(members.len() as u64),
            styled(BOLD, label),
            styled(NOTICE, longest),
            styled(DIM, format!("goid {}", goids(&ids, GOIDS))),
        );
    }

    /// Goroutines that a person would tell apart only by their ids.
    fn alike(&self, text: &mut String, members: &[&Goroutine]) {
        let Some(first) = members.first() else { return };
        let ids: Vec<Goid> = members.iter().map(|goroutine| goroutine.goid).collect();
        let longest = members
            .iter()
            .filter_map(|goroutine| self.waited(goroutine))
            .max();
        let heading = format!(
            "{}{}",
            if first.system { "runtime: " } else { "" },
            count(members.len(), "goroutine")
        );
        let mut state = first.state.to_string();
        if let Some(wait) = first
            .wait
            .as_ref()
            .filter(|wait| wait.reason != WaitReason::None)
        {
            let _ = write!(state, ": {}", wait.reason);
        }
        if let Some(longest) = longest {
            let longest_of = if members.len() > 1 { "longest" } else { "for" };
            let _ = write!(state, ", {longest_of} {} or more", elapsed(longest));
        }
        if first.moving {
            state.push_str(", moving");
        }
        let _ = writeln!(
            text,
            "{}  {}  {}",
            styled(BOLD, heading),
            styled(NOTICE, state),
            styled(DIM, format!("goid {}", goids(&ids, GOIDS))),
        );
        for (key, value) in &first.labels {
            let _ = writeln!(text, "    {}", styled(DIM, format!("label {key}={value}")));
        }
        self.stack(text, first);
    }

    fn stack(&self, text: &mut String, goroutine: &Goroutine) {
        let stack = self.snapshot.stack(goroutine);
        let frames: Vec<Frame> = stack
            .iter()
            .flat_map(|pc| self.symbols.frames(*pc).to_vec())
            .collect();
        for frame in frames.iter().take(self.depth) {
            let inlined = if frame.inlined { " (inlined)" } else { "" };
            let _ = writeln!(
                text,
                "    {}{inlined}\n        {}:{}",
                frame.function, frame.file, frame.line
            );
        }
        if frames.len() > self.depth {
            let _ = writeln!(
                text,
                "    {}",
                styled(
                    DIM,
                    format!("{} more frames (--depth)", frames.len() - self.depth)
                )
            );
        }
        if stack.is_empty() {
            let _ = writeln!(
                text,
                "    {}",
                styled(DIM, "no stack: it runs, or moved while it was read")
            );
        }
        if let Some(frame) = goroutine
            .created_at
            .and_then(|pc| self.symbols.frames(pc).first().cloned())
        {
            let by = goroutine
                .parent
                .map_or(String::new(), |parent| format!(" in goroutine {parent}"));
            let created = styled(DIM, format!("created by {}{by}", frame.function));
            let _ = writeln!(text, "    {created}\n        {}:{}", frame.file, frame.line);
        }
        text.push('\n');
    }

    fn waited(&self, goroutine: &Goroutine) -> Option<u64> {
        let since = goroutine.wait.as_ref()?.since?;
        Some(self.snapshot.finished.since(since))
    }
}

/// What a goroutine waits on, a line each, and who else waits there.
pub(crate) fn waits_on(goroutine: &Goroutine, snapshot: &Snapshot) -> Vec<String> {
    let Some(wait) = &goroutine.wait else {
        return Vec::new();
    };
    let clause = |object: &WaitObject| {
        let on = match object {
            WaitObject::Netpoll(_) => WaitingOn::wait(wait, snapshot),
            _ => WaitingOn::object(wait.reason.kind(), *object),
        };
        super::findings::waits(&on)
    };
    wait.objects
        .iter()
        .map(|object| {
            let others: Vec<Goid> = snapshot
                .goroutines
                .iter()
                .filter(|other| other.goid != goroutine.goid)
                .filter(|other| {
                    other
                        .wait
                        .iter()
                        .flat_map(|wait| &wait.objects)
                        .any(|theirs| same(object, theirs))
                })
                .map(|other| other.goid)
                .collect();
            let also = match others.len() {
                0 => "nobody else waits there".to_owned(),
                _ => format!(
                    "{} there: {}",
                    if others.len() == 1 {
                        "one more waits"
                    } else {
                        "others wait"
                    },
                    goids(&others, GOIDS)
                ),
            };
            format!("{}; {also}", clause(object))
        })
        .collect()
}

/// Whether two waits are about the same thing, whichever side.
fn same(one: &WaitObject, other: &WaitObject) -> bool {
    match (one, other) {
        (WaitObject::Chan { chan, .. }, WaitObject::Chan { chan: other, .. }) => chan == other,
        _ => one == other,
    }
}
