//! Decides what is traced so that the probes take no more from the target than the budget allows.
//! Pure: it is told times, hits and CPU time, and answers with a [`Plan`].
//!
//! **The account.** What the probes take is hits, as the kernel counts them, times the calibrated cost
//! of one; what they may take is the budget's share of the target's CPU time. What was taken beyond
//! that is a debt, which later allowance pays off. No more is saved up than one window costs: an idle
//! hour allows no burst.
//!
//! **Up.** At `auto` it starts without probes, opens a short window of the cheapest level, and keeps that level
//! when two windows in a row took less than half of the budget. From there it tries the next level
//! after [`CALM`] such stretches, free of debt, and not again soon where it failed before. Where a level was asked for,
//! it starts at that level and never goes above it.
//!
//! **Down.** At once when a stretch took more than the budget: hot hooks are left out where the rest
//! stays true without them, else the level drops; below the cheapest there are windows, each opened
//! when as much is saved as the last one cost. So the average keeps to the budget whatever that is.

use tracer_common::{HOOK_COUNT, Hook};
use tracer_model::ids::Ktime;

use super::estimate::Windows;
use super::probes::hooks;
use crate::cli::Level;

const MILLISECOND: u64 = 1_000_000;
/// How long a window is open.
const WINDOW: u64 = 50 * MILLISECOND;
/// The shortest time between two windows, and how much longer it can be by chance, so that windows do
/// not fall in step with what the target does.
const PAUSE: u64 = 300 * MILLISECOND;
const PAUSE_JITTER: u64 = 400 * MILLISECOND;
/// Over how long a level is judged.
const STRETCH: u64 = 250 * MILLISECOND;
/// Stretches with room before the next level is tried.
const CALM: u32 = 4;
/// Windows with room before the cheapest level stays.
const CALM_WINDOWS: u32 = 2;
/// There is room below this share of the budget.
const ROOM: f64 = 0.5;
/// A stretch is cut short when it took so many times the budget, and at least so many nanoseconds.
const FAR_OVER: f64 = 4.0;
const FAR_OVER_NANOS: f64 = 1e6;
/// How long a level that was left is not tried again: at first, at most, and after how long in it the
/// wait starts anew.
const BACKOFF: u64 = 5_000 * MILLISECOND;
const BACKOFF_MOST: u64 = 120_000 * MILLISECOND;
const LASTING: u64 = 60_000 * MILLISECOND;
/// A target that uses less than this share of one core counts as if it used so much: its few events
/// could not be traced otherwise, and nobody notices a hundredth of this.
const LEAST_CPU: f64 = 0.05;

/// A set of hooks, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks(u32);

impl Hooks {
    /// Whether it is in the set.
    pub(crate) const fn contains(self, hook: Hook) -> bool {
        self.0 >> hook as u32 & 1 == 1
    }

    /// Those in the set.
    pub(crate) fn iter(self) -> impl Iterator<Item = Hook> {
        Hook::ALL
            .into_iter()
            .filter(move |hook| self.contains(*hook))
    }

    const fn with(self, hook: Hook) -> Hooks {
        Hooks(self.0 | 1 << hook as u32)
    }
}

/// What is to be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The level; `Observe` between two windows.
    pub(crate) level: Level,
    /// Hooks of the level that are left out since they are hit too often.
    pub(crate) skipped: Hooks,
    /// Whether this is one of the windows, or a pause between two.
    pub(crate) windows: bool,
}

impl Plan {
    const PAUSE: Plan = Plan {
        level: Level::Observe,
        skipped: Hooks(0),
        windows: true,
    };

    /// What windows trace.
    pub(super) const WINDOW: Plan = Plan {
        level: Level::Wake,
        skipped: Hooks(0),
        windows: true,
    };

    const fn steady(level: Level, skipped: Hooks) -> Plan {
        Plan {
            level,
            skipped,
            windows: false,
        }
    }

    /// Whether goroutines park with an event.
    pub(crate) fn sees_parks(self) -> bool {
        self.traces(Hook::Park)
    }

    /// Whether a hook is traced.
    pub(crate) fn traces(self, hook: Hook) -> bool {
        hooks(self.level).contains(&hook) && !self.skipped.contains(hook)
    }
}

/// What is measured of the target, all since some beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) at: Ktime,
    /// CPU time of the target in nanoseconds.
    pub(crate) cpu: u64,
    /// Hits of each hook.
    pub(crate) hits: [u64; HOOK_COUNT],
}

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) plan: Plan,
    /// Why, unless it is just the next window or pause.
    pub(crate) change: Option<Change>,
}

/// A change of the way in which is traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) why: Why,
    /// What the probes took of the target's CPU time in the stretch that led to it.
    pub(crate) tax: f64,
}

impl Change {
    /// In words.
    pub(crate) fn reason(self, budget: f64) -> String {
        let (tax, budget) = (100.0 * self.tax, 100.0 * budget);
        match self.why {
            Why::Room => format!(
                "the probes took {tax:.2} % of the target's CPU time, less than half of {budget} %"
            ),
            Why::OverBudget => {
                format!("the probes took {tax:.1} % of the target's CPU time, more than {budget} %")
            }
        }
    }
}

/// Why something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It takes less than half of the budget.
    Room,
    /// It took more than the budget.
    OverBudget,
}

/// What it did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Account {
    /// What the probes took from the target, in nanoseconds: hits times the cost of one.
    pub(crate) spent: f64,
    /// What they might have taken.
    pub(crate) allowed: f64,
    /// CPU time of the target in nanoseconds.
    pub(crate) cpu: u64,
    /// What was taken too much and is not paid off yet; below 0, what is saved for the next window.
    pub(crate) debt: f64,
}

impl Account {
    /// The share of the target's CPU time that the probes took; of a target that did nothing, 0.
    pub(crate) fn tax(self) -> f64 {
        if self.cpu > 0 {
            self.spent / self.cpu as f64
        } else {
            0.0
        }
    }
}

/// The governor of one target.
#[derive(Debug)]
pub(crate) struct Governor {
    /// Share of the target's CPU time.
    budget: f64,
    /// Cost of one hit in nanoseconds.
    hit_cost: f64,
    /// It never traces more.
    ceiling: Level,
    plan: Plan,
    account: Account,
    windows: Windows,
    /// The last reading, and the one with which the present plan was in place.
    last: Reading,
    began: Reading,
    /// Beginning of the stretch that is judged next.
    stretch: Reading,
    /// Stretches or windows with room in a row.
    calm: u32,
    /// What the last window cost, in nanoseconds: so much is saved before the next one.
    window_cost: f64,
    /// When the next window may open.
    next_window: Ktime,
    retries: [Retry; 4],
    /// For how long each hook was traced.
    traced: [u64; HOOK_COUNT],
}

/// When a level may be tried again.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    at: Ktime,
    backoff: u64,
}

impl Governor {
    /// A governor that starts without probes. It rises to `ceiling` at most; `auto` is `full`.
    pub(crate) fn new(ceiling: Level, budget: f64, hit_cost: f64, now: Reading) -> Governor {
        Governor {
            budget,
            hit_cost,
            ceiling: reached(ceiling),
            plan: Plan::PAUSE,
            account: Account::default(),
            windows: Windows::new(now.at),
            last: now,
            began: now,
            stretch: now,
            calm: 0,
            window_cost: 0.0,
            next_window: now.at,
            retries: [Retry::default(); 4],
            traced: [0; HOOK_COUNT],
        }
    }

    /// The present plan.
    pub(crate) const fn plan(&self) -> Plan {
        self.plan
    }

    /// With what it begins where a level was asked for: with that at once, and no lower one before it was seen to
    /// cost too much.
    pub(crate) fn first(level: Level) -> Plan {
        match level {
            Level::Auto => Plan::PAUSE,
            level => Plan::steady(level, Hooks::default()),
        }
    }

    /// What it traces at most.
    pub(crate) const fn ceiling(&self) -> Level {
        self.ceiling
    }

    /// From now on it rises to `ceiling` at most. If the present plan is above that, the plan to take in its place
    /// comes back.
    pub(crate) fn limit(&mut self, ceiling: Level) -> Option<Plan> {
        self.ceiling = reached(ceiling);
        let lower = Plan::steady(self.ceiling, Hooks::default());
        let most = match self.plan.windows {
            true => Level::Wake,
            false => self.plan.level,
        };
        (most > self.ceiling).then_some(lower)
    }

    /// Share of the target's CPU time that the probes may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.budget
    }

    /// Cost of one hit in nanoseconds.
    pub(crate) const fn hit_cost(&self) -> f64 {
        self.hit_cost
    }

    /// What was taken and allowed.
    pub(crate) const fn account(&self) -> Account {
        self.account
    }

    /// What the windows counted, since there are windows.
    pub(crate) const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// For how long each hook was traced, in nanoseconds.
    pub(crate) const fn traced(&self) -> [u64; HOOK_COUNT] {
        self.traced
    }

    /// Takes a reading and says what is to change. The change is to be made, and then told by
    /// [`Governor::changed`].
    pub(crate) fn judge(&mut self, now: Reading) -> Option<Decision> {
        self.book(now);
        for hook in Hook::ALL.into_iter().filter(|hook| self.plan.traces(*hook)) {
            self.traced[hook as usize] += now.at.since(self.last.at);
        }
        self.last = now;
        match (self.plan.windows, self.plan.level) {
            (true, Level::Observe) => (now.at >= self.next_window
                && self.account.debt <= -self.window_cost)
                .then_some(Decision {
                    plan: Plan::WINDOW,
                    change: None,
                }),
            (true, _) => self.judge_window(now),
            (false, _) => self.judge_stretch(now),
        }
    }

    /// The plan is in place as of this reading. What was hit in between is paid for, and judged by
    /// nobody: it belongs to neither plan.
    pub(crate) fn changed(&mut self, plan: Plan, now: Reading) {
        self.book(now);
        if self.plan == Plan::WINDOW {
            self.window_cost = self.cost(self.began, now);
        }
        if plan.windows && plan.level == Level::Observe {
            // Decorrelates the windows from the target: the low bits of a clock are as good as dice.
            let dice = now.at.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            self.next_window = Ktime(now.at.0 + PAUSE + dice % PAUSE_JITTER);
        }
        if plan.windows && !self.plan.windows {
            self.windows = Windows::new(now.at);
        }
        if plan.windows != self.plan.windows || !plan.windows {
            self.calm = 0;
        }
        self.plan = plan;
        self.last = now;
        self.began = now;
        self.stretch = now;
    }

    fn judge_window(&mut self, now: Reading) -> Option<Decision> {
        if now.at.since(self.began.at) < WINDOW {
            return None;
        }
        self.windows.push(self.began, now, self.plan);
        let tax = self.tax(self.began, now);
        self.calm = if tax <= ROOM * self.budget {
            self.calm + 1
        } else {
            0
        };
        let stays = self.calm >= CALM_WINDOWS && self.may_try(Level::Wake, now.at);
        Some(if stays {
            Decision {
                plan: Plan::steady(Level::Wake, Hooks::default()),
                change: Some(Change {
                    why: Why::Room,
                    tax,
                }),
            }
        } else {
            Decision {
                plan: Plan::PAUSE,
                change: None,
            }
        })
    }

    fn judge_stretch(&mut self, now: Reading) -> Option<Decision> {
        let began = self.stretch;
        let tax = self.tax(began, now);
        let far_over = tax > FAR_OVER * self.budget && self.cost(began, now) > FAR_OVER_NANOS;
        if now.at.since(began.at) < STRETCH && !far_over {
            return None;
        }
        self.stretch = now;
        let decide = |plan, why| {
            Some(Decision {
                plan,
                change: Some(Change { why, tax }),
            })
        };
        if tax > self.budget {
            self.back_off(now.at);
            return decide(self.lower(began, now), Why::OverBudget);
        }
        if tax > ROOM * self.budget || self.account.debt > 0.0 {
            self.calm = 0;
            return None;
        }
        self.calm += 1;
        let next = match self.plan.level {
            // Of a level something may be left out, which is tried again.
            level if self.plan.skipped != Hooks::default() => level,
            Level::Auto | Level::Observe => Level::Wake,
            Level::Wake => Level::Park,
            Level::Park => Level::Full,
            Level::Full | Level::Syscalls => Level::Syscalls,
        };
        if next > self.ceiling || (next == self.plan.level && self.plan.skipped == Hooks::default())
        {
            return None;
        }
        (self.calm >= CALM && self.may_try(next, now.at))
            .then(|| Plan::steady(next, Hooks::default()))
            .and_then(|plan| decide(plan, Why::Room))
    }

    /// What costs less than the present plan: without the hottest hooks that `park` can do without,
    /// if what is left then fits; else the level below.
    fn lower(&self, began: Reading, now: Reading) -> Plan {
        match self.plan.level {
            level @ (Level::Full | Level::Syscalls) => {
                let mut extras: Vec<Hook> = Hook::ALL
                    .into_iter()
                    .filter(|hook| self.plan.traces(*hook) && !hooks(Level::Park).contains(hook))
                    .collect();
                let hits = |hook: Hook| now.hits[hook as usize] - began.hits[hook as usize];
                extras.sort_by_key(|hook| hits(*hook));
                let allowed = ROOM * self.budget * self.cpu(began, now);
                let mut left = self.cost(began, now);
                let mut skipped = self.plan.skipped;
                while left > allowed
                    && let Some(hottest) = extras.pop()
                {
                    left -= hits(hottest) as f64 * self.hit_cost;
                    skipped = skipped.with(hottest);
                }
                if extras.is_empty() || left > allowed {
                    Plan::steady(Level::Park, Hooks::default())
                } else {
                    Plan::steady(level, skipped)
                }
            }
            Level::Park => Plan::steady(Level::Wake, Hooks::default()),
            Level::Auto | Level::Observe | Level::Wake => Plan::PAUSE,
        }
    }

    /// Adds what happened since the last reading to the account.
    fn book(&mut self, now: Reading) {
        let spent = self.cost(self.last, now);
        let allowed = self.budget * self.cpu(self.last, now);
        let account = &mut self.account;
        account.spent += spent;
        account.allowed += allowed;
        account.cpu += now.cpu.saturating_sub(self.last.cpu);
        account.debt = (account.debt + spent - allowed).max(-self.window_cost);
    }

    /// What the probes took between two readings, in nanoseconds.
    fn cost(&self, from: Reading, to: Reading) -> f64 {
        let hits = |reading: Reading| reading.hits.iter().sum::<u64>();
        hits(to).saturating_sub(hits(from)) as f64 * self.hit_cost
    }

    /// CPU time of the target between two readings, in nanoseconds, as it counts.
    #[expect(clippy::unused_self, reason = "reads like its siblings")]
    fn cpu(&self, from: Reading, to: Reading) -> f64 {
        let least = LEAST_CPU * to.at.since(from.at) as f64;
        (to.cpu.saturating_sub(from.cpu) as f64).max(least)
    }

    fn tax(&self, from: Reading, to: Reading) -> f64 {
        let cpu = self.cpu(from, to);
        if cpu > 0.0 {
            self.cost(from, to) / cpu
        } else {
            0.0
        }
    }

    fn may_try(&self, level: Level, now: Ktime) -> bool {
        retry_index(level).is_some_and(|index| now >= self.retries[index].at)
    }

    fn back_off(&mut self, now: Ktime) {
        let lasted = now.since(self.began.at) >= LASTING;
        if let Some(index) = retry_index(self.plan.level) {
            let retry = &mut self.retries[index];
            retry.backoff = if lasted || retry.backoff == 0 {
                BACKOFF
            } else {
                (2 * retry.backoff).min(BACKOFF_MOST)
            };
            retry.at = Ktime(now.0 + retry.backoff);
        }
    }
}

const fn retry_index(level: Level) -> Option<usize> {
    match level {
        Level::Wake => Some(0),
        Level::Park => Some(1),
        Level::Full => Some(2),
        Level::Syscalls => Some(3),
        Level::Auto | Level::Observe => None,
    }
}

/// What is traced at most where this is asked for.
const fn reached(level: Level) -> Level {
    match level {
        Level::Auto => Level::Full,
        level => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIT_COST: f64 = 1_000.0;
    const TICK: u64 = 10 * MILLISECOND;

    /// A target that uses `cores` and hits each hook so often a second, as far as it is traced.
    struct Target {
        now: Reading,
        cores: f64,
        rates: fn(Hook) -> f64,
        governor: Governor,
        changes: Vec<(Level, bool, Vec<Hook>)>,
    }

    impl Target {
        fn new(cores: f64, budget: f64, rates: fn(Hook) -> f64) -> Target {
            let now = Reading {
                at: Ktime(1),
                cpu: 0,
                hits: [0; HOOK_COUNT],
            };
            Target {
                now,
                cores,
                rates,
                governor: Governor::new(Level::Auto, budget, HIT_COST, now),
                changes: Vec::new(),
            }
        }

        /// Lets time pass; a change takes none.
        fn run(&mut self, seconds: f64) {
            let end = Ktime(self.now.at.0 + (seconds * 1e9) as u64);
            while self.now.at < end {
                self.now.at.0 += TICK;
                self.now.cpu += (self.cores * TICK as f64) as u64;
                for hook in Hook::ALL {
                    if self.governor.plan().traces(hook) {
                        self.now.hits[hook as usize] +=
                            ((self.rates)(hook) * TICK as f64 / 1e9) as u64;
                    }
                }
                if let Some(decision) = self.governor.judge(self.now) {
                    self.governor.changed(decision.plan, self.now);
                    if decision.change.is_some() {
                        let Plan {
                            level,
                            skipped,
                            windows,
                        } = decision.plan;
                        self.changes
                            .push((level, windows, skipped.iter().collect()));
                    }
                }
            }
        }

        /// What it traces: a level, whether in windows, without what.
        fn traced(&self) -> (Level, bool, Vec<Hook>) {
            let Plan {
                level,
                skipped,
                windows,
            } = self.governor.plan();
            let level = if windows { Level::Wake } else { level };
            (level, windows, skipped.iter().collect())
        }
    }

    #[test]
    fn settles_where_the_budget_allows() {
        const OPERATIONS: [Hook; 2] = [Hook::ChanSend, Hook::ChanRecv];
        type Row = (
            &'static str,
            f64,
            f64,
            fn(Hook) -> f64,
            (Level, bool, Vec<Hook>),
        );
        let table: Vec<Row> = vec![
            ("idle", 0.0, 0.01, |_| 0.0, (Level::Full, false, vec![])),
            ("calm", 1.0, 0.01, |_| 100.0, (Level::Full, false, vec![])),
            // Two operations are hot; the rest stays.
            (
                "hot operations",
                1.0,
                0.01,
                |hook| {
                    if OPERATIONS.contains(&hook) {
                        1e6
                    } else {
                        100.0
                    }
                },
                (Level::Full, false, OPERATIONS.to_vec()),
            ),
            // Every detail is hot: nothing of it stays.
            (
                "hot details",
                1.0,
                0.01,
                |hook| {
                    if hooks(Level::Park).contains(&hook) {
                        100.0
                    } else {
                        1e6
                    }
                },
                (Level::Park, false, vec![]),
            ),
            (
                "hot parks",
                1.0,
                0.01,
                |hook| if hook == Hook::Ready { 1_000.0 } else { 1e6 },
                (Level::Wake, false, vec![]),
            ),
            // Between half of the budget and all of it: not left, not risen from.
            (
                "warm wake-ups",
                1.0,
                0.01,
                |hook| if hook == Hook::Ready { 4_900.0 } else { 1e5 },
                (Level::Wake, false, vec![]),
            ),
            ("hot", 2.0, 0.01, |_| 300_000.0, (Level::Wake, true, vec![])),
            (
                "hot, and may cost it",
                2.0,
                1.0,
                |_| 50_000.0,
                (Level::Full, false, vec![]),
            ),
        ];
        for (name, cores, budget, rates, expected) in table {
            let mut target = Target::new(cores, budget, rates);
            // Long after the last try of a level that was left: tries grow rare.
            target.run(100.0);
            assert_eq!(target.traced(), expected, "{name}: {:?}", target.changes);
            let account = target.governor.account();
            assert!(
                account.spent <= account.allowed * 1.02,
                "{name}: {account:?}"
            );
        }
    }

    #[test]
    fn drops_at_once_and_does_not_try_again_soon() {
        let mut target = Target::new(1.0, 0.01, |_| 100.0);
        target.run(10.0);
        assert_eq!(target.traced().0, Level::Full);
        target.rates = |_| 1e6;
        target.run(0.2);
        assert_eq!(
            target.traced(),
            (Level::Wake, true, vec![]),
            "{:?}",
            target.changes
        );
        let before = target.changes.len();
        target.rates = |_| 100.0;
        // The debt first, and the levels that were left not before their time.
        target.run(4.0);
        assert_eq!(target.changes.len(), before, "{:?}", target.changes);
        target.run(60.0);
        assert_eq!(target.traced().0, Level::Full, "{:?}", target.changes);
    }

    /// A target at a level that was asked for.
    fn asked(level: Level, rates: fn(Hook) -> f64) -> Target {
        let mut target = Target::new(1.0, 0.01, rates);
        target.governor = Governor::new(level, 0.01, HIT_COST, target.now);
        target.governor.changed(Governor::first(level), target.now);
        target
    }

    #[test]
    fn a_level_that_was_asked_for_is_there_at_once_and_none_above_it() {
        for level in [Level::Wake, Level::Park, Level::Full, Level::Syscalls] {
            let mut target = asked(level, |_| 100.0);
            assert_eq!(target.traced(), (level, false, vec![]));
            target.run(100.0);
            assert_eq!(target.changes, [], "{level:?}");
            // Too much, and then room again.
            target.rates = |_| 1e6;
            target.run(1.0);
            assert!(target.traced().1, "{:?}", target.changes);
            target.rates = |_| 100.0;
            target.run(200.0);
            assert_eq!(
                target.traced(),
                (level, false, vec![]),
                "{:?}",
                target.changes
            );
        }
    }

    #[test]
    fn a_limit_from_outside_is_kept_until_it_is_lifted() {
        let mut target = asked(Level::Full, |_| 100.0);
        for (limit, expected) in [
            (Level::Park, Some(Level::Park)),
            (Level::Observe, Some(Level::Observe)),
            (Level::Wake, None),
            (Level::Full, None),
        ] {
            let plan = target.governor.limit(limit);
            assert_eq!(plan.map(|plan| plan.level), expected, "{limit:?}");
            if let Some(plan) = plan {
                target.governor.changed(plan, target.now);
            }
            target.run(60.0);
            assert_eq!(target.traced(), (limit, false, vec![]));
        }
    }

    #[test]
    fn tries_grow_rare_where_they_fail() {
        let rates: fn(Hook) -> f64 = |hook| if hook == Hook::Ready { 100.0 } else { 1e6 };
        let mut target = Target::new(1.0, 0.01, rates);
        target.run(600.0);
        let tries = target
            .changes
            .iter()
            .filter(|change| change.0 == Level::Park)
            .count();
        // 5 s, 10 s, … 120 s apart, and whatever the debt adds.
        assert!((2..=11).contains(&tries), "{tries}: {:?}", target.changes);
    }

    #[test]
    fn what_windows_count_is_an_estimate() {
        let mut target = Target::new(2.0, 0.01, |_| 300_000.0);
        target.run(60.0);
        let estimates = target.governor.windows().estimates();
        let [ready] = estimates.as_slice() else {
            panic!("one hook is in the windows: {estimates:?}");
        };
        assert_eq!(ready.hook, Hook::Ready);
        assert!((ready.per_second - 300_000.0).abs() < 1.0, "{ready:?}");
        assert!(target.governor.windows().count() > 10);
        // The hook was traced for a few windows of the time.
        let traced = target.governor.traced()[Hook::Ready as usize];
        assert_eq!(traced, target.governor.windows().count() * WINDOW);
    }
}
