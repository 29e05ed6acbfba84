//! What is in the channels.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::Fill;
use crate::ids::{ChanAddr, Goid, Ktime, Pc};

use super::{Cause, TaskId};

/// Messages in one channel that are followed.
const QUEUE: usize = 1 << 16;
/// Channels whose messages are followed; beyond it those without any are forgotten.
const QUEUES: usize = 1 << 16;
/// A message that should have left an empty buffer so long ago was none, in nanoseconds.
const STALE: u64 = 10_000_000;
/// The same while its sender may still be on its way to the channel's lock: a thread that the kernel does not
/// let run can be there for long.
const STALE_BEGUN: u64 = 1_000_000_000;

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) sender: Goid,
    /// When its send began; `None` for what was in the buffer before.
    pub(super) began: Option<Ktime>,
    /// Since when it is in the buffer; `None` while its sender waits, and if there is no buffer.
    pub(super) entered: Option<Ktime>,
    /// Whether its send is over, or it was put into the buffer by another goroutine.
    pub(super) sent: bool,
    pub(super) site: Option<Pc>,
    pub(super) cause: Option<Cause>,
    /// The task that sent it, if that is followed.
    pub(super) task: Option<TaskId>,
}

/// What is in a channel's buffer, and behind it who waits to put something in, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// Whether it is known what was in the buffer before.
    pub(super) synced: bool,
}

impl Queue {
    /// The oldest in the buffer.
    pub(super) fn take(&mut self) -> Option<Item> {
        self.items.pop_front_if(|item| item.entered.is_some())
    }

    /// Nothing is in the buffer.
    pub(super) fn empty(&mut self) {
        self.items.clear();
        self.synced = true;
    }

    /// Puts a message behind what is in the buffer, before whoever waits.
    pub(super) fn enter(&mut self, item: Item) {
        self.items.insert(self.first_waiting(), item);
    }

    /// The place behind what is in the buffer. Buffers and crowds can be large: no search from an end.
    fn first_waiting(&self) -> usize {
        self.items.partition_point(|item| item.entered.is_some())
    }

    /// Where the sender's newest message is: of one that has just begun, at the end; of one that waits, and
    /// whose turn it is, in the first place behind the buffer.
    fn newest(&self, sender: Goid) -> Option<usize> {
        let is_it = |item: &Item| item.sender == sender && item.began.is_some();
        if self.items.back().is_some_and(is_it) {
            return Some(self.items.len() - 1);
        }
        let turn = self.first_waiting();
        if self.items.get(turn).is_some_and(is_it) {
            return Some(turn);
        }
        self.items.iter().rposition(is_it)
    }
}

/// The channels' queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: FxHashMap<ChanAddr, Queue>,
    /// At so many those that are empty are forgotten, at [`QUEUES`] at the least.
    sweep_at: usize,
    /// Messages that were taken for sent and that nobody received.
    pub(super) stale: u64,
}

impl Queues {
    /// Whether it is known what is in a channel.
    pub(super) fn is_synced(&self, chan: ChanAddr) -> bool {
        self.queues.get(&chan).is_some_and(|queue| queue.synced)
    }

    /// Nothing is known of any channel.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }

    /// A channel's queue, if there is one.
    pub(super) fn get_mut(&mut self, chan: ChanAddr) -> Option<&mut Queue> {
        self.queues.get_mut(&chan)
    }

    /// A channel's queue.
    pub(super) fn of(&mut self, chan: ChanAddr) -> &mut Queue {
        self.make_room(chan);
        self.queues.entry(chan).or_default()
    }

    fn make_room(&mut self, chan: ChanAddr) {
        if self.queues.len() >= self.sweep_at.max(QUEUES) && !self.queues.contains_key(&chan) {
            self.queues.retain(|_, queue| !queue.items.is_empty());
            // Where most are in use, looking again soon would find nothing.
            self.sweep_at = 2 * self.queues.len();
        }
    }

    /// A channel's queue, when it has this fill: with what its buffer holds, if that was not known.
    pub(super) fn filled(&mut self, chan: ChanAddr, fill: Option<Fill>, at: Ktime) -> &mut Queue {
        self.make_room(chan);
        let stale = &mut self.stale;
        let queue = self.queues.entry(chan).or_default();
        let Some(fill) = fill else {
            return queue;
        };
        if !queue.synced {
            queue.synced = true;
            let before = Item {
                sender: Goid(0),
                began: None,
                entered: Some(at),
                sent: true,
                site: None,
                cause: None,
                task: None,
            };
            queue.items.clear();
            let len = (fill.len as usize).min(QUEUE);
            queue.items.extend(std::iter::repeat_n(before, len));
        }
        if fill.len == 0 {
            let is_stale = |item: &mut Item| {
                let limit = if item.sent { STALE } else { STALE_BEGUN };
                item.entered
                    .is_some_and(|entered| at.since(entered) > limit)
            };
            while queue.items.pop_front_if(is_stale).is_some() {
                *stale += 1;
            }
        }
        if queue.items.len() > QUEUE {
            *stale += queue.items.len() as u64;
            queue.items.clear();
        }
        queue
    }

    /// The sender's newest message in a channel.
    pub(super) fn newest(&mut self, chan: ChanAddr, sender: Goid) -> Option<&mut Item> {
        let queue = self.queues.get_mut(&chan)?;
        let place = queue.newest(sender)?;
        queue.items.get_mut(place)
    }

    /// Takes the sender's newest message out of the queue.
    pub(super) fn remove(&mut self, chan: ChanAddr, sender: Goid) -> Option<Item> {
        let queue = self.queues.get_mut(&chan)?;
        let place = queue.newest(sender)?;
        queue.items.remove(place)
    }
}
