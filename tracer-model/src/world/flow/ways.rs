//! What each goroutine is about, and what becomes of its messages.

use smallvec::SmallVec;

use crate::event::{ChanOp, case_index};
use crate::ids::{ChanAddr, Goid, Ktime, Pc};
use crate::wait::{Direction, WaitObject};

use super::super::histogram::Histogram;
use super::queue::{Item, Queue, Queues};
use super::task::{TaskId, Tasks};
use super::tree::{Hop, NodeId, Tree};
use super::{Delivery, FANOUT, Outcomes};

/// A message that was received, which what follows is caused by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) node: NodeId,
    pub(super) at: Ktime,
    /// It was received by whoever created the goroutine.
    pub(super) inherited: bool,
}

/// What a goroutine is about.
#[derive(Debug, Default)]
pub(super) enum Doing {
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

/// A goroutine, as far as messages go.
#[derive(Debug, Default)]
pub(super) struct Actor {
    pub(super) doing: Doing,
    pub(super) cause: Option<Cause>,
    /// Sends since then.
    sends: u32,
    /// What it was handed while it waited, and when; it has not run since.
    handed: Option<(NodeId, Ktime)>,
}

impl Actor {
    /// What is sent now is caused by.
    fn cause(&mut self) -> Option<Cause> {
        let cause = self.cause.filter(|_| self.sends < FANOUT)?;
        self.sends += 1;
        Some(cause)
    }

    /// Ends what a receiver is about: where it receives.
    pub(super) fn leave_receive(&mut self) -> Option<Pc> {
        match &mut self.doing {
            Doing::Receive { site, .. } | Doing::ReceiveParked { site } => {
                let site = *site;
                self.doing = Doing::Nothing;
                site
            }
            Doing::Select { site, settled, .. } => {
                *settled = true;
                *site
            }
            _ => None,
        }
    }
}

/// Messages under way, and the sums over those that arrived.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) queues: Queues,
    pub(super) tree: Tree,
    pub(super) outcomes: Outcomes,
    pub(super) delivered: u64,
    pub(super) unknown: u64,
    pub(super) dwell: Histogram,
    /// Where single ways are followed.
    pub(super) tasks: Option<Box<Tasks>>,
    /// Those that nobody has asked for yet, if somebody is going to ask.
    pub(super) deliveries: Option<Vec<Delivery>>,
}

impl Ways {
    /// The task that what is sent now belongs to, where these are followed.
    fn task(&mut self, sender: Goid, at: Ktime, cause: Option<Cause>) -> Option<TaskId> {
        self.tasks.as_mut()?.of_send(sender, at, cause.is_some())
    }

    pub(super) fn begin_send(&mut self, actor: &mut Actor, sender: Goid, op: &ChanOp, at: Ktime) {
        let Some(chan) = op.chan else { return };
        let fails = !op.blocking && op.fill.is_some_and(|fill| fill.len >= fill.cap);
        // The runtime's timers send on nobody's behalf: nothing of theirs follows but a hand-off.
        if sender.0 == 0 && fails {
            return;
        }
        let cause = actor.cause();
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
        actor.doing = if fails {
            Doing::Attempt { item }
        } else {
            queue.items.push_back(item);
            Doing::Send { chan }
        };
    }

    pub(super) fn begin_receive(&mut self, actor: &mut Actor, op: &ChanOp, at: Ktime) {
        let Some(chan) = op.chan else { return };
        let queue = self.queues.filled(chan, op.fill, at);
        // Out of an empty buffer nothing comes at once, and without a buffer only hand-offs do.
        let taken = match op.fill {
            Some(fill) if fill.len > 0 => queue.take(),
            _ => None,
        };
        actor.doing = Doing::Receive {
            chan,
            at,
            site: op.site,
            blocking: op.blocking,
            taken,
        };
    }

    /// The goroutine does something else: what it was about has ended at once.
    pub(super) fn settle(
        &mut self,
        actor: &mut Actor,
        goid: Goid,
        made: &impl Fn(ChanAddr) -> Option<Pc>,
    ) {
        match actor.doing {
            // What parked goes on as it is woken; what selects says itself how that ends.
            Doing::Nothing | Doing::SendParked { .. } | Doing::ReceiveParked { .. } => return,
            Doing::Select { .. } => {}
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
                let late = || match blocking {
                    true => self.queues.get_mut(chan).and_then(Queue::take),
                    false => None,
                };
                match taken.or_else(late) {
                    Some(item) => {
                        self.outcomes.buffered_receives += 1;
                        self.deliver(actor, item, goid, (chan, made(chan)), site, at, false);
                    }
                    None if blocking => self.outcomes.closed_receives += 1,
                    None => self.outcomes.failed_receives += 1,
                }
            }
        }
        actor.doing = Doing::Nothing;
    }

    /// The goroutine parks in what it is about.
    pub(super) fn park(&mut self, actor: &mut Actor, goid: Goid) {
        match actor.doing {
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
                for case in cases {
                    if let WaitObject::Chan {
                        chan,
                        direction: Direction::Receive,
                    } = *case
                        && !self.queues.is_synced(chan)
                    {
                        self.queues.of(chan).empty();
                    }
                }
            }
            _ => {}
        }
    }

    /// The goroutine was woken: what it waited in has ended, by a hand-off that was told before, or by a
    /// close.
    pub(super) fn woken(&mut self, actor: &mut Actor, goid: Goid) {
        match &mut actor.doing {
            Doing::SendParked { chan } => {
                self.queues.remove(*chan, goid);
                actor.doing = Doing::Nothing;
            }
            Doing::ReceiveParked { .. } => actor.doing = Doing::Nothing,
            Doing::Select { settled, .. } => *settled = true,
            Doing::Nothing | Doing::Send { .. } | Doing::Attempt { .. } | Doing::Receive { .. } => {
            }
        }
    }

    pub(super) fn run(&mut self, actor: &mut Actor, at: Ktime) {
        if let Some((node, since)) = actor.handed.take() {
            self.tree.node_mut(node).times.scheduling_nanos += at.since(since);
        }
    }

    /// What a receiver gets that takes the turn of a sender, whose message was `waiting`: that, or the
    /// oldest in the buffer, whose room the sender's message takes. `taken` is what it had taken already.
    pub(super) fn take_turn(
        &mut self,
        taken: Option<Item>,
        waiting: Option<Item>,
        chan: ChanAddr,
        at: Ktime,
    ) -> Option<Item> {
        let queue = self.queues.of(chan);
        let synced = queue.synced;
        match (taken.or_else(|| queue.take()), waiting) {
            (Some(oldest), Some(waiting)) => {
                let entered = Some(at);
                queue.enter(Item {
                    entered,
                    sent: true,
                    ..waiting
                });
                Some(oldest)
            }
            // There is no buffer; or it is not known what is in it.
            (None, Some(waiting)) => {
                let began = waiting.began.filter(|_| synced);
                Some(Item { began, ..waiting })
            }
            // The receiver, or one before it, was given the waiting one before its turn.
            (oldest, None) => oldest,
        }
    }

    /// A select has ended. What a hand-off did not tell went through the buffer.
    pub(super) fn end_select(
        &mut self,
        actor: &mut Actor,
        goid: Goid,
        case: Option<u32>,
        now: Ktime,
        made: &impl Fn(ChanAddr) -> Option<Pc>,
    ) {
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
                let cause = actor.cause();
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
                    self.deliver(actor, item, goid, (chan, made(chan)), site, now, false);
                }
            }
        }
    }

    /// Ends what a sender is about, which hands its message over at `at`. The message, which is in no
    /// queue any more; `None` if somebody was given it already: two sends can begin in another order than
    /// they get the channel's lock in.
    pub(super) fn leave_send(
        &mut self,
        actor: Option<&mut Actor>,
        sender: Goid,
        chan: ChanAddr,
        at: Ktime,
    ) -> Option<Item> {
        // A timer of the runtime has only its message.
        if sender.0 == 0 {
            return self.queues.remove(chan, sender);
        }
        let mut unseen = Actor::default();
        let actor = actor.unwrap_or(&mut unseen);
        let (began, site) = match &mut actor.doing {
            Doing::Attempt { item } => {
                let item = *item;
                actor.doing = Doing::Nothing;
                return Some(item);
            }
            Doing::Send { .. } | Doing::SendParked { .. } => {
                actor.doing = Doing::Nothing;
                return self.queues.remove(chan, sender);
            }
            Doing::Select {
                at, site, settled, ..
            } => {
                *settled = true;
                (*at, *site)
            }
            // The begin was not seen.
            _ => (at, None),
        };
        let cause = actor.cause();
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

    /// The receiver has the message, out of a channel that was made somewhere. `waited` tells whether it
    /// was parked for it.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of one message's way"
    )]
    pub(super) fn deliver(
        &mut self,
        actor: &mut Actor,
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
        let before = item.cause.map(|cause| cause.node);
        let node = item.began.and_then(|_| {
            // Most come the same way as the last one, and a hop after itself is the first of a way.
            let before = before.filter(|&node| !self.tree.ends_with(node, hop));
            let last = actor.cause.map(|cause| cause.node);
            last.filter(|&node| self.tree.is(node, before, hop))
                .or_else(|| self.tree.node(before, hop))
        });
        self.end(actor);
        actor.cause = node.map(|node| Cause {
            node,
            at,
            inherited: false,
        });
        actor.sends = 0;
        actor.handed = node.filter(|_| waited).map(|node| (node, at));
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
    pub(super) fn end(&mut self, actor: &Actor) {
        if let Some(cause) = actor.cause
            && actor.sends == 0
            && !cause.inherited
        {
            self.tree.node_mut(cause.node).ended += 1;
        }
    }
}
