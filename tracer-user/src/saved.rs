//! A snapshot as a file: everything that the one-shot commands show, with the symbols it needs, so that
//! it can be studied on another machine, without root and without the binary.
//!
//! The file is one zstd frame (with its checksum) that holds one CBOR item, [`Saved`]. It is readable by its
//! owner alone: channel values can be secrets.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tracer_model::ids::Pc;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::{Frame, Symbolizer};

use crate::document::{Target, WallClock};
use crate::failure::Failure;

/// The format's name and version.
const SCHEMA: &str = "gotrace.snapshot/1";
/// More than this is not read back, so that a forged file cannot fill the memory: 16 GiB.
const MOST_BYTES: u64 = 16 << 30;
/// zstd's own default.
const COMPRESSION: i32 = 3;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    schema: String,
    pub(crate) target: Target,
    pub(crate) clock: WallClock,
    pub(crate) snapshot: Snapshot,
    symbols: Vec<(Pc, Arc<[Frame]>)>,
}

impl Saved {
    /// Puts a snapshot together with the frames of every program counter in it.
    pub(crate) fn new(
        target: Target,
        clock: WallClock,
        snapshot: Snapshot,
        symbols: &dyn Symbolizer,
    ) -> Saved {
        let mut frames: FxHashMap<Pc, Arc<[Frame]>> = FxHashMap::default();
        let stacks = snapshot
            .stacks
            .iter()
            .flat_map(|stack| stack.iter().copied());
        let others = snapshot
            .goroutines
            .iter()
            .flat_map(|goroutine| goroutine.created_at.into_iter().chain(goroutine.start));
        for pc in stacks.chain(others) {
            frames.entry(pc).or_insert_with(|| symbols.frames(pc));
        }
        let mut symbols: Vec<_> = frames.into_iter().collect();
        symbols.sort_unstable_by_key(|(pc, _)| *pc);
        Saved {
            schema: SCHEMA.to_owned(),
            target,
            clock,
            snapshot,
            symbols,
        }
    }

    /// Writes the file; one that is there already is refused.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(format!("cannot write {}", path.display()))
                .because(cause)
                .next("give another path with --output")
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(&error))?;
        let mut encoder = zstd::Encoder::new(BufWriter::new(file), COMPRESSION)
            .map_err(|error| failed(&error))?;
        encoder
            .include_checksum(true)
            .map_err(|error| failed(&error))?;
        ciborium::into_writer(self, &mut encoder).map_err(|error| failed(&error))?;
        let mut writer = encoder.finish().map_err(|error| failed(&error))?;
        writer.flush().map_err(|error| failed(&error))?;
        writer.get_ref().sync_all().map_err(|error| failed(&error))
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// It cannot be read, is no snapshot, is damaged, or of a version that is not known.
    pub(crate) fn read(path: &Path) -> Result<Saved, Failure> {
        let failed = |cause: &dyn std::fmt::Display, next: &str| {
            Failure::new(format!("cannot read the snapshot {}", path.display()))
                .because(cause)
                .next(next)
        };
        let file = File::open(path).map_err(|error| {
            failed(&error, "give the path of a file made by `gotrace snapshot`")
        })?;
        let damaged =
            "it is no snapshot or it is damaged: take it anew with `gotrace snapshot -o FILE`";
        let decoder =
            zstd::Decoder::new(BufReader::new(file)).map_err(|error| failed(&error, damaged))?;
        let mut bounded = decoder.take(MOST_BYTES);
        let saved: Saved =
            ciborium::from_reader(&mut bounded).map_err(|error| failed(&error, damaged))?;
        // The checksum is behind the item: reading to the end checks it.
        std::io::copy(&mut bounded, &mut std::io::sink())
            .map_err(|error| failed(&error, damaged))?;
        if saved.schema != SCHEMA {
            let cause = format!(
                "its format is {}, this gotrace reads {SCHEMA}",
                saved.schema
            );
            return Err(failed(&cause, "use the version of gotrace that wrote it"));
        }
        Ok(saved)
    }

    /// The frames that the file brings.
    pub(crate) fn dictionary(&self) -> Dictionary {
        Dictionary(self.symbols.iter().cloned().collect())
    }
}

/// The frames of a saved snapshot.
#[derive(Debug)]
pub(crate) struct Dictionary(FxHashMap<Pc, Arc<[Frame]>>);

impl Symbolizer for Dictionary {
    fn frames(&self, pc: Pc) -> Arc<[Frame]> {
        self.0.get(&pc).cloned().unwrap_or_default()
    }
}
