//! `gotrace.channels/1`. As with goroutines, no more than one channel's entry is in memory at a time.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};
use tracer_model::ids::{Goid, Pc};
use tracer_model::snapshot::{Channel, Snapshot, User, Value, Waiter};
use tracer_model::symbol::Symbolizer;

use super::{Site, SnapshotInfo, Target, WallClock, seconds};

/// The document's schema.
const SCHEMA: &str = "gotrace.channels/1";

/// The document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Channels")]
pub(crate) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    /// Of a part of a list: how many entries the whole one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    matching: Option<usize>,
    channels: Entries<'a>,
    errors: &'a [String],
}

/// Channels, each made into its entry when it is written.
struct Entries<'a> {
    list: &'a [Channel],
    stacks: Stacks<'a>,
    symbols: &'a dyn Symbolizer,
    clock: WallClock,
}

impl JsonSchema for Entries<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ListOfChannels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Entry<'_>>::json_schema(generator)
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.list.iter();
        serializer.collect_seq(
            entries.map(|channel| Entry::new(channel, &self.stacks, self.symbols, self.clock)),
        )
    }
}

/// One channel.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Channel")]
struct Entry<'a> {
    address: String,
    #[serde(rename = "type")]
    elem_type: &'a str,
    /// `null` if the type is not known: memory has not been read since it was heard of.
    elem_size: Option<u16>,
    len: u64,
    cap: u64,
    closed: bool,
    /// `null` if it was not seen.
    made_at: Option<Site>,
    /// The timer that sends to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<Timer>,
    values: Vec<Json>,
    send_waiting: Vec<Waiting>,
    recv_waiting: Vec<Waiting>,
    used_by: Vec<Using>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moving: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChannelWaiter")]
struct Waiting {
    goid: u64,
    select: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
}

/// A timer or ticker.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChannelTimer")]
struct Timer {
    /// When it fires next; `null` if it is stopped or has fired.
    fires_at: Option<String>,
    /// `null` for one that fires once.
    period_seconds: Option<f64>,
}

/// A goroutine that holds the channel and does not wait on it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChannelUser")]
struct Using {
    goid: u64,
    /// The frame that holds it, if known.
    site: Option<Site>,
    /// The object between.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<String>,
}

impl<'a> Document<'a> {
    /// The channels of `list`, which are of `snapshot`.
    pub(crate) fn new(
        target: &'a Target,
        snapshot: &'a Snapshot,
        list: &'a [Channel],
        symbols: &'a dyn Symbolizer,
        clock: WallClock,
    ) -> Self {
        Self {
            schema: SCHEMA,
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            matching: None,
            channels: Entries {
                list,
                stacks: Stacks::of(snapshot),
                symbols,
                clock,
            },
            errors: &snapshot.errors,
        }
    }

    /// Says how many entries the whole list has.
    pub(crate) const fn of_matching(mut self, matching: usize) -> Self {
        self.matching = Some(matching);
        self
    }
}

impl<'a> Entry<'a> {
    fn new(
        channel: &'a Channel,
        stacks: &Stacks<'_>,
        symbols: &dyn Symbolizer,
        clock: WallClock,
    ) -> Self {
        let waiting = |waiters: &[Waiter]| {
            waiters
                .iter()
                .map(|waiter| Waiting {
                    goid: waiter.goid.0,
                    select: waiter.select,
                    value: waiter.value.as_deref().map(value),
                })
                .collect()
        };
        Self {
            address: channel.addr.to_string(),
            elem_type: &channel.elem_type,
            elem_size: (!channel.elem_type.is_empty()).then_some(channel.elem_size),
            len: channel.len,
            cap: channel.cap,
            closed: channel.closed,
            made_at: channel.made_at.and_then(|pc| Site::of(pc, symbols)),
            timer: channel.timer.map(|timer| Timer {
                fires_at: timer.when.map(|when| clock.rfc3339(when)),
                period_seconds: (timer.period != 0).then(|| seconds(timer.period)),
            }),
            values: channel.values.iter().map(value).collect(),
            send_waiting: waiting(&channel.send_waiting),
            recv_waiting: waiting(&channel.recv_waiting),
            used_by: channel
                .users
                .iter()
                .map(|user| Using {
                    goid: user.goid.0,
                    site: stacks.site(user, symbols),
                    through: user.through.map(|object| object.to_string()),
                })
                .collect(),
            moving: channel.moving,
        }
    }
}

/// The stacks of a snapshot's goroutines by their ids.
pub(crate) struct Stacks<'a>(HashMap<Goid, &'a [Pc]>);

impl<'a> Stacks<'a> {
    /// None: of channels that nobody asks about.
    pub(crate) fn none() -> Self {
        Self(HashMap::new())
    }

    /// Those of the goroutines that hold a channel.
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let users = snapshot.channels.iter().flat_map(|channel| &channel.users);
        let wanted: HashSet<Goid> = users.map(|user| user.goid).collect();
        Self(
            snapshot
                .goroutines
                .iter()
                .filter(|goroutine| wanted.contains(&goroutine.goid))
                .map(|goroutine| (goroutine.goid, snapshot.stack(goroutine)))
                .collect(),
        )
    }

    /// The frame of a goroutine that holds a channel: the function itself, not those inlined in it,
    /// since nothing tells whose variable it is.
    pub(crate) fn site(&self, user: &User, symbols: &dyn Symbolizer) -> Option<Site> {
        let stack = self.0.get(&user.goid)?;
        let pc = stack.get(user.frame? as usize)?;
        symbols.frames(*pc).last().map(Site::from)
    }
}

/// A value as JSON: itself, or an object with the one key `$redacted` (bytes) or `$error`.
pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Decoded(json) => json.clone(),
        Value::Redacted(bytes) => json!({ "$redacted": bytes }),
        Value::Unreadable(error) => json!({ "$error": error }),
    }
}
