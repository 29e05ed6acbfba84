//! Static memory, object by object: what code that knows an address can get at from there.
//!
//! Variables have symbols. What the compiler makes for itself (the array behind a slice, a copy of a
//! composite literal) has none; but the linker lays out each section by size, so what lies between two
//! symbols is no larger than the second one (`cmd/link/internal/ld/data.go`, dodataSect). Where the
//! sizes of the two do not ascend, one run of symbols ends and another one begins, and nothing is known.
//!
//! Some runs have no symbols but one at their begin that says what is in them: type descriptors,
//! function values, and what holds no pointers at all. A type descriptor leads to its methods, which any
//! code that meets a value of the type may call, by an interface or by reflection.

use std::ops::Range;
use std::sync::Arc;

use super::Vaddr;
use super::elf::{Elf, Segment};
use crate::layout::{MapLayout, TypeLayout};

/// `abi.TFlagUncommon`: the descriptor has methods.
const TFLAG_UNCOMMON: u8 = 1;
/// `abi.KindMask`.
const KIND_MASK: u8 = (1 << 5) - 1;
/// `abi.Type.Equal` and `abi.Type.PtrToThis`, the same in all versions: between the kind and GCData,
/// and behind the name.
const EQUAL: u64 = 24;
const POINTER: u64 = 44;
/// Size of an `abi.UncommonType`, and where its counts and the methods' offset are.
const UNCOMMON: u64 = 16;
const UNCOMMON_METHODS: u64 = 4;
const UNCOMMON_OFFSET: u64 = 8;
/// Size of an `abi.Method`; its words of 32 bits are name, type, and two entries.
const METHOD: u64 = 16;
/// Size of an `abi.Imethod`; its words of 32 bits are name and type.
const INTERFACE_METHOD: u64 = 8;
/// Size of an `abi.FuncType` without its parameters, and where their numbers are.
const FUNCTION: u64 = 56;
const FUNCTION_COUNTS: u64 = 48;
/// More fields, methods or parameters are not believed.
const MAX_PARTS: u64 = 1 << 14;

/// What a run of static memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Content {
    /// Variables and constants.
    Objects,
    /// Type descriptors and their names.
    Types,
    /// Function values: a word each, the function's entry. Up to Go 1.26 with tables about functions.
    Functions,
    /// Strings, and tables for the runtime.
    Nothing,
}

/// The symbols at the begin of runs (`cmd/link/internal/ld/symtab.go`), and at the end of some.
const RUNS: &[(&str, Content)] = &[
    ("type:*", Content::Types),
    ("typerel:*", Content::Types),
    ("type.*", Content::Types),
    ("typerel.*", Content::Types),
    ("runtime.types", Content::Types),
    ("runtime.etypes", Content::Objects),
    ("go:string.*", Content::Nothing),
    ("go.string.*", Content::Nothing),
    ("go:func.*", Content::Functions),
    ("go.func.*", Content::Functions),
    ("go:funcrel.*", Content::Functions),
    ("go.funcrel.*", Content::Functions),
    ("go:funcdesc", Content::Functions),
    ("runtime.gcbits.*", Content::Nothing),
    ("runtime.gcmask.*", Content::Nothing),
    ("runtime.pclntab", Content::Nothing),
    ("runtime.epclntab", Content::Objects),
];

/// The variables with the first table of methods (`runtime/iface.go`) and the first thread.
const INTERFACE_TABLE: &str = "runtime.itabTableInit";
const FIRST_THREAD: &str = "runtime.m0";

/// The static memory of a program.
#[derive(Debug)]
pub(crate) struct Statics {
    elf: Arc<Elf>,
    types: TypeLayout,
    /// Data and read-only data.
    segments: Vec<Segment>,
    /// Variables, by address; they do not overlap.
    objects: Vec<Range<u64>>,
    /// Where runs begin.
    runs: Vec<(u64, Content)>,
    interface_table: Option<Range<u64>>,
    first_thread: Option<Range<u64>>,
}

/// What a type descriptor leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeLeads {
    /// Other descriptors, and the pointer to the function that compares.
    pub(crate) statics: Vec<u64>,
    /// Offsets of functions in the text.
    pub(crate) functions: Vec<u32>,
}

impl Statics {
    pub(super) fn read(elf: &Arc<Elf>, types: TypeLayout) -> Option<Statics> {
        let segments: Vec<Segment> = elf
            .segments()
            .iter()
            .filter(|segment| !segment.is_executable())
            .copied()
            .collect();
        let is_static = |vaddr| segments.iter().any(|segment| segment.contains(vaddr));
        let (mut objects, mut runs) = (Vec::new(), Vec::new());
        let (mut interface_table, mut first_thread) = (None, None);
        for (symbol, name) in elf.objects() {
            let start = symbol.vaddr.0;
            let range = start..start.saturating_add(symbol.size);
            match name {
                INTERFACE_TABLE => interface_table = Some(range),
                FIRST_THREAD => first_thread = Some(range),
                _ => {}
            }
            match RUNS.iter().find(|(run, _)| *run == name) {
                Some(&(_, content)) => runs.push((symbol.vaddr.0, content)),
                None if symbol.size > 0 && is_static(symbol.vaddr) => objects.push(symbol),
                None => {}
            }
        }
        runs.sort_unstable();
        let mut objects: Vec<Range<u64>> = objects
            .into_iter()
            .map(|symbol| symbol.vaddr.0..symbol.vaddr.0.saturating_add(symbol.size))
            .collect();
        objects.sort_unstable_by_key(|object| (object.start, object.end));
        // Of symbols in one another the outermost counts.
        objects.dedup_by(|inner, outer| {
            let within = inner.start < outer.end;
            if within {
                outer.end = outer.end.max(inner.end);
            }
            within
        });
        (!objects.is_empty()).then(|| Statics {
            elf: Arc::clone(elf),
            types,
            segments,
            objects,
            runs,
            interface_table,
            first_thread,
        })
    }

    /// What lies at an address.
    pub(crate) fn content(&self, address: u64) -> Content {
        let run = self.runs.partition_point(|&(start, _)| start <= address);
        let object = self
            .objects
            .partition_point(|object| object.start <= address);
        let object = object.checked_sub(1).map(|n| self.objects[n].start);
        match run.checked_sub(1).map(|n| self.runs[n]) {
            Some((start, content)) if object.is_none_or(|object| object < start) => content,
            _ => Content::Objects,
        }
    }

    /// From the first to the last static address.
    pub(crate) fn range(&self) -> Range<u64> {
        let start = self.segments.iter().map(|segment| segment.vaddr.0).min();
        let end = (self.segments.iter())
            .map(|segment| segment.vaddr.0.saturating_add(segment.memsz))
            .max();
        start.unwrap_or(0)..end.unwrap_or(0)
    }

    /// The object that an address belongs to: all of a variable, else what may lie from there on.
    /// `None` if nothing static is there.
    pub(crate) fn object(&self, address: u64) -> Option<Range<u64>> {
        let segment = (self.segments.iter()).find(|segment| segment.contains(Vaddr(address)))?;
        let next = (self.objects).partition_point(|object| object.end <= address);
        match self.objects.get(next) {
            Some(object) if object.contains(&address) => Some(object.clone()),
            following => {
                let end = segment.vaddr.0.saturating_add(segment.memsz);
                let end = following.map_or(end, |object| object.start.min(end));
                let size = |object: &Range<u64>| object.end - object.start;
                let before = next.checked_sub(1).map_or(0, |n| size(&self.objects[n]));
                let most = following.map(size).filter(|&size| before <= size);
                let bound = most.map_or(end, |size| address.saturating_add(size));
                Some(address..bound.min(end))
            }
        }
    }

    /// Whether the program cannot write there.
    pub(crate) fn is_constant(&self, address: u64) -> bool {
        let mut segments = self.segments.iter();
        segments.any(|segment| segment.contains(Vaddr(address)) && !segment.is_writable())
    }

    /// The word at an address as it is in the file, relocated.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.elf.word(Vaddr(address))
    }

    /// The name of the variable at an address.
    pub(crate) fn name(&self, address: u64) -> Option<String> {
        let objects = self.elf.objects();
        let mut objects = objects.iter();
        let (_, name) = objects
            .find(|(symbol, _)| address.wrapping_sub(symbol.vaddr.0) < symbol.size)
            .filter(|(_, name)| !name.is_empty())?;
        Some((*name).to_owned())
    }

    /// The table of all methods of interfaces that were ever used, as the linker made it.
    pub(crate) fn interface_table(&self) -> Option<Range<u64>> {
        self.interface_table.clone()
    }

    /// The first thread.
    pub(crate) fn first_thread(&self) -> Option<Range<u64>> {
        self.first_thread.clone()
    }

    /// What the type descriptor at an address leads to. `None` if there can be none. `types` is where
    /// the program's descriptors are.
    pub(crate) fn type_leads(&self, address: u64, types: &Range<u64>) -> Option<TypeLeads> {
        let descriptor = Descriptor {
            elf: &self.elf,
            address,
            types,
        };
        if !types.contains(&address) || !address.is_multiple_of(8) {
            return None;
        }
        descriptor.leads(&self.types)
    }
}

/// A type descriptor in the file.
struct Descriptor<'a> {
    elf: &'a Elf,
    address: u64,
    types: &'a Range<u64>,
}

impl Descriptor<'_> {
    fn leads(&self, layout: &TypeLayout) -> Option<TypeLeads> {
        let head = &layout.head;
        let at = |offset: u32| u64::from(offset);
        let align = self.byte(at(head.align))?;
        let kind = self.byte(at(head.kind))? & KIND_MASK;
        let (size, pointers) = (self.word(at(head.bytes))?, self.word(at(head.ptr_bytes))?);
        let name = u64::from(self.half(at(head.name))?);
        let plausible = align.is_power_of_two()
            && (1..=26).contains(&kind)
            && pointers <= size
            && size.is_multiple_of(u64::from(align))
            && name < self.types.end - self.types.start;
        if !plausible {
            return None;
        }
        let mut leads = TypeLeads::default();
        leads.statics.push(self.word(EQUAL)?);
        self.offset(POINTER, &mut leads);
        let own_size = match kind {
            17 => {
                self.words(at(layout.array.elem), 2, &mut leads);
                at(layout.array.size)
            }
            18 => {
                self.words(at(layout.chan.elem), 1, &mut leads);
                at(layout.chan.size)
            }
            19 => FUNCTION,
            20 => {
                self.interface(at(layout.interface.methods), &mut leads);
                at(layout.interface.size)
            }
            21 => {
                // Key, element and group of either sort of map, and how to hash.
                self.words(at(head.size), 4, &mut leads);
                match layout.map.as_ref()? {
                    MapLayout::Buckets { typ, .. } => at(typ.size),
                    MapLayout::Swiss { typ, .. } => at(typ.size),
                }
            }
            22 => {
                self.words(at(layout.pointer.elem), 1, &mut leads);
                at(layout.pointer.size)
            }
            23 => {
                self.words(at(layout.slice.elem), 1, &mut leads);
                at(layout.slice.size)
            }
            25 => {
                let fields = self.list(at(layout.strukt.fields))?;
                for index in 0..fields.1 {
                    let field = fields.0.checked_add(index * at(layout.field.size))?;
                    let typ = field.checked_add(at(layout.field.typ))?;
                    leads.statics.extend(self.elf.word(Vaddr(typ)));
                }
                at(layout.strukt.size)
            }
            _ => at(head.size),
        };
        let uncommon = self.byte(at(head.tflag))? & TFLAG_UNCOMMON != 0;
        if kind == 19 {
            let counts = self.half(FUNCTION_COUNTS)?;
            let parameters = u64::from(counts & 0xffff) + u64::from(counts >> 16 & 0x7fff);
            let behind = own_size + if uncommon { UNCOMMON } else { 0 };
            self.words(behind, parameters.min(MAX_PARTS), &mut leads);
        }
        if uncommon {
            self.methods(own_size, &mut leads)?;
        }
        Some(leads)
    }

    fn methods(&self, uncommon: u64, leads: &mut TypeLeads) -> Option<()> {
        let count = u64::from(self.half(uncommon + UNCOMMON_METHODS)? & 0xffff);
        let first = uncommon.checked_add(u64::from(self.half(uncommon + UNCOMMON_OFFSET)?))?;
        for index in 0..count.min(MAX_PARTS) {
            let method = first.checked_add(index * METHOD)?;
            self.offset(method + 4, leads);
            for entry in [8, 12] {
                // What the linker found that nobody can call has -1, or 0.
                let entry = self.half(method + entry)?;
                leads
                    .functions
                    .extend((entry != 0 && entry != u32::MAX).then_some(entry));
            }
        }
        Some(())
    }

    fn interface(&self, methods: u64, leads: &mut TypeLeads) {
        let Some((first, count)) = self.list(methods) else {
            return;
        };
        let first = first.wrapping_sub(self.address);
        for index in 0..count {
            let method = first.wrapping_add(index * INTERFACE_METHOD);
            self.offset(method.wrapping_add(4), leads);
        }
    }

    /// Begin and length of a slice.
    fn list(&self, offset: u64) -> Option<(u64, u64)> {
        let len = self.word(offset.checked_add(8)?)?;
        let begin = self.word(offset)?;
        (len <= MAX_PARTS).then_some((begin, len))
    }

    fn words(&self, offset: u64, count: u64, leads: &mut TypeLeads) {
        let words = (0..count).filter_map(|index| self.word(offset + index * 8));
        leads.statics.extend(words);
    }

    /// Another descriptor, by its offset in the section.
    fn offset(&self, offset: u64, leads: &mut TypeLeads) {
        let typ = self.half(offset).filter(|&typ| typ != 0 && typ != u32::MAX);
        let typ = typ.and_then(|typ| self.types.start.checked_add(u64::from(typ)));
        leads.statics.extend(typ);
    }

    fn place(&self, offset: u64) -> Vaddr {
        Vaddr(self.address.wrapping_add(offset))
    }

    fn word(&self, offset: u64) -> Option<u64> {
        self.elf.word(self.place(offset))
    }

    fn half(&self, offset: u64) -> Option<u32> {
        let bytes = self.elf.bytes(self.place(offset), 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn byte(&self, offset: u64) -> Option<u8> {
        self.elf.bytes(self.place(offset), 1)?.first().copied()
    }
}
