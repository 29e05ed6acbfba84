//! `gotrace.findings/1`.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_model::detect::{self, Finding, FindingKind, Link, Tracked, Verdict};
use tracer_model::ids::Goid;
use tracer_model::symbol::Symbolizer;

use super::{Site, SnapshotInfo, Target, WaitingOn, WallClock, seconds};

/// The document's schema.
pub(crate) const SCHEMA: &str = "gotrace.findings/1";

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Findings")]
pub(crate) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    pub(crate) schema: &'static str,
    pub(crate) target: &'a Target,
    /// How the last snapshot was taken; `null` if none was.
    pub(crate) snapshot: Option<SnapshotInfo>,
    pub(crate) findings: &'a [Entry],
    pub(crate) errors: &'a [String],
}

/// One finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) kind: FindingKind,
    pub(crate) verdict: Verdict,
    pub(crate) goroutines: Vec<Goid>,
    /// Goroutines stuck in the same way of which the verdict is not that sure yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unconfirmed: Vec<Goid>,
    /// The deadlock that a leak's goroutines wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caused_by: Option<String>,
    pub(crate) chain: Vec<ChainLink>,
    pub(crate) reason: String,
    pub(crate) evidence: Vec<String>,
    /// What usually ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
    /// The `go` statement of the goroutines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<Site>,
    /// Where it happened, of what is not about a wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Site>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trend: Option<Trend>,
    /// When it was found, where that was done more than once.
    #[serde(flatten)]
    pub(crate) seen: Option<Seen>,
}

/// What was measured over a window of time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Trend {
    window_seconds: f64,
    looks: u32,
    first: u64,
    last: u64,
    /// How fast it grows, with the interval of 95 %; `null` of what does not grow but stays.
    per_second: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    /// The probability that chance alone would look so.
    chance: Option<f64>,
    /// Of a backlog: who receives from the channel, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<Goid>,
}

impl From<&detect::Trend> for Trend {
    fn from(trend: &detect::Trend) -> Self {
        Self {
            window_seconds: seconds(trend.window),
            looks: trend.looks,
            first: trend.first,
            last: trend.last,
            per_second: trend.slope.map(|slope| slope.per_second),
            low: trend.slope.map(|slope| slope.low),
            high: trend.slope.map(|slope| slope.high),
            chance: trend.chance,
            served_by: trend.served_by,
        }
    }
}

/// When a finding was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Seen {
    first_seen: String,
    last_seen: String,
    /// By how many looks.
    count: u64,
    /// How often it was over and came back.
    returns: u32,
}

/// A goroutine, what it waits on, and who could end that.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ChainLink {
    pub(crate) goid: Goid,
    pub(crate) waits_on: WaitingOn,
    pub(crate) held_by: Vec<Goid>,
    pub(crate) site: Option<Site>,
}

impl Entry {
    pub(crate) fn new(finding: &Finding, symbols: &dyn Symbolizer) -> Self {
        Self {
            id: finding.id.to_string(),
            kind: finding.kind,
            verdict: finding.verdict,
            goroutines: finding.goroutines.clone(),
            unconfirmed: finding.unconfirmed.clone(),
            caused_by: finding.caused_by.as_ref().map(ToString::to_string),
            chain: finding
                .chain
                .iter()
                .map(|link| chain_link(link, symbols))
                .collect(),
            reason: finding.reason.clone(),
            evidence: finding.evidence.clone(),
            advice: finding.advice.clone(),
            created_at: finding
                .created_at
                .and_then(|pc| Site::of_user(&[pc], symbols)),
            at: finding.at.and_then(|pc| Site::of_user(&[pc], symbols)),
            trend: finding.trend.as_ref().map(Trend::from),
            seen: None,
        }
    }

    /// The same with when it was found.
    pub(crate) fn of_tracked(
        tracked: &Tracked,
        symbols: &dyn Symbolizer,
        clock: WallClock,
    ) -> Self {
        Self {
            seen: Some(Seen {
                first_seen: clock.rfc3339(tracked.first_seen),
                last_seen: clock.rfc3339(tracked.last_seen),
                count: tracked.count,
                returns: tracked.returns,
            }),
            ..Self::new(&tracked.finding, symbols)
        }
    }

    /// Whether it decides the exit code: a deadlock or leak that is proven.
    pub(crate) fn is_certain(&self) -> bool {
        self.verdict == Verdict::Proven
    }
}

fn chain_link(link: &Link, symbols: &dyn Symbolizer) -> ChainLink {
    ChainLink {
        goid: link.goid,
        waits_on: WaitingOn::of(link.reason.kind(), link.waits_on),
        held_by: link.held_by.clone(),
        site: link.site.and_then(|pc| Site::of_user(&[pc], symbols)),
    }
}
