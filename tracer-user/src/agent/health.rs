//! How the agent itself fares, for its metrics. Any thread counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::binaries::Reason;

/// Counts since the agent was started.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Times that all of /proc was walked through.
    pub(crate) walks: Count,
    /// Begins and ends of processes that the kernel had no room to tell.
    pub(crate) unseen: Count,
    /// What became of processes that were looked at.
    pub(crate) followed: Count,
    pub(crate) not_go: Count,
    pub(crate) not_selected: Count,
    /// Those that ended before they could be looked at.
    pub(crate) gone: Count,
    refused: [Count; Reason::ALL.len()],
    pub(crate) reads: Count,
    pub(crate) failed_reads: Count,
    /// CPU time of reads, nanoseconds.
    read_nanos: Count,
    /// Of all processes that are or were traced with probes: events, those that were lost,
    pub(crate) events: Count,
    pub(crate) lost_events: Count,
    /// what the probes took of their CPU time in nanoseconds,
    probe_nanos: Count,
    /// and those that were not, since no slot was free or the host or their program does not allow it.
    pub(crate) unprobed: Count,
    /// How often a level was lowered to keep the node's budget.
    pub(crate) lowered: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Health {
    pub(super) fn refuse(&self, reason: Reason) {
        self.refused[reason as usize].add(1);
    }

    /// How many were refused, by reason.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.refused[reason as usize].get()))
    }

    pub(super) fn spent(&self, time: Duration) {
        self.read_nanos
            .add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn probed(&self, nanos: f64) {
        self.probe_nanos.add(nanos as u64);
    }

    /// What probes took of the CPU time of the processes that they are in.
    pub(crate) fn probe_time(&self) -> Duration {
        Duration::from_nanos(self.probe_nanos.get())
    }

    /// CPU time of reads and looks.
    pub(crate) fn read_time(&self) -> Duration {
        Duration::from_nanos(self.read_nanos.get())
    }
}
