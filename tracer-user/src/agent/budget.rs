//! How much CPU time the reads of all processes may take: a share of one CPU, and what was saved up.

use std::time::{Duration, Instant};

/// CPU time that is saved up at most: so much may be spent at once, such as when all processes of a node are
/// found at the beginning.
const SAVINGS: Duration = Duration::from_secs(5);

/// What may be spent. A debt is allowed, since what a read costs is known after it; it is paid off first.
#[derive(Debug)]
pub(super) struct Budget {
    share: f64,
    /// Seconds; below 0 it is a debt.
    left: f64,
    as_of: Instant,
}

impl Budget {
    pub(super) fn new(share: f64, now: Instant) -> Budget {
        Budget {
            share,
            left: SAVINGS.as_secs_f64(),
            as_of: now,
        }
    }

    pub(super) fn spend(&mut self, time: Duration) {
        self.left -= time.as_secs_f64();
    }

    /// For how long nothing may be spent.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.as_of).as_secs_f64() * self.share;
        self.left = (self.left + earned).min(SAVINGS.as_secs_f64());
        self.as_of = self.as_of.max(now);
        Duration::from_secs_f64((-self.left / self.share).clamp(0.0, 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_earned_first() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let mut budget = Budget::new(0.02, began);
        budget.spend(SAVINGS);
        assert_eq!(budget.wait(began), Duration::ZERO);
        budget.spend(second);
        let wait = budget.wait(began).as_secs_f64();
        assert!((wait - 50.0).abs() < 1e-6, "{wait}");
        let wait = budget.wait(began + 40 * second).as_secs_f64();
        assert!((wait - 10.0).abs() < 1e-6, "{wait}");
        // Not more than so much is saved up.
        budget.wait(began + 100_000 * second);
        budget.spend(SAVINGS + second);
        assert!(budget.wait(began + 100_000 * second) > 49 * second);
    }
}
