//! `gotrace.groups/1`: goroutines in groups, each with one member as an example.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use tracer_model::ids::Goid;
use tracer_model::query::Group;
use tracer_model::snapshot::{Goroutine, Snapshot};
use tracer_model::symbol::Symbolizer;

use super::goroutines::{Entries, Style};
use super::{SnapshotInfo, Target, WallClock, seconds};

/// The document's schema.
const SCHEMA: &str = "gotrace.groups/1";

/// The document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Groups")]
pub(crate) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    /// Of a part of a list: how many groups there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    matching: Option<usize>,
    groups: Groups<'a>,
    errors: &'a [String],
}

/// The groups, each made into its entry when it is written.
struct Groups<'a> {
    list: &'a [Group],
    snapshot: &'a Snapshot,
    unknown: &'a [Goid],
    symbols: &'a dyn Symbolizer,
    clock: WallClock,
    style: Style,
    /// Ids of each group that are written, at most.
    members: usize,
}

#[derive(Serialize, JsonSchema)]
#[schemars(bound = "", rename = "Group")]
struct Entry<'a, I: Iterator<Item = &'a Goroutine> + Clone> {
    /// What the members have in common; `null` if it is the whole stack.
    label: Option<&'a str>,
    count: usize,
    /// The longest that a member is known to wait.
    longest_wait_seconds: Option<f64>,
    goids: Vec<u64>,
    #[serde(bound = "")]
    examples: Entries<'a, I>,
}

impl<'a> Document<'a> {
    /// The groups of `list`, which are of `snapshot`.
    pub(crate) fn new(
        target: &'a Target,
        snapshot: &'a Snapshot,
        list: &'a [Group],
        symbols: &'a dyn Symbolizer,
        clock: WallClock,
        style: Style,
    ) -> Self {
        Self {
            schema: SCHEMA,
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            matching: None,
            groups: Groups {
                list,
                snapshot,
                unknown: &[],
                symbols,
                clock,
                style,
                members: usize::MAX,
            },
            errors: &snapshot.errors,
        }
    }

    /// Says how many groups there are in all.
    pub(crate) const fn of_matching(mut self, matching: usize) -> Self {
        self.matching = Some(matching);
        self
    }

    /// Writes at most so many ids of each group.
    pub(crate) const fn with_members(mut self, members: usize) -> Self {
        self.groups.members = members;
        self
    }

    /// Marks these goroutines, ascending, as not known for sure.
    pub(crate) const fn with_unknown(mut self, unknown: &'a [Goid]) -> Self {
        self.groups.unknown = unknown;
        self
    }
}

/// Levels of indentation of the fields of an example.
const LEVEL: usize = 5;

impl JsonSchema for Groups<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ListOfGroups".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Entry<'_, std::slice::Iter<'_, Goroutine>>>::json_schema(generator)
    }
}

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list.iter().map(|group| {
            let members = group
                .members
                .iter()
                .filter_map(|index| self.snapshot.goroutines.get(*index));
            let waits = members.clone().filter_map(|goroutine| {
                let since = goroutine.wait.as_ref()?.since.get()?;
                Some(self.snapshot.finished.since(since))
            });
            Entry {
                label: (!group.label.is_empty()).then_some(&*group.label),
                count: group.members.len(),
                longest_wait_seconds: waits.max().map(seconds),
                goids: members
                    .clone()
                    .take(self.members)
                    .map(|goroutine| goroutine.goid.0)
                    .collect(),
                examples: Entries::new(
                    members.take(1),
                    self.snapshot,
                    self.symbols,
                    self.clock,
                    self.style,
                    LEVEL,
                )
                .with_unknown(self.unknown),
            }
        }))
    }
}
