//! Goroutines: those that are alike as one group, or one by one.

use std::fmt::{Display, Write as _};
use std::io;

use anstyle::Style;
use tracer_model::ids::{Goid, Pc};
use tracer_model::query::{GroupBy, group};
use tracer_model::snapshot::{Goroutine, Snapshot, StackId};
use tracer_model::symbol::{Frame, Symbolizer};
use tracer_model::wait::{WaitObject, WaitReason};

use super::{BOLD, DIM, NOTICE, count, elapsed, goids, safe, styled, thousands};
use crate::document::WaitingOn;
use crate::rendered::Rendered;

/// How many ids a group shows.
const GOIDS: usize = 10;
/// How much text is written at once, bytes.
const CHUNK: usize = 64 << 10;

/// How to show goroutines of a snapshot.
pub(crate) struct List<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) symbols: &'a dyn Symbolizer,
    /// Frames of a stack at most.
    pub(crate) depth: usize,
    /// Groups or goroutines at most.
    pub(crate) limit: usize,
    /// Whether to use styles at all.
    pub(crate) styles: bool,
}

/// What a stack's text depends on: the stack, the `go` statement and who ran it.
type Origin = (Option<StackId>, Option<Pc>, Option<Goid>);

/// Text on its way out, and the stacks that were rendered already.
struct Writer<'w, W> {
    out: &'w mut W,
    text: String,
    stacks: Rendered<Origin, str>,
}

impl<'w, W: io::Write> Writer<'w, W> {
    fn new(out: &'w mut W) -> Self {
        Self {
            out,
            text: String::new(),
            stacks: Rendered::new(),
        }
    }

    /// Writes what there is, if that is worth it.
    fn advance(&mut self) -> io::Result<()> {
        if self.text.len() < CHUNK {
            return Ok(());
        }
        self.end()
    }

    /// Writes what there is.
    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

impl List<'_> {
    /// Shows the goroutines at these indices in groups, the largest first.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub(crate) fn grouped(
        &self,
        indices: &[usize],
        by: &GroupBy,
        out: &mut impl io::Write,
    ) -> io::Result<()> {
        let groups = group(self.snapshot, indices.iter().copied(), by, self.symbols);
        let mut writer = Writer::new(out);
        for group in groups.iter().take(self.limit) {
            let members: Vec<&Goroutine> = group
                .members
                .iter()
                .filter_map(|index| self.snapshot.goroutines.get(*index))
                .collect();
            match by {
                GroupBy::Stack => self.alike(&mut writer, &members),
                _ => self.labelled(&mut writer.text, &group.label, &members),
            }
            writer.advance()?;
        }
        self.note_rest(&mut writer.text, groups.len(), "group");
        writer.end()
    }

    /// Shows the goroutines at these indices one by one.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub(crate) fn each(&self, indices: &[usize], out: &mut impl io::Write) -> io::Result<()> {
        let mut writer = Writer::new(out);
        for goroutine in indices
            .iter()
            .take(self.limit)
            .filter_map(|index| self.snapshot.goroutines.get(*index))
        {
            self.alike(&mut writer, &[goroutine]);
            writer.advance()?;
        }
        self.note_rest(&mut writer.text, indices.len(), "goroutine");
        writer.end()
    }

    fn styled(&self, style: Style, text: impl Display) -> String {
        match self.styles {
            true => styled(style, text),
            false => text.to_string(),
        }
    }

    fn note_rest(&self, text: &mut String, all: usize, noun: &str) {
        if all > self.limit {
            let rest = count(all - self.limit, noun);
            let _ = writeln!(
                text,
                "{}",
                self.styled(DIM, format!("and {rest} more (--limit)"))
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
            self.styled(BOLD, safe(label)),
            self.styled(NOTICE, longest),
            self.styled(DIM, format!("goid {}", goids(&ids, GOIDS))),
        );
    }

    /// Goroutines that a person would tell apart only by their ids.
    fn alike<W: io::Write>(&self, writer: &mut Writer<'_, W>, members: &[&Goroutine]) {
        let Some(first) = members.first() else { return };
        let Writer { text, stacks, .. } = writer;
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
            self.styled(BOLD, heading),
            self.styled(NOTICE, state),
            self.styled(DIM, format!("goid {}", goids(&ids, GOIDS))),
        );
        for (key, value) in &first.labels {
            let _ = writeln!(
                text,
                "    {}",
                self.styled(DIM, safe(&format!("label {key}={value}")))
            );
        }
        let key = (first.stack, first.created_at.get(), first.parent.get());
        text.push_str(&stacks.get(key, || self.stack(first).into()));
    }

    /// A goroutine's stack and who created it.
    fn stack(&self, goroutine: &Goroutine) -> String {
        let mut text = String::new();
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
                safe(&frame.function),
                safe(&frame.file),
                frame.line
            );
        }
        if frames.len() > self.depth {
            let _ = writeln!(
                text,
                "    {}",
                self.styled(
                    DIM,
                    format!("{} more frames (--depth)", frames.len() - self.depth)
                )
            );
        }
        if stack.is_empty() {
            let _ = writeln!(
                text,
                "    {}",
                self.styled(DIM, "no stack: it runs, or moved while it was read")
            );
        }
        if let Some(frame) = goroutine
            .created_at
            .get()
            .and_then(|pc| self.symbols.frames(pc).first().cloned())
        {
            let by = goroutine
                .parent
                .get()
                .map_or(String::new(), |parent| format!(" in goroutine {parent}"));
            let function = safe(&frame.function);
            let created = self.styled(DIM, format!("created by {function}{by}"));
            let file = safe(&frame.file);
            let _ = writeln!(text, "    {created}\n        {file}:{}", frame.line);
        }
        text.push('\n');
        text
    }

    fn waited(&self, goroutine: &Goroutine) -> Option<u64> {
        let since = goroutine.wait.as_ref()?.since.get()?;
        Some(self.snapshot.finished.since(since))
    }
}

/// What a goroutine waits on, a line each, and who else waits there.
pub(crate) fn waits_on(goroutine: &Goroutine, snapshot: &Snapshot) -> Vec<String> {
    let Some(wait) = &goroutine.wait else {
        return Vec::new();
    };
    if let Some(until) = goroutine.sleeps_until.get() {
        let left = elapsed(until.since(snapshot.finished));
        return vec![format!("sleeps for {left} more")];
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracer_model::ids::{GAddr, Ktime};
    use tracer_model::snapshot::State;

    use super::*;

    /// Every name is a terminal's command.
    struct Hostile;

    impl Symbolizer for Hostile {
        fn frames(&self, _: Pc) -> Arc<[Frame]> {
            Arc::from([Frame {
                function: "main.\x1b[2Jf".into(),
                file: "/src/\r\u{9b}1A.go".into(),
                line: 3,
                inlined: false,
            }])
        }
    }

    #[test]
    fn names_and_labels_cannot_command_the_terminal() {
        let snapshot = Snapshot {
            goroutines: vec![Goroutine {
                at: Ktime(1),
                goid: Goid(1),
                gaddr: GAddr(0xc000),
                state: State::Runnable,
                wait: None,
                sleeps_until: None.into(),
                system: false,
                parent: None.into(),
                created_at: Pc(1).into(),
                start: None.into(),
                stack: Some(StackId(0)),
                stops: None,
                stack_bytes: None.into(),
                labels: vec![("\x1b]0;k\x07".into(), "v\nfake line\u{202e}".into())].into(),
                moving: false,
            }],
            stacks: vec![Box::from([Pc(2)])],
            ..Snapshot::default()
        };
        let list = List {
            snapshot: &snapshot,
            symbols: &Hostile,
            depth: 8,
            limit: 8,
            styles: false,
        };
        let mut shown = Vec::new();
        let by = GroupBy::Label("\x1b]0;k\x07".to_owned());
        list.grouped(&[0], &by, &mut shown).expect("a vector");
        list.each(&[0], &mut shown).expect("a vector");
        let shown = String::from_utf8(shown).expect("text");
        let obeyed = |character: &char| character.is_control() && *character != '\n';
        assert_eq!(shown.chars().find(obeyed), None, "{shown:?}");
        for expected in [
            r"main.\u{1b}[2Jf",
            r"/src/\r\u{9b}1A.go:3",
            r"label \u{1b}]0;k\u{7}=v\nfake line\u{202e}",
        ] {
            assert!(shown.contains(expected), "no {expected} in {shown:?}");
        }
    }
}
