//! Goroutines as the protocol's threads: which are listed, in which order, and what each is called.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::detect::Finding;
use tracer_model::ids::Goid;
use tracer_model::query::Filter;
use tracer_model::snapshot::{Goroutine, Snapshot, StackId};
use tracer_model::symbol::{Symbolizer, user_frame};
use tracer_model::wait::WaitReason;

use super::protocol::Thread;
use crate::listing;
use crate::text::{elapsed, safe};

/// What is wrong with a goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Index of the finding.
    pub(crate) finding: u32,
    /// Whether the finding's verdict holds for this goroutine too.
    pub(crate) confirmed: bool,
}

/// Findings by the goroutines that they are about.
pub(crate) type Marks = FxHashMap<Goid, Vec<Mark>>;

/// Collects them.
pub(crate) fn marks(findings: &[Finding]) -> Marks {
    let mut marks = Marks::default();
    for (finding, number) in findings.iter().zip(0..) {
        let confirmed = finding.goroutines.iter().map(|goid| (goid, true));
        let unconfirmed = finding.unconfirmed.iter().map(|goid| (goid, false));
        for (goid, confirmed) in confirmed.chain(unconfirmed) {
            marks.entry(*goid).or_default().push(Mark {
                finding: number,
                confirmed,
            });
        }
    }
    marks
}

/// Positions of the goroutines that are listed: those with findings first, the surest first of all, then
/// in the order of their ids.
pub(crate) fn choose(
    snapshot: &Snapshot,
    filter: &Filter,
    symbols: &dyn Symbolizer,
    findings: &[Finding],
    marks: &Marks,
) -> Vec<usize> {
    let mut chosen = listing::choose(snapshot, filter, symbols);
    chosen.sort_by_cached_key(|&position| {
        let goid = snapshot.goroutines[position].goid;
        let surest = marks.get(&goid).and_then(|marks| {
            let confirmed = marks.iter().filter(|mark| mark.confirmed);
            let verdicts = confirmed.filter_map(|mark| findings.get(mark.finding as usize));
            verdicts.map(|finding| finding.verdict).max()
        });
        (Reverse(surest), goid)
    });
    chosen
}

/// What goroutines of a snapshot are called.
pub(crate) struct Names<'a> {
    snapshot: &'a Snapshot,
    symbols: &'a dyn Symbolizer,
    /// Where each stack is in the user's code; many goroutines share one.
    places: FxHashMap<StackId, Arc<str>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, symbols: &'a dyn Symbolizer) -> Names<'a> {
        Names {
            snapshot,
            symbols,
            places: FxHashMap::default(),
        }
    }

    /// The threads for these positions.
    pub(crate) fn threads(
        &mut self,
        positions: &[usize],
        findings: &[Finding],
        marks: &Marks,
        unsure: &[Goid],
    ) -> Vec<Thread> {
        let goroutines = &self.snapshot.goroutines;
        let chosen = positions.iter().filter_map(|&at| goroutines.get(at));
        chosen
            .map(|goroutine| {
                let goid = goroutine.goid;
                let marks = marks.get(&goid).map_or(&[][..], |marks| marks);
                let mut name = self.name(goroutine, unsure.binary_search(&goid).is_ok());
                for mark in marks {
                    if let Some(finding) = findings.get(mark.finding as usize) {
                        let _ = write!(name, " {}", marked(finding, *mark));
                    }
                }
                Thread { id: goid.0, name }
            })
            .collect()
    }

    /// `[Go 42] main.worker (chan receive, ≥ 61.0 s)`.
    pub(crate) fn name(&mut self, goroutine: &Goroutine, unsure: bool) -> String {
        let place = self.place(goroutine);
        let mut name = format!("[Go {}] {place} ({}", goroutine.goid, state(goroutine));
        if let Some(since) = goroutine.wait.as_ref().and_then(|wait| wait.since.get()) {
            let waited = elapsed(self.snapshot.finished.since(since));
            let _ = write!(name, ", ≥ {waited}");
        }
        if goroutine.moving {
            name.push_str(", moving");
        }
        if unsure {
            name.push_str(", not known for sure");
        }
        name.push(')');
        name
    }

    /// The function of the user's that it is in, else the one that it began with.
    fn place(&mut self, goroutine: &Goroutine) -> Arc<str> {
        if let Some(place) = goroutine.stack.and_then(|stack| self.places.get(&stack)) {
            return Arc::clone(place);
        }
        let stack = self.snapshot.stack(goroutine);
        let innermost = |pc| self.symbols.frames(pc).first().cloned();
        if let Some(frame) = user_frame(stack, self.symbols) {
            let place: Arc<str> = safe(&frame.function).into();
            if let Some(stack) = goroutine.stack {
                self.places.insert(stack, Arc::clone(&place));
            }
            return place;
        }
        let start = goroutine.start.get().and_then(innermost);
        let frame = start.or_else(|| stack.first().copied().and_then(innermost));
        frame.map_or("?".into(), |frame| safe(&frame.function).into())
    }
}

/// The state, or why it waits.
pub(crate) fn state(goroutine: &Goroutine) -> String {
    match &goroutine.wait {
        Some(wait) if wait.reason != WaitReason::None => wait.reason.to_string(),
        _ => goroutine.state.to_string(),
    }
}

/// `DEADLOCK (proven)`.
pub(crate) fn marked(finding: &Finding, mark: Mark) -> String {
    let kind = finding.kind.name().to_uppercase();
    match mark.confirmed {
        true => format!("{kind} ({})", finding.verdict.name()),
        false => format!("{kind} (not confirmed)"),
    }
}
