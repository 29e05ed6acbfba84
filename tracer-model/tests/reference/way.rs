//! From the probes to the world, as the program does it: records of several CPUs with sequence
//! numbers, which reach the ring out of order or not at all; a reader that drains it now and then,
//! sorts, and says what is missing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tracer_model::event::{Event, EventKind};
use tracer_model::ids::{Goid, Ktime};
use tracer_model::order::Sorter;
use tracer_model::snapshot::Snapshot;
use tracer_model::world::World;

use crate::machine::{Machine, Moment};

/// How late a record can be.
const SLACK: u64 = 10;
/// After how long a missing sequence number counts as lost.
const PATIENCE: u64 = 3 * SLACK;

/// For how long the reader goes on after the last event.
pub(crate) const END: u64 = 4 * PATIENCE;

const CPUS: usize = 3;

/// What happens to the records, each list used from its beginning again when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    cpus: Vec<usize>,
    lateness: Vec<u64>,
    /// Time between two drains.
    drains: Vec<u64>,
    /// Of the records as they reach the ring: after how many more it is full, and for how many.
    losses: Vec<(usize, usize)>,
}

/// Loads under which the ring is full so many times at most.
pub(crate) fn load(losses: usize) -> impl Strategy<Value = Load> {
    (
        proptest::collection::vec(0..CPUS, 1..20),
        proptest::collection::vec(0..=SLACK, 1..20),
        proptest::collection::vec(1..3 * SLACK, 1..10),
        proptest::collection::vec((0_usize..60, 1_usize..20), 0..=losses),
    )
        .prop_map(|(cpus, lateness, drains, losses)| Load {
            cpus,
            lateness,
            drains,
            losses,
        })
}

/// A record that a probe wants to write.
struct Record<'e> {
    event: &'e Event,
    cpu: usize,
    seq: u64,
    /// When it asks for room.
    arrival: u64,
    lost: bool,
}

fn records<'e>(events: &'e [Event], load: &Load) -> Vec<Record<'e>> {
    let mut next = [0; CPUS];
    let mut records: Vec<Record<'e>> = events
        .iter()
        .zip(load.cpus.iter().cycle().zip(load.lateness.iter().cycle()))
        .map(|(event, (&cpu, lateness))| {
            let seq = next[cpu];
            next[cpu] += 1;
            Record {
                event,
                cpu,
                seq,
                arrival: event.at.0 + lateness,
                lost: false,
            }
        })
        .collect();
    records.sort_by_key(|record| record.arrival);
    let mut arriving = records.iter_mut();
    for &(after, count) in &load.losses {
        for record in arriving.by_ref().skip(after).take(count) {
            record.lost = true;
        }
    }
    records
}

/// Sequence numbers of one CPU that are missing, each with the time of the record after it.
#[derive(Default)]
struct Missing {
    next: u64,
    since: BTreeMap<u64, Ktime>,
}

impl Missing {
    fn arrived(&mut self, seq: u64, at: Ktime) {
        for missing in self.next..seq {
            self.since.insert(missing, at);
        }
        self.since.remove(&seq);
        self.next = self.next.max(seq + 1);
    }
}

/// What the world is compared with.
struct Check<'m> {
    moments: &'m [Moment],
    /// Time of the newest event that was applied.
    frontier: Ktime,
    /// Time up to which records are lost, as far as it is told.
    lost_until: Option<Ktime>,
    observed: Vec<(Ktime, Ktime)>,
}

impl Check<'_> {
    fn at(&self, time: Ktime) -> &Moment {
        let index = self.moments.partition_point(|moment| moment.from <= time);
        &self.moments[index - 1]
    }

    /// Whether a snapshot was taken over since the last loss.
    fn healed(&self) -> bool {
        let started = self.observed.iter().map(|(started, _)| *started).max();
        self.lost_until.is_none_or(|lost| started >= Some(lost))
    }

    /// What the world vouches for is true, and it vouches for all unless there was a loss.
    fn check(&self, world: &World) -> Result<(), TestCaseError> {
        for goroutine in world.goroutines() {
            if goroutine.unknown_since().is_some() {
                prop_assert!(!self.healed(), "{} is not known", goroutine.goid());
                continue;
            }
            // A snapshot can be ahead of the events.
            let time = self.frontier.max(goroutine.known().at);
            let Some(status) = self.at(time).goroutines.get(&goroutine.goid()) else {
                return Err(TestCaseError::fail(format!("{} is gone", goroutine.goid())));
            };
            match (goroutine.wait(), status.parked()) {
                (None, None) => {}
                (Some(wait), Some(parked)) => {
                    prop_assert_eq!(wait.reason, parked.reason);
                    if !wait.objects.is_empty() {
                        prop_assert_eq!(wait.objects, &*parked.objects);
                    }
                    if let Some(since) = wait.since {
                        prop_assert_eq!(since, parked.since);
                    }
                }
                (wait, parked) => {
                    let goid = goroutine.goid();
                    prop_assert!(false, "{goid} at {time:?}: {wait:?} is {parked:?}");
                }
            }
        }
        for goid in self.at(self.frontier).goroutines.keys() {
            // The first ones are heard of once they act. Whoever a snapshot did not find had ended
            // before its end, or its creation is yet to be told.
            let ended =
                |(_, finished): &(Ktime, Ktime)| !self.at(*finished).goroutines.contains_key(goid);
            prop_assert!(
                world.goroutine(*goid).is_some()
                    || goid.0 < 4
                    || !self.healed()
                    || self.lost_until.is_some()
                    || self.observed.iter().any(ended),
                "{goid} is missing"
            );
        }
        Ok(())
    }
}

/// Feeds a world with what the machine's probes said, and with the snapshots, each delivered so long
/// after it was taken; compares after each step.
pub(crate) fn follow(
    machine: &Machine,
    load: &Load,
    snapshots: &[(usize, Snapshot)],
) -> Result<World, TestCaseError> {
    let records = records(&machine.events, load);
    let moments = machine.history();
    let mut world = World::new();
    let mut sorter = Sorter::new(SLACK);
    let mut missing: [Missing; CPUS] = Default::default();
    let mut check = Check {
        moments: &moments,
        frontier: Ktime(0),
        lost_until: None,
        observed: Vec::new(),
    };

    let mut delivery: Vec<(u64, &Snapshot)> = snapshots
        .iter()
        .map(|(late, snapshot)| (snapshot.finished.0 + (*late as u64 % PATIENCE), snapshot))
        .collect();
    delivery.sort_by_key(|(at, _)| *at);
    let mut delivery = delivery.into_iter().peekable();
    let mut records = records.iter().peekable();
    let mut pauses = load.drains.iter().cycle();
    let mut now = 1000;
    let end = machine.clock + END;
    while now < end {
        now = end.min(now + pauses.next().expect("a cycle has no end"));
        let mut lost = false;
        while let Some(record) = records.next_if(|record| record.arrival <= now) {
            lost |= record.lost;
            if !record.lost {
                missing[record.cpu].arrived(record.seq, record.event.at);
                sorter.push(record.event.clone());
            }
        }
        // The kernel side counts what finds no room, so that it is known at once.
        if lost {
            check.lost_until = Some(Ktime(now));
            world.apply(&loss(0, Ktime(now)));
            check.check(&world)?;
        }
        // How much is missing a gap says, once nothing can fill it any more. The record after it can
        // be from long after.
        for cpu in &mut missing {
            let due = |since: Ktime| now > since.0 + PATIENCE;
            for (_, since) in cpu.since.extract_if(.., |_, since| due(*since)) {
                world.apply(&loss(1, since.min(check.lost_until.unwrap_or(since))));
            }
        }
        let newest_is_old = now > machine.clock + 2 * SLACK;
        loop {
            let next = if newest_is_old {
                sorter.flush()
            } else {
                sorter.pop()
            };
            let Some(event) = next else { break };
            world.apply(&event);
            check.frontier = check.frontier.max(event.at);
            check.check(&world)?;
        }
        while let Some((_, snapshot)) = delivery.next_if(|(at, _)| *at <= now) {
            world.observe(snapshot);
            check.observed.push((snapshot.started, snapshot.finished));
            check.check(&world)?;
        }
    }
    // What was lost after the last record of each CPU leaves no gap.
    let attempted = machine.events.len() as u64;
    let trailing = attempted - world.totals().events - world.totals().lost;
    if trailing > 0 {
        world.apply(&loss(trailing, check.lost_until.unwrap_or(Ktime(now))));
    }
    Ok(world)
}

fn loss(count: u64, at: Ktime) -> Event {
    Event {
        at,
        actor: Goid(0),
        kind: EventKind::Lost { count },
    }
}
