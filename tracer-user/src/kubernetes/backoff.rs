//! Pauses between attempts: each about twice as long as the one before, none as long as another agent's.

use std::time::Duration;

use super::config::LONGEST;

/// See the module.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration) -> Backoff {
        Backoff { first, next: first }
    }

    /// How long to wait after one more failure; at least as long as the server asks for.
    pub(super) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(LONGEST * self.first);
        // An API that comes back is not to meet all nodes of its cluster at once.
        let pause = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
        pause.max(asked.unwrap_or_default())
    }

    /// It went well.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_a_server_is_heeded() {
        let first = Duration::from_secs(1);
        let mut backoff = Backoff::new(first);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let longest = Duration::from_secs(expected);
            let pause = backoff.pause(None);
            assert!(
                longest / 2 <= pause && pause <= longest,
                "{pause:?} of {longest:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause(None) <= first);
        let asked = Duration::from_secs(90);
        assert_eq!(backoff.pause(Some(asked)), asked);
    }
}
