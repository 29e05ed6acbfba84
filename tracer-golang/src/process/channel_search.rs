//! Channels that nobody waits on, and who holds which: on stacks, in objects that stacks refer to,
//! and on demand everywhere in the heap.
//!
//! `runtime.makechan` allocates each hchan at the begin of an object of its own, with its buffer
//! behind it if its elements hold no pointers, else in an object of its own (Go 1.19 to 1.27). So a
//! word is a channel if it is the address of an object in which everything fits together: a type
//! of the program, its size, the buffer's place, the indices.

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_model::ids::{Addr, ChanAddr, Goid};
use tracer_model::snapshot::{State, User};

use super::channels::Hchan;
use super::goroutines;
use super::header::Header;
use super::heap::{Heap, Object, Span};
use super::mark::Bits;
use super::memory::{Bulk, MemoryError, TargetMemory};
use super::stack_words::{Stacks, stack};
use super::types::Types;
use super::{ChannelScope, GoProcess, ProcessError};
use crate::layout;

/// Goroutines whose headers are read together.
const GROUP: usize = 1024;
/// Bytes that are read together.
const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of one stack that are looked at, from its top.
const MAX_STACK_BYTES: u64 = 1 << 20;
/// Bytes of an object that are looked at for channels in it.
const MAX_OBJECT_BYTES: u64 = 1 << 10;
/// The runtime begins larger objects that hold pointers with a word of its own (Go 1.22 and later).
const MALLOC_HEADER: u64 = 8;

impl<M: TargetMemory> GoProcess<M> {
    /// Finds channels, and the goroutines that hold each.
    ///
    /// # Errors
    /// If the process is gone or its heap cannot be read.
    pub(super) fn find_channels(
        &mut self,
        scope: ChannelScope,
    ) -> Result<FxHashMap<ChanAddr, Vec<User>>, ProcessError> {
        let addresses = goroutines::addresses(self)?;
        let heap = Heap::read(self.memory(), self.heap_place()?)?;
        let nothing = Types::new(self.layout().types, []);
        let mut stacks = Stacks::new(std::mem::take(&mut self.pcs));
        let mut types = std::mem::replace(&mut self.types, nothing);
        let mut search = Search {
            process: self,
            heap,
            types: &mut types,
            elems: FxHashMap::default(),
            known: FxHashSet::default(),
            bulk: Bulk::default(),
        };
        let found = search.run(&mut stacks, &addresses, scope);
        self.pcs = stacks.into_pcs();
        self.types = types;
        Ok(found?)
    }
}

/// What a channel's elements are.
#[derive(Clone, Copy)]
pub(super) struct Elem {
    pub(super) size: u64,
    pub(super) pointers: bool,
}

struct Search<'a, M> {
    process: &'a GoProcess<M>,
    heap: Heap,
    types: &'a mut Types,
    /// By type descriptor; `None` is no type.
    elems: FxHashMap<u64, Option<Elem>>,
    /// The channels found so far.
    known: FxHashSet<u64>,
    bulk: Bulk,
}

impl<M: TargetMemory> Search<'_, M> {
    fn run(
        &mut self,
        stacks: &mut Stacks,
        addresses: &[u64],
        scope: ChannelScope,
    ) -> Result<FxHashMap<ChanAddr, Vec<User>>, MemoryError> {
        let mut held = FxHashMap::default();
        for group in addresses.chunks(GROUP) {
            let mut live = self.headers(group)?;
            live.retain(|(_, header)| header.state() != Some(State::Dead));
            self.on_stacks(stacks, &live, &mut held)?;
        }
        let mut users = self.in_objects(held)?;
        if scope == ChannelScope::Heap {
            for chan in self.in_heap()? {
                users.entry(chan).or_default();
            }
        }
        Ok(users)
    }

    /// The headers of these g's, those that are readable.
    fn headers(&mut self, addresses: &[u64]) -> Result<Vec<(u64, Header)>, MemoryError> {
        let layout = &self.process.layout().g;
        let items: Vec<_> = (addresses.iter())
            .map(|&g| (g, layout.size as usize))
            .collect();
        self.bulk.read(self.process.memory(), &items)?;
        let headers = (0..).zip(addresses).filter_map(|(i, &gaddr)| {
            let bytes = self.bulk.get(i)?;
            Some((gaddr, Header::parse(layout, bytes)))
        });
        Ok(headers.collect())
    }

    /// Adds what these goroutines' stacks refer to: each object, by whom, and whether by its first
    /// byte.
    fn on_stacks(
        &mut self,
        stacks: &mut Stacks,
        live: &[(u64, Header)],
        held: &mut FxHashMap<Object, Vec<(User, bool)>>,
    ) -> Result<(), MemoryError> {
        let mut rest = live;
        while !rest.is_empty() {
            let mut items = Vec::new();
            let mut total = 0;
            for (_, header) in rest {
                let stack = stack(header);
                let bytes = (stack.end - stack.start).min(MAX_STACK_BYTES);
                items.push((stack.start, bytes as usize));
                total += bytes;
                if total >= BATCH_BYTES {
                    break;
                }
            }
            let (group, after) = rest.split_at(items.len());
            rest = after;
            let mut bulk = Bulk::default();
            bulk.read(self.process.memory(), &items)?;
            let gaddrs: Vec<u64> = group.iter().map(|(gaddr, _)| *gaddr).collect();
            let later: FxHashMap<u64, Header> = self.headers(&gaddrs)?.into_iter().collect();
            for (i, (gaddr, header)) in group.iter().enumerate() {
                let bytes = bulk.get(i).unwrap_or(&[]);
                // The frames of a goroutine that moved on meanwhile are not known.
                let known = match later.get(gaddr) {
                    Some(later) if header.unchanged(later) => {
                        stacks.live_words(self.process, header, bytes)
                    }
                    _ => None,
                };
                for (index, word) in bytes.as_chunks().0.iter().enumerate() {
                    if known.as_ref().is_some_and(|known| !known.of_use[index]) {
                        continue;
                    }
                    let word = u64::from_le_bytes(*word);
                    let Some(object) = self.heap.object(word) else {
                        continue;
                    };
                    let addr = items[i].0 + index as u64 * 8;
                    let user = User {
                        goid: Goid(header.goid),
                        frame: known.as_ref().and_then(|known| known.frame(addr)),
                        through: None,
                    };
                    let direct = self.base(object) == word;
                    let users = held.entry(object).or_default();
                    match users.iter_mut().find(|(other, _)| other.goid == user.goid) {
                        Some((_, by_base)) => *by_base |= direct,
                        None => users.push((user, direct)),
                    }
                }
            }
        }
        Ok(())
    }

    /// The channels among these objects, and those that they refer to.
    fn in_objects(
        &mut self,
        held: FxHashMap<Object, Vec<(User, bool)>>,
    ) -> Result<FxHashMap<ChanAddr, Vec<User>>, MemoryError> {
        let mut users: FxHashMap<ChanAddr, Vec<User>> = FxHashMap::default();
        let objects: Vec<Object> = held.keys().copied().collect();
        self.check(objects.iter().map(|&object| self.base(object)).collect())?;
        let mut others = Vec::new();
        for object in objects {
            let base = self.base(object);
            if self.known.contains(&base) {
                let by_base = held[&object].iter().filter(|(_, direct)| *direct);
                users
                    .entry(ChanAddr(base))
                    .or_default()
                    .extend(by_base.map(|(user, _)| *user));
            } else if !self.heap.span(object.span).noscan {
                others.push(object);
            }
        }
        let chunk = (BATCH_BYTES / MAX_OBJECT_BYTES) as usize;
        for objects in others.chunks(chunk) {
            let items: Vec<_> = objects
                .iter()
                .map(|&object| {
                    let size = self.heap.span(object.span).elem_size;
                    (self.base(object), size.min(MAX_OBJECT_BYTES) as usize)
                })
                .collect();
            self.bulk.read(self.process.memory(), &items)?;
            let mut edges = Vec::new();
            for (i, &object) in objects.iter().enumerate() {
                for word in self.bulk.get(i).unwrap_or(&[]).as_chunks().0 {
                    let word = u64::from_le_bytes(*word);
                    let found = self.heap.object(word);
                    if found.is_some_and(|found| self.base(found) == word) {
                        edges.push((object, word));
                    }
                }
            }
            self.check(edges.iter().map(|(_, word)| *word).collect())?;
            for (object, word) in edges {
                if !self.known.contains(&word) {
                    continue;
                }
                let users = users.entry(ChanAddr(word)).or_default();
                for (user, _) in &held[&object] {
                    if !users.iter().any(|other| other.goid == user.goid) {
                        users.push(User {
                            through: Some(Addr(self.base(object))),
                            ..*user
                        });
                    }
                }
            }
        }
        for users in users.values_mut() {
            users.sort_unstable_by_key(|user| user.goid);
        }
        Ok(users)
    }

    /// Every channel in the heap that is not free.
    fn in_heap(&mut self) -> Result<Vec<ChanAddr>, MemoryError> {
        let mut free = Bits::default();
        free.grow(self.heap.objects());
        self.heap.free(self.process.memory(), |number| {
            free.insert(number);
        })?;
        let size = u64::from(self.process.layout().hchan.size);
        let mut found = Vec::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for number in 0..self.heap.spans().len() as u32 {
            let span = *self.heap.span(number);
            if !fits(&span, size) {
                continue;
            }
            for index in 0..span.elems {
                if free.contains(span.first + u64::from(index)) {
                    continue;
                }
                batch.push(span.base(index));
                // Neighbours are read with what lies between them.
                bytes += span.elem_size.min(2 * MAX_OBJECT_BYTES);
                if bytes >= BATCH_BYTES {
                    found.extend(self.check(std::mem::take(&mut batch))?);
                    bytes = 0;
                }
            }
        }
        found.extend(self.check(batch)?);
        Ok(found)
    }

    fn base(&self, object: Object) -> u64 {
        self.heap.span(object.span).base(object.index)
    }

    /// Finds out which of these addresses of objects are channels, and returns those.
    fn check(&mut self, mut addresses: Vec<u64>) -> Result<Vec<ChanAddr>, MemoryError> {
        let layout = &self.process.layout().hchan;
        let size = layout.size as usize;
        addresses.sort_unstable();
        addresses.dedup();
        let room = |&addr: &u64| {
            let object = self.heap.object(addr);
            object.is_some_and(|object| fits(self.heap.span(object.span), size as u64))
        };
        addresses.retain(room);
        let mut channels = Vec::new();
        for addresses in addresses.chunks(BATCH_BYTES as usize / size) {
            let items: Vec<_> = addresses.iter().map(|&addr| (addr, size)).collect();
            self.bulk.read(self.process.memory(), &items)?;
            let hchans: Vec<Option<Hchan>> = (0..items.len())
                .map(|i| Some(Hchan::parse(layout, self.bulk.get(i)?)))
                .collect();
            for (&addr, hchan) in addresses.iter().zip(hchans) {
                if hchan.is_some_and(|hchan| self.is_channel(addr, &hchan)) {
                    self.known.insert(addr);
                    channels.push(ChanAddr(addr));
                }
            }
        }
        Ok(channels)
    }

    fn is_channel(&mut self, addr: u64, hchan: &Hchan) -> bool {
        let whole = |(first, last): (u64, u64)| (first == 0) == (last == 0);
        if hchan.buf == 0
            || hchan.implausible().is_some()
            || !whole(hchan.recvq)
            || !whole(hchan.sendq)
        {
            return false;
        }
        let Some(elem) = self.elem(hchan.elemtype) else {
            return false;
        };
        let layout = &self.process.layout().hchan;
        elem.size == u64::from(hchan.elemsize)
            && buffer_is_in_place(&self.heap, layout, addr, hchan, elem) == Some(true)
    }

    fn elem(&mut self, typ: u64) -> Option<Elem> {
        let memory = self.process.memory();
        let sections = self.process.modules();
        if !(sections.iter()).any(|module| module.types.contains(&Addr(typ))) {
            return None;
        }
        let types = &mut *self.types;
        *self.elems.entry(typ).or_insert_with(|| {
            let size = types.get(memory, Addr(typ)).ok()?.size;
            let at = Addr(typ + u64::from(types.layout().head.ptr_bytes));
            let pointers = memory.read_u64(at).ok()? != 0;
            Some(Elem { size, pointers })
        })
    }
}

/// Whether an object of this span may be an hchan of `size` bytes. One whose buffer is elsewhere is
/// in the class of its size; one with its buffer behind it holds no pointers that count.
fn fits(span: &Span, size: u64) -> bool {
    span.elem_size >= size && (span.noscan || span.elem_size < size + 16)
}

/// Whether the buffer of the channel at `addr` is where `makechan` puts it, and has room for all. `None`
/// if no object of the heap is at `addr`.
pub(super) fn buffer_is_in_place(
    heap: &Heap,
    layout: &layout::Hchan,
    addr: u64,
    hchan: &Hchan,
    elem: Elem,
) -> Option<bool> {
    let object = heap.object(addr)?;
    let room = heap.span(object.span).elem_size;
    let Some(buffer) = hchan.dataqsiz.checked_mul(elem.size) else {
        return Some(false);
    };
    Some(if buffer == 0 {
        hchan.buf == addr + u64::from(layout.buf)
    } else if !elem.pointers {
        let size = u64::from(layout.size).next_multiple_of(8);
        hchan.buf == addr + size && (room.checked_sub(size)).is_some_and(|room| buffer <= room)
    } else {
        heap.object(hchan.buf).is_some_and(|object| {
            let span = heap.span(object.span);
            let header = hchan.buf - span.base(object.index);
            let room = span.elem_size.checked_sub(header);
            (header == 0 || header == MALLOC_HEADER) && room.is_some_and(|room| buffer <= room)
        })
    })
}
