//! Reads recordings. What cannot be read is said and left out; the rest is given.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use tracer_model::ids::{Ktime, Pc};
use tracer_model::symbol::{Frame, Symbolizer};

use crate::Error;
use crate::batch::{Item, unpack};
use crate::block::{Header, Kind};
use crate::entry::{Clock, Entry, Missing, Preamble, Symbols};
use crate::seal::Keys;
use crate::segment::{Found, Part, Segment};
use crate::sink::SUFFIX;
use crate::varint::Malformed;

/// The frames that a recording brings, as far as it was read.
#[derive(Debug, Default)]
pub struct Dictionary(RwLock<FxHashMap<Pc, Arc<[Frame]>>>);

impl Dictionary {
    fn learn(&self, symbols: Symbols) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(symbols);
    }
}

impl Symbolizer for Dictionary {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&pc).cloned().unwrap_or_default()
    }
}

/// A recording, opened.
pub struct Recording {
    parts: Vec<Part>,
    segments: Vec<Segment>,
    keys: Keys,
    symbols: Arc<Dictionary>,
    /// Files of the directory that could not be opened, with why.
    unopened: Vec<(PathBuf, Error)>,
}

impl Recording {
    /// Opens a file, or a directory of them.
    ///
    /// # Errors
    /// Nothing in it can be read: [`Error`] says why.
    pub fn open(path: &Path, keys: Keys) -> Result<Recording, Error> {
        if !path.is_dir() {
            let file = File::open(path).map_err(Error::Io)?;
            return Recording::of(
                vec![(path.to_owned(), Box::new(BufReader::new(file)))],
                keys,
            );
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(path).map_err(Error::Io)? {
            let path = entry.map_err(Error::Io)?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(Error::Foreign);
        }
        let mut files: Vec<(PathBuf, Box<dyn crate::segment::Source>)> = Vec::new();
        for path in paths {
            match File::open(&path) {
                Ok(file) => files.push((path, Box::new(BufReader::new(file)))),
                // The recorder deleted it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Recording::of(files, keys)
    }

    /// Opens bytes that stand for a file.
    ///
    /// # Errors
    /// As for a file.
    pub fn of_bytes(bytes: Vec<u8>, keys: Keys) -> Result<Recording, Error> {
        let source = Box::new(std::io::Cursor::new(bytes));
        Recording::of(vec![(PathBuf::new(), source)], keys)
    }

    fn of(
        files: Vec<(PathBuf, Box<dyn crate::segment::Source>)>,
        keys: Keys,
    ) -> Result<Recording, Error> {
        let mut recording = Recording {
            parts: Vec::new(),
            segments: Vec::new(),
            keys,
            symbols: Arc::default(),
            unopened: Vec::new(),
        };
        for (path, source) in files {
            let number = recording.parts.len();
            let mut part = Part::new(source).map_err(Error::Io)?;
            match part.segments(number) {
                Ok(mut segments) => {
                    recording.segments.append(&mut segments);
                    recording.parts.push(part);
                }
                Err(error) => recording.unopened.push((path, error)),
            }
        }
        if recording.segments.is_empty() {
            let (_, error) = recording.unopened.pop().ok_or(Error::Empty)?;
            return Err(error);
        }
        recording.check_keys()?;
        Ok(recording)
    }

    /// Whether the first thing that may be encrypted can be read.
    fn check_keys(&mut self) -> Result<(), Error> {
        let Some(segment) = self.segments.first() else {
            return Ok(());
        };
        let (index, mut at, end) = (segment.part, segment.start, segment.end);
        let Some(part) = self.parts.get_mut(index) else {
            return Ok(());
        };
        while at < end
            && let Found::Block(header) = part.find(at).map_err(Error::Io)?
        {
            if header.kind != Kind::Segment {
                return match part.payload(at, &header, &self.keys) {
                    Err(error @ (Error::Sealed | Error::WrongKey)) => Err(error),
                    _ => Ok(()),
                };
            }
            at += header.block_bytes();
        }
        Ok(())
    }

    /// How many segments there are: at least one.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Number of the first segment: not 0 if older ones were deleted.
    pub fn first_number(&self) -> u64 {
        self.segments
            .first()
            .map_or(0, |segment| segment.preamble.segment)
    }

    /// What the first segment says of itself.
    pub fn preamble(&self) -> Option<&Preamble> {
        self.segments.first().map(|segment| &segment.preamble)
    }

    /// From kernel time to the wall clock.
    pub fn clock(&self) -> Option<Clock> {
        self.preamble().map(|preamble| preamble.clock)
    }

    /// Time of its beginning, and of the latest thing in it.
    pub fn span(&self) -> (Ktime, Ktime) {
        let first = self.segments.first().map(|segment| segment.first);
        let last = self.segments.iter().map(|segment| segment.last).max();
        (first.unwrap_or_default(), last.unwrap_or_default())
    }

    /// The segment to begin with to learn what was at a time: the last that begins no later.
    pub fn segment_at(&self, at: Ktime) -> usize {
        self.segments
            .partition_point(|segment| segment.first <= at)
            .saturating_sub(1)
    }

    /// The frames that it brings, as far as it was read.
    pub fn symbols(&self) -> Arc<Dictionary> {
        Arc::clone(&self.symbols)
    }

    /// Files that nothing could be read from, with why.
    pub fn unopened(&self) -> &[(PathBuf, Error)] {
        &self.unopened
    }

    /// Bytes between a segment and the one before it in the same file, of which nothing is understood.
    fn bytes_before(&self, segment: usize) -> u64 {
        let Some(this) = self.segments.get(segment) else {
            return 0;
        };
        let before = segment
            .checked_sub(1)
            .and_then(|index| self.segments.get(index));
        let before = before.filter(|before| before.part == this.part);
        this.start - before.map_or(0, |before| before.end)
    }

    /// What it holds, in order, from a segment on.
    pub fn entries(&mut self, segment: usize) -> Entries<'_> {
        Entries {
            at: self
                .segments
                .get(segment)
                .map_or(0, |segment| segment.start),
            lost: self.bytes_before(segment),
            recording: self,
            segment,
            heard: Ktime(0),
            room: Vec::new(),
        }
    }
}

/// Reads on, entry by entry.
pub struct Entries<'r> {
    recording: &'r mut Recording,
    segment: usize,
    at: u64,
    /// Bytes before it that are not understood, to be said next.
    lost: u64,
    /// Time of the latest whole block so far.
    heard: Ktime,
    /// Given back, to be used for the next items.
    room: Vec<Vec<Item>>,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let segment = self.recording.segments.get(self.segment)?;
            if self.at >= segment.end {
                self.segment += 1;
                self.lost = self.recording.bytes_before(self.segment);
                self.at = self.recording.segments.get(self.segment)?.start;
                continue;
            }
            if self.lost > 0 {
                let what = format!("{} bytes before byte {} are damaged", self.lost, self.at);
                self.lost = 0;
                return Some(self.missing(what, true));
            }
            let (end, at, preamble) = (segment.end, self.at, segment.preamble.clone());
            let part = self.recording.parts.get_mut(segment.part)?;
            match part.find(at) {
                Ok(Found::Block(header)) => {
                    self.at += header.block_bytes();
                    let payload = part.payload(at, &header, &self.recording.keys);
                    if header.kind == Kind::Segment && payload.is_ok() {
                        self.heard = self.heard.max(header.last);
                        return Some(Entry::Segment(preamble));
                    }
                    let entry = payload.and_then(|payload| self.entry(&header, &payload));
                    match entry {
                        Ok(entry) => {
                            self.heard = self.heard.max(header.last);
                            if entry.is_some() {
                                return entry;
                            }
                        }
                        Err(error) => {
                            let events = matches!(header.kind, Kind::Items | Kind::Segment);
                            return Some(
                                self.missing(format!("a block at byte {at}: {error}"), events),
                            );
                        }
                    }
                }
                Ok(Found::Gap(gap)) => {
                    let gap = gap.min(end - at);
                    self.at += gap;
                    return Some(
                        self.missing(format!("{gap} bytes at byte {at} are damaged"), true),
                    );
                }
                Ok(Found::Cut) => {
                    let rest = end - at;
                    self.at = end;
                    let what = format!(
                        "it ends in the middle of a block, whose {rest} bytes are left out"
                    );
                    return Some(self.missing(what, true));
                }
                Err(error) => {
                    self.at = end;
                    return Some(self.missing(format!("from byte {at} on: {error}"), true));
                }
            }
        }
    }
}

impl Entries<'_> {
    /// Takes back the items of an entry that is done with: the next ones go where these are, in memory whose
    /// pages are there.
    pub fn give_back(&mut self, items: Vec<Item>) {
        self.room.push(items);
    }

    fn missing(&self, what: String, events: bool) -> Entry {
        Entry::Missing(Missing {
            what,
            after: self.heard,
            events,
        })
    }

    /// What a block says; `None` if it is nothing that is given out.
    fn entry(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Entry>, Error> {
        Ok(match header.kind {
            Kind::Keyframe => Some(Entry::Keyframe(Box::new(decode(payload)?))),
            Kind::Items => {
                let room = self.room.pop().unwrap_or_default();
                let unpacked = unpack(payload, room)?;
                Some(Entry::Items(unpacked))
            }
            Kind::Observation => Some(Entry::Observation(Box::new(decode(payload)?))),
            Kind::Note => Some(Entry::Note(decode(payload)?)),
            Kind::Symbols => {
                self.recording.symbols.learn(decode(payload)?);
                None
            }
            Kind::Segment | Kind::Index => None,
            Kind::Unknown(code) => {
                let what = format!("a block of kind {code}, which this gotrace does not know");
                Some(self.missing(what, false))
            }
        })
    }
}

fn decode<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    ciborium::from_reader(payload).map_err(|_| Error::Malformed(Malformed))
}
