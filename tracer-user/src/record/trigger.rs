//! When the last seconds are worth keeping: told by what is said of the target.

use std::collections::HashMap;
use std::time::Duration;

use tracer_model::ids::Ktime;

use super::threshold::Threshold;
use crate::trace::story::Output;

/// What is watched for beside findings, which always count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    /// So many user goroutines.
    pub(crate) goroutines: Option<usize>,
    /// So many user goroutines more a second, from one summary to the next.
    pub(crate) growth: Option<f64>,
    /// A channel with a buffer stays full for so long.
    pub(crate) full: Option<Duration>,
    /// Numbers of a summary.
    pub(crate) metrics: Vec<Threshold>,
}

/// Why the last seconds are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Finding,
    Goroutines,
    Growth,
    Full,
    Metric,
    /// Somebody asked.
    Asked,
}

impl Reason {
    /// A word for the file's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::Finding => "finding",
            Reason::Goroutines => "goroutines",
            Reason::Growth => "growth",
            Reason::Full => "full",
            Reason::Metric => "metric",
            Reason::Asked => "asked",
        }
    }
}

/// Watches what is said. Each condition counts once until it was not fulfilled for a summary.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    conditions: Conditions,
    findings: Vec<String>,
    last: Option<(Ktime, usize)>,
    many: bool,
    growing: bool,
    /// Which of the metrics are beyond their limits.
    beyond: Vec<bool>,
    /// Since when a channel is full, and whether that has counted.
    full: HashMap<u32, (Ktime, bool)>,
}

impl Triggers {
    pub(crate) fn new(conditions: Conditions) -> Triggers {
        Triggers {
            conditions,
            ..Triggers::default()
        }
    }

    /// Takes in what is said at a time; tells whether it is a reason.
    pub(crate) fn hear(&mut self, output: &Output, at: Ktime) -> Option<Reason> {
        match output {
            Output::Finding(finding)
                if finding.is_certain() && !self.findings.contains(&finding.id) =>
            {
                self.findings.push(finding.id.clone());
                Some(Reason::Finding)
            }
            Output::Resolved(id) => {
                self.findings.retain(|known| known != id);
                None
            }
            Output::Summary(summary) => {
                let total = summary.goroutines.total;
                let many = self.conditions.goroutines.is_some_and(|most| total >= most);
                let growing = match (self.conditions.growth, self.last) {
                    (Some(most), Some((before, was))) => {
                        let seconds = at.since(before) as f64 / 1e9;
                        seconds > 0.0 && (total as f64 - was as f64) / seconds >= most
                    }
                    _ => false,
                };
                self.last = Some((at, total));
                let mut reason = None;
                if growing && !self.growing {
                    reason = Some(Reason::Growth);
                }
                if many && !self.many {
                    reason = Some(Reason::Goroutines);
                }
                (self.many, self.growing) = (many, growing);
                if self.metrics(summary) {
                    reason = reason.or(Some(Reason::Metric));
                }
                self.full_channels(summary, at).or(reason)
            }
            _ => None,
        }
    }

    /// Whether a metric is beyond its limit that was not before.
    fn metrics(&mut self, summary: &crate::document::run::Summary) -> bool {
        if self.conditions.metrics.is_empty() {
            return false;
        }
        let document = serde_json::to_value(summary).unwrap_or_default();
        let metrics = self.conditions.metrics.iter();
        let beyond: Vec<bool> = metrics.map(|metric| metric.is_met(&document)).collect();
        let was = |index: usize| self.beyond.get(index).copied().unwrap_or(false);
        let news = (0..).zip(&beyond).any(|(index, is)| *is && !was(index));
        self.beyond = beyond;
        news
    }

    fn full_channels(
        &mut self,
        summary: &crate::document::run::Summary,
        at: Ktime,
    ) -> Option<Reason> {
        let most = u64::try_from(self.conditions.full?.as_nanos()).unwrap_or(u64::MAX);
        let is_full = |channel: &&crate::document::run::Channel| {
            channel.len.is_some() && channel.len == channel.cap
        };
        let full: Vec<u32> = summary
            .fullest
            .iter()
            .filter(is_full)
            .map(|it| it.id)
            .collect();
        self.full.retain(|id, _| full.contains(id));
        let mut reason = None;
        for id in full {
            let (since, counted) = self.full.entry(id).or_insert((at, false));
            if !*counted && at.since(*since) >= most {
                *counted = true;
                reason = Some(Reason::Full);
            }
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::run::{Channel, Summary};

    const SECOND: u64 = 1_000_000_000;

    /// A summary of so many goroutines, and a channel that is so full of four.
    fn summary(goroutines: usize, len: u64) -> Output {
        let mut summary = Summary::default();
        summary.goroutines.total = goroutines;
        summary.fullest = vec![Channel {
            id: 3,
            len: Some(len),
            cap: Some(4),
            ..Channel::default()
        }];
        Output::Summary(Box::new(summary))
    }

    #[test]
    fn each_condition_counts_once_while_it_lasts() {
        let none = Conditions::default();
        let many = Conditions {
            goroutines: Some(100),
            ..none.clone()
        };
        let growth = Conditions {
            growth: Some(50.0),
            ..none.clone()
        };
        let full = Conditions {
            full: Some(Duration::from_secs(2)),
            ..none.clone()
        };
        let metrics = Conditions {
            metrics: ["goroutines.total>50", "goroutines.total<5"]
                .map(|text| text.parse().expect("valid"))
                .to_vec(),
            ..none.clone()
        };
        for (conditions, said, expected) in [
            (
                none,
                &[(1000, 4), (5000, 4), (9000, 4), (9000, 4)][..],
                &[None; 4][..],
            ),
            (
                many,
                &[(99, 0), (100, 0), (200, 0), (9, 0), (100, 0)],
                &[
                    None,
                    Some(Reason::Goroutines),
                    None,
                    None,
                    Some(Reason::Goroutines),
                ],
            ),
            (
                growth,
                &[(10, 0), (59, 0), (109, 0), (209, 0), (209, 0), (300, 0)],
                &[
                    None,
                    None,
                    Some(Reason::Growth),
                    None,
                    None,
                    Some(Reason::Growth),
                ],
            ),
            (
                metrics,
                &[(50, 0), (51, 0), (90, 0), (4, 0), (3, 0), (51, 0)],
                &[
                    None,
                    Some(Reason::Metric),
                    None,
                    Some(Reason::Metric),
                    None,
                    Some(Reason::Metric),
                ],
            ),
            (
                full,
                &[
                    (1, 4),
                    (1, 4),
                    (1, 4),
                    (1, 4),
                    (1, 3),
                    (1, 4),
                    (1, 4),
                    (1, 4),
                ],
                &[
                    None,
                    None,
                    Some(Reason::Full),
                    None,
                    None,
                    None,
                    None,
                    Some(Reason::Full),
                ],
            ),
        ] {
            let mut triggers = Triggers::new(conditions.clone());
            let heard: Vec<Option<Reason>> = (1..)
                .zip(said)
                .map(|(second, (goroutines, len))| {
                    triggers.hear(&summary(*goroutines, *len), Ktime(second * SECOND))
                })
                .collect();
            assert_eq!(heard, expected, "{conditions:?}");
        }
    }
}
