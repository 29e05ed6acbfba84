//! What parked goroutines wait on that no sudog of their own tells.
//!
//! - Semaphores up to Go 1.25: in the semaphore table.
//! - A `sync.Cond` up to Go 1.25: its notifyList is an argument in the goroutine's frames. Which word
//!   that is differs from build to build; but a word that leads to a list in which the goroutine
//!   waits is the one.
//! - The network poller: the slot of a pollDesc that holds the waiting g; its address is kept in the
//!   frames of `runtime.netpollblock`, which goes on to use it.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, Ktime};
use tracer_model::snapshot::Descriptor;
use tracer_model::wait::{WaitKind, WaitObject};

use super::bytes::u64_at;
use super::goroutines::Open;
use super::header::Header;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::sudog::Sudog;
use super::waits::is_semaphore;
use super::{GoProcess, semaphores};

/// Bytes of a stack in which a notifyList or a slot is looked for: gopark's frame and those of two
/// or three callers.
const FRAMES: u64 = 512;

/// What was found.
pub(super) struct Hidden {
    /// What goroutines wait on, by g.
    pub(super) objects: FxHashMap<u64, WaitObject>,
    /// The file descriptors among that, by slot.
    pub(super) descriptors: Vec<Descriptor>,
    /// When goroutines that sleep wake up, by g.
    pub(super) wakes: FxHashMap<u64, Ktime>,
}

/// Finds what goroutines wait on. Those that moved on meanwhile are marked as moving.
pub(super) fn objects<M: TargetMemory>(
    process: &GoProcess<M>,
    open: &mut [Open],
) -> Result<Hidden, MemoryError> {
    let mut waiting: Vec<&mut Open> = open
        .iter_mut()
        .filter(|open| open.kind != WaitKind::Select)
        .collect();
    let of = |wanted| -> Vec<(u64, Header)> {
        waiting
            .iter()
            .filter(|open| open.kind == wanted)
            .map(|open| (open.gaddr, open.header))
            .collect()
    };
    let mut search = Search {
        process,
        bulk: Bulk::default(),
    };
    let mut semaphores = FxHashMap::default();
    if waiting.iter().any(|open| is_semaphore(open.kind)) {
        semaphores = semaphores::waiters(process)?;
    }
    let notify_lists = search.notify_lists(&of(WaitKind::Cond))?;
    let slots = search.netpoll_slots(&of(WaitKind::Netpoll))?;
    let mut descriptors = search.descriptors(&slots)?;
    let mut wakes = search.wakes(&of(WaitKind::Sleep))?;

    let layout = &process.layout().g;
    let items: Vec<_> = waiting
        .iter()
        .map(|open| (open.gaddr, layout.size as usize))
        .collect();
    search.bulk.read(process.memory(), &items)?;
    let mut known_slots = FxHashSet::default();
    let mut found = FxHashMap::default();
    for (i, open) in waiting.iter_mut().enumerate() {
        let later = search.bulk.get(i).map(|bytes| Header::parse(layout, bytes));
        if !later.is_some_and(|later| open.header.unchanged(&later)) {
            open.moving = true;
            wakes.remove(&open.gaddr);
            continue;
        }
        let gaddr = open.gaddr;
        let addr_in = |map: &FxHashMap<u64, u64>| map.get(&gaddr).copied().map(Addr);
        let object = match open.kind {
            WaitKind::Cond => addr_in(&notify_lists).map(WaitObject::Cond),
            WaitKind::Netpoll => (slots.get(&gaddr)).map(|slot| WaitObject::Netpoll(slot.addr)),
            WaitKind::Sleep => None,
            _ => addr_in(&semaphores).map(WaitObject::Semaphore),
        };
        if let Some(WaitObject::Netpoll(slot)) = object {
            known_slots.insert(slot);
        }
        found.extend(object.map(|object| (gaddr, object)));
    }
    descriptors.retain(|descriptor| known_slots.contains(&descriptor.slot));
    descriptors.sort_unstable_by_key(|descriptor| descriptor.slot);
    Ok(Hidden {
        objects: found,
        descriptors,
        wakes,
    })
}

/// The time that a timer's `when` is: the clock of the kernel and of `runtime.nanotime`. `None` for
/// one that is not set, or that is to fire never (`runtime.maxWhen`).
pub(super) fn moment(when: u64) -> Option<Ktime> {
    (1..i64::MAX.cast_unsigned())
        .contains(&when)
        .then_some(Ktime(when))
}

/// A slot of the network poller.
struct Slot {
    addr: Addr,
    /// The pollDesc that it is in, and whether it is the slot of writers.
    poll_desc: Option<(Addr, bool)>,
}

struct Search<'a, M> {
    process: &'a GoProcess<M>,
    bulk: Bulk,
}

impl<M: TargetMemory> Search<'_, M> {
    /// The words in the innermost frames of these goroutines that may be pointers to data, each with
    /// the position of the goroutine.
    fn pointers(&mut self, goroutines: &[(u64, Header)]) -> Result<Vec<(usize, u64)>, MemoryError> {
        let items: Vec<_> = goroutines
            .iter()
            .map(|(_, header)| {
                let used = header.stack_hi.saturating_sub(header.sched_sp);
                (header.sched_sp, used.min(FRAMES) as usize)
            })
            .collect();
        self.bulk.read(self.process.memory(), &items)?;
        let text: Vec<Range<Addr>> = self
            .process
            .modules()
            .iter()
            .map(|module| module.text.clone())
            .collect();
        let mut pointers = Vec::new();
        for (i, (gaddr, header)) in goroutines.iter().enumerate() {
            let stack = header.stack_lo..header.stack_hi;
            let words = self.bulk.get(i).unwrap_or(&[]).as_chunks().0.iter();
            let from = pointers.len();
            for word in words.map(|word| u64::from_le_bytes(*word)) {
                let data = word % 8 == 0
                    && (1 << 12..1 << 56).contains(&word)
                    && word != *gaddr
                    && !stack.contains(&word)
                    && !text.iter().any(|text| text.contains(&Addr(word)));
                if data && !pointers[from..].contains(&(i, word)) {
                    pointers.push((i, word));
                }
            }
        }
        Ok(pointers)
    }

    /// The notifyLists in which these goroutines wait, by g.
    fn notify_lists(
        &mut self,
        goroutines: &[(u64, Header)],
    ) -> Result<FxHashMap<u64, u64>, MemoryError> {
        let mut found = FxHashMap::default();
        let lists: FxHashSet<u64> = self
            .pointers(goroutines)?
            .into_iter()
            .map(|(_, pointer)| pointer)
            .collect();
        let layout = &self.process.layout().notify_list;
        let items: Vec<_> = lists
            .into_iter()
            .map(|list| (list, layout.size as usize))
            .collect();
        self.bulk.read(self.process.memory(), &items)?;
        // Of each list: its address, the next sudog, its last one, the waiters so far.
        let mut open: Vec<(u64, u64, u64, Vec<u64>)> = items
            .iter()
            .enumerate()
            .filter_map(|(i, (list, _))| {
                let bytes = self.bulk.get(i)?;
                let (head, tail) = (u64_at(bytes, layout.head), u64_at(bytes, layout.tail));
                (head != 0 && tail != 0).then_some((*list, head, tail, Vec::new()))
            })
            .collect();
        let wanted: FxHashSet<u64> = goroutines.iter().map(|(gaddr, _)| *gaddr).collect();
        let layout = &self.process.layout().sudog;
        while !open.is_empty() {
            let items: Vec<_> = open
                .iter()
                .map(|(_, next, _, _)| (*next, layout.size as usize))
                .collect();
            self.bulk.read(self.process.memory(), &items)?;
            let mut still_open = Vec::new();
            for (i, (list, addr, tail, mut waiters)) in open.into_iter().enumerate() {
                let Some(bytes) = self.bulk.get(i) else {
                    continue;
                };
                let sudog = Sudog::parse(layout, addr, bytes);
                // All who wait in such a list wait for a Cond.
                let cycle = waiters.len() == wanted.len();
                if sudog.chan != 0 || !wanted.contains(&sudog.g) || cycle {
                    continue;
                }
                waiters.push(sudog.g);
                match sudog.next {
                    0 if addr == tail => found.extend(waiters.into_iter().map(|g| (g, list))),
                    0 => {}
                    next => still_open.push((list, next, tail, waiters)),
                }
            }
            open = still_open;
        }
        Ok(found)
    }

    /// The slots of the network poller that hold these goroutines, by g.
    fn netpoll_slots(
        &mut self,
        goroutines: &[(u64, Header)],
    ) -> Result<FxHashMap<u64, Slot>, MemoryError> {
        let pointers = self.pointers(goroutines)?;
        let all: FxHashSet<(usize, u64)> = pointers.iter().copied().collect();
        let items: Vec<_> = pointers.iter().map(|(_, pointer)| (*pointer, 8)).collect();
        self.bulk.read(self.process.memory(), &items)?;
        let layout = self.process.layout().poll_desc;
        let mut found: FxHashMap<u64, Option<Slot>> = FxHashMap::default();
        for (item, (i, pointer)) in pointers.into_iter().enumerate() {
            let gaddr = goroutines[i].0;
            if self.bulk.get(item).map(|bytes| u64_at(bytes, 0)) == Some(gaddr) {
                // Two of them: something else refers to the g as well, and which is it?
                let slot = || Slot {
                    addr: Addr(pointer),
                    poll_desc: layout.and_then(|layout| {
                        // The pollDesc is an argument of a caller. One of its two slots it must be.
                        let at = |offset: u32| pointer.wrapping_sub(u64::from(offset));
                        let [reads, writes] = [at(layout.rg), at(layout.wg)];
                        match [reads, writes].map(|desc| all.contains(&(i, desc))) {
                            [true, false] => Some((Addr(reads), false)),
                            [false, true] => Some((Addr(writes), true)),
                            _ => None,
                        }
                    }),
                };
                (found.entry(gaddr))
                    .and_modify(|slot| *slot = None)
                    .or_insert_with(|| Some(slot()));
            }
        }
        Ok(found
            .into_iter()
            .filter_map(|(gaddr, slot)| Some((gaddr, slot?)))
            .collect())
    }

    /// When these goroutines wake up: `time.Sleep` keeps a timer in the g.
    fn wakes(
        &mut self,
        goroutines: &[(u64, Header)],
    ) -> Result<FxHashMap<u64, Ktime>, MemoryError> {
        let Some(layout) = self.process.layout().timer else {
            return Ok(FxHashMap::default());
        };
        let items: Vec<_> = goroutines
            .iter()
            .map(|(_, header)| (header.timer.saturating_add(u64::from(layout.when)), 8))
            .collect();
        self.bulk.read(self.process.memory(), &items)?;
        Ok((0..)
            .zip(goroutines)
            .filter_map(|(i, (gaddr, _))| Some((*gaddr, moment(u64_at(self.bulk.get(i)?, 0))?)))
            .collect())
    }

    /// The file descriptors of these slots.
    fn descriptors(
        &mut self,
        slots: &FxHashMap<u64, Slot>,
    ) -> Result<Vec<Descriptor>, MemoryError> {
        let Some(layout) = self.process.layout().poll_desc else {
            return Ok(Vec::new());
        };
        let known: Vec<(Addr, Addr, bool)> = slots
            .values()
            .filter_map(|slot| {
                let (desc, write) = slot.poll_desc?;
                Some((slot.addr, desc, write))
            })
            .collect();
        let items: Vec<_> = known
            .iter()
            .map(|(_, desc, _)| (desc.0.wrapping_add(u64::from(layout.fd)), 8))
            .collect();
        self.bulk.read(self.process.memory(), &items)?;
        Ok((0..)
            .zip(known)
            .filter_map(|(i, (slot, _, write))| {
                let fd = u64_at(self.bulk.get(i)?, 0);
                Some(Descriptor {
                    slot,
                    // The kernel's own limit is far below (sysctl fs.nr_open).
                    fd: u32::try_from(fd).ok().filter(|fd| *fd < 1 << 30)?,
                    write,
                    file: None,
                })
            })
            .collect())
    }
}
