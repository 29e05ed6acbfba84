//! All there is to say about the wait of one goroutine: on what, who else waits there, who could end
//! it and how they refer to it, and why they do not.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finding::{Finding, FindingId, Verdict};
use super::graph::Step;
use super::report::Report;
use super::{is_on_purpose, last_event, objects, stack, text, waits_forever};
use crate::ids::{Addr, Goid, Pc};
use crate::snapshot::{Goroutine, Snapshot, State, User, WaitTarget};
use crate::symbol::{Symbolizer, user_site};
use crate::wait::{WaitKind, WaitObject, WaitReason};

/// How many goroutines an explanation tells of.
const MOST: usize = 64;
/// How many steps from a goroutine that lives others are told of.
const DEPTH: usize = 2;
/// How many ids of goroutines that wait for the same are kept.
const OTHERS: usize = 32;

/// How a goroutine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It can never run again, this surely.
    Stuck(Verdict),
    /// The main goroutine in `select {}`: it can never run again, and is not meant to.
    OnPurpose,
    /// It runs, or may run again.
    Alive(Alive),
    /// There was no mark, so nothing is known of what can still reach it.
    Unknown,
}

/// Why a goroutine may run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive {
    /// It does not wait for anything.
    NotWaiting(State),
    /// It waits for what ends by itself or from outside of the process.
    EndsByItself(WaitKind),
    /// It is one of the runtime's own.
    System,
    /// It changed while it was read, or did something since.
    Moves,
    /// No root reaches what it waits on, but this goroutine lives and refers to it.
    WokenBy(Goid, WaitTarget),
    /// The mark reached what it waits on, from a global or from a goroutine that can still run; or
    /// could not tell and took it for reached. Which root that was is not recorded.
    Reached,
}

/// A goroutine that refers to what another one waits on, and does not wait for the same itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Who.
    pub goid: Goid,
    /// The slot in its stack where the way begins, if known.
    pub slot: Option<Addr>,
    /// The call instruction of the frame that holds the slot, if known.
    pub frame: Option<Pc>,
    /// The objects of the heap on the way from the slot.
    pub through: Vec<Addr>,
}

/// One thing that can end a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// What it is.
    pub object: WaitObject,
    /// Other goroutines that wait on it, on whichever side; some of them, ascending.
    pub others: Vec<Goid>,
    /// How many these are in all.
    pub others_total: usize,
    /// Who could end the wait. Of a stuck goroutine these are all, and each is stuck; of one that
    /// lives those that were seen: of locks none, and of channels only what a stack refers to, or an
    /// object that a stack refers to.
    pub references: Vec<Reference>,
}

/// A goroutine and its wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who.
    pub goid: Goid,
    /// Its state.
    pub state: State,
    /// Why it waits, if it does.
    pub reason: Option<WaitReason>,
    /// Where in the user's code.
    pub site: Option<Pc>,
    /// What can end the wait: nothing, one thing, or each case of a select.
    pub awaited: Vec<Awaited>,
    /// How it stands.
    pub stands: Stands,
}

/// The explanation of one goroutine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Of whom.
    pub goid: Goid,
    /// The finding that it is part of.
    pub finding: Option<FindingId>,
    /// The goroutine itself, then those of `chain` and `cycle` in their order, then all others that
    /// could have helped.
    pub waits: Vec<Waiting>,
    /// How many of these others were left out.
    pub left_out: usize,
    /// The shortest way from the goroutine, which it begins with, to the end: a wait that nobody else
    /// could end, or the first goroutine of `cycle`. Empty if it is not stuck.
    pub chain: Vec<Goid>,
    /// The goroutines that wait for one another at the end of `chain`: what the last one waits on only
    /// the first one could end. Empty if there is no such cycle.
    pub cycle: Vec<Goid>,
    /// What speaks for how it stands, a sentence each.
    pub reasons: Vec<String>,
    /// What was not known, and speaks against a better verdict.
    pub doubts: Vec<String>,
    /// In how many consecutive passes it was seen in this wait and stuck.
    pub passes: u32,
}

impl Why {
    /// Whether any goroutine told of is stuck and not proven so: a further pass may be.
    pub fn is_unsettled(&self) -> bool {
        let unsure = |waiting: &Waiting| matches!(waiting.stands, Stands::Stuck(verdict) if verdict < Verdict::Proven);
        self.waits.iter().any(unsure)
    }

    /// What there is to say without a mark: the wait alone.
    pub(super) fn without_mark(
        snapshot: &Snapshot,
        goroutine: &Goroutine,
        symbolizer: &dyn Symbolizer,
    ) -> Why {
        let waiters = waiters(snapshot);
        let awaited = objects(goroutine)
            .iter()
            .map(|&object| Awaited::new(object, goroutine.goid, &waiters, users(snapshot, object)))
            .collect();
        Why {
            goid: goroutine.goid,
            finding: None,
            waits: vec![Waiting::new(
                snapshot,
                goroutine,
                symbolizer,
                awaited,
                Stands::Unknown,
            )],
            left_out: 0,
            chain: Vec::new(),
            cycle: Vec::new(),
            reasons: Vec::new(),
            doubts: vec!["memory was not searched for who can still reach it".to_owned()],
            passes: 0,
        }
    }
}

impl Waiting {
    fn new(
        snapshot: &Snapshot,
        goroutine: &Goroutine,
        symbolizer: &dyn Symbolizer,
        awaited: Vec<Awaited>,
        stands: Stands,
    ) -> Waiting {
        let reason = goroutine.wait.as_ref().map(|wait| wait.reason);
        Waiting {
            goid: goroutine.goid,
            state: goroutine.state,
            reason: reason.filter(|reason| *reason != WaitReason::None),
            site: stack(snapshot, goroutine).and_then(|stack| user_site(stack, symbolizer)),
            awaited,
            stands,
        }
    }
}

/// Who waits on what, ascending.
type Waiters = FxHashMap<WaitTarget, Vec<Goid>>;

fn waiters(snapshot: &Snapshot) -> Waiters {
    let mut waiters = Waiters::default();
    for goroutine in &snapshot.goroutines {
        for &object in objects(goroutine) {
            let waiting = waiters.entry(WaitTarget::from(object)).or_default();
            waiting.push(goroutine.goid);
        }
    }
    for waiting in waiters.values_mut() {
        waiting.sort_unstable();
        waiting.dedup();
    }
    waiters
}

impl Awaited {
    fn new(
        object: WaitObject,
        by: Goid,
        waiters: &Waiters,
        mut references: Vec<Reference>,
    ) -> Awaited {
        references.sort_by_key(|reference| reference.goid);
        let all = waiters.get(&WaitTarget::from(object));
        let others = all.into_iter().flatten().copied().filter(|&it| it != by);
        Awaited {
            object,
            others_total: others.clone().count(),
            others: others.take(OTHERS).collect(),
            references,
        }
    }
}

/// The goroutines that were seen to hold a channel and do not wait on it.
fn users(snapshot: &Snapshot, object: WaitObject) -> Vec<Reference> {
    let WaitObject::Chan { chan, .. } = object else {
        return Vec::new();
    };
    let channel = snapshot.channels.iter().find(|it| it.addr == chan);
    let users = channel.map_or(&[][..], |channel| &channel.users);
    let mut seen = FxHashSet::default();
    let once = users.iter().filter(|user| seen.insert(user.goid));
    once.map(|user| {
        let &User {
            goid,
            frame,
            through,
        } = user;
        Reference {
            goid,
            slot: None,
            frame: frame_of(snapshot, goid, frame),
            through: through.into_iter().collect(),
        }
    })
    .collect()
}

fn frame_of(snapshot: &Snapshot, goid: Goid, frame: Option<u32>) -> Option<Pc> {
    let goroutine = snapshot.goroutines.iter().find(|it| it.goid == goid)?;
    stack(snapshot, goroutine)?.get(frame? as usize).copied()
}

impl Report<'_> {
    /// Explains a goroutine of the snapshot.
    pub(super) fn why(&self, goroutine: &Goroutine) -> Why {
        let goid = goroutine.goid;
        let node = self.graph.node(goid);
        let (mut chain, mut cycle): (Vec<Step>, Vec<Step>) = match node {
            Some(node) => {
                let way = self.graph.way(node);
                let end = way.last().map(|step| self.graph.cycle(step.node));
                (way, end.unwrap_or_default())
            }
            None => (Vec::new(), Vec::new()),
        };
        if !cycle.is_empty() {
            // The way ends with the first one of the cycle.
            chain.pop();
        }
        let goids = |steps: &mut Vec<Step>| -> Vec<Goid> {
            let steps = steps.drain(..);
            steps
                .map(|step| self.graph.goroutine(step.node).goid)
                .collect()
        };
        let (mut chain, cycle) = (goids(&mut chain), goids(&mut cycle));
        let (waits, left_out) = self.around(goid, chain.iter().chain(&cycle).copied());
        if let (Some(&first), Some(_)) = (cycle.first(), node) {
            chain.push(first);
        }
        let findings = self.findings();
        let of = |finding: &&Finding| {
            finding.goroutines.contains(&goid) || finding.unconfirmed.contains(&goid)
        };
        let (reasons, doubts) = self.weigh(goroutine);
        Why {
            goid,
            finding: findings.iter().find(of).map(|finding| finding.id.clone()),
            waits,
            left_out,
            chain,
            cycle,
            reasons,
            doubts,
            passes: self
                .pass
                .sightings
                .get(&goid)
                .map_or(0, |sighting| sighting.passes),
        }
    }

    /// The waits of all goroutines in the chains of findings.
    pub(super) fn waits_of(&self, findings: &[Finding]) -> Vec<Waiting> {
        let known = self.known();
        let mut told = FxHashSet::default();
        let links = findings.iter().flat_map(|finding| &finding.chain);
        links
            .filter(|link| told.insert(link.goid))
            .filter_map(|link| Some(self.waiting(known.by_goid.get(&link.goid)?, &known)))
            .collect()
    }

    /// The waits of `goid`, of `first` and of who else could have helped, and how many of those were
    /// left out.
    fn around(&self, goid: Goid, first: impl Iterator<Item = Goid>) -> (Vec<Waiting>, usize) {
        let known = self.known();
        let mut seen = FxHashSet::default();
        let mut queue: VecDeque<(Goid, usize)> = std::iter::once(goid)
            .chain(first)
            .filter(|&goid| seen.insert(goid))
            .map(|goid| (goid, 0))
            .collect();
        let chosen = queue.len().max(MOST);
        let mut waits = Vec::new();
        let mut left_out = 0;
        while let Some((goid, depth)) = queue.pop_front() {
            let Some(goroutine) = known.by_goid.get(&goid) else {
                continue;
            };
            if waits.len() >= chosen {
                left_out += 1;
                continue;
            }
            let waiting = self.waiting(goroutine, &known);
            let stuck = matches!(waiting.stands, Stands::Stuck(_));
            if stuck || depth < DEPTH {
                for reference in waiting.awaited.iter().flat_map(|it| &it.references) {
                    if seen.insert(reference.goid) {
                        queue.push_back((reference.goid, depth + 1));
                    }
                }
            }
            waits.push(waiting);
        }
        (waits, left_out)
    }

    fn known(&self) -> Known<'_> {
        let goroutines = self.snapshot.goroutines.iter();
        Known {
            by_goid: goroutines.map(|it| (it.goid, it)).collect(),
            waiters: waiters(self.snapshot),
        }
    }

    fn waiting(&self, goroutine: &Goroutine, known: &Known<'_>) -> Waiting {
        let goid = goroutine.goid;
        let awaited = objects(goroutine).iter().map(|&object| {
            let references = match self.graph.node(goid) {
                Some(node) => self
                    .graph
                    .holders(node, object)
                    .map(|holder| self.reference(holder))
                    .collect(),
                None => self.seen_references(goid, object),
            };
            Awaited::new(object, goid, &known.waiters, references)
        });
        let awaited = awaited.collect();
        let stands = self.stands(goroutine);
        Waiting::new(self.snapshot, goroutine, self.symbolizer, awaited, stands)
    }

    fn reference(&self, holder: &crate::snapshot::Holder) -> Reference {
        let target = holder.object.0;
        let mut way = holder.path.iter().copied().filter(|&addr| addr != target);
        Reference {
            goid: holder.goid,
            slot: way.next(),
            frame: frame_of(self.snapshot, holder.goid, holder.frame),
            through: way.collect(),
        }
    }

    /// What was seen of who refers to what a goroutine that lives waits on.
    fn seen_references(&self, goid: Goid, object: WaitObject) -> Vec<Reference> {
        let target = WaitTarget::from(object);
        let holders = self.reachability.holders.iter();
        let mut references: Vec<Reference> = holders
            .filter(|holder| holder.object == target && holder.goid != goid)
            .map(|holder| self.reference(holder))
            .collect();
        let mut seen: FxHashSet<Goid> = FxHashSet::default();
        references.retain(|reference| seen.insert(reference.goid));
        let users = users(self.snapshot, object).into_iter();
        references.extend(users.filter(|user| user.goid != goid && seen.insert(user.goid)));
        references
    }

    fn stands(&self, goroutine: &Goroutine) -> Stands {
        if let Some(node) = self.graph.node(goroutine.goid) {
            return match is_on_purpose(goroutine) {
                true => Stands::OnPurpose,
                false => Stands::Stuck(self.verdict(node)),
            };
        }
        let kind = goroutine.wait.as_ref().map(|wait| wait.reason.kind());
        Stands::Alive(match (goroutine.state, kind) {
            _ if goroutine.system => Alive::System,
            (State::Waiting | State::Leaked, Some(kind)) if !kind.ends_only_by_goroutine() => {
                Alive::EndsByItself(kind)
            }
            (State::Waiting | State::Leaked, Some(_)) => {
                let acted = last_event(self.world, goroutine.goid);
                if goroutine.moving || acted.is_some_and(|at| at > goroutine.at) {
                    Alive::Moves
                } else if let Some(&(by, through)) = self.saved.get(&goroutine.goid) {
                    Alive::WokenBy(by, through)
                } else {
                    Alive::Reached
                }
            }
            (state, _) => Alive::NotWaiting(state),
        })
    }

    /// What speaks for how a goroutine stands, and what is not known.
    fn weigh(&self, goroutine: &Goroutine) -> (Vec<String>, Vec<String>) {
        let (mut reasons, mut doubts) = (Vec::new(), Vec::new());
        let forever = waits_forever(goroutine);
        match goroutine.wait.as_ref().map(|wait| wait.reason) {
            Some(WaitReason::ChanSendNil | WaitReason::ChanReceiveNil) => {
                reasons.push("nothing can ever come through a nil channel".to_owned());
            }
            Some(WaitReason::SelectNoCases) => {
                reasons.push("nothing ends a select without cases".to_owned());
            }
            _ => {}
        }
        let Some(node) = self.graph.node(goroutine.goid) else {
            reasons.extend(self.life(goroutine));
            return (reasons, doubts);
        };
        if is_on_purpose(goroutine) {
            reasons.push("programs park their main goroutine so on purpose".to_owned());
            return (reasons, doubts);
        }
        let held = self.sighting(node).is_some_and(|sighting| sighting.held);
        if held {
            reasons.extend(self.variables(node));
            reasons.push(
                "no code that can still run uses it: not what a goroutine that can still run is about to do, nor \
                 what that can call, nor timers, finalizers and the runtime"
                    .to_owned(),
            );
            doubts.push(
                "that rests on the program's code, so it cannot be proven by looking again"
                    .to_owned(),
            );
        } else if !forever {
            reasons.push(
                "a search of memory, from every global and from the stack of every goroutine that can still run, \
                 did not reach what it waits on"
                    .to_owned(),
            );
        }
        if !forever {
            let helpers = objects(goroutine)
                .iter()
                .any(|&object| self.graph.holders(node, object).next().is_some());
            reasons.push(match helpers {
                true => "whoever refers to it can never run again either".to_owned(),
                false => "no goroutine refers to it but those that wait for the same".to_owned(),
            });
        }
        if goroutine.state == State::Leaked {
            reasons.push("the Go runtime itself found it leaked".to_owned());
        }
        let sighting = self.sighting(node);
        let passes = sighting.map_or(1, |sighting| sighting.passes);
        match self.last {
            Some(last) if passes > 1 => reasons.push(format!(
                "{passes} consecutive passes agree and it did not move between them; the last two began {} ms apart",
                self.pass.started.since(last.started) / 1_000_000
            )),
            _ if held => {}
            _ => doubts.push(
                "one pass saw it so: a reference could have moved while memory was read; another one has to agree"
                    .to_owned(),
            ),
        }
        if self.may_idle(node) {
            doubts.push(
                "it is the main goroutine and other goroutines live: it may be parked on purpose"
                    .to_owned(),
            );
        }
        if objects(goroutine).is_empty() && !forever {
            doubts.push("on what it waits is not known".to_owned());
        }
        if forever {
            return (reasons, doubts);
        }
        if !self.reachability.running.is_empty() {
            doubts.push(format!(
                "{} ran while memory was searched, and registers cannot be read",
                text::goroutines(&self.reachability.running)
            ));
        }
        if !self.reachability.ran.is_empty() {
            doubts.push(format!(
                "{} ran for a moment while memory was searched and may have moved references",
                text::goroutines(&self.reachability.ran)
            ));
        }
        for error in &self.reachability.errors {
            doubts.push(format!("not read: {error}"));
        }
        if sighting.is_some_and(|sighting| sighting.is_proven()) && !self.pass.clean {
            reasons.push("earlier passes saw everything and proved it".to_owned());
        }
        (reasons, doubts)
    }

    /// Why a goroutine may run again, in words.
    fn life(&self, goroutine: &Goroutine) -> Vec<String> {
        let Stands::Alive(alive) = self.stands(goroutine) else {
            return Vec::new();
        };
        vec![match alive {
            Alive::NotWaiting(state) => format!("it waits for nothing: it is {state}"),
            Alive::EndsByItself(kind) => match kind {
                WaitKind::Netpoll => {
                    "it waits for what comes from outside of the process".to_owned()
                }
                _ => "its wait ends by itself".to_owned(),
            },
            Alive::System => "it is one of the runtime's own".to_owned(),
            Alive::Moves => "it changed while it was read, or did something since".to_owned(),
            Alive::WokenBy(by, WaitTarget(through)) => format!(
                "goroutine {by}, which shows life, refers to {through}, on which it waits"
            ),
            Alive::Reached => {
                "what it waits on can be reached from a global or from a goroutine that can still run, or that \
                 could not be told; from which one is not recorded"
                    .to_owned()
            }
        }]
    }
}

/// Goroutines by what is asked of them.
struct Known<'a> {
    by_goid: FxHashMap<Goid, &'a Goroutine>,
    waiters: Waiters,
}
