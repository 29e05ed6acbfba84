//! What was traced, in the formats of other tools.
//!
//! An [`Export`] is told a recording, or what is traced now, entry by entry, and writes bytes as it goes. It
//! knows nothing of files and processes, only of [`std::io::Write`].
//!
//! - [`perfetto`], [`chrome`]: a timeline, drawn by [`timeline`] on a [`timeline::Canvas`].
//! - [`pprof`], [`folded`]: stacks that are counted ([`profile`]): goroutines of a snapshot, or where goroutines
//!   block ([`block`]).
//! - [`csv`]: the events themselves.
//!
//! **Memory** grows with the goroutines that are alive at one moment, with the channels in use (as the model
//! bounds them) and with distinct places in the code, never with the number of events.
//!
//! **Loss** is shown in each format: what is not known is drawn, counted or said, never guessed.

#![forbid(unsafe_code)]

pub mod block;
pub mod chrome;
pub mod csv;
pub mod folded;
pub mod perfetto;
pub mod pprof;
pub mod profile;
mod symbols;
pub mod timeline;

use std::io;
use std::sync::Arc;

use tracer_model::event::Event;
use tracer_model::ids::Ktime;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

/// What program counters mean. Of a recording it may be told as the recording is.
pub type Symbols = Arc<dyn Symbolizer + Send + Sync>;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Kernel time.
    pub kernel: Ktime,
    /// Nanoseconds since 1970 by the wall clock.
    pub unix: i64,
}

impl Clocks {
    /// Nanoseconds since 1970 of a moment.
    pub fn unix_nanos(self, at: Ktime) -> i64 {
        let distance = i128::from(at.0) - i128::from(self.kernel.0);
        let unix = i128::from(self.unix) + distance;
        i64::try_from(unix).unwrap_or(if unix < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What was traced.
#[derive(Clone, Debug)]
pub struct About {
    /// Its process id.
    pub pid: u32,
    /// Name of the program.
    pub name: String,
    /// Path of its executable.
    pub exe: String,
    /// What the linker says of its build; empty if not known.
    pub build_id: String,
    /// From kernel time to the wall clock.
    pub clocks: Clocks,
}

/// What an export is told, in the order of a recording.
#[derive(Debug)]
pub enum Told<'a> {
    /// What was known as the recording began: the first thing, and told once.
    Known {
        /// When that was.
        at: Ktime,
        /// The goroutines and channels, if memory had been read.
        snapshot: Option<&'a Snapshot>,
        /// Whether goroutines park with an event.
        parks_seen: bool,
    },
    /// Something happened.
    Event(&'a Event),
    /// No event from before that time is still to come.
    HeardUntil(Ktime),
    /// The probes are others from then on, and some time before was not traced.
    Retraced {
        /// When.
        at: Ktime,
        /// Whether goroutines park with an event from then on.
        parks_seen: bool,
    },
    /// Memory was read.
    Observed(Box<Snapshot>),
    /// A part of the recording cannot be read.
    Missing {
        /// What, in one sentence.
        what: &'a str,
    },
}

/// Which part of what is told is written. What was before is taken in all the same: it tells how everything was
/// as the part begins.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its beginning.
    pub from: Ktime,
    /// Its end.
    pub to: Ktime,
}

impl Part {
    /// Whether a moment is in it.
    pub fn has(self, at: Ktime) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events of the part.
    pub events: u64,
    /// Records that never arrived, as far as they were counted.
    pub lost: u64,
    /// Gaps, those of unknown size included.
    pub gaps: u64,
}

/// Writes what it is told.
pub trait Export {
    /// Takes the next thing in.
    ///
    /// # Errors
    /// It cannot be written.
    fn tell(&mut self, told: Told<'_>) -> io::Result<()>;

    /// Nothing more is told: writes what is left.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(&mut self) -> io::Result<Written>;
}
