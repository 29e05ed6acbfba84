//! Reading channels: the hchan, then its queues and values, then the hchan again, in groups.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, ChanAddr, Goid, Ktime};
use tracer_model::snapshot::{Channel, ChannelTimer, Value, Waiter};
use tracer_model::wait::Direction;

use super::bytes::{u16_at, u32_at, u64_at};
use super::goroutines::ChanWait;
use super::header::Header;
use super::hidden::moment;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::sudog::Sudog;
use super::types::{Type, Types};
use super::value::Decoder;
use super::{ReadOptions, Symbols};
use crate::layout::{self, RuntimeLayout};

/// Channels read together, by attempt. One entry for each attempt.
const GROUPS: [usize; 4] = [512, 32, 4, 1];

/// Waiters in one queue at most; more are not believed.
const MAX_WAITERS: usize = 1 << 22;

/// How many waiters of a queue may come as a surprise, one after the other.
const MAX_ROUNDS: usize = 4096;

/// A `runtime.hchan` as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hchan {
    qcount: u64,
    pub(super) dataqsiz: u64,
    pub(super) buf: u64,
    pub(super) elemsize: u16,
    closed: u32,
    pub(super) elemtype: u64,
    sendx: u64,
    recvx: u64,
    pub(super) recvq: (u64, u64),
    pub(super) sendq: (u64, u64),
    timer: u64,
}

impl Hchan {
    pub(super) fn parse(layout: &layout::Hchan, bytes: &[u8]) -> Hchan {
        Hchan {
            qcount: u64_at(bytes, layout.qcount),
            dataqsiz: u64_at(bytes, layout.dataqsiz),
            buf: u64_at(bytes, layout.buf),
            elemsize: u16_at(bytes, layout.elemsize),
            closed: u32_at(bytes, layout.closed),
            elemtype: u64_at(bytes, layout.elemtype),
            sendx: u64_at(bytes, layout.sendx),
            recvx: u64_at(bytes, layout.recvx),
            recvq: (
                u64_at(bytes, layout.recvq_first),
                u64_at(bytes, layout.recvq_last),
            ),
            sendq: (
                u64_at(bytes, layout.sendq_first),
                u64_at(bytes, layout.sendq_last),
            ),
            timer: layout.timer.map_or(0, |at| u64_at(bytes, at)),
        }
    }

    /// Buffered elements and room for them.
    pub(super) const fn fill(&self) -> (u64, u64) {
        (self.qcount, self.dataqsiz)
    }

    /// What is wrong with it as a channel at rest; names the field.
    pub(super) fn implausible(&self) -> Option<(&'static str, String)> {
        let Hchan {
            qcount,
            dataqsiz: cap,
            sendx,
            recvx,
            ..
        } = *self;
        let in_flight = |from: u64| match from.checked_add(qcount) {
            Some(to) if cap != 0 => to % cap,
            _ => 0,
        };
        if cap > 1 << 48 {
            Some(("hchan.dataqsiz", cap.to_string()))
        } else if qcount > cap {
            Some(("hchan.qcount", format!("{qcount} of {cap}")))
        } else if recvx >= cap.max(1) || sendx >= cap.max(1) || in_flight(recvx) != sendx {
            Some((
                "hchan.sendx",
                format!("{sendx}, with recvx {recvx} and {qcount} of {cap} in the buffer"),
            ))
        } else if self.closed > 1 {
            Some(("hchan.closed", self.closed.to_string()))
        } else {
            None
        }
    }
}

/// A wait queue on the way through it.
struct Queue {
    chan: u64,
    next: u64,
    last: u64,
    sudogs: Vec<Sudog>,
    broken: bool,
}

impl Queue {
    fn new(chan: u64, (first, last): (u64, u64)) -> Queue {
        Queue {
            chan,
            next: first,
            last,
            sudogs: Vec::new(),
            broken: false,
        }
    }

    fn previous(&self) -> u64 {
        self.sudogs.last().map_or(0, |sudog| sudog.addr)
    }

    /// Goes on through what is known. Returns what must be read to go further.
    fn advance(&mut self, known: &FxHashMap<u64, Sudog>) -> Option<u64> {
        while !self.broken && self.next != 0 {
            let Some(sudog) = known.get(&self.next) else {
                return Some(self.next);
            };
            // The back link shows a walk that was torn, and ends a cycle.
            self.broken = sudog.chan != self.chan
                || sudog.prev != self.previous()
                || sudog.g == 0
                || self.sudogs.len() == MAX_WAITERS;
            self.sudogs.push(*sudog);
            self.next = sudog.next;
        }
        self.broken |= self.previous() != self.last;
        None
    }
}

/// Which sudogs are waited with on which channel, in the order of both.
#[derive(Debug, Default)]
pub(super) struct Expected(Vec<ChanWait>);

impl Expected {
    pub(super) fn new(mut waits: Vec<ChanWait>) -> Expected {
        waits.sort_unstable();
        Expected(waits)
    }

    /// Those of a channel.
    fn sudogs(&self, chan: u64) -> impl Iterator<Item = u64> {
        let first = self.0.partition_point(|(of, _)| *of < chan);
        let rest = self.0[first..].iter();
        rest.take_while(move |(of, _)| *of == chan)
            .map(|(_, sudog)| *sudog)
    }
}

/// What reading channels found.
#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) channels: Vec<Channel>,
    /// The queue that holds a sudog of a select.
    pub(super) directions: FxHashMap<u64, Direction>,
    pub(super) reread: u64,
    pub(super) errors: Vec<String>,
}

/// Reads channels of one process.
pub(super) struct Reader<'a, M> {
    pub(super) memory: &'a M,
    pub(super) layout: &'a RuntimeLayout,
    pub(super) types: &'a mut Types,
    pub(super) symbols: &'a Symbols,
    pub(super) options: &'a ReadOptions,
    pub(super) now: &'a dyn Fn() -> Ktime,
    pub(super) bulk: Bulk,
}

/// One channel of a group before its hchan is read again.
struct Candidate {
    chan: u64,
    hchan: Hchan,
    recvq: Queue,
    sendq: Queue,
}

impl Candidate {
    fn waiting(&self) -> impl Iterator<Item = &Sudog> {
        self.recvq.sudogs.iter().chain(&self.sendq.sudogs)
    }
}

impl<M: TargetMemory> Reader<'_, M> {
    /// Reads these channels. `expected` are the sudogs that goroutines were seen waiting with: a hint,
    /// nothing more.
    pub(super) fn read(
        &mut self,
        mut chans: Vec<u64>,
        expected: &Expected,
    ) -> Result<Channels, MemoryError> {
        let mut found = Channels::default();
        chans.sort_unstable();
        chans.dedup();
        let mut pending = chans;
        for (attempt, &size) in GROUPS.iter().enumerate() {
            let last = attempt + 1 == GROUPS.len();
            let mut changed = Vec::new();
            for group in pending.chunks(size) {
                self.group(group, expected, last, &mut changed, &mut found)?;
            }
            if attempt == 0 {
                found.reread = changed.len() as u64;
            }
            pending = changed;
        }
        found.channels.sort_unstable_by_key(|channel| channel.addr);
        Ok(found)
    }

    fn group(
        &mut self,
        chans: &[u64],
        expected: &Expected,
        last: bool,
        changed: &mut Vec<u64>,
        found: &mut Channels,
    ) -> Result<(), MemoryError> {
        let mut candidates = Vec::with_capacity(chans.len());
        for (&chan, hchan) in chans.iter().zip(self.hchans(chans)?) {
            match hchan {
                Some(hchan) => candidates.push(Candidate {
                    chan,
                    recvq: Queue::new(chan, hchan.recvq),
                    sendq: Queue::new(chan, hchan.sendq),
                    hchan,
                }),
                None if last => {
                    let error = format!("the channel at {} is not readable", ChanAddr(chan));
                    found.errors.push(error);
                }
                None => changed.push(chan),
            }
        }
        self.queues(&mut candidates, expected)?;
        // A channel looks the same after its only waiter left and came back. The waiters themselves
        // tell: who has not run from here to the last read waited all the while, in this queue if it
        // is there at the end.
        let owners = self.owners(&candidates)?;
        let mut values = Values::default();
        if self.options.values > 0 {
            values = self.values(&candidates)?;
        }
        let timers = self.timers(&candidates)?;

        let at = (self.now)();
        let chans: Vec<_> = candidates.iter().map(|candidate| candidate.chan).collect();
        let again = self.hchans(&chans)?;
        let restless = self.restless(&candidates, &owners)?;
        for (i, (candidate, again)) in candidates.into_iter().zip(again).enumerate() {
            let Candidate {
                chan,
                hchan: before,
                recvq,
                sendq,
            } = candidate;
            let queues = [(Direction::Receive, &recvq), (Direction::Send, &sendq)];
            let moving = again != Some(before)
                || values.changed.contains(&i)
                || recvq.broken
                || sendq.broken
                || restless.contains(&chan);
            let hchan = again.unwrap_or(before);
            let typ = self.types.get(self.memory, Addr(hchan.elemtype));
            let waited_on = expected.sudogs(chan).next().is_some();
            let wrong = hchan
                .implausible()
                .or_else(|| wrong_type(&hchan, typ.as_ref().ok(), waited_on));
            if !last && (moving || wrong.is_some()) {
                changed.push(chan);
                continue;
            }
            if let Some((field, reason)) = wrong {
                let addr = ChanAddr(chan);
                let error = match moving {
                    true => format!("the channel at {addr} changes too fast to be read"),
                    false => format!("{field} of the channel at {addr}: {reason}"),
                };
                found.errors.push(error);
                continue;
            }
            let mut values = values.decoded.remove(&i).unwrap_or_default();
            for (direction, queue) in queues {
                if !queue.broken {
                    let sudogs = queue.sudogs.iter().filter(|sudog| sudog.is_select);
                    found
                        .directions
                        .extend(sudogs.map(|sudog| (sudog.addr, direction)));
                }
            }
            let mut waiters = |queue: Queue| -> Vec<Waiter> {
                if queue.broken {
                    return Vec::new();
                }
                let waiter = |sudog: &Sudog| {
                    Some(Waiter {
                        goid: Goid(owners.get(&sudog.g)?.goid),
                        select: sudog.is_select,
                        value: match moving {
                            true => None,
                            false => values.of_senders.remove(&sudog.addr).map(Box::new),
                        },
                    })
                };
                queue.sudogs.iter().filter_map(waiter).collect()
            };
            let (send_waiting, recv_waiting) = (waiters(sendq), waiters(recvq));
            found.channels.push(Channel {
                at,
                addr: ChanAddr(chan),
                elem_type: typ.map_or_else(|_| Box::default(), |typ| Box::from(&*typ.name)),
                elem_size: hchan.elemsize,
                len: hchan.qcount,
                cap: hchan.dataqsiz,
                closed: hchan.closed != 0,
                timer: timers.get(&chan).copied(),
                made_at: None,
                values: match moving {
                    true => Vec::new(),
                    false => values.buffered,
                },
                send_waiting,
                recv_waiting,
                users: Vec::new(),
                moving,
            });
        }
        Ok(())
    }

    fn hchans(&mut self, chans: &[u64]) -> Result<Vec<Option<Hchan>>, MemoryError> {
        let layout = &self.layout.hchan;
        let items: Vec<_> = chans
            .iter()
            .map(|&chan| (chan, layout.size as usize))
            .collect();
        self.bulk.read(self.memory, &items)?;
        Ok((0..chans.len())
            .map(|i| Some(Hchan::parse(layout, self.bulk.get(i)?)))
            .collect())
    }

    /// The timers that send to channels, by channel.
    fn timers(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<FxHashMap<u64, ChannelTimer>, MemoryError> {
        let with_timer = candidates.iter().filter(|of| of.hchan.timer != 0);
        let (chans, items): (Vec<u64>, Vec<_>) = match self.layout.timer {
            Some(layout) => with_timer
                .map(|of| (of.chan, (of.hchan.timer, layout.size as usize)))
                .unzip(),
            None => Default::default(),
        };
        self.bulk.read(self.memory, &items)?;
        let timer = |(i, chan)| {
            let (layout, bytes) = (self.layout.timer?, self.bulk.get(i)?);
            let timer = ChannelTimer {
                when: moment(u64_at(bytes, layout.when)),
                period: u64_at(bytes, layout.period),
            };
            Some((chan, timer))
        };
        Ok((0..).zip(chans).filter_map(timer).collect())
    }

    fn sudogs(&mut self, addrs: &[u64]) -> Result<Vec<Option<Sudog>>, MemoryError> {
        let layout = &self.layout.sudog;
        let items: Vec<_> = addrs
            .iter()
            .map(|&addr| (addr, layout.size as usize))
            .collect();
        self.bulk.read(self.memory, &items)?;
        Ok((0..addrs.len())
            .map(|i| Some(Sudog::parse(layout, addrs[i], self.bulk.get(i)?)))
            .collect())
    }

    /// Walks the wait queues of all candidates.
    fn queues(
        &mut self,
        candidates: &mut [Candidate],
        expected: &Expected,
    ) -> Result<(), MemoryError> {
        let mut known = FxHashMap::default();
        let mut missing: Vec<u64> = candidates
            .iter()
            .flat_map(|candidate| expected.sudogs(candidate.chan))
            .collect();
        let mut asked = FxHashSet::default();
        for _ in 0..MAX_ROUNDS {
            asked.extend(missing.iter().copied());
            let read = self.sudogs(&missing)?;
            known.extend(read.into_iter().flatten().map(|sudog| (sudog.addr, sudog)));
            let mut wanted = Vec::new();
            for candidate in candidates.iter_mut() {
                for queue in [&mut candidate.recvq, &mut candidate.sendq] {
                    match queue.advance(&known) {
                        // It could not be read.
                        Some(addr) if asked.contains(&addr) => queue.broken = true,
                        Some(addr) => wanted.push(addr),
                        None => {}
                    }
                }
            }
            if wanted.is_empty() {
                return Ok(());
            }
            missing = wanted;
        }
        for candidate in candidates {
            for queue in [&mut candidate.recvq, &mut candidate.sendq] {
                queue.broken |= queue.next != 0;
            }
        }
        Ok(())
    }

    /// The headers of all waiting goroutines, by g. An earlier read of them need not be true any
    /// more: a g is used again for other goroutines.
    fn owners(&mut self, candidates: &[Candidate]) -> Result<FxHashMap<u64, Header>, MemoryError> {
        let gs: FxHashSet<u64> = candidates
            .iter()
            .flat_map(Candidate::waiting)
            .map(|sudog| sudog.g)
            .collect();
        let layout = &self.layout.g;
        let items: Vec<_> = gs.into_iter().map(|g| (g, layout.size as usize)).collect();
        self.bulk.read(self.memory, &items)?;
        Ok(items
            .into_iter()
            .enumerate()
            .filter_map(|(i, (g, _))| Some((g, Header::parse(layout, self.bulk.get(i)?))))
            .filter(|(_, header)| header.goid != 0)
            .collect())
    }

    /// The channels of which a waiter changed since its sudog and then its header were read.
    fn restless(
        &mut self,
        candidates: &[Candidate],
        owners: &FxHashMap<u64, Header>,
    ) -> Result<FxHashSet<u64>, MemoryError> {
        let before: Vec<&Sudog> = candidates.iter().flat_map(Candidate::waiting).collect();
        let addrs: Vec<u64> = before.iter().map(|sudog| sudog.addr).collect();
        let after = self.sudogs(&addrs)?;
        let owners_after = self.owners(candidates)?;
        let changed = |before: &Sudog, after: Option<Sudog>| {
            let owner = owners.get(&before.g).zip(owners_after.get(&before.g));
            after != Some(*before) || !owner.is_some_and(|(then, now)| then.same_spell(now))
        };
        Ok(before
            .into_iter()
            .zip(after)
            .filter(|(before, after)| changed(before, *after))
            .map(|(before, _)| before.chan)
            .collect())
    }

    /// Decodes what lies in buffers and what senders hold out, as far as asked for.
    fn values(&mut self, candidates: &[Candidate]) -> Result<Values, MemoryError> {
        // Which channel an item is of, and which sender holds it out, if one does.
        let mut slots = Vec::new();
        let mut items = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            let hchan = &candidate.hchan;
            if hchan.implausible().is_some() || candidate.sendq.broken {
                continue;
            }
            let size = usize::from(hchan.elemsize);
            for n in 0..hchan.qcount.min(self.options.values as u64) {
                let slot = (hchan.recvx + n) % hchan.dataqsiz;
                let offset = slot.wrapping_mul(u64::from(hchan.elemsize));
                slots.push((i, None));
                items.push((hchan.buf.wrapping_add(offset), size));
            }
            for sudog in candidate.sendq.sudogs.iter().take(self.options.values) {
                slots.push((i, Some(sudog.addr)));
                items.push((sudog.elem, size));
            }
        }
        let mut values = Values::default();
        if self.options.redact {
            for ((i, sender), (_, size)) in slots.into_iter().zip(items) {
                values.add(i, sender, Value::Redacted(size as u64));
            }
            return Ok(values);
        }

        let (mut first, mut second) = (Bulk::default(), Bulk::default());
        first.read(self.memory, &items)?;
        let function = |addr| self.symbols.function_at(addr);
        let mut decoder = Decoder::new(self.memory, self.types, &function, self.options.limits);
        for (item, &(i, sender)) in slots.iter().enumerate() {
            let typ = Addr(candidates[i].hchan.elemtype);
            let value = match first.get(item) {
                Some(bytes) => decoder.decode(typ, bytes),
                None => Value::Unreadable(format!("not readable at {}", Addr(items[item].0))),
            };
            values.add(i, sender, value);
        }
        // A buffer can look the same after its slots were filled anew.
        second.read(self.memory, &items)?;
        for (item, (i, _)) in slots.into_iter().enumerate() {
            if first.get(item) != second.get(item) {
                values.changed.insert(i);
            }
        }
        Ok(values)
    }
}

/// What is wrong with an hchan's element type. Where goroutines wait there is a channel, even if its
/// type cannot be read.
fn wrong_type(
    hchan: &Hchan,
    typ: Option<&Arc<Type>>,
    waited_on: bool,
) -> Option<(&'static str, String)> {
    match typ {
        None if waited_on => None,
        None => Some((
            "hchan.elemtype",
            format!("no type is at {}", Addr(hchan.elemtype)),
        )),
        Some(typ) if typ.size != u64::from(hchan.elemsize) => Some((
            "hchan.elemsize",
            format!(
                "{}, but {} has {} bytes",
                hchan.elemsize, typ.name, typ.size
            ),
        )),
        Some(_) => None,
    }
}

/// Values of a group's channels, by the channel's position in the group.
#[derive(Default)]
struct Values {
    decoded: FxHashMap<usize, ChannelValues>,
    /// Channels whose values changed meanwhile.
    changed: FxHashSet<usize>,
}

#[derive(Default)]
struct ChannelValues {
    buffered: Vec<Value>,
    /// By sudog.
    of_senders: FxHashMap<u64, Value>,
}

impl Values {
    fn add(&mut self, channel: usize, sender: Option<u64>, value: Value) {
        let values = self.decoded.entry(channel).or_default();
        match sender {
            Some(sudog) => {
                values.of_senders.insert(sudog, value);
            }
            None => values.buffered.push(value),
        }
    }
}
