//! Blocks: what a file is made of. Each has a checksum, and its beginning can be found again behind a
//! damaged one.

use std::io::Read as _;

use tracer_model::ids::Ktime;

use crate::Error;
use crate::seal::{Keys, Recipients};

/// The first bytes of every block, hence of every file.
pub(crate) const MAGIC: [u8; 4] = *b"GoTR";
/// Bytes of a header.
pub(crate) const HEADER: usize = 40;
/// No block is larger than this, compressed or not: 1 GiB.
pub(crate) const MOST_BYTES: u32 = 1 << 30;
/// zstd's own default.
const COMPRESSION: i32 = 3;

/// Its payload is compressed with zstd.
const COMPRESSED: u8 = 1;
/// Its payload is encrypted with age, after it was compressed.
const SEALED: u8 = 2;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// What a block holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$doc])* $variant,)*
            /// Something that a later gotrace writes.
            Unknown(u8),
        }

        impl Kind {
            pub(crate) const fn code(self) -> u8 {
                match self {
                    $(Kind::$variant => $code,)*
                    Kind::Unknown(code) => code,
                }
            }

            pub(crate) const fn from_code(code: u8) -> Kind {
                match code {
                    $($code => Kind::$variant,)*
                    code => Kind::Unknown(code),
                }
            }
        }
    };
}

kinds! {
    /// The beginning of a segment: what file this is. Never compressed nor encrypted.
    Segment = 1,
    /// What was known as the segment began.
    Keyframe = 2,
    /// Frames of program counters.
    Symbols = 3,
    /// A batch of events.
    Items = 4,
    /// A read of memory.
    Observation = 5,
    /// Something that the program noted.
    Note = 6,
    /// Where the blocks of the segment are. Never compressed nor encrypted.
    Index = 7,
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    flags: u8,
    /// Bytes of the payload in the file.
    pub(crate) stored: u32,
    /// Bytes of the payload, decrypted and decompressed.
    raw: u32,
    /// Time of the earliest thing in it.
    pub(crate) first: Ktime,
    /// Time of the latest.
    pub(crate) last: Ktime,
    checksum: u32,
}

impl Header {
    /// Reads a header; `None` if it is none, or a damaged one.
    pub(crate) fn read(bytes: &[u8; HEADER]) -> Option<Header> {
        let u32_at = |at: usize| {
            let word = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(word.try_into().ok()?))
        };
        let u64_at = |at: usize| Some(u64::from(u32_at(at)?) | u64::from(u32_at(at + 4)?) << 32);
        let header = Header {
            kind: Kind::from_code(bytes[4]),
            flags: bytes[5],
            stored: u32_at(8)?,
            raw: u32_at(12)?,
            first: Ktime(u64_at(16)?),
            last: Ktime(u64_at(24)?),
            checksum: u32_at(32)?,
        };
        let fine = bytes[..4] == MAGIC
            && u32_at(36)? == crc32c::crc32c(&bytes[..36])
            && header.stored <= MOST_BYTES
            && header.raw <= MOST_BYTES;
        fine.then_some(header)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        out.extend([self.kind.code(), self.flags, 0, 0]);
        out.extend(self.stored.to_le_bytes());
        out.extend(self.raw.to_le_bytes());
        out.extend(self.first.0.to_le_bytes());
        out.extend(self.last.0.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend(checksum.to_le_bytes());
    }

    /// Bytes of the whole block in the file.
    pub(crate) fn block_bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.stored)
    }

    /// What the payload says, from its bytes in the file.
    pub(crate) fn open(&self, stored: Vec<u8>, keys: &Keys) -> Result<Vec<u8>, Error> {
        if crc32c::crc32c(&stored) != self.checksum {
            return Err(Error::Checksum);
        }
        let opened = if self.flags & SEALED == 0 {
            stored
        } else {
            keys.open(&stored)?
        };
        if self.flags & COMPRESSED == 0 {
            return Ok(opened);
        }
        let mut raw = Vec::new();
        let decoder = zstd::Decoder::with_buffer(&*opened).map_err(Error::Io)?;
        let most = u64::from(self.raw);
        decoder
            .take(most + 1)
            .read_to_end(&mut raw)
            .map_err(Error::Io)?;
        if raw.len() as u64 != most {
            return Err(Error::Checksum);
        }
        Ok(raw)
    }
}

/// A block, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) first: Ktime,
    pub(crate) last: Ktime,
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    /// Puts a block together.
    pub(crate) fn new(
        kind: Kind,
        (first, last): (Ktime, Ktime),
        payload: &[u8],
        recipients: Option<&Recipients>,
    ) -> Result<Block, Error> {
        let plain = matches!(kind, Kind::Segment | Kind::Index);
        let mut flags = 0;
        let mut stored = if plain {
            payload.to_vec()
        } else {
            flags |= COMPRESSED;
            zstd::bulk::compress(payload, COMPRESSION).map_err(Error::Io)?
        };
        if let (Some(recipients), false) = (recipients, plain) {
            flags |= SEALED;
            stored = recipients.seal(&stored)?;
        }
        let size = |bytes: &[u8]| {
            let size = u32::try_from(bytes.len()).ok();
            size.filter(|size| *size <= MOST_BYTES)
                .ok_or(Error::TooLarge)
        };
        let header = Header {
            kind,
            flags,
            stored: size(&stored)?,
            raw: size(payload)?,
            first,
            last,
            checksum: crc32c::crc32c(&stored),
        };
        let mut bytes = Vec::with_capacity(HEADER + stored.len());
        header.write(&mut bytes);
        bytes.append(&mut stored);
        Ok(Block {
            kind,
            first,
            last,
            bytes,
        })
    }
}
