//! Trends: what many looks show and no single one does. Goroutines that pile up, queues that never get
//! shorter, stacks that grow.
//!
//! They are about the future, so they are never more than [`Verdict::Suspect`], and silence is better
//! than a false alarm: whatever is also a ramp at the start, a burst, a pool that fills or the morning's
//! users must look different here. What tells them apart:
//!
//! - **Growth.** Of goroutines that came to a place and stayed there without running once ([`cohort`]),
//!   next to none goes on, over so much time that they are sure to stay long; some are there for five
//!   windows, be it from before the first look; they come through the whole window and as fast at its end; and there are not as
//!   many new network waits, which would be users. Of goroutines that do run, or go by a ticker, it takes
//!   three windows.
//! - **Backlog, convoy.** A crowd, or ever others, wait at one object at nine of ten looks in every block
//!   ([`queues`]).
//!   Likewise if half of all goroutines wait for some lock.
//! - **Recursion.** A stack is deeper after every block ([`depths`]).
//!
//! All of it is told by snapshots alone. Events add who serves a queue.

mod clock;
mod cohort;
mod depths;
mod queues;
mod report;
mod statistics;
mod words;

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use crate::ids::{Addr, ChanAddr, Goid, Ktime, Pc};
use crate::snapshot::{Channel, Goroutine, Snapshot, State};
use crate::symbol::Symbolizer;
use crate::wait::{Direction, WaitKind, WaitObject, WaitReason};
use crate::world::{Origin, World};

pub use statistics::Slope;

use super::finding::Finding;
use super::timers::timers;
use clock::{Block, Clock, PARTS, Ring, Tick};
use cohort::Cohort;
use depths::Depths;
use queues::Queues;

/// Windows that are remembered: a slow growth takes more than one.
const WINDOWS: usize = 3;
/// So many that wait for locks, at least, are worth a word when they are half of all.
const ALL_LOCKS: usize = 16;
/// Blocks that are remembered.
const KEPT: usize = PARTS * WINDOWS;

/// Finds trends, look by look.
#[derive(Debug)]
pub struct Trends {
    clock: Clock,
    /// Goroutines that did not run since they began to wait.
    stuck: Cohort<Stuck>,
    /// Goroutines that live for a while and wait for nobody.
    lasting: Cohort<Origin>,
    /// User goroutines that wait for the network.
    network: Ring<u64>,
    senders: Queues<ChanAddr>,
    /// By lock; all locks together, while half of all goroutines wait for some, are `None`.
    lockers: Queues<Option<Addr>>,
    depths: Depths,
    first: bool,
}

/// Where goroutines wait that do not run any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stuck {
    origin: Origin,
    reason: WaitReason,
    /// Of the stack.
    hash: u64,
}

impl Trends {
    /// Trends over a window of so many nanoseconds: that long something must go on before it is said.
    pub fn new(window: u64) -> Trends {
        let block = window / PARTS as u64;
        Trends {
            clock: Clock::new(block, KEPT),
            stuck: Cohort::new(block, KEPT),
            lasting: Cohort::new(block, KEPT),
            network: Ring::new(KEPT),
            senders: Queues::new(),
            lockers: Queues::new(),
            depths: Depths::default(),
            first: true,
        }
    }

    /// Takes in what a look saw. Of every so many it returns all that is to be said by now, `None` of the
    /// others. `world`, if events were traced, tells who serves whom.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        world: Option<&World>,
        symbolizer: &dyn Symbolizer,
    ) -> Option<Vec<Finding>> {
        let at = snapshot.started;
        let tick = self.clock.look(at);
        if tick == Tick::First {
            self.forget();
        }
        let channels: FxHashMap<ChanAddr, &Channel> = snapshot
            .channels
            .iter()
            .map(|channel| (channel.addr, channel))
            .collect();
        self.goroutines(snapshot, &channels, at);
        self.channels(snapshot, world);
        self.first = false;
        if tick != Tick::Closed {
            return None;
        }
        let Block { looks, length, .. } = *self.clock.window(1)?.first()?;
        self.stuck.close(length);
        self.lasting.close(length);
        self.network.push(waiting_for_the_network(snapshot));
        self.senders.close(looks);
        self.lockers.close(looks);
        self.depths.close();
        let findings = self.report(snapshot, &channels, symbolizer);
        if self.stuck.is_overfull() || self.lasting.is_overfull() {
            self.forget();
        }
        Some(findings)
    }

    /// Begins anew.
    fn forget(&mut self) {
        self.stuck.clear();
        self.lasting.clear();
        self.network = Ring::new(KEPT);
        self.senders.clear();
        self.lockers.clear();
        self.depths.clear();
        self.first = true;
    }

    fn goroutines(
        &mut self,
        snapshot: &Snapshot,
        channels: &FxHashMap<ChanAddr, &Channel>,
        at: Ktime,
    ) {
        let stacks: Vec<u64> = snapshot.stacks.iter().map(hash).collect();
        let mut locked: FxHashMap<Addr, Vec<&Goroutine>> = FxHashMap::default();
        self.stuck.begin();
        self.lasting.begin();
        for goroutine in &snapshot.goroutines {
            if goroutine.system || goroutine.state == State::Dead {
                continue;
            }
            let goid = goroutine.goid;
            let origin = Origin {
                start: goroutine.start.get(),
                created_at: goroutine.created_at.get(),
            };
            if lives_by_itself(goroutine, channels) {
                self.lasting.see(goid, (0, None), at, self.first, || origin);
            }
            if let Some(bytes) = goroutine.stack_bytes.get() {
                self.depths.see(goid, bytes);
            }
            let Some(wait) = &goroutine.wait else {
                continue;
            };
            let kind = wait.reason.kind();
            if goroutine.moving
                || !kind.ends_only_by_goroutine()
                || ends_by_time(goroutine, channels)
            {
                continue;
            }
            if let (WaitKind::Mutex | WaitKind::RwMutex, [WaitObject::Semaphore(lock)]) =
                (kind, &*wait.objects)
            {
                locked.entry(*lock).or_default().push(goroutine);
            }
            let Some(stack) = goroutine.stack.and_then(|id| stacks.get(id.0 as usize)) else {
                continue;
            };
            let mark = hash(&(wait.reason, &wait.objects, goroutine.stops, stack));
            // The garbage collector notes when it saw the goroutine wait first.
            let mark = (mark, wait.since.get());
            self.stuck.see(goid, mark, at, self.first, || Stuck {
                origin,
                reason: wait.reason,
                hash: *stack,
            });
        }
        self.stuck.end();
        self.lasting.end();
        let users = (snapshot.goroutines.iter()).filter(|goroutine| !goroutine.system);
        let all: Vec<&Goroutine> = locked.values().flatten().copied().collect();
        if all.len() >= ALL_LOCKS && all.len() * 2 >= users.count() {
            self.crowd(None, &all);
        }
        for (lock, waiting) in locked {
            if waiting.len() >= queues::CROWD {
                self.crowd(Some(lock), &waiting);
            }
        }
    }

    /// These wait for one lock, or all of these for some.
    fn crowd(&mut self, lock: Option<Addr>, waiting: &[&Goroutine]) {
        let head = waiting.iter().min_by_key(|goroutine| goroutine.goid);
        if let Some(head) = head {
            let goids = waiting.iter().map(|goroutine| goroutine.goid);
            self.lockers.see(&lock, goids, (head.goid, head.stops));
        }
    }

    fn channels(&mut self, snapshot: &Snapshot, world: Option<&World>) {
        let full: Vec<(&Channel, Goid)> = snapshot
            .channels
            .iter()
            .filter_map(|channel| {
                let head = channel.send_waiting.first()?;
                // A channel of nothing with room counts permits: that it is used up is its purpose.
                let counts = channel.elem_size == 0 && channel.cap > 0;
                let stands = !channel.moving && !channel.closed && channel.len == channel.cap;
                (stands && !counts).then_some((channel, head.goid))
            })
            .collect();
        if full.is_empty() {
            return;
        }
        let mut stops: FxHashMap<Goid, Option<u8>> =
            full.iter().map(|&(_, head)| (head, None)).collect();
        for goroutine in &snapshot.goroutines {
            if goroutine.wait.is_some()
                && let Some(of_head) = stops.get_mut(&goroutine.goid)
            {
                *of_head = goroutine.stops;
            }
        }
        for (channel, head) in full {
            let goids = channel.send_waiting.iter().map(|waiter| waiter.goid);
            let head = (head, stops.get(&head).copied().flatten());
            self.senders.see(&channel.addr, goids, head);
            let known = world.and_then(|world| world.channel_at(channel.addr));
            let server = known.and_then(|known| known.side(Direction::Send).waker);
            // The runtime itself receives nothing.
            if let Some(server) = server.filter(|server| server.0 != 0) {
                self.senders.served(&channel.addr, server);
            }
        }
    }
}

/// Whether a goroutine runs, waits for the network or goes by a ticker: who waits for others to give it
/// work may be one of a pool, which may grow. Who sleeps wakes up and may end then.
fn lives_by_itself(goroutine: &Goroutine, channels: &FxHashMap<ChanAddr, &Channel>) -> bool {
    let Some(wait) = &goroutine.wait else {
        return true;
    };
    match wait.reason.kind() {
        WaitKind::Netpoll => true,
        WaitKind::Chan | WaitKind::Select => timers(goroutine, channels).any(|(_, once)| !once),
        _ => false,
    }
}

/// Whether time alone will end the wait: a timer that is set sends to a channel that is waited on.
fn ends_by_time(goroutine: &Goroutine, channels: &FxHashMap<ChanAddr, &Channel>) -> bool {
    timers(goroutine, channels).next().is_some()
}

fn waiting_for_the_network(snapshot: &Snapshot) -> u64 {
    let waits = |goroutine: &&Goroutine| {
        let wait = goroutine.wait.as_ref();
        !goroutine.system && wait.is_some_and(|wait| wait.reason.kind() == WaitKind::Netpoll)
    };
    snapshot.goroutines.iter().filter(waits).count() as u64
}

fn hash(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = FxHasher::default();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The site as an id spells it.
fn spelled(site: Option<Pc>) -> String {
    site.map_or_else(String::new, |pc| format!("{pc}-"))
}
