//! Channels and locks at which goroutines wait all the time.
//!
//! That somebody waits to send is how a pipeline works: its source is faster than the rest. It is worth a
//! word when a crowd waits, or ever others: then work comes in faster than it is done.

use std::collections::BTreeSet;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::clock::{PARTS, Ring};
use super::statistics::median;
use crate::ids::Goid;

/// A crowd: so many that wait, or so many different ones in a window.
pub(super) const CROWD: usize = 8;
/// Of the looks in a block, so many tenths show the queue.
const TENTHS: u32 = 9;
/// Different goroutines that are remembered for each block.
const NAMES: usize = 2 * CROWD;

/// Who waits at what, look by look.
#[derive(Debug)]
pub(super) struct Queues<K> {
    queues: FxHashMap<K, Queue>,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    now: Seen,
    blocks: Ring<Seen>,
    /// Who was first in it at the last look, and how often that one had stopped running.
    head: Option<(Goid, Option<u8>)>,
    /// Who made a waiter go on last, at how many looks.
    served: FxHashMap<Goid, u32>,
}

/// What a block saw of a queue.
#[derive(Clone, Debug, Default)]
struct Seen {
    looks: u32,
    waiting: usize,
    /// Looks at which another one was first than before.
    moves: u32,
    who: BTreeSet<Goid>,
}

/// A queue that was there all the time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    /// How many wait, at the middle block.
    pub(super) typical: u64,
    /// At the first and the last block.
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many different ones were seen to wait at least.
    pub(super) different: usize,
    /// Whether anybody got through.
    pub(super) moves: bool,
    /// Who served it most, at how many looks.
    pub(super) server: Option<(Goid, u32)>,
}

impl<K: Hash + Eq + Clone> Queues<K> {
    pub(super) fn new() -> Queues<K> {
        Queues {
            queues: FxHashMap::default(),
        }
    }

    /// At this look these wait here, in order; `head` is the first with its count of stops.
    pub(super) fn see(
        &mut self,
        key: &K,
        waiting: impl ExactSizeIterator<Item = Goid>,
        head: (Goid, Option<u8>),
    ) {
        let queue = match self.queues.get_mut(key) {
            Some(queue) => queue,
            None => self.queues.entry(key.clone()).or_insert_with(Queue::new),
        };
        let now = &mut queue.now;
        now.looks += 1;
        now.waiting += waiting.len();
        now.moves += u32::from(queue.head.is_some_and(|before| before != head));
        queue.head = Some(head);
        if now.who.len() < NAMES {
            now.who.extend(waiting.take(NAMES));
        }
    }

    /// At this look, this one was the last who made a waiter go on.
    pub(super) fn served(&mut self, key: &K, by: Goid) {
        if let Some(queue) = self.queues.get_mut(key) {
            *queue.served.entry(by).or_insert(0) += 1;
        }
    }

    /// A block of so many looks has ended. What was not there for most of it is forgotten.
    pub(super) fn close(&mut self, looks: u32) {
        self.queues.retain(|_, queue| {
            let seen = std::mem::take(&mut queue.now);
            let stands = seen.looks * 10 >= looks * TENTHS;
            queue.blocks.push(seen);
            stands
        });
    }

    /// Those that stand since the beginning of the window.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&K, Standing)> {
        self.queues
            .iter()
            .filter_map(|(key, queue)| Some((key, queue.standing()?)))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }
}

impl Queue {
    fn new() -> Queue {
        Queue {
            now: Seen::default(),
            blocks: Ring::new(PARTS),
            head: None,
            served: FxHashMap::default(),
        }
    }

    fn standing(&self) -> Option<Standing> {
        let mut sizes: Vec<f64> = self
            .blocks
            .iter()
            .map(|seen| seen.waiting as f64 / f64::from(seen.looks.max(1)))
            .collect();
        if sizes.len() < PARTS {
            return None;
        }
        let (first, last) = (*sizes.first()?, *sizes.last()?);
        sizes.sort_unstable_by(f64::total_cmp);
        let who: BTreeSet<Goid> = (self.blocks.iter())
            .flat_map(|seen| seen.who.iter().copied())
            .collect();
        let typical = median(&sizes);
        let crowd = typical >= CROWD as f64 || who.len() >= CROWD;
        crowd.then(|| Standing {
            typical: typical.round() as u64,
            first: first.round() as u64,
            last: last.round() as u64,
            different: who.len(),
            moves: self.blocks.iter().any(|seen| seen.moves > 0),
            server: self
                .served
                .iter()
                .map(|(goid, times)| (*goid, *times))
                .max_by_key(|&(goid, times)| (times, goid)),
        })
    }
}
