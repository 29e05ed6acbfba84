//! The most of something by name, and the rest as one: labels stay few whatever a target does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use rustc_hash::FxHashMap;
use tracer_model::ids::Pc;
use tracer_model::symbol::{Symbolizer, user_frame};
use tracer_model::world::Histogram;

use super::catalogue::TOP;
use super::families::cut;
use crate::trace::measure::{Channels, Measured};

/// What is not among the most.
pub(super) const OTHER: &str = "other";
/// What has no name.
const UNKNOWN: &str = "unknown";

/// A place in the source as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    function: String,
    location: String,
}

impl Place {
    fn named(name: &str) -> Place {
        Place {
            function: name.to_owned(),
            location: String::new(),
        }
    }

    fn of(stack: &[Pc], symbols: &dyn Symbolizer) -> Place {
        let Some(frame) = user_frame(stack, symbols) else {
            return Place::named(UNKNOWN);
        };
        // The directory is the builder's, and the function has the package.
        let file = frame.file.rsplit('/').next().unwrap_or_default();
        Place {
            location: cut(&format!("{file}:{}", frame.line)).to_owned(),
            function: cut(&frame.function).to_owned(),
        }
    }

    pub(super) fn labels(&self) -> [&str; 2] {
        [&self.function, &self.location]
    }

    fn is_unknown(&self) -> bool {
        self.location.is_empty()
    }
}

/// Where user goroutines wait.
pub(super) fn stacks(measured: &Measured, symbols: &dyn Symbolizer) -> Vec<(Place, u64)> {
    let known = measured
        .stacks
        .iter()
        .map(|(stack, count)| (Place::of(stack, symbols), *count));
    let mut places = places(known.chain([(Place::named(UNKNOWN), measured.unknown_stacks)]));
    add(&mut places, Place::named(OTHER), measured.rare_stacks);
    places
}

/// The `go` statements of goroutines.
pub(super) fn statements(
    created_at: &FxHashMap<Option<Pc>, u64>,
    symbols: &dyn Symbolizer,
) -> Vec<(Place, u64)> {
    places(created_at.iter().map(|(pc, count)| match pc {
        Some(pc) => (Place::of(&[*pc], symbols), *count),
        None => (Place::named(UNKNOWN), *count),
    }))
}

/// The places with most, `other` and `unknown` last.
fn places(counts: impl Iterator<Item = (Place, u64)>) -> Vec<(Place, u64)> {
    let mut sums: HashMap<Place, u64> = HashMap::new();
    for (place, count) in counts {
        *sums.entry(place).or_default() += count;
    }
    let (unknown, mut known): (Vec<_>, Vec<_>) =
        sums.into_iter().partition(|(place, _)| place.is_unknown());
    known.sort_unstable_by(|(a, most), (b, more)| more.cmp(most).then_with(|| a.cmp(b)));
    let rest = known.split_off(known.len().min(TOP));
    let other = rest.iter().map(|(_, count)| count).sum();
    add(&mut known, Place::named(OTHER), other);
    for (place, count) in unknown {
        add(&mut known, place, count);
    }
    known
}

/// Adds to the place's count, if there is something to add.
fn add(places: &mut Vec<(Place, u64)>, place: Place, count: u64) {
    match places.iter_mut().find(|(known, _)| *known == place) {
        Some((_, sum)) => *sum += count,
        None if count > 0 => places.push((place, count)),
        None => {}
    }
}

/// The `most` element types of most channels, `other` and `unknown` last.
pub(super) fn types(channels: &[(String, Channels)], most: usize) -> Vec<(String, Channels)> {
    let mut sums: BTreeMap<&str, Channels> = BTreeMap::new();
    for (name, channels) in channels {
        let sum = sums.entry(cut(name)).or_default();
        *sum = sum.plus(*channels);
    }
    let (unknown, mut known): (Vec<_>, Vec<_>) = sums
        .into_iter()
        .map(|(name, channels)| (name.to_owned(), channels))
        .partition(|(name, _)| name.is_empty());
    known.sort_unstable_by(|(a, most), (b, more)| {
        (Reverse(most.number), a).cmp(&(Reverse(more.number), b))
    });
    let rest = known.split_off(known.len().min(most));
    let sum = |rest: Vec<(String, Channels)>| {
        rest.into_iter()
            .map(|(_, channels)| channels)
            .reduce(Channels::plus)
    };
    known.extend(sum(rest).map(|channels| (OTHER.to_owned(), channels)));
    known.extend(sum(unknown).map(|channels| (UNKNOWN.to_owned(), channels)));
    known
}

/// Counts by label, each label once, by name.
pub(super) fn summed(
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> Vec<(&'static str, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (label, count) in counts {
        *sums.entry(label).or_default() += count;
    }
    sums.into_iter().collect()
}

/// Histograms by label, each label once, by name.
pub(super) fn merged<K>(
    histograms: &FxHashMap<K, Histogram>,
    label: impl Fn(&K) -> &'static str,
) -> BTreeMap<&'static str, Histogram> {
    let mut merged: BTreeMap<&str, Histogram> = BTreeMap::new();
    for (key, histogram) in histograms {
        merged.entry(label(key)).or_default().merge(histogram);
    }
    merged
}
