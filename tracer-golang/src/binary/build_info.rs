//! `.go.buildinfo`: the Go version and the module information that the linker leaves in every
//! binary (see `debug/buildinfo`).

use super::elf::Elf;
use super::{BinaryError, GoVersion};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Its place in memory is aligned so (bytes).
const ALIGN: usize = 16;
/// Where the two strings begin, bytes from the magic.
const STRINGS: usize = 32;
/// Flag (byte 15): the strings follow in place. Go 1.18 and later.
const INLINE_STRINGS: u8 = 2;

/// What the linker wrote about the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BuildInfo {
    pub(super) version: GoVersion,
    /// Import path of the main package.
    pub(super) main_path: Option<Box<str>>,
}

impl BuildInfo {
    /// What the runtime's own variable says, where a symbol tells its place.
    pub(super) fn from_symbols(elf: &Elf) -> Option<BuildInfo> {
        let [variable] = elf.symbols(["runtime.buildVersion"]);
        Some(BuildInfo {
            version: GoVersion::parse(elf.string(variable?.vaddr)?)?,
            main_path: None,
        })
    }

    /// Reads it; `Ok(None)` if the file has none.
    pub(super) fn read(elf: &Elf) -> Result<Option<BuildInfo>, BinaryError> {
        let Some(bytes) = find(elf) else {
            return Ok(None);
        };
        if bytes[15] & INLINE_STRINGS == 0 {
            return Err(BinaryError::VersionTooOld("older than go1.18".into()));
        }
        let unreadable = || BinaryError::Unrecognised("the version string in .go.buildinfo");
        let (version, rest) = string(&bytes[STRINGS..]).ok_or_else(unreadable)?;
        let text = std::str::from_utf8(version).map_err(|_| unreadable())?;
        let version = GoVersion::parse(text)
            .ok_or_else(|| BinaryError::VersionUnknown(text.to_owned().into()))?;
        // Absent in programs that were built outside of module mode.
        let main_path = string(rest)
            .and_then(|(info, _)| main_path(info))
            .map(Box::from);
        Ok(Some(BuildInfo { version, main_path }))
    }
}

/// The build information's bytes, at least up to its strings.
fn find(elf: &Elf) -> Option<&[u8]> {
    let is_header = |bytes: &[u8]| bytes.len() > STRINGS && bytes.starts_with(MAGIC);
    if let Some((vaddr, _)) = elf.section(".go.buildinfo")
        && let Some(bytes) = elf.tail(vaddr)
        && is_header(bytes)
    {
        return Some(bytes);
    }
    // A program that reads build information has the magic in its read-only data as well: only a
    // writable segment counts.
    elf.segments()
        .iter()
        .filter(|segment| segment.is_writable())
        .find_map(|segment| {
            let bytes = elf.segment_bytes(segment);
            memchr::memmem::find_iter(bytes, MAGIC)
                .filter(|at| (segment.vaddr.0 as usize).wrapping_add(*at) % ALIGN == 0)
                .map(|at| &bytes[at..])
                .find(|bytes| is_header(bytes))
        })
}

/// A varint length and as many bytes; and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        len |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..].split_at_checked(usize::try_from(len).ok()?);
        }
    }
    None
}

/// The main package's path in a module information string: sentinel (16 bytes), lines of
/// tab-separated fields, sentinel.
fn main_path(info: &[u8]) -> Option<&str> {
    let info = info.get(16..info.len().checked_sub(16)?)?;
    std::str::from_utf8(info)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("path\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_varint_strings() {
        assert_eq!(string(b"\x03abcd"), Some((&b"abc"[..], &b"d"[..])));
        assert_eq!(string(b"\x00"), Some((&b""[..], &b""[..])));
        let mut long = vec![0x80, 0x02];
        long.extend([b'x'; 256]);
        assert_eq!(string(&long).map(|(text, _)| text.len()), Some(256));
        for truncated in [&b""[..], b"\x03ab", b"\x80", &[0xff; 20]] {
            assert_eq!(string(truncated), None);
        }
    }

    #[test]
    fn finds_the_main_path() {
        let mut info = vec![0x30; 16];
        info.extend(b"path\texample.org/tool\nmod\texample.org/tool\t(devel)\t\n");
        info.extend([0xf9; 16]);
        assert_eq!(main_path(&info), Some("example.org/tool"));
        assert_eq!(main_path(b"short"), None);
    }
}
