//! How two sources that overlap in time become one state.
//!
//! Events say what changed and when. An observation of memory says what was, and when it was read.
//! They reach the world in any order: a snapshot takes a while, and events wait in buffers. So
//! nothing may depend on which came first. What is known about an entity is kept per source:
//!
//! - what the *events* told, advanced by events alone, in the order of their time;
//! - what *memory* showed last, replaced by newer observations alone.
//!
//! The state that the world reports is the one with the newer [`Stamp`]. An event older than the
//! entity's observation therefore changes nothing that one can see (its totals still count), an
//! older observation does not hide a newer event, and a snapshot that is late gives the same result
//! as one that came in time.
//!
//! A channel is one entity only for as long as its address is its own. An observation that is ahead of
//! the events can show a later channel there, which another capacity, another type or an end of being
//! closed gives away, at once or with the next event. Then the observation stays with the later one,
//! and what is still told of the earlier one is kept apart.
//!
//! Two limits remain, and the next observation heals both. A probe fires just *before* its effect:
//! a thread that loses its CPU between the two can be observed in its old state with a newer
//! stamp. And a wake-up by the network poller makes no event: the wait ends for us at the
//! goroutine's next sign of life.

use serde::{Deserialize, Serialize};

use crate::ids::Ktime;

/// Where knowledge comes from. At equal times an event counts as the newer: an observation's time
/// is from before its read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// A read of the target's memory.
    Memory,
    /// A probe.
    Event,
}

/// From when and where something is known. The greater stamp is the one to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Time of the event, or from before the read.
    pub at: Ktime,
    /// Which of the two.
    pub source: Source,
}

impl Stamp {
    /// The stamp of an event.
    pub const fn event(at: Ktime) -> Stamp {
        Stamp {
            at,
            source: Source::Event,
        }
    }

    /// The stamp of an observation.
    pub const fn memory(at: Ktime) -> Stamp {
        Stamp {
            at,
            source: Source::Memory,
        }
    }
}

/// A value and from when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// From when.
    pub stamp: Stamp,
}

impl<T> Known<T> {
    /// Puts `value` into `slot` unless what is there is newer.
    pub(super) fn learn(slot: &mut Option<Known<T>>, value: T, stamp: Stamp) {
        if slot.as_ref().is_none_or(|known| known.stamp <= stamp) {
            *slot = Some(Known { value, stamp });
        }
    }
}
