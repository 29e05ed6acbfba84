//! `gotrace.findings/1`.

use serde::Serialize;
use tracer_model::detect::{Finding, FindingKind, Link, Verdict};
use tracer_model::ids::Goid;
use tracer_model::symbol::Symbolizer;

use super::{Site, SnapshotInfo, Target, WaitingOn};

/// The document's schema.
pub(crate) const SCHEMA: &str = "gotrace.findings/1";

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) schema: &'static str,
    pub(crate) target: &'a Target,
    /// How the last snapshot was taken; `null` if none was.
    pub(crate) snapshot: Option<SnapshotInfo>,
    pub(crate) findings: &'a [Entry],
    pub(crate) errors: &'a [String],
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
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
}

/// A goroutine, what it waits on, and who could end that.
#[derive(Clone, Debug, Serialize)]
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
