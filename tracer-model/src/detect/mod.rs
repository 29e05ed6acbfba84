//! Detectors: from snapshots to findings.
//!
//! A snapshot with [`Reachability`] says which waiting goroutines nothing alive refers to: no
//! global, and no goroutine that can still run. They can never run again. This module says what
//! follows: which of them wait for one another (a deadlock), which are leaked and behind what, and
//! how sure that is.
//!
//! **Who counts as stuck.** The mark read a heap that was changing, so it is not taken at its word.
//! A goroutine that it did not reach but that shows a sign of life (it is not waiting, it changed
//! while it was read, it waits for what ends by itself, an event tells that it acted since) is
//! alive, and so is everything that it could wake, and so on. In addition, who waits on a nil
//! channel or in a select without cases is stuck whatever the mark says; the main goroutine in
//! `select {}` is so on purpose and is not reported. Servers also park it by `<-make(chan T)`; that
//! looks like waiting in vain for somebody who should have answered, so it is reported, as
//! [`Verdict::Suspect`], while other goroutines live.
//!
//! **How sure.** See [`Verdict`]. Passes agree on a goroutine if each of a row of consecutive ones
//! ([`Detector`] keeps the last) found it stuck and it did not move in between: same reason and objects,
//! same stack, and no event by it or for it. A pass is clean if no user goroutine ran meanwhile and all
//! was read: it saw memory as at one moment, and two of them are proof. Any other may have missed a
//! reference that moved, for instance an item that is handed from queue to queue, so it takes several to
//! say anything. It is calm if whoever ran was at rest when its stack was read: then the reference was in
//! memory, and to be missed again and again it has to move at the wrong moment in each pass, within
//! milliseconds; many calm passes are proof as well. Of a goroutine that is caught running, the registers
//! are not known, and no number of such passes is proof. A wait that is forever by itself needs no mark,
//! hence no clean pass. Never to run again is a stable property: what was proven stays so while passes
//! agree.
//!
//! **Unused variables.** What a global variable leads to is reached, for all that a mark knows. Where the
//! read could tell that no code that can still run uses the variable ([`Reachability::unused`]), and none
//! of those that it left unreached lives, waiting for it is likely in vain; never proven, since that rests
//! on having understood all code. It is said of passes that saw memory as at one moment, and stays so, as
//! long as nobody of them moves, until another one denies it.
//!
//! **What is one finding.** A deadlock is one strongly connected part of the wait-for graph,
//! explained by its shortest cycle. Whoever merely waits for a deadlocked goroutine is no part of
//! it, since breaking the cycle frees it; such victims, possibly many, are leaks with `caused_by`.
//! Leaks are grouped by stack: one finding for all that are stuck in the same place behind the same
//! cause.

mod corrupt;
mod finding;
mod graph;
mod log;
mod panics;
mod report;
mod sighting;
mod stall;
mod text;
mod timers;
mod trend;
mod why;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::ids::{Goid, Ktime, Pc};
use crate::snapshot::{Goroutine, Reachability, Snapshot, State, Unused, WaitTarget};
use crate::symbol::Symbolizer;
use crate::wait::{WaitObject, WaitReason};
use crate::world::World;

pub use finding::{Finding, FindingId, FindingKind, Link, Trend, Verdict};
pub use log::{Changes, FindingLog, Tracked};
pub use panics::panics;
pub use trend::{Slope, Trends};
pub use why::{Alive, Awaited, Reference, Stands, Waiting, Why};

use corrupt::Corrupt;
use graph::Graph;
use report::Report;
use sighting::{Pass, Sighting};
use text::Words;

/// The main goroutine's id.
const MAIN: Goid = Goid(1);
/// Clean passes that make a proof.
pub const CLEAN_PROOF: u32 = 2;
/// Calm passes that make a proof. A reference that moves all the time among n places, each of which is
/// looked at once, is missed by one pass with a probability of (1 - 1/n)^n at most, below 1/e; by all of
/// these with one of two in a thousand million.
pub const CALM_PROOF: u32 = 20;

/// Finds deadlocks and leaks, pass by pass. What it remembers can be kept with a recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    last: Option<Pass>,
    corrupt: Corrupt,
}

impl Detector {
    /// A detector that has seen nothing yet.
    pub fn new() -> Detector {
        Detector::default()
    }

    /// What a snapshot shows, in the light of the one before. Without [`Snapshot::reachability`]
    /// there is nothing to say, and the pass does not count as one.
    ///
    /// `world`, if events were traced, tells who acted between the passes and since.
    pub fn pass(
        &mut self,
        snapshot: &Snapshot,
        world: Option<&World>,
        symbolizer: &dyn Symbolizer,
    ) -> Vec<Finding> {
        let corrupt = self.corrupt.pass(snapshot, symbolizer);
        let findings = self.report(snapshot, world, symbolizer, |report| report.findings());
        with(findings.unwrap_or_default(), corrupt)
    }

    /// A pass that also tells all about the waits of the goroutines in the chains of its findings,
    /// each goroutine once, in the order of the findings.
    pub fn pass_with_waits(
        &mut self,
        snapshot: &Snapshot,
        world: Option<&World>,
        symbolizer: &dyn Symbolizer,
    ) -> (Vec<Finding>, Vec<Waiting>) {
        let corrupt = self.corrupt.pass(snapshot, symbolizer);
        let (findings, waits) = self
            .report(snapshot, world, symbolizer, |report| {
                let findings = report.findings();
                let waits = report.waits_of(&findings);
                (findings, waits)
            })
            .unwrap_or_default();
        (with(findings, corrupt), waits)
    }

    /// A pass that also explains one goroutine. `None` if it is not in the snapshot; without
    /// [`Snapshot::reachability`] it is explained as far as that goes, and the pass does not count.
    pub fn pass_with_why(
        &mut self,
        snapshot: &Snapshot,
        world: Option<&World>,
        symbolizer: &dyn Symbolizer,
        goid: Goid,
    ) -> Option<Why> {
        let goroutine = snapshot.goroutines.iter().find(|it| it.goid == goid)?;
        self.report(snapshot, world, symbolizer, |report| report.why(goroutine))
            .or_else(|| Some(Why::without_mark(snapshot, goroutine, symbolizer)))
    }

    /// Whether no further pass can make surer what the last one saw.
    pub fn is_settled(&self) -> bool {
        let settled = |sighting: &Sighting| sighting.is_proven() || sighting.held;
        (self.last.iter()).all(|last| last.sightings.values().all(settled))
    }

    /// Makes a pass, and of it what `make` does. `None` if there was no mark.
    fn report<T>(
        &mut self,
        snapshot: &Snapshot,
        world: Option<&World>,
        symbolizer: &dyn Symbolizer,
        make: impl FnOnce(&Report<'_>) -> T,
    ) -> Option<T> {
        let reachability = snapshot.reachability.as_ref()?;
        let last = self.last.take();
        // The same snapshot again, or an overlapping one, confirms nothing.
        let started = snapshot.started.min(reachability.started);
        let last = last.filter(|last| last.finished <= started);
        let held = held(snapshot, reachability, last.as_ref(), world);
        let Stuck {
            goroutines,
            saved,
            held,
        } = stuck(snapshot, reachability, held, world);
        let mut pass = Pass::new(snapshot, reachability, &goroutines, held);
        if let Some(last) = &last {
            pass.confirm(last, world);
        }
        let graph = Graph::new(goroutines, &reachability.holders);
        let report = Report {
            snapshot,
            reachability,
            world,
            symbolizer,
            last: last.as_ref(),
            pass: &pass,
            graph,
            saved,
            words: Words::new(snapshot, &pass.held),
        };
        let made = make(&report);
        self.last = Some(pass);
        Some(made)
    }
}

fn with(mut findings: Vec<Finding>, mut more: Vec<Finding>) -> Vec<Finding> {
    findings.append(&mut more);
    findings
}

/// Who can never run again, as far as a snapshot tells.
struct Stuck<'s> {
    goroutines: Vec<&'s Goroutine>,
    /// Whom the mark did not reach but who may be woken: by whom that is alive, through what.
    saved: FxHashMap<Goid, (Goid, WaitTarget)>,
    /// What unused variables lead to.
    held: Vec<Unused>,
}

/// Which waits unused variables alone could end: as the pass found, or if it could not tell, as the one
/// before did, if none of its goroutines moved.
fn held(
    snapshot: &Snapshot,
    reachability: &Reachability,
    last: Option<&Pass>,
    world: Option<&World>,
) -> Vec<Unused> {
    if let Some(unused) = &reachability.unused {
        return unused.clone();
    }
    let Some(last) = last.filter(|last| !last.held.is_empty()) else {
        return Vec::new();
    };
    let goroutines = snapshot.goroutines.iter();
    let by_goid: FxHashMap<Goid, &Goroutine> = goroutines.map(|it| (it.goid, it)).collect();
    let unmoved = last.sightings.iter().all(|(goid, before)| {
        let now = by_goid.get(goid);
        let now = now.and_then(|goroutine| Sighting::of(snapshot, goroutine));
        let acted = last_event(world, *goid).is_some_and(|at| at > before.at);
        now.is_some_and(|now| now.is_unmoved_since(before)) && !acted
    });
    match unmoved {
        true => last.held.clone(),
        false => Vec::new(),
    }
}

/// The goroutines that can never run again, as far as this snapshot tells.
fn stuck<'s>(
    snapshot: &'s Snapshot,
    reachability: &Reachability,
    mut held: Vec<Unused>,
    world: Option<&World>,
) -> Stuck<'s> {
    let unreached: FxHashSet<Goid> = reachability.unreached.iter().copied().collect();
    let mut kept: FxHashSet<Goid> = held.iter().map(|held| held.goid).collect();
    let mut candidates: FxHashMap<Goid, &Goroutine> = FxHashMap::default();
    for goroutine in &snapshot.goroutines {
        let goid = &goroutine.goid;
        let doomed = unreached.contains(goid) || kept.contains(goid) || waits_forever(goroutine);
        if doomed && !shows_life(goroutine, world) {
            candidates.insert(goroutine.goid, goroutine);
        }
    }
    // Who is not reached and no candidate is alive, and may use any variable.
    if (kept.union(&unreached)).any(|goid| !candidates.contains_key(goid)) {
        held.clear();
        for goid in kept.drain() {
            if !unreached.contains(&goid) {
                candidates.remove(&goid);
            }
        }
    }
    // And it may wake whom it can get at.
    let mut alive: Vec<Goid> = unreached
        .iter()
        .copied()
        .filter(|goid| !candidates.contains_key(goid))
        .collect();
    let mut holds: FxHashMap<Goid, Vec<WaitTarget>> = FxHashMap::default();
    for holder in &reachability.holders {
        holds.entry(holder.goid).or_default().push(holder.object);
    }
    let mut waiters: FxHashMap<WaitTarget, Vec<Goid>> = FxHashMap::default();
    for goroutine in candidates.values() {
        for &object in objects(goroutine) {
            let waiting = waiters.entry(WaitTarget::from(object)).or_default();
            waiting.push(goroutine.goid);
        }
    }
    let mut saved = FxHashMap::default();
    while let Some(goid) = alive.pop() {
        for target in holds.remove(&goid).unwrap_or_default() {
            for woken in waiters.remove(&target).unwrap_or_default() {
                if candidates.remove(&woken).is_some() {
                    saved.insert(woken, (goid, target));
                    alive.push(woken);
                }
            }
        }
    }
    Stuck {
        goroutines: candidates.into_values().collect(),
        saved,
        held,
    }
}

fn shows_life(goroutine: &Goroutine, world: Option<&World>) -> bool {
    let waits = matches!(goroutine.state, State::Waiting | State::Leaked)
        && goroutine
            .wait
            .as_ref()
            .is_some_and(|wait| wait.reason.kind().ends_only_by_goroutine());
    let acted = last_event(world, goroutine.goid).is_some_and(|at| at > goroutine.at);
    !waits || goroutine.moving || goroutine.system || acted
}

fn last_event(world: Option<&World>, goid: Goid) -> Option<Ktime> {
    world?.goroutine(goid)?.last_event()
}

/// Whether the wait is one that nothing can end, whoever refers to what.
fn waits_forever(goroutine: &Goroutine) -> bool {
    goroutine
        .wait
        .as_ref()
        .is_some_and(|wait| is_endless(wait.reason))
}

const fn is_endless(reason: WaitReason) -> bool {
    matches!(
        reason,
        WaitReason::ChanSendNil | WaitReason::ChanReceiveNil | WaitReason::SelectNoCases
    )
}

/// Whether it is the main goroutine in `select {}`.
fn is_on_purpose(goroutine: &Goroutine) -> bool {
    let reason = goroutine.wait.as_ref().map(|wait| wait.reason);
    goroutine.goid == MAIN && reason == Some(WaitReason::SelectNoCases)
}

fn objects(goroutine: &Goroutine) -> &[WaitObject] {
    goroutine
        .wait
        .as_ref()
        .map_or(&[][..], |wait| &wait.objects)
}

fn stack<'s>(snapshot: &'s Snapshot, goroutine: &Goroutine) -> Option<&'s [Pc]> {
    let id = goroutine.stack?;
    snapshot.stacks.get(id.0 as usize).map(|stack| &**stack)
}
