//! The time of trends: looks at the target, gathered in blocks of equal length.
//!
//! Single looks depend on one another, and there are as many as the user asked for. A block is long
//! enough that what differs from one to the next is not a matter of a moment.

use std::collections::VecDeque;

use crate::ids::Ktime;

/// The parts of a window: enough for a test to be sure, few enough to be independent.
pub(super) const PARTS: usize = 12;
/// Looks in a block at least.
const LOOKS: u32 = 2;
/// A pause of so many blocks between two looks, and of so many pauses before, is a hole: what was seen
/// before says nothing about now.
const HOLE: u64 = 4;

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// The first one, or the first after a hole.
    First,
    /// One more in the open block.
    Within,
    /// It closed a block.
    Closed,
}

/// Cuts time into blocks.
#[derive(Debug)]
pub(super) struct Clock {
    /// Nanoseconds of a block.
    length: u64,
    /// How many closed blocks are remembered.
    kept: usize,
    began: Option<Ktime>,
    last: Ktime,
    /// Nanoseconds between the last two looks.
    pause: u64,
    looks: u32,
    closed: VecDeque<Block>,
}

/// A closed block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Time of the look that closed it.
    pub(super) at: Ktime,
    /// Looks in it.
    pub(super) looks: u32,
    /// How long it was, in nanoseconds.
    pub(super) length: u64,
}

impl Clock {
    /// Blocks of `length` nanoseconds, of which the last `kept` are remembered.
    pub(super) fn new(length: u64, kept: usize) -> Clock {
        Clock {
            length: length.max(1),
            kept,
            began: None,
            last: Ktime(0),
            pause: 0,
            looks: 0,
            closed: VecDeque::with_capacity(kept),
        }
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Takes in a look.
    pub(super) fn look(&mut self, at: Ktime) -> Tick {
        let pause = at.since(self.last);
        let hole = pause > HOLE.saturating_mul(self.length.max(self.pause));
        self.pause = pause;
        self.last = at;
        let Some(began) = self.began.filter(|_| !hole) else {
            self.began = Some(at);
            self.looks = 0;
            self.closed.clear();
            return Tick::First;
        };
        self.looks += 1;
        if at.since(began) < self.length || self.looks < LOOKS {
            return Tick::Within;
        }
        if self.closed.len() == self.kept {
            self.closed.pop_front();
        }
        self.closed.push_back(Block {
            at,
            looks: self.looks,
            length: at.since(began),
        });
        self.began = Some(at);
        self.looks = 0;
        Tick::Closed
    }

    /// The last `count` closed blocks, oldest first; `None` if there are not so many.
    pub(super) fn window(&self, count: usize) -> Option<Vec<Block>> {
        let first = self.closed.len().checked_sub(count)?;
        Some(self.closed.range(first..).copied().collect())
    }
}

/// One value for each closed block, the newest last; shorter than the clock's for what came later.
#[derive(Debug)]
pub(super) struct Ring<T> {
    kept: usize,
    values: VecDeque<T>,
}

impl<T: Clone + Default> Ring<T> {
    pub(super) fn new(kept: usize) -> Ring<T> {
        Ring {
            kept,
            values: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, value: T) {
        if self.values.len() == self.kept {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The last `count` values, oldest first; where there was nothing yet, the default.
    pub(super) fn last(&self, count: usize) -> Vec<T> {
        let missing = count.saturating_sub(self.values.len());
        let from = self.values.len().saturating_sub(count);
        let mut values = vec![T::default(); missing];
        values.extend(self.values.range(from..).cloned());
        values
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}
