//! What is reachable: a conservative mark through the target's heap, from outside.
//!
//! Every aligned word that is an address in an object counts as a reference to it. The target runs
//! on, so this is not a snapshot: see [`super::reachability`] for what makes up for it.
//!
//! Memory is read by spans, in rounds: all objects that were found and not yet read, in order of
//! their addresses, a megabyte at a time. Beside the spans it takes three bits an object.

use std::ops::Range;

use rustc_hash::FxHashSet;
use tracer_model::ids::Addr;

use super::heap::{Heap, Object};
use super::memory::{Bulk, MemoryError, Request, TargetMemory};

/// Bytes read at once.
const BATCH_BYTES: u64 = 1 << 20;
/// Ranges read at once.
const BATCH_RANGES: usize = 1024;
/// A span of no more bytes is read as a whole: most of its objects will be needed, and those that are
/// found while it is at hand need no further read.
const WHOLE_SPAN: u64 = 16 << 10;
/// Problems that are kept; more say nothing new.
const MAX_ERRORS: usize = 16;
/// A closure is no smaller, bytes: its code's address, and something that it captured.
const MIN_CLOSURE: u64 = 16;

/// A set of objects by their numbers.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Room for `n` objects.
    pub(super) fn grow(&mut self, n: u64) {
        self.0.resize(n.div_ceil(64) as usize, 0);
    }

    pub(super) fn contains(&self, n: u64) -> bool {
        self.0[(n / 64) as usize] >> (n % 64) & 1 != 0
    }

    /// Whether it was not there before.
    #[inline]
    pub(super) fn insert(&mut self, n: u64) -> bool {
        let (word, bit) = (&mut self.0[(n / 64) as usize], 1 << (n % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn remove(&mut self, n: u64) {
        self.0[(n / 64) as usize] &= !(1 << (n % 64));
    }

    /// The first member in a range.
    fn first(&self, from: u64, to: u64) -> Option<u64> {
        let mut at = from;
        while at < to {
            let word = self.0[(at / 64) as usize] >> (at % 64);
            if word != 0 {
                let found = at + u64::from(word.trailing_zeros());
                return (found < to).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// The last member in a range.
    fn last(&self, from: u64, to: u64) -> Option<u64> {
        let mut end = to;
        while end > from {
            let last = end - 1;
            let word = self.0[(last / 64) as usize] << (63 - last % 64);
            if word != 0 {
                let found = last - u64::from(word.leading_zeros());
                return (found >= from).then_some(found);
            }
            end = last / 64 * 64;
        }
        None
    }
}

/// The mark: what was reached so far, and what of it was not read yet.
#[derive(Debug)]
pub(super) struct Mark {
    heap: Heap,
    /// Reached, or not to be followed: free objects and those of [`Mark::exclude`].
    reached: Bits,
    /// Free when the mark began.
    free: Bits,
    /// Reached and not read yet.
    pending: Bits,
    /// Spans with pending objects, in no order.
    queue: Vec<u32>,
    queued: Vec<bool>,
    /// Addresses outside of the heap that it keeps note of, and those that it met.
    watched: Range<u64>,
    met: FxHashSet<u64>,
    /// Spans with objects without pointers that may be closures and were not looked at yet: these are
    /// pending, too.
    closures: Vec<u32>,
    /// Buffer of a batch.
    bytes: Vec<u8>,
    /// Bytes read from the heap.
    pub(super) read: u64,
    /// Heap memory that could not be read.
    pub(super) errors: Vec<String>,
}

impl Mark {
    /// A mark that has reached nothing.
    ///
    /// # Errors
    /// Only what ends everything.
    pub(super) fn new<M: TargetMemory>(memory: &M, heap: Heap) -> Result<Mark, MemoryError> {
        let [mut reached, mut pending, mut free] = [(); 3].map(|()| Bits::default());
        for bits in [&mut reached, &mut pending, &mut free] {
            bits.grow(heap.objects());
        }
        heap.free(memory, |number| {
            reached.insert(number);
            free.insert(number);
        })?;
        Ok(Mark {
            queue: Vec::new(),
            queued: vec![false; heap.spans().len()],
            heap,
            reached,
            free,
            pending,
            watched: 0..0,
            met: FxHashSet::default(),
            closures: Vec::new(),
            bytes: Vec::new(),
            read: 0,
            errors: Vec::new(),
        })
    }

    /// The heap.
    pub(super) fn heap(&self) -> &Heap {
        &self.heap
    }

    /// The heap, to add what is new; [`Mark::grow`] must follow.
    pub(super) fn heap_mut(&mut self) -> &mut Heap {
        &mut self.heap
    }

    /// Makes room for spans that were added to the heap, and follows from now on what leads to
    /// objects that were free at the begin: they may have been allocated since.
    pub(super) fn grow(&mut self) {
        for (reached, free) in self.reached.0.iter_mut().zip(&mut self.free.0) {
            *reached &= !std::mem::take(free);
        }
        self.reached.grow(self.heap.objects());
        self.pending.grow(self.heap.objects());
        self.queued.resize(self.heap.spans().len(), false);
    }

    /// Never follows the object at `address`.
    pub(super) fn exclude(&mut self, address: u64) {
        if let Some(object) = self.heap.object(address) {
            let number = self.heap.number(object);
            self.reached.insert(number);
            self.pending.remove(number);
        }
    }

    /// Whether the object was reached (or is free, or excluded).
    pub(super) fn is_reached(&self, object: Object) -> bool {
        self.reached.contains(self.heap.number(object))
    }

    /// Reaches the object that `word` points to, if it does.
    #[inline]
    pub(super) fn word(&mut self, word: u64) {
        if let Some(object) = self.heap.object(word) {
            let number = self.heap.number(object);
            if self.reached.insert(number) {
                self.enqueue(object, number);
            }
        } else if self.watched.contains(&word) {
            self.met.insert(word);
        }
    }

    /// From now on keeps note of words in this range, which is no part of the heap; of none if it is
    /// empty.
    pub(super) fn watch(&mut self, range: Range<u64>) {
        self.watched = range;
        if self.watched.is_empty() {
            self.met.clear();
            for span in std::mem::take(&mut self.closures) {
                self.queued[span as usize] = false;
                let span = self.heap.span(span);
                for number in span.first..span.first + u64::from(span.elems) {
                    self.pending.remove(number);
                }
            }
        }
    }

    /// The words in the watched range that were met since the last call, the first words of objects
    /// without pointers included: a closure that captured none has its code's address there.
    ///
    /// # Errors
    /// Only what ends everything.
    pub(super) fn met<M: TargetMemory>(
        &mut self,
        memory: &M,
    ) -> Result<FxHashSet<u64>, MemoryError> {
        let mut bulk = Bulk::default();
        let mut items = Vec::new();
        for span in std::mem::take(&mut self.closures) {
            self.queued[span as usize] = false;
            let span = *self.heap.span(span);
            let end = span.first + u64::from(span.elems);
            let mut from = span.first;
            while let Some(number) = self.pending.first(from, end) {
                self.pending.remove(number);
                items.push((span.base((number - span.first) as u32), 8));
                from = number + 1;
            }
            if items.len() >= BATCH_RANGES {
                self.first_words(memory, &mut bulk, &mut items)?;
            }
        }
        self.first_words(memory, &mut bulk, &mut items)?;
        Ok(std::mem::take(&mut self.met))
    }

    fn first_words<M: TargetMemory>(
        &mut self,
        memory: &M,
        bulk: &mut Bulk,
        items: &mut Vec<(u64, usize)>,
    ) -> Result<(), MemoryError> {
        bulk.read(memory, items)?;
        for i in 0..items.len() {
            let word = bulk.get(i).and_then(|bytes| bytes.first_chunk());
            let word = word.map(|word| u64::from_le_bytes(*word));
            self.met
                .extend(word.filter(|word| self.watched.contains(word)));
        }
        items.clear();
        Ok(())
    }

    /// Reaches an object, and reads it even if it was excluded.
    pub(super) fn force(&mut self, object: Object) {
        let number = self.heap.number(object);
        self.reached.insert(number);
        self.enqueue(object, number);
    }

    fn enqueue(&mut self, object: Object, number: u64) {
        let span = self.heap.span(object.span);
        let noscan = span.noscan;
        if noscan && (self.watched.is_empty() || span.elem_size < MIN_CLOSURE) {
            return;
        }
        self.pending.insert(number);
        let queued = &mut self.queued[object.span as usize];
        if !*queued {
            *queued = true;
            match noscan {
                true => self.closures.push(object.span),
                false => self.queue.push(object.span),
            }
        }
    }

    /// Reaches what all words of `bytes`, which begin at an aligned address, point to.
    pub(super) fn words(&mut self, bytes: &[u8]) {
        for word in bytes.as_chunks().0 {
            self.word(u64::from_le_bytes(*word));
        }
    }

    /// Reads what was reached, and what that reaches, until nothing is left.
    ///
    /// # Errors
    /// Only what ends everything.
    pub(super) fn run<M: TargetMemory>(&mut self, memory: &M) -> Result<(), MemoryError> {
        let mut round = Vec::new();
        while !self.queue.is_empty() {
            std::mem::swap(&mut self.queue, &mut round);
            let spans = self.heap.spans();
            round.sort_unstable_by_key(|&span| spans[span as usize].start);
            let mut rest = round.as_slice();
            while let Some((&first, others)) = rest.split_first() {
                if self.heap.span(first).elems == 1 {
                    self.queued[first as usize] = false;
                    self.large(memory, first)?;
                    rest = others;
                } else {
                    let batch = self.batch(rest);
                    self.small(memory, &batch)?;
                    rest = &rest[batch.len()..];
                }
            }
            round.clear();
        }
        Ok(())
    }

    /// Which bytes of the first spans of `spans` are read together: at least one span.
    fn batch(&self, spans: &[u32]) -> Vec<(u32, Range<u64>)> {
        let mut batch = Vec::new();
        let mut total = 0;
        for &number in spans {
            let span = self.heap.span(number);
            if span.elems == 1 {
                break;
            }
            let numbers = (span.first, span.first + u64::from(span.elems));
            let range = match span.end() - span.start <= WHOLE_SPAN {
                true => span.start..span.end(),
                false => {
                    let first = self.pending.first(numbers.0, numbers.1);
                    let last = self.pending.last(numbers.0, numbers.1);
                    match first.zip(last) {
                        Some((first, last)) => {
                            let base = |number| span.base((number - span.first) as u32);
                            base(first)..base(last) + span.elem_size
                        }
                        None => span.start..span.start,
                    }
                }
            };
            total += range.end - range.start;
            if !batch.is_empty() && (total > BATCH_BYTES || batch.len() == BATCH_RANGES) {
                break;
            }
            batch.push((number, range));
        }
        batch
    }

    /// Reads spans of several objects.
    fn small<M: TargetMemory>(
        &mut self,
        memory: &M,
        batch: &[(u32, Range<u64>)],
    ) -> Result<(), MemoryError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let total: u64 = batch.iter().map(|(_, range)| range.end - range.start).sum();
        if bytes.len() < total as usize {
            bytes.resize(total as usize, 0);
        }
        let mut rest = bytes.as_mut_slice();
        let mut requests = Vec::with_capacity(batch.len());
        for (_, range) in batch {
            let (into, after) = rest.split_at_mut((range.end - range.start) as usize);
            requests.push(Request {
                addr: Addr(range.start),
                into,
            });
            rest = after;
        }
        let results = memory.read_many(&mut requests)?;
        self.read += total;

        let mut at = 0;
        for ((number, range), result) in batch.iter().zip(results) {
            let len = (range.end - range.start) as usize;
            let here = &mut bytes[at..at + len];
            if let Err(error) = result {
                self.failed(error);
                here.fill(0);
            }
            self.span(*number, range.start, here);
            at += len;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Follows the pending objects of a span, of which `bytes` begin at `start`, and those that they
    /// reach in it. The span counts as queued meanwhile, and stays so for what lies elsewhere in it.
    fn span(&mut self, number: u32, start: u64, bytes: &[u8]) {
        let span = *self.heap.span(number);
        let end = start + bytes.len() as u64;
        let first_here = span.first + (start - span.start) / span.elem_size;
        let last_here = span.first + (end - span.start) / span.elem_size;
        let mut from = first_here;
        loop {
            let Some(found) = self.pending.first(from, last_here) else {
                // What was found behind us meanwhile.
                match from == first_here {
                    true => break,
                    false => from = first_here,
                }
                continue;
            };
            self.pending.remove(found);
            let base = span.base((found - span.first) as u32);
            let at = (base - start) as usize;
            self.words(&bytes[at..at + span.elem_size as usize]);
            from = found + 1;
        }
        let end = span.first + u64::from(span.elems);
        match self.pending.first(span.first, end) {
            Some(_) => self.queue.push(number),
            None => self.queued[number as usize] = false,
        }
    }

    /// Reads a span of one object, piece by piece.
    fn large<M: TargetMemory>(&mut self, memory: &M, number: u32) -> Result<(), MemoryError> {
        let span = *self.heap.span(number);
        self.pending.remove(span.first);
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut at = span.start;
        while at < span.end() {
            let len = (span.end() - at).min(BATCH_BYTES) as usize;
            if bytes.len() < len {
                bytes.resize(len, 0);
            }
            match memory.read(Addr(at), &mut bytes[..len]) {
                Ok(()) => self.words(&bytes[..len]),
                Err(error @ MemoryError::Unreadable { .. }) => self.failed(error),
                Err(error) => return Err(error),
            }
            self.read += len as u64;
            at += len as u64;
        }
        self.bytes = bytes;
        Ok(())
    }

    fn failed(&mut self, error: MemoryError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(format!("heap: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_from_both_ends() {
        let mut bits = Bits::default();
        bits.grow(300);
        for n in [3, 64, 65, 255] {
            assert!(bits.insert(n));
            assert!(!bits.insert(n));
        }
        assert_eq!(bits.first(0, 300), Some(3));
        assert_eq!(bits.first(4, 64), None);
        assert_eq!(bits.first(4, 65), Some(64));
        assert_eq!(bits.first(66, 255), None);
        assert_eq!(bits.last(0, 300), Some(255));
        assert_eq!(bits.last(0, 255), Some(65));
        assert_eq!(bits.last(66, 255), None);
        assert_eq!(bits.last(4, 65), Some(64));
        bits.remove(64);
        assert_eq!(bits.first(4, 65), None);
    }
}
