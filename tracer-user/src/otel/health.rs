//! What became of what was to be sent, for the metrics. Any thread counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::config::Signal;

/// Counts by [`Signal`]: records, spans or data points.
#[derive(Debug, Default)]
pub(crate) struct Health {
    exported: [AtomicU64; Signal::ALL.len()],
    dropped: [AtomicU64; Signal::ALL.len()],
    failures: [AtomicU64; Signal::ALL.len()],
}

impl Health {
    /// A receiver took so many.
    pub(super) fn exported(&self, signal: Signal, count: u64) {
        add(&self.exported, signal, count);
    }

    /// So many will never be sent.
    pub(super) fn dropped(&self, signal: Signal, count: u64) {
        add(&self.dropped, signal, count);
    }

    /// An export failed.
    pub(super) fn failed(&self, signal: Signal) {
        add(&self.failures, signal, 1);
    }

    /// What was exported, what was dropped, how many exports failed.
    pub(crate) fn counts(&self, signal: Signal) -> [u64; 3] {
        [&self.exported, &self.dropped, &self.failures]
            .map(|counts| counts[signal as usize].load(Ordering::Relaxed))
    }
}

fn add(counts: &[AtomicU64; Signal::ALL.len()], signal: Signal, count: u64) {
    counts[signal as usize].fetch_add(count, Ordering::Relaxed);
}
