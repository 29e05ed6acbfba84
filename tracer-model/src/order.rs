//! Puts events into the order of their time.
//!
//! **Assumption.** Records lie in the ring in the order in which they were reserved, over all CPUs.
//! A probe takes its time just before it reserves, so two records are out of order only if
//! something came between the two steps: another CPU was faster by a moment, or the thread lost its
//! CPU (a hypervisor can take it away too). What is out of order is therefore late by at most as
//! long as that lasts: microseconds mostly, a time slice of a few milliseconds at worst, unless the
//! machine is overloaded.
//!
//! So [`Sorter`] holds events back until the newest one seen is `slack` ahead of them, and gives
//! them out by time; of equal times the one that came first comes first. What still comes later than
//! something already given out is given out at the next turn and counted ([`Sorter::late`]). When
//! nothing new comes, [`Sorter::flush`] gives out the rest: the ring was empty for longer than the
//! slack, so nothing older can be under way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::Event;
use crate::ids::Ktime;

/// Something that happened at a time.
pub trait Timed {
    /// When.
    fn at(&self) -> Ktime;
}

impl Timed for Event {
    fn at(&self) -> Ktime {
        self.at
    }
}

/// Holds events back until they can be given out in order. Does not allocate once its buffer has
/// grown to what a slack's worth of events needs.
#[derive(Debug)]
pub struct Sorter<T> {
    slack: u64,
    held: BinaryHeap<Reverse<Held<T>>>,
    arrivals: u64,
    newest: Ktime,
    released: Ktime,
    late: u64,
}

/// Ordered by time, then by arrival.
#[derive(Debug)]
struct Held<T> {
    at: Ktime,
    arrival: u64,
    event: T,
}

impl<T: Timed> Sorter<T> {
    /// A sorter for events that are late by at most `slack` nanoseconds.
    pub const fn new(slack: u64) -> Sorter<T> {
        Sorter {
            slack,
            held: BinaryHeap::new(),
            arrivals: 0,
            newest: Ktime(0),
            released: Ktime(0),
            late: 0,
        }
    }

    /// Takes the next event as it came from the ring.
    pub fn push(&mut self, event: T) {
        let at = event.at();
        self.late += u64::from(at < self.released);
        self.newest = self.newest.max(at);
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.held.push(Reverse(Held { at, arrival, event }));
    }

    /// The next event that nothing can precede any more, by the assumption. Call it until there is
    /// none.
    pub fn pop(&mut self) -> Option<T> {
        let horizon = Ktime(self.newest.0.saturating_sub(self.slack));
        self.pop_until(horizon)
    }

    /// The next event of all that are held back. Call it until there is none, once the ring was
    /// found empty for longer than the slack, or at the end.
    pub fn flush(&mut self) -> Option<T> {
        self.pop_until(self.newest)
    }

    /// How many events came after a newer one had been given out. These come out of order.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How many events are held back.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn pop_until(&mut self, horizon: Ktime) -> Option<T> {
        let Reverse(next) = self.held.peek()?;
        if next.at > horizon {
            return None;
        }
        let Reverse(Held { at, event, .. }) = self.held.pop()?;
        self.released = self.released.max(at);
        Some(event)
    }
}

impl<T> Held<T> {
    const fn key(&self) -> (Ktime, u64) {
        (self.at, self.arrival)
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct At(u64, char);

    impl Timed for At {
        fn at(&self) -> Ktime {
            Ktime(self.0)
        }
    }

    /// What comes out after each push, then at the flush.
    fn outcome(slack: u64, input: &[u64]) -> (Vec<Vec<u64>>, u64) {
        let mut sorter = Sorter::new(slack);
        let mut out = Vec::new();
        for &at in input {
            sorter.push(At(at, ' '));
            out.push(
                std::iter::from_fn(|| sorter.pop())
                    .map(|event| event.0)
                    .collect(),
            );
        }
        out.push(
            std::iter::from_fn(|| sorter.flush())
                .map(|event| event.0)
                .collect(),
        );
        assert!(sorter.is_empty());
        (out, sorter.late())
    }

    #[test]
    fn holds_back_what_can_still_be_preceded() {
        type Row<'a> = (u64, &'a [u64], &'a [&'a [u64]], u64);
        let table: &[Row<'_>] = &[
            (10, &[], &[&[]], 0),
            (10, &[100], &[&[], &[100]], 0),
            (10, &[100, 110], &[&[], &[100], &[110]], 0),
            (10, &[100, 95, 112], &[&[], &[], &[95, 100], &[112]], 0),
            // Later than the slack: given out at once, and counted.
            (
                10,
                &[100, 120, 99, 130],
                &[&[], &[100], &[99], &[120], &[130]],
                1,
            ),
            (0, &[5, 4, 6], &[&[5], &[4], &[6], &[]], 1),
            (u64::MAX, &[3, 1, 2], &[&[], &[], &[], &[1, 2, 3]], 0),
        ];
        for (slack, input, expected, late) in table {
            let (out, counted) = outcome(*slack, input);
            assert_eq!(out, *expected, "{input:?} by {slack}");
            assert_eq!(counted, *late, "{input:?} by {slack}");
        }
    }

    #[test]
    fn equal_times_keep_their_order() {
        let mut sorter = Sorter::new(10);
        for event in [At(5, 'a'), At(7, 'b'), At(5, 'c'), At(7, 'd'), At(5, 'e')] {
            sorter.push(event);
        }
        let names: String = std::iter::from_fn(|| sorter.flush())
            .map(|event| event.1)
            .collect();
        assert_eq!(names, "acebd");
    }

    proptest! {
        /// Whatever is late by no more than the slack comes out in order, and nothing is lost.
        #[test]
        fn sorts_what_keeps_the_assumption(
            steps in proptest::collection::vec((0_u64..50, 0_u64..=100), 0..300)
        ) {
            let mut sorter = Sorter::new(100);
            let mut out = Vec::new();
            let mut clock = 1000;
            let mut expected = Vec::new();
            for (step, lateness) in steps {
                clock += step;
                let at = clock - lateness;
                expected.push(at);
                sorter.push(At(at, ' '));
                out.extend(std::iter::from_fn(|| sorter.pop()).map(|event| event.0));
            }
            out.extend(std::iter::from_fn(|| sorter.flush()).map(|event| event.0));
            expected.sort_unstable();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(sorter.late(), 0);
        }
    }
}
