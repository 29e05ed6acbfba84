//! What one pass saw of each goroutine that it found stuck, for the next one to confirm.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::ids::{Goid, Ktime, Pc};
use crate::maybe::Maybe;
use crate::snapshot::{Goroutine, Reachability, Snapshot, Unused};
use crate::wait::{Objects, WaitReason};
use crate::world::World;

use super::{CALM_PROOF, CLEAN_PROOF, is_endless, last_event, stack};
/// Passes of any kind that make a wait worth a word.
const HEARSAY: u32 = 4;

/// What the next pass needs to know of this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pass {
    pub(super) started: Ktime,
    pub(super) finished: Ktime,
    /// Whether the mark saw everything.
    pub(super) clean: bool,
    pub(super) sightings: FxHashMap<Goid, Sighting>,
    /// What of `sightings` unused variables lead to.
    pub(super) held: Vec<Unused>,
}

/// How a stuck goroutine looked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sighting {
    pub(super) at: Ktime,
    pub(super) reason: WaitReason,
    pub(super) objects: Objects,
    pub(super) stack: Option<Box<[Pc]>>,
    pub(super) since: Maybe<Ktime>,
    /// Consecutive passes that saw it so, this one included.
    pub(super) passes: u32,
    /// How many of these were calm.
    pub(super) calm: u32,
    /// How many of these were clean.
    pub(super) clean: u32,
    /// An unused variable leads to what it waits on.
    pub(super) held: bool,
}

impl Pass {
    pub(super) fn new(
        snapshot: &Snapshot,
        reachability: &Reachability,
        stuck: &[&Goroutine],
        held: Vec<Unused>,
    ) -> Pass {
        let kept: FxHashSet<Goid> = held.iter().map(|held| held.goid).collect();
        let calm = reachability.running.is_empty() && reachability.errors.is_empty();
        let clean = calm && reachability.ran.is_empty();
        let sightings = stuck
            .iter()
            .filter_map(|goroutine| {
                let sighting = Sighting {
                    calm: u32::from(calm),
                    clean: u32::from(clean),
                    held: kept.contains(&goroutine.goid),
                    ..Sighting::of(snapshot, goroutine)?
                };
                Some((goroutine.goid, sighting))
            })
            .collect();
        Pass {
            started: snapshot.started.min(reachability.started),
            finished: snapshot.finished.max(reachability.finished),
            clean,
            sightings,
            held,
        }
    }

    /// Notes what the pass before confirms of this one.
    pub(super) fn confirm(&mut self, last: &Pass, world: Option<&World>) {
        for (&goid, now) in &mut self.sightings {
            let Some(before) = last.sightings.get(&goid) else {
                continue;
            };
            let acted = last_event(world, goid).is_some_and(|at| at > before.at);
            // That it was held by a variable is no proof that nothing holds it.
            let weaker = before.held && !now.held;
            if now.is_unmoved_since(before) && !acted && !weaker {
                now.passes = before.passes.saturating_add(1);
                now.calm = before.calm.saturating_add(now.calm);
                now.clean = before.clean.saturating_add(now.clean);
            }
        }
    }
}

impl Sighting {
    /// What a snapshot shows of a wait. `None` if there is none.
    pub(super) fn of(snapshot: &Snapshot, goroutine: &Goroutine) -> Option<Sighting> {
        let wait = goroutine.wait.as_ref()?;
        Some(Sighting {
            at: goroutine.at,
            reason: wait.reason,
            objects: wait.objects.clone(),
            stack: stack(snapshot, goroutine).map(Box::from),
            since: wait.since,
            passes: 1,
            calm: 0,
            clean: 0,
            held: false,
        })
    }

    /// Whether what was seen is proof.
    pub(super) fn is_proven(&self) -> bool {
        match is_endless(self.reason) {
            true => self.passes >= CLEAN_PROOF,
            false if self.held => false,
            false => {
                (self.clean >= CLEAN_PROOF || self.calm >= CALM_PROOF) && !self.objects.is_empty()
            }
        }
    }

    /// Whether it was seen often enough to be said, though not to be proven.
    pub(super) fn is_likely(&self) -> bool {
        is_endless(self.reason) || self.held || self.clean > 0 || self.passes >= HEARSAY
    }

    /// Whether the goroutine is still in the wait that it was in `before`.
    pub(super) fn is_unmoved_since(&self, before: &Sighting) -> bool {
        // The runtime notes the time of a wait late, at a garbage collection, and once.
        let same_wait = match (before.since.get(), self.since.get()) {
            (Some(before), now) => now == Some(before),
            (None, _) => true,
        };
        same_wait
            && self.reason == before.reason
            && self.objects == before.objects
            && self.stack.is_some()
            && self.stack == before.stack
    }
}
