//! Goroutines that have something in common.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::ids::Pc;
use crate::snapshot::{Goroutine, Snapshot, StackId, State};
use crate::symbol::{Symbolizer, user_frame};
use crate::wait::{WaitObject, WaitReason};

/// What the members of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Their state.
    State,
    /// Their wait reason.
    Reason,
    /// The value of this pprof label.
    Label(String),
    /// The innermost frame.
    Current,
    /// The innermost frame of the user's code.
    User,
    /// The `go` statement.
    Go,
    /// The function they began with.
    Start,
    /// The channel they wait on.
    Chan,
    /// State, wait reason, whole stack and creation site: alike but for their ids.
    Stack,
    /// State or wait reason, and the innermost frame of the user's code.
    Wait,
}

/// Goroutines with something in common, by their index in [`Snapshot::goroutines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common, for people; empty for [`GroupBy::Stack`], which shows the stack.
    pub label: String,
    /// The members, in the order given.
    pub members: Vec<usize>,
}

/// What two goroutines must share to be in one group, before it is spelled out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    State(State),
    Reason(Option<WaitReason>),
    Text(Option<&'a str>),
    Stack(Option<StackId>),
    Pc(Option<Pc>),
    Objects(Vec<WaitObject>),
    Alike(State, Option<WaitReason>, Option<StackId>, Option<Pc>),
}

/// Groups the goroutines at `indices`, the largest group first, equals in the order of appearance.
pub fn group(
    snapshot: &Snapshot,
    indices: impl IntoIterator<Item = usize>,
    by: &GroupBy,
    symbols: &dyn Symbolizer,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_key: FxHashMap<Key<'_>, usize> = FxHashMap::default();
    // Different stacks can have the same place, so places are compared as they are spelled.
    let mut by_label: FxHashMap<String, usize> = FxHashMap::default();
    for index in indices {
        let Some(goroutine) = snapshot.goroutines.get(index) else {
            continue;
        };
        let place = *by_key.entry(key(goroutine, by)).or_insert_with(|| {
            let label = label(snapshot, goroutine, by, symbols);
            let fresh = groups.len();
            let place = if *by == GroupBy::Stack {
                fresh
            } else {
                *by_label.entry(label.clone()).or_insert(fresh)
            };
            if place == fresh {
                groups.push(Group {
                    label,
                    members: Vec::new(),
                });
            }
            place
        });
        if let Some(group) = groups.get_mut(place) {
            group.members.push(index);
        }
    }
    groups.sort_by_key(|group| Reverse(group.members.len()));
    groups
}

fn key<'a>(goroutine: &'a Goroutine, by: &GroupBy) -> Key<'a> {
    let reason = goroutine.wait.as_ref().map(|wait| wait.reason);
    match by {
        GroupBy::State => Key::State(goroutine.state),
        GroupBy::Reason => Key::Reason(reason),
        GroupBy::Label(name) => Key::Text(label_value(goroutine, name)),
        GroupBy::Current | GroupBy::User => Key::Stack(goroutine.stack),
        GroupBy::Wait => Key::Alike(goroutine.state, reason, goroutine.stack, None),
        GroupBy::Go => Key::Pc(goroutine.created_at.get()),
        GroupBy::Start => Key::Pc(goroutine.start.get()),
        GroupBy::Chan => Key::Objects(
            goroutine
                .wait
                .iter()
                .flat_map(|wait| wait.objects.iter().copied())
                .collect(),
        ),
        GroupBy::Stack => Key::Alike(
            goroutine.state,
            reason,
            goroutine.stack,
            goroutine.created_at.get(),
        ),
    }
}

fn label(
    snapshot: &Snapshot,
    goroutine: &Goroutine,
    by: &GroupBy,
    symbols: &dyn Symbolizer,
) -> String {
    let at = |pc: Option<Pc>| {
        let frame = pc.and_then(|pc| symbols.frames(pc).first().cloned());
        frame.map_or_else(
            || "unknown".to_owned(),
            |frame| format!("{} {}:{}", frame.function, frame.file, frame.line),
        )
    };
    match by {
        GroupBy::State => goroutine.state.to_string(),
        GroupBy::Reason => goroutine
            .wait
            .as_ref()
            .map_or_else(|| "not waiting".to_owned(), |wait| wait.reason.to_string()),
        GroupBy::Label(name) => match label_value(goroutine, name) {
            Some(value) => format!("{name}={value}"),
            None => format!("no label {name}"),
        },
        GroupBy::Current => at(snapshot.stack(goroutine).first().copied()),
        GroupBy::Wait => {
            let doing = goroutine.wait.as_ref().map_or_else(
                || goroutine.state.to_string(),
                |wait| wait.reason.to_string(),
            );
            let place = label(snapshot, goroutine, &GroupBy::User, symbols);
            format!("{doing}: {place}")
        }
        GroupBy::User => user_frame(snapshot.stack(goroutine), symbols).map_or_else(
            || "unknown".to_owned(),
            |frame| format!("{} {}:{}", frame.function, frame.file, frame.line),
        ),
        GroupBy::Go => at(goroutine.created_at.get()),
        GroupBy::Start => at(goroutine.start.get()),
        GroupBy::Chan => {
            let chans: Vec<String> = goroutine
                .wait
                .iter()
                .flat_map(|wait| &wait.objects)
                .filter_map(|object| match object {
                    WaitObject::Chan { chan, .. } => Some(chan.to_string()),
                    _ => None,
                })
                .collect();
            if chans.is_empty() {
                "no channel".to_owned()
            } else {
                chans.join(", ")
            }
        }
        GroupBy::Stack => String::new(),
    }
}

fn label_value<'a>(goroutine: &'a Goroutine, name: &str) -> Option<&'a str> {
    goroutine
        .labels
        .iter()
        .find(|(key, _)| **key == *name)
        .map(|(_, value)| &**value)
}
