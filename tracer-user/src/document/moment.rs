//! `gotrace.moment/1`: how everything was at a moment of a recording.

use serde::Serialize;

use super::Target;
use super::events::Event;
use super::findings::Entry;
use super::run::{Channel, Goroutines, LongWait};

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Moment<'a> {
    schema: &'static str,
    pub(crate) target: &'a Target,
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) state: State,
    /// The last events before, the latest last.
    pub(crate) events: Vec<Event>,
}

/// What was known then.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    pub(crate) goroutines: Goroutines,
    pub(crate) fullest: Vec<Channel>,
    pub(crate) longest_waits: Vec<LongWait>,
    pub(crate) findings: Vec<Entry>,
    /// How old the last read of memory was; `null` before the first one.
    pub(crate) memory_age_seconds: Option<f64>,
}

impl<'a> Moment<'a> {
    pub(crate) const fn new(
        target: &'a Target,
        time: String,
        state: State,
        events: Vec<Event>,
    ) -> Self {
        Self {
            schema: "gotrace.moment/1",
            target,
            time,
            state,
            events,
        }
    }
}
