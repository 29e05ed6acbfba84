//! Writes recordings, block by block: what was written stays readable whatever happens next.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use serde::Serialize;
use tracer_model::ids::{Ktime, Pc};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use crate::Error;
use crate::batch::Packed;
use crate::block::{Block, Kind};
use crate::entry::{Clock, FORMAT, Keyframe, Note, Preamble, Symbols, VERSION};
use crate::index::Index;
use crate::seal::Recipients;
use crate::sink::Sink;

/// Writes one recording. It begins with a [`Writer::keyframe`].
pub struct Writer<S> {
    sink: S,
    preamble: Preamble,
    recipients: Option<Recipients>,
    index: Index,
    /// Program counters whose frames are in this segment.
    known: FxHashSet<Pc>,
    items: u64,
    written: u64,
}

impl<S: Sink> Writer<S> {
    /// Writes into `sink`, encrypted if there are recipients. `gotrace` is the program's version.
    pub fn new(sink: S, clock: Clock, gotrace: &str, recipients: Option<Recipients>) -> Writer<S> {
        Writer {
            sink,
            preamble: Preamble {
                format: FORMAT.to_owned(),
                version: VERSION,
                gotrace: gotrace.to_owned(),
                segment: 0,
                clock,
            },
            recipients,
            index: Index::default(),
            known: FxHashSet::default(),
            items: 0,
            written: 0,
        }
    }

    /// Begins a segment.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keyframe(&mut self, keyframe: &Keyframe, symbols: &dyn Symbolizer) -> Result<(), Error> {
        self.close()?;
        self.sink.begin().map_err(Error::Io)?;
        let preamble =
            serde_json::to_vec(&self.preamble).map_err(|error| Error::Encode(error.to_string()))?;
        self.block(Kind::Segment, (keyframe.at, keyframe.at), &preamble)?;
        self.preamble.segment += 1;
        let mut pcs = keyframe.snapshot.as_ref().map(pcs_of).unwrap_or_default();
        for tracked in &keyframe.findings {
            let finding = &tracked.finding;
            pcs.extend(finding.chain.iter().filter_map(|link| link.site));
            pcs.extend(finding.created_at.iter().chain(&finding.at));
        }
        self.symbols(pcs, keyframe.at, symbols)?;
        self.encoded(Kind::Keyframe, (keyframe.at, keyframe.at), keyframe)
    }

    /// Writes a batch of events.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn items(&mut self, packed: Packed, symbols: &dyn Symbolizer) -> Result<(), Error> {
        let Packed {
            items,
            first,
            last,
            pcs,
            bytes,
        } = packed;
        self.symbols(pcs, first, symbols)?;
        self.items += items as u64;
        self.block(Kind::Items, (first, last), &bytes)
    }

    /// Writes a read of memory.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn observation(
        &mut self,
        snapshot: &Snapshot,
        symbols: &dyn Symbolizer,
    ) -> Result<(), Error> {
        self.symbols(pcs_of(snapshot), snapshot.started, symbols)?;
        self.encoded(
            Kind::Observation,
            (snapshot.started, snapshot.finished),
            snapshot,
        )
    }

    /// Writes a note.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&mut self, note: &Note) -> Result<(), Error> {
        self.encoded(Kind::Note, (note.at, note.at), note)
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// Its end cannot be written.
    pub fn finish(mut self) -> Result<S, Error> {
        self.close()?;
        self.sink.finish().map_err(Error::Io)?;
        Ok(self.sink)
    }

    /// Where it writes to.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    /// Events and the like written so far.
    pub const fn items_written(&self) -> u64 {
        self.items
    }

    /// Bytes written so far, those included that the sink has given up since.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Ends the segment with its index.
    fn close(&mut self) -> Result<(), Error> {
        if self.index.entries.is_empty() {
            return Ok(());
        }
        let index = std::mem::take(&mut self.index).block()?;
        self.known.clear();
        self.written += index.bytes.len() as u64;
        self.sink.block(&index.bytes, index.last).map_err(Error::Io)
    }

    /// Writes the frames of program counters that the segment does not have yet.
    fn symbols(
        &mut self,
        pcs: impl IntoIterator<Item = Pc>,
        at: Ktime,
        symbols: &dyn Symbolizer,
    ) -> Result<(), Error> {
        let known = &mut self.known;
        let new: Symbols = pcs
            .into_iter()
            .filter(|pc| known.insert(*pc))
            .map(|pc| (pc, symbols.frames(pc)))
            .filter(|(_, frames)| !Arc::clone(frames).is_empty())
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.encoded(Kind::Symbols, (at, at), &new)
    }

    fn encoded(
        &mut self,
        kind: Kind,
        span: (Ktime, Ktime),
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let mut payload = Vec::new();
        ciborium::into_writer(value, &mut payload)
            .map_err(|error| Error::Encode(error.to_string()))?;
        self.block(kind, span, &payload)
    }

    fn block(&mut self, kind: Kind, span: (Ktime, Ktime), payload: &[u8]) -> Result<(), Error> {
        let block = Block::new(kind, span, payload, self.recipients.as_ref())?;
        self.sink
            .block(&block.bytes, block.last)
            .map_err(Error::Io)?;
        self.index.add(&block);
        self.written += block.bytes.len() as u64;
        Ok(())
    }
}

/// Every program counter that a snapshot shows, in order.
fn pcs_of(snapshot: &Snapshot) -> BTreeSet<Pc> {
    let stacks = snapshot
        .stacks
        .iter()
        .flat_map(|stack| stack.iter().copied());
    let origins = snapshot
        .goroutines
        .iter()
        .flat_map(|goroutine| [goroutine.created_at.get(), goroutine.start.get()])
        .flatten();
    let made = snapshot
        .channels
        .iter()
        .filter_map(|channel| channel.made_at);
    stacks.chain(origins).chain(made).collect()
}
