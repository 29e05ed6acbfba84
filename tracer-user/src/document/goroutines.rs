//! `gotrace.goroutines/1`.
//!
//! It is written as it is made: no more than one goroutine's entry is in memory at a time. Most of it
//! are stacks and sites that many goroutines share, so their JSON is made once and copied.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tracer_model::ids::{Goid, Ktime, Pc};
use tracer_model::snapshot::{Goroutine, Snapshot, StackId, State};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitReason;

use super::{Site, SnapshotInfo, Target, WaitingOn, WallClock, seconds};
use crate::rendered::Rendered;

/// The document's schema.
const SCHEMA: &str = "gotrace.goroutines/1";

/// How the document is laid out: its shared parts must look like the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As `serde_json::to_writer_pretty` does.
    Pretty,
    /// Without white space.
    Compact,
}

/// The document: `I` gives the goroutines.
#[derive(Serialize, JsonSchema)]
#[serde(bound = "")]
#[schemars(bound = "", rename = "Goroutines")]
pub(crate) struct Document<'a, I: Iterator<Item = &'a Goroutine> + Clone> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    /// Of a part of a list: how many entries the whole one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    matching: Option<usize>,
    goroutines: Entries<'a, I>,
    errors: &'a [String],
}

/// Goroutines, each made into its entry when it is written.
pub(crate) struct Entries<'a, I> {
    list: I,
    snapshot: &'a Snapshot,
    unknown: &'a [Goid],
    symbols: &'a dyn Symbolizer,
    clock: WallClock,
    style: Style,
    /// Levels of indentation of an entry's fields.
    level: usize,
    shared: RefCell<Shared>,
}

/// What many entries have in common.
struct Shared {
    stacks: Rendered<Option<StackId>, RawValue>,
    /// By place and levels of indentation.
    sites: Rendered<(Pc, usize), RawValue>,
    /// The last time that was spelled out. The garbage collector notes one time for all goroutines
    /// that it finds waiting.
    time: Option<(Ktime, Rc<str>)>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Goroutine")]
struct Entry<'a> {
    goid: u64,
    state: State,
    wait_reason: Option<Cow<'static, str>>,
    system: bool,
    waiting_on: Option<WaitingOn>,
    waiting_since: Option<Rc<str>>,
    waiting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sleeps_until: Option<String>,
    created_by: CreatedBy,
    #[schemars(with = "Option<Site>")]
    start: Option<Rc<RawValue>>,
    labels: BTreeMap<&'a str, &'a str>,
    #[schemars(with = "Vec<StackFrame<'_>>")]
    stack: Rc<RawValue>,
    /// The state may have changed unseen since it was last known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
    /// It changed under every read: the fields may not belong together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moving: bool,
}

#[derive(Serialize, JsonSchema)]
struct CreatedBy {
    goid: Option<u64>,
    #[schemars(with = "Option<Site>")]
    site: Option<Rc<RawValue>>,
}

#[derive(Serialize, JsonSchema)]
struct StackFrame<'a> {
    function: &'a str,
    file: &'a str,
    line: u32,
    pc: &'a str,
    inlined: bool,
}

/// Levels of indentation of an entry's fields.
const LEVEL: usize = 3;

impl<'a, I: Iterator<Item = &'a Goroutine> + Clone> Document<'a, I> {
    /// The goroutines of `list`, which are of `snapshot`.
    pub(crate) fn new(
        target: &'a Target,
        snapshot: &'a Snapshot,
        list: I,
        symbols: &'a dyn Symbolizer,
        clock: WallClock,
        style: Style,
    ) -> Self {
        Self {
            schema: SCHEMA,
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            matching: None,
            goroutines: Entries::new(list, snapshot, symbols, clock, style, LEVEL),
            errors: &snapshot.errors,
        }
    }

    /// Says how many entries the whole list has.
    pub(crate) fn of_matching(mut self, matching: usize) -> Self {
        self.matching = Some(matching);
        self
    }

    /// Marks these goroutines, ascending, as not known for sure.
    pub(crate) fn with_unknown(mut self, unknown: &'a [Goid]) -> Self {
        self.goroutines = self.goroutines.with_unknown(unknown);
        self
    }
}

impl<'a, I> Entries<'a, I> {
    /// Marks these goroutines, ascending, as not known for sure.
    pub(crate) fn with_unknown(mut self, unknown: &'a [Goid]) -> Self {
        self.unknown = unknown;
        self
    }

    /// The goroutines of `list`, which are of `snapshot`, with their fields indented by so many levels.
    pub(crate) fn new(
        list: I,
        snapshot: &'a Snapshot,
        symbols: &'a dyn Symbolizer,
        clock: WallClock,
        style: Style,
        level: usize,
    ) -> Self {
        Self {
            list,
            snapshot,
            unknown: &[],
            symbols,
            clock,
            style,
            level,
            shared: RefCell::new(Shared {
                stacks: Rendered::new(),
                sites: Rendered::new(),
                time: None,
            }),
        }
    }
}

impl<I> JsonSchema for Entries<'_, I> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ListOfGoroutines".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Entry<'_>>::json_schema(generator)
    }
}

impl<'a, I: Iterator<Item = &'a Goroutine> + Clone> Serialize for Entries<'a, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shared = self.shared.borrow_mut();
        serializer.collect_seq(
            self.list
                .clone()
                .map(|goroutine| self.entry(goroutine, &mut shared)),
        )
    }
}

impl<I> Entries<'_, I> {
    fn entry<'g>(&self, goroutine: &'g Goroutine, shared: &mut Shared) -> Entry<'g> {
        let wait = goroutine.wait.as_ref();
        let since = wait.and_then(|wait| wait.since.get());
        let stacks = &mut shared.stacks;
        let stack = stacks.get(goroutine.stack, || {
            self.frames(self.snapshot.stack(goroutine))
        });
        let mut site = |pc: Option<Pc>, level| {
            let render = |pc| self.raw(&Site::of(pc, self.symbols), level);
            pc.map(|pc| shared.sites.get((pc, level), || render(pc)))
        };
        Entry {
            goid: goroutine.goid.0,
            state: goroutine.state,
            wait_reason: wait
                .map(|wait| wait.reason)
                .filter(|reason| *reason != WaitReason::None)
                .map(|reason| match reason {
                    WaitReason::Unknown(_) => reason.to_string().into(),
                    known => known.text().into(),
                }),
            system: goroutine.system,
            waiting_on: wait.map(|wait| WaitingOn::wait(wait, self.snapshot)),
            created_by: CreatedBy {
                goid: goroutine.parent.get().map(|parent| parent.0),
                site: site(goroutine.created_at.get(), self.level + 1),
            },
            start: site(goroutine.start.get(), self.level),
            waiting_since: since.map(|since| self.time(since, &mut shared.time)),
            waiting_seconds: since.map(|since| seconds(self.snapshot.finished.since(since))),
            sleeps_until: (goroutine.sleeps_until.get()).map(|time| self.clock.rfc3339(time)),
            labels: goroutine
                .labels
                .iter()
                .map(|(key, value)| (&**key, &**value))
                .collect(),
            stack,
            unknown: self.unknown.binary_search(&goroutine.goid).is_ok(),
            moving: goroutine.moving,
        }
    }

    fn time(&self, time: Ktime, last: &mut Option<(Ktime, Rc<str>)>) -> Rc<str> {
        match last {
            Some((known, text)) if *known == time => Rc::clone(text),
            _ => {
                let text: Rc<str> = self.clock.rfc3339(time).into();
                *last = Some((time, Rc::clone(&text)));
                text
            }
        }
    }

    fn frames(&self, stack: &[Pc]) -> Rc<RawValue> {
        let frames: Vec<_> = stack
            .iter()
            .map(|pc| (pc.to_string(), self.symbols.frames(*pc)))
            .collect();
        let frames: Vec<StackFrame<'_>> = frames
            .iter()
            .flat_map(|(pc, frames)| {
                frames.iter().map(|frame| StackFrame {
                    function: &frame.function,
                    file: &frame.file,
                    line: frame.line,
                    pc,
                    inlined: frame.inlined,
                })
            })
            .collect();
        self.raw(&frames, self.level)
    }

    /// The JSON of a value that stands in a field so many levels deep.
    fn raw(&self, value: &impl Serialize, level: usize) -> Rc<RawValue> {
        let text = match self.style {
            Style::Compact => serde_json::to_string(value),
            // A line break inside a string is escaped, so each that there is begins a line.
            Style::Pretty => serde_json::to_string_pretty(value)
                .map(|text| text.replace('\n', &format!("\n{}", "  ".repeat(level)))),
        };
        // Structs of text and numbers cannot fail to be spelled.
        let raw = text.and_then(RawValue::from_string);
        raw.map_or_else(|_| RawValue::NULL.to_owned().into(), Rc::from)
    }
}
