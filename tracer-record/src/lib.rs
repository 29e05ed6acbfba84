//! The files of gotrace: recordings of a trace, and snapshots, which are recordings of one look.
//!
//! docs/format.md describes the format. A [`Writer`] makes such files (or keeps the last seconds in
//! memory), a [`Recording`] reads them, on any machine, without root and without the program that was
//! traced. What was traced is the model's: [`Item`]s, snapshots, findings; what the program notes beside
//! it is JSON under a name, which this crate does not look into.
//!
//! - [`batch`]: events as bytes; `field`: the parts of events.
//! - `block`: checksums, compression, encryption (`seal`).
//! - `index`, `segment`: where what is; `sink`: where it goes.
//! - [`writer`], [`reader`].

pub mod batch;
mod block;
mod entry;
mod field;
mod index;
mod reader;
mod seal;
mod segment;
pub mod sink;
mod varint;
mod writer;

use std::io;

pub use batch::{Batch, Item, Packed, Unpacked};
pub use entry::{Clock, Entry, Keyframe, Memory, Missing, Note, Preamble, VERSION};
pub use reader::{Dictionary, Entries, Recording};
pub use seal::{Keys, Recipients};
pub use sink::Sink;
pub use varint::Malformed;
pub use writer::Writer;

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says so.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The file does not begin like one.
    #[error("it is no file of `gotrace record` or `gotrace snapshot`")]
    Foreign,
    /// There is nothing in it, or nothing whole.
    #[error("it ends before the first whole block")]
    Empty,
    /// Of no moment is it said what was known then, and without that nothing can be told of what follows.
    #[error("no keyframe in it is whole")]
    NoKeyframe,
    /// It is of a later version.
    #[error(
        "its format is version {version}, written by gotrace {by}; this gotrace reads version {VERSION}"
    )]
    Newer {
        /// Its version.
        version: u32,
        /// The program's.
        by: String,
    },
    /// It is encrypted and there is no key.
    #[error("it is encrypted")]
    Sealed,
    /// It is encrypted for others.
    #[error("it is encrypted, and none of the keys opens it")]
    WrongKey,
    /// A file of keys is not one.
    #[error("{0}")]
    Key(String),
    /// Bytes are not what they were.
    #[error("a checksum is wrong")]
    Checksum,
    /// Bytes are what they were, and not understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A block would be larger than one may be.
    #[error("more than 1 GiB at once cannot be written")]
    TooLarge,
    /// Something could not be put into bytes.
    #[error("{0}")]
    Encode(String),
}
