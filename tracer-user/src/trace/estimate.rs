//! How often something happens, from windows in which it was counted.
//!
//! A window stands for the time from the end of the one before to its own end: the pause before a
//! window depends on what the last one cost, so windows lie closer together where there was little to
//! count, and their plain mean would be too low. The interval is of 95 %, from how much the windows
//! differ (Student's t); one window has none. It is the rate under probes: a saturated
//! target is faster without them, which no interval covers.

use std::collections::VecDeque;

use tracer_common::{HOOK_COUNT, Hook};
use tracer_model::ids::Ktime;

use super::governor::{Plan, Reading};

/// How many windows an estimate is made of: older ones are forgotten.
const KEPT: usize = 60;

/// Student's t for 95 %, by degrees of freedom from 1; 2.0 beyond, which is a little too much.
const STUDENT: [f64; 30] = [
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
    2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04,
];

/// A rate that was not counted in full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) hook: Hook,
    /// Hits a second.
    pub(crate) per_second: f64,
    /// In between it is with 95 % certainty; `None` from one window.
    pub(crate) interval: Option<(f64, f64)>,
}

/// The windows of one time of sampling.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    kept: VecDeque<Window>,
    count: u64,
    last_end: Ktime,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    plan: Plan,
    /// Hits a second.
    rates: [f64; HOOK_COUNT],
    /// The time that it stands for, in nanoseconds.
    weight: f64,
}

impl Windows {
    /// None yet.
    pub(crate) const fn new(now: Ktime) -> Windows {
        Windows {
            kept: VecDeque::new(),
            count: 0,
            last_end: now,
        }
    }

    /// How many there were.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Adds what was counted from one reading to the other.
    pub(crate) fn push(&mut self, from: Reading, to: Reading, plan: Plan) {
        let seconds = to.at.since(from.at) as f64 / 1e9;
        let rate = |hook: usize| to.hits[hook].saturating_sub(from.hits[hook]) as f64 / seconds;
        self.kept.push_back(Window {
            plan,
            rates: std::array::from_fn(rate),
            weight: to.at.since(self.last_end) as f64,
        });
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        self.count += 1;
        self.last_end = to.at;
    }

    /// The estimates of all hooks that the windows traced.
    pub(crate) fn estimates(&self) -> Vec<Estimate> {
        Hook::ALL
            .into_iter()
            .filter(|hook| self.kept.iter().any(|window| window.plan.traces(*hook)))
            .map(|hook| self.estimate(hook))
            .collect()
    }

    fn estimate(&self, hook: Hook) -> Estimate {
        let sum = |of: &dyn Fn(&Window) -> f64| self.kept.iter().map(of).sum::<f64>();
        let rate = |window: &Window| window.rates[hook as usize];
        let weight = sum(&|window| window.weight);
        let mean = sum(&|window| window.weight * rate(window)) / weight;
        let freedom = self.kept.len() - 1;
        let interval = (freedom > 0).then(|| {
            let squares = sum(&|window| (window.weight * (rate(window) - mean)).powi(2));
            let count = self.kept.len() as f64;
            let error = (squares * count / (count - 1.0)).sqrt() / weight;
            let wide = STUDENT.get(freedom - 1).copied().unwrap_or(2.0) * error;
            ((mean - wide).max(0.0), mean + wide)
        });
        Estimate {
            hook,
            per_second: mean,
            interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Windows of one second; each ends at a time and has counted so many wake-ups.
    fn estimate(windows: &[(u64, u64)]) -> Estimate {
        let mut all = Windows::new(Ktime(0));
        for &(end, count) in windows {
            let mut from = Reading {
                at: Ktime((end - 1) * SECOND),
                cpu: 0,
                hits: [7; HOOK_COUNT],
            };
            let before = from;
            from.at = Ktime(end * SECOND);
            from.hits[Hook::Ready as usize] += count;
            all.push(before, from, Plan::WINDOW);
        }
        let estimates = all.estimates();
        assert_eq!(estimates.len(), 1, "{estimates:?}");
        estimates[0]
    }

    #[test]
    fn a_window_stands_for_the_time_since_the_one_before() {
        for (windows, rate, interval) in [
            (&[(5, 100)][..], 100.0, None),
            (&[(5, 100), (10, 100)], 100.0, Some((100.0, 100.0))),
            (
                &[(5, 100), (10, 300)],
                200.0,
                Some((0.0, 200.0 + 12.71 * 100.0)),
            ),
            // Twice as long without a window: it counts twice.
            (&[(5, 100), (15, 400)], 300.0, None),
        ] {
            let estimate = estimate(windows);
            assert!(
                (estimate.per_second - rate).abs() < 1e-6,
                "{windows:?}: {estimate:?}"
            );
            if let Some((low, high)) = interval {
                let (seen_low, seen_high) = estimate.interval.expect("more than one window");
                assert!((seen_low - low).abs() < 1e-6, "{windows:?}: {estimate:?}");
                assert!((seen_high - high).abs() < 1e-6, "{windows:?}: {estimate:?}");
            }
        }
        assert_eq!(estimate(&[(5, 100)]).interval, None);
    }

    #[test]
    fn more_windows_make_it_narrower() {
        let windows: Vec<(u64, u64)> = (1..=40).map(|n| (3 * n, 100 + 10 * (n % 2))).collect();
        let width = |count: usize| {
            let (low, high) = estimate(&windows[..count]).interval.expect("many windows");
            high - low
        };
        assert!(width(40) < width(10) && width(10) < width(4));
        let (low, high) = estimate(&windows).interval.expect("many windows");
        assert!(low < 105.0 && 105.0 < high, "{low} to {high}");
    }
}
