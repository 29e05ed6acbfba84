//! Many small reads as few large ones.

use tracer_model::ids::Addr;

use super::{MemoryError, Request, TargetMemory};

/// Items that lie no farther apart than this are read as one range. For 100,000 goroutines anything
/// from 64 bytes to a page took the same time within the noise; larger makes fewer ranges.
const MAX_GAP: u64 = 4096;

/// No range gets longer than this, so that one unreadable page spoils few items' first attempt.
const MAX_RANGE: u64 = 1 << 20;

/// Bytes of many items, read together. Kept and used again, it stops allocating.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    bytes: Vec<u8>,
    /// Of each item: where its bytes begin and how many there are; `None` if unreadable.
    places: Vec<Option<(usize, usize)>>,
    order: Vec<u32>,
}

struct Range {
    start: u64,
    end: u64,
    /// Position in `bytes`.
    at: usize,
    /// The items in it, as a part of `order`.
    items: std::ops::Range<usize>,
}

impl Bulk {
    /// Reads every item, an address and a length.
    ///
    /// # Errors
    /// Only what ends everything; an unreadable item is one whose [`Bulk::get`] is `None`.
    pub(crate) fn read<M: TargetMemory>(
        &mut self,
        memory: &M,
        items: &[(u64, usize)],
    ) -> Result<(), MemoryError> {
        self.places.clear();
        self.places.resize(items.len(), None);
        self.order.clear();
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.order.extend(0..count);
        let start_of = |item: u32| items[item as usize].0;
        if !self.order.is_sorted_by_key(|&item| start_of(item)) {
            self.order.sort_unstable_by_key(|&item| start_of(item));
        }

        let mut ranges: Vec<Range> = Vec::new();
        let mut total = 0usize;
        for (position, &item) in self.order.iter().enumerate() {
            let (start, len) = items[item as usize];
            let Some(end) = start.checked_add(len as u64) else {
                continue;
            };
            match ranges.last_mut() {
                Some(range)
                    if range.items.end == position
                        && start <= range.end.saturating_add(MAX_GAP)
                        && end.max(range.end) - range.start <= MAX_RANGE =>
                {
                    let longer = end.max(range.end);
                    total += (longer - range.end) as usize;
                    range.end = longer;
                    range.items.end = position + 1;
                }
                _ => {
                    ranges.push(Range {
                        start,
                        end,
                        at: total,
                        items: position..position + 1,
                    });
                    total += len;
                }
            }
        }
        if self.bytes.len() < total {
            self.bytes.resize(total, 0);
        }

        let mut rest = self.bytes.as_mut_slice();
        let mut requests = Vec::with_capacity(ranges.len());
        for range in &ranges {
            let (into, after) = rest.split_at_mut((range.end - range.start) as usize);
            requests.push(Request {
                addr: Addr(range.start),
                into,
            });
            rest = after;
        }
        let results = memory.read_many(&mut requests)?;

        for (range, result) in ranges.iter().zip(results) {
            let alone = range.items.len() == 1;
            for &item in &self.order[range.items.clone()] {
                let (start, len) = items[item as usize];
                let at = range.at + (start - range.start) as usize;
                // One bad page must not take its neighbours along.
                let readable = match &result {
                    Ok(()) => true,
                    Err(_) if alone => false,
                    Err(_) => match memory.read(Addr(start), &mut self.bytes[at..at + len]) {
                        Ok(()) => true,
                        Err(MemoryError::Unreadable { .. }) => false,
                        Err(error) => return Err(error),
                    },
                };
                self.places[item as usize] = readable.then_some((at, len));
            }
        }
        Ok(())
    }

    /// The bytes of the item with this index in the last [`Bulk::read`]; `None` if unreadable.
    pub(crate) fn get(&self, item: usize) -> Option<&[u8]> {
        let (at, len) = (*self.places.get(item)?)?;
        self.bytes.get(at..at + len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FakeMemory;
    use super::*;

    #[test]
    fn items_come_back_in_their_order_and_bad_ones_alone() {
        let mut memory = FakeMemory::default();
        memory.map(Addr(0x1000), (0..=255).collect());
        memory.map(Addr(0x1200), vec![9; 16]);
        memory.map(Addr(0x90_0000), vec![7; 8]);
        let items = [
            (0x90_0000, 8),
            (0x1010, 4),
            (0x1100, 8), // in the hole
            (0x1000, 16),
            (0x1008, 16), // overlaps
            (0x1200, 16),
            (u64::MAX - 3, 8),
        ];
        let mut bulk = Bulk::default();
        bulk.read(&memory, &items).expect("no outer error");
        assert_eq!(bulk.get(0), Some(&[7; 8][..]));
        assert_eq!(bulk.get(1), Some(&[0x10, 0x11, 0x12, 0x13][..]));
        assert_eq!(bulk.get(2), None);
        assert_eq!(bulk.get(3).map(|b| b[15]), Some(15));
        assert_eq!(bulk.get(4).map(|b| (b[0], b[15])), Some((8, 23)));
        assert_eq!(bulk.get(5), Some(&[9; 16][..]));
        assert_eq!(bulk.get(6), None);
        assert_eq!(bulk.get(7), None);
    }
}
