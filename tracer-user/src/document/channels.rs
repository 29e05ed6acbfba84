//! `gotrace.channels/1`.

use serde::Serialize;
use serde_json::{Value as Json, json};
use tracer_model::snapshot::{Channel, Snapshot, Value, Waiter};

use super::{SnapshotInfo, Target, WallClock};

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    channels: Vec<Entry<'a>>,
    errors: &'a [String],
}

/// One channel.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    address: String,
    #[serde(rename = "type")]
    elem_type: &'a str,
    elem_size: u16,
    len: u64,
    cap: u64,
    closed: bool,
    values: Vec<Json>,
    send_waiting: Vec<Waiting>,
    recv_waiting: Vec<Waiting>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moving: bool,
}

#[derive(Debug, Serialize)]
struct Waiting {
    goid: u64,
    select: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(target: &'a Target, snapshot: &'a Snapshot, clock: WallClock) -> Self {
        Self {
            schema: "gotrace.channels/1",
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            channels: snapshot.channels.iter().map(Entry::from).collect(),
            errors: &snapshot.errors,
        }
    }
}

impl<'a> From<&'a Channel> for Entry<'a> {
    fn from(channel: &'a Channel) -> Self {
        let waiting = |waiters: &[Waiter]| {
            waiters
                .iter()
                .map(|waiter| Waiting {
                    goid: waiter.goid.0,
                    select: waiter.select,
                    value: waiter.value.as_ref().map(value),
                })
                .collect()
        };
        Self {
            address: channel.addr.to_string(),
            elem_type: &channel.elem_type,
            elem_size: channel.elem_size,
            len: channel.len,
            cap: channel.cap,
            closed: channel.closed,
            values: channel.values.iter().map(value).collect(),
            send_waiting: waiting(&channel.send_waiting),
            recv_waiting: waiting(&channel.recv_waiting),
            moving: channel.moving,
        }
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
