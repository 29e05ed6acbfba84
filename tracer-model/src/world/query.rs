//! Questions to the world. None of them is on the way of an event.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::ids::{ChanAddr, ChanId, Goid, Ktime};
use crate::snapshot::{State, Value};
use crate::wait::{Direction, WaitObject};

use super::World;
use super::channel::Channel;
use super::goroutine::{Entry, Goroutine};

/// How many goroutines are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    user: [u64; State::ALL.len()],
    system: [u64; State::ALL.len()],
    /// Of all, those whose state is not known since records were lost.
    pub unknown: u64,
}

impl Census {
    /// Counts a goroutine.
    pub fn add(&mut self, goroutine: Goroutine<'_>) {
        let counts = if goroutine.system() {
            &mut self.system
        } else {
            &mut self.user
        };
        counts[goroutine.state() as usize] += 1;
        self.unknown += u64::from(goroutine.unknown_since().is_some());
    }

    /// Counts those of another one, too.
    pub fn merge(&mut self, other: &Census) {
        let Census {
            user,
            system,
            unknown,
        } = other;
        for (sums, counts) in [(&mut self.user, user), (&mut self.system, system)] {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        self.unknown += unknown;
    }

    /// User goroutines in a state.
    pub const fn user(&self, state: State) -> u64 {
        self.user[state as usize]
    }

    /// The runtime's own goroutines in a state.
    pub const fn system(&self, state: State) -> u64 {
        self.system[state as usize]
    }

    /// All user goroutines.
    pub fn users(&self) -> u64 {
        self.user.iter().sum()
    }

    /// All of the runtime's own.
    pub fn systems(&self) -> u64 {
        self.system.iter().sum()
    }
}

/// A goroutine in a channel's queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueuedWaiter<'w> {
    /// Who waits.
    pub goid: Goid,
    /// Since when, if known.
    pub since: Option<Ktime>,
    /// Whether it does so in a select of several cases.
    pub select: bool,
    /// What a sender holds out, if it was read during this wait.
    pub value: Option<&'w Value>,
}

/// Who waits on one channel, in the order in which they are served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue<'w> {
    /// To send.
    pub send: Vec<QueuedWaiter<'w>>,
    /// To receive.
    pub receive: Vec<QueuedWaiter<'w>>,
}

/// Who waits on which channel, as of now.
///
/// Derived from the goroutines' waits in one pass: what a goroutine waits on and who is in a
/// channel's queue cannot disagree. Order: as last read, then by the time of the park, which is
/// taken under the channel's lock.
#[derive(Clone, Debug, Default)]
pub struct Queues<'w>(FxHashMap<ChanAddr, Queue<'w>>);

impl<'w> Queues<'w> {
    /// The queue of one channel; `None` if nobody waits.
    pub fn get(&self, chan: ChanAddr) -> Option<&Queue<'w>> {
        self.0.get(&chan)
    }

    /// All channels that somebody waits on, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ChanAddr, &Queue<'w>)> + '_ {
        self.0.iter().map(|(&chan, queue)| (chan, queue))
    }
}

impl World {
    /// One goroutine; `None` if it is not known or gone.
    pub fn goroutine(&self, goid: Goid) -> Option<Goroutine<'_>> {
        let entry = self.goroutines.get(&goid)?;
        Some(self.view(goid, entry))
    }

    /// All living goroutines, in no order.
    pub fn goroutines(&self) -> impl ExactSizeIterator<Item = Goroutine<'_>> {
        let entries = self.goroutines.iter();
        entries.map(|(&goid, entry)| self.view(goid, entry))
    }

    const fn view<'w>(&self, goid: Goid, entry: &'w Entry) -> Goroutine<'w> {
        let (heard_until, parks_seen) = (self.heard_until, self.parks_seen);
        Goroutine::new(goid, entry, self.lost_at, heard_until, parks_seen)
    }

    /// Goroutines whose state is not known since records were lost, in no order.
    pub fn unknown_goroutines(&self) -> impl Iterator<Item = Goroutine<'_>> {
        self.goroutines()
            .filter(|goroutine| goroutine.unknown_since().is_some())
    }

    /// The channel that has this address now.
    pub fn channel_at(&self, addr: ChanAddr) -> Option<&Channel> {
        self.channels.get(&addr)
    }

    /// The channel with this number, unless it is forgotten or its address has another one. Looks
    /// through all channels.
    pub fn channel(&self, id: ChanId) -> Option<&Channel> {
        self.channels.values().find(|channel| channel.id() == id)
    }

    /// How many elements a channel buffers, as far as is known: what was seen before the probes became
    /// others ([`World::retrace`]) counts no more, unless it is from the newest snapshot.
    pub fn len_of(&self, channel: &Channel) -> Option<u64> {
        let len = channel.len()?;
        let read = self.complete_at.unwrap_or(self.retraced_at);
        (len.stamp.at >= read.min(self.retraced_at)).then_some(len.value)
    }

    /// All channels, in no order.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &Channel> {
        self.channels.values()
    }

    /// Counts goroutines by state.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for goroutine in self.goroutines() {
            census.add(goroutine);
        }
        census
    }

    /// The `k` fullest buffered channels: by length over capacity, then by length. Channels whose
    /// length is not known are not among them.
    pub fn fullest_channels(&self, k: usize) -> Vec<&Channel> {
        let mut buffered: Vec<(u128, u64, &Channel)> = self
            .channels()
            .filter_map(|channel| {
                let cap = channel.cap().filter(|&cap| cap > 0)?;
                let len = self.len_of(channel)?;
                Some(((u128::from(len) << 64) / u128::from(cap), len, channel))
            })
            .collect();
        top(&mut buffered, k, |&(ratio, len, channel)| {
            (Reverse(ratio), Reverse(len), channel.id())
        });
        buffered
            .into_iter()
            .map(|(_, _, channel)| channel)
            .collect()
    }

    /// The `k` user goroutines that wait longest for what only another goroutine can bring about. A
    /// wait whose beginning is not known counts from when it was first seen.
    pub fn longest_waits(&self, k: usize) -> Vec<Goroutine<'_>> {
        let mut waiting: Vec<(Ktime, Goroutine<'_>)> = self
            .goroutines()
            .filter(|goroutine| !goroutine.system() && goroutine.unknown_since().is_none())
            .filter_map(|goroutine| {
                let wait = goroutine.wait()?;
                let stuck = wait.reason.kind().ends_only_by_goroutine();
                stuck.then(|| (wait.at_latest(), goroutine))
            })
            .collect();
        top(&mut waiting, k, |&(since, goroutine)| {
            (since, goroutine.goid())
        });
        waiting
            .into_iter()
            .map(|(_, goroutine)| goroutine)
            .collect()
    }

    /// Who waits on which channel. Looks through all goroutines.
    pub fn queues(&self) -> Queues<'_> {
        self.queues_of(|_| true)
    }

    /// Who waits on these channels. Looks through all goroutines, too, but takes memory for these
    /// channels alone.
    pub fn queues_of(&self, is_wanted: impl Fn(ChanAddr) -> bool) -> Queues<'_> {
        let mut ranks: FxHashMap<(ChanAddr, Direction, Goid), (usize, &Channel)> =
            FxHashMap::default();
        let wanted = self.channels().filter(|channel| is_wanted(channel.addr()));
        for channel in wanted {
            let Some(contents) = channel.contents() else {
                continue;
            };
            for (direction, waiters) in [
                (Direction::Send, &contents.send_waiting),
                (Direction::Receive, &contents.recv_waiting),
            ] {
                for (rank, waiter) in waiters.iter().enumerate() {
                    ranks
                        .entry((channel.addr(), direction, waiter.goid))
                        .or_insert((rank, channel));
                }
            }
        }
        let mut ranked: FxHashMap<ChanAddr, [Vec<(Rank, QueuedWaiter<'_>)>; 2]> =
            FxHashMap::default();
        for goroutine in self.goroutines() {
            let Some(wait) = goroutine.wait() else {
                continue;
            };
            for object in wait.objects {
                let WaitObject::Chan { chan, direction } = *object else {
                    continue;
                };
                if !is_wanted(chan) {
                    continue;
                }
                let goid = goroutine.goid();
                let (rank, value) = match ranks.get(&(chan, direction, goid)) {
                    Some(&(rank, channel)) if was_read_in(channel, goroutine) => {
                        (Rank::Read(rank), read_value(channel, direction, rank))
                    }
                    _ => (Rank::Parked(wait.since, goid), None),
                };
                let queue = &mut ranked.entry(chan).or_default()[direction as usize];
                // A select can name a channel twice.
                if queue.last().is_none_or(|(_, last)| last.goid != goid) {
                    queue.push((
                        rank,
                        QueuedWaiter {
                            goid,
                            since: wait.since,
                            select: wait.objects.len() > 1,
                            value,
                        },
                    ));
                }
            }
        }
        Queues(
            ranked
                .into_iter()
                .map(|(chan, [send, receive])| {
                    let queue = Queue {
                        send: in_order(send),
                        receive: in_order(receive),
                    };
                    (chan, queue)
                })
                .collect(),
        )
    }
}

/// Place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// As it was read.
    Read(usize),
    /// Came since, or the queue was never read: by time of the park, unknown ones first.
    Parked(Option<Ktime>, Goid),
}

/// Whether the goroutine's present wait is the one in which the channel's queue was read.
fn was_read_in(channel: &Channel, goroutine: Goroutine<'_>) -> bool {
    let Some(contents) = channel.contents() else {
        return false;
    };
    goroutine.last_event().is_none_or(|at| at < contents.at)
}

fn read_value(channel: &Channel, direction: Direction, rank: usize) -> Option<&Value> {
    let contents = channel.contents()?;
    match direction {
        Direction::Send => contents.send_waiting.get(rank)?.value.as_deref(),
        Direction::Receive => None,
    }
}

fn in_order<'w>(mut queue: Vec<(Rank, QueuedWaiter<'w>)>) -> Vec<QueuedWaiter<'w>> {
    queue.sort_unstable_by_key(|&(rank, _)| rank);
    queue.into_iter().map(|(_, waiter)| waiter).collect()
}

/// Leaves the `k` first by `key`, in order.
fn top<T, K: Ord>(items: &mut Vec<T>, k: usize, key: impl Fn(&T) -> K) {
    if k == 0 {
        items.clear();
        return;
    }
    if k < items.len() {
        items.select_nth_unstable_by_key(k - 1, &key);
        items.truncate(k);
    }
    items.sort_unstable_by_key(key);
}
