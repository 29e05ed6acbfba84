//! Channels that cannot be: what the runtime itself never writes. Code that uses package unsafe wrongly
//! does, or that writes beyond the end of an object.
//!
//! A channel is in the middle of an operation now and then, and memory is used again after it was freed.
//! So nothing is said of a channel unless a goroutine waited on it before and after it was read, its lock
//! was free, and two reads agree. It may still be said by mistake once; that it stays so, several reads
//! tell.

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, ChanAddr, GAddr, Goid};
use tracer_model::snapshot::{CorruptChannel, Goroutine, Snapshot};
use tracer_model::wait::WaitObject;

use super::bytes::u64_at;
use super::channel_search::{Elem, buffer_is_in_place};
use super::channels::Hchan;
use super::header::Header;
use super::heap::Heap;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::sudog::Sudog;
use super::{GoProcess, ProcessError};

/// Channels whose buffers are looked at in one pass.
const MAX_CHANNELS: usize = 1 << 16;

/// Waiters of one queue that are followed.
const MAX_WAITERS: usize = 1 << 10;
/// The fields of a queue that is wrong.
const QUEUE: &str = "hchan.recvq or sendq";

/// A channel and those who were seen to wait on it.
type Waited<'s> = (ChanAddr, Vec<&'s Goroutine>);

impl<M: TargetMemory> GoProcess<M> {
    /// The channels of a snapshot's waiting goroutines that cannot be.
    ///
    /// # Errors
    /// If the process is gone, or its heap cannot be read.
    pub fn corruption(&mut self, snapshot: &Snapshot) -> Result<Vec<CorruptChannel>, ProcessError> {
        let mut waited: FxHashMap<ChanAddr, Vec<&Goroutine>> = FxHashMap::default();
        let resting = (snapshot.goroutines.iter()).filter(|goroutine| !goroutine.moving);
        for goroutine in resting {
            for object in goroutine.wait.iter().flat_map(|wait| &*wait.objects) {
                if let WaitObject::Chan { chan, .. } = *object {
                    waited.entry(chan).or_default().push(goroutine);
                }
            }
        }
        let mut waited: Vec<Waited<'_>> = waited.into_iter().collect();
        waited.sort_unstable_by_key(|(chan, _)| *chan);
        waited.truncate(MAX_CHANNELS);
        // What reading it found in order: of its queues nothing more is to be asked.
        let whole: FxHashSet<ChanAddr> = (snapshot.channels.iter())
            .filter(|channel| !channel.moving)
            .map(|channel| channel.addr)
            .collect();
        let chans: Vec<ChanAddr> = waited.iter().map(|(chan, _)| *chan).collect();
        let before = self.raw(&chans)?;
        let suspects = self.suspects(&waited, &before, &whole)?;
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let after = self.raw(&chans)?;
        let mut found = Vec::new();
        for (index, field, reason) in suspects {
            let (chan, goroutines) = &waited[index];
            let Some(hchan) = before[index]
                .as_ref()
                .filter(|_| before[index] == after[index])
            else {
                continue;
            };
            let waiting = self.still_waiting(goroutines)?;
            if hchan.locked || waiting.is_empty() {
                continue;
            }
            // A queue is read step by step, and may have changed under the first walk.
            if field == QUEUE {
                let again = self.broken_queue(chan.0, &hchan.hchan, goroutines.len())?;
                if again.as_ref() != Some(&reason) {
                    continue;
                }
            }
            let typ = self.types.get(&self.memory, Addr(hchan.hchan.elemtype));
            let (len, cap) = hchan.hchan.fill();
            found.push(CorruptChannel {
                addr: *chan,
                elem_type: typ.map_or_else(|_| Box::default(), |typ| Box::from(&*typ.name)),
                len,
                cap,
                field: field.into(),
                reason,
                waiting,
            });
        }
        Ok(found)
    }

    /// Indices of those that look wrong, with the field and how.
    fn suspects(
        &mut self,
        waited: &[Waited<'_>],
        read: &[Option<Raw>],
        whole: &FxHashSet<ChanAddr>,
    ) -> Result<Vec<(usize, &'static str, String)>, ProcessError> {
        let mut found = Vec::new();
        let mut heap = None;
        let mut elems: FxHashMap<u64, Option<Elem>> = FxHashMap::default();
        for (index, ((chan, waiting), raw)) in waited.iter().zip(read).enumerate() {
            let Some(Raw { hchan, .. }) = raw else {
                continue;
            };
            if let Some((field, reason)) = hchan.implausible() {
                found.push((index, field, reason));
                continue;
            }
            if !whole.contains(chan)
                && let Some(reason) = self.broken_queue(chan.0, hchan, waiting.len())?
            {
                found.push((index, QUEUE, reason));
                continue;
            }
            if hchan.dataqsiz == 0 || hchan.elemsize == 0 {
                continue;
            }
            let elem = elems.entry(hchan.elemtype);
            let elem = *elem.or_insert_with(|| self.elem(Addr(hchan.elemtype)));
            let Some(elem) = elem.filter(|elem| elem.size == u64::from(hchan.elemsize)) else {
                continue;
            };
            let heap = match &mut heap {
                Some(heap) => heap,
                None => heap.insert(Heap::read(&self.memory, self.heap_place()?)?),
            };
            let in_place = buffer_is_in_place(heap, &self.layout().hchan, chan.0, hchan, elem);
            if in_place == Some(false) {
                let reason = format!(
                    "{}, which is not where a buffer of {} elements of {} bytes was allocated",
                    Addr(hchan.buf),
                    hchan.dataqsiz,
                    hchan.elemsize
                );
                found.push((index, "hchan.buf or dataqsiz", reason));
            }
        }
        Ok(found)
    }

    /// What is wrong with a wait queue of a channel, if it is: sudogs that do not lead to one another.
    fn broken_queue(
        &self,
        chan: u64,
        hchan: &Hchan,
        waiting: usize,
    ) -> Result<Option<String>, MemoryError> {
        for (first, last) in [hchan.recvq, hchan.sendq] {
            let (mut at, mut previous, mut seen) = (first, 0, FxHashSet::default());
            while at != 0 {
                if !seen.insert(at) {
                    return Ok(Some(format!(
                        "the sudog at {} comes after itself",
                        Addr(at)
                    )));
                }
                // Others came since the snapshot, or it is too long: nothing is said of it.
                if seen.len() > (2 * waiting + 16).min(MAX_WAITERS) {
                    break;
                }
                let Some(sudog) = self.sudog(at)? else {
                    return Ok(Some(format!("it leads to {}, where nothing is", Addr(at))));
                };
                if sudog.chan != chan {
                    return Ok(Some(format!(
                        "the sudog at {} is of the channel at {}",
                        Addr(at),
                        Addr(sudog.chan)
                    )));
                }
                // A cycle shows by its back link as well, and is better called one.
                if sudog.prev != previous && !seen.contains(&sudog.next) {
                    return Ok(Some(format!(
                        "the sudog at {} follows {} but says {}",
                        Addr(at),
                        Addr(previous),
                        Addr(sudog.prev)
                    )));
                }
                (previous, at) = (at, sudog.next);
            }
            if at == 0 && previous != last {
                return Ok(Some(format!(
                    "it ends with {} but says {}",
                    Addr(previous),
                    Addr(last)
                )));
            }
        }
        Ok(None)
    }

    fn sudog(&self, addr: u64) -> Result<Option<Sudog>, MemoryError> {
        let layout = &self.layout().sudog;
        let mut bulk = Bulk::default();
        bulk.read(&self.memory, &[(addr, layout.size as usize)])?;
        Ok(bulk.get(0).map(|bytes| Sudog::parse(layout, addr, bytes)))
    }

    /// What a type's values are, if it is one of the program's: others are made as it runs.
    fn elem(&mut self, typ: Addr) -> Option<Elem> {
        let sections = &self.modules;
        if !(sections.iter()).any(|module| module.types.contains(&typ)) {
            return None;
        }
        let size = self.types.get(&self.memory, typ).ok()?.size;
        let at = Addr(typ.0 + u64::from(self.layout().types.head.ptr_bytes));
        let pointers = self.memory.read_u64(at).ok()? != 0;
        Some(Elem { size, pointers })
    }

    /// Who has not moved since the snapshot.
    fn still_waiting(&self, goroutines: &[&Goroutine]) -> Result<Vec<Goid>, MemoryError> {
        let layout = &self.layout().g;
        let items: Vec<_> = (goroutines.iter())
            .map(|goroutine| {
                let GAddr(addr) = goroutine.gaddr;
                (addr, layout.size as usize)
            })
            .collect();
        let mut bulk = Bulk::default();
        bulk.read(&self.memory, &items)?;
        let waits = |(index, goroutine): (usize, &&Goroutine)| {
            let header = Header::parse(layout, bulk.get(index)?);
            let same = header.parked()
                && header.goid == goroutine.goid.0
                && Some(header.tracking_seq) == goroutine.stops;
            same.then_some(goroutine.goid)
        };
        Ok(goroutines.iter().enumerate().filter_map(waits).collect())
    }

    fn raw(&self, chans: &[ChanAddr]) -> Result<Vec<Option<Raw>>, MemoryError> {
        let layout = &self.layout().hchan;
        let items: Vec<_> = (chans.iter())
            .map(|chan| (chan.0, layout.size as usize))
            .collect();
        let mut bulk = Bulk::default();
        bulk.read(&self.memory, &items)?;
        let raw = |index| {
            let bytes = bulk.get(index)?;
            Some(Raw {
                hchan: Hchan::parse(layout, bytes),
                locked: u64_at(bytes, layout.lock) != 0,
            })
        };
        Ok((0..chans.len()).map(raw).collect())
    }
}

/// An hchan, and whether somebody is at work on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raw {
    hchan: Hchan,
    locked: bool,
}
