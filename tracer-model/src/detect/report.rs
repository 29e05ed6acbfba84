//! A pass over the target's memory, put into words: findings with their evidence.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use crate::ids::{Goid, Pc};
use crate::snapshot::{Reachability, Snapshot, State, WaitTarget};
use crate::symbol::{Symbolizer, user_site};
use crate::wait::{WaitObject, WaitReason};
use crate::world::World;

use super::graph::{Graph, Node, Step};
use super::sighting::{Pass, Sighting};
use super::text::{self, Words};
use super::{
    Finding, FindingId, FindingKind, Link, MAIN, Verdict, is_on_purpose, objects, stack,
    waits_forever,
};
/// How many references of each link the evidence names.
const REFERENCES: usize = 3;
/// Of how many links the evidence names references.
const LINKS_WITH_REFERENCES: usize = 8;
/// How many goids a deadlock's id spells out.
const SPELLED: usize = 4;

/// One pass, about to be put into words.
pub(super) struct Report<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) reachability: &'a Reachability,
    pub(super) world: Option<&'a World>,
    pub(super) symbolizer: &'a dyn Symbolizer,
    pub(super) last: Option<&'a Pass>,
    pub(super) pass: &'a Pass,
    pub(super) graph: Graph<'a>,
    pub(super) saved: FxHashMap<Goid, (Goid, WaitTarget)>,
    pub(super) words: Words<'a>,
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
    pub(super) fn findings(&self) -> Vec<Finding> {
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
    pub(super) fn may_idle(&self, node: Node) -> bool {
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

    pub(super) fn verdict(&self, node: Node) -> Verdict {
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
    pub(super) fn variables(&self, node: Node) -> impl Iterator<Item = String> {
        let goid = self.graph.goroutine(node).goid;
        let held = self.pass.held.iter().filter(move |held| held.goid == goid);
        held.map(text::variable)
    }

    pub(super) fn sighting(&self, node: Node) -> Option<&Sighting> {
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
