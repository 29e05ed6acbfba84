//! From kernel time to wall-clock time.

use jiff::{SignedDuration, Timestamp};
use tracer_model::ids::Ktime;
use tracer_record::Clock;

/// The offset between the kernel's monotonic clock and the wall clock, taken once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    now: Timestamp,
    at: Ktime,
}

impl WallClock {
    /// Pairs both clocks as of this moment; `at` is the kernel time now.
    pub(crate) fn new(at: Ktime) -> Self {
        Self {
            now: Timestamp::now(),
            at,
        }
    }

    /// The pair as a recording keeps it.
    pub(crate) fn pair(self) -> Clock {
        Clock {
            kernel: self.at,
            // Until the year 2262.
            unix: i64::try_from(self.now.as_nanosecond()).unwrap_or(i64::MAX),
        }
    }

    /// Kernel time of a moment; 0 if that was before the machine started.
    pub(crate) fn ktime(self, moment: Timestamp) -> Ktime {
        let distance = moment.as_nanosecond() - self.now.as_nanosecond();
        let nanos = i128::from(self.at.0) + distance;
        Ktime(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// The wall-clock time of `ktime` in UTC, to the microsecond.
    pub(crate) fn rfc3339(self, ktime: Ktime) -> String {
        format!("{:.6}", self.timestamp(ktime))
    }

    /// Seconds since 1970 at `ktime`.
    pub(crate) fn unix_seconds(self, ktime: Ktime) -> f64 {
        self.timestamp(ktime).as_duration().as_secs_f64()
    }

    /// Nanoseconds since 1970 at `ktime`.
    pub(crate) fn unix_nanos(self, ktime: Ktime) -> u64 {
        u64::try_from(self.timestamp(ktime).as_nanosecond()).unwrap_or(0)
    }

    fn timestamp(self, ktime: Ktime) -> Timestamp {
        let nanos = i128::from(ktime.0) - i128::from(self.at.0);
        let distance = SignedDuration::from_nanos_i128(nanos);
        self.now.saturating_add(distance).unwrap_or(self.now)
    }
}

impl From<Clock> for WallClock {
    fn from(pair: Clock) -> Self {
        let now = Timestamp::from_nanosecond(i128::from(pair.unix)).unwrap_or_default();
        Self {
            now,
            at: pair.kernel,
        }
    }
}

/// Nanoseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a double has room for 104 days of nanoseconds"
)]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_time_becomes_wall_clock_time() {
        let clock = WallClock {
            now: "2026-11-24T12:00:00Z".parse().expect("a time"),
            at: Ktime(5_000_000_000),
        };
        for (ktime, expected) in [
            (5_000_000_000, "2026-11-24T12:00:00.000000Z"),
            (6_500_000_000, "2026-11-24T12:00:01.500000Z"),
            (0, "2026-11-24T11:59:55.000000Z"),
        ] {
            assert_eq!(clock.rfc3339(Ktime(ktime)), expected);
        }
    }
}
