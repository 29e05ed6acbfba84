//! Struct layouts from the binary's own DWARF (version 4 up to Go 1.24, version 5 from Go 1.25).
//!
//! Only the structs that are asked for are read. The Go linker puts all types of the program into
//! the compile unit named `runtime` (of several with that name, the largest), so that one is walked
//! first and the walk ends with the unit that has the last of them. Types refer to each other across
//! units (DW_FORM_ref_addr), always through typedefs. A type that is no struct has a typedef alone.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use gimli::{
    Abbreviations, AttributeSpecification, AttributeValue, DebugAbbrev, DebugAbbrevOffset,
    DebugInfo, DebugInfoOffset, EndianSlice, EntriesRaw, LittleEndian, UnitHeader, UnitOffset,
    constants as dw,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::layout::LayoutSource;

use super::elf::Elf;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// More compile units are not believed: Go has one a package, C one a file.
const MAX_UNITS: usize = 1 << 16;

/// How deep a type may be wrapped in typedefs, a bound against cycles in malformed files.
const MAX_TYPEDEFS: usize = 8;

/// The sections that layouts need, decompressed.
pub(super) struct DwarfSections<'a> {
    info: Cow<'a, [u8]>,
    abbrev: Cow<'a, [u8]>,
}

impl<'a> DwarfSections<'a> {
    /// Reads them; `None` if the file has none, or they cannot be decompressed.
    pub(super) fn read(elf: &'a Elf) -> Option<DwarfSections<'a>> {
        Some(DwarfSections {
            info: elf.unloaded_section(".debug_info")?,
            abbrev: elf.unloaded_section(".debug_abbrev")?,
        })
    }
}

/// Layouts of a fixed set of structs and of everything nested in them.
pub(super) struct DwarfLayouts<'a> {
    /// Unit headers by their offset in the section.
    units: Vec<Unit<'a>>,
    named: FxHashMap<String, Struct>,
    /// Structs that fields of others have as their type, by the type's place.
    nested: RefCell<FxHashMap<usize, Option<Struct>>>,
}

struct Unit<'a> {
    header: UnitHeader<Reader<'a>>,
    offset: usize,
    abbreviations: Arc<Abbreviations>,
}

#[derive(Clone, Debug)]
struct Struct {
    size: u32,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: Box<str>,
    offset: u32,
    /// Place of its type in the section.
    kind: Option<usize>,
}

impl<'a> DwarfLayouts<'a> {
    /// Looks for the structs with these Go names until it has one of each group. Those that are not
    /// there stay unknown.
    pub(super) fn read(
        sections: &'a DwarfSections<'_>,
        structs: &[Vec<&str>],
    ) -> gimli::Result<DwarfLayouts<'a>> {
        let mut headers = DebugInfo::new(&sections.info, LittleEndian).units();
        let mut found = Vec::new();
        while let Some(header) = headers.next()? {
            if let Some(DebugInfoOffset(offset)) = header.debug_info_offset() {
                found.push((header, offset));
            }
            if found.len() == MAX_UNITS {
                return Err(gimli::Error::TooManyIterations);
            }
        }
        let tables = abbreviations(&sections.abbrev, found.iter().map(|(header, _)| header))?;
        let units = found
            .into_iter()
            .filter_map(|(header, offset)| {
                let abbreviations = tables.get(&header.debug_abbrev_offset())?.clone();
                Some(Unit {
                    header,
                    offset,
                    abbreviations,
                })
            })
            .collect();
        let mut layouts = DwarfLayouts {
            units,
            named: FxHashMap::default(),
            nested: RefCell::default(),
        };
        layouts.find(structs)?;
        Ok(layouts)
    }

    fn find(&mut self, structs: &[Vec<&str>]) -> gimli::Result<()> {
        let names: FxHashSet<&str> = structs.iter().flatten().copied().collect();
        let mut order: Vec<&Unit<'a>> = self.units.iter().collect();
        order.sort_by_key(|unit| {
            (
                !unit.is_named(b"runtime"),
                std::cmp::Reverse(unit.header.unit_length()),
            )
        });
        let mut typedefs: FxHashMap<&str, usize> = FxHashMap::default();
        for unit in order {
            let mut entries = unit.entries(None)?;
            while !entries.is_empty() {
                let Some(abbreviation) = entries.read_abbreviation()? else {
                    continue;
                };
                let attributes = abbreviation.attributes();
                let tag = abbreviation.tag();
                if tag != dw::DW_TAG_structure_type && tag != dw::DW_TAG_typedef {
                    entries.skip_attributes(attributes)?;
                    continue;
                }
                let entry = Entry::read(&mut entries, attributes)?;
                let Some(&name) = entry.name.and_then(|name| names.get(name)) else {
                    continue;
                };
                if tag == dw::DW_TAG_typedef {
                    if let Some(place) = entry.kind.and_then(|kind| kind.place(unit)) {
                        typedefs.insert(name, place);
                    }
                    continue;
                }
                let fields = match abbreviation.has_children() {
                    true => unit.fields(&mut entries)?,
                    false => Vec::new(),
                };
                if let Some(size) = entry.size
                    && !self.named.contains_key(name)
                {
                    self.named.insert(name.to_owned(), Struct { size, fields });
                }
            }
            let known = |name: &&str| self.named.contains_key(*name) || typedefs.contains_key(name);
            if structs.iter().all(|group| group.iter().any(known)) {
                break;
            }
        }
        for (name, place) in typedefs {
            if !self.named.contains_key(name)
                && let Some(found) = self.type_at(place)
            {
                self.named.insert(name.to_owned(), found);
            }
        }
        Ok(())
    }

    /// The struct (or array, which has no fields) at this place of the section, through typedefs.
    fn type_at(&self, mut place: usize) -> Option<Struct> {
        for _ in 0..MAX_TYPEDEFS {
            let index = self.units.partition_point(|unit| unit.offset <= place);
            let unit = &self.units[index.checked_sub(1)?];
            let mut entries = unit
                .entries(Some(UnitOffset(place.checked_sub(unit.offset)?)))
                .ok()?;
            let abbreviation = entries.read_abbreviation().ok()??;
            let entry = Entry::read(&mut entries, abbreviation.attributes()).ok()?;
            match abbreviation.tag() {
                dw::DW_TAG_typedef => place = entry.kind?.place(unit)?,
                dw::DW_TAG_array_type => {
                    return Some(Struct {
                        size: entry.size?,
                        fields: Vec::new(),
                    });
                }
                dw::DW_TAG_structure_type => {
                    return Some(Struct {
                        size: entry.size?,
                        fields: match abbreviation.has_children() {
                            true => unit.fields(&mut entries).ok()?,
                            false => Vec::new(),
                        },
                    });
                }
                _ => return None,
            }
        }
        None
    }
}

/// The tables of abbreviations that units refer to. A table ends where the next one begins, so that
/// all of them together are not more work than the section is long.
fn abbreviations<'a>(
    section: &[u8],
    units: impl Iterator<Item = &'a UnitHeader<Reader<'a>>>,
) -> gimli::Result<FxHashMap<DebugAbbrevOffset, Arc<Abbreviations>>> {
    let mut offsets: Vec<usize> = units.map(|unit| unit.debug_abbrev_offset().0).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let ends = offsets.iter().skip(1).copied().chain([section.len()]);
    offsets
        .iter()
        .zip(ends)
        .map(|(&offset, end)| {
            let table = section.get(offset..end).unwrap_or(&[]);
            let table =
                DebugAbbrev::new(table, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
            Ok((DebugAbbrevOffset(offset), Arc::new(table)))
        })
        .collect()
}

impl LayoutSource for DwarfLayouts<'_> {
    fn size(&self, strukt: &str) -> Option<u32> {
        Some(self.named.get(strukt)?.size)
    }

    fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
        let mut names = field.split('.');
        let first = self.named.get(strukt)?.field(names.next()?)?;
        let (mut offset, mut kind) = (first.offset, first.kind);
        let mut nested = self.nested.borrow_mut();
        for name in names {
            let place = kind?;
            let inner = nested
                .entry(place)
                .or_insert_with(|| self.type_at(place))
                .as_ref()?
                .field(name)?;
            offset = offset.checked_add(inner.offset)?;
            kind = inner.kind;
        }
        Some(offset)
    }
}

impl Struct {
    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| *field.name == *name)
    }
}

impl<'a> Unit<'a> {
    fn entries(&self, at: Option<UnitOffset<usize>>) -> gimli::Result<EntriesRaw<'_, Reader<'a>>> {
        self.header.entries_raw(&self.abbreviations, at)
    }

    fn is_named(&self, name: &[u8]) -> bool {
        let read = || -> gimli::Result<bool> {
            let mut entries = self.entries(None)?;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                return Ok(false);
            };
            let entry = Entry::read(&mut entries, abbreviation.attributes())?;
            Ok(entry.name.is_some_and(|found| found.as_bytes() == name))
        };
        read().unwrap_or(false)
    }

    /// The members of the struct whose children come next.
    fn fields(&self, entries: &mut EntriesRaw<'_, Reader<'a>>) -> gimli::Result<Vec<Field>> {
        let mut fields = Vec::new();
        let depth = entries.next_depth();
        while entries.next_depth() >= depth && !entries.is_empty() {
            let at_depth = entries.next_depth() == depth;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let entry = Entry::read(entries, abbreviation.attributes())?;
            if at_depth
                && abbreviation.tag() == dw::DW_TAG_member
                && let (Some(name), Some(offset)) = (entry.name, entry.location)
            {
                fields.push(Field {
                    name: name.into(),
                    offset,
                    kind: entry.kind.and_then(|kind| kind.place(self)),
                });
            }
        }
        Ok(fields)
    }
}

/// The attributes that matter here. The Go linker writes names in place (DW_FORM_string) and
/// numbers as constants; other forms (C code of cgo programs) read as absent.
#[derive(Default)]
struct Entry<'a> {
    name: Option<&'a str>,
    size: Option<u32>,
    location: Option<u32>,
    kind: Option<Reference>,
}

#[derive(Clone, Copy)]
enum Reference {
    InUnit(usize),
    InSection(usize),
}

impl Reference {
    fn place(self, unit: &Unit<'_>) -> Option<usize> {
        match self {
            Reference::InUnit(offset) => unit.offset.checked_add(offset),
            Reference::InSection(offset) => Some(offset),
        }
    }
}

impl<'a> Entry<'a> {
    fn read(
        entries: &mut EntriesRaw<'_, Reader<'a>>,
        attributes: &[AttributeSpecification],
    ) -> gimli::Result<Entry<'a>> {
        let mut entry = Entry::default();
        for specification in attributes {
            let attribute = entries.read_attribute(*specification)?;
            let number = || u32::try_from(attribute.udata_value()?).ok();
            match attribute.name() {
                dw::DW_AT_name => {
                    if let AttributeValue::String(name) = attribute.raw_value() {
                        entry.name = std::str::from_utf8(name.slice()).ok();
                    }
                }
                dw::DW_AT_byte_size => entry.size = number(),
                dw::DW_AT_data_member_location => entry.location = number(),
                dw::DW_AT_type => {
                    entry.kind = match attribute.raw_value() {
                        AttributeValue::UnitRef(UnitOffset(at)) => Some(Reference::InUnit(at)),
                        AttributeValue::DebugInfoRef(DebugInfoOffset(at)) => {
                            Some(Reference::InSection(at))
                        }
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}
