//! What `gotrace leaks` adds to `gotrace.findings/1`: where goroutines are stuck, and of a command how it
//! went.

use std::collections::BTreeMap;

use serde::Serialize;
use tracer_model::detect::{Finding, Verdict};
use tracer_model::ids::{Goid, Pc};
use tracer_model::snapshot::{Goroutine, Snapshot};
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitReason;

use super::{Site, findings};

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    #[serde(flatten)]
    pub(crate) findings: findings::Document<'a>,
    pub(crate) sites: &'a [Place],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<&'a Command>,
}

/// A place where goroutines are stuck.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    /// Where in the user's code they wait, if that is known.
    pub(crate) site: Option<Site>,
    pub(crate) wait_reason: String,
    /// Where they were started.
    pub(crate) created_at: Option<Site>,
    /// How sure of the surest of them.
    pub(crate) verdict: Verdict,
    pub(crate) count: usize,
    pub(crate) goroutines: Vec<Goid>,
    /// The ids of the findings that they are part of.
    pub(crate) findings: Vec<String>,
}

/// How a command went that gotrace started.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Command {
    /// It and its arguments.
    pub(crate) command: Vec<String>,
    /// Why looking ended: `command ended`, `duration` or `interrupted`.
    pub(crate) ended: &'static str,
    /// Its exit code; `null` if a signal ended it.
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// How long it ran.
    pub(crate) seconds: f64,
    /// How many looks were complete.
    pub(crate) looks: u64,
    /// From the end of the last complete look to the end; `null` without one.
    pub(crate) unseen_seconds: Option<f64>,
}

/// Groups the goroutines of findings by where they are stuck: the surest first, then the largest.
pub(crate) fn places(
    findings: &[Finding],
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
) -> Vec<Place> {
    let goroutines: BTreeMap<Goid, &Goroutine> = snapshot
        .goroutines
        .iter()
        .map(|goroutine| (goroutine.goid, goroutine))
        .collect();
    type Key = (Option<(String, String, u32)>, WaitReason, Option<Pc>);
    let mut places: BTreeMap<Key, Place> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.kind.is_of_stuck()) {
        let sure = finding
            .goroutines
            .iter()
            .map(|goid| (goid, finding.verdict));
        // Of the others it is known only that they are less sure.
        let less = match finding.verdict {
            Verdict::Proven => Verdict::Likely,
            Verdict::Likely | Verdict::Suspect => Verdict::Suspect,
        };
        let unsure = finding.unconfirmed.iter().map(|goid| (goid, less));
        for (goid, verdict) in sure.chain(unsure) {
            let Some(goroutine) = goroutines.get(goid) else {
                continue;
            };
            let site = Site::of_user(snapshot.stack(goroutine), symbols);
            let reason = goroutine
                .wait
                .as_ref()
                .map_or(WaitReason::None, |wait| wait.reason);
            let of = site
                .as_ref()
                .map(|site| (site.function.clone(), site.file.clone(), site.line));
            let place = places
                .entry((of, reason, goroutine.created_at.get()))
                .or_insert_with(|| Place {
                    site,
                    wait_reason: reason.to_string(),
                    created_at: goroutine
                        .created_at
                        .get()
                        .and_then(|pc| Site::of(pc, symbols)),
                    verdict,
                    count: 0,
                    goroutines: Vec::new(),
                    findings: Vec::new(),
                });
            place.verdict = place.verdict.max(verdict);
            place.count += 1;
            place.goroutines.push(*goid);
            let id = finding.id.to_string();
            if place.findings.last() != Some(&id) {
                place.findings.push(id);
            }
        }
    }
    let mut places: Vec<Place> = places.into_values().collect();
    for place in &mut places {
        place.goroutines.sort_unstable();
    }
    places.sort_by(|a, b| {
        let surest = b.verdict.cmp(&a.verdict);
        surest.then(b.count.cmp(&a.count))
    });
    places
}
