//! The target's heap: which address lies in which object.
//!
//! The runtime cuts its heap into spans of pages (`runtime.mspan`), a span into objects of one size.
//! All spans are listed in `mheap_.allspans`. Objects are numbered through, so that a bit says
//! something about each.

use std::ops::Range;

use rustc_hash::FxHashMap;
use tracer_model::ids::Addr;

use super::bytes::{u8_at, u16_at, u64_at};
use super::memory::{Bulk, MemoryError, TargetMemory};
use crate::layout::{Mheap, Mspan};

/// `runtime.pageSize`, the same for every architecture and version.
const PAGE: u64 = 1 << PAGE_SHIFT;
const PAGE_SHIFT: u32 = 13;
/// Addresses that one chunk of the page table covers: 64 MiB.
const CHUNK_SHIFT: u32 = 26;
const CHUNK_PAGES: usize = 1 << (CHUNK_SHIFT - PAGE_SHIFT);
/// Chunks with a table at most, of 32 KiB each.
const MAX_TABLES: usize = 1 << 13;
/// Bytes of the list of spans that are read at once.
const LIST_PIECE: usize = 4 << 20;
/// End of the address space that a heap may lie in.
const MAX_ADDRESS: u64 = 1 << 48;
/// `runtime.mSpanInUse`: the span holds objects (not a stack, not free).
const SPAN_IN_USE: u8 = 1;
/// A span of more pages is not believed: that would be an object of 128 GiB.
const MAX_PAGES: u64 = 1 << 24;
/// A span of more objects is not believed: since Go 1.22 their number has 16 bits, before it was no
/// larger.
const MAX_ELEMS: u64 = 1 << 16;
/// No list of spans that is longer is believed.
const MAX_SPANS: u64 = 1 << 27;
/// Spans whose headers are read together.
const SPANS_AT_ONCE: usize = 16 << 10;
/// A page of no span.
const NO_SPAN: u32 = u32::MAX;

/// Why the heap could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeapError {
    /// Memory that is needed could not be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What was read cannot be a heap.
    #[error("the list of heap spans is implausible: {0}")]
    Implausible(String),
}

/// A span that holds objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// First byte.
    pub(super) start: u64,
    /// Size of an object in bytes.
    pub(super) elem_size: u64,
    /// How many objects fit.
    pub(super) elems: u32,
    /// Number of its first object among all objects of the heap.
    pub(super) first: u64,
    /// Whether its objects hold no pointers.
    pub(super) noscan: bool,
    /// List of what the runtime notes about its objects.
    pub(super) specials: u64,
    pages: u64,
    /// Objects below it were allocated since the last sweep, or are found in the bits.
    free_index: u32,
    /// Address of a bit for each object: allocated at the last sweep.
    alloc_bits: u64,
    /// What a division by the object's size is a multiplication with.
    reciprocal: u32,
}

impl Span {
    /// The object that the byte at `offset` belongs to; behind the last one there may be none.
    fn index(&self, offset: u64) -> Option<u32> {
        let index = match self.elems {
            1 => 0,
            // As runtime.mspan.objIndex does it: exact for every offset in a span.
            _ => ((offset * u64::from(self.reciprocal)) >> 32) as u32,
        };
        (index < self.elems && (index > 0 || offset < self.elem_size)).then_some(index)
    }

    /// Numbers of its pages.
    fn pages(&self) -> Range<u64> {
        let first = self.start >> PAGE_SHIFT;
        first..first + self.pages
    }

    /// Where an object begins.
    pub(super) fn base(&self, index: u32) -> u64 {
        self.start + u64::from(index) * self.elem_size
    }

    /// End of the last object.
    pub(super) fn end(&self) -> u64 {
        self.base(self.elems)
    }
}

/// An object of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Object {
    /// Which span.
    pub(super) span: u32,
    /// Which object of it.
    pub(super) index: u32,
}

/// The heap as it was read.
#[derive(Debug)]
pub(super) struct Heap {
    spans: Vec<Span>,
    /// By address, in chunks, the span of each page.
    chunks: Vec<Chunk>,
    /// How many of them have a table.
    tables: usize,
    /// Number of the first chunk.
    first_chunk: u64,
    objects: u64,
    /// Spans whose header made no sense in the last read. Just being reused, if in one read alone.
    pub(super) refused: u64,
}

/// The spans of one chunk's pages.
#[derive(Debug)]
enum Chunk {
    Empty,
    /// All of it is this span's: a huge one takes no memory of ours.
    Whole(u32),
    Pages(Box<[u32; CHUNK_PAGES]>),
}

impl Chunk {
    fn span(&self, page: usize) -> Option<u32> {
        let span = match self {
            Chunk::Empty => return None,
            Chunk::Whole(span) => *span,
            Chunk::Pages(pages) => pages[page],
        };
        (span != NO_SPAN).then_some(span)
    }

    fn is_free(&self, pages: Range<usize>) -> bool {
        match self {
            Chunk::Empty => true,
            Chunk::Whole(_) => pages.is_empty(),
            Chunk::Pages(table) => table[pages].iter().all(|span| *span == NO_SPAN),
        }
    }
}

/// Where the layouts of the heap's structs are, and the heap itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapPlace<'a> {
    pub(super) mheap: Addr,
    pub(super) layout: &'a Mheap,
    pub(super) span: &'a Mspan,
}

impl Heap {
    /// Reads the headers of all spans.
    ///
    /// # Errors
    /// If the list of spans cannot be read or is implausible.
    pub(super) fn read<M: TargetMemory>(
        memory: &M,
        place: HeapPlace<'_>,
    ) -> Result<Heap, HeapError> {
        let (mut spans, refused) = read_spans(memory, place)?;
        let mut heap = Heap {
            spans: Vec::with_capacity(spans.len()),
            chunks: Vec::new(),
            tables: 0,
            first_chunk: 0,
            objects: 0,
            refused,
        };
        spans.sort_unstable_by_key(|span| span.start);
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            heap.first_chunk = first.start >> CHUNK_SHIFT;
            let chunks = chunks_of(last).end - heap.first_chunk;
            heap.chunks.resize_with(chunks as usize, || Chunk::Empty);
        }
        for span in spans {
            heap.add(span, false);
        }
        if heap.tables == MAX_TABLES {
            return Err(HeapError::Implausible(
                "they are spread over more than 512 GiB".to_owned(),
            ));
        }
        Ok(heap)
    }

    /// Adds a span. If one of its pages is another's already, it takes the page over or is refused.
    fn add(&mut self, mut span: Span, take_over: bool) -> Option<u32> {
        span.first = self.objects;
        let number = u32::try_from(self.spans.len())
            .ok()
            .filter(|&n| n != NO_SPAN)?;
        let parts = chunks_of(&span);
        let first = parts.start.checked_sub(self.first_chunk)? as usize;
        let chunks = first..first + (parts.end - parts.start) as usize;
        let pages = |chunk: u64| pages_in(&span, chunk);
        let mut here = parts.clone().zip(self.chunks.get(chunks.clone())?);
        if !take_over && here.any(|(number, chunk)| !chunk.is_free(pages(number))) {
            return None;
        }
        for (part, chunk) in parts.zip(&mut self.chunks[chunks]) {
            let pages = pages(part);
            if pages.len() == CHUNK_PAGES {
                *chunk = Chunk::Whole(number);
                continue;
            }
            let before = match chunk {
                Chunk::Pages(table) => {
                    table[pages].fill(number);
                    continue;
                }
                Chunk::Whole(span) => *span,
                Chunk::Empty => NO_SPAN,
            };
            if self.tables == MAX_TABLES {
                return None;
            }
            self.tables += 1;
            let mut table = Box::new([before; CHUNK_PAGES]);
            table[pages].fill(number);
            *chunk = Chunk::Pages(table);
        }
        self.objects += u64::from(span.elems);
        self.spans.push(span);
        Some(number)
    }

    fn span_of_page(&self, page: u64) -> Option<u32> {
        let chunk = (page >> (CHUNK_SHIFT - PAGE_SHIFT)).wrapping_sub(self.first_chunk);
        self.chunks
            .get(chunk as usize)?
            .span(page as usize % CHUNK_PAGES)
    }

    /// The object that `address` lies in.
    #[inline]
    pub(super) fn object(&self, address: u64) -> Option<Object> {
        let span = self.span_of_page(address >> PAGE_SHIFT)?;
        let index = self.spans[span as usize].index(address - self.spans[span as usize].start)?;
        Some(Object { span, index })
    }

    /// A span by its number.
    pub(super) fn span(&self, number: u32) -> &Span {
        &self.spans[number as usize]
    }

    /// All spans, by their numbers.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The number of an object among all objects.
    pub(super) fn number(&self, object: Object) -> u64 {
        self.spans[object.span as usize].first + u64::from(object.index)
    }

    /// How many objects there is room for.
    pub(super) fn objects(&self) -> u64 {
        self.objects
    }

    /// The numbers of all free objects: their contents are left over from former ones.
    ///
    /// # Errors
    /// Only what ends everything; where the bits cannot be read, no object counts as free.
    pub(super) fn free<M: TargetMemory>(
        &self,
        memory: &M,
        mut each: impl FnMut(u64),
    ) -> Result<(), MemoryError> {
        let mut bulk = Bulk::default();
        for spans in self.spans.chunks(SPANS_AT_ONCE) {
            bulk.read(memory, &bits_of(spans))?;
            for (i, span) in spans.iter().enumerate() {
                let Some(bits) = bulk.get(i) else { continue };
                for index in span.free_index..span.elems {
                    if !bit(bits, index) {
                        each(span.first + u64::from(index));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the spans again, adds those that are new, and says which objects were allocated
    /// meanwhile, all of the new spans included.
    ///
    /// # Errors
    /// As [`Heap::read`].
    pub(super) fn grown<M: TargetMemory>(
        &mut self,
        memory: &M,
        place: HeapPlace<'_>,
    ) -> Result<Vec<Object>, HeapError> {
        let (now, refused) = read_spans(memory, place)?;
        self.refused = self.refused.min(refused);
        let known: FxHashMap<u64, u32> = (0..)
            .zip(&self.spans)
            .map(|(number, span)| (span.start, number))
            .collect();
        let mut allocated = Vec::new();
        let mut swept = Vec::new();
        for span in now {
            let number = known.get(&span.start).copied();
            if let Some(number) = number {
                let known = &mut self.spans[number as usize];
                known.noscan &= span.noscan;
                known.specials = span.specials;
            }
            match number.map(|number| (number, self.spans[number as usize])) {
                // The same as before: what lies between the indexes is new.
                Some((number, before)) if before.alloc_bits == span.alloc_bits => {
                    let new = before.free_index..span.free_index.min(before.elems);
                    allocated.extend(new.map(|index| Object {
                        span: number,
                        index,
                    }));
                }
                // Swept meanwhile: what was allocated since is not in the new bits.
                Some((number, before))
                    if (before.elem_size, before.elems) == (span.elem_size, span.elems) =>
                {
                    swept.push((number, span));
                }
                // Freed and used anew for objects of another size: its old ones are gone, and
                // the new ones may be anything. Whatever the old numbers stand for is new.
                Some((number, before)) => {
                    allocated.extend((0..before.elems).map(|index| Object {
                        span: number,
                        index,
                    }));
                }
                None => {
                    let elems = span.elems;
                    if let Some(number) = self.add_anywhere(span) {
                        allocated.extend((0..elems).map(|index| Object {
                            span: number,
                            index,
                        }));
                    }
                }
            }
        }
        let mut bulk = Bulk::default();
        for chunk in swept.chunks(SPANS_AT_ONCE) {
            let spans: Vec<Span> = chunk.iter().map(|(_, span)| *span).collect();
            bulk.read(memory, &bits_of(&spans))?;
            for (i, (number, span)) in chunk.iter().enumerate() {
                let bits = bulk.get(i).unwrap_or(&[]);
                let new = (0..span.free_index.min(span.elems)).filter(|&index| !bit(bits, index));
                allocated.extend(new.map(|index| Object {
                    span: *number,
                    index,
                }));
            }
        }
        Ok(allocated)
    }

    /// Adds a span that may lie before or behind all others.
    fn add_anywhere(&mut self, span: Span) -> Option<u32> {
        let Range { start: first, end } = chunks_of(&span);
        if self.chunks.is_empty() {
            self.first_chunk = first;
        }
        if first < self.first_chunk {
            let before = (self.first_chunk - first) as usize;
            self.chunks
                .splice(0..0, std::iter::repeat_with(|| Chunk::Empty).take(before));
            self.first_chunk = first;
        }
        let needed = (end - self.first_chunk) as usize;
        if needed > self.chunks.len() {
            self.chunks.resize_with(needed, || Chunk::Empty);
        }
        self.add(span, true)
    }
}

/// Numbers of the chunks that a span has pages in.
fn chunks_of(span: &Span) -> Range<u64> {
    let pages = span.pages();
    (pages.start >> CHUNK_PAGES.ilog2())..((pages.end - 1) >> CHUNK_PAGES.ilog2()) + 1
}

/// Which pages of a chunk are a span's.
fn pages_in(span: &Span, chunk: u64) -> Range<usize> {
    let first = chunk << CHUNK_PAGES.ilog2();
    let pages = span.pages();
    let start = pages.start.max(first) - first;
    let end = pages.end.min(first + CHUNK_PAGES as u64) - first;
    start as usize..end as usize
}

/// Reads the header of every span that holds objects, and counts those that make no sense.
fn read_spans<M: TargetMemory>(
    memory: &M,
    place: HeapPlace<'_>,
) -> Result<(Vec<Span>, u64), HeapError> {
    let list = place.mheap.0.wrapping_add(u64::from(place.layout.allspans));
    let mut bytes = Vec::new();
    // The list is replaced by a larger one, then the old one is freed.
    for _ in 0..8 {
        let mut slice = [0; 24];
        memory.read(Addr(list), &mut slice)?;
        let [array, len, cap] = [0, 8, 16].map(|offset| u64_at(&slice, offset));
        if len > cap || len > MAX_SPANS {
            return Err(HeapError::Implausible(format!("{len} spans of {cap}")));
        }
        // Piece by piece: no more memory is taken than there is list.
        bytes.clear();
        for part in (0..len * 8).step_by(LIST_PIECE) {
            let piece = (len * 8 - part).min(LIST_PIECE as u64) as usize;
            bytes.resize(part as usize + piece, 0);
            memory.read(Addr(array.wrapping_add(part)), &mut bytes[part as usize..])?;
        }
        if memory.read_u64(Addr(list))? == array {
            let addresses: Vec<u64> = bytes
                .as_chunks()
                .0
                .iter()
                .map(|word| u64::from_le_bytes(*word))
                .collect();
            return read_headers(memory, place.span, &addresses);
        }
    }
    Err(HeapError::Implausible(
        "it was replaced under every read".to_owned(),
    ))
}

fn read_headers<M: TargetMemory>(
    memory: &M,
    layout: &Mspan,
    addresses: &[u64],
) -> Result<(Vec<Span>, u64), HeapError> {
    let mut bulk = Bulk::default();
    let mut spans = Vec::new();
    let (mut refused, mut unreadable) = (0, 0_usize);
    for addresses in addresses.chunks(SPANS_AT_ONCE) {
        let items: Vec<(u64, usize)> = addresses
            .iter()
            .map(|&addr| (addr, layout.size as usize))
            .collect();
        bulk.read(memory, &items)?;
        for i in 0..items.len() {
            let Some(bytes) = bulk.get(i) else {
                unreadable += 1;
                continue;
            };
            if u8_at(bytes, layout.state) != SPAN_IN_USE {
                continue;
            }
            match parse(layout, bytes) {
                Some(span) => spans.push(span),
                None => refused += 1,
            }
        }
    }
    // Spans come and go, but a list of which much is not readable is not that of spans.
    if unreadable > 0 || refused * 10 > spans.len() as u64 + 10 {
        return Err(HeapError::Implausible(format!(
            "of {} spans {unreadable} are not readable, {refused} make no sense",
            addresses.len()
        )));
    }
    Ok((spans, refused))
}

/// A span in use; `None` if its fields cannot be those of one.
fn parse(layout: &Mspan, bytes: &[u8]) -> Option<Span> {
    let start = u64_at(bytes, layout.start_addr);
    let pages = u64_at(bytes, layout.npages);
    let elem_size = u64_at(bytes, layout.elemsize);
    // Numbers of objects have 16 bits since Go 1.22, a word before: the distance tells.
    let (elems, free_index) = match layout.nelems.checked_sub(layout.freeindex)? {
        2 => (
            u64::from(u16_at(bytes, layout.nelems)),
            u64::from(u16_at(bytes, layout.freeindex)),
        ),
        8 => (
            u64_at(bytes, layout.nelems),
            u64_at(bytes, layout.freeindex),
        ),
        _ => return None,
    };
    let bytes_of_pages = pages.checked_mul(PAGE)?;
    let end = start.checked_add(bytes_of_pages)?;
    if start == 0
        || pages == 0
        || pages > MAX_PAGES
        || end > MAX_ADDRESS
        || !start.is_multiple_of(PAGE)
        || elem_size < 8
        || !elem_size.is_multiple_of(8)
        || elems == 0
        || elems > MAX_ELEMS
        || elems.checked_mul(elem_size)? > bytes_of_pages
        || (elems > 1 && elem_size >= 1 << 32)
        || free_index > elems
    {
        return None;
    }
    Some(Span {
        start,
        pages,
        elem_size,
        elems: u32::try_from(elems).ok()?,
        first: 0,
        // The lowest bit of the class (runtime.spanClass.noscan).
        noscan: u8_at(bytes, layout.spanclass) & 1 != 0,
        specials: u64_at(bytes, layout.specials),
        free_index: free_index as u32,
        alloc_bits: u64_at(bytes, layout.alloc_bits),
        reciprocal: match elems {
            1 => 0,
            _ => (u32::MAX / elem_size as u32).wrapping_add(1),
        },
    })
}

fn bits_of(spans: &[Span]) -> Vec<(u64, usize)> {
    spans
        .iter()
        .map(|span| (span.alloc_bits, span.elems.div_ceil(8) as usize))
        .collect()
}

/// Whether a bit is set; bits that were not read are.
fn bit(bits: &[u8], index: u32) -> bool {
    bits.get(index as usize / 8)
        .is_none_or(|byte| byte >> (index % 8) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::memory::FakeMemory;
    use super::*;

    const MSPAN: Mspan = Mspan {
        size: 56,
        start_addr: 0,
        npages: 8,
        freeindex: 16,
        nelems: 18,
        alloc_bits: 24,
        spanclass: 32,
        state: 33,
        elemsize: 40,
        specials: 48,
    };
    const MHEAP: Mheap = Mheap {
        size: 32,
        arenas: 24,
        allspans: 0,
    };
    const PLACE: HeapPlace<'_> = HeapPlace {
        mheap: Addr(0x100),
        layout: &MHEAP,
        span: &MSPAN,
    };

    fn header(start: u64, pages: u64, free_index: u16, elems: u16, elem_size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 56];
        bytes[0..8].copy_from_slice(&start.to_le_bytes());
        bytes[8..16].copy_from_slice(&pages.to_le_bytes());
        bytes[16..18].copy_from_slice(&free_index.to_le_bytes());
        bytes[18..20].copy_from_slice(&elems.to_le_bytes());
        bytes[24..32].copy_from_slice(&0x9000_u64.to_le_bytes());
        bytes[33] = SPAN_IN_USE;
        bytes[40..48].copy_from_slice(&elem_size.to_le_bytes());
        bytes
    }

    fn memory(spans: &[Vec<u8>]) -> FakeMemory {
        let mut memory = FakeMemory::default();
        let len = spans.len() as u64;
        let list: Vec<u8> = [0x1000, len, len]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        memory.map(Addr(0x100), list);
        let at = |i: u64| 0x10000 + i * 0x1000;
        memory.map(
            Addr(0x1000),
            (0..len).flat_map(|i| at(i).to_le_bytes()).collect(),
        );
        for (i, span) in (0..).zip(spans) {
            memory.map(Addr(at(i)), span.clone());
        }
        // Of the objects not below the index, the bits 3 and 5 are allocated.
        memory.map(Addr(0x9000), vec![0b10_1000; 64]);
        memory
    }

    #[test]
    fn addresses_lead_to_objects() {
        let memory = memory(&[
            header(0xc000_0000_0000, 1, 2, 170, 48),
            header(0xc000_0000_4000, 4, 1, 1, 32768),
            header(0xc000_1000_0000, 1, 1024, 1024, 8),
        ]);
        let heap = Heap::read(&memory, PLACE).expect("a heap");
        let base = |address| {
            let object = heap.object(address)?;
            Some(heap.span(object.span).base(object.index))
        };
        for (address, expected) in [
            (0xc000_0000_0000, Some(0xc000_0000_0000)),
            (0xc000_0000_002f, Some(0xc000_0000_0000)),
            (0xc000_0000_0030, Some(0xc000_0000_0030)),
            (
                0xc000_0000_0000 + 169 * 48 + 47,
                Some(0xc000_0000_0000 + 169 * 48),
            ),
            (0xc000_0000_0000 + 170 * 48, None), // behind the last object
            (0xc000_0000_2000, None),            // a page of no span
            (0xc000_0000_4000, Some(0xc000_0000_4000)),
            (0xc000_0000_bfff, Some(0xc000_0000_4000)),
            (0xc000_1000_0ff8, Some(0xc000_1000_0ff8)),
            (0xbfff_ffff_ffff, None),
            (0, None),
            (u64::MAX, None),
        ] {
            assert_eq!(base(address), expected, "{address:#x}");
        }
        let mut free = Vec::new();
        heap.free(&memory, |number| free.push(number))
            .expect("bits");
        assert_eq!(free[..5], [2, 4, 6, 7, 8]);
    }

    #[test]
    fn what_is_no_heap_is_refused() {
        // Sizes that do not fit, and one span that does.
        let bad = header(0xc000_0000_0001, 1, 0, 10, 48);
        for bad in [
            bad,
            header(0xc000_0000_0000, 1, 0, 200, 48),
            header(0xc000_0000_0000, 1 << 30, 0, 1, 8192),
            header(0xc000_0000_0000, 1, 11, 10, 48),
            header(0xc000_0000_0000, 1, 0, 10, 4),
        ] {
            let spans: Vec<_> = std::iter::repeat_n(bad, 20).collect();
            let refused = Heap::read(&memory(&spans), PLACE);
            assert!(
                matches!(refused, Err(HeapError::Implausible(_))),
                "{refused:?}"
            );
        }
        assert!(Heap::read(&FakeMemory::default(), PLACE).is_err());
    }

    #[test]
    fn what_was_allocated_meanwhile_is_told() {
        let before = memory(&[header(0xc000_0000_0000, 1, 2, 170, 48)]);
        let mut heap = Heap::read(&before, PLACE).expect("a heap");
        let after = memory(&[
            header(0xc000_0000_0000, 1, 4, 170, 48),
            header(0xb000_0000_0000, 1, 1, 2, 4096),
        ]);
        let new = heap.grown(&after, PLACE).expect("a heap");
        let objects: Vec<(u32, u32)> = new.iter().map(|new| (new.span, new.index)).collect();
        assert_eq!(objects, [(0, 2), (0, 3), (1, 0), (1, 1)]);
        assert_eq!(heap.objects(), 172);
        assert!(heap.object(0xb000_0000_1000).is_some());
        assert!(heap.object(0xc000_0000_0000).is_some());
    }

    /// What a hostile target says of its heap must not become memory of ours.
    #[test]
    fn huge_spans_take_no_memory() {
        // All of the address space, but for its first page.
        let huge: Vec<_> = (0..2048_u64)
            .map(|i| header((i * MAX_PAGES + 1) * PAGE, MAX_PAGES - 1, 0, 1, 8))
            .collect();
        let heap = Heap::read(&memory(&huge), PLACE).expect("it is a heap");
        assert_eq!((heap.spans().len(), heap.tables), (2048, 2048));
        let last = 2047 * MAX_PAGES * PAGE;
        assert_eq!(heap.object(last), None);
        let object = heap
            .object(last + PAGE)
            .expect("the first byte of the last span");
        assert_eq!(
            object,
            Object {
                span: 2047,
                index: 0
            }
        );
        assert_eq!(heap.object(last - 1), None, "behind the only object");

        // A page in each chunk of more of them than any heap has.
        let scattered: Vec<_> = (1..=MAX_TABLES as u64)
            .map(|i| header(i << CHUNK_SHIFT, 1, 0, 1, 8))
            .collect();
        let refused = Heap::read(&memory(&scattered), PLACE).expect_err("no heap is so large");
        assert!(matches!(refused, HeapError::Implausible(_)), "{refused}");
    }

    #[test]
    fn a_list_of_spans_that_is_not_there_takes_no_memory() {
        let mut memory = memory(&[]);
        memory.poke_u64(Addr(0x108), MAX_SPANS);
        memory.poke_u64(Addr(0x110), MAX_SPANS);
        let refused = Heap::read(&memory, PLACE).expect_err("there is no such list");
        assert!(matches!(refused, HeapError::Memory(_)), "{refused}");
    }
}
