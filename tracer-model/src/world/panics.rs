//! Operations that are sure to panic, by what they are and where.

use rustc_hash::FxHashMap;

use crate::ids::{ChanAddr, Goid, Pc};

/// Places that are told apart; more are counted in the totals alone.
const PLACES: usize = 1024;

/// Why an operation panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PanicCause {
    /// Close of a nil channel.
    CloseOfNil,
    /// Close of a channel that was closed before.
    CloseOfClosed,
    /// Close of a channel on which somebody waits to send, who panics.
    SendOnClosed,
}

/// A cause and the close that did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PanicPlace {
    /// Why.
    pub cause: PanicCause,
    /// The call to close, if known.
    pub site: Option<Pc>,
}

/// What was seen at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic {
    /// How often.
    pub times: u64,
    /// Who closed, the last time.
    pub goid: Goid,
    /// Which channel, the last time; `None` is a nil one.
    pub chan: Option<ChanAddr>,
}

/// What was seen, by place.
#[derive(Debug, Default)]
pub(super) struct PanicPlaces(FxHashMap<PanicPlace, Panic>);

impl PanicPlaces {
    pub(super) fn note(&mut self, place: PanicPlace, goid: Goid, chan: Option<ChanAddr>) {
        if self.0.len() >= PLACES && !self.0.contains_key(&place) {
            return;
        }
        let seen = self.0.entry(place).or_insert(Panic {
            times: 0,
            goid,
            chan,
        });
        *seen = Panic {
            times: seen.times + 1,
            goid,
            chan,
        };
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PanicPlace, Panic)> + '_ {
        self.0.iter().map(|(place, seen)| (*place, *seen))
    }
}
