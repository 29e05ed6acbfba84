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

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::event::{ChanOp, Event, EventKind, case_index};
use crate::ids::{ChanAddr, Goid, Ktime, Pc};
use crate::wait::{Direction, WaitKind, WaitObject};

use super::histogram::Histogram;
use queue::{Item, Queue, Queues};
use task::Tasks;
use tree::{NodeId, Tree};

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

/// A message that was received, which what follows is caused by.
#[derive(Clone, Copy, Debug)]
struct Cause {
    node: NodeId,
    at: Ktime,
    /// It was received by whoever created the goroutine.
    inherited: bool,
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

/// What a goroutine is about.
#[derive(Debug, Default)]
enum Doing {
    #[default]
    Nothing,
    /// A send, whose item is in the queue.
    Send {
        chan: ChanAddr,
    },
    /// A send that has failed unless a hand-off follows.
    Attempt {
        item: Item,
    },
    SendParked {
        chan: ChanAddr,
    },
    /// A receive, which got this item unless something else follows.
    Receive {
        chan: ChanAddr,
        at: Ktime,
        site: Option<Pc>,
        blocking: bool,
        taken: Option<Item>,
    },
    ReceiveParked {
        site: Option<Pc>,
    },
    Select {
        at: Ktime,
        site: Option<Pc>,
        cases: SmallVec<[WaitObject; 4]>,
        nils: u32,
        /// The message of its case has been told.
        settled: bool,
    },
}

#[derive(Debug, Default)]
struct Actor {
    doing: Doing,
    cause: Option<Cause>,
    /// Sends since then.
    sends: u32,
    /// What it was handed while it waited, and when; it has not run since.
    handed: Option<(NodeId, Ktime)>,
}

/// The ways of messages of one target.
#[derive(Debug, Default)]
pub struct Flows {
    actors: FxHashMap<Goid, Actor>,
    queues: Queues,
    tree: Tree,
    lost_until: Ktime,
    outcomes: Outcomes,
    delivered: u64,
    unknown: u64,
    dwell: Histogram,
    /// Where single ways are followed.
    tasks: Option<Box<Tasks>>,
    /// Those that nobody has asked for yet, if somebody is going to ask.
    deliveries: Option<Vec<Delivery>>,
}

impl Flows {
    pub(super) fn keep_deliveries(&mut self) {
        self.deliveries = Some(Vec::new());
    }

    pub(super) fn take_deliveries(&mut self, into: &mut Vec<Delivery>) {
        if let Some(deliveries) = &mut self.deliveries {
            into.append(deliveries);
        }
    }

    /// How long those of [`Flows::delivered`] that went through a buffer lay in it.
    pub const fn dwell(&self) -> &Histogram {
        &self.dwell
    }

    /// Messages whose way from sender to receiver was seen.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages that were received and whose sender is not known: sent before the tracer attached, or
    /// before a loss, or of more hops than are told apart.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Messages that were taken for sent and that nobody received.
    pub const fn stale(&self) -> u64 {
        self.queues.stale
    }

    /// How operations ended that neither parked nor met a waiting goroutine.
    pub const fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// The `k` hops over which messages took longest in all, whatever was before, longest first.
    pub fn hops(&self, k: usize) -> Vec<(Hop, HopTimes)> {
        self.tree.hops(k)
    }

    /// The `k` ways that took most time in all, of the messages that ended at their ends; those of one
    /// hop are not among them.
    pub fn paths(&self, k: usize) -> Vec<Path> {
        self.tree.paths(k)
    }

    /// From now on single ways are followed as well.
    pub(super) fn follow_tasks(&mut self, limits: TaskLimits) {
        self.tasks = Some(Box::new(Tasks::new(limits)));
    }

    /// Takes the tasks that have ended, and how many found no room since the last time.
    pub(super) fn take_tasks(&mut self) -> (Vec<Task>, u64) {
        self.tasks
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
        self.queues.clear();
        if let Some(tasks) = &mut self.tasks {
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
        match kind {
            EventKind::SendBegin(op) => {
                self.settle(actor, &made);
                self.begin_send(actor, op, at);
            }
            EventKind::ReceiveBegin(op) => {
                self.settle(actor, &made);
                self.begin_receive(actor, op, at);
            }
            EventKind::SelectBegin {
                cases, nils, site, ..
            } => {
                self.settle(actor, &made);
                self.actor(actor).doing = Doing::Select {
                    at,
                    site: *site,
                    cases: SmallVec::from_slice(cases),
                    nils: *nils,
                    settled: false,
                };
            }
            EventKind::SelectEnd { case } => self.end_select(actor, *case, at, &made),
            EventKind::Direct {
                chan,
                direction: Direction::Send,
                partner,
                ..
            } => self.hand_over(actor, *partner, *chan, at, &made),
            EventKind::Direct {
                chan,
                direction: Direction::Receive,
                partner,
                ..
            } => self.take_over(actor, *partner, *chan, at, &made),
            EventKind::Park { reason, .. } => match reason.kind() {
                WaitKind::Chan | WaitKind::Select => self.park(actor),
                // In the midst of an operation it may have to help the collector.
                WaitKind::Gc | WaitKind::Runtime | WaitKind::Semaphore => {}
                _ => self.settle(actor, &made),
            },
            EventKind::Ready { woken, .. } => self.woken(*woken),
            EventKind::Run => self.run(actor, at),
            EventKind::Create { child, .. } => {
                self.settle(actor, &made);
                if let Some(cause) = self.actors.get(&actor).and_then(|actor| actor.cause) {
                    self.actor(*child).cause = Some(Cause {
                        inherited: true,
                        ..cause
                    });
                }
            }
            EventKind::Exit => {
                self.settle(actor, &made);
                if let Some(actor) = self.actors.remove(&actor) {
                    self.end(&actor);
                }
            }
            EventKind::Make { chan, .. } => {
                self.settle(actor, &made);
                self.queues.of(*chan).empty();
            }
            EventKind::Close(_) | EventKind::SyscallEnter | EventKind::SyscallExit => {
                self.settle(actor, &made);
            }
            EventKind::Acquire { .. } | EventKind::Lost { .. } => {}
        }
        if let Some(tasks) = &mut self.tasks {
            let caused = self
                .actors
                .get(&actor)
                .is_some_and(|actor| actor.cause.is_some());
            tasks.apply(event, caused);
        }
    }

    /// The task that what is sent now belongs to, where these are followed.
    fn task(&mut self, sender: Goid, at: Ktime, cause: Option<Cause>) -> Option<TaskId> {
        self.tasks.as_mut()?.of_send(sender, at, cause.is_some())
    }

    fn actor(&mut self, goid: Goid) -> &mut Actor {
        self.actors.entry(goid).or_default()
    }

    /// What is sent now is caused by.
    fn cause(&mut self, goid: Goid) -> Option<Cause> {
        let actor = self.actors.get_mut(&goid)?;
        let cause = actor.cause.filter(|_| actor.sends < FANOUT)?;
        actor.sends += 1;
        Some(cause)
    }

    fn begin_send(&mut self, sender: Goid, op: &ChanOp, at: Ktime) {
        let Some(chan) = op.chan else { return };
        let fails = !op.blocking && op.fill.is_some_and(|fill| fill.len >= fill.cap);
        // The runtime's timers send on nobody's behalf: nothing of theirs follows but a hand-off.
        if sender.0 == 0 && fails {
            return;
        }
        let cause = self.cause(sender);
        let item = Item {
            sender,
            began: Some(at),
            entered: op.fill.is_none_or(|fill| fill.cap > 0).then_some(at),
            sent: false,
            site: op.site,
            cause,
            task: self.task(sender, at, cause),
        };
        let queue = self.queues.filled(chan, op.fill, at);
        let doing = if fails {
            Doing::Attempt { item }
        } else {
            queue.items.push_back(item);
            Doing::Send { chan }
        };
        if sender.0 != 0 {
            self.actor(sender).doing = doing;
        }
    }

    fn begin_receive(&mut self, receiver: Goid, op: &ChanOp, at: Ktime) {
        let Some(chan) = op.chan else { return };
        let queue = self.queues.filled(chan, op.fill, at);
        // Out of an empty buffer nothing comes at once, and without a buffer only hand-offs do.
        let taken = match op.fill {
            Some(fill) if fill.len > 0 => queue.take(),
            _ => None,
        };
        self.actor(receiver).doing = Doing::Receive {
            chan,
            at,
            site: op.site,
            blocking: op.blocking,
            taken,
        };
    }

    /// The goroutine does something else: what it was about has ended at once.
    fn settle(&mut self, goid: Goid, made: &impl Fn(ChanAddr) -> Option<Pc>) {
        let Some(actor) = self.actors.get_mut(&goid) else {
            return;
        };
        match std::mem::take(&mut actor.doing) {
            Doing::Attempt { .. } => self.outcomes.failed_sends += 1,
            Doing::Send { chan } => {
                // Without a buffer and a hand-off it has panicked: the channel is closed.
                match self.queues.newest(chan, goid) {
                    Some(Item { entered: None, .. }) => {
                        self.outcomes.failed_sends += 1;
                        self.queues.remove(chan, goid);
                    }
                    item => {
                        self.outcomes.buffered_sends += 1;
                        if let Some(item) = item {
                            item.sent = true;
                        }
                    }
                }
            }
            Doing::Receive {
                chan,
                at,
                site,
                blocking,
                taken,
            } => {
                let queue = self.queues.get_mut(chan).filter(|_| blocking);
                let late = || queue.and_then(Queue::take);
                match taken.or_else(late) {
                    Some(item) => {
                        self.outcomes.buffered_receives += 1;
                        self.deliver(item, goid, (chan, made(chan)), site, at, false);
                    }
                    None if blocking => self.outcomes.closed_receives += 1,
                    None => self.outcomes.failed_receives += 1,
                }
            }
            // What parked goes on as it is woken; what selects says itself how that ends.
            waits @ (Doing::SendParked { .. } | Doing::ReceiveParked { .. }) => {
                actor.doing = waits;
            }
            Doing::Nothing | Doing::Select { .. } => {}
        }
    }

    /// The goroutine parks in what it is about.
    fn park(&mut self, goid: Goid) {
        let Some(actor) = self.actors.get_mut(&goid) else {
            return;
        };
        let doing = std::mem::take(&mut actor.doing);
        match doing {
            Doing::Send { chan } => {
                actor.doing = Doing::SendParked { chan };
                if let Some(item) = self.queues.newest(chan, goid) {
                    item.entered = None;
                }
            }
            Doing::Receive {
                chan, site, taken, ..
            } => {
                actor.doing = Doing::ReceiveParked { site };
                if let Some(item) = taken
                    && let Some(queue) = self.queues.get_mut(chan)
                {
                    queue.items.push_front(item);
                }
            }
            Doing::Select { ref cases, .. } => {
                // Nothing is in a buffer that it waits to receive from.
                let received = cases.iter().filter_map(|case| match *case {
                    WaitObject::Chan {
                        chan,
                        direction: Direction::Receive,
                    } => Some(chan),
                    _ => None,
                });
                let unknown: SmallVec<[ChanAddr; 4]> = received
                    .filter(|&chan| !self.queues.is_synced(chan))
                    .collect();
                self.actor(goid).doing = doing;
                for chan in unknown {
                    self.queues.of(chan).empty();
                }
            }
            other => actor.doing = other,
        }
    }

    /// The goroutine was woken: what it waited in has ended, by a hand-off that was told before, or by a
    /// close.
    fn woken(&mut self, goid: Goid) {
        let Some(actor) = self.actors.get_mut(&goid) else {
            return;
        };
        match &mut actor.doing {
            Doing::SendParked { chan } => {
                let chan = *chan;
                actor.doing = Doing::Nothing;
                self.queues.remove(chan, goid);
            }
            Doing::ReceiveParked { .. } => actor.doing = Doing::Nothing,
            Doing::Select { settled, .. } => *settled = true,
            Doing::Nothing | Doing::Send { .. } | Doing::Attempt { .. } | Doing::Receive { .. } => {
            }
        }
    }

    fn run(&mut self, goid: Goid, at: Ktime) {
        if let Some(actor) = self.actors.get_mut(&goid)
            && let Some((node, since)) = actor.handed.take()
        {
            self.tree.node_mut(node).times.scheduling_nanos += at.since(since);
        }
    }

    /// `sender` hands its message to `receiver`, which waits.
    fn hand_over(
        &mut self,
        sender: Goid,
        receiver: Goid,
        chan: ChanAddr,
        at: Ktime,
        made: &impl Fn(ChanAddr) -> Option<Pc>,
    ) {
        let item = self.leave_send(sender, chan, at);
        // If somebody was given it before its turn, there is another one in its place.
        let item = item.or_else(|| self.queues.of(chan).take());
        let site = self.leave_receive(receiver);
        if let Some(item) = item {
            self.deliver(item, receiver, (chan, made(chan)), site, at, true);
        }
    }

    /// `receiver` takes the turn of `sender`, which waits: its message, or the oldest in the buffer,
    /// whose room the sender's message takes.
    fn take_over(
        &mut self,
        receiver: Goid,
        sender: Goid,
        chan: ChanAddr,
        at: Ktime,
        made: &impl Fn(ChanAddr) -> Option<Pc>,
    ) {
        let taken = match self.actors.get_mut(&receiver).map(|actor| &mut actor.doing) {
            Some(Doing::Receive { taken, .. }) => taken.take(),
            _ => None,
        };
        let site = self.leave_receive(receiver);
        let waiting = self.leave_send(sender, chan, at);
        let queue = self.queues.of(chan);
        let synced = queue.synced;
        let item = match (taken.or_else(|| queue.take()), waiting) {
            (Some(oldest), Some(waiting)) => {
                let entered = Some(at);
                queue.enter(Item {
                    entered,
                    sent: true,
                    ..waiting
                });
                oldest
            }
            // There is no buffer; or it is not known what is in it.
            (None, Some(waiting)) => {
                let began = waiting.began.filter(|_| synced);
                Item { began, ..waiting }
            }
            // The receiver, or one before it, was given the waiting one before its turn.
            (Some(oldest), None) => oldest,
            (None, None) => return,
        };
        self.deliver(item, receiver, (chan, made(chan)), site, at, false);
    }

    /// A select has ended. What a hand-off did not tell went through the buffer.
    fn end_select(
        &mut self,
        goid: Goid,
        case: Option<u32>,
        now: Ktime,
        made: &impl Fn(ChanAddr) -> Option<Pc>,
    ) {
        let Some(actor) = self.actors.get_mut(&goid) else {
            return;
        };
        let Doing::Select {
            at,
            site,
            cases,
            nils,
            settled: false,
        } = std::mem::take(&mut actor.doing)
        else {
            return;
        };
        let object = case
            .and_then(|case| case_index(case, nils))
            .and_then(|index| cases.get(index));
        let Some(&WaitObject::Chan { chan, direction }) = object else {
            return;
        };
        match direction {
            Direction::Send => {
                let cause = self.cause(goid);
                let task = self.task(goid, at, cause);
                let queue = self.queues.of(chan);
                if queue.synced {
                    queue.items.push_back(Item {
                        sender: goid,
                        began: Some(at),
                        entered: Some(now),
                        sent: true,
                        site,
                        cause,
                        task,
                    });
                }
            }
            Direction::Receive => {
                if let Some(item) = self.queues.of(chan).take() {
                    self.deliver(item, goid, (chan, made(chan)), site, now, false);
                }
            }
        }
    }

    /// Ends what a sender is about, which hands its message over at `at`. The message, which is in no
    /// queue any more; `None` if somebody was given it already: two sends can begin in another order than
    /// they get the channel's lock in.
    fn leave_send(&mut self, sender: Goid, chan: ChanAddr, at: Ktime) -> Option<Item> {
        let doing = self.actors.get_mut(&sender).map(|actor| &mut actor.doing);
        let (began, site) = match doing {
            Some(Doing::Attempt { item }) => {
                let item = *item;
                *doing? = Doing::Nothing;
                return Some(item);
            }
            Some(Doing::Send { .. } | Doing::SendParked { .. }) => {
                *doing? = Doing::Nothing;
                return self.queues.remove(chan, sender);
            }
            Some(Doing::Select {
                at, site, settled, ..
            }) => {
                *settled = true;
                (*at, *site)
            }
            // A timer of the runtime has only its message.
            _ if sender.0 == 0 => return self.queues.remove(chan, sender),
            // The begin was not seen.
            _ => (at, None),
        };
        let cause = self.cause(sender);
        Some(Item {
            sender,
            began: Some(began),
            entered: None,
            sent: false,
            site,
            cause,
            task: self.task(sender, began, cause),
        })
    }

    /// Ends what a receiver is about: where it receives.
    fn leave_receive(&mut self, receiver: Goid) -> Option<Pc> {
        let actor = self.actors.get_mut(&receiver)?;
        match &mut actor.doing {
            Doing::Receive { site, .. } | Doing::ReceiveParked { site } => {
                let site = *site;
                actor.doing = Doing::Nothing;
                site
            }
            Doing::Select { site, settled, .. } => {
                *settled = true;
                *site
            }
            _ => None,
        }
    }

    /// The receiver has the message, out of a channel that was made somewhere. `waited` tells whether it
    /// was parked for it.
    fn deliver(
        &mut self,
        item: Item,
        receiver: Goid,
        (chan, made): (ChanAddr, Option<Pc>),
        site: Option<Pc>,
        at: Ktime,
        waited: bool,
    ) {
        if let (Some(deliveries), Some(sent)) = (&mut self.deliveries, item.began) {
            deliveries.push(Delivery {
                chan,
                sender: item.sender,
                sent,
                receiver,
                received: at,
            });
        }
        if let Some(tasks) = &mut self.tasks {
            tasks.delivered(&item, receiver, made, site, at);
        }
        let hop = Hop {
            made,
            sent: item.site,
            received: site,
        };
        let node = item
            .began
            .and_then(|_| self.tree.node(item.cause.map(|cause| cause.node), hop));
        let actor = self.actor(receiver);
        let next = Actor {
            doing: std::mem::take(&mut actor.doing),
            cause: node.map(|node| Cause {
                node,
                at,
                inherited: false,
            }),
            sends: 0,
            handed: node.filter(|_| waited).map(|node| (node, at)),
        };
        let before = std::mem::replace(actor, next);
        self.end(&before);
        let (Some(node), Some(began)) = (node, item.began) else {
            self.unknown += 1;
            return;
        };
        self.delivered += 1;
        if let Some(entered) = item.entered {
            self.dwell.add(at.since(entered));
        }
        let entered = item.entered.unwrap_or(at);
        let node = self.tree.node_mut(node);
        let times = &mut node.times;
        times.count += 1;
        if let Some(cause) = item.cause
            && node.parent.is_some()
        {
            times.work_nanos += began.since(cause.at);
        }
        times.blocked_nanos += entered.since(began);
        times.queued_nanos += at.since(entered);
        times.longest_nanos = times.longest_nanos.max(at.since(began));
    }

    /// Nothing more comes of what the goroutine received last.
    fn end(&mut self, actor: &Actor) {
        if let Some(cause) = actor.cause
            && actor.sends == 0
            && !cause.inherited
        {
            self.tree.node_mut(cause.node).ended += 1;
        }
    }
}
