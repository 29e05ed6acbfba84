//! What was counted since the tracer attached.

use rustc_hash::FxHashMap;

use crate::ids::{Goid, Ktime, Pc};
use crate::wait::WaitReason;

use super::histogram::Histogram;

/// Counts of events, each event exactly once, however late it came. Operations count as they
/// begin: a send that blocks forever has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events applied, losses not included.
    pub events: u64,
    /// Records that never arrived.
    pub lost: u64,
    /// How often records were lost or the probes were off for a while.
    pub gaps: u64,
    /// Sends begun, those in a select not included.
    pub sends: u64,
    /// Of these, those of the runtime itself: timers that fire into a channel.
    pub sends_by_runtime: u64,
    /// Receives begun, those in a select not included.
    pub receives: u64,
    /// Closes begun.
    pub closes: u64,
    /// Selects with two or more cases begun.
    pub selects: u64,
    /// Parks by the runtime's reason.
    pub parks: FxHashMap<WaitReason, u64>,
    /// How long the waits took that ended, by the runtime's reason, where the whole of them was seen.
    pub blocked: FxHashMap<WaitReason, Histogram>,
    /// Goroutines made runnable after a wait, by whomever.
    pub wakeups: u64,
    /// Of these, by the reason of the wait.
    pub wakeups_from: FxHashMap<WaitReason, u64>,
    /// Of these, by the runtime itself: timers, the network poller.
    pub wakeups_by_runtime: u64,
    /// Channels made.
    pub made: u64,
    /// Sends, those in a select included, that handed their value to a waiting receiver.
    pub direct_sends: u64,
    /// Receives, those in a select included, that found a sender waiting.
    pub direct_receives: u64,
    /// Selects that ended with a case of which it is known which ([`super::Side::selected`]).
    pub selected: u64,
    /// Selects that ended with their default case.
    pub defaulted: u64,
    /// Attempts to get a lock, a wait group or the like that was not free at first.
    pub acquires: u64,
    /// System calls entered.
    pub syscalls: u64,
    /// Of these, those whose end was seen.
    pub syscalls_timed: u64,
    /// Nanoseconds in these.
    pub syscall_nanos: u64,
    /// The same, each by how long it took.
    pub syscall: Histogram,
    /// Operations that are sure to panic.
    pub panics: Panics,
    /// How often a goroutine started to run on a thread.
    pub runs: u64,
    /// Of these, after a wake-up or a creation that was seen.
    pub scheduled: u64,
    /// Nanoseconds from these wake-ups and creations until the goroutine ran.
    pub scheduling_nanos: u64,
    /// The same, each by how long it took.
    pub scheduling: Histogram,
    /// Goroutines created.
    pub created: u64,
    /// Goroutines that exited.
    pub exited: u64,
    /// Goroutines that a snapshot no longer found and whose exit was not seen until then.
    pub vanished: u64,
    /// Events that contradict what was known.
    pub anomalies: Anomalies,
}

/// Operations on channels that make their goroutine panic, as far as that is sure from what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Panics {
    /// Closes of a nil channel.
    pub close_of_nil: u64,
    /// Closes of a channel, made and closed before since the tracer attached, with no loss since.
    pub close_of_closed: u64,
    /// Sends, those in a select included, that waited when the channel was closed.
    pub send_on_closed: u64,
}

/// Where a goroutine comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Entry of its function.
    pub start: Option<Pc>,
    /// The `go` statement.
    pub created_at: Option<Pc>,
}

macro_rules! anomalies {
    ($($variant:ident, $name:literal, $explanation:literal;)*) => {
        /// A transition that the runtime does not make, or that we would have seen differently.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AnomalyKind {
            $(#[doc = $explanation] $variant,)*
        }

        impl AnomalyKind {
            /// Every kind.
            pub const ALL: &'static [AnomalyKind] = &[$(AnomalyKind::$variant),*];

            /// A name for machines.
            pub const fn name(self) -> &'static str {
                match self {
                    $(AnomalyKind::$variant => $name,)*
                }
            }

            /// What was seen, in one sentence.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(AnomalyKind::$variant => $explanation,)*
                }
            }
        }
    };
}

anomalies! {
    Late, "late", "An event was older than one already applied to the same goroutine: it came out of order, beyond what the sorter held back.";
    ActedWhileWaiting, "acted_while_waiting", "A goroutine acted although it waited for another goroutine and no wake-up was seen: a record is missing.";
    ReadyWithoutPark, "ready_without_park", "A goroutine that was last seen acting was made runnable: its park is missing.";
    ReadyTwice, "ready_twice", "A goroutine was made runnable twice without a sign that it ran in between.";
    ReasonChanged, "reason_changed", "A goroutine was woken from another kind of wait than the one it parked for: a park is missing.";
    CreatedTwice, "created_twice", "A goroutine was created although it had been created before.";
    ActedAfterExit, "acted_after_exit", "A goroutine acted, or was woken, after its exit.";
    ReturnedAfterAbsence, "returned_after_absence", "A goroutine acted although a complete snapshot did not contain it: that snapshot could not read it.";
    NobodyWoken, "nobody_woken", "A wake-up, creation or exit was of no goroutine: the probe could not read its id.";
    ImpossibleFill, "impossible_fill", "A channel's length was more than its capacity, so it was ignored.";
}

/// The last occurrence of an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Of which goroutine.
    pub goid: Goid,
    /// When.
    pub at: Ktime,
}

/// How often each anomaly was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anomalies {
    counts: [u64; AnomalyKind::ALL.len()],
    last: [Option<Example>; AnomalyKind::ALL.len()],
}

impl Anomalies {
    /// How often this one.
    pub const fn count(&self, kind: AnomalyKind) -> u64 {
        self.counts[kind as usize]
    }

    /// Its last occurrence.
    pub const fn last(&self, kind: AnomalyKind) -> Option<Example> {
        self.last[kind as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those that were seen at least once, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (AnomalyKind, u64)> + '_ {
        AnomalyKind::ALL
            .iter()
            .map(|&kind| (kind, self.count(kind)))
            .filter(|&(_, count)| count > 0)
    }

    pub(super) fn note(&mut self, kind: AnomalyKind, goid: Goid, at: Ktime) {
        self.counts[kind as usize] += 1;
        self.last[kind as usize] = Some(Example { goid, at });
    }
}
