//! Tasks: what goroutines do for one message, and what caused that. For whoever wants to see single ways
//! where the sums by site are not enough.
//!
//! A task of a goroutine begins as it receives a message, or is created, and ends as it asks for the next
//! one or exits. A send that nothing received before has caused is a task of its own. What is caused by a
//! task has its trace; which traces are followed is decided where they begin. So a trace is followed
//! whole, and of what is not followed nothing is kept.
//!
//! Memory is bounded by [`TaskLimits`]; what did not find room is counted.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use super::queue::Item;
use crate::event::{Event, EventKind};
use crate::ids::{Goid, Ktime, Pc};
use crate::wait::{WaitKind, WaitReason};

/// A task that is followed; counted from 1, and not used again before all that refers to it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub NonZeroU32);

/// Which traces are followed, and how much is kept of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskLimits {
    /// The share of traces that is followed, 0 to 1.
    pub ratio: f64,
    /// Of these, at most so many that begin in a second.
    pub traces_per_second: u32,
    /// Tasks that go on at one time.
    pub open: usize,
    /// Tasks that have ended and were not taken yet.
    pub ended: usize,
    /// Links of one task.
    pub links: usize,
}

/// Tasks that messages on their way may refer to; a message that was sent longer ago has no link.
const REMEMBERED: usize = 1 << 16;
/// Sends of a task, after which more are no part of it: a producer's task would have no end.
const SENDS: u32 = super::FANOUT;

/// A task that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// All that has one cause has the same.
    pub trace: u32,
    /// The task that caused it: that sent the message, or created the goroutine.
    pub parent: Option<TaskId>,
    /// Whose it is.
    pub goid: Goid,
    /// How it began.
    pub origin: TaskOrigin,
    /// When it began.
    pub began: Ktime,
    /// When it ended.
    pub ended: Ktime,
    /// The tasks of other goroutines that it has to do with.
    pub links: Vec<TaskLink>,
    /// Links beyond the limit.
    pub links_left_out: u32,
}

/// How a task began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskOrigin {
    /// A send that nothing else caused, at this place.
    Sent(Option<Pc>),
    /// A message was received at this place.
    Received(Option<Pc>),
    /// The goroutine was created, with this function.
    Created(Pc),
}

/// Why a task has to do with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLink {
    /// The other one.
    pub id: TaskId,
    /// Its trace.
    pub trace: u32,
    /// Why.
    pub cause: LinkCause,
}

/// What went from one task to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCause {
    /// A message.
    Message {
        /// Where its channel was made, if that was seen.
        made: Option<Pc>,
        /// Where it was sent.
        sent: Option<Pc>,
        /// Nanoseconds from the send's begin to the receive.
        transit_nanos: u64,
    },
    /// The other one ended a wait for a lock or the like.
    Wakeup {
        /// The runtime's reason of that wait.
        reason: WaitReason,
    },
}

/// A task that goes on.
#[derive(Debug)]
struct Open {
    id: TaskId,
    trace: u32,
    parent: Option<TaskId>,
    origin: TaskOrigin,
    began: Ktime,
    /// When it asked for the next message, if it did nothing since.
    asked: Option<Ktime>,
    /// Whether it has been told: what it still sends is caused by it all the same.
    told: bool,
    sends: u32,
    links: Vec<TaskLink>,
    links_left_out: u32,
}

/// What is remembered of a task's name.
#[derive(Clone, Copy, Debug)]
struct Named {
    trace: u32,
    /// It is a send that nothing caused; it is told once the message is received.
    sends: bool,
}

/// The tasks that are followed.
#[derive(Debug)]
pub(super) struct Tasks {
    limits: TaskLimits,
    open: FxHashMap<Goid, Open>,
    /// The last ones, by their number.
    named: VecDeque<Named>,
    /// The number of the first of these.
    first: u32,
    traces: u32,
    /// Traces that may still begin, in millionths, and as of when.
    room: u64,
    room_at: Ktime,
    ended: Vec<Task>,
    left_out: u64,
}

/// One trace in [`Tasks::room`].
const TRACE: u64 = 1_000_000;

impl Tasks {
    pub(super) fn new(limits: TaskLimits) -> Tasks {
        Tasks {
            limits,
            open: FxHashMap::default(),
            named: VecDeque::new(),
            first: 1,
            traces: 0,
            room: u64::from(limits.traces_per_second) * TRACE,
            room_at: Ktime(0),
            ended: Vec::new(),
            left_out: 0,
        }
    }

    /// Takes what has ended, and how many tasks found no room since the last time.
    pub(super) fn take(&mut self) -> (Vec<Task>, u64) {
        let left_out = std::mem::take(&mut self.left_out);
        (std::mem::take(&mut self.ended), left_out)
    }

    /// Records are missing: how what goes on has ended is not known.
    pub(super) fn lose(&mut self) {
        let untold = self.open.values().filter(|open| !open.told);
        self.left_out += untold.count() as u64;
        self.open.clear();
    }

    /// Whether a trace that begins now is followed; its number.
    fn begin_trace(&mut self, at: Ktime) -> Option<u32> {
        self.traces = self.traces.wrapping_add(1);
        // Numbers that look as if drawn at random, the same in every replay.
        let drawn = u64::from(self.traces).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        if drawn as f64 >= self.limits.ratio * (1u64 << 53) as f64 {
            return None;
        }
        let most = u64::from(self.limits.traces_per_second) * TRACE;
        let since = at.since(self.room_at);
        let more = u128::from(since) * u128::from(most) / 1_000_000_000;
        self.room = most.min(
            self.room
                .saturating_add(u64::try_from(more).unwrap_or(most)),
        );
        self.room_at = self.room_at.max(at);
        if self.room < TRACE {
            self.left_out += 1;
            return None;
        }
        self.room -= TRACE;
        Some(self.traces)
    }

    fn name(&mut self, trace: u32, sends: bool) -> TaskId {
        if self.named.len() == REMEMBERED {
            self.named.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.named.push_back(Named { trace, sends });
        let number = self.first.wrapping_add(self.named.len() as u32 - 1);
        match NonZeroU32::new(number) {
            Some(number) => TaskId(number),
            // After four thousand million of them: there is no number 0.
            None => self.name(trace, sends),
        }
    }

    fn named(&self, id: TaskId) -> Option<Named> {
        let place = id.0.get().wrapping_sub(self.first) as usize;
        self.named.get(place).copied()
    }

    /// The task that a send belongs to, if it is followed. `caused`: whether something is known to have
    /// caused it.
    pub(super) fn of_send(&mut self, sender: Goid, at: Ktime, caused: bool) -> Option<TaskId> {
        if let Some(open) = self.open.get_mut(&sender) {
            open.sends += 1;
            if open.sends <= SENDS {
                return Some(open.id);
            }
            self.close(sender, at);
        } else if caused {
            return None;
        }
        let trace = self.begin_trace(at)?;
        Some(self.name(trace, true))
    }

    /// `receiver` has the message.
    pub(super) fn delivered(
        &mut self,
        item: &Item,
        receiver: Goid,
        made: Option<Pc>,
        site: Option<Pc>,
        at: Ktime,
    ) {
        self.close(receiver, at);
        let (Some(id), Some(began)) = (item.task, item.began) else {
            return;
        };
        let Some(Named { trace, sends }) = self.named(id) else {
            self.left_out += 1;
            return;
        };
        if sends {
            self.tell(Task {
                id,
                trace,
                parent: None,
                goid: item.sender,
                origin: TaskOrigin::Sent(item.site),
                began,
                ended: item.entered.unwrap_or(at),
                links: Vec::new(),
                links_left_out: 0,
            });
        }
        let link = TaskLink {
            id,
            trace,
            cause: LinkCause::Message {
                made,
                sent: item.site,
                transit_nanos: at.since(began),
            },
        };
        self.begin(receiver, trace, Some(id), TaskOrigin::Received(site), at);
        self.link(receiver, link);
    }

    /// Takes in what an event says beside messages, after these.
    pub(super) fn apply(&mut self, event: &Event, caused: bool) {
        let Event { at, actor, kind } = event;
        let (at, actor) = (*at, *actor);
        match kind {
            EventKind::ReceiveBegin(_) | EventKind::SelectBegin { .. } => {
                if let Some(open) = self.open.get_mut(&actor) {
                    open.asked = Some(at);
                }
            }
            EventKind::Park { reason, .. }
                if matches!(reason.kind(), WaitKind::Chan | WaitKind::Select) =>
            {
                self.tell_if_idle(actor);
            }
            EventKind::Create { child, start, .. } => {
                self.acted(actor);
                let by = self.open.get(&actor).map(|open| (open.trace, open.id));
                let (trace, parent) = match by {
                    Some((trace, id)) => (Some(trace), Some(id)),
                    None if caused => (None, None),
                    None => (self.begin_trace(at), None),
                };
                if let Some(trace) = trace {
                    self.begin(*child, trace, parent, TaskOrigin::Created(*start), at);
                }
            }
            EventKind::Ready { woken, reason, .. } => {
                self.acted(actor);
                if reason.kind().is_sync()
                    && let Some(waker) = self.open.get(&actor)
                {
                    let link = TaskLink {
                        id: waker.id,
                        trace: waker.trace,
                        cause: LinkCause::Wakeup { reason: *reason },
                    };
                    self.link(*woken, link);
                }
            }
            EventKind::Exit => self.close(actor, at),
            EventKind::SendBegin(_)
            | EventKind::SelectEnd { .. }
            | EventKind::Close(_)
            | EventKind::Acquire { .. }
            | EventKind::Make { .. }
            | EventKind::SyscallEnter => self.acted(actor),
            EventKind::Park { .. }
            | EventKind::Direct { .. }
            | EventKind::Run
            | EventKind::SyscallExit
            | EventKind::Lost { .. } => {}
        }
    }

    /// The goroutine does something else than to ask for a message.
    fn acted(&mut self, goid: Goid) {
        if let Some(open) = self.open.get_mut(&goid) {
            open.asked = None;
        }
    }

    fn begin(
        &mut self,
        goid: Goid,
        trace: u32,
        parent: Option<TaskId>,
        origin: TaskOrigin,
        began: Ktime,
    ) {
        if goid.0 == 0 {
            return;
        }
        if self.open.len() >= self.limits.open && !self.open.contains_key(&goid) {
            self.left_out += 1;
            return;
        }
        let id = self.name(trace, false);
        let open = Open {
            id,
            trace,
            parent,
            origin,
            began,
            asked: None,
            told: false,
            sends: 0,
            links: Vec::new(),
            links_left_out: 0,
        };
        self.open.insert(goid, open);
    }

    fn link(&mut self, goid: Goid, link: TaskLink) {
        let Some(open) = self.open.get_mut(&goid).filter(|open| !open.told) else {
            return;
        };
        if open.links.len() < self.limits.links {
            open.links.push(link);
        } else {
            open.links_left_out += 1;
        }
    }

    /// The goroutine parks: if it has asked for the next message, its task has ended.
    fn tell_if_idle(&mut self, goid: Goid) {
        if let Some(open) = self.open.get_mut(&goid)
            && let Some(asked) = open.asked
            && !std::mem::replace(&mut open.told, true)
        {
            let task = open.end(goid, asked);
            self.tell(task);
        }
    }

    /// The goroutine's task ends, at the latest now.
    fn close(&mut self, goid: Goid, at: Ktime) {
        if let Some(mut open) = self.open.remove(&goid)
            && !open.told
        {
            let ended = open.asked.unwrap_or(at);
            let task = open.end(goid, ended);
            self.tell(task);
        }
    }

    fn tell(&mut self, task: Task) {
        if self.ended.len() < self.limits.ended {
            self.ended.push(task);
        } else {
            self.left_out += 1;
        }
    }
}

impl Open {
    fn end(&mut self, goid: Goid, ended: Ktime) -> Task {
        Task {
            id: self.id,
            trace: self.trace,
            parent: self.parent,
            goid,
            origin: self.origin,
            began: self.began,
            ended: ended.max(self.began),
            links: std::mem::take(&mut self.links),
            links_left_out: self.links_left_out,
        }
    }
}
