//! The world against a reference: a small implementation of Go's channels that says what the probes
//! would say. Random programs run on it; the world, fed with the events and with snapshots that are
//! taken piecemeal and come early or late, must know who waits on what.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot, State, Waiter};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};
use tracer_model::world::World;

/// Capacities of the channels there are.
const CAPACITIES: [usize; 4] = [0, 0, 1, 3];

/// What a goroutine does next; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Op {
    Send(usize),
    Receive(usize),
    Close(usize),
    Select {
        cases: Vec<(usize, Direction)>,
        blocking: bool,
    },
    SendNil,
    Sleep,
    /// The timer of the sleeper that slept longest fires.
    Tick,
    Go,
    Exit,
}

/// A snapshot to take.
#[derive(Clone, Debug)]
struct Plan {
    /// Before which step it starts.
    start: usize,
    /// How many entities it reads between two steps.
    pace: usize,
    /// Where among the events it is delivered, in thousandths.
    delivered: usize,
}

#[derive(Clone, Debug)]
struct Parked {
    reason: WaitReason,
    objects: Vec<WaitObject>,
    since: Ktime,
}

#[derive(Debug, Default)]
struct Hchan {
    len: usize,
    cap: usize,
    closed: bool,
    senders: VecDeque<Goid>,
    receivers: VecDeque<Goid>,
}

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
    created: u64,
    exited: u64,
}

/// The program's runtime.
#[derive(Debug)]
struct Machine {
    clock: u64,
    next_goid: u64,
    /// `None` is runnable or running.
    goroutines: BTreeMap<Goid, Option<Parked>>,
    channels: Vec<Hchan>,
    events: Vec<Event>,
}

impl Machine {
    fn new() -> Machine {
        let hchan = |&cap: &usize| Hchan {
            cap,
            ..Hchan::default()
        };
        Machine {
            clock: 1000,
            next_goid: 4,
            goroutines: (1..4).map(|goid| (Goid(goid), None)).collect(),
            channels: CAPACITIES.iter().map(hchan).collect(),
            events: Vec::new(),
        }
    }

    fn emit(&mut self, actor: Goid, kind: EventKind) {
        self.clock += 1;
        self.events.push(Event {
            at: Ktime(self.clock),
            actor,
            kind,
        });
    }

    /// One step of the `who`th goroutine that can run.
    fn step(&mut self, who: usize, op: &Op) {
        if let Op::Tick = op {
            self.tick();
            return;
        }
        let able: Vec<Goid> = self
            .goroutines
            .iter()
            .filter(|(_, parked)| parked.is_none())
            .map(|(&goid, _)| goid)
            .collect();
        if able.is_empty() {
            return;
        }
        let actor = able[who % able.len()];
        match op {
            Op::Send(chan) => self.plain(actor, *chan, Direction::Send),
            Op::Receive(chan) => self.plain(actor, *chan, Direction::Receive),
            Op::Close(chan) => self.close(actor, *chan),
            Op::Select { cases, blocking } => self.select(actor, cases, *blocking),
            Op::SendNil => {
                self.emit(
                    actor,
                    EventKind::SendBegin(ChanOp {
                        chan: None,
                        blocking: true,
                        site: None,
                        fill: None,
                    }),
                );
                self.park(actor, WaitReason::ChanSendNil, None, Vec::new());
            }
            Op::Sleep => self.park(actor, WaitReason::Sleep, None, Vec::new()),
            Op::Tick => {}
            Op::Go => {
                let child = Goid(self.next_goid);
                self.next_goid += 1;
                self.emit(
                    actor,
                    EventKind::Create {
                        child,
                        gaddr: GAddr(0xc000 + child.0),
                        start: Pc(1),
                        site: None,
                    },
                );
                self.goroutines.insert(child, None);
            }
            Op::Exit => {
                // The main goroutine's end would end it all.
                if actor != Goid(1) {
                    self.emit(actor, EventKind::Exit);
                    self.goroutines.remove(&actor);
                }
            }
        }
    }

    fn tick(&mut self) {
        let sleeper = self
            .goroutines
            .iter()
            .filter_map(|(&goid, parked)| {
                let parked = parked.as_ref()?;
                (parked.reason == WaitReason::Sleep).then_some((parked.since, goid))
            })
            .min();
        if let Some((_, goid)) = sleeper {
            self.ready(Goid(0), goid);
        }
    }

    fn addr(chan: usize) -> ChanAddr {
        ChanAddr(0x1000 * (chan as u64 + 1))
    }

    fn operation(&self, chan: usize) -> ChanOp {
        let hchan = &self.channels[chan];
        ChanOp {
            chan: Some(Self::addr(chan)),
            blocking: true,
            site: Some(Pc(chan as u64 + 1)),
            fill: Some(Fill {
                len: hchan.len as u32,
                cap: hchan.cap as u32,
            }),
        }
    }

    fn plain(&mut self, actor: Goid, chan: usize, direction: Direction) {
        let chan = chan % self.channels.len();
        if direction == Direction::Send && self.channels[chan].closed {
            return; // It would panic.
        }
        let operation = self.operation(chan);
        let (begin, reason) = match direction {
            Direction::Send => (EventKind::SendBegin(operation), WaitReason::ChanSend),
            Direction::Receive => (EventKind::ReceiveBegin(operation), WaitReason::ChanReceive),
        };
        self.emit(actor, begin);
        if !self.proceed(actor, chan, direction) {
            let object = WaitObject::Chan {
                chan: Self::addr(chan),
                direction,
            };
            self.park(actor, reason, Some(object), vec![object]);
        }
    }

    fn select(&mut self, actor: Goid, cases: &[(usize, Direction)], blocking: bool) {
        let cases: Vec<(usize, Direction)> = cases
            .iter()
            .map(|&(chan, direction)| (chan % self.channels.len(), direction))
            .filter(|&(chan, direction)| {
                !(direction == Direction::Send && self.channels[chan].closed)
            })
            .collect();
        let objects: Vec<WaitObject> = cases
            .iter()
            .map(|&(chan, direction)| WaitObject::Chan {
                chan: Self::addr(chan),
                direction,
            })
            .collect();
        self.emit(
            actor,
            EventKind::SelectBegin {
                cases: objects.clone().into(),
                blocking,
                truncated: false,
                site: None,
            },
        );
        let done = cases
            .iter()
            .any(|&(chan, direction)| self.proceed(actor, chan, direction));
        if !done && blocking {
            self.park(actor, WaitReason::Select, None, objects);
        }
    }

    /// Completes an operation if that is possible without parking.
    fn proceed(&mut self, actor: Goid, chan: usize, direction: Direction) -> bool {
        let hchan = &mut self.channels[chan];
        match direction {
            Direction::Send => {
                if let Some(&receiver) = hchan.receivers.front() {
                    self.ready(actor, receiver);
                    return true;
                }
                if hchan.len < hchan.cap {
                    hchan.len += 1;
                    return true;
                }
            }
            Direction::Receive => {
                if hchan.closed && hchan.len == 0 {
                    return true;
                }
                // Of a full buffer: the sender's value takes the place of the one received.
                if let Some(&sender) = hchan.senders.front() {
                    self.ready(actor, sender);
                    return true;
                }
                if hchan.len > 0 {
                    hchan.len -= 1;
                    return true;
                }
            }
        }
        false
    }

    fn close(&mut self, actor: Goid, chan: usize) {
        let chan = chan % self.channels.len();
        let hchan = &self.channels[chan];
        if hchan.closed || !hchan.senders.is_empty() {
            return; // It would panic, here or there.
        }
        let operation = self.operation(chan);
        self.emit(actor, EventKind::Close(operation));
        self.channels[chan].closed = true;
        while let Some(&receiver) = self.channels[chan].receivers.front() {
            self.ready(actor, receiver);
        }
    }

    fn park(
        &mut self,
        actor: Goid,
        reason: WaitReason,
        object: Option<WaitObject>,
        objects: Vec<WaitObject>,
    ) {
        self.emit(actor, EventKind::Park { reason, object });
        for object in &objects {
            self.queue(*object).push_back(actor);
        }
        let since = Ktime(self.clock);
        self.goroutines.insert(
            actor,
            Some(Parked {
                reason,
                objects,
                since,
            }),
        );
    }

    fn ready(&mut self, waker: Goid, woken: Goid) {
        let parked = self.goroutines.insert(woken, None).flatten();
        let parked = parked.expect("only who is parked is in a queue");
        for object in &parked.objects {
            self.queue(*object).retain(|&goid| goid != woken);
        }
        self.emit(
            waker,
            EventKind::Ready {
                woken,
                reason: parked.reason,
                object: match parked.objects[..] {
                    [object] => Some(object),
                    _ => None,
                },
            },
        );
    }

    fn queue(&mut self, object: WaitObject) -> &mut VecDeque<Goid> {
        let WaitObject::Chan { chan, direction } = object else {
            panic!("only channels here");
        };
        let hchan = &mut self.channels[(chan.0 / 0x1000 - 1) as usize];
        match direction {
            Direction::Send => &mut hchan.senders,
            Direction::Receive => &mut hchan.receivers,
        }
    }

    fn read_goroutine(&self, goid: Goid) -> Option<Goroutine> {
        let parked = self.goroutines.get(&goid)?;
        Some(Goroutine {
            at: Ktime(self.clock),
            goid,
            gaddr: GAddr(0xc000 + goid.0),
            state: match parked {
                Some(_) => State::Waiting,
                None => State::Running,
            },
            wait: parked.as_ref().map(|parked| Wait {
                reason: parked.reason,
                objects: parked.objects.clone().into(),
                since: None,
            }),
            sleeps_until: None,
            system: false,
            parent: None,
            created_at: None,
            start: None,
            stack: None,
            labels: Vec::new(),
            moving: false,
        })
    }

    fn read_channel(&self, chan: usize) -> Channel {
        let hchan = &self.channels[chan];
        let waiters = |queue: &VecDeque<Goid>| -> Vec<Waiter> {
            let waiter = |&goid: &Goid| Waiter {
                goid,
                select: false,
                value: None,
            };
            queue.iter().map(waiter).collect()
        };
        Channel {
            at: Ktime(self.clock),
            addr: Self::addr(chan),
            elem_type: "int".into(),
            elem_size: 8,
            len: hchan.len as u64,
            cap: hchan.cap as u64,
            closed: hchan.closed,
            values: Vec::new(),
            send_waiting: waiters(&hchan.senders),
            recv_waiting: waiters(&hchan.receivers),
            users: Vec::new(),
            timer: None,
            made_at: None,
            moving: false,
        }
    }
}

/// A snapshot under way.
struct Taking {
    plan: Plan,
    goids: VecDeque<Goid>,
    channels: VecDeque<usize>,
    snapshot: Snapshot,
}

impl Taking {
    fn start(plan: Plan, machine: &Machine) -> Taking {
        Taking {
            goids: machine.goroutines.keys().copied().collect(),
            channels: (0..machine.channels.len()).collect(),
            snapshot: Snapshot {
                started: Ktime(machine.clock),
                ..Snapshot::default()
            },
            plan,
        }
    }

    /// Reads up to `count` more; true once it has all.
    fn read(&mut self, machine: &Machine, count: usize) -> bool {
        for _ in 0..count {
            if let Some(goid) = self.goids.pop_front() {
                self.snapshot
                    .goroutines
                    .extend(machine.read_goroutine(goid));
            } else if let Some(chan) = self.channels.pop_front() {
                self.snapshot.channels.push(machine.read_channel(chan));
            }
        }
        self.snapshot.finished = Ktime(machine.clock);
        self.goids.is_empty() && self.channels.is_empty()
    }
}

/// Runs the program; returns the runtime's final state and the snapshots with where to deliver
/// them.
fn execute(steps: &[(usize, Op)], plans: &[Plan]) -> (Machine, Vec<(usize, Snapshot)>) {
    let mut machine = Machine::new();
    let mut taking: Vec<Taking> = Vec::new();
    let mut taken = Vec::new();
    for (index, (who, op)) in steps.iter().enumerate() {
        for plan in plans.iter().filter(|plan| plan.start == index) {
            machine.clock += 1;
            taking.push(Taking::start(plan.clone(), &machine));
        }
        let mut under_way = Vec::new();
        for mut snapshot in taking {
            let pace = snapshot.plan.pace;
            machine.clock += 1;
            if snapshot.read(&machine, pace) {
                taken.push(snapshot);
            } else {
                under_way.push(snapshot);
            }
        }
        taking = under_way;
        machine.step(*who, op);
    }
    for mut snapshot in taking {
        machine.clock += 1;
        assert!(snapshot.read(&machine, 1000));
        taken.push(snapshot);
    }
    let taken = taken
        .into_iter()
        .map(|taking| (taking.plan.delivered, taking.snapshot))
        .collect();
    (machine, taken)
}

/// Applies the events from `attached` on, each snapshot at its place among them.
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
    world
}

/// Who is there, and who waits, why and on what; since when, if asked for.
fn waits_of_world(world: &World, since: bool) -> BTreeMap<Goid, Option<String>> {
    world
        .goroutines()
        .map(|goroutine| {
            let wait = goroutine.wait().map(|wait| {
                let since = since.then_some(wait.since);
                format!("{:?} {:?} {since:?}", wait.reason, wait.objects)
            });
            assert_eq!(wait.is_some(), goroutine.state() == State::Waiting);
            (goroutine.goid(), wait)
        })
        .collect()
}

fn waits_of_machine(machine: &Machine, since: bool) -> BTreeMap<Goid, Option<String>> {
    machine
        .goroutines
        .iter()
        .map(|(&goid, parked)| {
            let wait = parked.as_ref().map(|parked| {
                let since = since.then_some(Some(parked.since));
                format!("{:?} {:?} {since:?}", parked.reason, parked.objects)
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

fn queues_of_machine(machine: &Machine) -> Vec<[Vec<Goid>; 2]> {
    machine
        .channels
        .iter()
        .map(|hchan| {
            [&hchan.senders, &hchan.receivers].map(|queue| {
                let mut queue: Vec<Goid> = queue.iter().copied().collect();
                queue.dedup();
                queue
            })
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
        created: count(|event| matches!(event.kind, EventKind::Create { .. })),
        exited: count(|event| matches!(event.kind, EventKind::Exit)),
    }
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

    /// Events alone, from the start.
    #[test]
    fn events_tell_all(steps in program()) {
        let (machine, _) = execute(&steps, &[]);
        let world = world_of(&machine.events, 0, &[]);
        let heard_of: BTreeMap<Goid, Option<String>> = waits_of_world(&world, true);
        for (goid, wait) in waits_of_machine(&machine, true) {
            // The first goroutines are heard of once they act.
            match heard_of.get(&goid) {
                Some(known) => prop_assert_eq!(known, &wait, "goroutine {}", goid),
                None => prop_assert!(goid.0 < 4 && wait.is_none()),
            }
        }
        prop_assert_eq!(queues_of_world(&world), queues_of_machine(&machine));
        prop_assert_eq!(counts_of_world(&world), counts_of_events(&machine.events));
        prop_assert_eq!(world.totals().anomalies.total(), 0);
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
        let mut truth = waits_of_machine(&machine, true);
        // The first goroutines may not be heard of, if no snapshot was taken.
        known.retain(|goid, wait| goid.0 >= 4 || wait.is_some());
        truth.retain(|goid, wait| goid.0 >= 4 || wait.is_some());
        prop_assert_eq!(known, truth);
        prop_assert_eq!(queues_of_world(&world), queues_of_machine(&machine));
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
        prop_assert_eq!(waits_of_world(&world, false), waits_of_machine(&machine, false));
        prop_assert_eq!(queues_of_world(&world), queues_of_machine(&machine));
        let counted = counts_of_events(&machine.events[first.min(attached)..]);
        prop_assert_eq!(counts_of_world(&world), counted);
    }

    /// Whatever is lost: what the world vouches for is true, and a later snapshot heals the rest.
    #[test]
    fn a_loss_does_not_make_it_lie(
        steps in program(),
        plans in proptest::collection::vec(plan(), 0..3),
        from in 0_usize..60,
        count in 1_usize..20,
    ) {
        let (machine, mut snapshots) = execute(&steps, &plans);
        let from = from.min(machine.events.len());
        let until = (from + count).min(machine.events.len());
        let mut events = machine.events.clone();
        let next = events.get(until).map_or(Ktime(machine.clock + 1), |event| event.at);
        let lost = Event {
            at: next,
            actor: Goid(0),
            kind: EventKind::Lost { count: (until - from) as u64 },
        };
        events.splice(from..until, [lost]);

        let world = world_of(&events, 0, &snapshots);
        for goroutine in world.goroutines() {
            if goroutine.unknown_since().is_some() {
                continue;
            }
            let Some(parked) = machine.goroutines.get(&goroutine.goid()) else {
                return Err(TestCaseError::fail(format!("{} is gone", goroutine.goid())));
            };
            match (goroutine.wait(), parked) {
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
                (wait, parked) => prop_assert!(false, "{wait:?} is {parked:?}"),
            }
        }

        let mut machine = machine;
        machine.clock += 2;
        let plan = Plan { start: 0, pace: 0, delivered: 1000 };
        let mut last = Taking::start(plan, &machine);
        prop_assert!(last.read(&machine, 1000));
        snapshots.push((1000, last.snapshot));
        let world = world_of(&events, 0, &snapshots);
        prop_assert_eq!(waits_of_world(&world, false), waits_of_machine(&machine, false));
        prop_assert_eq!(queues_of_world(&world), queues_of_machine(&machine));
        prop_assert_eq!(world.unknown_goroutines().count(), 0);
    }
}
