//! Findings over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingId};
use crate::ids::Ktime;

/// A finding and when it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// As found last.
    pub finding: Finding,
    /// The pass that found it first.
    pub first_seen: Ktime,
    /// The pass that found it last.
    pub last_seen: Ktime,
}

/// What a pass changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Found for the first time, or again after it was resolved.
    pub new: Vec<Tracked>,
    /// Found again, but not the same: the verdict, the goroutines or the chain.
    pub changed: Vec<Tracked>,
    /// No longer found.
    pub resolved: Vec<Tracked>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.resolved.is_empty()
    }
}

/// The current findings.
#[derive(Clone, Debug, Default)]
pub struct FindingLog {
    current: BTreeMap<FindingId, Tracked>,
}

impl FindingLog {
    /// An empty log.
    pub fn new() -> FindingLog {
        FindingLog::default()
    }

    /// Takes over what the pass at `at` found: all of it, so that what is missing is resolved.
    pub fn update(&mut self, findings: Vec<Finding>, at: Ktime) -> Changes {
        let mut before = std::mem::take(&mut self.current);
        let mut changes = Changes::default();
        for finding in findings {
            let id = finding.id.clone();
            let tracked = match before.remove(&id) {
                None => {
                    let tracked = Tracked {
                        finding,
                        first_seen: at,
                        last_seen: at,
                    };
                    changes.new.push(tracked.clone());
                    tracked
                }
                Some(old) => {
                    let same = is_same(&old.finding, &finding);
                    let tracked = Tracked {
                        finding,
                        first_seen: old.first_seen,
                        last_seen: at,
                    };
                    if !same {
                        changes.changed.push(tracked.clone());
                    }
                    tracked
                }
            };
            self.current.insert(id, tracked);
        }
        changes.resolved = before.into_values().collect();
        changes
    }

    /// The current findings, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Tracked> {
        self.current.values()
    }

    /// One of them.
    pub fn get(&self, id: &FindingId) -> Option<&Tracked> {
        self.current.get(id)
    }
}

/// Whether a person would call them the same. The wording of the evidence (times, addresses on the
/// way) changes with every pass.
fn is_same(old: &Finding, new: &Finding) -> bool {
    let Finding {
        id: _,
        kind,
        verdict,
        goroutines,
        unconfirmed,
        chain,
        caused_by,
        reason: _,
        evidence: _,
    } = new;
    (
        old.kind,
        old.verdict,
        &old.goroutines,
        &old.unconfirmed,
        &old.chain,
        &old.caused_by,
    ) == (*kind, *verdict, goroutines, unconfirmed, chain, caused_by)
}
