//! What all runs with one Go version come to, and what it must come to.

use std::fmt;
use std::time::Duration;

use super::case::{Case, Judged, Run, Verdict};

/// How many of the stuck goroutines must be found at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recall {
    /// Of a hundred that the runtime's profile sees, how many must be proven.
    seen: f64,
    /// Of a hundred that it cannot see, how many must be proven or likely.
    unseen: f64,
}

impl Recall {
    /// Over many runs.
    pub(super) const OF_MANY: Recall = Recall {
        seen: 98.0,
        unseen: 80.0,
    };
    /// In one run, in which a few may be missed by chance.
    pub(super) const OF_ONE: Recall = Recall {
        seen: 94.0,
        unseen: 70.0,
    };
}

/// All runs with one version.
pub(super) struct Column {
    pub(super) version: String,
    pub(super) cases: Vec<Case>,
    /// By case.
    pub(super) runs: Vec<Vec<Run>>,
}

/// Goroutines by what was said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) proven: usize,
    pub(super) likely: usize,
    pub(super) suspect: usize,
    pub(super) nothing: usize,
}

impl Verdicts {
    pub(super) fn of<'a>(goroutines: impl Iterator<Item = &'a Judged>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for goroutine in goroutines {
            *match goroutine.verdict {
                Some(Verdict::Proven) => &mut verdicts.proven,
                Some(Verdict::Likely) => &mut verdicts.likely,
                Some(Verdict::Suspect) => &mut verdicts.suspect,
                None => &mut verdicts.nothing,
            } += 1;
        }
        verdicts
    }

    pub(super) fn all(self) -> usize {
        self.proven + self.likely + self.suspect + self.nothing
    }
}

/// A part of a whole, in percent; all of nothing is all.
pub(super) struct Share(pub(super) usize, pub(super) usize);

impl Share {
    fn percent(&self) -> f64 {
        match self.1 {
            0 => 100.0,
            whole => self.0 as f64 * 100.0 / whole as f64,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.percent())
    }
}

/// The totals of a column.
pub(super) struct Totals {
    pub(super) healthy: Verdicts,
    /// Stuck, and the runtime's profile sees it: as it said, or where there is none, as the case says.
    pub(super) seen: Verdicts,
    /// Stuck, and it cannot see it.
    pub(super) unseen: Verdicts,
    /// Goroutines of which the profile says something else than the case.
    pub(super) contradicted: Vec<String>,
}

impl Totals {
    pub(super) fn seen_share(&self) -> Share {
        Share(self.seen.proven, self.seen.all())
    }

    pub(super) fn unseen_share(&self) -> Share {
        Share(self.unseen.proven + self.unseen.likely, self.unseen.all())
    }
}

impl Column {
    pub(super) fn new(version: String, cases: Vec<Case>, runs: Vec<Vec<Run>>) -> Column {
        Column {
            version,
            cases,
            runs,
        }
    }

    /// The goroutines of a case in all its runs.
    pub(super) fn goroutines(&self, case: usize) -> impl Iterator<Item = &Judged> {
        self.runs[case].iter().flat_map(|run| &run.goroutines)
    }

    /// Whether the runtime had an opinion.
    pub(super) fn has_profile(&self) -> bool {
        let mut all = self.runs.iter().flatten().flat_map(|run| &run.goroutines);
        all.any(|goroutine| goroutine.profile.is_some())
    }

    /// The middle one of the times of all runs of a case.
    pub(super) fn time(&self, case: usize) -> Duration {
        let mut times: Vec<Duration> = self.runs[case].iter().map(|run| run.time).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    pub(super) fn totals(&self) -> Totals {
        let all = || (0..self.cases.len()).flat_map(|case| self.goroutines(case));
        let mut contradicted: Vec<String> = (0..self.cases.len())
            .flat_map(|case| {
                let name = &self.cases[case].name;
                self.goroutines(case)
                    .filter(|goroutine| contradicts(goroutine))
                    .map(move |goroutine| format!("{name}: {}", goroutine.role))
            })
            .collect();
        contradicted.sort();
        contradicted.dedup();
        Totals {
            healthy: Verdicts::of(all().filter(|goroutine| !goroutine.stuck)),
            seen: Verdicts::of(all().filter(|goroutine| goroutine.stuck && is_seen(goroutine))),
            unseen: Verdicts::of(all().filter(|goroutine| goroutine.stuck && !is_seen(goroutine))),
            contradicted,
        }
    }

    /// What of it must not be, a line each.
    pub(super) fn problems(&self, least: Recall) -> Vec<String> {
        let totals = self.totals();
        let go = format!("Go {}", self.version);
        let mut problems = Vec::new();
        for (case, of) in self.cases.iter().enumerate() {
            for goroutine in self.goroutines(case) {
                if !goroutine.stuck && goroutine.verdict >= Some(Verdict::Likely) {
                    let name = &of.name;
                    let role = &goroutine.role;
                    problems.push(format!(
                        "{go}: {name}: `{role}` is healthy and was called stuck"
                    ));
                }
                if !goroutine.stuck && contradicts(goroutine) {
                    let name = &of.name;
                    let role = &goroutine.role;
                    problems.push(format!(
                        "{go}: {name}: `{role}` is leaked, says the profile"
                    ));
                }
            }
        }
        problems.dedup();
        for (share, least, whom) in [
            (
                totals.seen_share(),
                least.seen,
                "seen by the profile are proven",
            ),
            (
                totals.unseen_share(),
                least.unseen,
                "unseen by it are proven or likely",
            ),
        ] {
            if share.percent() < least {
                problems.push(format!(
                    "{go}: of the stuck goroutines {share} {whom}, not {least} %"
                ));
            }
        }
        problems
    }
}

/// Whether the runtime's profile sees that a stuck goroutine is.
fn is_seen(goroutine: &Judged) -> bool {
    goroutine.profile.unwrap_or(goroutine.blind.is_none())
}

/// Whether the profile says something else than the case.
fn contradicts(goroutine: &Judged) -> bool {
    let expected = goroutine.stuck && goroutine.blind.is_none();
    // What waits for ever on purpose, a profile may call leaked.
    let either = !goroutine.stuck && goroutine.blind.is_some();
    !either && goroutine.profile.is_some_and(|profile| profile != expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stuck: bool, blind: bool, verdict: Option<Verdict>, profile: Option<bool>) -> Judged {
        Judged {
            role: "role".to_owned(),
            stuck,
            blind: blind.then(|| "global".to_owned()),
            verdict,
            profile,
        }
    }

    fn column(goroutines: Vec<Judged>) -> Column {
        let case = Case {
            name: "case".to_owned(),
            class: "class".to_owned(),
        };
        let run = Run {
            goroutines,
            time: Duration::ZERO,
        };
        Column::new("1.27.3".to_owned(), vec![case], vec![vec![run]])
    }

    #[test]
    fn a_false_alarm_is_a_problem_and_a_suspicion_is_none() {
        let said = |verdict| {
            let goroutine = judged(false, false, Some(verdict), None);
            column(vec![goroutine]).problems(Recall::OF_MANY)
        };
        assert_eq!(said(Verdict::Suspect), Vec::<String>::new());
        assert_eq!(
            said(Verdict::Likely),
            ["Go 1.27.3: case: `role` is healthy and was called stuck"]
        );
        assert_eq!(said(Verdict::Proven), said(Verdict::Likely));
    }

    #[test]
    fn what_the_profile_sees_must_be_proven_and_the_rest_likely() {
        let column = column(vec![
            judged(true, false, Some(Verdict::Likely), Some(true)),
            judged(true, true, Some(Verdict::Likely), Some(false)),
        ]);
        assert_eq!(
            column.problems(Recall::OF_MANY),
            ["Go 1.27.3: of the stuck goroutines 0.0 % seen by the profile are proven, not 98 %"]
        );
        assert_eq!(column.totals().unseen_share().percent(), 100.0);
    }

    #[test]
    fn a_profile_that_says_otherwise_is_told() {
        let column = column(vec![
            judged(true, true, Some(Verdict::Proven), Some(true)),
            judged(true, true, Some(Verdict::Proven), None),
        ]);
        assert_eq!(column.totals().contradicted, ["case: role"]);
    }
}
