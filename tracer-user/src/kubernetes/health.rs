//! Whether the API is heard, and what became of what it was to be told.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

/// How it stands with the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether what is known of pods is followed. If not, it is as old as `since` says.
    pub(crate) connected: bool,
    /// Since when it is so.
    pub(crate) since: Timestamp,
    /// Why it was not, the last time.
    pub(crate) last_error: Option<String>,
    /// Pods of this node that are known.
    pub(crate) pods: usize,
    /// How often one found no room since all were listed.
    pub(crate) left_out: u64,
    /// Findings that became events, or changed one.
    pub(crate) events_sent: u64,
    /// Findings that will not.
    pub(crate) events_dropped: u64,
}

/// The connection's part of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) connected: bool,
    pub(super) since: Timestamp,
    pub(super) last_error: Option<String>,
}

impl Connection {
    pub(super) fn new() -> Connection {
        Connection {
            connected: false,
            since: Timestamp::now(),
            last_error: None,
        }
    }

    /// It is heard; whether that is new.
    pub(super) fn heard(&mut self) -> bool {
        let new = !self.connected;
        if new {
            self.connected = true;
            self.since = Timestamp::now();
        }
        new
    }

    /// It is not; whether that is new, or another reason.
    pub(super) fn failed(&mut self, error: String) -> bool {
        let new = self.connected || self.last_error.as_ref() != Some(&error);
        if self.connected {
            self.connected = false;
            self.since = Timestamp::now();
        }
        self.last_error = Some(error);
        new
    }
}

/// The events' part of it. Any thread counts.
#[derive(Debug, Default)]
pub(super) struct Events {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Events {
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Sent, and dropped.
    pub(super) fn counts(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.sent), load(&self.dropped))
    }
}
