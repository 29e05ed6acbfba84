//! Whether a series grows, and how fast, without an assumption on how its values are distributed.

use serde::{Deserialize, Serialize};

/// The rate of a series with its interval of 95 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// The median of the slopes of all pairs of values (Theil and Sen).
    pub per_second: f64,
    /// Lower end of the interval (Sen 1968, by Kendall's variance).
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Quantile of the normal distribution for an interval of 95 %.
const NORMAL_95: f64 = 1.96;

/// The probability that a series without a trend looks as if it grew at least so much (Mann and Kendall,
/// one side, normal approximation with a correction for equal values). 1 for fewer than four values.
pub(super) fn growth_by_chance(values: &[f64]) -> f64 {
    if values.len() < 4 {
        return 1.0;
    }
    let mut score = 0.0;
    for (index, early) in values.iter().enumerate() {
        for late in &values[index + 1..] {
            score += f64::from(i8::from(late > early) - i8::from(late < early));
        }
    }
    let variance = kendall_variance(values);
    if variance <= 0.0 || score <= 0.0 {
        return 1.0;
    }
    upper_tail((score - 1.0) / variance.sqrt())
}

/// The slope of a series of (seconds, value). `None` for fewer than two moments.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (early, from)) in points.iter().enumerate() {
        for (late, to) in &points[index + 1..] {
            if late > early {
                slopes.push((to - from) / (late - early));
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let spread = NORMAL_95 * kendall_variance(&values).max(0.0).sqrt();
    let count = slopes.len() as f64;
    let at = |rank: f64| slopes[rank.clamp(0.0, count - 1.0) as usize];
    Some(Slope {
        per_second: median(&slopes),
        low: at(((count - spread) / 2.0).floor() - 1.0),
        high: at(((count + spread) / 2.0).ceil()),
    })
}

/// The probability that of so many comings and goings so few are goings, if each is as likely as the
/// other: what a number that stays around a value does at the most.
pub(super) fn imbalance_by_chance(came: u64, left: u64) -> f64 {
    let all = came + left;
    // Exact up to where the normal distribution is as good.
    if all > 1000 {
        let (all, left) = (all as f64, left as f64);
        return upper_tail((all / 2.0 - left - 0.5) / (all / 4.0).sqrt());
    }
    let mut term = 0.5f64.powi(i32::try_from(all).unwrap_or(i32::MAX));
    let mut sum = term;
    for goings in 0..left {
        term *= (all - goings) as f64 / (goings + 1) as f64;
        sum += term;
    }
    sum.min(1.0)
}

/// The middle value of a sorted list; 0 of an empty one.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(only), _) => *only,
        (None, _) => 0.0,
    }
}

/// Variance of Kendall's score.
fn kendall_variance(values: &[f64]) -> f64 {
    let term = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0) / 18.0;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let equal = sorted.chunk_by(|a, b| a == b);
    term(values.len() as f64) - equal.map(|group| term(group.len() as f64)).sum::<f64>()
}

/// The probability that a standard normal value is at least so high; the error is below 1e-7
/// (Abramowitz and Stegun 26.2.17).
fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_series_is_told_from_others() {
        let line: Vec<f64> = (0..12).map(f64::from).collect();
        assert!(growth_by_chance(&line) < 1e-4);
        let falling: Vec<f64> = line.iter().rev().copied().collect();
        assert!(growth_by_chance(&falling) > 0.999);
        assert!(growth_by_chance(&[5.0; 12]) > 0.999);
        let saw = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0];
        assert!(growth_by_chance(&saw) > 0.05);
    }

    #[test]
    fn the_slope_is_that_of_the_line_whatever_a_few_values_do() {
        let mut points: Vec<(f64, f64)> = (0..12)
            .map(|n| (f64::from(n) * 10.0, f64::from(n) * 5.0))
            .collect();
        points[7].1 = 1e6;
        let slope = slope(&points).expect("there are points");
        assert!((slope.per_second - 0.5).abs() < 1e-9);
        assert!(slope.low <= 0.5 && slope.high >= 0.5);
    }

    #[test]
    fn what_comes_and_goes_is_balanced() {
        assert!((imbalance_by_chance(10, 0) - 1.0 / 1024.0).abs() < 1e-12);
        assert!(imbalance_by_chance(10, 10) > 0.5);
        assert!(imbalance_by_chance(2000, 2000) > 0.4);
        assert!(imbalance_by_chance(2000, 1500) < 1e-6);
    }

    #[test]
    fn the_tail_is_the_normal_distributions() {
        assert!((upper_tail(1.96) - 0.025).abs() < 1e-4);
        assert!((upper_tail(0.0) - 0.5).abs() < 1e-6);
    }
}
