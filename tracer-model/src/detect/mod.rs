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
mod stall;
mod text;
mod timers;
mod trend;
mod why;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use serde::{Deserialize, Serialize};

use crate::ids::{Goid, Ktime, Pc};
use crate::snapshot::{Goroutine, Reachability, Snapshot, State, Unused, WaitTarget};
use crate::symbol::{Symbolizer, user_site};
use crate::wait::{WaitObject, WaitReason};
use crate::world::World;

pub use finding::{Finding, FindingId, FindingKind, Link, Trend, Verdict};
pub use log::{Changes, FindingLog, Tracked};
pub use panics::panics;
pub use trend::{Slope, Trends};
pub use why::{Alive, Awaited, Reference, Stands, Waiting, Why};

use corrupt::Corrupt;
use graph::{Graph, Node, Step};
use text::Words;

/// The main goroutine's id.
const MAIN: Goid = Goid(1);
/// Clean passes that make a proof.
pub const CLEAN_PROOF: u32 = 2;
/// Calm passes that make a proof. A reference that moves all the time among n places, each of which is
/// looked at once, is missed by one pass with a probability of (1 - 1/n)^n at most, below 1/e; by all of
/// these with one of two in a thousand million.
pub const CALM_PROOF: u32 = 20;
/// Passes of any kind that make a wait worth a word.
const HEARSAY: u32 = 4;
/// How many references of each link the evidence names.
const REFERENCES: usize = 3;
/// Of how many links the evidence names references.
const LINKS_WITH_REFERENCES: usize = 8;
/// How many goids a deadlock's id spells out.
const SPELLED: usize = 4;

/// Finds deadlocks and leaks, pass by pass. What it remembers can be kept with a recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    last: Option<Pass>,
    corrupt: Corrupt,
}

/// What the next pass needs to know of this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pass {
    started: Ktime,
    finished: Ktime,
    /// Whether the mark saw everything.
    clean: bool,
    sightings: FxHashMap<Goid, Sighting>,
    /// What of `sightings` unused variables lead to.
    held: Vec<Unused>,
}

/// How a stuck goroutine looked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sighting {
    at: Ktime,
    reason: WaitReason,
    objects: Box<[WaitObject]>,
    stack: Option<Box<[Pc]>>,
    since: Option<Ktime>,
    /// Consecutive passes that saw it so, this one included.
    passes: u32,
    /// How many of these were calm.
    calm: u32,
    /// How many of these were clean.
    clean: u32,
    /// An unused variable leads to what it waits on.
    held: bool,
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

impl Pass {
    fn new(
        snapshot: &Snapshot,
        reachability: &Reachability,
        stuck: &[&Goroutine],
        held: Vec<Unused>,
    ) -> Pass {
        let kept: FxHashSet<Goid> = held.iter().map(|held| held.goid).collect();
        let calm = reachability.running.is_empty() && reachability.errors.is_empty();
        let clean = calm && reachability.ran.is_empty();
        let sightings = stuck
            .iter()
            .filter_map(|goroutine| {
                let sighting = Sighting {
                    calm: u32::from(calm),
                    clean: u32::from(clean),
                    held: kept.contains(&goroutine.goid),
                    ..Sighting::of(snapshot, goroutine)?
                };
                Some((goroutine.goid, sighting))
            })
            .collect();
        Pass {
            started: snapshot.started.min(reachability.started),
            finished: snapshot.finished.max(reachability.finished),
            clean,
            sightings,
            held,
        }
    }

    /// Notes what the pass before confirms of this one.
    fn confirm(&mut self, last: &Pass, world: Option<&World>) {
        for (&goid, now) in &mut self.sightings {
            let Some(before) = last.sightings.get(&goid) else {
                continue;
            };
            let acted = last_event(world, goid).is_some_and(|at| at > before.at);
            // That it was held by a variable is no proof that nothing holds it.
            let weaker = before.held && !now.held;
            if now.is_unmoved_since(before) && !acted && !weaker {
                now.passes = before.passes.saturating_add(1);
                now.calm = before.calm.saturating_add(now.calm);
                now.clean = before.clean.saturating_add(now.clean);
            }
        }
    }
}

impl Sighting {
    /// What a snapshot shows of a wait. `None` if there is none.
    fn of(snapshot: &Snapshot, goroutine: &Goroutine) -> Option<Sighting> {
        let wait = goroutine.wait.as_ref()?;
        Some(Sighting {
            at: goroutine.at,
            reason: wait.reason,
            objects: wait.objects.clone(),
            stack: stack(snapshot, goroutine).map(Box::from),
            since: wait.since,
            passes: 1,
            calm: 0,
            clean: 0,
            held: false,
        })
    }

    /// Whether what was seen is proof.
    fn is_proven(&self) -> bool {
        match is_endless(self.reason) {
            true => self.passes >= CLEAN_PROOF,
            false if self.held => false,
            false => {
                (self.clean >= CLEAN_PROOF || self.calm >= CALM_PROOF) && !self.objects.is_empty()
            }
        }
    }

    /// Whether it was seen often enough to be said, though not to be proven.
    fn is_likely(&self) -> bool {
        is_endless(self.reason) || self.held || self.clean > 0 || self.passes >= HEARSAY
    }

    /// Whether the goroutine is still in the wait that it was in `before`.
    fn is_unmoved_since(&self, before: &Sighting) -> bool {
        // The runtime notes the time of a wait late, at a garbage collection, and once.
        let same_wait = match (before.since, self.since) {
            (Some(before), now) => now == Some(before),
            (None, _) => true,
        };
        same_wait
            && self.reason == before.reason
            && self.objects == before.objects
            && self.stack.is_some()
            && self.stack == before.stack
    }
}

/// One pass, about to be put into words.
struct Report<'a> {
    snapshot: &'a Snapshot,
    reachability: &'a Reachability,
    world: Option<&'a World>,
    symbolizer: &'a dyn Symbolizer,
    last: Option<&'a Pass>,
    pass: &'a Pass,
    graph: Graph<'a>,
    saved: FxHashMap<Goid, (Goid, WaitTarget)>,
    words: Words<'a>,
}

/// What leaks have in common that make one finding.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LeakGroup<'a> {
    caused_by: Option<FindingId>,
    reason: &'static str,
    place: Place<'a>,
}

/// Where a leaked goroutine is stuck.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Stack(&'a [Pc]),
    /// The stack could not be read: each goroutine for itself.
    Unknown(Goid),
}

impl Report<'_> {
    /// Deadlocks first, then leaks, the surest and largest first.
    fn findings(&self) -> Vec<Finding> {
        let deadlocks: Vec<Finding> = (0..self.graph.deadlocks().len())
            .map(|index| self.deadlock(index))
            .collect();
        let mut groups: BTreeMap<LeakGroup<'_>, Vec<Node>> = BTreeMap::new();
        for node in self.graph.nodes() {
            let goroutine = self.graph.goroutine(node);
            let Some(wait) = &goroutine.wait else {
                continue;
            };
            if is_on_purpose(goroutine) || self.graph.is_deadlocked(node) {
                continue;
            }
            let cause = self.graph.cause(node);
            let group = LeakGroup {
                caused_by: cause.map(|index| deadlocks[index].id.clone()),
                reason: wait.reason.text(),
                place: match stack(self.snapshot, goroutine) {
                    Some(stack) => Place::Stack(stack),
                    None => Place::Unknown(goroutine.goid),
                },
            };
            groups.entry(group).or_default().push(node);
        }
        let mut leaks: Vec<Finding> = groups
            .into_iter()
            .map(|(group, nodes)| self.leak(group, &nodes))
            .collect();
        leaks.sort_by(|a, b| {
            let surest = b.verdict.cmp(&a.verdict);
            let largest = b.goroutines.len().cmp(&a.goroutines.len());
            surest
                .then(largest)
                .then_with(|| a.goroutines.cmp(&b.goroutines))
        });
        let mut findings = deadlocks;
        findings.append(&mut leaks);
        findings.extend(self.stall(&findings));
        findings
    }

    fn deadlock(&self, index: usize) -> Finding {
        let deadlock = &self.graph.deadlocks()[index];
        let chain = self.links(&deadlock.cycle);
        // The cycle needs every one of its goroutines.
        let verdict = deadlock
            .cycle
            .iter()
            .map(|step| self.verdict(step.node))
            .min()
            .unwrap_or(Verdict::Suspect);
        let (goroutines, unconfirmed) = self.split(&deadlock.members, verdict);
        let mut evidence = self.references(&deadlock.cycle);
        evidence.extend(self.circumstances(&deadlock.members));
        Finding {
            id: deadlock_id(&chain),
            kind: FindingKind::Deadlock,
            verdict,
            goroutines,
            unconfirmed,
            reason: self.words.chain(&chain),
            chain,
            caused_by: None,
            evidence,
            advice: None,
            created_at: None,
            at: None,
            trend: None,
        }
    }

    fn leak(&self, group: LeakGroup<'_>, nodes: &[Node]) -> Finding {
        let verdict = nodes
            .iter()
            .map(|&node| self.verdict(node))
            .max()
            .unwrap_or(Verdict::Suspect);
        let (goroutines, unconfirmed) = self.split(nodes, verdict);
        let first = nodes
            .iter()
            .copied()
            .find(|&node| self.graph.goroutine(node).goid == goroutines[0])
            .unwrap_or(nodes[0]);
        let way = self.graph.way(first);
        let chain = self.links(&way);
        let mut reason = match goroutines.len() {
            1 => String::new(),
            many => format!("{many} goroutines are stuck in the same place, for one: "),
        };
        reason.push_str(&self.words.chain(&chain));
        if let (Some(deadlock), Some(last)) = (&group.caused_by, chain.last()) {
            reason.push_str(&format!(
                "; goroutine {} is deadlocked ({deadlock})",
                last.goid
            ));
        }
        let mut evidence = self.references(&way);
        evidence.extend(self.circumstances(nodes));
        let site = chain.first().and_then(|link| link.site);
        Finding {
            id: group.id(site),
            kind: FindingKind::Leak,
            verdict,
            goroutines,
            unconfirmed,
            chain,
            caused_by: group.caused_by,
            reason,
            evidence,
            advice: None,
            created_at: None,
            at: None,
            trend: None,
        }
    }

    /// Whether it is the main goroutine, which alone has the channel that it receives from, in a
    /// program that lives: it may be there on purpose, as in `<-make(chan T)`.
    fn may_idle(&self, node: Node) -> bool {
        let goroutine = self.graph.goroutine(node);
        let &[object @ WaitObject::Chan { .. }] = objects(goroutine) else {
            return false;
        };
        let receives = goroutine
            .wait
            .as_ref()
            .is_some_and(|wait| wait.reason == WaitReason::ChanReceive);
        let stuck = |goid| self.pass.sightings.contains_key(&goid);
        goroutine.goid == MAIN
            && receives
            && self.graph.holders(node, object).next().is_none()
            && self
                .snapshot
                .goroutines
                .iter()
                .any(|other| !other.system && !stuck(other.goid))
    }

    fn verdict(&self, node: Node) -> Verdict {
        let goroutine = self.graph.goroutine(node);
        if self.may_idle(node) {
            return Verdict::Suspect;
        }
        let forever = waits_forever(goroutine);
        let unknown = objects(goroutine).is_empty() || !self.reachability.errors.is_empty();
        match self.sighting(node) {
            Some(sighting) if sighting.is_proven() => Verdict::Proven,
            Some(sighting) if sighting.held => Verdict::Likely,
            Some(sighting) if sighting.is_likely() && (forever || !unknown) => Verdict::Likely,
            _ => Verdict::Suspect,
        }
    }

    /// Which unused variables lead to what a goroutine waits on, a sentence each.
    fn variables(&self, node: Node) -> impl Iterator<Item = String> {
        let goid = self.graph.goroutine(node).goid;
        let held = self.pass.held.iter().filter(move |held| held.goid == goid);
        held.map(text::variable)
    }

    fn sighting(&self, node: Node) -> Option<&Sighting> {
        let goid = self.graph.goroutine(node).goid;
        self.pass.sightings.get(&goid)
    }

    /// Those of whom `verdict` holds, and the others.
    fn split(&self, nodes: &[Node], verdict: Verdict) -> (Vec<Goid>, Vec<Goid>) {
        let goid = |&node: &Node| self.graph.goroutine(node).goid;
        let (sure, unsure): (Vec<&Node>, Vec<&Node>) = nodes
            .iter()
            .partition(|&&node| self.verdict(node) >= verdict);
        (
            sure.into_iter().map(goid).collect(),
            unsure.into_iter().map(goid).collect(),
        )
    }

    fn links(&self, steps: &[Step]) -> Vec<Link> {
        let link = |step: &Step| {
            let goroutine = self.graph.goroutine(step.node);
            let mut held_by: Vec<Goid> = step
                .object
                .into_iter()
                .flat_map(|object| self.graph.holders(step.node, object))
                .map(|holder| holder.goid)
                .collect();
            held_by.sort_unstable();
            let reason = goroutine
                .wait
                .as_ref()
                .map_or(WaitReason::None, |wait| wait.reason);
            Link {
                goid: goroutine.goid,
                reason,
                waits_on: step.object,
                held_by,
                site: stack(self.snapshot, goroutine)
                    .and_then(|stack| user_site(stack, self.symbolizer)),
            }
        };
        steps.iter().map(link).collect()
    }

    /// How those who could help refer to what is waited on.
    fn references(&self, steps: &[Step]) -> Vec<String> {
        let mut evidence = Vec::new();
        for (index, step) in steps.iter().enumerate().take(LINKS_WITH_REFERENCES) {
            let Some(object) = step.object else {
                continue;
            };
            let next = steps.get(index + 1).or(steps.first());
            let next = next.map(|step| self.graph.goroutine(step.node).goid);
            let mut holders: Vec<_> = self.graph.holders(step.node, object).collect();
            holders.sort_unstable_by_key(|holder| (Some(holder.goid) != next, holder.goid));
            for holder in holders.into_iter().take(REFERENCES) {
                evidence.push(self.words.reference(object, holder));
            }
        }
        evidence
    }

    /// What speaks for the verdict, and what against a better one.
    fn circumstances(&self, nodes: &[Node]) -> Vec<String> {
        let mut evidence = Vec::new();
        let mut proven = 0;
        let mut leaked = 0;
        let mut forever = 0;
        for &node in nodes {
            let goroutine = self.graph.goroutine(node);
            proven += usize::from(self.verdict(node) == Verdict::Proven);
            leaked += usize::from(goroutine.state == State::Leaked);
            forever += usize::from(waits_forever(goroutine));
        }
        let all = nodes.len();
        let held = |node: &&Node| self.sighting(**node).is_some_and(|it| it.held);
        let held = nodes.iter().filter(held).count();
        if forever + held < all {
            evidence.push(
                "no global and no goroutine that can still run refers to what they wait on"
                    .to_owned(),
            );
        }
        evidence.extend(
            nodes
                .iter()
                .flat_map(|&node| self.variables(node))
                .take(REFERENCES),
        );
        if held > 0 {
            evidence.push(
                "no code that can still run uses these variables, nor does any goroutine that can \
                 still run refer to them"
                    .to_owned(),
            );
        }
        let idle = nodes.iter().filter(|&&node| self.may_idle(node)).count();
        if idle > 0 {
            evidence.push(
                "it is the main goroutine and other goroutines live: it may be parked on purpose"
                    .to_owned(),
            );
        }
        if let Some(last) = self.last
            && proven > 0
        {
            evidence.push(format!(
                "{proven} of {all} did not move between two passes {} ms apart",
                self.pass.started.since(last.started) / 1_000_000
            ));
        }
        let waiting = all.saturating_sub(proven + idle + held);
        if waiting > 0 {
            evidence.push(format!(
                "{waiting} of {all} still to be confirmed by a further pass"
            ));
        }
        if leaked > 0 {
            evidence.push(format!(
                "the Go runtime itself found {leaked} of {all} leaked"
            ));
        }
        let Reachability {
            started: _,
            finished: _,
            unreached: _,
            holders: _,
            unused: _,
            running,
            ran,
            errors,
        } = self.reachability;
        if !running.is_empty() && forever < all {
            evidence.push(format!(
                "{} ran while memory was searched, and registers cannot be read",
                text::goroutines(running)
            ));
        }
        if !ran.is_empty() && forever < all {
            evidence.push(format!(
                "{} ran for a moment while memory was searched and may have moved references",
                text::goroutines(ran)
            ));
        }
        if !errors.is_empty() && forever < all {
            evidence.push(format!(
                "{} parts of memory could not be read, first: {}",
                errors.len(),
                errors[0]
            ));
        }
        evidence
    }
}

/// The goids of the cycle, those of a long one shortened.
fn deadlock_id(cycle: &[Link]) -> FindingId {
    let mut id = String::from("deadlock");
    for link in cycle.iter().take(SPELLED) {
        id.push('-');
        id.push_str(&link.goid.to_string());
    }
    if cycle.len() > SPELLED {
        let mut hasher = FxHasher::default();
        for link in cycle {
            link.goid.hash(&mut hasher);
        }
        id.push_str(&format!("-{:08x}", hasher.finish() >> 32));
    }
    FindingId(id.into())
}

impl LeakGroup<'_> {
    /// The same for the same group in every pass.
    fn id(&self, site: Option<Pc>) -> FindingId {
        let mut hasher = FxHasher::default();
        self.caused_by.hash(&mut hasher);
        self.reason.hash(&mut hasher);
        match self.place {
            Place::Stack(stack) => stack.hash(&mut hasher),
            Place::Unknown(goid) => goid.hash(&mut hasher),
        }
        let group = hasher.finish() >> 32;
        FindingId(match site {
            Some(site) => format!("leak-{site}-{group:08x}").into(),
            None => format!("leak-{group:08x}").into(),
        })
    }
}
