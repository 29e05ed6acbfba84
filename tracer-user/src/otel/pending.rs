//! What waits to be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::client::Batch;
use super::config::Signal;
use super::health::Health;
use super::sender::{Sender, Sent};

/// Of these, so many are in one message at most.
pub(super) const BATCH: usize = 512;
/// The time until the second attempt to send what was not received.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest time between two attempts to send what was not received.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What waits to be sent, and since when it could not be.
pub(super) struct Pending<T> {
    items: VecDeque<T>,
    /// So many wait at most; beyond it the oldest are dropped.
    most: usize,
    pause: Duration,
    not_before: Option<Instant>,
}

impl<T: Clone> Pending<T> {
    pub(super) const fn of_at_most(most: usize) -> Pending<T> {
        Pending {
            items: VecDeque::new(),
            most,
            pause: SHORTEST_PAUSE,
            not_before: None,
        }
    }

    pub(super) fn push(&mut self, item: T, signal: Signal, health: &Health) {
        if self.items.len() == self.most {
            self.items.pop_front();
            health.dropped(signal, 1);
        }
        self.items.push_back(item);
    }

    /// The oldest, if it is time to send.
    fn batch(&self) -> Option<Vec<T>> {
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        let batch = || self.items.iter().take(BATCH).cloned().collect();
        (!waits && !self.items.is_empty()).then(batch)
    }

    /// These were sent, or never will be.
    fn done(&mut self, count: usize) {
        self.items.drain(..count);
        self.pause = SHORTEST_PAUSE;
        self.not_before = None;
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// It may be tried again at once, whatever was tried before.
    pub(super) fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Sends all, in batches, as far as they are received.
    pub(super) fn send(
        &mut self,
        signal: Signal,
        sender: &Sender,
        batch_of: impl Fn(Vec<T>) -> Batch,
    ) {
        while let Some(items) = self.batch() {
            let count = items.len();
            match sender.send(signal, count, batch_of(items)) {
                Sent::Done => self.done(count),
                Sent::Later => self.retry(),
            }
        }
    }

    /// It is to be tried again later.
    fn retry(&mut self) {
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_goes_oldest_first_and_is_counted() {
        let health = Health::default();
        let mut pending = Pending::of_at_most(100);
        for number in 0..105 {
            pending.push(number, Signal::Logs, &health);
        }
        assert_eq!(pending.items.len(), 100);
        assert_eq!(pending.batch().map(|batch| batch[0]), Some(5));
        assert_eq!(health.counts(Signal::Logs), [0, 5, 0]);
    }

    #[test]
    fn what_was_not_received_is_tried_again_later_and_less_and_less_often() {
        let health = Health::default();
        let mut pending = Pending::of_at_most(10);
        pending.push(1, Signal::Traces, &health);
        assert_eq!(pending.batch(), Some(vec![1]));
        let first = pending.pause;
        pending.retry();
        assert_eq!(pending.batch(), None, "not at once");
        assert_eq!(pending.pause, 2 * first);
        for _ in 0..20 {
            pending.retry();
        }
        assert_eq!(pending.pause, LONGEST_PAUSE);
        pending.done(1);
        pending.push(2, Signal::Traces, &health);
        assert_eq!((pending.batch(), pending.pause), (Some(vec![2]), first));
    }
}
