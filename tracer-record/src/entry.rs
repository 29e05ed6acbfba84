//! What a recording holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracer_model::detect::Tracked;
use tracer_model::ids::{Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Frame;

use crate::batch::Unpacked;

/// The version of the format that is written, and the newest that is read.
pub const VERSION: u32 = 1;
/// The format's name, in every segment.
pub(crate) const FORMAT: &str = "gotrace.record";

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Kernel time, nanoseconds.
    pub kernel: Ktime,
    /// Nanoseconds since 1970 by the wall clock.
    pub unix: i64,
}

/// The first block of a segment, readable without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preamble {
    pub(crate) format: String,
    pub(crate) version: u32,
    /// Version of the program that wrote it.
    pub gotrace: String,
    /// Number of the segment; the recording's first is 0.
    pub segment: u64,
    /// From kernel time to the wall clock.
    pub clock: Clock,
}

/// What was known as a segment began: what one needs to begin to read there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Keyframe {
    /// When.
    pub at: Ktime,
    /// What was traced and how, as the program notes it.
    pub about: serde_json::Value,
    /// Whether goroutines park with an event.
    pub parks_seen: bool,
    /// The world; `None` if nothing was known yet.
    pub snapshot: Option<Snapshot>,
    /// The latest time up to which a goroutine's state was not known; `None` if all were known.
    pub unknown_since: Option<Ktime>,
    /// When memory was read last: before and after.
    pub memory_read: Option<(Ktime, Ktime)>,
    /// The findings that stand.
    pub findings: Vec<Tracked>,
    /// The last thing that the program noted under each name that it said to keep.
    pub notes: Vec<Note>,
    /// What the detectors remember.
    pub memory: Memory,
}

/// What detectors remember. Another version of gotrace may not understand it; then verdicts begin anew.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory(Option<ciborium::Value>);

impl Memory {
    /// Of something that remembers.
    pub fn of(detectors: &impl Serialize) -> Memory {
        Memory(ciborium::Value::serialized(detectors).ok())
    }

    /// What it was of; `None` if it is not understood.
    pub fn recall<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        self.0.as_ref()?.deserialized().ok()
    }
}

/// Something that the program noted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Ktime,
    /// What it is.
    pub name: String,
    /// What it says.
    pub body: serde_json::Value,
}

/// A part of a recording that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, in one sentence.
    pub what: String,
    /// The time of what comes before it, if it is known.
    pub after: Ktime,
    /// Whether events may be among it.
    pub events: bool,
}

/// One thing in a recording, in the order in which it was written.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A segment begins.
    Segment(Preamble),
    /// What was known by then. Whoever reads on from before knows it.
    Keyframe(Box<Keyframe>),
    /// Events.
    Items(Unpacked),
    /// A read of memory.
    Observation(Box<Snapshot>),
    /// A note.
    Note(Note),
    /// Something that cannot be read.
    Missing(Missing),
}

/// Frames by program counter.
pub(crate) type Symbols = Vec<(Pc, Arc<[Frame]>)>;
