//! What the metrics are made of: the world in numbers, and nothing that grows with its goroutines or
//! channels but sites, of which the rarest are summed up.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::detect::{FindingKind, Tracked, Verdict};
use tracer_model::ids::{ChanAddr, Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::wait::{Direction, WaitObject, WaitReason};
use tracer_model::world::{Census, Channel, Histogram, Totals, World};

use super::picture::LastRead;
use crate::document::run;

/// Different stacks that are looked at by themselves: more would take their names longer to find than a
/// scrape may take.
const STACKS: usize = 4096;

/// The world in numbers.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) at: Ktime,
    pub(crate) goroutines: Census,
    /// User goroutines that wait, by reason.
    pub(crate) waiting: FxHashMap<WaitReason, u64>,
    /// The same by stack, innermost frame first, most frequent first; what is not known or not among the
    /// most frequent stacks is counted in [`Measured::rare_stacks`].
    pub(crate) stacks: Vec<(Arc<[Pc]>, u64)>,
    pub(crate) rare_stacks: u64,
    pub(crate) unknown_stacks: u64,
    /// User goroutines by the `go` statement.
    pub(crate) created_at: FxHashMap<Option<Pc>, u64>,
    /// Channels that somebody waits on, by element type; one may be there more than once.
    pub(crate) channels: Vec<(String, Channels)>,
    pub(crate) totals: Totals,
    /// How long messages lay in buffers.
    pub(crate) dwell: Histogram,
    pub(crate) delivered: u64,
    pub(crate) unknown_messages: u64,
    pub(crate) stale_messages: u64,
    /// Findings, and the goroutines in them.
    pub(crate) findings: FxHashMap<(FindingKind, Verdict), (u64, u64)>,
    pub(crate) loss: run::Loss,
    /// Hits of each hook.
    pub(crate) hits: Vec<(run::Name, u64)>,
    /// The cost of one hit in seconds.
    pub(crate) hit_seconds: f64,
    pub(crate) governor: Option<run::Governor>,
    pub(crate) last_read: LastRead,
    pub(crate) reads: Reads,
}

/// Channels of one element type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Channels {
    pub(crate) number: u64,
    /// Of these, those with a buffer that is full.
    pub(crate) full: u64,
    /// Elements in their buffers, and room for these.
    pub(crate) elements: u64,
    pub(crate) capacity: u64,
    /// Goroutines that wait to send and to receive; one that selects counts in each of its channels.
    pub(crate) sending: u64,
    pub(crate) receiving: u64,
}

impl Channels {
    /// Both together.
    pub(crate) const fn plus(self, other: Channels) -> Channels {
        Channels {
            number: self.number + other.number,
            full: self.full + other.full,
            elements: self.elements + other.elements,
            capacity: self.capacity + other.capacity,
            sending: self.sending + other.sending,
            receiving: self.receiving + other.receiving,
        }
    }

    /// Adds a channel; what is not known of it adds nothing.
    fn add(&mut self, channel: Option<&Channel>, waits: Waits, world: &World) {
        self.number += 1;
        self.sending += u64::from(waits.sending);
        self.receiving += u64::from(waits.receiving);
        let cap = channel.and_then(Channel::cap).unwrap_or(0);
        let len = channel
            .and_then(|channel| world.len_of(channel))
            .unwrap_or(0);
        self.full += u64::from(cap > 0 && len == cap);
        self.elements += len;
        self.capacity += cap;
    }
}

/// Goroutines that wait on a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    sending: u32,
    receiving: u32,
}

/// Channels that somebody waits on, by element type. They are gone through in the order in which the world has
/// them: to look each up takes several times as long.
fn by_type(world: &World, waits: &FxHashMap<ChanAddr, Waits>) -> Vec<(String, Channels)> {
    // The world keeps equal types once.
    let mut types: FxHashMap<*const str, (&str, Channels)> = FxHashMap::default();
    let mut unknown = Channels::default();
    let mut known = 0;
    for channel in world.channels() {
        if let Some(waits) = waits.get(&channel.addr()) {
            known += 1;
            let name = channel.elem_type().unwrap_or_default();
            let (_, channels) = types
                .entry(std::ptr::from_ref(name))
                .or_insert((name, Channels::default()));
            channels.add(Some(channel), *waits, world);
        }
    }
    if known < waits.len() {
        for (&chan, waits) in waits {
            if world.channel_at(chan).is_none() {
                unknown.add(None, *waits, world);
            }
        }
    }
    let types = types.into_values();
    types
        .map(|(name, channels)| (name.to_owned(), channels))
        .chain((unknown.number > 0).then(|| (String::new(), unknown)))
        .collect()
}

/// How reads of memory went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reads {
    /// How many there were.
    pub(crate) count: u64,
    /// Of the last one: entities that were read more than once, that still moved, that could not be read.
    pub(crate) reread: u64,
    pub(crate) moving: u64,
    pub(crate) unreadable: u64,
}

impl Reads {
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        *self = Reads {
            count: self.count + 1,
            reread: snapshot.reread,
            moving: snapshot.moving,
            unreadable: snapshot.errors.len() as u64,
        };
    }
}

impl Measured {
    /// What the world has. Takes one look at each goroutine.
    pub(super) fn of(world: &World) -> Measured {
        let flows = world.flows();
        let mut measured = Measured {
            totals: world.totals().clone(),
            dwell: flows.dwell().clone(),
            delivered: flows.delivered(),
            unknown_messages: flows.unknown(),
            stale_messages: flows.stale(),
            ..Measured::default()
        };
        let mut stacks: FxHashMap<*const [Pc], (&Arc<[Pc]>, u64)> = FxHashMap::default();
        let mut waits: FxHashMap<ChanAddr, Waits> = FxHashMap::default();
        waits.reserve(world.channels().len());
        for goroutine in world.goroutines() {
            measured.goroutines.add(goroutine);
            let system = goroutine.system();
            if !system {
                let statement = goroutine.origin().created_at;
                *measured.created_at.entry(statement).or_default() += 1;
            }
            let Some(wait) = goroutine.wait() else {
                continue;
            };
            for object in wait.objects {
                let WaitObject::Chan { chan, direction } = *object else {
                    continue;
                };
                let waits = waits.entry(chan).or_default();
                match direction {
                    Direction::Send => waits.sending += 1,
                    Direction::Receive => waits.receiving += 1,
                }
            }
            if system {
                continue;
            }
            *measured.waiting.entry(wait.reason).or_default() += 1;
            match goroutine.stack() {
                // The world keeps equal ones once.
                Some(stack) => stacks.entry(Arc::as_ptr(stack)).or_insert((stack, 0)).1 += 1,
                None => measured.unknown_stacks += 1,
            }
        }
        let mut stacks: Vec<(&Arc<[Pc]>, u64)> = stacks.into_values().collect();
        stacks.sort_unstable_by(|(a, most), (b, more)| more.cmp(most).then_with(|| a.cmp(b)));
        let rare = stacks.split_off(stacks.len().min(STACKS));
        measured.rare_stacks = rare.iter().map(|(_, count)| count).sum();
        measured.stacks = stacks
            .into_iter()
            .map(|(stack, count)| (Arc::clone(stack), count))
            .collect();
        measured.channels = by_type(world, &waits);
        measured
    }

    pub(super) fn count_finding(&mut self, tracked: &Tracked) {
        let finding = &tracked.finding;
        let counts = self
            .findings
            .entry((finding.kind, finding.verdict))
            .or_default();
        counts.0 += 1;
        counts.1 += finding.goroutines.len() as u64;
    }
}
