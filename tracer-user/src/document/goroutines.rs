//! `gotrace.goroutines/1`.

use std::collections::BTreeMap;

use serde::Serialize;
use tracer_model::snapshot::{Goroutine, Snapshot, State};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitReason;

use super::{Site, SnapshotInfo, Target, WaitingOn, WallClock, seconds};

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    goroutines: Vec<Entry>,
    errors: &'a [String],
}

#[derive(Debug, Serialize)]
struct Entry {
    goid: u64,
    state: State,
    wait_reason: Option<String>,
    system: bool,
    waiting_on: Option<WaitingOn>,
    waiting_since: Option<String>,
    waiting_seconds: Option<f64>,
    created_by: CreatedBy,
    start: Option<Site>,
    labels: BTreeMap<String, String>,
    stack: Vec<StackFrame>,
    /// It changed under every read: the fields may not belong together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moving: bool,
}

#[derive(Debug, Serialize)]
struct CreatedBy {
    goid: Option<u64>,
    site: Option<Site>,
}

#[derive(Debug, Serialize)]
struct StackFrame {
    function: String,
    file: String,
    line: u32,
    pc: String,
    inlined: bool,
}

impl<'a> Document<'a> {
    /// The goroutines of `list`, which are of `snapshot`.
    pub(crate) fn new(
        target: &'a Target,
        snapshot: &'a Snapshot,
        list: impl Iterator<Item = &'a Goroutine>,
        symbols: &dyn Symbolizer,
        clock: WallClock,
    ) -> Self {
        Self {
            schema: "gotrace.goroutines/1",
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            goroutines: list
                .map(|goroutine| entry(goroutine, snapshot, symbols, clock))
                .collect(),
            errors: &snapshot.errors,
        }
    }
}

fn entry(
    goroutine: &Goroutine,
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
    clock: WallClock,
) -> Entry {
    let wait = goroutine.wait.as_ref();
    let since = wait.and_then(|wait| wait.since);
    Entry {
        goid: goroutine.goid.0,
        state: goroutine.state,
        wait_reason: wait
            .map(|wait| wait.reason)
            .filter(|reason| *reason != WaitReason::None)
            .map(|reason| reason.to_string()),
        system: goroutine.system,
        waiting_on: wait.map(|wait| WaitingOn::wait(wait, snapshot)),
        waiting_since: since.map(|since| clock.rfc3339(since)),
        waiting_seconds: since.map(|since| seconds(snapshot.finished.since(since))),
        created_by: CreatedBy {
            goid: goroutine.parent.map(|parent| parent.0),
            site: goroutine.created_at.and_then(|pc| Site::of(pc, symbols)),
        },
        start: goroutine.start.and_then(|pc| Site::of(pc, symbols)),
        labels: goroutine
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        stack: frames(snapshot.stack(goroutine), symbols),
        moving: goroutine.moving,
    }
}

fn frames(stack: &[tracer_model::ids::Pc], symbols: &dyn Symbolizer) -> Vec<StackFrame> {
    stack
        .iter()
        .flat_map(|pc| {
            let frames = symbols.frames(*pc);
            frames
                .iter()
                .map(|frame| StackFrame {
                    function: frame.function.to_string(),
                    file: frame.file.to_string(),
                    line: frame.line,
                    pc: pc.to_string(),
                    inlined: frame.inlined,
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
