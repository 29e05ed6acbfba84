//! Waits for locks, wait groups, conditions and semaphores, by what was waited for.
//!
//! Only what blocks is known: taking a free mutex is no event and no cost.

use rustc_hash::FxHashMap;

use crate::ids::Ktime;
use crate::wait::WaitObject;

/// How many locks are remembered; beyond it the one that was idle longest is forgotten.
const MOST: usize = 1 << 14;

/// What was counted of one lock, or whatever else has a semaphore, since the tracer attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Attempts that did not get it at once; they may still not have parked.
    pub attempts: u64,
    /// Waits for it that ended.
    pub waits: u64,
    /// Nanoseconds of these, where the whole wait was seen.
    pub blocked_nanos: u64,
    /// The longest of them.
    pub longest_nanos: u64,
    last: Ktime,
}

/// All that were heard of.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    locks: FxHashMap<WaitObject, Lock>,
    forgotten: u64,
}

impl Locks {
    /// One of them.
    pub fn get(&self, object: WaitObject) -> Option<&Lock> {
        self.locks.get(&object)
    }

    /// The `k` that were waited for longest in all, longest first.
    pub fn top(&self, k: usize) -> Vec<(WaitObject, Lock)> {
        let mut all: Vec<(WaitObject, Lock)> = self
            .locks
            .iter()
            .map(|(&object, &lock)| (object, lock))
            .collect();
        all.sort_unstable_by_key(|&(object, lock)| {
            (
                std::cmp::Reverse((lock.blocked_nanos, lock.attempts)),
                object,
            )
        });
        all.truncate(k);
        all
    }

    /// Locks that were forgotten since they were idle and too many.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn attempt(&mut self, object: WaitObject, at: Ktime) {
        self.entry(object, at).attempts += 1;
    }

    pub(super) fn waited(&mut self, object: WaitObject, nanos: Option<u64>, at: Ktime) {
        let lock = self.entry(object, at);
        lock.waits += 1;
        lock.blocked_nanos += nanos.unwrap_or(0);
        lock.longest_nanos = lock.longest_nanos.max(nanos.unwrap_or(0));
    }

    fn entry(&mut self, object: WaitObject, at: Ktime) -> &mut Lock {
        if self.locks.len() >= MOST && !self.locks.contains_key(&object) {
            self.forget();
        }
        let lock = self.locks.entry(object).or_default();
        lock.last = lock.last.max(at);
        lock
    }

    /// Forgets the half that was idle longest, so that the cost is spread over as many new ones.
    fn forget(&mut self) {
        let mut times: Vec<Ktime> = self.locks.values().map(|lock| lock.last).collect();
        let middle = times.len() / 2;
        let (_, &mut median, _) = times.select_nth_unstable(middle);
        let before = self.locks.len();
        self.locks.retain(|_, lock| lock.last > median);
        self.forgotten += (before - self.locks.len()) as u64;
    }
}
