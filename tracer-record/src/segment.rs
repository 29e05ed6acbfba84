//! Where the segments of a file are: by the indexes at their ends, or from header to header where a file
//! was cut or damaged.

use std::io::{self, Read, Seek, SeekFrom};

use tracer_model::ids::Ktime;

use crate::Error;
use crate::block::{HEADER, Header, Kind, MAGIC};
use crate::entry::{FORMAT, Preamble, VERSION};
use crate::index::{Index, TRAILER, trailer_of};
use crate::seal::Keys;

/// A file, or bytes that stand for one.
pub(crate) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// How far from its beginning a file is searched for something whole before it is called foreign.
const FOREIGN_AFTER: u64 = 1 << 20;
/// Bytes that are searched at once for the next block.
const SEARCH: usize = 1 << 16;

/// One file of a recording.
pub(crate) struct Part {
    pub(crate) source: Box<dyn Source>,
    pub(crate) bytes: u64,
}

/// A part of a file that can be understood by itself.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Which file.
    pub(crate) part: usize,
    /// Its first byte there.
    pub(crate) start: u64,
    /// The first byte behind it.
    pub(crate) end: u64,
    pub(crate) preamble: Preamble,
    /// When it begins.
    pub(crate) first: Ktime,
    /// Time of the latest thing in it.
    pub(crate) last: Ktime,
}

/// What is at a place in a file.
pub(crate) enum Found {
    /// A block, whose payload may still be damaged.
    Block(Header),
    /// No block; the next one is so many bytes further on, or there is none.
    Gap(u64),
    /// A block that goes on behind the end of the file.
    Cut,
}

impl Part {
    pub(crate) fn new(mut source: Box<dyn Source>) -> io::Result<Part> {
        let bytes = source.seek(SeekFrom::End(0))?;
        Ok(Part { source, bytes })
    }

    /// Reads so many bytes at a place that has them.
    pub(crate) fn read(&mut self, at: u64, count: usize) -> io::Result<Vec<u8>> {
        // A forged header must not fill the memory: no more than the file has.
        let there = self.bytes.saturating_sub(at);
        if count as u64 > there {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; count];
        self.source.seek(SeekFrom::Start(at))?;
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// What is at `at`, which is before the end.
    pub(crate) fn find(&mut self, at: u64) -> io::Result<Found> {
        if self.bytes - at < HEADER as u64 {
            return Ok(Found::Cut);
        }
        if let Some(header) = self.header(at)? {
            return Ok(match header.block_bytes() <= self.bytes - at {
                true => Found::Block(header),
                false => Found::Cut,
            });
        }
        let mut next = at + 1;
        while self.bytes - next >= HEADER as u64 {
            let count = usize::try_from(self.bytes - next)
                .unwrap_or(SEARCH)
                .min(SEARCH);
            let bytes = self.read(next, count)?;
            for (offset, window) in bytes.windows(MAGIC.len()).enumerate() {
                let place = next + offset as u64;
                if window == MAGIC
                    && self.bytes - place >= HEADER as u64
                    && self.header(place)?.is_some()
                {
                    return Ok(Found::Gap(place - at));
                }
            }
            // The magic may lie across.
            next += (count - MAGIC.len() + 1) as u64;
        }
        Ok(Found::Gap(self.bytes - at))
    }

    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let bytes = self.read(at, HEADER)?;
        Ok(bytes.first_chunk().and_then(Header::read))
    }

    /// The payload of the block at `at`.
    pub(crate) fn payload(
        &mut self,
        at: u64,
        header: &Header,
        keys: &Keys,
    ) -> Result<Vec<u8>, Error> {
        let stored = self
            .read(at + HEADER as u64, header.stored as usize)
            .map_err(Error::Io)?;
        header.open(stored, keys)
    }

    /// Finds the file's segments; `part` is its number.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn segments(&mut self, part: usize) -> Result<Vec<Segment>, Error> {
        if self.bytes == 0 {
            return Err(Error::Empty);
        }
        self.check_beginning()?;
        let mut end = self.bytes;
        let mut segments = Vec::new();
        while end > 0 {
            let Some(segment) = self.last_segment(part, end)? else {
                break;
            };
            end = segment.start;
            segments.push(segment);
        }
        segments.reverse();
        if end > 0 {
            let mut before = self.walk(part, end)?;
            before.append(&mut segments);
            segments = before;
        }
        if segments.is_empty() {
            return Err(Error::Empty);
        }
        Ok(segments)
    }

    /// Whether it begins as it should, or has a block soon after.
    fn check_beginning(&mut self) -> Result<(), Error> {
        let count = self.bytes.min(FOREIGN_AFTER) as usize;
        let beginning = self.read(0, count).map_err(Error::Io)?;
        let first = beginning
            .array_windows()
            .enumerate()
            .find_map(|(at, window)| {
                let header = window.starts_with(&MAGIC).then(|| Header::read(window))?;
                Some((at as u64, header?))
            });
        let Some((at, header)) = first else {
            let begun = beginning.get(..MAGIC.len()).unwrap_or(&beginning);
            return Err(match MAGIC.starts_with(begun) {
                true => Error::Empty,
                false => Error::Foreign,
            });
        };
        if header.kind == Kind::Segment
            && let Err(error @ (Error::Foreign | Error::Newer { .. })) = self.preamble(at, &header)
        {
            return Err(error);
        }
        Ok(())
    }

    /// What a segment's first block says.
    fn preamble(&mut self, at: u64, header: &Header) -> Result<Preamble, Error> {
        let payload = self.payload(at, header, &Keys::none())?;
        // A later version may say other things beside these.
        #[derive(serde::Deserialize)]
        struct Head {
            format: String,
            version: u32,
            gotrace: String,
        }
        let head: Head = serde_json::from_slice(&payload).map_err(|_| Error::Foreign)?;
        if head.format != FORMAT {
            return Err(Error::Foreign);
        }
        if head.version > VERSION {
            return Err(Error::Newer {
                version: head.version,
                by: head.gotrace,
            });
        }
        serde_json::from_slice(&payload).map_err(|_| Error::Checksum)
    }

    /// The segment whose index ends at `end`; `None` if there is no such index.
    fn last_segment(&mut self, part: usize, end: u64) -> Result<Option<Segment>, Error> {
        let Some(at) = end.checked_sub(TRAILER as u64) else {
            return Ok(None);
        };
        let bytes = self.read(at, TRAILER).map_err(Error::Io)?;
        let Some((segment, block)) = bytes.first_chunk().and_then(trailer_of) else {
            return Ok(None);
        };
        let place = end
            .checked_sub(block)
            .and_then(|index| Some((index, index.checked_sub(segment)?)));
        let Some((index, start)) = place else {
            return Ok(None);
        };
        let header = self.header(index).map_err(Error::Io)?;
        let Some(header) = header.filter(|it| it.kind == Kind::Index && it.block_bytes() == block)
        else {
            return Ok(None);
        };
        let Ok(payload) = self.payload(index, &header, &Keys::none()) else {
            return Ok(None);
        };
        let Ok(Index { entries, .. }) = Index::read(&payload) else {
            return Ok(None);
        };
        let Some(head) = self.header(start).map_err(Error::Io)? else {
            return Ok(None);
        };
        let whole = entries.first().is_some_and(|first| first.offset == 0);
        let Ok(preamble) = self.preamble(start, &head) else {
            return Ok(None);
        };
        Ok(whole.then_some(Segment {
            part,
            start,
            end,
            preamble,
            first: head.first,
            last: header.last,
        }))
    }

    /// Finds segments from header to header, up to `end`.
    fn walk(&mut self, part: usize, end: u64) -> Result<Vec<Segment>, Error> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut at = 0;
        while at < end {
            let header = match self.find(at).map_err(Error::Io)? {
                Found::Block(header) => header,
                Found::Gap(gap) => {
                    at += gap;
                    continue;
                }
                Found::Cut => break,
            };
            if header.kind == Kind::Segment
                && let Ok(preamble) = self.preamble(at, &header)
            {
                segments.push(Segment {
                    part,
                    start: at,
                    end,
                    preamble,
                    first: header.first,
                    last: header.last,
                });
                let count = segments.len();
                if let Some(before) = count
                    .checked_sub(2)
                    .and_then(|index| segments.get_mut(index))
                {
                    before.end = at;
                }
            }
            if let Some(segment) = segments.last_mut() {
                segment.last = segment.last.max(header.last);
            }
            at += header.block_bytes();
        }
        Ok(segments)
    }
}
