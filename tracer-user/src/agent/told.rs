//! What events told of processes, in sums that only grow: for metrics, where the processes of one program in one
//! container are one, whichever of them have ended.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use tracer_model::wait::WaitReason;
use tracer_model::world::Totals;

use super::names::PodNames;
use crate::document::run::Loss;

/// Programs in containers that are told apart at most; the rest is one.
const MOST: usize = 1024;

/// Whose sums they are: a program in a container.
pub(crate) type Whose = (PodNames, String);

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) faults: u64,
    pub(crate) created: u64,
    pub(crate) exited: u64,
    pub(crate) sends: u64,
    pub(crate) receives: u64,
    pub(crate) closes: u64,
    pub(crate) selects: u64,
    pub(crate) parks: FxHashMap<WaitReason, u64>,
    pub(crate) wakeups: FxHashMap<WaitReason, u64>,
}

impl Told {
    /// What a process told so far.
    pub(super) fn of(totals: &Totals, loss: &Loss) -> Told {
        Told {
            events: totals.events,
            lost: loss.records + loss.unknown,
            late: loss.late,
            faults: loss.faults,
            created: totals.created,
            exited: totals.exited,
            sends: totals.sends,
            receives: totals.receives,
            closes: totals.closes,
            selects: totals.selects,
            parks: totals.parks.clone(),
            wakeups: totals.wakeups_from.clone(),
        }
    }

    /// Adds what is more than before.
    fn grow(&mut self, now: &Told, before: &Told) {
        let counts = [
            (&mut self.events, now.events, before.events),
            (&mut self.lost, now.lost, before.lost),
            (&mut self.late, now.late, before.late),
            (&mut self.faults, now.faults, before.faults),
            (&mut self.created, now.created, before.created),
            (&mut self.exited, now.exited, before.exited),
            (&mut self.sends, now.sends, before.sends),
            (&mut self.receives, now.receives, before.receives),
            (&mut self.closes, now.closes, before.closes),
            (&mut self.selects, now.selects, before.selects),
        ];
        for (sum, now, before) in counts {
            *sum += now.saturating_sub(before);
        }
        for (sums, now, before) in [
            (&mut self.parks, &now.parks, &before.parks),
            (&mut self.wakeups, &now.wakeups, &before.wakeups),
        ] {
            for (reason, count) in now {
                let before = before.get(reason).copied().unwrap_or_default();
                *sums.entry(*reason).or_default() += count.saturating_sub(before);
            }
        }
    }

    /// Adds the sums of others.
    pub(crate) fn add(&mut self, other: &Told) {
        self.grow(other, &Told::default());
    }
}

/// The sums of all that were traced.
#[derive(Debug, Default)]
pub(crate) struct Sums(HashMap<Whose, Told>);

impl Sums {
    /// Adds what a process told since it was counted last. What finds no room is nobody's.
    pub(super) fn grow(&mut self, whose: Whose, now: &Told, before: &Told) {
        let has_room = self.0.len() < MOST || self.0.contains_key(&whose);
        let whose = if has_room { whose } else { Whose::default() };
        self.0.entry(whose).or_default().grow(now, before);
    }

    /// Forgets whose processes are all over.
    pub(crate) fn keep(&mut self, lives: impl Fn(&Whose) -> bool) {
        self.0
            .retain(|whose, _| lives(whose) || *whose == Whose::default());
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Whose, &Told)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: u64, parks: u64) -> Told {
        Told {
            events,
            parks: [(WaitReason::Select, parks)].into_iter().collect(),
            ..Told::default()
        }
    }

    fn whose(process: &str) -> Whose {
        (PodNames::default(), process.to_owned())
    }

    #[test]
    fn sums_grow_by_what_is_new_and_stay_when_a_process_ends() {
        let mut sums = Sums::default();
        sums.grow(whose("api"), &told(10, 4), &Told::default());
        sums.grow(whose("api"), &told(15, 6), &told(10, 4));
        // Another process of the same program.
        sums.grow(whose("api"), &told(1, 1), &Told::default());
        let of_api = sums.iter().map(|(_, told)| told.clone());
        assert_eq!(of_api.collect::<Vec<_>>(), [told(16, 7)]);
        sums.keep(|_| false);
        assert_eq!(sums.iter().count(), 0);
    }

    #[test]
    fn sums_are_bounded_and_whole() {
        let mut sums = Sums::default();
        for number in 0..2 * MOST {
            sums.grow(whose(&number.to_string()), &told(1, 0), &Told::default());
        }
        let events: u64 = sums.iter().map(|(_, told)| told.events).sum();
        assert_eq!(events, 2 * MOST as u64);
        assert_eq!(sums.iter().count(), MOST + 1);
    }
}
