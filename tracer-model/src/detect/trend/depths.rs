//! Stacks that grow and grow: a recursion that does not end, or never has enough.

use rustc_hash::FxHashMap;

use super::clock::{Block, PARTS, Ring};
use super::statistics::{Slope, growth_by_chance, slope};
use crate::ids::Goid;

/// Smaller stacks are not watched.
const WATCHED: u64 = 16 << 10;
/// How many bytes it must have grown by.
const GROWTH: u64 = 32 << 10;
/// The probability of a mistake, were it only chance, at most.
const CHANCE: f64 = 0.001;

/// The stacks of goroutines, in bytes, block by block.
#[derive(Debug, Default)]
pub(super) struct Depths {
    stacks: FxHashMap<Goid, Stack>,
}

#[derive(Debug)]
struct Stack {
    /// The deepest in this block.
    now: u64,
    blocks: Ring<u64>,
}

/// A stack that grew over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Deepening {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) slope: Slope,
    pub(super) chance: f64,
}

impl Depths {
    pub(super) fn see(&mut self, goid: Goid, bytes: u64) {
        if bytes >= WATCHED || self.stacks.contains_key(&goid) {
            let stack = self.stacks.entry(goid).or_insert_with(|| Stack {
                now: 0,
                blocks: Ring::new(PARTS),
            });
            stack.now = stack.now.max(bytes);
        }
    }

    /// A block has ended: who was not seen in it with a deep stack is forgotten.
    pub(super) fn close(&mut self) {
        self.stacks.retain(|_, stack| {
            let deep = stack.now >= WATCHED;
            stack.blocks.push(stack.now);
            stack.now = 0;
            deep
        });
    }

    pub(super) fn clear(&mut self) {
        self.stacks.clear();
    }

    /// The stacks that grew over the whole of this window.
    pub(super) fn deepening(&self, window: &[Block]) -> impl Iterator<Item = (Goid, Deepening)> {
        self.stacks
            .iter()
            .filter_map(|(goid, stack)| Some((*goid, stack.deepening(window)?)))
    }
}

impl Stack {
    fn deepening(&self, window: &[Block]) -> Option<Deepening> {
        let values = self.blocks.last(window.len());
        let (first, last) = (*values.first()?, *values.last()?);
        let grew = first > 0 && last >= first + GROWTH && last >= first + first / 2;
        // It never becomes smaller, and it has not stopped.
        let never_back = values.windows(2).all(|pair| pair[0] <= pair[1]);
        let middle = values[values.len() * 2 / 3];
        if !grew || !never_back || (last - middle) * 5 < last - first {
            return None;
        }
        let depths: Vec<f64> = values.iter().map(|bytes| *bytes as f64).collect();
        let chance = growth_by_chance(&depths);
        let begin = window.first()?.at;
        let points: Vec<(f64, f64)> = window
            .iter()
            .zip(depths)
            .map(|(block, depth)| (block.at.since(begin) as f64 / 1e9, depth))
            .collect();
        (chance <= CHANCE).then_some(Deepening {
            first,
            last,
            slope: slope(&points)?,
            chance,
        })
    }
}
