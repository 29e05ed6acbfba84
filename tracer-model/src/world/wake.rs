//! Who wakes whom, by the functions of both.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::ids::Pc;
use crate::wait::WaitReason;

/// How many different wakes are told apart.
const MOST: usize = 4096;

/// A kind of wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wake {
    /// Entry of the waker's function; `None` if it is not known or the runtime itself woke.
    pub waker: Option<Pc>,
    /// From which wait.
    pub reason: WaitReason,
    /// Entry of the woken goroutine's function, if known.
    pub woken: Option<Pc>,
}

/// How often each kind was seen.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    counts: FxHashMap<Wake, u64>,
    other: u64,
}

impl Wakes {
    /// The `k` most frequent ones, most frequent first.
    pub fn top(&self, k: usize) -> Vec<(Wake, u64)> {
        let mut all: Vec<(Wake, u64)> = self.counts.iter().map(|(&wake, &n)| (wake, n)).collect();
        all.sort_unstable_by_key(|&(wake, count)| (std::cmp::Reverse(count), wake));
        all.truncate(k);
        all
    }

    /// Wake-ups of kinds beyond those that are told apart.
    pub const fn other(&self) -> u64 {
        self.other
    }

    pub(super) fn count(&mut self, waker: Option<Pc>, reason: WaitReason, woken: Option<Pc>) {
        let wake = Wake {
            waker,
            reason,
            woken,
        };
        let is_full = self.counts.len() >= MOST;
        match self.counts.entry(wake) {
            Entry::Occupied(mut known) => *known.get_mut() += 1,
            Entry::Vacant(_) if is_full => self.other += 1,
            Entry::Vacant(new) => {
                new.insert(1);
            }
        }
    }
}
