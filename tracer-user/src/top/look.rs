//! What was seen at one moment, prepared so that lists can be made of it quickly: places have names and ranks,
//! goroutines and channels are found by what names them.

use std::collections::HashMap;
use std::sync::Arc;

use tracer_model::ids::{ChanAddr, Goid, Pc};
use tracer_model::snapshot::{Channel, Goroutine, Snapshot, StackId, State};
use tracer_model::symbol::{Frame, Symbolizer, user_frame};
use tracer_model::wait::WaitReason;

use crate::document::findings::Entry;
use crate::text::safe;

/// One look at everything.
pub(crate) struct Look {
    pub(super) snapshot: Snapshot,
    pub(super) findings: Vec<Entry>,
    pub(super) symbols: Arc<dyn Symbolizer + Send + Sync>,
    /// Goroutines whose state may have changed unseen, ascending.
    unsure: Vec<Goid>,
    /// Distinct places, by name; the first is that of who is nowhere known.
    places: Vec<Place>,
    /// Of each goroutine: where it is, and where it was created.
    at: Vec<u32>,
    created: Vec<u32>,
    /// Indices of goroutines by goid.
    by_goid: Vec<u32>,
    /// Indices of channels by address.
    by_addr: Vec<u32>,
    pub(super) sites: Vec<Site>,
    /// Goroutines that are not the runtime's own, and how many of these are in each state.
    pub(super) users: usize,
    pub(super) by_state: Vec<(&'static str, usize)>,
}

/// A place in the user's code.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Function, file's name and line; empty if it is not known.
    pub(super) text: String,
    /// The same in lower case, for filters.
    pub(super) search: String,
}

/// Goroutines that wait in the same way at the same place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) place: u32,
    /// `None`: they do not wait.
    pub(super) reason: Option<WaitReason>,
    pub(super) count: u64,
    /// How many more these are than at the look before; `None` at the first.
    pub(super) grown: Option<i64>,
    /// The longest wait in nanoseconds, if one's beginning is known.
    pub(super) longest: Option<u64>,
}

impl Look {
    /// Prepares what was seen. `before` is the look before this one.
    pub(crate) fn new(
        snapshot: Snapshot,
        findings: Vec<Entry>,
        unsure: Vec<Goid>,
        symbols: Arc<dyn Symbolizer + Send + Sync>,
        before: Option<&Look>,
    ) -> Look {
        let mut names = Names::default();
        let mut by_stack: Vec<Option<u32>> = vec![None; snapshot.stacks.len()];
        let mut at: Vec<u32> = snapshot
            .goroutines
            .iter()
            .map(|goroutine| {
                let Some(StackId(stack)) = goroutine.stack else {
                    return 0;
                };
                let Some(known) = by_stack.get_mut(stack as usize) else {
                    return 0;
                };
                *known.get_or_insert_with(|| {
                    let frame = user_frame(snapshot.stack(goroutine), &*symbols);
                    names.number(frame.as_ref())
                })
            })
            .collect();
        let mut by_pc: HashMap<Pc, u32> = HashMap::new();
        let mut created: Vec<u32> = snapshot
            .goroutines
            .iter()
            .map(|goroutine| match goroutine.created_at.get() {
                Some(pc) => *by_pc
                    .entry(pc)
                    .or_insert_with(|| names.number(symbols.frames(pc).first())),
                None => 0,
            })
            .collect();
        let (places, ranks) = names.ranked();
        for place in at.iter_mut().chain(&mut created) {
            *place = ranks.get(*place as usize).copied().unwrap_or(0);
        }
        let mut by_goid: Vec<u32> = (0..index(snapshot.goroutines.len())).collect();
        let goid = |at: &u32| snapshot.goroutines.get(*at as usize).map(|it| it.goid);
        by_goid.sort_by_key(goid);
        let mut by_addr: Vec<u32> = (0..index(snapshot.channels.len())).collect();
        let addr = |at: &u32| snapshot.channels.get(*at as usize).map(|it| it.addr);
        by_addr.sort_by_key(addr);
        let users = || snapshot.goroutines.iter().filter(|it| !it.system);
        let mut look = Look {
            users: users().count(),
            by_state: State::ALL
                .into_iter()
                .map(|state| (state.name(), users().filter(|it| it.state == state).count()))
                .filter(|(_, number)| *number > 0)
                .collect(),
            sites: Vec::new(),
            snapshot,
            findings,
            symbols,
            unsure,
            places,
            at,
            created,
            by_goid,
            by_addr,
        };
        look.sites = look.count_sites(before);
        look
    }

    /// How many goroutines and channels it has.
    pub(crate) const fn size(&self) -> (usize, usize) {
        (self.snapshot.goroutines.len(), self.snapshot.channels.len())
    }

    fn count_sites(&self, before: Option<&Look>) -> Vec<Site> {
        let mut sites: HashMap<(u32, Option<WaitReason>), Site> = HashMap::new();
        for (goroutine, &place) in self.snapshot.goroutines.iter().zip(&self.at) {
            if goroutine.system {
                continue;
            }
            let reason = goroutine.wait.as_ref().map(|wait| wait.reason);
            let site = sites.entry((place, reason)).or_insert(Site {
                place,
                reason,
                count: 0,
                grown: None,
                longest: None,
            });
            site.count += 1;
            site.longest = site.longest.max(self.waited(goroutine));
        }
        let mut sites: Vec<Site> = sites.into_values().collect();
        if let Some(before) = before {
            let counts: HashMap<(&str, Option<WaitReason>), u64> = before
                .sites
                .iter()
                .map(|site| ((before.place(site.place), site.reason), site.count))
                .collect();
            for site in &mut sites {
                let key = (self.place(site.place), site.reason);
                let count = counts.get(&key).copied().unwrap_or(0);
                site.grown = Some(site.count.cast_signed() - count.cast_signed());
            }
        }
        sites
    }

    /// How long a goroutine has waited, in nanoseconds, if that is known.
    pub(super) fn waited(&self, goroutine: &Goroutine) -> Option<u64> {
        let since = goroutine.wait.as_ref()?.since.get()?;
        Some(self.snapshot.finished.since(since))
    }

    /// A place's text; empty if it is not known.
    pub(super) fn place(&self, place: u32) -> &str {
        self.places
            .get(place as usize)
            .map_or("", |place| place.text.as_str())
    }

    /// The same for filters.
    pub(super) fn place_search(&self, place: u32) -> &str {
        self.places
            .get(place as usize)
            .map_or("", |place| place.search.as_str())
    }

    /// How many places there are.
    pub(super) const fn places(&self) -> usize {
        self.places.len()
    }

    /// Where the goroutine at an index is. Places are numbered in the order of their names.
    pub(super) fn at(&self, goroutine: u32) -> u32 {
        self.at.get(goroutine as usize).copied().unwrap_or(0)
    }

    /// Where it was created.
    pub(super) fn created(&self, goroutine: u32) -> u32 {
        self.created.get(goroutine as usize).copied().unwrap_or(0)
    }

    /// Indices of all goroutines, by goid.
    pub(super) fn by_goid(&self) -> &[u32] {
        &self.by_goid
    }

    /// Indices of all channels, by address.
    pub(super) fn by_addr(&self) -> &[u32] {
        &self.by_addr
    }

    /// A goroutine with its index.
    pub(super) fn goroutine(&self, goid: Goid) -> Option<(u32, &Goroutine)> {
        let all = &self.snapshot.goroutines;
        let of = |at: &u32| all.get(*at as usize).map(|it| it.goid);
        let found = self.by_goid.binary_search_by_key(&Some(goid), of).ok()?;
        let index = *self.by_goid.get(found)?;
        Some((index, all.get(index as usize)?))
    }

    /// A channel.
    pub(super) fn channel(&self, addr: ChanAddr) -> Option<&Channel> {
        let all = &self.snapshot.channels;
        let of = |at: &u32| all.get(*at as usize).map(|it| it.addr);
        let found = self.by_addr.binary_search_by_key(&Some(addr), of).ok()?;
        all.get(*self.by_addr.get(found)? as usize)
    }

    /// Whether a goroutine's state may have changed unseen.
    pub(super) fn is_unsure(&self, goid: Goid) -> bool {
        self.unsure.binary_search(&goid).is_ok()
    }
}

/// An index, of which there are never so many.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A frame's place as one line: function, file's name, line.
pub(super) fn place_of(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    format!("{}  {}:{}", safe(&frame.function), safe(file), frame.line)
}

/// Names of places, numbered as they come.
struct Names {
    numbers: HashMap<String, u32>,
}

impl Default for Names {
    fn default() -> Self {
        Names {
            numbers: HashMap::from([(String::new(), 0)]),
        }
    }
}

impl Names {
    fn number(&mut self, frame: Option<&Frame>) -> u32 {
        let next = index(self.numbers.len());
        let text = frame.map(place_of).unwrap_or_default();
        *self.numbers.entry(text).or_insert(next)
    }

    /// The places by name, and the rank of each number.
    fn ranked(self) -> (Vec<Place>, Vec<u32>) {
        let mut named: Vec<(String, u32)> = self.numbers.into_iter().collect();
        named.sort_unstable();
        let mut ranks = vec![0; named.len()];
        for (rank, (_, number)) in named.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = index(rank);
            }
        }
        let places = named.into_iter().map(|(text, _)| Place {
            search: text.to_lowercase(),
            text,
        });
        (places.collect(), ranks)
    }
}
