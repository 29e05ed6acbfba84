//! What identifies a binary: caches of everything that this module finds out are keyed by it.

use std::fmt;

use super::elf::{Elf, u32_at};

/// A binary's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BuildId {
    /// The GNU build id, as hex digits.
    Gnu(Box<str>),
    /// The Go build id, e.g. `abc/def/ghi/jkl`.
    Go(Box<str>),
    /// The file has no build id: a 64 bit hash of its loaded bytes, as hex digits.
    Content(Box<str>),
}

impl BuildId {
    /// The id alone, without its kind.
    pub fn as_str(&self) -> &str {
        match self {
            BuildId::Gnu(id) | BuildId::Go(id) | BuildId::Content(id) => id,
        }
    }

    pub(super) fn read(elf: &Elf) -> BuildId {
        let mut go = None;
        // Go's linker does not put the GNU note into a PT_NOTE segment, others do.
        let gnu_section = elf
            .section(".note.gnu.build-id")
            .and_then(|(vaddr, size)| elf.bytes(vaddr, size));
        for note in elf.notes().into_iter().chain(gnu_section).flat_map(notes) {
            match (note.name, note.kind) {
                // NT_GNU_BUILD_ID
                (b"GNU\0", 3) if !note.description.is_empty() => {
                    return BuildId::Gnu(hex(note.description));
                }
                // cmd/link's ELF_NOTE_GOBUILDID_TAG
                (b"Go\0\0", 4) => go = std::str::from_utf8(note.description).ok(),
                _ => {}
            }
        }
        match go {
            Some(id) if !id.is_empty() => BuildId::Go(id.into()),
            _ => BuildId::Content(content_hash(elf)),
        }
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FNV-1a over the words of all segments.
fn content_hash(elf: &Elf) -> Box<str> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for segment in elf.segments() {
        for chunk in elf.segment_bytes(segment).chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}").into()
}

struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    description: &'a [u8],
}

/// The notes of one PT_NOTE segment: sizes of name and description, kind, then both, each padded to
/// four bytes.
fn notes(mut bytes: &[u8]) -> impl Iterator<Item = Note<'_>> {
    std::iter::from_fn(move || {
        let name_size = u32_at(bytes, 0)? as usize;
        let description_size = u32_at(bytes, 4)? as usize;
        let kind = u32_at(bytes, 8)?;
        let name = bytes.get(12..12_usize.checked_add(name_size)?)?;
        let start = 12_usize.checked_add(name_size.checked_next_multiple_of(4)?)?;
        let description = bytes.get(start..start.checked_add(description_size)?)?;
        let next = start.checked_add(description_size.checked_next_multiple_of(4)?)?;
        bytes = bytes.get(next..).unwrap_or(&[]);
        Some(Note {
            name,
            kind,
            description,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_notes() {
        let mut bytes = Vec::new();
        for (name, kind, description) in [
            (&b"Go\0\0"[..], 4_u32, &b"abcde"[..]),
            (b"GNU\0", 3, b"\x01\xff"),
        ] {
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend((description.len() as u32).to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(name);
            bytes.extend(description);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let kinds: Vec<_> = notes(&bytes).map(|note| note.kind).collect();
        assert_eq!(kinds, [4, 3]);
        assert_eq!(notes(&bytes[..20]).count(), 0, "cut within a note");
        assert_eq!(notes(&[0xff; 64]).count(), 0, "sizes beyond the segment");
        assert_eq!(&*hex(b"\x01\xff"), "01ff");
    }
}
