//! The ELF file itself: its bytes, segments, symbols, and words with their relocations applied.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use memmap2::{Mmap, UncheckedAdvice};
use object::read::elf::ElfFile64;
use object::{
    CompressionFormat, LittleEndian, Object, ObjectSection, ObjectSegment, SegmentFlags, elf,
};

use super::{Arch, BinaryError, FileOffset, Vaddr};

/// No section is decompressed that says to be larger, bytes: all DWARF of the largest Go programs is
/// a fraction of it.
const MAX_SECTION: u64 = 1 << 30;
/// Nor one that says to be so many times as large as it is compressed. DWARF shrinks to a third.
const MAX_COMPRESSION: u64 = 64;

/// Bytes at the begin and the end of a file that UPX's mark is looked for in.
const UPX_HEADER: usize = 512;

/// A PT_LOAD of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Link-time address.
    pub vaddr: Vaddr,
    /// Size in memory, bytes. What lies beyond `filesz` is zero at start (bss).
    pub memsz: u64,
    /// Position in the file.
    pub offset: FileOffset,
    /// Size in the file, bytes.
    pub filesz: u64,
    /// `PF_X` (1), `PF_W` (2), `PF_R` (4).
    pub flags: u32,
}

impl Segment {
    /// Whether the linker lets the program write to it (relocated read-only data included).
    pub fn is_writable(&self) -> bool {
        self.flags & elf::PF_W.0 != 0
    }

    /// Whether it holds code.
    pub fn is_executable(&self) -> bool {
        self.flags & elf::PF_X.0 != 0
    }

    /// Whether `vaddr` lies in it, bss included.
    pub fn contains(&self, vaddr: Vaddr) -> bool {
        vaddr.0 >= self.vaddr.0 && vaddr.0 - self.vaddr.0 < self.memsz
    }
}

/// A symbol of `.symtab`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) vaddr: Vaddr,
    pub(super) size: u64,
}

/// A section, by name; its bytes may be compressed.
#[derive(Clone, Debug)]
struct Section {
    name: Box<[u8]>,
    vaddr: Vaddr,
    size: u64,
}

enum Data {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Mapped(map) => map,
            Data::Owned(bytes) => bytes,
        }
    }
}

/// A 64 bit little-endian ELF file of an architecture that we know.
pub(super) struct Elf {
    data: Data,
    arch: Arch,
    position_independent: bool,
    segments: Vec<Segment>,
    sections: Vec<Section>,
    relocations: OnceLock<Vec<Relocation>>,
}

/// A relative relocation: the word at `place` becomes the load bias plus `addend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Relocation {
    pub(super) place: u64,
    pub(super) addend: u64,
}

impl fmt::Debug for Elf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elf")
            .field("arch", &self.arch)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}

type File<'a> = ElfFile64<'a, LittleEndian>;

impl Elf {
    pub(super) fn open(path: &Path) -> Result<Elf, BinaryError> {
        let io = |source| BinaryError::Io {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(io)?;
        // SAFETY: the map is private and read-only, and its bytes are only ever read as plain
        // integers with bounds checks. Another process could still change or truncate the file
        // under us; the kernel refuses that while it runs (ETXTBSY), and toolchains replace a
        // binary by a new file.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Elf::new(Data::Mapped(map))
    }

    /// Gives the pages of the file that were read so far back to the kernel, which has them in its cache.
    pub(super) fn release(&self) {
        if let Data::Mapped(map) = &self.data {
            // SAFETY: the map is private, read-only and of a file: nothing was written that could be lost,
            // and a page that is read again comes from the file as the first time. If it is refused,
            // nothing changes.
            let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }

    pub(super) fn parse(bytes: Vec<u8>) -> Result<Elf, BinaryError> {
        Elf::new(Data::Owned(bytes))
    }

    fn new(data: Data) -> Result<Elf, BinaryError> {
        let bytes = data.bytes();
        let arch = architecture(bytes)?;
        let file = File::parse(bytes).map_err(malformed)?;
        let mut segments = Vec::new();
        for segment in file.segments() {
            let (offset, filesz) = segment.file_range();
            let SegmentFlags::Elf { p_flags, .. } = segment.flags() else {
                continue;
            };
            segments.push(Segment {
                vaddr: Vaddr(segment.address()),
                memsz: segment.size(),
                offset: FileOffset(offset),
                filesz: filesz.min(segment.size()),
                flags: p_flags.0,
            });
        }
        let sections = file
            .sections()
            .filter(|section| section.address() != 0)
            .filter_map(|section| {
                Some(Section {
                    name: section.name_bytes().ok()?.into(),
                    vaddr: Vaddr(section.address()),
                    size: section.size(),
                })
            })
            .collect();
        let position_independent = file.elf_header().e_type.get(LittleEndian) == elf::ET_DYN;
        Ok(Elf {
            arch,
            position_independent,
            segments,
            sections,
            relocations: OnceLock::new(),
            data,
        })
    }

    pub(super) fn arch(&self) -> Arch {
        self.arch
    }

    pub(super) fn is_position_independent(&self) -> bool {
        self.position_independent
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn file(&self) -> Option<File<'_>> {
        File::parse(self.data.bytes()).ok()
    }

    /// Address and size of the loaded section with this name. Names are hints: a stripped file may
    /// have none.
    pub(super) fn section(&self, name: &str) -> Option<(Vaddr, u64)> {
        let section = self.sections.iter().find(|s| *s.name == *name.as_bytes())?;
        Some((section.vaddr, section.size))
    }

    /// The bytes of a section that is not loaded (`.debug_info`), decompressed. `None` if the file
    /// has no such section, or it cannot be decompressed within [`MAX_SECTION`].
    pub(super) fn unloaded_section(&self, name: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        let file = self.file()?;
        // Finds `.zdebug_info` as well.
        let section = file.section_by_name(name)?;
        let data = section.compressed_data().ok()?;
        let most = (data.data.len() as u64).saturating_mul(MAX_COMPRESSION);
        let believed = data.format == CompressionFormat::None
            || data.uncompressed_size <= most.min(MAX_SECTION);
        believed.then(|| data.decompress().ok())?
    }

    /// Whether the file has a section with this name, or its old compressed form.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.file()
            .and_then(|file| Some(file.section_by_name(name)?.size()))
            .is_some_and(|size| size > 0)
    }

    pub(super) fn has_symbols(&self) -> bool {
        self.file()
            .is_some_and(|file| !file.elf_symbol_table().is_empty())
    }

    /// Looks names up in `.symtab`, in one pass over it.
    pub(super) fn symbols<const N: usize>(&self, names: [&str; N]) -> [Option<Symbol>; N] {
        let mut found = [None; N];
        let Some(file) = self.file() else {
            return found;
        };
        let table = file.elf_symbol_table();
        for symbol in table.iter() {
            if symbol.st_shndx.get(LittleEndian) == elf::SHN_UNDEF {
                continue;
            }
            let Ok(name) = table.symbol_name(LittleEndian, symbol) else {
                continue;
            };
            if let Some(index) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                found[index].get_or_insert(Symbol {
                    vaddr: Vaddr(symbol.st_value.get(LittleEndian)),
                    size: symbol.st_size.get(LittleEndian),
                });
            }
        }
        found
    }

    /// The symbols of `.symtab` that are no functions, in no order, with their names.
    pub(super) fn objects(&self) -> Vec<(Symbol, &str)> {
        let mut objects = Vec::new();
        let Some(file) = self.file() else {
            return objects;
        };
        let table = file.elf_symbol_table();
        for symbol in table.iter() {
            let defined = symbol.st_shndx.get(LittleEndian) != elf::SHN_UNDEF;
            if !defined || symbol.st_type() == elf::STT_FUNC {
                continue;
            }
            let name = table.symbol_name(LittleEndian, symbol).unwrap_or(b"");
            let symbol = Symbol {
                vaddr: Vaddr(symbol.st_value.get(LittleEndian)),
                size: symbol.st_size.get(LittleEndian),
            };
            objects.push((symbol, std::str::from_utf8(name).unwrap_or("")));
        }
        objects
    }

    /// Whether `vaddr` lies in the program once it is loaded.
    pub(super) fn is_loaded(&self, vaddr: Vaddr) -> bool {
        self.segments.iter().any(|segment| segment.contains(vaddr))
    }

    /// The bytes of all PT_NOTE segments.
    pub(super) fn notes(&self) -> Vec<&[u8]> {
        self.program_headers(elf::PT_NOTE)
            .into_iter()
            .filter_map(|range| self.data.bytes().get(range))
            .collect()
    }

    fn program_headers(&self, kind: elf::ProgramType) -> Vec<Range<usize>> {
        let Some(file) = self.file() else {
            return Vec::new();
        };
        file.elf_program_headers()
            .iter()
            .filter(|header| header.p_type.get(LittleEndian) == kind)
            .filter_map(|header| {
                let start = usize::try_from(header.p_offset.get(LittleEndian)).ok()?;
                let size = usize::try_from(header.p_filesz.get(LittleEndian)).ok()?;
                Some(start..start.checked_add(size)?)
            })
            .collect()
    }

    /// Whether UPX packed it: its own header has this mark right behind the program headers, and one
    /// more at the end.
    pub(super) fn is_packed(&self) -> bool {
        let bytes = self.data.bytes();
        let [begin, end] = [
            &bytes[..bytes.len().min(UPX_HEADER)],
            &bytes[bytes.len().saturating_sub(UPX_HEADER)..],
        ];
        [begin, end]
            .iter()
            .any(|bytes| memchr::memmem::find(bytes, b"UPX!").is_some())
    }

    /// Where the byte at `vaddr` is in the file; `None` for bss and what is not loaded.
    pub(super) fn file_offset(&self, vaddr: Vaddr) -> Option<FileOffset> {
        let segment = self.segments.iter().find(|s| s.contains(vaddr))?;
        let into = vaddr.0 - segment.vaddr.0;
        (into < segment.filesz)
            .then(|| segment.offset.0.checked_add(into))
            .flatten()
            .map(FileOffset)
    }

    /// The file's bytes of a segment.
    pub(super) fn segment_bytes(&self, segment: &Segment) -> &[u8] {
        self.tail(segment.vaddr).unwrap_or(&[])
    }

    /// The bytes from `vaddr` to the end of its segment's part of the file.
    pub(super) fn tail(&self, vaddr: Vaddr) -> Option<&[u8]> {
        let segment = self.segments.iter().find(|s| s.contains(vaddr))?;
        let into = vaddr.0 - segment.vaddr.0;
        let len = segment.filesz.checked_sub(into)?;
        let start = usize::try_from(segment.offset.0.checked_add(into)?).ok()?;
        let bytes = self.data.bytes().get(start..)?;
        Some(&bytes[..bytes.len().min(usize::try_from(len).ok()?)])
    }

    /// `len` bytes at `vaddr`, as they are in the file (not relocated).
    pub(super) fn bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        self.tail(vaddr)?.get(..usize::try_from(len).ok()?)
    }

    /// The word at `vaddr` as the program sees it before it runs, minus the load bias: in a position
    /// independent file a pointer is a relocation, and the word in the file may be zero.
    pub(super) fn word(&self, vaddr: Vaddr) -> Option<u64> {
        let relocations = self.relocations();
        if let Ok(index) = relocations.binary_search_by_key(&vaddr.0, |r| r.place) {
            return Some(relocations[index].addend);
        }
        let bytes = self.bytes(vaddr, 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// A Go string header at `vaddr` and the bytes that it points to.
    pub(super) fn string(&self, vaddr: Vaddr) -> Option<&str> {
        let pointer = self.word(vaddr)?;
        let len = self.word(Vaddr(vaddr.0.checked_add(8)?))?;
        if len == 0 {
            return Some("");
        }
        std::str::from_utf8(self.bytes(Vaddr(pointer), len)?).ok()
    }

    /// All relative relocations, by place.
    pub(super) fn relocations(&self) -> &[Relocation] {
        self.relocations
            .get_or_init(|| self.read_relocations().unwrap_or_default())
    }

    fn read_relocations(&self) -> Option<Vec<Relocation>> {
        if !self.position_independent {
            return None;
        }
        let dynamic = self.program_headers(elf::PT_DYNAMIC).into_iter().next()?;
        let (mut address, mut size) = (None, 0);
        for entry in self.data.bytes().get(dynamic)?.as_chunks::<16>().0 {
            let (tag, value) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
            match i64::try_from(tag).ok()? {
                tag if tag == elf::DT_RELA.0 => address = Some(Vaddr(value)),
                tag if tag == elf::DT_RELASZ.0 => size = value,
                tag if tag == elf::DT_NULL.0 => break,
                _ => {}
            }
        }
        let relative = match self.arch {
            Arch::Amd64 => elf::R_X86_64_RELATIVE,
            Arch::Arm64 => elf::R_AARCH64_RELATIVE,
        };
        let mut relocations: Vec<Relocation> = self
            .bytes(address?, size)?
            .as_chunks::<24>()
            .0
            .iter()
            .filter_map(|entry| {
                let info = u64_at(entry, 8)?;
                (info as u32 == relative.0).then_some(Relocation {
                    place: u64_at(entry, 0)?,
                    addend: u64_at(entry, 16)?,
                })
            })
            .collect();
        relocations.sort_unstable();
        Some(relocations)
    }
}

fn malformed(error: object::Error) -> BinaryError {
    BinaryError::Malformed(error.to_string())
}

/// Little-endian reads with bounds checks, for tables in foreign bytes.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Tells what the first bytes of the file are, before anything is parsed.
fn architecture(bytes: &[u8]) -> Result<Arch, BinaryError> {
    if bytes.get(..4) != Some(b"\x7fELF") {
        return Err(BinaryError::NotElf);
    }
    let header = bytes
        .get(..20)
        .ok_or_else(|| BinaryError::Malformed("the file ends within the ELF header".to_owned()))?;
    if header[4] != 2 {
        return Err(BinaryError::Not64Bit);
    }
    let machine = [header[18], header[19]];
    let big_endian = header[5] == 2;
    let machine = if big_endian {
        u16::from_be_bytes(machine)
    } else {
        u16::from_le_bytes(machine)
    };
    match elf::Machine(machine) {
        elf::EM_X86_64 if !big_endian => Ok(Arch::Amd64),
        elf::EM_AARCH64 if !big_endian => Ok(Arch::Arm64),
        other => Err(BinaryError::OtherArchitecture(
            machine_name(other, big_endian).into(),
        )),
    }
}

/// The name of an architecture that Go knows, else its number.
fn machine_name(machine: elf::Machine, big_endian: bool) -> std::borrow::Cow<'static, str> {
    match machine {
        elf::EM_AARCH64 => "arm64be".into(),
        elf::EM_PPC64 if big_endian => "ppc64".into(),
        elf::EM_PPC64 => "ppc64le".into(),
        elf::EM_S390 => "s390x".into(),
        elf::EM_RISCV => "riscv64".into(),
        elf::EM_LOONGARCH => "loong64".into(),
        elf::EM_MIPS if big_endian => "mips64".into(),
        elf::EM_MIPS => "mips64le".into(),
        other => format!("ELF machine {}", other.0).into(),
    }
}
