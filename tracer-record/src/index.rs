//! The index at the end of a segment: where its blocks are and of when. Its last bytes say where it
//! begins, so that a file can be walked from its end, segment by segment.

use tracer_model::ids::Ktime;

use crate::Error;
use crate::block::{Block, HEADER, Kind};
use crate::varint::{Bytes, Malformed, put, put_step};

/// The last bytes of an index.
const MAGIC: [u8; 4] = *b"GoTX";
/// Bytes at the end of an index: of the segment before it (8), of the index' block (4), magic (4).
pub(crate) const TRAILER: usize = 16;

/// A block of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From the beginning of the segment.
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
    pub(crate) first: Ktime,
    pub(crate) last: Ktime,
}

/// The blocks of a segment so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) entries: Vec<Entry>,
    /// Bytes of these blocks.
    pub(crate) bytes: u64,
}

impl Index {
    pub(crate) fn add(&mut self, block: &Block) {
        self.entries.push(Entry {
            offset: self.bytes,
            kind: block.kind,
            first: block.first,
            last: block.last,
        });
        self.bytes += block.bytes.len() as u64;
    }

    /// The index as a block.
    pub(crate) fn block(&self) -> Result<Block, Error> {
        let mut payload = Vec::new();
        put(&mut payload, self.entries.len() as u64);
        let (mut offset, mut time) = (0, 0);
        for entry in &self.entries {
            put_step(&mut payload, offset, entry.offset);
            payload.push(entry.kind.code());
            put_step(&mut payload, time, entry.first.0);
            put_step(&mut payload, entry.first.0, entry.last.0);
            (offset, time) = (entry.offset, entry.last.0);
        }
        let block = u32::try_from(HEADER + payload.len() + TRAILER).map_err(|_| Error::TooLarge)?;
        payload.extend(self.bytes.to_le_bytes());
        payload.extend(block.to_le_bytes());
        payload.extend(MAGIC);
        Block::new(Kind::Index, self.span(), &payload, None)
    }

    fn span(&self) -> (Ktime, Ktime) {
        let first = self.entries.iter().map(|entry| entry.first).min();
        let last = self.entries.iter().map(|entry| entry.last).max();
        (first.unwrap_or_default(), last.unwrap_or_default())
    }

    /// Reads an index' payload.
    pub(crate) fn read(payload: &[u8]) -> Result<Index, Malformed> {
        let (entries, trailer) = payload.split_last_chunk().ok_or(Malformed)?;
        let (bytes, _) = trailer_of(trailer).ok_or(Malformed)?;
        let mut input = Bytes(entries);
        let mut index = Index {
            entries: Vec::new(),
            bytes,
        };
        let (mut offset, mut time) = (0, 0);
        for _ in 0..input.count()? {
            offset = input.step(offset)?;
            let kind = Kind::from_code(input.byte()?);
            let first = input.step(time)?;
            time = input.step(first)?;
            index.entries.push(Entry {
                offset,
                kind,
                first: Ktime(first),
                last: Ktime(time),
            });
        }
        Ok(index)
    }
}

/// The bytes of the segment before the index, and of the index' block, by the last bytes of a file.
pub(crate) fn trailer_of(bytes: &[u8; TRAILER]) -> Option<(u64, u64)> {
    let (segment, rest) = bytes.split_first_chunk::<8>()?;
    let (block, magic) = rest.split_first_chunk::<4>()?;
    let found = (
        u64::from_le_bytes(*segment),
        u64::from(u32::from_le_bytes(*block)),
    );
    (magic == MAGIC).then_some(found)
}
