//! `gotrace.why/1`: one goroutine's wait, explained.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_model::detect::{Alive, Awaited, Reference, Stands, Verdict, Waiting, Why};
use tracer_model::ids::Goid;
use tracer_model::snapshot::{Goroutine, Reachability, Snapshot, State};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::{WaitKind, WaitReason};

use super::{Site, SnapshotInfo, Target, WaitingOn, WallClock, seconds};

/// The document's schema.
const SCHEMA: &str = "gotrace.why/1";

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Why")]
pub(crate) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    target: &'a Target,
    snapshot: SnapshotInfo,
    pub(crate) goid: Goid,
    /// `stuck`, `idle on purpose`, `alive` or `unknown`.
    pub(crate) stands: &'static str,
    /// How sure, if it is stuck.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) reasons: &'a [String],
    pub(crate) doubts: &'a [String],
    pub(crate) finding: Option<String>,
    pub(crate) chain: &'a [Goid],
    pub(crate) cycle: &'a [Goid],
    pub(crate) goroutines: Vec<Entry>,
    pub(crate) left_out: usize,
    pub(crate) passes: Passes,
    pub(crate) errors: &'a [String],
}

/// What was looked at.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhyPasses")]
pub(crate) struct Passes {
    /// How many were made.
    pub(crate) made: usize,
    /// How many consecutive ones saw the goroutine stuck in this wait.
    pub(crate) agreeing: u32,
    /// How long the last search of memory took; `null` if there was none.
    pub(crate) search_seconds: Option<f64>,
    /// Goroutines that the last search did not reach.
    pub(crate) unreached: Option<usize>,
    /// Goroutines that ran meanwhile, whose registers cannot be read.
    pub(crate) running: Vec<Goid>,
    /// Further goroutines that ran for a moment meanwhile.
    pub(crate) ran: Vec<Goid>,
}

/// A goroutine and its wait.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhyGoroutine")]
pub(crate) struct Entry {
    pub(crate) goid: Goid,
    pub(crate) state: State,
    pub(crate) wait_reason: Option<String>,
    pub(crate) waiting_seconds: Option<f64>,
    pub(crate) stands: &'static str,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) site: Option<Site>,
    pub(crate) created_at: Option<Site>,
    pub(crate) created_by: Option<Goid>,
    pub(crate) waits_on: Vec<On>,
}

/// One thing that can end a wait.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhyWait")]
pub(crate) struct On {
    #[serde(flatten)]
    pub(crate) object: WaitingOn,
    /// Of a channel, if it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<Channel>,
    /// Who else waits there, the first of them, and how many these are in all.
    pub(crate) others: Vec<Goid>,
    pub(crate) others_total: usize,
    pub(crate) held_by: Vec<Holder>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhyChannel")]
pub(crate) struct Channel {
    #[serde(rename = "type")]
    pub(crate) elem_type: String,
    pub(crate) len: u64,
    pub(crate) cap: u64,
    pub(crate) closed: bool,
}

/// A goroutine that could end the wait, and how it refers to the object.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhyHolder")]
pub(crate) struct Holder {
    pub(crate) goid: Goid,
    /// The frame of its stack that holds the slot.
    pub(crate) frame: Option<Site>,
    /// The slot's address.
    pub(crate) slot: Option<String>,
    /// Heap objects on the way from the slot.
    pub(crate) through: Vec<String>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(
        target: &'a Target,
        why: &'a Why,
        snapshot: &'a Snapshot,
        made: usize,
        symbols: &dyn Symbolizer,
        clock: WallClock,
    ) -> Self {
        let stands = why.waits.first().map_or(Stands::Unknown, |it| it.stands);
        let mark = snapshot.reachability.as_ref();
        Self {
            schema: SCHEMA,
            target,
            snapshot: SnapshotInfo::new(snapshot, clock),
            goid: why.goid,
            stands: stands_name(stands),
            verdict: verdict_of(stands),
            reasons: &why.reasons,
            doubts: &why.doubts,
            finding: why.finding.as_ref().map(ToString::to_string),
            chain: &why.chain,
            cycle: &why.cycle,
            goroutines: why
                .waits
                .iter()
                .map(|waiting| Entry::new(waiting, snapshot, symbols))
                .collect(),
            left_out: why.left_out,
            passes: Passes {
                made,
                agreeing: why.passes,
                search_seconds: mark.map(|mark| seconds(search(mark))),
                unreached: mark.map(|mark| mark.unreached.len()),
                running: mark.map_or(Vec::new(), |mark| mark.running.clone()),
                ran: mark.map_or(Vec::new(), |mark| mark.ran.clone()),
            },
            errors: &snapshot.errors,
        }
    }
}

fn search(mark: &Reachability) -> u64 {
    mark.finished.since(mark.started)
}

impl Entry {
    fn new(waiting: &Waiting, snapshot: &Snapshot, symbols: &dyn Symbolizer) -> Self {
        let goroutine: Option<&Goroutine> = snapshot
            .goroutines
            .iter()
            .find(|goroutine| goroutine.goid == waiting.goid);
        let wait = goroutine.and_then(|goroutine| goroutine.wait.as_ref());
        let kind = waiting.reason.map_or(WaitKind::Runtime, WaitReason::kind);
        Self {
            goid: waiting.goid,
            state: waiting.state,
            wait_reason: waiting.reason.map(|reason| reason.to_string()),
            waiting_seconds: wait
                .and_then(|wait| wait.since.get())
                .map(|since| seconds(snapshot.finished.since(since))),
            stands: stands_name(waiting.stands),
            verdict: verdict_of(waiting.stands),
            site: waiting.site.and_then(|pc| Site::of_user(&[pc], symbols)),
            created_at: goroutine
                .and_then(|goroutine| goroutine.created_at.get())
                .and_then(|pc| Site::of(pc, symbols)),
            created_by: goroutine.and_then(|goroutine| goroutine.parent.get()),
            waits_on: waiting
                .awaited
                .iter()
                .map(|awaited| On::new(kind, awaited, wait, snapshot, symbols))
                .collect(),
        }
    }
}

impl On {
    fn new(
        kind: WaitKind,
        awaited: &Awaited,
        wait: Option<&tracer_model::wait::Wait>,
        snapshot: &Snapshot,
        symbols: &dyn Symbolizer,
    ) -> Self {
        use tracer_model::wait::WaitObject;
        let (object, chan) = match (awaited.object, wait) {
            (WaitObject::Netpoll(_), Some(wait)) => (WaitingOn::wait(wait, snapshot), None),
            (WaitObject::Chan { chan, .. }, _) => {
                (WaitingOn::object(kind, awaited.object), Some(chan))
            }
            (object, _) => (WaitingOn::object(kind, object), None),
        };
        let channel = chan.and_then(|chan| snapshot.channels.iter().find(|it| it.addr == chan));
        Self {
            object,
            channel: channel.map(|channel| Channel {
                elem_type: channel.elem_type.to_string(),
                len: channel.len,
                cap: channel.cap,
                closed: channel.closed,
            }),
            others: awaited.others.clone(),
            others_total: awaited.others_total,
            held_by: awaited
                .references
                .iter()
                .map(|reference| Holder::new(reference, symbols))
                .collect(),
        }
    }
}

impl Holder {
    fn new(reference: &Reference, symbols: &dyn Symbolizer) -> Self {
        Self {
            goid: reference.goid,
            // The function itself, not those inlined in it: nothing tells whose variable it is.
            frame: reference
                .frame
                .and_then(|pc| symbols.frames(pc).last().map(Site::from)),
            slot: reference.slot.map(|slot| slot.to_string()),
            through: reference.through.iter().map(ToString::to_string).collect(),
        }
    }
}

/// As the JSON contract spells it.
fn stands_name(stands: Stands) -> &'static str {
    match stands {
        Stands::Stuck(_) => "stuck",
        Stands::OnPurpose => "idle on purpose",
        Stands::Alive(Alive::System) => "system",
        Stands::Alive(_) => "alive",
        Stands::Unknown => "unknown",
    }
}

const fn verdict_of(stands: Stands) -> Option<Verdict> {
    match stands {
        Stands::Stuck(verdict) => Some(verdict),
        Stands::OnPurpose | Stands::Alive(_) | Stands::Unknown => None,
    }
}
