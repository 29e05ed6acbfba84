//! Findings over time: when each was found, and what of it is news.
//!
//! A pass may miss what the one before found, by a reference that moved, and find it again. So a finding
//! is over only when it was missed for a while, and longer each time it comes back; and it is news again
//! only when it becomes surer or much larger.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, FindingId, Verdict};
use crate::ids::Ktime;

/// For how long a finding must be missed to be over, in nanoseconds; twice as long with each return.
const PATIENCE: u64 = 5_000_000_000;
/// At most so many times as long: some five minutes.
const MAX_PATIENCE: u64 = 64;
/// How many passes must miss it.
const MISSES: u32 = 2;
/// A finding that is so many times larger than when it was told is told again.
const LARGER: usize = 2;
/// Findings that are over and remembered for the case that they return.
const PAST: usize = 1024;

/// A finding and when it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    /// As found last.
    pub finding: Finding,
    /// The pass that found it first.
    pub first_seen: Ktime,
    /// The pass that found it last.
    pub last_seen: Ktime,
    /// Passes that found it.
    pub count: u64,
    /// How often it was over and came back.
    pub returns: u32,
}

/// What a pass changed that is news.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Found for the first time, or again after it was resolved.
    pub new: Vec<Tracked>,
    /// Found again, and surer or much larger than when it was told last.
    pub changed: Vec<Tracked>,
    /// Not found any more for some time.
    pub resolved: Vec<Tracked>,
}

impl Changes {
    /// Whether nothing is news.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.resolved.is_empty()
    }
}

/// The current findings. What is remembered of them can be kept with a recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FindingLog {
    current: BTreeMap<FindingId, Entry>,
    past: BTreeMap<FindingId, Tracked>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    tracked: Tracked,
    told_verdict: Verdict,
    told_size: usize,
    /// Passes in a row that did not find it.
    missed: u32,
}

impl FindingLog {
    /// An empty log.
    pub fn new() -> FindingLog {
        FindingLog::default()
    }

    /// Takes over what the pass at `at` found: all of it, so that what is missing can be resolved.
    pub fn update(&mut self, findings: Vec<Finding>, at: Ktime) -> Changes {
        let mut changes = Changes::default();
        for entry in self.current.values_mut() {
            entry.missed += 1;
        }
        for finding in findings {
            match self.current.get_mut(&finding.id) {
                Some(entry) => {
                    if entry.found(finding, at) {
                        changes.changed.push(entry.tracked.clone());
                    }
                }
                None => {
                    let entry = Entry::new(finding, at, &mut self.past);
                    changes.new.push(entry.tracked.clone());
                    self.current.insert(entry.tracked.finding.id.clone(), entry);
                }
            }
        }
        let over = |_: &FindingId, entry: &mut Entry| entry.is_over(at);
        for (id, entry) in self.current.extract_if(.., over) {
            changes.resolved.push(entry.tracked.clone());
            self.past.insert(id, entry.tracked);
        }
        while self.past.len() > PAST {
            let oldest = self.past.iter().min_by_key(|(_, past)| past.last_seen);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.past.remove(&oldest);
        }
        changes
    }

    /// What the last pass found, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.current
            .values()
            .filter(|entry| entry.missed == 0)
            .map(|entry| &entry.tracked)
    }

    /// One of them.
    pub fn get(&self, id: &FindingId) -> Option<&Tracked> {
        let entry = self.current.get(id)?;
        (entry.missed == 0).then_some(&entry.tracked)
    }
}

impl Entry {
    fn new(finding: Finding, at: Ktime, past: &mut BTreeMap<FindingId, Tracked>) -> Entry {
        let past = past.remove(&finding.id);
        Entry {
            told_verdict: finding.verdict,
            told_size: finding.goroutines.len(),
            missed: 0,
            tracked: Tracked {
                finding,
                first_seen: past.as_ref().map_or(at, |past| past.first_seen),
                last_seen: at,
                count: past.as_ref().map_or(0, |past| past.count) + 1,
                returns: past.map_or(0, |past| past.returns + 1),
            },
        }
    }

    /// It was found again. Tells whether that is news.
    fn found(&mut self, finding: Finding, at: Ktime) -> bool {
        let size = finding.goroutines.len();
        let surer = finding.verdict > self.told_verdict;
        let larger = size >= self.told_size.max(1) * LARGER && finding.verdict >= self.told_verdict;
        self.missed = 0;
        self.tracked.finding = finding;
        self.tracked.last_seen = at;
        self.tracked.count += 1;
        if surer || larger {
            self.told_verdict = self.tracked.finding.verdict;
            self.told_size = size;
        }
        surer || larger
    }

    fn is_over(&self, at: Ktime) -> bool {
        let times = 1u64
            .checked_shl(self.tracked.returns)
            .unwrap_or(MAX_PATIENCE);
        let patience = PATIENCE * times.min(MAX_PATIENCE);
        self.missed >= MISSES && at.since(self.tracked.last_seen) >= patience
    }
}
