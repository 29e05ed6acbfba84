//! Stacks that are counted, whatever they are written as.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use tracer_model::ids::{Ktime, Pc};
use tracer_model::snapshot::{Snapshot, State};

/// A stack, or as much as is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stack {
    /// Innermost frame first.
    Frames(Arc<[Pc]>),
    /// Nothing is known of it but the goroutine's function, and why that is all.
    Unknown {
        /// Why, in a word or two.
        why: Box<str>,
        /// Entry of the function.
        start: Option<Pc>,
    },
}

/// What is counted as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where.
    pub stack: Stack,
    /// Names and values that tell alike stacks apart.
    pub labels: Vec<(Box<str>, Box<str>)>,
}

/// What a number of a profile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What is counted.
    pub kind: &'static str,
    /// In which unit.
    pub unit: &'static str,
}

/// A profile. Memory grows with distinct stacks.
#[derive(Debug, Default)]
pub struct Profile {
    /// What the numbers are. The last one is what people look at first.
    pub measures: Vec<Measure>,
    /// Numbers of each stack, as many as there are measures.
    pub samples: IndexMap<Key, Vec<i64>, FxBuildHasher>,
    /// What a reader should know.
    pub comments: Vec<String>,
    /// When it begins.
    pub from: Ktime,
    /// Nanoseconds that it covers; 0 if it is of one moment.
    pub duration: u64,
}

impl Profile {
    /// A profile of nothing so far.
    pub fn new(measures: Vec<Measure>, from: Ktime, duration: u64) -> Profile {
        Profile {
            measures,
            from,
            duration,
            ..Profile::default()
        }
    }

    /// Adds to the numbers of a stack.
    pub fn add(&mut self, key: Key, numbers: &[i64]) {
        let sums = self
            .samples
            .entry(key)
            .or_insert_with(|| vec![0; numbers.len()]);
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.saturating_add(*number);
        }
    }
}

/// The goroutines of a snapshot by their stacks, without the runtime's own, as Go's own goroutine profile has them.
pub fn goroutines(snapshot: &Snapshot) -> Profile {
    let measures = vec![Measure {
        kind: "goroutine",
        unit: "count",
    }];
    let mut profile = Profile::new(measures, snapshot.started, 0);
    let (mut system, mut unknown) = (0, 0);
    let mut stacks: FxHashMap<_, Arc<[Pc]>> = FxHashMap::default();
    for goroutine in &snapshot.goroutines {
        if goroutine.system || goroutine.state == State::Dead {
            system += u64::from(goroutine.system);
            continue;
        }
        let frames = snapshot.stack(goroutine);
        let stack = match goroutine.stack.filter(|_| !frames.is_empty()) {
            Some(id) => Stack::Frames(Arc::clone(
                stacks.entry(id).or_insert_with(|| frames.into()),
            )),
            None => {
                unknown += 1;
                Stack::Unknown {
                    why: format!("stack not known: {}", goroutine.state).into(),
                    start: goroutine.start.get(),
                }
            }
        };
        let labels = goroutine.labels.to_vec();
        profile.add(Key { stack, labels }, &[1]);
    }
    profile.comments = vec![
        format!("{system} goroutines of the runtime are left out, as Go's own profile does"),
        format!("{unknown} goroutines have no known stack"),
        format!(
            "read in {} ns; {} goroutines and channels moved under every read",
            snapshot.finished.since(snapshot.started),
            snapshot.moving
        ),
    ];
    let errors = snapshot.errors.len();
    if errors > 0 {
        profile
            .comments
            .push(format!("{errors} items could not be read"));
    }
    profile
}
