//! Choosing, grouping and ordering the goroutines of a snapshot, by the criteria that Delve's users
//! know.
//!
//! A [`Filter`] is what was asked for. [`Filter::bind`] prepares it for one snapshot: every question
//! about a place is answered once for each distinct stack or program counter, so that
//! [`Bound::keeps`] looks at a goroutine without allocating.

mod criterion;
mod group;
mod sort;

use rustc_hash::FxHashMap;

pub use criterion::{Criterion, CriterionError, Place};
pub use group::{Group, GroupBy, group};
pub use sort::SortBy;

use crate::ids::{Ktime, Pc};
use crate::snapshot::{Goroutine, Snapshot, StackId, State};
use crate::symbol::{Frame, Symbolizer, user_frame};
use crate::wait::{WaitObject, WaitReason};

/// Which goroutines are wanted: those that meet every criterion of `with` and none of `without`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Criteria to meet.
    pub with: Vec<Criterion>,
    /// Criteria not to meet.
    pub without: Vec<Criterion>,
}

/// A filter prepared for one snapshot.
#[derive(Debug)]
pub struct Bound<'a> {
    with: Vec<Test<'a>>,
    without: Vec<Test<'a>>,
}

/// A criterion with its questions about places answered.
#[derive(Debug)]
enum Test<'a> {
    Direct {
        criterion: &'a Criterion,
        now: Ktime,
    },
    Reasons(Vec<WaitReason>),
    Stacks(Vec<bool>),
    CreatedAt(FxHashMap<Pc, bool>),
    Start(FxHashMap<Pc, bool>),
}

impl Filter {
    /// Prepares the filter for the goroutines of `snapshot`.
    pub fn bind<'a>(&'a self, snapshot: &Snapshot, symbols: &dyn Symbolizer) -> Bound<'a> {
        let tests = |criteria: &'a [Criterion]| {
            criteria
                .iter()
                .map(|criterion| Test::new(criterion, snapshot, symbols))
                .collect()
        };
        Bound {
            with: tests(&self.with),
            without: tests(&self.without),
        }
    }
}

impl Bound<'_> {
    /// Whether the filter lets this goroutine, of the snapshot it was bound to, pass.
    pub fn keeps(&self, goroutine: &Goroutine) -> bool {
        self.with.iter().all(|test| test.holds(goroutine))
            && !self.without.iter().any(|test| test.holds(goroutine))
    }
}

impl<'a> Test<'a> {
    fn new(criterion: &'a Criterion, snapshot: &Snapshot, symbols: &dyn Symbolizer) -> Test<'a> {
        let matches = |frame: &Frame, pattern: &regex::Regex| {
            pattern.is_match(&frame.function)
                || pattern.is_match(&format!("{}:{}", frame.file, frame.line))
        };
        let at = |pc: Pc, pattern: &regex::Regex| {
            symbols
                .frames(pc)
                .first()
                .is_some_and(|frame| matches(frame, pattern))
        };
        let places = |pcs: &mut dyn Iterator<Item = Pc>, pattern: &regex::Regex| {
            let mut known = FxHashMap::default();
            for pc in pcs {
                known.entry(pc).or_insert_with(|| at(pc, pattern));
            }
            known
        };
        let goroutines = || snapshot.goroutines.iter();
        match criterion {
            Criterion::Reason(text) => Test::Reasons(
                WaitReason::KNOWN
                    .iter()
                    .copied()
                    .filter(|reason| reason.text().contains(text.as_str()))
                    .collect(),
            ),
            Criterion::Place(Place::Current, pattern) => Test::stacks(snapshot, |stack| {
                stack.first().is_some_and(|pc| at(*pc, pattern))
            }),
            Criterion::Place(Place::User, pattern) => Test::stacks(snapshot, |stack| {
                user_frame(stack, symbols).is_some_and(|frame| matches(&frame, pattern))
            }),
            Criterion::Place(Place::AnyFrame, pattern) => Test::stacks(snapshot, |stack| {
                stack.iter().any(|pc| {
                    symbols
                        .frames(*pc)
                        .iter()
                        .any(|frame| matches(frame, pattern))
                })
            }),
            Criterion::Place(Place::Go, pattern) => Test::CreatedAt(places(
                &mut goroutines().filter_map(|goroutine| goroutine.created_at),
                pattern,
            )),
            Criterion::Place(Place::Start, pattern) => Test::Start(places(
                &mut goroutines().filter_map(|goroutine| goroutine.start),
                pattern,
            )),
            criterion => Test::Direct {
                criterion,
                now: snapshot.finished,
            },
        }
    }

    fn stacks(snapshot: &Snapshot, holds: impl Fn(&[Pc]) -> bool) -> Test<'a> {
        Test::Stacks(snapshot.stacks.iter().map(|stack| holds(stack)).collect())
    }

    fn holds(&self, goroutine: &Goroutine) -> bool {
        let known = |answers: &FxHashMap<Pc, bool>, pc: Option<Pc>| {
            pc.and_then(|pc| answers.get(&pc))
                .copied()
                .unwrap_or_default()
        };
        match self {
            Test::Direct { criterion, now } => criterion.holds(goroutine, *now),
            Test::Reasons(reasons) => goroutine
                .wait
                .as_ref()
                .is_some_and(|wait| reasons.contains(&wait.reason)),
            Test::Stacks(answers) => goroutine
                .stack
                .and_then(|StackId(index)| answers.get(index as usize))
                .copied()
                .unwrap_or_default(),
            Test::CreatedAt(answers) => known(answers, goroutine.created_at),
            Test::Start(answers) => known(answers, goroutine.start),
        }
    }
}

impl Criterion {
    /// Answers the criteria that need no symbols.
    fn holds(&self, goroutine: &Goroutine, now: Ktime) -> bool {
        match self {
            Criterion::User => !goroutine.system,
            Criterion::System => goroutine.system,
            Criterion::Running => matches!(goroutine.state, State::Running | State::Syscall),
            Criterion::State(state) => goroutine.state == *state,
            Criterion::Label { key, value } => goroutine.labels.iter().any(|(name, content)| {
                **name == **key && value.as_ref().is_none_or(|value| **content == **value)
            }),
            Criterion::Chan(wanted) => goroutine
                .wait
                .iter()
                .flat_map(|wait| &wait.objects)
                .any(|object| matches!(object, WaitObject::Chan { chan, .. } if chan == wanted)),
            Criterion::WaitingLonger(nanos) => goroutine
                .wait
                .as_ref()
                .and_then(|wait| wait.since)
                .is_some_and(|since| now.since(since) > *nanos),
            Criterion::CreatedBy(parent) => goroutine.parent == Some(*parent),
            Criterion::Reason(text) => goroutine
                .wait
                .as_ref()
                .is_some_and(|wait| wait.reason.text().contains(text.as_str())),
            // Bound to a snapshot's places by `Test::new`; without symbols nothing matches.
            Criterion::Place(..) => false,
        }
    }
}
