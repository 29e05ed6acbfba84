//! Goroutines that are gone, remembered for as long as something older could still name them.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::ids::{Goid, Ktime};

/// How a goroutine was found to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Its exit was seen. Goids are not reused, so it never comes back.
    Exit(Ktime),
    /// A complete snapshot did not contain it: it ended before it was read, or could not be read.
    Absence {
        /// When the snapshot was started.
        started: Ktime,
        /// When it was finished.
        finished: Ktime,
    },
}

impl Departure {
    const fn at(self) -> Ktime {
        match self {
            Departure::Exit(at) | Departure::Absence { started: at, .. } => at,
        }
    }
}

/// The goroutines that departed since the last snapshot, at most `limit` of them.
///
/// Each snapshot makes older entries superfluous: whoever is not in the world by then and is named
/// by something older is gone.
#[derive(Debug)]
pub(super) struct Departed {
    limit: usize,
    by_goid: FxHashMap<Goid, Departure>,
    /// In the order of their arrival.
    queue: VecDeque<(Goid, Departure)>,
    /// Newest departure that had to be forgotten for want of room.
    forgotten: Option<Ktime>,
}

impl Departed {
    pub(super) fn new(limit: usize) -> Departed {
        Departed {
            limit,
            by_goid: FxHashMap::default(),
            queue: VecDeque::new(),
            forgotten: None,
        }
    }

    pub(super) fn insert(&mut self, goid: Goid, departure: Departure) {
        if self.queue.len() >= self.limit
            && let Some((oldest, departure)) = self.queue.pop_front()
        {
            self.remove_entry(oldest, departure);
            self.forgotten = self.forgotten.max(Some(departure.at()));
        }
        self.by_goid.insert(goid, departure);
        self.queue.push_back((goid, departure));
    }

    pub(super) fn get(&self, goid: Goid) -> Option<Departure> {
        self.by_goid.get(&goid).copied()
    }

    /// It was not gone after all.
    pub(super) fn remove(&mut self, goid: Goid) {
        self.by_goid.remove(&goid);
    }

    /// Forgets who departed before `started`, the start of the newest complete snapshot.
    pub(super) fn settle(&mut self, started: Ktime) {
        while let Some(&(goid, departure)) = self.queue.front()
            && departure.at() < started
        {
            self.queue.pop_front();
            self.remove_entry(goid, departure);
        }
        if self.forgotten.is_some_and(|at| at < started) {
            self.forgotten = None;
        }
    }

    /// Time up to which departures had to be forgotten although something older may still come.
    pub(super) const fn forgotten(&self) -> Option<Ktime> {
        self.forgotten
    }

    /// Removes what the queue's entry stands for, unless a newer entry took its place.
    fn remove_entry(&mut self, goid: Goid, departure: Departure) {
        if self.by_goid.get(&goid) == Some(&departure) {
            self.by_goid.remove(&goid);
        }
    }
}
