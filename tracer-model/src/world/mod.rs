//! The world: every goroutine and channel of one target, as events and snapshots build it.
//!
//! [`World::apply`] takes what the probes said, [`World::observe`] what a read of memory showed;
//! both in any order against each other (`join.rs` says how they become one state). The rest asks.
//!
//! Memory grows with the target's live goroutines, with the channels in use (idle ones beyond
//! [`Limits::channels`] are forgotten), and with distinct code sites. Goroutines that ended are
//! counted by origin and remembered until the next snapshot, at most [`Limits::departed`].

mod channel;
mod departed;
mod flow;
mod goroutine;
mod histogram;
mod intern;
mod join;
mod lock;
mod panics;
mod query;
mod totals;
mod wake;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::event::{ChanOp, Event, EventKind};
use crate::ids::{ChanAddr, ChanId, Goid, Ktime, Pc};
use crate::snapshot::{Snapshot, State};
use crate::wait::{Direction, WaitKind, WaitObject, WaitReason};

pub use channel::{Channel, Contents, Made, Side, Sites};
pub use flow::{
    Delivery, Flows, Hop, HopTimes, LinkCause, Path, Task, TaskId, TaskLimits, TaskLink, TaskOrigin,
};
pub use goroutine::{Counters, Goroutine, WaitView, Waker};
pub use histogram::Histogram;
pub use join::{Known, Source, Stamp};
pub use lock::{Lock, Locks};
pub use panics::{Panic, PanicCause, PanicPlace};
pub use query::{Census, Queue, QueuedWaiter, Queues};
pub use totals::{Anomalies, AnomalyKind, Example, Origin, Panics, Totals};
pub use wake::{Wake, Wakes};

use channel::Told;
use departed::{Departed, Departure};
use goroutine::{Effect, Ended, Entry, Memory, Operation};
use intern::Interner;
use panics::PanicPlaces;

/// So many pieces of memory of goroutines that ended are kept for new ones, which come and go without
/// allocating.
const SPARE: usize = 1 << 10;

/// How much the world remembers of what is not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Channels. Beyond it those that nobody waits on and that were idle longest are forgotten;
    /// when heard of again they count as new.
    pub channels: usize,
    /// Goroutines that ended since the last snapshot.
    pub departed: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            channels: 1 << 16,
            departed: 1 << 16,
        }
    }
}

/// Every goroutine and channel of one target.
#[derive(Debug)]
pub struct World {
    limits: Limits,
    parks_seen: bool,
    /// When the probes became others last.
    retraced_at: Ktime,
    /// Side by side: a hash table of such large entries would waste a third of its room.
    goroutines: IndexMap<Goid, Entry, FxBuildHasher>,
    spare: Vec<Memory>,
    channels: IndexMap<ChanAddr, Channel, FxBuildHasher>,
    next_chan: u32,
    /// At so many channels the idle ones are looked for.
    forget_at: usize,
    forgotten_channels: u64,
    departed: Departed,
    ended: FxHashMap<Origin, u64>,
    /// Goroutines that a snapshot found gone before all their events were told: nobody sees them any
    /// more, but what they still do counts.
    shades: FxHashMap<Goid, Entry>,
    stacks: Interner<[Pc]>,
    types: Interner<str>,
    locks: Locks,
    wakes: Wakes,
    flows: Flows,
    totals: Totals,
    panics: PanicPlaces,
    /// Time of the newest loss.
    lost_at: Option<Ktime>,
    /// Start of the newest snapshot: who is not here and was last heard of before it is gone.
    complete_at: Option<Ktime>,
    /// Up to when every event that there was has been applied or counted as lost.
    heard_until: Ktime,
    now: Ktime,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// An empty world.
    pub fn new() -> World {
        World::with_limits(Limits::default())
    }

    /// An empty world with limits of its own.
    pub fn with_limits(limits: Limits) -> World {
        World {
            limits,
            parks_seen: true,
            retraced_at: Ktime(0),
            goroutines: IndexMap::default(),
            spare: Vec::new(),
            channels: IndexMap::default(),
            next_chan: 0,
            forget_at: limits.channels,
            forgotten_channels: 0,
            departed: Departed::new(limits.departed),
            ended: FxHashMap::default(),
            shades: FxHashMap::default(),
            stacks: Interner::default(),
            types: Interner::default(),
            locks: Locks::default(),
            wakes: Wakes::default(),
            flows: Flows::default(),
            totals: Totals::default(),
            panics: PanicPlaces::default(),
            lost_at: None,
            complete_at: None,
            heard_until: Ktime(0),
            now: Ktime(0),
        }
    }

    /// The same world, told that goroutines park without an event: its events are wake-ups alone. So
    /// between an event and the next observation a goroutine's state is not known
    /// ([`Goroutine::unknown_since`]), and a wake-up without a park is nothing strange.
    #[must_use]
    pub fn without_parks(mut self) -> World {
        self.parks_seen = false;
        self
    }

    /// The same world, which keeps every message's way until [`World::take_deliveries`] asks for it: ask after
    /// each event.
    #[must_use]
    pub fn with_deliveries(mut self) -> World {
        self.flows.keep_deliveries();
        self
    }

    /// Appends the messages that were delivered since it was asked last.
    pub fn take_deliveries(&mut self, into: &mut Vec<Delivery>) {
        self.flows.take_deliveries(into);
    }

    /// The probes are others from now on, and what happened since the last event was not traced:
    /// whatever is known from before may be out of date, as after a loss of unknown size.
    /// `parks_seen` says whether goroutines park with an event from now on (see
    /// [`World::without_parks`]). To be told when every event of the probes before was applied.
    pub fn retrace(&mut self, at: Ktime, parks_seen: bool) {
        self.parks_seen = parks_seen;
        self.retraced_at = at;
        self.now = self.now.max(at);
        self.totals.gaps += 1;
        self.lost_at = self.lost_at.max(Some(at));
        self.flows.lose(at);
    }

    /// Applies one event. Events should come in the order of their time; one that does not still
    /// counts.
    ///
    /// A `Lost` of 0 records is a gap of unknown size, such as probes that were off for a while.
    pub fn apply(&mut self, event: &Event) {
        let Event { at, actor, kind } = event;
        let (at, actor) = (*at, *actor);
        self.now = self.now.max(at);
        let lost_at = self.lost_at;
        let site = goroutine::site(kind);
        match kind {
            EventKind::Lost { count } => {
                self.totals.lost += count;
                self.totals.gaps += 1;
                self.lost_at = lost_at.max(Some(at));
                self.flows.lose(at);
                return;
            }
            EventKind::SendBegin(op) => {
                self.totals.sends += 1;
                self.totals.sends_by_runtime += u64::from(actor.0 == 0);
                self.update(actor, at, |entry| entry.told().act(at, site, lost_at));
                self.operate(at, actor, op, Direction::Send);
            }
            EventKind::ReceiveBegin(op) => {
                self.totals.receives += 1;
                self.update(actor, at, |entry| entry.told().act(at, site, lost_at));
                self.operate(at, actor, op, Direction::Receive);
            }
            EventKind::Close(op) => {
                self.totals.closes += 1;
                self.update(actor, at, |entry| {
                    entry.told().close(at, op.chan, site, lost_at)
                });
                if op.chan.is_none() {
                    self.totals.panics.close_of_nil += 1;
                    self.panicked(PanicCause::CloseOfNil, op.site, actor, None);
                }
                let told = self.told_of(at, actor, op);
                if told.is_some_and(|told| told.close(at, lost_at)) {
                    self.totals.panics.close_of_closed += 1;
                    self.panicked(PanicCause::CloseOfClosed, op.site, actor, op.chan);
                }
            }
            EventKind::SelectBegin { cases, .. } => {
                self.totals.selects += 1;
                self.update(actor, at, |entry| {
                    entry.told().select(at, cases, site, lost_at)
                });
                for case in cases {
                    if let WaitObject::Chan { chan, direction } = *case {
                        self.side_mut(chan, direction, at).select_cases += 1;
                    }
                }
            }
            EventKind::SelectEnd { case } => {
                match case {
                    Some(case) => self.select_ended(self.flows.case(actor, *case), at),
                    None => self.totals.defaulted += 1,
                }
                self.update(actor, at, |entry| entry.told().act(at, site, lost_at));
            }
            EventKind::Acquire { object } => {
                self.totals.acquires += 1;
                self.update(actor, at, |entry| {
                    entry.told().acquire(at, *object, lost_at)
                });
                self.locks.attempt(*object, at);
            }
            EventKind::SyscallEnter => {
                self.totals.syscalls += 1;
                self.update(actor, at, |entry| entry.told().enter_syscall(at, lost_at));
            }
            EventKind::SyscallExit => {
                let mut took = None;
                self.update(actor, at, |entry| {
                    let (effect, nanos) = entry.told().exit_syscall(at, lost_at);
                    took = nanos;
                    effect
                });
                if let Some(nanos) = took {
                    self.totals.syscalls_timed += 1;
                    self.totals.syscall_nanos += nanos;
                    self.totals.syscall.add(nanos);
                }
            }
            EventKind::Park { reason, object } => {
                *self.totals.parks.entry(*reason).or_insert(0) += 1;
                self.update(actor, at, |entry| {
                    entry.told().park(at, *reason, *object, lost_at)
                });
                if let Some(WaitObject::Chan { chan, direction }) = *object
                    && reason.kind() == WaitKind::Chan
                {
                    self.side_mut(chan, direction, at).parks += 1;
                }
            }
            EventKind::Ready {
                woken,
                reason,
                object,
            } => {
                *self.totals.wakeups_from.entry(*reason).or_insert(0) += 1;
                self.totals.wakeups += 1;
                if actor.0 == 0 {
                    self.totals.wakeups_by_runtime += 1;
                }
                self.update(actor, at, |entry| entry.told().wake(at, lost_at));
                self.expect_goroutine(*woken, at);
                let waker = Waker {
                    goid: actor,
                    at,
                    reason: *reason,
                    object: *object,
                };
                self.woken_by_close(actor, *woken, *reason, *object);
                self.wakes
                    .count(self.start_of(actor), *reason, self.start_of(*woken));
                let parks_seen = self.parks_seen;
                self.update(*woken, at, |entry| {
                    entry.told().ready(at, waker, lost_at, parks_seen)
                });
                if let Some(WaitObject::Chan { chan, direction }) = *object {
                    let side = self.side_mut(chan, direction, at);
                    side.wakeups += 1;
                    side.waker = Some(actor);
                }
            }
            EventKind::Create {
                child,
                gaddr,
                start,
                site: created_at,
            } => {
                self.totals.created += 1;
                self.update(actor, at, |entry| entry.told().act(at, site, lost_at));
                self.expect_goroutine(*child, at);
                let origin = Origin {
                    start: Some(*start),
                    created_at: *created_at,
                };
                self.update(*child, at, |entry| entry.create(at, actor, *gaddr, origin));
            }
            EventKind::Run => {
                self.totals.runs += 1;
                self.expect_goroutine(actor, at);
                let mut latency = None;
                self.update(actor, at, |entry| {
                    let (effect, waited) = entry.told().run(at, lost_at);
                    latency = waited;
                    effect
                });
                if let Some(nanos) = latency {
                    self.totals.scheduled += 1;
                    self.totals.scheduling_nanos += nanos;
                    self.totals.scheduling.add(nanos);
                }
            }
            EventKind::Make {
                chan,
                site: made_at,
            } => {
                self.totals.made += 1;
                self.update(actor, at, |entry| entry.told().act(at, site, lost_at));
                let made = Made {
                    at,
                    by: actor,
                    site: *made_at,
                };
                let (channel, next) = self.channel_entry(*chan);
                channel.make(made, || next_id(next));
            }
            EventKind::Direct {
                chan, direction, ..
            } => {
                match direction {
                    Direction::Send => self.totals.direct_sends += 1,
                    Direction::Receive => self.totals.direct_receives += 1,
                }
                // A select goes on until its end is told.
                self.update(actor, at, |entry| entry.told().live(at, site, lost_at));
                self.side_mut(*chan, *direction, at).direct += 1;
            }
            EventKind::Exit => {
                self.totals.exited += 1;
                self.shades.remove(&actor);
                self.expect_goroutine(actor, at);
                self.exit(actor, at);
            }
        }
        self.flows.apply(event, |chan| {
            self.channels.get(&chan)?.told_at(at).made()?.site
        });
        self.totals.events += 1;
        self.heard_until = self.heard_until.max(at);
    }

    /// Says that no event from before `at` is still to come, which the events alone tell only of those
    /// before the newest one.
    ///
    /// Until then a snapshot can be ahead of the events: a wait that it shows may be a later one than
    /// the wait, on the same object, whose park was applied last.
    pub fn heard_until(&mut self, at: Ktime) {
        self.heard_until = self.heard_until.max(at);
    }

    /// Takes over a complete snapshot: what it does not contain, and what nothing newer is known
    /// of, is gone.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        let started = snapshot.started;
        self.now = self.now.max(snapshot.finished);
        for goroutine in &snapshot.goroutines {
            let at = goroutine.at.max(started);
            if goroutine.goid.0 == 0 || goroutine.state == State::Dead {
                continue;
            }
            let stack = goroutine
                .stack
                .and_then(|id| snapshot.stacks.get(id.0 as usize))
                .map(|stack| self.stacks.intern(stack));
            if let Some(entry) = self.observed_entry(goroutine.goid, at) {
                entry.observe(at, goroutine, stack);
            }
        }
        if self.complete_at <= Some(started) {
            // Events are not held back for as long as from one snapshot to the next.
            let before = self.complete_at;
            self.shades
                .retain(|_, shade| Some(shade.known_at()) >= before);
            self.complete_at = Some(started);
            let (departed, ended) = (&mut self.departed, &mut self.ended);
            departed.settle(started);
            let (vanished, shades) = (&mut self.totals.vanished, &mut self.shades);
            let absence = Departure::Absence {
                started,
                finished: snapshot.finished,
            };
            self.goroutines.retain(|&goid, entry| {
                let stays = entry.known_at() >= started;
                if !stays {
                    departed.insert(goid, absence);
                    *ended.entry(entry.origin()).or_insert(0) += 1;
                    *vanished += 1;
                    shades.insert(goid, std::mem::take(entry));
                }
                stays
            });
        }
        for read in &snapshot.channels {
            let at = read.at.max(started);
            let elem_type =
                (!read.elem_type.is_empty()).then(|| self.types.intern(&read.elem_type));
            let heard_until = self.heard_until;
            let (channel, next) = self.channel_entry(read.addr);
            channel.observe(at, read, elem_type, heard_until, || next_id(next));
        }
        self.stacks.sweep();
        self.types.sweep();
    }

    /// Time of the newest event or observation.
    pub const fn now(&self) -> Ktime {
        self.now
    }

    /// What was counted since the tracer attached.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Operations that are sure to panic, by cause and place, in no order.
    pub fn panics(&self) -> impl Iterator<Item = (PanicPlace, Panic)> + '_ {
        self.panics.iter()
    }

    /// Goroutines that ended, by where they came from; those of which nothing was known under the
    /// empty origin.
    pub fn ended(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.ended.iter().map(|(&origin, &count)| (origin, count))
    }

    /// Waits for locks and the like, by what was waited for.
    pub const fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Who woke whom, by their functions.
    pub const fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// The ways of messages from goroutine to goroutine.
    pub const fn flows(&self) -> &Flows {
        &self.flows
    }

    /// From now on single ways of messages are followed, too: [`World::take_tasks`].
    pub fn follow_tasks(&mut self, limits: TaskLimits) {
        self.flows.follow_tasks(limits);
    }

    /// Takes the tasks that have ended, in the order in which that was known, and how many found no room
    /// since the last time.
    pub fn take_tasks(&mut self) -> (Vec<Task>, u64) {
        self.flows.take_tasks()
    }

    /// Channels that were forgotten since they were idle and too many.
    pub const fn forgotten_channels(&self) -> u64 {
        self.forgotten_channels
    }

    /// Changes the goroutine's entry, if it can still be alive, and accounts for the effect.
    fn update(&mut self, goid: Goid, at: Ktime, change: impl FnOnce(&mut Entry) -> Effect) {
        if goid.0 == 0 {
            return;
        }
        let entry = match self.goroutines.get_mut(&goid) {
            Some(entry) => entry,
            None => {
                let admitted = self.admits(goid, at);
                if !admitted && matches!(self.departed.get(goid), Some(Departure::Exit(_))) {
                    return;
                }
                if admitted {
                    self.goroutines.entry(goid).or_default()
                } else {
                    self.shades.entry(goid).or_default()
                }
            }
        };
        if entry.is_untold()
            && let Some(memory) = self.spare.pop()
        {
            entry.reuse(memory);
        }
        let Effect { ended, anomaly } = change(entry);
        if let Some(anomaly) = anomaly {
            self.totals.anomalies.note(anomaly, goid, at);
        }
        let Some(Ended {
            reason,
            object,
            nanos,
        }) = ended
        else {
            return;
        };
        if let Some(nanos) = nanos {
            self.totals.blocked.entry(reason).or_default().add(nanos);
        }
        let Some(object) = object else {
            return;
        };
        match object {
            WaitObject::Chan { chan, direction } => {
                if let Some(channel) = self.channels.get_mut(&chan) {
                    let side = channel.told_at_mut(at).side_mut(direction);
                    side.blocked_nanos += nanos.unwrap_or(0);
                }
            }
            WaitObject::Semaphore(_) | WaitObject::Cond(_) => {
                self.locks.waited(object, nanos, at);
            }
            WaitObject::Netpoll(_) => {}
        }
    }

    /// Entry of the goroutine's function, if it is known.
    fn start_of(&self, goid: Goid) -> Option<Pc> {
        self.entry(goid)?.origin().start
    }

    /// A goroutine that is there, or that still has something to tell.
    fn entry(&self, goid: Goid) -> Option<&Entry> {
        self.goroutines
            .get(&goid)
            .or_else(|| self.shades.get(&goid))
    }

    /// What a goroutine is known to be about.
    fn begun(&self, goid: Goid) -> Option<Operation> {
        self.entry(goid)?.begun(self.lost_at)
    }

    /// A select has ended with this case, if it is known which that is.
    fn select_ended(&mut self, case: Option<WaitObject>, at: Ktime) {
        let Some(WaitObject::Chan { chan, direction }) = case else {
            return;
        };
        self.totals.selected += 1;
        self.side_mut(chan, direction, at).selected += 1;
    }

    /// Whoever a close wakes receives nothing, or panics as it wanted to send.
    fn woken_by_close(
        &mut self,
        waker: Goid,
        woken: Goid,
        reason: WaitReason,
        object: Option<WaitObject>,
    ) {
        let Some(Operation::Close(chan)) = self.begun(waker) else {
            return;
        };
        let sends = match reason.kind() {
            WaitKind::Chan => {
                let direction = Direction::Send;
                object == Some(WaitObject::Chan { chan, direction })
            }
            WaitKind::Select => self.entry(woken).is_some_and(|entry| {
                entry.begun(self.lost_at).is_some() && entry.wants_to_send(chan)
            }),
            _ => false,
        };
        if sends {
            self.totals.panics.send_on_closed += 1;
            let closer = self.goroutine(waker);
            let site = closer.and_then(Goroutine::last_site);
            self.panicked(PanicCause::SendOnClosed, site, waker, Some(chan));
        }
    }

    fn panicked(
        &mut self,
        cause: PanicCause,
        site: Option<Pc>,
        goid: Goid,
        chan: Option<ChanAddr>,
    ) {
        self.panics.note(PanicPlace { cause, site }, goid, chan);
    }

    /// Whether an event can be of a living goroutine that is not here yet.
    fn admits(&mut self, goid: Goid, at: Ktime) -> bool {
        match self.departed.get(goid) {
            Some(Departure::Exit(exited)) => {
                if at > exited {
                    self.totals
                        .anomalies
                        .note(AnomalyKind::ActedAfterExit, goid, at);
                }
                false
            }
            Some(Departure::Absence { started, .. }) if at < started => false,
            Some(Departure::Absence { finished, .. }) => {
                // Before that it may have acted and ended before it was read.
                if at > finished {
                    self.totals
                        .anomalies
                        .note(AnomalyKind::ReturnedAfterAbsence, goid, at);
                }
                self.departed.remove(goid);
                true
            }
            None => self.complete_at <= Some(at) && self.departed.forgotten() <= Some(at),
        }
    }

    /// The entry that an observation is about, unless it is known to be gone.
    fn observed_entry(&mut self, goid: Goid, at: Ktime) -> Option<&mut Entry> {
        if !self.goroutines.contains_key(&goid) {
            match self.departed.get(goid) {
                Some(Departure::Exit(_)) => return None,
                Some(Departure::Absence { started, .. }) if at < started => return None,
                Some(Departure::Absence { .. }) => self.departed.remove(goid),
                None if self.complete_at > Some(at) => return None,
                None => {}
            }
            let mut entry = Entry::default();
            if let Some(forgotten) = self.departed.forgotten() {
                entry.doubt(forgotten);
            }
            self.goroutines.insert(goid, entry);
        }
        self.goroutines.get_mut(&goid)
    }

    fn exit(&mut self, goid: Goid, at: Ktime) {
        if goid.0 == 0 {
            return;
        }
        match self.goroutines.swap_remove(&goid) {
            Some(entry) => {
                *self.ended.entry(entry.origin()).or_insert(0) += 1;
                self.departed.insert(goid, Departure::Exit(at));
                if self.spare.len() < SPARE {
                    self.spare.extend(entry.into_memory());
                }
            }
            None => match self.departed.get(goid) {
                Some(Departure::Exit(_)) => {
                    self.totals
                        .anomalies
                        .note(AnomalyKind::ActedAfterExit, goid, at);
                }
                // Counted when it was found to be gone; now that is for sure.
                Some(Departure::Absence { .. }) => {
                    self.departed.insert(goid, Departure::Exit(at));
                }
                None => {
                    *self.ended.entry(Origin::default()).or_insert(0) += 1;
                    self.departed.insert(goid, Departure::Exit(at));
                }
            },
        }
    }

    fn expect_goroutine(&mut self, goid: Goid, at: Ktime) {
        if goid.0 == 0 {
            self.totals
                .anomalies
                .note(AnomalyKind::NobodyWoken, goid, at);
        }
    }

    fn operate(&mut self, at: Ktime, actor: Goid, op: &ChanOp, direction: Direction) {
        if let Some(told) = self.told_of(at, actor, op) {
            told.count_operation(direction, op.site);
        }
    }

    /// Where to note what is told of an operation's channel, which knows of its fill then; none if it
    /// is nil, or if it came too late.
    fn told_of(&mut self, at: Ktime, actor: Goid, op: &ChanOp) -> Option<&mut Told> {
        let addr = op.chan?;
        let mut fill = op.fill;
        if let Some(read) = fill
            && read.len > read.cap
        {
            self.totals
                .anomalies
                .note(AnomalyKind::ImpossibleFill, actor, at);
            fill = None;
        }
        let (channel, next) = self.channel_entry(addr);
        let told = match fill {
            Some(fill) => {
                let told = channel.told_of(at, fill.cap, || next_id(next))?;
                told.fill(at, fill);
                told
            }
            None => channel.told_at_mut(at),
        };
        told.touch(at);
        Some(told)
    }

    /// What is counted of one side of the channel that had the address at this time.
    fn side_mut(&mut self, addr: ChanAddr, direction: Direction, at: Ktime) -> &mut Side {
        let (channel, _) = self.channel_entry(addr);
        let told = channel.told_at_mut(at);
        told.touch(at);
        told.side_mut(direction)
    }

    /// The channel that has the address, and where numbers for channels come from.
    fn channel_entry(&mut self, addr: ChanAddr) -> (&mut Channel, &mut u32) {
        self.make_room_for(addr);
        let next = &mut self.next_chan;
        let channel = self
            .channels
            .entry(addr)
            .or_insert_with(|| Channel::new(next_id(next), addr));
        (channel, next)
    }

    fn make_room_for(&mut self, addr: ChanAddr) {
        if self.channels.len() >= self.forget_at && !self.channels.contains_key(&addr) {
            self.forget_idle_channels();
        }
    }

    /// Makes room: forgets the idle half of the channels that nobody waits on, so that the cost is
    /// spread over as many new ones.
    fn forget_idle_channels(&mut self) {
        let mut waited_on = FxHashSet::default();
        for goroutine in self.goroutines() {
            for object in goroutine.wait().map_or(&[][..], |wait| wait.objects) {
                if let WaitObject::Chan { chan, .. } = *object {
                    waited_on.insert(chan);
                }
            }
        }
        let mut idle: Vec<(Ktime, ChanAddr)> = self
            .channels
            .values()
            .filter(|channel| !waited_on.contains(&channel.addr()))
            .map(|channel| (channel.last_activity(), channel.addr()))
            .collect();
        let surplus = idle.len().div_ceil(2);
        idle.sort_unstable();
        for (_, addr) in &idle[..surplus] {
            self.channels.swap_remove(addr);
        }
        self.forgotten_channels += surplus as u64;
        // Where most are waited on, looking again soon would find nothing.
        self.forget_at = self.limits.channels.max(2 * waited_on.len());
    }
}

/// The next channel's name.
fn next_id(next: &mut u32) -> ChanId {
    let id = ChanId(*next);
    *next = next.wrapping_add(1);
    id
}
