//! The world against a reference: a small implementation of Go's channels that says what the probes
//! would say ([`machine`]). Random programs run on it; the world, fed with the events and with
//! snapshots that are taken piecemeal and come early or late, must know who waits on what: after
//! each event ([`way`]: over several CPUs, through a ring that loses some), and at the end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tracer_model::event::{Event, EventKind};
use tracer_model::ids::{Goid, Ktime, Pc};
use tracer_model::snapshot::{Snapshot, State};
use tracer_model::wait::{Direction, WaitKind};
use tracer_model::world::World;

use machine::{CAPACITIES, MUTEXES, Machine, Op, Plan, Status, Taking, execute};

mod machine;
mod way;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    events: u64,
    sends: u64,
    receives: u64,
    closes: u64,
    selects: u64,
    parks: u64,
    wakeups: u64,
    wakeups_by_runtime: u64,
    direct: u64,
    runs: u64,
    created: u64,
    exited: u64,
}

/// Applies the events from `attached` on, each snapshot at its place among them, in thousandths.
fn world_of(events: &[Event], attached: usize, snapshots: &[(usize, Snapshot)]) -> World {
    let mut world = World::new();
    let seen = &events[attached..];
    for index in 0..=seen.len() {
        for (delivered, snapshot) in snapshots {
            if delivered * seen.len() / 1000 == index {
                world.observe(snapshot);
            }
        }
        if let Some(event) = seen.get(index) {
            world.apply(event);
        }
    }
    world.heard_until(Ktime(u64::MAX));
    world
}

/// Who is there, and who waits, why and on what; since when, if asked for.
fn waits_of_world(world: &World, since: bool) -> BTreeMap<Goid, Option<String>> {
    world
        .goroutines()
        .map(|goroutine| {
            let wait = goroutine.wait().map(|wait| {
                let since = since.then_some(wait.since);
                // Which mutex only memory shows.
                let objects = match wait.reason.kind() {
                    WaitKind::Mutex => &[],
                    _ => wait.objects,
                };
                format!("{:?} {objects:?} {since:?}", wait.reason)
            });
            assert_eq!(wait.is_some(), goroutine.state() == State::Waiting);
            (goroutine.goid(), wait)
        })
        .collect()
}

fn waits_of_machine(
    goroutines: &BTreeMap<Goid, Status>,
    since: bool,
) -> BTreeMap<Goid, Option<String>> {
    goroutines
        .iter()
        .map(|(&goid, status)| {
            let wait = status.parked().map(|parked| {
                let since = since.then_some(Some(parked.since));
                let objects = match parked.reason.kind() {
                    WaitKind::Mutex => &[],
                    _ => &*parked.objects,
                };
                format!("{:?} {objects:?} {since:?}", parked.reason)
            });
            (goid, wait)
        })
        .collect()
}

fn queues_of_world(world: &World) -> Vec<[Vec<Goid>; 2]> {
    let queues = world.queues();
    (0..CAPACITIES.len())
        .map(|chan| match queues.get(Machine::addr(chan)) {
            None => [Vec::new(), Vec::new()],
            Some(queue) => [&queue.send, &queue.receive]
                .map(|side| side.iter().map(|waiter| waiter.goid).collect()),
        })
        .collect()
}

fn counts_of_world(world: &World) -> Counts {
    let totals = world.totals();
    Counts {
        events: totals.events,
        sends: totals.sends,
        receives: totals.receives,
        closes: totals.closes,
        selects: totals.selects,
        parks: totals.parks.values().sum(),
        wakeups: totals.wakeups,
        wakeups_by_runtime: totals.wakeups_by_runtime,
        direct: totals.direct_sends + totals.direct_receives,
        runs: totals.runs,
        created: totals.created,
        exited: totals.exited,
    }
}

fn counts_of_events(events: &[Event]) -> Counts {
    let count = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count() as u64;
    Counts {
        events: events.len() as u64,
        sends: count(|event| matches!(event.kind, EventKind::SendBegin(_))),
        receives: count(|event| matches!(event.kind, EventKind::ReceiveBegin(_))),
        closes: count(|event| matches!(event.kind, EventKind::Close(_))),
        selects: count(|event| matches!(event.kind, EventKind::SelectBegin { .. })),
        parks: count(|event| matches!(event.kind, EventKind::Park { .. })),
        wakeups: count(|event| matches!(event.kind, EventKind::Ready { .. })),
        wakeups_by_runtime: count(|event| {
            matches!(event.kind, EventKind::Ready { .. }) && event.actor == Goid(0)
        }),
        direct: count(|event| matches!(event.kind, EventKind::Direct { .. })),
        runs: count(|event| matches!(event.kind, EventKind::Run)),
        created: count(|event| matches!(event.kind, EventKind::Create { .. })),
        exited: count(|event| matches!(event.kind, EventKind::Exit)),
    }
}

/// How many messages came from whom to whom: sites tell. Where a begin was lost there is none.
///
/// Whoever runs does something else first: until then the last operation may still be under way.
fn messages_of_world(world: &mut World, machine: &Machine) -> BTreeMap<(Goid, Goid), u64> {
    for (&actor, status) in &machine.goroutines {
        if status.parked().is_none() {
            let at = Ktime(u64::MAX);
            let kind = EventKind::SyscallEnter;
            world.apply(&Event { at, actor, kind });
        }
    }
    let goid = |site: Option<Pc>| Some(Goid(site?.0));
    let hops = world.flows().hops(usize::MAX).into_iter();
    hops.filter_map(|(hop, times)| Some(((goid(hop.sent)?, goid(hop.received)?), times.count)))
        .collect()
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Send), Just(Direction::Receive)]
}

fn op() -> impl Strategy<Value = Op> {
    let chan = 0..CAPACITIES.len();
    prop_oneof![
        6 => chan.clone().prop_map(Op::Send),
        6 => chan.clone().prop_map(Op::Receive),
        1 => chan.clone().prop_map(Op::Close),
        4 => (
            proptest::collection::vec((chan, direction()), 2..5),
            proptest::bool::weighted(0.8),
        )
            .prop_map(|(cases, blocking)| Op::Select { cases, blocking }),
        1 => Just(Op::SendNil),
        2 => (0..MUTEXES).prop_map(Op::Lock),
        2 => (0..MUTEXES).prop_map(Op::Unlock),
        1 => Just(Op::Refused),
        2 => Just(Op::Sleep),
        3 => Just(Op::Tick),
        4 => Just(Op::Go),
        1 => Just(Op::Exit),
    ]
}

fn program() -> impl Strategy<Value = Vec<(usize, Op)>> {
    proptest::collection::vec((0_usize..8, op()), 1..80)
}

fn plan() -> impl Strategy<Value = Plan> {
    (0_usize..60, 1_usize..6, 0_usize..=1000).prop_map(|(start, pace, delivered)| Plan {
        start,
        pace,
        delivered,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Events alone, from the start: after each of them the world knows all.
    #[test]
    fn events_tell_all(steps in program()) {
        let (machine, _) = execute(&steps, &[]);
        let mut world = World::new();
        let moments = machine.history();
        for (event, moment) in machine.events.iter().zip(&moments[1..]) {
            world.apply(event);
            let heard_of = waits_of_world(&world, true);
            for (goid, wait) in waits_of_machine(&moment.goroutines, true) {
                // The first goroutines are heard of once they act.
                match heard_of.get(&goid) {
                    Some(known) => prop_assert_eq!(known, &wait, "goroutine {}", goid),
                    None => prop_assert!(goid.0 < 4 && wait.is_none()),
                }
            }
            let gone = heard_of.keys().find(|&goid| !moment.goroutines.contains_key(goid));
            prop_assert_eq!(gone, None);
            prop_assert_eq!(&queues_of_world(&world), &moment.queues);
        }
        prop_assert_eq!(counts_of_world(&world), counts_of_events(&machine.events));
        prop_assert_eq!(world.totals().selected, machine.selected);
        prop_assert_eq!(world.totals().anomalies.total(), 0);
        for goroutine in world.goroutines() {
            let truth = machine.goroutines[&goroutine.goid()].parked();
            let objects = goroutine.wait().map(|wait| wait.objects.to_vec());
            prop_assert_eq!(objects, truth.map(|parked| parked.objects.clone()));
        }
        prop_assert_eq!(&messages_of_world(&mut world, &machine), &machine.messages);
        prop_assert_eq!((world.flows().unknown(), world.flows().stale()), (0, 0));
    }

    /// Snapshots among the events, taken piecemeal, delivered anywhere, change nothing.
    #[test]
    fn snapshots_change_nothing(
        steps in program(),
        plans in proptest::collection::vec(plan(), 1..4),
    ) {
        let (machine, snapshots) = execute(&steps, &plans);
        let world = world_of(&machine.events, 0, &snapshots);
        let mut known = waits_of_world(&world, true);
        let mut truth = waits_of_machine(&machine.goroutines, true);
        // The first goroutines may not be heard of, if no snapshot was taken.
        known.retain(|goid, wait| goid.0 >= 4 || wait.is_some());
        truth.retain(|goid, wait| goid.0 >= 4 || wait.is_some());
        prop_assert_eq!(known, truth);
        prop_assert_eq!(queues_of_world(&world), machine.queues());
        prop_assert_eq!(counts_of_world(&world), counts_of_events(&machine.events));
        for channel in world.channels() {
            let hchan = &machine.channels[(channel.addr().0 / 0x1000 - 1) as usize];
            prop_assert_eq!(channel.closed().is_some(), hchan.closed);
        }
    }

    /// Attached in the middle: one snapshot, started once the probes were there, makes up for all
    /// that was before.
    #[test]
    fn a_snapshot_makes_up_for_the_past(
        steps in program(),
        mut plan in plan(),
        attached in 0_usize..60,
    ) {
        plan.start = plan.start.min(steps.len() - 1);
        // The events from before the snapshot's start on, or some more.
        let (machine, snapshots) = execute(&steps, &[plan]);
        let started = snapshots[0].1.started;
        let first = machine.events.partition_point(|event| event.at <= started);
        let world = world_of(&machine.events, first.min(attached), &snapshots);
        prop_assert_eq!(waits_of_world(&world, false), waits_of_machine(&machine.goroutines, false));
        prop_assert_eq!(queues_of_world(&world), machine.queues());
        let counted = counts_of_events(&machine.events[first.min(attached)..]);
        prop_assert_eq!(counts_of_world(&world), counted);
    }

    /// On several CPUs, out of order by less than the slack, with snapshots: after each event and
    /// each snapshot the world is right.
    #[test]
    fn the_way_of_the_records_changes_nothing(
        steps in program(),
        plans in proptest::collection::vec(plan(), 0..4),
        load in way::load(0),
    ) {
        let (machine, snapshots) = execute(&steps, &plans);
        let mut world = way::follow(&machine, &load, &snapshots)?;
        prop_assert_eq!(counts_of_world(&world), counts_of_events(&machine.events));
        // Whoever two snapshots did not find is forgotten, and here its events can come later still.
        prop_assert!(world.totals().selected <= machine.selected);
        prop_assert!(snapshots.len() > 1 || world.totals().selected == machine.selected);
        prop_assert_eq!(world.totals().lost, 0);
        prop_assert_eq!(world.totals().anomalies.total(), 0);
        prop_assert_eq!(&messages_of_world(&mut world, &machine), &machine.messages);
    }

    /// Whatever is lost: after each event the world is right or says that it does not know, each
    /// record is accounted for, and a snapshot heals the rest.
    #[test]
    fn a_loss_does_not_make_it_lie(
        steps in program(),
        plans in proptest::collection::vec(plan(), 0..4),
        load in way::load(3),
    ) {
        let (mut machine, snapshots) = execute(&steps, &plans);
        let mut world = way::follow(&machine, &load, &snapshots)?;
        let totals = world.totals();
        prop_assert_eq!(totals.events + totals.lost, machine.events.len() as u64);
        prop_assert!(totals.selected <= machine.selected);

        machine.clock += way::END;
        let plan = Plan { start: 0, pace: 0, delivered: 0 };
        let mut last = Taking::start(plan, &machine);
        prop_assert!(last.read(&machine, 1000));
        world.observe(&last.snapshot);
        prop_assert_eq!(
            waits_of_world(&world, false),
            waits_of_machine(&machine.goroutines, false)
        );
        prop_assert_eq!(queues_of_world(&world), machine.queues());
        prop_assert_eq!(world.unknown_goroutines().count(), 0);
        for (way, count) in messages_of_world(&mut world, &machine) {
            prop_assert!(Some(&count) <= machine.messages.get(&way), "{way:?}");
        }
    }
}
