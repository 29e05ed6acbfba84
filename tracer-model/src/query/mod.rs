//! Choosing, grouping and ordering the goroutines of a snapshot, by the criteria that Delve's users
//! know.
//!
//! A [`Filter`] is what was asked for, an [`Index`] a snapshot prepared for being asked.
//! [`Filter::bind`] brings them together: every question about a place is answered once for each
//! distinct stack or program counter, so that [`Bound::choose`] looks at each goroutine for a
//! nanosecond or so, and does not allocate.

mod criterion;
mod group;
mod index;
mod sort;

use std::fmt::Write as _;

use regex::Regex;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use criterion::{Criterion, CriterionError, Place};
pub use group::{Group, GroupBy, group};
pub use index::Index;
pub use sort::SortBy;

use crate::ids::{Goid, Ktime, Pc};
use crate::snapshot::{Goroutine, State};
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
    goroutines: &'a [Goroutine],
    with: Tests<'a>,
    without: Tests<'a>,
}

/// Few enough of them allocate nothing.
type Tests<'a> = SmallVec<[Test<'a>; 2]>;

/// A criterion with its questions about places answered.
#[derive(Debug)]
enum Test<'a> {
    Direct {
        criterion: &'a Criterion,
        goroutines: &'a [Goroutine],
        now: Ktime,
    },
    State(State, &'a [State]),
    Reasons(Vec<WaitReason>, &'a [Goroutine]),
    /// Numbers of each goroutine's place, and the answer for each place.
    Places(&'a [u32], Vec<bool>),
    Anything(Box<Anything<'a>>),
}

/// Whether a text is in anything that is shown of a goroutine.
#[derive(Debug)]
struct Anything<'a> {
    pattern: &'a Regex,
    goid: Option<Goid>,
    goroutines: &'a [Goroutine],
    states: Vec<State>,
    reasons: Vec<WaitReason>,
    /// As of [`Test::Places`].
    stacks: (&'a [u32], Vec<bool>),
    created: (&'a [u32], Vec<bool>),
}

impl Anything<'_> {
    fn holds(&self, position: usize) -> bool {
        let Some(goroutine) = self.goroutines.get(position) else {
            return false;
        };
        let place = |(ids, answers): &(&[u32], Vec<bool>)| {
            ids.get(position).is_some_and(|id| answer(answers, *id))
        };
        self.goid == Some(goroutine.goid)
            || self.states.contains(&goroutine.state)
            || waits_for(goroutine, &self.reasons)
            || place(&self.stacks)
            || place(&self.created)
            || goroutine
                .labels
                .iter()
                .any(|(key, value)| self.pattern.is_match(key) || self.pattern.is_match(value))
    }
}

impl Filter {
    /// Prepares the filter for the goroutines of a snapshot.
    pub fn bind<'a>(&'a self, index: &'a Index<'_>, symbols: &dyn Symbolizer) -> Bound<'a> {
        let tests = |criteria: &'a [Criterion]| {
            criteria
                .iter()
                .map(|criterion| Test::new(criterion, index, symbols))
                .collect()
        };
        Bound {
            goroutines: &index.snapshot.goroutines,
            with: tests(&self.with),
            without: tests(&self.without),
        }
    }
}

impl Bound<'_> {
    /// Puts into `chosen` the positions in [`Snapshot::goroutines`] of those that the filter lets
    /// pass, in order. A list that has room is filled without allocating.
    ///
    /// [`Snapshot::goroutines`]: crate::snapshot::Snapshot::goroutines
    pub fn choose(&self, chosen: &mut Vec<usize>) {
        let with = self.with.iter().map(|test| (test, true));
        let without = self.without.iter().map(|test| (test, false));
        let mut tests = with.chain(without);
        chosen.clear();
        match tests.next() {
            Some((test, wanted)) => test.choose(wanted, chosen),
            None => chosen.extend(0..self.goroutines.len()),
        }
        for (test, wanted) in tests {
            chosen.retain(|&position| test.holds(position) == wanted);
        }
    }
}

/// Puts the positions of items for which `keeps` says so into an empty list.
fn positions<T>(items: &[T], chosen: &mut Vec<usize>, keeps: impl Fn(&T) -> bool) {
    chosen.resize(items.len(), 0);
    let mut kept = 0;
    // Without a branch on the answer, which nothing could predict.
    for (position, item) in items.iter().enumerate() {
        chosen[kept] = position;
        kept += usize::from(keeps(item));
    }
    chosen.truncate(kept);
}

/// Whether places match a pattern, each looked at once.
struct Matcher<'m> {
    pattern: &'m Regex,
    symbols: &'m dyn Symbolizer,
    /// Of a program counter: whether its innermost frame matches, and whether any does.
    known: FxHashMap<Pc, (bool, bool)>,
    text: String,
}

impl<'m> Matcher<'m> {
    fn new(pattern: &'m Regex, symbols: &'m dyn Symbolizer) -> Self {
        Self {
            pattern,
            symbols,
            known: FxHashMap::default(),
            text: String::new(),
        }
    }

    fn frame(&mut self, frame: &Frame) -> bool {
        if self.pattern.is_match(&frame.function) {
            return true;
        }
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{}:{}", frame.file, frame.line);
        self.pattern.is_match(&self.text)
    }

    fn at(&mut self, pc: Pc) -> (bool, bool) {
        if let Some(&answer) = self.known.get(&pc) {
            return answer;
        }
        let frames = self.symbols.frames(pc);
        let innermost = frames.first().is_some_and(|frame| self.frame(frame));
        let any = innermost || frames.iter().skip(1).any(|frame| self.frame(frame));
        self.known.insert(pc, (innermost, any));
        (innermost, any)
    }

    fn innermost(&mut self, pc: Pc) -> bool {
        self.at(pc).0
    }

    fn any(&mut self, pc: Pc) -> bool {
        self.at(pc).1
    }

    /// The answer for the innermost frame at each of these program counters.
    fn innermost_at(&mut self, pcs: &[Pc]) -> Vec<bool> {
        pcs.iter().map(|&pc| self.innermost(pc)).collect()
    }
}

impl<'a> Test<'a> {
    fn new(criterion: &'a Criterion, index: &'a Index<'_>, symbols: &dyn Symbolizer) -> Test<'a> {
        let goroutines = &index.snapshot.goroutines[..];
        let (place, pattern) = match criterion {
            Criterion::Text { pattern, goid } => {
                return Test::anything(pattern, *goid, index, symbols);
            }
            Criterion::State(state) => return Test::State(*state, &index.states),
            Criterion::Reason(text) => {
                let reasons = WaitReason::KNOWN.iter().copied();
                let named = reasons.filter(|reason| reason.text().contains(text.as_str()));
                return Test::Reasons(named.collect(), goroutines);
            }
            Criterion::Place(place, pattern) => (*place, pattern),
            criterion => {
                return Test::Direct {
                    criterion,
                    goroutines,
                    now: index.snapshot.finished,
                };
            }
        };
        let mut matcher = Matcher::new(pattern, symbols);
        let stacks = |holds: &mut dyn FnMut(&[Pc]) -> bool| {
            let answers = index.snapshot.stacks.iter().map(|stack| holds(stack));
            Test::Places(&index.stacks, answers.collect())
        };
        match place {
            Place::Current => {
                stacks(&mut |stack| stack.first().is_some_and(|&pc| matcher.innermost(pc)))
            }
            Place::User => stacks(&mut |stack| {
                user_frame(stack, symbols).is_some_and(|frame| matcher.frame(&frame))
            }),
            Place::AnyFrame => stacks(&mut |stack| stack.iter().any(|&pc| matcher.any(pc))),
            Place::Go => Test::Places(
                &index.created.ids,
                matcher.innermost_at(&index.created.distinct),
            ),
            Place::Start => Test::Places(
                &index.start.ids,
                matcher.innermost_at(&index.start.distinct),
            ),
        }
    }

    fn anything(
        pattern: &'a Regex,
        goid: Option<Goid>,
        index: &'a Index<'_>,
        symbols: &dyn Symbolizer,
    ) -> Test<'a> {
        let mut matcher = Matcher::new(pattern, symbols);
        let reasons = WaitReason::KNOWN.iter().copied();
        let stacks = index.snapshot.stacks.iter();
        let stacks = stacks.map(|stack| stack.iter().any(|&pc| matcher.any(pc)));
        let stacks = stacks.collect();
        Test::Anything(Box::new(Anything {
            pattern,
            goid,
            goroutines: &index.snapshot.goroutines,
            states: State::ALL
                .into_iter()
                .filter(|state| pattern.is_match(state.name()))
                .collect(),
            reasons: reasons
                .filter(|reason| pattern.is_match(reason.text()))
                .collect(),
            stacks: (&index.stacks, stacks),
            created: (
                &index.created.ids,
                matcher.innermost_at(&index.created.distinct),
            ),
        }))
    }

    /// Puts the positions of goroutines for which the test's answer is `wanted` into an empty list.
    fn choose(&self, wanted: bool, chosen: &mut Vec<usize>) {
        match self {
            Test::Direct {
                criterion,
                goroutines,
                now,
            } => positions(goroutines, chosen, |goroutine| {
                criterion.holds(goroutine, *now) == wanted
            }),
            Test::State(state, states) => {
                positions(states, chosen, |other| (other == state) == wanted);
            }
            Test::Reasons(reasons, goroutines) => positions(goroutines, chosen, |goroutine| {
                waits_for(goroutine, reasons) == wanted
            }),
            Test::Places(ids, answers) => {
                positions(ids, chosen, |id| answer(answers, *id) == wanted);
            }
            Test::Anything(anything) => {
                let all = 0..anything.goroutines.len();
                chosen.extend(all.filter(|&position| anything.holds(position) == wanted));
            }
        }
    }

    /// The answer for the goroutine at one position.
    fn holds(&self, position: usize) -> bool {
        match self {
            Test::Direct {
                criterion,
                goroutines,
                now,
            } => goroutines
                .get(position)
                .is_some_and(|goroutine| criterion.holds(goroutine, *now)),
            Test::State(state, states) => states.get(position) == Some(state),
            Test::Reasons(reasons, goroutines) => goroutines
                .get(position)
                .is_some_and(|goroutine| waits_for(goroutine, reasons)),
            Test::Places(ids, answers) => ids.get(position).is_some_and(|id| answer(answers, *id)),
            Test::Anything(anything) => anything.holds(position),
        }
    }
}

fn waits_for(goroutine: &Goroutine, reasons: &[WaitReason]) -> bool {
    let wait = goroutine.wait.as_ref();
    wait.is_some_and(|wait| reasons.contains(&wait.reason))
}

/// Nothing matches where there is no place.
fn answer(answers: &[bool], id: u32) -> bool {
    answers.get(id as usize).copied().unwrap_or_default()
}

impl Criterion {
    /// Answers the criteria that are asked of a goroutine itself.
    fn holds(&self, goroutine: &Goroutine, now: Ktime) -> bool {
        match self {
            Criterion::User => !goroutine.system,
            Criterion::System => goroutine.system,
            Criterion::Running => matches!(goroutine.state, State::Running | State::Syscall),
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
                .and_then(|wait| wait.since.get())
                .is_some_and(|since| now.since(since) > *nanos),
            Criterion::CreatedBy(parent) => goroutine.parent.get() == Some(*parent),
            Criterion::Goid(goid) => goroutine.goid == *goid,
            // `Test::new` makes tests of their own of these.
            Criterion::State(_)
            | Criterion::Reason(_)
            | Criterion::Place(..)
            | Criterion::Text { .. } => false,
        }
    }
}
