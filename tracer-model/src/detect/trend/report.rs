//! What is to be said after a block.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::finding::{Finding, FindingId, FindingKind, Link, Trend, Verdict};
use super::super::timers::timers;
use super::clock::{Block, PARTS};
use super::cohort::Growth;
use super::depths::Deepening;
use super::queues::Standing;
use super::words::{place, rate, remedy, time};
use super::{KEPT, Stuck, Trends, hash, spelled};
use crate::ids::{Addr, ChanAddr, Goid, Pc};
use crate::snapshot::{Channel, Goroutine, Snapshot, State};
use crate::symbol::{Landmark, Symbolizer, user_site};
use crate::wait::{WaitKind, WaitObject, WaitReason};
use crate::world::Origin;

/// What a report is made of.
struct Scene<'a> {
    snapshot: &'a Snapshot,
    channels: &'a FxHashMap<ChanAddr, &'a Channel>,
    symbolizer: &'a dyn Symbolizer,
    by_goid: FxHashMap<Goid, &'a Goroutine>,
}

impl Trends {
    pub(super) fn report(
        &mut self,
        snapshot: &Snapshot,
        channels: &FxHashMap<ChanAddr, &Channel>,
        symbolizer: &dyn Symbolizer,
    ) -> Vec<Finding> {
        let Some(window) = self.clock.window(PARTS) else {
            return Vec::new();
        };
        let by_goid = (snapshot.goroutines.iter())
            .map(|goroutine| (goroutine.goid, goroutine))
            .collect();
        let scene = Scene {
            snapshot,
            channels,
            symbolizer,
            by_goid,
        };
        let mut findings = self.growths(&scene, &window);
        let begin = window.first().map_or(snapshot.started, |block| block.at);
        let stood = snapshot.started.since(begin) + self.clock.length();
        let looks = window.iter().map(|block| block.looks).sum();
        let trend = |standing: &Standing| Trend {
            window: stood,
            looks,
            first: standing.first,
            last: standing.last,
            slope: None,
            chance: None,
            served_by: standing.server.map(|(goid, _)| goid),
        };
        for (chan, standing) in self.senders.standing() {
            findings.extend(scene.backlog(*chan, &standing, trend(&standing)));
        }
        let locks: Vec<_> = self.lockers.standing().collect();
        let one = locks.iter().any(|(lock, _)| lock.is_some());
        for (lock, standing) in &locks {
            // That one lock has a crowd says more.
            if lock.is_some() || !one {
                findings.push(scene.convoy(**lock, standing, trend(standing)));
            }
        }
        for (goid, deepening) in self.depths.deepening(&window) {
            findings.extend(scene.recursion(goid, deepening, stood, looks));
        }
        findings.sort_by(|a, b| {
            let largest = b.goroutines.len().cmp(&a.goroutines.len());
            a.kind
                .cmp(&b.kind)
                .then(largest)
                .then_with(|| a.id.cmp(&b.id))
        });
        findings
    }

    fn growths(&mut self, scene: &Scene<'_>, window: &[Block]) -> Vec<Finding> {
        let long = self.clock.window(KEPT);
        let block = self.clock.length();
        let network = |growth: &Growth| {
            let counts = self.network.last(growth.blocks);
            let (first, last) = (counts.first(), counts.last());
            let more = last.unwrap_or(&0).saturating_sub(*first.unwrap_or(&0));
            more * 2 >= growth.last.saturating_sub(growth.first)
        };
        let mut windows = vec![window.to_vec()];
        windows.extend(long.clone());
        let mut found = Vec::new();
        let grown: Vec<(usize, Stuck, Growth)> = (self.stuck.places())
            .filter_map(|(index, key, place)| {
                Some((index, key.clone(), place.growth(&windows, block)?))
            })
            .collect();
        let mut said: FxHashSet<Origin> = FxHashSet::default();
        for (index, place, growth) in grown {
            let members = self.stuck.at(index);
            let landmark = scene.landmark(&members, place.origin);
            // As many new users as new goroutines: each is somebody's, and goes with them.
            let explained = landmark != Some(Landmark::ResponseReader) && network(&growth);
            if explained || landmark == Some(Landmark::RequestWriter) {
                continue;
            }
            said.insert(place.origin);
            let id = format!(
                "growth-{}{:08x}",
                spelled(place.origin.created_at),
                hash(&place) >> 32
            );
            found.extend(scene.growth(
                id,
                place.origin,
                Some(place.reason),
                &members,
                landmark,
                growth,
            ));
        }
        let Some(long) = long else {
            return found;
        };
        let windows = [long];
        let grown: Vec<(usize, Origin, Growth)> = (self.lasting.places())
            .filter_map(|(index, origin, place)| {
                Some((index, *origin, place.growth(&windows, block)?))
            })
            .collect();
        for (index, origin, growth) in grown {
            let members = self.lasting.at(index);
            let landmark = scene.landmark(&members, origin);
            let explained = landmark != Some(Landmark::Acceptor) && network(&growth);
            let http = matches!(
                landmark,
                Some(Landmark::RequestWriter | Landmark::ResponseReader)
            );
            if explained || http || said.contains(&origin) {
                continue;
            }
            let id = format!(
                "growth-{}{:08x}",
                spelled(origin.created_at),
                hash(&origin) >> 32
            );
            found.extend(scene.growth(id, origin, None, &members, landmark, growth));
        }
        found
    }
}

impl Scene<'_> {
    /// What the goroutines are known for, by where they were started, else by one's stack.
    fn landmark(&self, members: &[Goid], origin: Origin) -> Option<Landmark> {
        let of = |pc: Pc| self.symbolizer.landmark(pc);
        let by_start = origin.start.and_then(of);
        by_start.or_else(|| {
            let one = self.by_goid.get(members.first()?)?;
            self.snapshot.stack(one).iter().find_map(|pc| of(*pc))
        })
    }

    fn growth(
        &self,
        id: String,
        origin: Origin,
        reason: Option<WaitReason>,
        members: &[Goid],
        landmark: Option<Landmark>,
        growth: Growth,
    ) -> Option<Finding> {
        let one = self.by_goid.get(members.first()?)?;
        let Growth {
            blocks: _,
            window,
            looks,
            first,
            last,
            came,
            left,
            life,
            slope,
            chance,
        } = growth;
        let timer = match reason {
            Some(_) => self.waits_for_a_stopped_timer(one),
            None => timers(one, self.channels).next().is_some(),
        };
        let started = match (origin.created_at, origin.start) {
            (Some(pc), _) => place(&[pc], self.symbolizer)
                .map_or_else(|| format!("at {pc}"), |name| format!("by {name}")),
            (None, _) => "at a place that is not known".to_owned(),
        };
        let what = match reason {
            Some(reason) => format!("begin to wait ({reason}) and do not run again"),
            None => "do not end".to_owned(),
        };
        let evidence = vec![
            format!(
                "in {} and {looks} looks {came} came to stay and {left} left: {}",
                time(window),
                rate(slope),
            ),
            format!(
                "a number that stays as it is would look so once in {:.0} times at most",
                1.0 / chance.max(1e-12)
            ),
            format!(
                "each stays for {} on average at least (95 %); if that is meant so, this may be as it should",
                time(life)
            ),
        ];
        Some(Finding {
            reason: format!(
                "goroutines started {started} {what}: {last} by now, {first} {} ago",
                time(window)
            ),
            goroutines: members.to_vec(),
            chain: vec![self.link(one)],
            evidence,
            advice: Some(remedy(reason, landmark, timer).to_owned()),
            created_at: origin.created_at,
            trend: Some(Trend {
                window,
                looks,
                first,
                last,
                slope: Some(slope),
                chance: Some(chance),
                served_by: None,
            }),
            ..empty(id, FindingKind::Growth)
        })
    }

    fn backlog(&self, chan: ChanAddr, standing: &Standing, trend: Trend) -> Option<Finding> {
        let channel = self.channels.get(&chan)?;
        let senders: Vec<Goid> = (channel.send_waiting.iter())
            .map(|waiter| waiter.goid)
            .collect();
        let one = self.by_goid.get(senders.first()?)?;
        let typed = match &*channel.elem_type {
            "" => format!("cap {}", channel.cap),
            name => format!("chan {name}, cap {}", channel.cap),
        };
        let stood = time(trend.window);
        let moves = match standing.moves {
            true => format!("is full at every look for {stood}: more comes in than is taken out"),
            false => format!("is full for {stood}, and nobody takes anything out"),
        };
        let mut evidence = vec![format!(
            "{} wait to send on average, at least {} different ones were seen",
            standing.typical, standing.different
        )];
        match standing.server {
            Some((goid, times)) => {
                evidence.push(format!(
                    "goroutine {goid} receives from it (the last one to do so at {times} looks){}",
                    self.doing(goid)
                ));
            }
            None => evidence.push(
                "who receives from it is not known: `run --level wake` or more tells".to_owned(),
            ),
        }
        let advice = match standing.moves {
            true => {
                "make the receiver faster or start more of them; more room only delays this. Where work may \
                 be refused, refuse it early: select with default, or beside a context's Done"
            }
            false => {
                "see why the receiver does not come back to the channel (gotrace why GOID of a sender): it \
                 has ended, or it is stuck elsewhere"
            }
        };
        Some(Finding {
            reason: format!("channel {chan} ({typed}) {moves}"),
            goroutines: sorted(senders),
            chain: vec![self.link(one)],
            evidence,
            advice: Some(advice.to_owned()),
            trend: Some(trend),
            ..empty(format!("backlog-{chan}"), FindingKind::Backlog)
        })
    }

    fn convoy(&self, lock: Option<Addr>, standing: &Standing, trend: Trend) -> Finding {
        let waits = |goroutine: &&Goroutine| {
            let wait = goroutine.wait.as_ref();
            wait.is_some_and(|wait| {
                matches!(wait.reason.kind(), WaitKind::Mutex | WaitKind::RwMutex)
                    && lock.is_none_or(|lock| *wait.objects == [WaitObject::Semaphore(lock)])
            })
        };
        let waiting: Vec<&Goroutine> = self.snapshot.goroutines.iter().filter(waits).collect();
        let mut places: FxHashMap<String, usize> = FxHashMap::default();
        for goroutine in &waiting {
            let stack = self.snapshot.stack(goroutine);
            if let Some(name) = place(stack, self.symbolizer) {
                *places.entry(name).or_insert(0) += 1;
            }
        }
        let mut places: Vec<(usize, String)> = places
            .into_iter()
            .map(|(name, count)| (count, name))
            .collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        let mut evidence = vec![format!(
            "{} wait for it on average, at least {} different ones were seen",
            standing.typical, standing.different
        )];
        for (count, name) in places.iter().take(3) {
            evidence.push(format!("{count} of them wait now at {name}"));
        }
        let stood = time(trend.window);
        let (moves, advice) = match standing.moves {
            true => (
                "they get it one after the other",
                "hold the lock for less: no I/O and no channel operation under it; or split what it protects, \
                 or use an RWMutex or an atomic value where it is mostly read",
            ),
            false => (
                "none of the first ones got it",
                "whoever holds it does not let go: see where (gotrace why GOID of a waiter names who may hold it)",
            ),
        };
        let (id, what) = match lock {
            Some(lock) => (
                format!("convoy-{lock}"),
                format!("a crowd waits for the lock at {lock}"),
            ),
            None => (
                "convoy-all".to_owned(),
                "half of all goroutines and more wait for locks".to_owned(),
            ),
        };
        Finding {
            reason: format!("{what} at every look for {stood}; {moves}"),
            goroutines: sorted(waiting.iter().map(|goroutine| goroutine.goid).collect()),
            chain: (waiting.first())
                .map(|one| self.link(one))
                .into_iter()
                .collect(),
            evidence,
            advice: Some(advice.to_owned()),
            trend: Some(trend),
            ..empty(id, FindingKind::Convoy)
        }
    }

    fn recursion(
        &self,
        goid: Goid,
        deepening: Deepening,
        window: u64,
        looks: u32,
    ) -> Option<Finding> {
        let one = self.by_goid.get(&goid)?;
        let Deepening {
            first,
            last,
            slope,
            chance,
        } = deepening;
        Some(Finding {
            reason: format!(
                "the stack of goroutine {goid} grows all the time: {} KiB, {} KiB {} ago",
                last >> 10,
                first >> 10,
                time(window)
            ),
            goroutines: vec![goid],
            chain: vec![self.link(one)],
            evidence: vec![format!(
                "{:.1} KiB a second (95 %: {:.1} to {:.1}){}",
                slope.per_second / 1024.0,
                slope.low / 1024.0,
                slope.high / 1024.0,
                self.doing(goid)
            )],
            advice: Some(
                "a function calls itself and does not come back: make it a loop, or bound its depth; a stack \
                 of 1 GB ends the program"
                    .to_owned(),
            ),
            trend: Some(Trend {
                window,
                looks,
                first,
                last,
                slope: Some(slope),
                chance: Some(chance),
                served_by: None,
            }),
            ..empty(format!("recursion-{goid}"), FindingKind::Recursion)
        })
    }

    /// Whether it waits on the channel of a timer that is not set: nothing will come.
    fn waits_for_a_stopped_timer(&self, goroutine: &Goroutine) -> bool {
        let objects = goroutine
            .wait
            .as_ref()
            .map_or(&[][..], |wait| &wait.objects);
        objects.iter().any(|object| match object {
            WaitObject::Chan { chan, .. } => (self.channels.get(chan))
                .and_then(|channel| channel.timer)
                .is_some_and(|timer| timer.when.is_none()),
            _ => false,
        })
    }

    /// `; it is waiting (sleep) at main.work (work.go:12)`
    fn doing(&self, goid: Goid) -> String {
        let Some(goroutine) = self.by_goid.get(&goid) else {
            return "; it has ended".to_owned();
        };
        let wait = match (&goroutine.wait, goroutine.state) {
            (Some(wait), State::Waiting) => format!("waiting ({})", wait.reason),
            (_, state) => state.name().to_owned(),
        };
        let at = place(self.snapshot.stack(goroutine), self.symbolizer);
        at.map_or_else(
            || format!("; it is {wait}"),
            |at| format!("; it is {wait} at {at}"),
        )
    }

    fn link(&self, goroutine: &Goroutine) -> Link {
        let wait = goroutine.wait.as_ref();
        Link {
            goid: goroutine.goid,
            reason: wait.map_or(WaitReason::None, |wait| wait.reason),
            waits_on: wait.and_then(|wait| wait.objects.first().copied()),
            held_by: Vec::new(),
            site: user_site(self.snapshot.stack(goroutine), self.symbolizer),
        }
    }
}

fn sorted(mut goids: Vec<Goid>) -> Vec<Goid> {
    goids.sort_unstable();
    goids.dedup();
    goids
}

/// A trend with nothing said yet.
fn empty(id: String, kind: FindingKind) -> Finding {
    Finding {
        id: FindingId(id.into()),
        kind,
        verdict: Verdict::Suspect,
        goroutines: Vec::new(),
        unconfirmed: Vec::new(),
        chain: Vec::new(),
        caused_by: None,
        reason: String::new(),
        evidence: Vec::new(),
        advice: None,
        created_at: None,
        at: None,
        trend: None,
    }
}
