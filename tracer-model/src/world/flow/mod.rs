//! The ways of messages: from a sender through a channel to a receiver, which sends on.
//!
//! A channel is a queue: what is sent first is received first. So messages need no names: a receive
//! gets the oldest value that is sent and not received yet, and where a goroutine waits on the other
//! side the event of the hand-off names it. What a goroutine sends after a receive is taken for caused
//! by what it received (at most [`FANOUT`] sends, until it receives again), and so is what the
//! goroutines send that it creates. A way ends where it would go through the same hop again: a request
//! that comes back for its answer is one way, a ping-pong is many.
//!
//! **How exact.** Operations are seen as they begin, and the order in which two of them got the
//! channel's lock can be another one; hand-offs are exact. Whether an operation that may not block
//! succeeded is told by the fill that it began with. Such errors of one channel end as its buffer is
//! seen empty, or the channel is made anew. A loss of records ends all ways that are under way: nothing
//! is guessed across it. Times are summed up by site, so memory does not grow with messages.

mod queue;
mod task;
mod tree;
mod ways;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::event::{Event, EventKind, case_index};
use crate::ids::{ChanAddr, Goid, Ktime, Pc};
use crate::wait::{Direction, WaitKind, WaitObject};

use super::histogram::Histogram;
use task::Tasks;
use ways::{Actor, Cause, Doing, Ways};

pub use task::{LinkCause, Task, TaskId, TaskLimits, TaskLink, TaskOrigin};
pub use tree::{Hop, HopTimes, Path};

/// Sends that are taken for caused by one receive.
const FANOUT: u32 = 64;

/// How operations on channels ended that neither parked nor met a waiting goroutine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Plain sends into the buffer.
    pub buffered_sends: u64,
    /// Plain receives out of the buffer.
    pub buffered_receives: u64,
    /// Sends that may not block and found no room, or that panicked as the channel was closed.
    pub failed_sends: u64,
    /// Receives that may not block and found nothing; the channel may have been closed.
    pub failed_receives: u64,
    /// Receives that may block and got nothing at once: the channel was closed.
    pub closed_receives: u64,
}

/// A message on its way from a sender to a receiver that are both known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The channel's address at that time.
    pub chan: ChanAddr,
    /// Who sent it; `Goid(0)` is the runtime, such as a timer.
    pub sender: Goid,
    /// When the send began: of one in a select, when that began.
    pub sent: Ktime,
    /// Who received it.
    pub receiver: Goid,
    /// When it was handed over; of one out of the buffer, when the receive began.
    pub received: Ktime,
}

/// The ways of messages of one target.
#[derive(Debug, Default)]
pub struct Flows {
    actors: FxHashMap<Goid, Actor>,
    ways: Ways,
    lost_until: Ktime,
}

impl Flows {
    pub(super) fn keep_deliveries(&mut self) {
        self.ways.deliveries = Some(Vec::new());
    }

    pub(super) fn take_deliveries(&mut self, into: &mut Vec<Delivery>) {
        if let Some(deliveries) = &mut self.ways.deliveries {
            into.append(deliveries);
        }
    }

    /// How long those of [`Flows::delivered`] that went through a buffer lay in it.
    pub const fn dwell(&self) -> &Histogram {
        &self.ways.dwell
    }

    /// Messages whose way from sender to receiver was seen.
    pub const fn delivered(&self) -> u64 {
        self.ways.delivered
    }

    /// Messages that were received and whose sender is not known: sent before the tracer attached, or
    /// before a loss, or of more hops than are told apart.
    pub const fn unknown(&self) -> u64 {
        self.ways.unknown
    }

    /// Messages that were taken for sent and that nobody received.
    pub const fn stale(&self) -> u64 {
        self.ways.queues.stale
    }

    /// How operations ended that neither parked nor met a waiting goroutine.
    pub const fn outcomes(&self) -> Outcomes {
        self.ways.outcomes
    }

    /// The `k` hops over which messages took longest in all, whatever was before, longest first.
    pub fn hops(&self, k: usize) -> Vec<(Hop, HopTimes)> {
        self.ways.tree.hops(k)
    }

    /// The `k` ways that took most time in all, of the messages that ended at their ends; those of one
    /// hop are not among them.
    pub fn paths(&self, k: usize) -> Vec<Path> {
        self.ways.tree.paths(k)
    }

    /// From now on single ways are followed as well.
    pub(super) fn follow_tasks(&mut self, limits: TaskLimits) {
        self.ways.tasks = Some(Box::new(Tasks::new(limits)));
    }

    /// Takes the tasks that have ended, and how many found no room since the last time.
    pub(super) fn take_tasks(&mut self) -> (Vec<Task>, u64) {
        self.ways
            .tasks
            .as_mut()
            .map_or_else(Default::default, |tasks| tasks.take())
    }

    /// The case of a goroutine's select, by the runtime's count; `None` if the select's begin was not seen.
    /// What the goroutine does for the collector in the midst of it does not matter here.
    pub(super) fn case(&self, goid: Goid, case: u32) -> Option<WaitObject> {
        match &self.actors.get(&goid)?.doing {
            Doing::Select { cases, nils, .. } => cases.get(case_index(case, *nils)?).copied(),
            _ => None,
        }
    }

    /// Records from before `until` are missing: whoever is about something may have gone on, and whatever
    /// is in a buffer may have left it. What is told of the time before then is not followed.
    pub(super) fn lose(&mut self, until: Ktime) {
        self.lost_until = self.lost_until.max(until);
        self.actors.clear();
        self.ways.queues.clear();
        if let Some(tasks) = &mut self.ways.tasks {
            tasks.lose();
        }
    }

    /// Takes an event in; events come in order. `made` tells where a channel was made.
    pub(super) fn apply(&mut self, event: &Event, made: impl Fn(ChanAddr) -> Option<Pc>) {
        let Event { at, actor, kind } = event;
        let (at, actor) = (*at, *actor);
        if at < self.lost_until {
            return;
        }
        let Flows { actors, ways, .. } = self;
        match kind {
            EventKind::SendBegin(op) if actor.0 == 0 => {
                ways.begin_send(&mut Actor::default(), actor, op, at);
            }
            EventKind::SendBegin(op) => {
                let doer = actors.entry(actor).or_default();
                ways.settle(doer, actor, &made);
                ways.begin_send(doer, actor, op, at);
            }
            EventKind::ReceiveBegin(op) => {
                let doer = actors.entry(actor).or_default();
                ways.settle(doer, actor, &made);
                ways.begin_receive(doer, op, at);
            }
            EventKind::SelectBegin {
                cases, nils, site, ..
            } => {
                let doer = actors.entry(actor).or_default();
                ways.settle(doer, actor, &made);
                doer.doing = Doing::Select {
                    at,
                    site: *site,
                    cases: SmallVec::from_slice(cases),
                    nils: *nils,
                    settled: false,
                };
            }
            EventKind::Direct {
                chan,
                direction,
                partner,
                ..
            } => self.pass(actor, *partner, (*chan, made(*chan)), *direction, at),
            EventKind::Park { reason, .. } => match reason.kind() {
                WaitKind::Chan | WaitKind::Select => {
                    self.with(actor, |ways, doer| ways.park(doer, actor));
                }
                // In the midst of an operation it may have to help the collector.
                WaitKind::Gc | WaitKind::Runtime | WaitKind::Semaphore => {}
                _ => self.settle(actor, &made),
            },
            EventKind::Ready { woken, .. } => {
                self.with(*woken, |ways, sleeper| ways.woken(sleeper, *woken));
            }
            EventKind::SelectEnd { case } => self.with(actor, |ways, doer| {
                ways.end_select(doer, actor, *case, at, &made);
            }),
            EventKind::Run => self.with(actor, |ways, doer| ways.run(doer, at)),
            EventKind::Create { child, .. } => {
                self.settle(actor, &made);
                if let Some(cause) = self.actors.get(&actor).and_then(|actor| actor.cause) {
                    self.actors.entry(*child).or_default().cause = Some(Cause {
                        inherited: true,
                        ..cause
                    });
                }
            }
            EventKind::Exit => {
                self.settle(actor, &made);
                if let Some(gone) = self.actors.remove(&actor) {
                    self.ways.end(&gone);
                }
            }
            EventKind::Make { chan, .. } => {
                self.settle(actor, &made);
                self.ways.queues.of(*chan).empty();
            }
            EventKind::Close(_) | EventKind::SyscallEnter | EventKind::SyscallExit => {
                self.settle(actor, &made);
            }
            EventKind::Acquire { .. } | EventKind::Lost { .. } => {}
        }
        if let Some(tasks) = &mut self.ways.tasks {
            let caused = self
                .actors
                .get(&actor)
                .is_some_and(|actor| actor.cause.is_some());
            tasks.apply(event, caused);
        }
    }

    /// Does something with a goroutine of which something is known.
    fn with(&mut self, goid: Goid, change: impl FnOnce(&mut Ways, &mut Actor)) {
        if let Some(actor) = self.actors.get_mut(&goid) {
            change(&mut self.ways, actor);
        }
    }

    fn settle(&mut self, goid: Goid, made: &impl Fn(ChanAddr) -> Option<Pc>) {
        self.with(goid, |ways, actor| ways.settle(actor, goid, made));
    }

    /// A message goes from hand to hand: `actor` gives its own to `partner`, which waits, or takes the turn
    /// of `partner`, which waits to send.
    fn pass(
        &mut self,
        actor: Goid,
        partner: Goid,
        (chan, made): (ChanAddr, Option<Pc>),
        direction: Direction,
        at: Ktime,
    ) {
        let Flows { actors, ways, .. } = self;
        let (item, receiver) = match direction {
            Direction::Send => {
                let item = ways.leave_send(actors.get_mut(&actor), actor, chan, at);
                // If somebody was given it before its turn, there is another one in its place.
                (item.or_else(|| ways.queues.of(chan).take()), partner)
            }
            Direction::Receive => {
                let taken = match actors.get_mut(&actor).map(|actor| &mut actor.doing) {
                    Some(Doing::Receive { taken, .. }) => taken.take(),
                    _ => None,
                };
                let waiting = ways.leave_send(actors.get_mut(&partner), partner, chan, at);
                (ways.take_turn(taken, waiting, chan, at), actor)
            }
        };
        let doer = actors.entry(receiver).or_default();
        let site = doer.leave_receive();
        if let Some(item) = item {
            let waited = direction == Direction::Send;
            ways.deliver(doer, item, receiver, (chan, made), site, at, waited);
        }
    }
}
