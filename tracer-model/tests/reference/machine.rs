//! A small implementation of Go's goroutines, channels and mutexes that says what the probes would
//! say, at the moments at which they fire, and what a read of its memory shows.

use std::collections::{BTreeMap, VecDeque};

use tracer_model::event::{ChanOp, Event, EventKind, Fill};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot, State, Waiter};
use tracer_model::wait::{Direction, Wait, WaitObject, WaitReason};

/// Capacities of the channels there are.
pub(crate) const CAPACITIES: [usize; 4] = [0, 0, 1, 3];

/// How many mutexes there are.
pub(crate) const MUTEXES: usize = 2;

/// What a goroutine does next; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Send(usize),
    Receive(usize),
    Close(usize),
    Select {
        cases: Vec<(usize, Direction)>,
        blocking: bool,
    },
    SendNil,
    Lock(usize),
    /// Whoever may unlock: Go does not ask who locked.
    Unlock(usize),
    /// It is about to wait for the network, and the runtime refuses since data is there.
    Refused,
    Sleep,
    /// The timer of the sleeper that slept longest fires.
    Tick,
    Go,
    Exit,
}

/// A snapshot to take.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Before which step it starts.
    pub(crate) start: usize,
    /// How many entities it reads between two steps.
    pub(crate) pace: usize,
    /// How late it is delivered; each test has its own measure.
    pub(crate) delivered: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) reason: WaitReason,
    pub(crate) objects: Vec<WaitObject>,
    pub(crate) since: Ktime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Runnable,
    Running,
    Parked(Parked),
}

impl Status {
    pub(crate) fn parked(&self) -> Option<&Parked> {
        match self {
            Status::Parked(parked) => Some(parked),
            Status::Runnable | Status::Running => None,
        }
    }
}

/// Everyone's state from one event until the next.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) from: Ktime,
    pub(crate) goroutines: BTreeMap<Goid, Status>,
    pub(crate) queues: Vec<[Vec<Goid>; 2]>,
}

#[derive(Debug, Default)]
pub(crate) struct Hchan {
    /// Who sent what is in the buffer.
    items: VecDeque<Goid>,
    cap: usize,
    pub(crate) closed: bool,
    senders: VecDeque<Goid>,
    receivers: VecDeque<Goid>,
}

#[derive(Debug, Default)]
struct Mutex {
    locked: bool,
    waiters: VecDeque<Goid>,
}

/// The program's runtime.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: u64,
    next_goid: u64,
    pub(crate) goroutines: BTreeMap<Goid, Status>,
    pub(crate) channels: Vec<Hchan>,
    mutexes: [Mutex; MUTEXES],
    pub(crate) events: Vec<Event>,
    /// Selects that have ended with a case.
    pub(crate) selected: u64,
    /// Who was woken out of a select by which case of it, and has not run since.
    ending: BTreeMap<Goid, u32>,
    /// How many messages came from whom to whom.
    pub(crate) messages: BTreeMap<(Goid, Goid), u64>,
    /// All that was, the last moment not included.
    past: Vec<Moment>,
}

impl Machine {
    fn new() -> Machine {
        let hchan = |&cap: &usize| Hchan {
            cap,
            ..Hchan::default()
        };
        let mut machine = Machine {
            clock: 1000,
            next_goid: 4,
            goroutines: (1..4).map(|goid| (Goid(goid), Status::Running)).collect(),
            channels: CAPACITIES.iter().map(hchan).collect(),
            mutexes: Default::default(),
            events: Vec::new(),
            selected: 0,
            ending: BTreeMap::new(),
            messages: BTreeMap::new(),
            past: Vec::new(),
        };
        for chan in 0..CAPACITIES.len() {
            let chan = Self::addr(chan);
            machine.emit(Goid(1), EventKind::Make { chan, site: None });
        }
        machine
    }

    /// The state since the newest event.
    pub(crate) fn present(&self) -> Moment {
        Moment {
            from: self.events.last().map_or(Ktime(0), |event| event.at),
            goroutines: self.goroutines.clone(),
            queues: self.queues(),
        }
    }

    /// Every moment, oldest first.
    pub(crate) fn history(&self) -> Vec<Moment> {
        let mut all = self.past.clone();
        all.push(self.present());
        all
    }

    /// Who waits in each channel's queues, in order.
    pub(crate) fn queues(&self) -> Vec<[Vec<Goid>; 2]> {
        self.channels
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

    fn emit(&mut self, actor: Goid, kind: EventKind) {
        self.past.push(self.present());
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
            .filter(|(_, status)| status.parked().is_none())
            .map(|(&goid, _)| goid)
            .collect();
        if able.is_empty() {
            return;
        }
        let actor = able[who % able.len()];
        self.run(actor);
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
            Op::Lock(mutex) => {
                let mutex = mutex % MUTEXES;
                if !self.mutexes[mutex].locked {
                    self.mutexes[mutex].locked = true;
                } else {
                    let object = WaitObject::Semaphore(Self::semaphore(mutex));
                    self.emit(actor, EventKind::Acquire { object });
                    // What a park for a semaphore says is not which.
                    self.park(actor, WaitReason::MutexLock, None, vec![object]);
                }
            }
            Op::Unlock(mutex) => {
                let mutex = mutex % MUTEXES;
                self.mutexes[mutex].locked = false;
                if let Some(&waiter) = self.mutexes[mutex].waiters.front() {
                    self.ready(actor, waiter, None);
                }
            }
            Op::Refused => {
                self.park(actor, WaitReason::IoWait, None, Vec::new());
                self.emit(actor, EventKind::Run);
                self.goroutines.insert(actor, Status::Running);
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
                self.goroutines.insert(child, Status::Runnable);
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
            .filter_map(|(&goid, status)| {
                let parked = status.parked()?;
                (parked.reason == WaitReason::Sleep).then_some((parked.since, goid))
            })
            .min();
        if let Some((_, goid)) = sleeper {
            self.ready(Goid(0), goid, None);
        }
    }

    /// The scheduler lets the goroutine run, if it does not yet.
    fn run(&mut self, goid: Goid) {
        if self.goroutines.get(&goid) == Some(&Status::Runnable) {
            self.emit(goid, EventKind::Run);
            self.goroutines.insert(goid, Status::Running);
            if let Some(case) = self.ending.remove(&goid) {
                self.end_select(goid, Some(case));
            }
        }
    }

    fn end_select(&mut self, goid: Goid, case: Option<u32>) {
        self.selected += u64::from(case.is_some());
        self.emit(goid, EventKind::SelectEnd { case });
    }

    fn message(&mut self, from: Goid, to: Goid) {
        *self.messages.entry((from, to)).or_insert(0) += 1;
    }

    pub(crate) fn addr(chan: usize) -> ChanAddr {
        ChanAddr(0x1000 * (chan as u64 + 1))
    }

    fn semaphore(mutex: usize) -> Addr {
        Addr(0x51000 + 0x1000 * mutex as u64)
    }

    /// The site tells who it is.
    fn operation(&self, actor: Goid, chan: usize) -> ChanOp {
        let hchan = &self.channels[chan];
        ChanOp {
            chan: Some(Self::addr(chan)),
            blocking: true,
            site: Some(Pc(actor.0)),
            fill: Some(Fill {
                len: hchan.items.len() as u32,
                cap: hchan.cap as u32,
            }),
        }
    }

    fn plain(&mut self, actor: Goid, chan: usize, direction: Direction) {
        let chan = chan % self.channels.len();
        if direction == Direction::Send && self.channels[chan].closed {
            return; // It would panic.
        }
        let operation = self.operation(actor, chan);
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
                nils: 0,
                blocking,
                truncated: false,
                site: Some(Pc(actor.0)),
            },
        );
        let done = cases
            .iter()
            .position(|&(chan, direction)| self.proceed(actor, chan, direction));
        match done {
            Some(case) => self.end_select(actor, Some(case as u32)),
            None if blocking => self.park(actor, WaitReason::Select, None, objects),
            None => self.end_select(actor, None),
        }
    }

    /// Completes an operation if that is possible without parking.
    fn proceed(&mut self, actor: Goid, chan: usize, direction: Direction) -> bool {
        let hchan = &mut self.channels[chan];
        match direction {
            Direction::Send => {
                if let Some(&receiver) = hchan.receivers.front() {
                    self.hand_over(actor, chan, direction, receiver);
                    return true;
                }
                if hchan.items.len() < hchan.cap {
                    hchan.items.push_back(actor);
                    return true;
                }
            }
            Direction::Receive => {
                if hchan.closed && hchan.items.is_empty() {
                    return true;
                }
                // Of a full buffer: the sender's value takes the place of the one received.
                if let Some(&sender) = hchan.senders.front() {
                    self.hand_over(actor, chan, direction, sender);
                    return true;
                }
                if let Some(sender) = hchan.items.pop_front() {
                    self.message(sender, actor);
                    return true;
                }
            }
        }
        false
    }

    fn hand_over(&mut self, actor: Goid, chan: usize, direction: Direction, partner: Goid) {
        let parked = self.goroutines[&partner].parked();
        let partner_selects = parked.is_some_and(|parked| parked.reason == WaitReason::Select);
        self.emit(
            actor,
            EventKind::Direct {
                chan: Self::addr(chan),
                direction,
                partner,
                partner_selects,
            },
        );
        match direction {
            Direction::Send => self.message(actor, partner),
            Direction::Receive => {
                let items = &mut self.channels[chan].items;
                items.push_back(partner);
                if let Some(sender) = items.pop_front() {
                    self.message(sender, actor);
                }
            }
        }
        let object = WaitObject::Chan {
            chan: Self::addr(chan),
            direction: direction.opposite(),
        };
        self.ready(actor, partner, Some(object));
    }

    fn close(&mut self, actor: Goid, chan: usize) {
        let chan = chan % self.channels.len();
        let hchan = &self.channels[chan];
        if hchan.closed || !hchan.senders.is_empty() {
            return; // It would panic, here or there.
        }
        let operation = self.operation(actor, chan);
        self.emit(actor, EventKind::Close(operation));
        self.channels[chan].closed = true;
        let object = WaitObject::Chan {
            chan: Self::addr(chan),
            direction: Direction::Receive,
        };
        while let Some(&receiver) = self.channels[chan].receivers.front() {
            self.ready(actor, receiver, Some(object));
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
            Status::Parked(Parked {
                reason,
                objects,
                since,
            }),
        );
    }

    /// Ends the wait of `woken`; `by` is the case of its select, if it selects.
    fn ready(&mut self, waker: Goid, woken: Goid, by: Option<WaitObject>) {
        let parked = self.goroutines[&woken].parked().cloned();
        let parked = parked.expect("only who is parked is in a queue");
        if parked.reason == WaitReason::Select {
            let case = parked.objects.iter().position(|&case| Some(case) == by);
            let case = case.expect("a case of its ended it");
            self.ending.insert(woken, case as u32);
        }
        self.emit(
            waker,
            EventKind::Ready {
                woken,
                reason: parked.reason,
                object: match parked.objects[..] {
                    [object @ WaitObject::Chan { .. }] => Some(object),
                    _ => None,
                },
            },
        );
        for object in &parked.objects {
            self.queue(*object).retain(|&goid| goid != woken);
        }
        self.goroutines.insert(woken, Status::Runnable);
    }

    fn queue(&mut self, object: WaitObject) -> &mut VecDeque<Goid> {
        match object {
            WaitObject::Chan { chan, direction } => {
                let hchan = &mut self.channels[(chan.0 / 0x1000 - 1) as usize];
                match direction {
                    Direction::Send => &mut hchan.senders,
                    Direction::Receive => &mut hchan.receivers,
                }
            }
            WaitObject::Semaphore(addr) => {
                &mut self.mutexes[(addr.0 / 0x1000 - 0x51) as usize].waiters
            }
            other => panic!("nobody waits on {other:?} here"),
        }
    }

    fn read_goroutine(&self, goid: Goid) -> Option<Goroutine> {
        let status = self.goroutines.get(&goid)?;
        Some(Goroutine {
            at: Ktime(self.clock),
            goid,
            gaddr: GAddr(0xc000 + goid.0),
            state: match status {
                Status::Parked(_) => State::Waiting,
                Status::Runnable => State::Runnable,
                Status::Running => State::Running,
            },
            wait: status.parked().map(|parked| Wait {
                reason: parked.reason,
                objects: parked.objects.clone().into(),
                since: None.into(),
            }),
            sleeps_until: None.into(),
            system: false,
            parent: None.into(),
            created_at: None.into(),
            start: None.into(),
            stack: None,
            stops: None,
            stack_bytes: None.into(),
            labels: Vec::new().into(),
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
            len: hchan.items.len() as u64,
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
pub(crate) struct Taking {
    plan: Plan,
    goids: VecDeque<Goid>,
    channels: VecDeque<usize>,
    pub(crate) snapshot: Snapshot,
}

impl Taking {
    pub(crate) fn start(plan: Plan, machine: &Machine) -> Taking {
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
    pub(crate) fn read(&mut self, machine: &Machine, count: usize) -> bool {
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

/// Runs the program; returns the runtime's final state and the snapshots with how late each is
/// delivered.
pub(crate) fn execute(steps: &[(usize, Op)], plans: &[Plan]) -> (Machine, Vec<(usize, Snapshot)>) {
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
