//! Goroutines that stay as they are for a while, counted by what they have in common.
//!
//! A leak in the making is not a number that rises: that do also connections in the morning. It is that
//! goroutines come to a place and none goes on from there. So a cohort counts who came, who left and who
//! is there, by place and block.

use std::hash::Hash;
use std::num::NonZeroU32;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::clock::{Block, PARTS, Ring};
use super::statistics::{Slope, growth_by_chance, imbalance_by_chance, slope};
use crate::ids::{Goid, Ktime};

/// How many more there must be at the end of a window.
const GROWTH: u64 = 20;
/// Of so many that came at most one may have left.
const STAY: u64 = 20;
/// On average each must be sure to stay for so many (short) windows.
const LIFE: f64 = 20.0;
/// Somebody must have been there for so many windows: until then what has come may be meant to stay just
/// so long.
const AGE: u64 = 5;
/// So many are expected to leave when none is seen to, at most (95 %, Poisson).
const UNSEEN: f64 = 3.0;
/// Parts of a window in which somebody came, at least.
const BUSY_PARTS: usize = 11;
/// Places that are watched at once.
const PLACES: usize = 1 << 13;
/// The probability of a mistake, were it only chance, at most.
const CHANCE: f64 = 0.001;

/// Goroutines by what they have in common.
#[derive(Debug)]
pub(super) struct Cohort<K> {
    /// For how long a goroutine must have been as it is to belong, in nanoseconds.
    settle: u64,
    kept: usize,
    members: FxHashMap<Goid, Member>,
    places: IndexMap<K, Place, FxBuildHasher>,
    /// Changes from look to look: who was seen at the last one has the other value.
    look: bool,
}

/// A goroutine that was seen at the last look.
#[derive(Debug)]
struct Member {
    /// What must not change.
    mark: u64,
    since: Ktime,
    /// Since when it is known to be so, maybe from before it was seen.
    known: Ktime,
    /// The place it belongs to, once it has settled.
    place: Option<PlaceId>,
    /// It was so when the first look was taken: nobody saw it come.
    old: bool,
    look: bool,
}

/// Index of a place. There is one for each of very many goroutines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlaceId(NonZeroU32);

impl PlaceId {
    fn new(index: usize) -> Option<PlaceId> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(PlaceId)
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What a block saw at a place.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    there: u64,
    came: u64,
    left: u64,
}

/// Who is, came to and left a place.
#[derive(Debug)]
pub(super) struct Place {
    now: Count,
    blocks: Ring<Count>,
    /// Since the first look.
    came: u64,
    left: u64,
    /// For how long anybody was there, added up, in seconds.
    stayed: f64,
    /// Since when the one is there who is there for longest.
    oldest: Option<Ktime>,
    /// As it was said last, and has not ended.
    said: Option<Growth>,
}

/// How a place grew over a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Growth {
    pub(super) blocks: usize,
    /// Nanoseconds.
    pub(super) window: u64,
    pub(super) looks: u32,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) came: u64,
    pub(super) left: u64,
    /// How long each stays on average at least, in nanoseconds.
    pub(super) life: u64,
    pub(super) slope: Slope,
    /// The probability that chance alone did it.
    pub(super) chance: f64,
}

impl<K: Hash + Eq> Cohort<K> {
    /// Whoever is unchanged for `settle` nanoseconds belongs; `kept` blocks are remembered.
    pub(super) fn new(settle: u64, kept: usize) -> Cohort<K> {
        Cohort {
            settle,
            kept,
            members: FxHashMap::default(),
            places: IndexMap::default(),
            look: false,
        }
    }

    /// A look begins.
    pub(super) const fn begin(&mut self) {
        self.look = !self.look;
    }

    /// A goroutine is there, the same as before if `mark` is; it is so since `known` at least, if that is
    /// known from elsewhere. `place` tells where, once it is asked.
    pub(super) fn see(
        &mut self,
        goid: Goid,
        (mark, known): (u64, Option<Ktime>),
        at: Ktime,
        first: bool,
        place: impl FnOnce() -> K,
    ) {
        let look = self.look;
        let fresh = || Member {
            mark,
            since: at,
            known: at,
            old: first,
            place: None,
            look,
        };
        let member = self.members.entry(goid).or_insert_with(fresh);
        if member.mark != mark {
            let left = std::mem::replace(member, fresh()).place;
            leave(&mut self.places, left);
            return;
        }
        member.look = look;
        member.known = member.known.min(known.unwrap_or(at));
        if member.place.is_none() && at.since(member.since) >= self.settle {
            let kept = self.kept;
            let entry = self.places.entry(place());
            member.place = PlaceId::new(entry.index());
            let place = entry.or_insert_with(|| Place::new(kept));
            place.now.there += 1;
            if !member.old {
                place.now.came += 1;
                place.came += 1;
            }
        }
    }

    /// The look has ended: who was not seen is gone.
    pub(super) fn end(&mut self) {
        let (look, places) = (self.look, &mut self.places);
        self.members.retain(|_, member| {
            let there = member.look == look;
            if !there {
                leave(places, member.place);
            }
            there
        });
    }

    /// A block of so many nanoseconds has ended.
    pub(super) fn close(&mut self, length: u64) {
        for place in self.places.values_mut() {
            place.stayed += place.now.there as f64 * length as f64 / 1e9;
            place.blocks.push(place.now);
            place.now.came = 0;
            place.now.left = 0;
            place.oldest = None;
        }
        for member in self.members.values() {
            let place = member
                .place
                .and_then(|place| self.places.get_index_mut(place.index()));
            if let Some((_, place)) = place {
                let oldest = place.oldest.get_or_insert(member.known);
                *oldest = member.known.min(*oldest);
            }
        }
    }

    /// Whether there are more places than are worth watching.
    pub(super) fn is_overfull(&self) -> bool {
        self.places.len() > PLACES
    }

    /// Forgets everybody.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.places.clear();
    }

    /// All places, with their index.
    pub(super) fn places(&mut self) -> impl Iterator<Item = (usize, &K, &mut Place)> {
        self.places
            .iter_mut()
            .enumerate()
            .map(|(index, (key, place))| (index, key, place))
    }

    /// Who is at a place, ascending. Looks through all.
    pub(super) fn at(&self, place: usize) -> Vec<Goid> {
        let place = PlaceId::new(place);
        let here = |(goid, member): (&Goid, &Member)| (member.place == place).then_some(*goid);
        let mut goids: Vec<Goid> = self.members.iter().filter_map(here).collect();
        goids.sort_unstable();
        goids
    }
}

fn leave<K>(places: &mut IndexMap<K, Place, FxBuildHasher>, place: Option<PlaceId>) {
    let left = place.and_then(|place| places.get_index_mut(place.index()));
    if let Some((_, place)) = left {
        place.now.there = place.now.there.saturating_sub(1);
        place.now.left += 1;
        place.left += 1;
    }
}

impl Place {
    fn new(kept: usize) -> Place {
        Place {
            now: Count::default(),
            blocks: Ring::new(kept),
            came: 0,
            left: 0,
            stayed: 0.0,
            oldest: None,
            said: None,
        }
    }

    /// How it grew over the last of these windows in which it did so steadily and nobody to speak of left.
    /// `block` is a block's length in nanoseconds. Growth that was said once counts as long as it goes on at a third of that.
    pub(super) fn growth(&mut self, windows: &[Vec<Block>], block: u64) -> Option<Growth> {
        let mut windows_of = windows.iter();
        let measured = windows_of.find_map(|window| self.measure(window, block));
        let goes_on = || windows.iter().any(|window| self.goes_on(window));
        if measured.is_some() || !goes_on() {
            self.said = measured;
        }
        self.said.clone()
    }

    fn goes_on(&self, window: &[Block]) -> bool {
        let blocks = self.blocks.last(window.len());
        let came: u64 = blocks.iter().map(|block| block.came).sum();
        let left: u64 = blocks.iter().map(|block| block.left).sum();
        came >= GROWTH / 3 && left * STAY <= 2 * came
    }

    fn measure(&self, window: &[Block], block: u64) -> Option<Growth> {
        let (begin, end) = (window.first()?, window.last()?);
        let age = end.at.since(self.oldest?);
        if age < AGE * PARTS as u64 * block {
            return None;
        }
        let life = self.stayed / (self.left as f64 + UNSEEN);
        if life < LIFE * PARTS as f64 * block as f64 / 1e9 {
            return None;
        }
        let blocks = self.blocks.last(window.len());
        let parts: Vec<Count> = blocks
            .chunks(window.len().div_ceil(PARTS))
            .map(|part| Count {
                there: part.last().map_or(0, |block| block.there),
                came: part.iter().map(|block| block.came).sum(),
                left: part.iter().map(|block| block.left).sum(),
            })
            .collect();
        let came: u64 = parts.iter().map(|part| part.came).sum();
        let left: u64 = parts.iter().map(|part| part.left).sum();
        // Nor may it be a tide: of what was ever seen here, next to nobody may have left.
        if came < GROWTH + left || left * STAY > came || self.left * STAY > self.came {
            return None;
        }
        let busy = parts.iter().filter(|part| part.came > 0).count();
        let thirds = parts.chunks(parts.len().div_ceil(3));
        let thirds: Vec<u64> = thirds
            .map(|third| third.iter().map(|part| part.came).sum())
            .collect();
        let (steepest, late) = (thirds.iter().max()?, thirds.last()?);
        // It is as steep at its end as it was: what fills up flattens.
        if busy < BUSY_PARTS || late * 4 < steepest * 3 {
            return None;
        }
        let values: Vec<f64> = parts.iter().map(|part| part.there as f64).collect();
        let chance = growth_by_chance(&values).max(imbalance_by_chance(came, left));
        if chance > CHANCE {
            return None;
        }
        let last = parts.last()?.there;
        let points: Vec<(f64, f64)> = window
            .iter()
            .zip(&blocks)
            .map(|(block, count)| (block.at.since(begin.at) as f64 / 1e9, count.there as f64))
            .collect();
        Some(Growth {
            blocks: window.len(),
            window: end.at.since(begin.at) + begin.length,
            looks: window.iter().map(|block| block.looks).sum(),
            first: (last + left).saturating_sub(came),
            last,
            came,
            left,
            life: (life * 1e9) as u64,
            slope: slope(&points)?,
            chance,
        })
    }
}
