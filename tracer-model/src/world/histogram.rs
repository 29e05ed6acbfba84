//! How long something took, counted by size.

/// Upper bounds of the buckets in nanoseconds, inclusive, ascending: from what a hand-off between two
/// processors takes to what nobody waits for on purpose. About five to a bucket, so a quantile read off is
/// wrong by that factor at most.
const BOUNDS: [u64; 13] = [
    1_000,
    5_000,
    25_000,
    100_000,
    500_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    300_000_000_000,
];

/// Durations by size. Its memory does not grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum_nanos: u64,
}

impl Histogram {
    /// Upper bounds of all buckets but the last in nanoseconds, inclusive, ascending.
    pub const BOUNDS: &'static [u64] = &BOUNDS;

    /// Counts a duration.
    pub fn add(&mut self, nanos: u64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < nanos);
        self.counts[bucket] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// Counts what another one counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }

    /// How many fell into each bucket, each counted once; the last is of what is longer than any bound.
    pub const fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together in nanoseconds.
    pub const fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [0, 1_000, 1_001, 300_000_000_000, 300_000_000_001] {
            histogram.add(nanos);
        }
        let counts = histogram.counts();
        assert_eq!(counts.len(), Histogram::BOUNDS.len() + 1);
        assert_eq!((counts[0], counts[1]), (2, 1));
        assert_eq!(counts[counts.len() - 2..], [1, 1]);
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum_nanos(), 600_000_002_002);
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!((twice.count(), twice.counts()[0]), (10, 4));
        assert_eq!(twice.sum_nanos(), 2 * histogram.sum_nanos());
    }

    #[test]
    fn bounds_ascend() {
        assert!(Histogram::BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
