//! What is different between snapshots of programs that should be alike: one process before and after,
//! or the replicas of a service. Compared is by place in the code, never by address or id.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::detect::{Finding, Verdict};
use crate::ids::Pc;
use crate::snapshot::{Channel, Goroutine, Snapshot, State};
use crate::symbol::{Symbolizer, user_frame};
use crate::wait::WaitKind;

/// A place in the code. Different builds have other lines, so a line is part of it only where all sides
/// are of one build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The function; empty if none is known.
    pub function: String,
    /// File and line.
    pub line: Option<(String, u32)>,
}

/// What goroutines that are alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Kind {
    /// Where in the user's code they are.
    pub place: Place,
    /// The wait reason, or the state of those that do not wait.
    pub doing: String,
    /// The `go` statement.
    pub created_at: Place,
}

/// What channels that are alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ChannelKind {
    /// Type of the elements.
    pub elem_type: String,
    /// Capacity.
    pub cap: u64,
    /// Where in the user's code goroutines wait on them.
    pub waited_at: BTreeSet<Place>,
}

/// Channels that are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Channels {
    /// How many.
    pub count: u64,
    /// Of these, full ones with a buffer.
    pub full: u64,
    /// Values in their buffers.
    pub buffered: u64,
    /// Goroutines that wait on them.
    pub waiting: u64,
}

/// What a finding is about, whoever is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// [`crate::detect::FindingKind::name`].
    pub kind: &'static str,
    /// Where its goroutines are stuck.
    pub places: BTreeSet<Place>,
}

/// Goroutines in a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// In findings that are likely or proven.
    pub surely: u64,
    /// In all findings: one side may have been looked at for less long than another.
    pub perhaps: u64,
}

/// One side as numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Profile {
    /// User goroutines.
    pub goroutines: u64,
    /// The same by kind.
    #[serde(skip)]
    pub kinds: BTreeMap<Kind, u64>,
    /// Channels that somebody waits on.
    #[serde(skip)]
    pub channels: BTreeMap<ChannelKind, Channels>,
    /// What was found; `None` if nobody looked.
    #[serde(skip)]
    pub problems: Option<BTreeMap<Problem, Stuck>>,
    /// Share of the user goroutines that wait, by what they wait for.
    pub blocked: BTreeMap<WaitKind, f64>,
    /// Mean number of frames of their stacks.
    pub stack_depth: f64,
    /// Variance of that.
    pub stack_depth_variance: f64,
    /// Mean fill of the channels with a buffer that somebody waits on, 0 to 1.
    pub fill: f64,
    /// Goroutines created a second, where events told.
    pub created_per_second: Option<f64>,
    /// How many user goroutines more there were at the end of a time than at its beginning, where both were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<f64>,
    /// The same by kind, of the kinds of which there were more.
    #[serde(skip)]
    pub kinds_growth: BTreeMap<Kind, f64>,
}

impl Profile {
    /// Of a snapshot and of what was found in it. `lines`: whether lines are compared.
    pub fn new(
        snapshot: &Snapshot,
        findings: Option<&[Finding]>,
        symbols: &dyn Symbolizer,
        lines: bool,
    ) -> Profile {
        let spell = Spell { symbols, lines };
        let users = || {
            snapshot
                .goroutines
                .iter()
                .filter(|goroutine| !goroutine.system)
        };
        let mut profile = Profile {
            goroutines: users().count() as u64,
            ..Profile::default()
        };
        let all = (profile.goroutines as f64).max(1.0);
        let mut places = BTreeMap::new();
        let mut depths = Depths::default();
        for goroutine in users() {
            let stack = snapshot.stack(goroutine);
            depths.add(stack.len() as f64);
            let place = spell.user(stack);
            places.insert(goroutine.goid, place.clone());
            let kind = Kind {
                place,
                doing: doing(goroutine),
                created_at: spell.at(goroutine.created_at.get()),
            };
            *profile.kinds.entry(kind).or_insert(0) += 1;
            if let (State::Waiting, Some(wait)) = (goroutine.state, &goroutine.wait) {
                *profile.blocked.entry(wait.reason.kind()).or_insert(0.0) += 1.0 / all;
            }
        }
        (profile.stack_depth, profile.stack_depth_variance) = depths.mean_and_variance();
        let mut fills = Depths::default();
        for channel in &snapshot.channels {
            let waiters = || channel.send_waiting.iter().chain(&channel.recv_waiting);
            if waiters().next().is_none() {
                continue;
            }
            let waited = waiters().filter_map(|waiter| places.get(&waiter.goid).cloned());
            let kind = ChannelKind {
                elem_type: channel.elem_type.to_string(),
                cap: channel.cap,
                waited_at: waited.collect(),
            };
            let alike = profile.channels.entry(kind).or_default();
            alike.count += 1;
            alike.full += u64::from(is_full(channel));
            alike.buffered += channel.len;
            alike.waiting += waiters().count() as u64;
            if channel.cap > 0 {
                fills.add(channel.len as f64 / channel.cap as f64);
            }
        }
        profile.fill = fills.mean_and_variance().0;
        profile.problems = findings.map(|findings| {
            let mut problems: BTreeMap<Problem, Stuck> = BTreeMap::new();
            for finding in findings {
                let problem = Problem {
                    kind: finding.kind.name(),
                    places: finding
                        .chain
                        .iter()
                        .map(|link| link.site)
                        .chain([finding.created_at, finding.at])
                        .flatten()
                        .map(|pc| spell.at(Some(pc)))
                        .collect(),
                };
                let stuck = problems.entry(problem).or_default();
                let all = (finding.goroutines.len() + finding.unconfirmed.len()) as u64;
                stuck.perhaps += all;
                if finding.verdict >= Verdict::Likely {
                    stuck.surely += all;
                }
            }
            problems
        });
        profile
    }

    /// Takes in how much it grew since an earlier profile of the same process. `scale` makes numbers of sides that were
    /// seen for different times comparable: the time that is meant, divided by the time that it was.
    pub fn grew_since(&mut self, before: &Profile, scale: f64) {
        let more = |now: u64, then: u64| (now as f64 - then as f64) * scale;
        self.growth = Some(more(self.goroutines, before.goroutines));
        let kinds = self.kinds.iter().map(|(kind, &now)| {
            let then = before.kinds.get(kind).copied().unwrap_or(0);
            (kind.clone(), more(now, then))
        });
        self.kinds_growth = kinds.filter(|(_, more)| *more > 0.0).collect();
    }
}

fn doing(goroutine: &Goroutine) -> String {
    match (goroutine.state, &goroutine.wait) {
        (State::Waiting | State::Leaked, Some(wait)) => wait.reason.to_string(),
        // Which of these it is changes from moment to moment.
        (State::Running | State::Runnable | State::Preempted | State::Copystack, _) => {
            "running or runnable".to_owned()
        }
        (state, _) => state.to_string(),
    }
}

const fn is_full(channel: &Channel) -> bool {
    channel.cap > 0 && channel.len >= channel.cap
}

struct Spell<'a> {
    symbols: &'a dyn Symbolizer,
    lines: bool,
}

impl Spell<'_> {
    fn user(&self, stack: &[Pc]) -> Place {
        let frame = user_frame(stack, self.symbols)
            .or_else(|| self.symbols.frames(*stack.last()?).last().cloned());
        match frame {
            Some(frame) => self.place(&frame.function, &frame.file, frame.line),
            None => self.place("", "", 0),
        }
    }

    fn at(&self, pc: Option<Pc>) -> Place {
        let frames = pc.map(|pc| self.symbols.frames(pc));
        match frames.as_ref().and_then(|frames| frames.first()) {
            Some(frame) => self.place(&frame.function, &frame.file, frame.line),
            None => self.place("", "", 0),
        }
    }

    fn place(&self, function: &str, file: &str, line: u32) -> Place {
        Place {
            function: function.to_owned(),
            line: (self.lines && !function.is_empty()).then(|| (file.to_owned(), line)),
        }
    }
}

/// Numbers of which mean and variance are wanted.
#[derive(Default)]
struct Depths {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Depths {
    fn add(&mut self, number: f64) {
        self.count += 1.0;
        self.sum += number;
        self.squares += number * number;
    }

    fn mean_and_variance(&self) -> (f64, f64) {
        if self.count == 0.0 {
            return (0.0, 0.0);
        }
        let mean = self.sum / self.count;
        (mean, (self.squares / self.count - mean * mean).max(0.0))
    }
}

/// What a difference must be at least to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// So many goroutines or channels more,
    pub least: u64,
    /// and so many times as many.
    pub factor: f64,
    /// So much more of all goroutines blocked, or of all buffers full; 0 to 1.
    pub share: f64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            least: 10,
            factor: 2.0,
            share: 0.2,
        }
    }
}

/// What a difference is a sign of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Goroutines are stuck that were not, or more of them.
    Finding,
    /// There are many more goroutines of a kind.
    Goroutines,
    /// Goroutines of a kind became many more in the same time.
    Growth,
    /// There are many more channels of a kind, or values or goroutines in them.
    Channels,
    /// A larger share of the goroutines is blocked.
    Blocked,
    /// Stacks are of more different depths.
    Depth,
    /// Stacks are deeper in the mean.
    Stack,
    /// Buffers are fuller.
    Fill,
    /// More goroutines are created a second.
    Rate,
}

/// A difference that counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// A sign of what.
    pub signal: Signal,
    /// What it is about: a kind of goroutines or channels, a problem, a wait kind.
    pub about: About,
    /// The number that is compared with: before, or the middle of the other sides.
    pub usual: f64,
    /// The number here.
    pub here: f64,
}

/// What a difference is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// A finding.
    Problem(Problem),
    /// Goroutines of a kind.
    Goroutines(Kind),
    /// Channels of a kind.
    Channels(ChannelKind),
    /// What is waited for.
    Blocked(WaitKind),
    /// All.
    All,
}

/// Every number of a profile that is compared. What is stuck counts `here` if that is sure, and in what
/// it is compared with in any case.
fn numbers(profile: &Profile, here: bool) -> BTreeMap<(Signal, About), f64> {
    let mut numbers = BTreeMap::new();
    for (problem, stuck) in profile.problems.iter().flatten() {
        let count = if here { stuck.surely } else { stuck.perhaps };
        numbers.insert(
            (Signal::Finding, About::Problem(problem.clone())),
            count as f64,
        );
    }
    for (kind, &count) in &profile.kinds {
        numbers.insert(
            (Signal::Goroutines, About::Goroutines(kind.clone())),
            count as f64,
        );
    }
    for (kind, &more) in &profile.kinds_growth {
        numbers.insert((Signal::Growth, About::Goroutines(kind.clone())), more);
    }
    for (kind, channels) in &profile.channels {
        let most = channels.count.max(channels.waiting).max(channels.buffered);
        numbers.insert(
            (Signal::Channels, About::Channels(kind.clone())),
            most as f64,
        );
    }
    for (&kind, &share) in &profile.blocked {
        if kind.ends_only_by_goroutine() {
            numbers.insert((Signal::Blocked, About::Blocked(kind)), share);
        }
    }
    numbers.insert(
        (Signal::Depth, About::All),
        profile.stack_depth_variance.sqrt(),
    );
    numbers.insert((Signal::Stack, About::All), profile.stack_depth);
    numbers.insert((Signal::Fill, About::All), profile.fill);
    if let Some(rate) = profile.created_per_second {
        numbers.insert((Signal::Rate, About::All), rate);
    }
    numbers
}

impl Thresholds {
    fn counts(&self, signal: Signal, usual: f64, here: f64) -> bool {
        match signal {
            Signal::Finding => here > usual && (usual == 0.0 || here >= usual * self.factor),
            Signal::Goroutines | Signal::Growth | Signal::Channels | Signal::Rate => {
                here - usual >= self.least as f64 && here >= usual * self.factor
            }
            Signal::Blocked | Signal::Fill => here - usual >= self.share,
            Signal::Depth | Signal::Stack => here - usual >= 1.0 && here >= usual * self.factor,
        }
    }
}

/// What grew from one profile to another, the surest sign first, then the largest.
pub fn grown(before: &Profile, after: &Profile, thresholds: &Thresholds) -> Vec<Difference> {
    against(&[before], after, thresholds)
}

/// What there is more of here than in the middle of the others.
fn against(others: &[&Profile], here: &Profile, thresholds: &Thresholds) -> Vec<Difference> {
    let known: Vec<_> = others
        .iter()
        .map(|profile| (profile, numbers(profile, false)))
        .collect();
    let mut found: Vec<Difference> = numbers(here, true)
        .into_iter()
        .filter_map(|(key, here)| {
            // Who was not searched for who is stuck, or not traced, says nothing of it.
            let says = |profile: &Profile| match key.0 {
                Signal::Finding => profile.problems.is_some(),
                Signal::Rate => profile.created_per_second.is_some(),
                Signal::Growth => profile.growth.is_some(),
                _ => true,
            };
            let usual = median(
                known
                    .iter()
                    .filter(|(profile, _)| says(profile))
                    .map(|(_, numbers)| numbers.get(&key).copied().unwrap_or(0.0)),
            )?;
            let (signal, about) = key;
            thresholds
                .counts(signal, usual, here)
                .then_some(Difference {
                    signal,
                    about,
                    usual,
                    here,
                })
        })
        .collect();
    found.sort_by(|a, b| {
        let excess = |it: &Difference| it.here - it.usual;
        a.signal
            .cmp(&b.signal)
            .then(excess(b).partial_cmp(&excess(a)).unwrap_or(Ordering::Equal))
    });
    found
}

/// `None` of nothing.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(numbers[odd / 2]),
        even => Some(f64::midpoint(numbers[even / 2 - 1], numbers[even / 2])),
    }
}

/// Which side is unlike the others, and by what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlier {
    /// Index of the side.
    pub side: usize,
    /// What it has more of than the others, the surest sign first.
    pub differences: Vec<Difference>,
}

/// Every side that is unlike the others, the most unlike first: by its surest sign, then by how many
/// goroutines, channels and the like it has too many. For three sides and more.
pub fn outliers(sides: &[&Profile], thresholds: &Thresholds) -> Vec<Outlier> {
    let mut outliers: Vec<Outlier> = (0..sides.len())
        .map(|side| {
            let others: Vec<&Profile> = (0..sides.len())
                .filter(|other| *other != side)
                .map(|other| sides[other])
                .collect();
            Outlier {
                side,
                differences: against(&others, sides[side], thresholds),
            }
        })
        .filter(|outlier| !outlier.differences.is_empty())
        .collect();
    outliers.sort_by(|a, b| {
        let surest = |it: &Outlier| it.differences.first().map(|first| first.signal);
        let excess = |it: &Outlier| {
            it.differences
                .iter()
                .map(|it| it.here - it.usual)
                .sum::<f64>()
        };
        surest(a)
            .cmp(&surest(b))
            .then(excess(b).partial_cmp(&excess(a)).unwrap_or(Ordering::Equal))
    });
    outliers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str) -> Place {
        Place {
            function: function.to_owned(),
            line: None,
        }
    }

    fn profile(counts: &[(&str, u64)], problems: &[(&str, u64)]) -> Profile {
        let kind = |function: &str| Kind {
            place: place(function),
            doing: "chan send".to_owned(),
            created_at: place("main.main"),
        };
        let stuck = |count| Stuck {
            surely: count,
            perhaps: count,
        };
        let problem = |function: &str| Problem {
            kind: "leak",
            places: [place(function)].into(),
        };
        Profile {
            goroutines: counts.iter().map(|(_, count)| count).sum(),
            kinds: counts
                .iter()
                .map(|(name, count)| (kind(name), *count))
                .collect(),
            problems: Some(
                problems
                    .iter()
                    .map(|(name, count)| (problem(name), stuck(*count)))
                    .collect(),
            ),
            ..Profile::default()
        }
    }

    fn names(differences: &[Difference]) -> Vec<(Signal, String)> {
        let name = |about: &About| match about {
            About::Goroutines(kind) => kind.place.function.clone(),
            About::Problem(problem) => problem
                .places
                .first()
                .map_or(String::new(), |place| place.function.clone()),
            _ => String::new(),
        };
        differences
            .iter()
            .map(|it| (it.signal, name(&it.about)))
            .collect()
    }

    #[test]
    fn what_grew_counts_from_a_size_and_a_factor_on() {
        let before = profile(&[("a", 1), ("b", 100), ("c", 30)], &[("x", 2)]);
        for (after, expected) in [
            (before.clone(), vec![]),
            (profile(&[("a", 10), ("b", 190)], &[("x", 3)]), vec![]),
            (profile(&[("a", 11)], &[]), vec![(Signal::Goroutines, "a")]),
            (
                profile(&[("d", 10), ("b", 200)], &[("y", 1)]),
                vec![
                    (Signal::Finding, "y"),
                    (Signal::Goroutines, "b"),
                    (Signal::Goroutines, "d"),
                ],
            ),
        ] {
            let found = grown(&before, &after, &Thresholds::default());
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(signal, name)| (signal, name.to_owned()))
                .collect();
            assert_eq!(names(&found), expected);
        }
    }

    #[test]
    fn what_grows_faster_is_named_with_the_place() {
        let seen = |then: u64, now: u64, scale: f64| {
            let mut profile = profile(&[("a", now), ("b", 5)], &[]);
            profile.grew_since(&self::profile(&[("a", then), ("b", 7)], &[]), scale);
            profile
        };
        // All are large; one became larger, in twice the time that is meant.
        let sides = [
            seen(100, 100, 1.0),
            seen(60, 100, 0.5),
            seen(100, 101, 1.0),
            // Nobody saw whether it grew.
            profile(&[("a", 100), ("b", 5)], &[]),
        ];
        assert_eq!(sides[1].growth, Some(19.0));
        let found = outliers(&sides.each_ref(), &Thresholds::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].side, 1);
        assert_eq!(
            names(&found[0].differences),
            [(Signal::Growth, "a".to_owned())]
        );
        let growth = &found[0].differences[0];
        assert_eq!((growth.usual, growth.here), (0.5, 20.0));
    }

    #[test]
    fn deeper_stacks_are_told() {
        let deep = |depth: f64| Profile {
            stack_depth: depth,
            ..profile(&[("a", 5)], &[])
        };
        let sides = [deep(4.0), deep(9.0), deep(4.5)];
        let found = outliers(&sides.each_ref(), &Thresholds::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].side, &found[0].differences[0].signal),
            (1, &Signal::Stack)
        );
    }

    #[test]
    fn the_one_that_is_unlike_the_others_is_first() {
        let fine = profile(&[("a", 20), ("b", 5)], &[]);
        let busy = profile(&[("a", 45), ("b", 5)], &[]);
        let leaky = profile(&[("a", 20), ("b", 18)], &[("b", 12)]);
        let sides = [fine.clone(), busy, leaky, fine.clone()];
        let found = outliers(&sides.each_ref(), &Thresholds::default());
        let order: Vec<usize> = found.iter().map(|outlier| outlier.side).collect();
        assert_eq!(order, [2, 1]);
        assert_eq!(
            names(&found[0].differences),
            [
                (Signal::Finding, "b".to_owned()),
                (Signal::Goroutines, "b".to_owned())
            ]
        );
        assert!(outliers(&[&fine, &fine, &fine], &Thresholds::default()).is_empty());
    }
}
