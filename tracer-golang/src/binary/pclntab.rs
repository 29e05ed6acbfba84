//! The pclntab: the runtime's own tables of functions, lines, inlined calls and stack pointer
//! offsets. They survive stripping. Formats: Go 1.18 and 1.19 (magic 0xfffffff0), Go 1.20 to 1.27
//! (magic 0xfffffff1). See `runtime/symtab.go` and `cmd/link/internal/ld/pcln.go`.

use std::sync::Arc;

use tracer_model::symbol::Frame;

use super::elf::{Elf, u32_at, u64_at};
use super::moduledata::ModuleData;
use super::{Arch, BinaryError, Vaddr};

/// Size of the header, bytes.
const HEADER_SIZE: usize = 72;
/// Entry of the function table: entry offset and offset of the function's record, u32 each.
const FUNCTAB_ENTRY: usize = 8;
/// Indexes of a function's pc tables (`abi.PCDATA_StackMapIndex` and so on).
const PCDATA_STACK_MAP_INDEX: usize = 1;
const PCDATA_INL_TREE_INDEX: usize = 2;
/// Indexes of a function's data (`abi.FUNCDATA_ArgsPointerMaps` and so on).
const FUNCDATA_ARGS_POINTER_MAPS: usize = 0;
const FUNCDATA_LOCALS_POINTER_MAPS: usize = 1;
const FUNCDATA_STACK_OBJECTS: usize = 2;
const FUNCDATA_INL_TREE: usize = 3;
/// Size of a `runtime.stackObjectRecord`: offset, size, and two words of 32 bits for the collector.
const STACK_OBJECT_RECORD: usize = 16;
/// A frame of more words, or objects, is not believed: no stack is larger.
const MAX_FRAME_WORDS: usize = 1 << 27;
/// Places looked at that may be a table. One has more, if it has more than one, by chance or by ill
/// will.
const MAX_CANDIDATES: usize = 16;
/// Functions inlined into each other at one pc: a bound against cycles in malformed tables.
const MAX_INLINE_DEPTH: usize = 256;

/// Which of the two formats a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Go 1.18 and 1.19.
    Go118,
    /// Go 1.20 and later.
    Go120,
}

impl Format {
    const ALL: [Format; 2] = [Format::Go120, Format::Go118];

    const fn magic(self) -> u32 {
        match self {
            Format::Go118 => 0xffff_fff0,
            Format::Go120 => 0xffff_fff1,
        }
    }

    /// Size of a function's record without its tables (`runtime._func`). Go 1.20 added startLine.
    const fn record_size(self) -> usize {
        match self {
            Format::Go118 => 40,
            Format::Go120 => 44,
        }
    }

    /// Size of an inlined call (`runtime.inlinedCall`), and where its name and its parent's pc are.
    const fn inlined_call(self) -> (usize, usize, usize) {
        match self {
            Format::Go118 => (20, 12, 16),
            Format::Go120 => (16, 4, 8),
        }
    }
}

/// The table's header (`runtime.pcHeader`). Offsets are bytes from the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) vaddr: Vaddr,
    pub(super) format: Format,
    functions: usize,
    funcname_offset: usize,
    cu_offset: usize,
    filetab_offset: usize,
    pctab_offset: usize,
    pcln_offset: usize,
}

impl Header {
    /// What may be the table: what has its section's name, else everything that begins like one
    /// anywhere in the file's data.
    pub(super) fn candidates(elf: &Elf) -> Vec<Header> {
        let named: Vec<Header> = [".gopclntab", ".data.rel.ro.gopclntab"]
            .into_iter()
            .filter_map(|name| Header::parse(elf, elf.section(name)?.0))
            .collect();
        match named.is_empty() {
            true => Header::scan(elf),
            false => named,
        }
    }

    fn scan(elf: &Elf) -> Vec<Header> {
        let mut found: Vec<Header> = Vec::new();
        for format in Format::ALL {
            let mut needle = [0; 8];
            needle[..4].copy_from_slice(&format.magic().to_le_bytes());
            needle[6] = elf.arch().pc_quantum() as u8;
            needle[7] = 8;
            let finder = memchr::memmem::Finder::new(&needle);
            for segment in elf.segments() {
                let headers = finder
                    .find_iter(elf.segment_bytes(segment))
                    .filter_map(|at| segment.vaddr.0.checked_add(at as u64))
                    .filter_map(|vaddr| Header::parse(elf, Vaddr(vaddr)));
                // Segments may overlap.
                found.extend(headers.take(MAX_CANDIDATES - found.len()));
                found.dedup();
            }
        }
        found
    }

    /// Reads the header at `vaddr`; `None` if it is none or its offsets do not make sense.
    fn parse(elf: &Elf, vaddr: Vaddr) -> Option<Header> {
        let bytes = elf.tail(vaddr)?;
        let format = Format::ALL
            .into_iter()
            .find(|format| u32_at(bytes, 0) == Some(format.magic()))?;
        if bytes.get(4..8)? != [0, 0, elf.arch().pc_quantum() as u8, 8] {
            return None;
        }
        let word = |index: usize| usize::try_from(u64_at(bytes, 8 + 8 * index)?).ok();
        // Word 2 is textStart: zero from Go 1.26 on, relocated in position independent files.
        let header = Header {
            vaddr,
            format,
            functions: word(0)?,
            funcname_offset: word(3)?,
            cu_offset: word(4)?,
            filetab_offset: word(5)?,
            pctab_offset: word(6)?,
            pcln_offset: word(7)?,
        };
        let table_end = header
            .functions
            .checked_mul(FUNCTAB_ENTRY)?
            .checked_add(header.pcln_offset)?;
        let sensible = header.functions > 0
            && header.funcname_offset >= HEADER_SIZE
            && header.funcname_offset <= header.cu_offset
            && header.cu_offset <= header.filetab_offset
            && header.filetab_offset <= header.pctab_offset
            && header.pctab_offset <= header.pcln_offset
            && table_end < bytes.len();
        sensible.then_some(header)
    }

    /// Address of the function names, which `moduledata.funcnametab` points to.
    pub(super) fn function_names(&self) -> Vaddr {
        Vaddr(self.vaddr.0.wrapping_add(self.funcname_offset as u64))
    }
}

/// The runtime's tables about code. Pcs are link-time addresses.
#[derive(Debug)]
pub struct Pclntab {
    elf: Arc<Elf>,
    header: Header,
    text: Vaddr,
    gofunc: Vaddr,
    quantum: u64,
}

/// A function of the program, as the Go linker laid it out.
#[derive(Clone, Copy)]
pub struct Function<'a> {
    /// First instruction.
    pub entry: Vaddr,
    /// First address behind it.
    pub end: Vaddr,
    /// Full name, e.g. `main.(*pool).run.func1`, without `.abi0`.
    pub name: &'a str,
    /// The runtime's id of functions that it treats specially, 0 for all others. The numbers depend
    /// on the Go version.
    pub func_id: u8,
    flags: u8,
    table: &'a Pclntab,
    /// Place of the record in the table.
    record: usize,
}

/// The pointers in a function's frame that are live at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSlots {
    /// For each word below the end of the locals (`runtime.stkframe.varp`): the last entry is the
    /// word right below it. Words below the first entry are arguments of what it calls.
    pub locals: Box<[bool]>,
    /// For each word from the begin of the arguments (`runtime.stkframe.argp`), which lie in the
    /// caller's frame.
    pub arguments: Box<[bool]>,
    /// Locals whose address is taken: offset and size in bytes. The offset counts from the end of the
    /// locals if it is negative, else from the begin of the arguments. They are live if a live
    /// pointer leads to them.
    pub objects: Box<[(i32, u32)]>,
}

impl Pclntab {
    pub(super) fn new(
        elf: Arc<Elf>,
        header: Header,
        module: &ModuleData,
    ) -> Result<Pclntab, BinaryError> {
        let quantum = elf.arch().pc_quantum();
        let table = Pclntab {
            elf,
            header,
            text: module.text,
            gofunc: module.gofunc,
            quantum,
        };
        // Entries are offsets in one run of code that both tables know. (A program of more than one
        // text section, which only huge ones for other architectures have, would need a map.)
        let last = table.len().checked_sub(1);
        let fits = [Some(0), last].into_iter().all(|index| {
            index
                .and_then(|index| table.at_index(index))
                .is_some_and(|function| {
                    function.entry < function.end
                        && function.end <= module.etext
                        && table.elf.tail(function.entry).is_some()
                })
        });
        match fits {
            true => Ok(table),
            false => Err(BinaryError::Unrecognised("the functions in the pclntab")),
        }
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.header.functions
    }

    /// Whether there are none: never in a table that was accepted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All functions, by address.
    pub fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        (0..self.len()).filter_map(|index| self.at_index(index))
    }

    /// The function that `pc` lies in.
    pub fn function(&self, pc: Vaddr) -> Option<Function<'_>> {
        let offset = u32::try_from(pc.0.checked_sub(self.text.0)?).ok()?;
        let table = self.function_table()?;
        let (mut low, mut high) = (0, self.len());
        // The last function that begins at or before pc.
        while low < high {
            let middle = low + (high - low) / 2;
            if u32_at(table, middle * FUNCTAB_ENTRY)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let function = self.at_index(low.checked_sub(1)?)?;
        (pc < function.end).then_some(function)
    }

    /// The function with this full name.
    pub fn lookup(&self, name: &str) -> Option<Function<'_>> {
        let table = self.function_table()?;
        let wanted = self.name_offset(name)?;
        (0..self.len()).find_map(|index| {
            let record = u32_at(table, index * FUNCTAB_ENTRY + 4)? as usize;
            (u32_at(table, record.checked_add(4)?)? == wanted).then(|| self.at_index(index))?
        })
    }

    /// The frames at `pc`, innermost first: functions inlined there, then the function itself.
    /// Empty if `pc` is in no function. `pc` is an address inside the instruction that is meant.
    pub fn frames(&self, pc: Vaddr) -> Vec<Frame> {
        let mut frames = Vec::new();
        let Some(function) = self.function(pc) else {
            return frames;
        };
        // An inlined call's frame has the innermost position; its parent's is the position of the
        // instruction that stands for the call.
        let mut at = pc;
        while frames.len() < MAX_INLINE_DEPTH
            && let Some((name, parent)) = function.inlined_at(at)
        {
            frames.push(function.frame(name, at, true));
            at = parent;
        }
        frames.push(function.frame(function.name, at, false));
        frames
    }

    /// Bytes from the stack pointer at `pc` up to the caller's stack pointer *before* the call: on
    /// amd64 the return address lies there (add 8 for the caller's frame), on arm64 it is the
    /// caller's frame, and the return address is at the stack pointer itself if this is not 0 (in
    /// the link register if it is). `None` if the table does not say.
    pub fn sp_delta(&self, pc: Vaddr) -> Option<u32> {
        self.function(pc)?.sp_delta(pc)
    }

    /// For each name, a function that calls of it were inlined into. One pass over all functions.
    pub fn inlined_into<const N: usize>(&self, names: [&str; N]) -> [Option<&str>; N] {
        // Each name is in the table of names once, so offsets can be compared in their place.
        let offsets = names.map(|name| self.name_offset(name));
        let mut found = [None; N];
        for function in self.functions() {
            for inlined in function.inlined_name_offsets() {
                if let Some(index) = offsets.iter().position(|offset| *offset == Some(inlined)) {
                    found[index].get_or_insert(function.name);
                }
            }
        }
        found
    }

    /// Where a name is in the table of names.
    fn name_offset(&self, name: &str) -> Option<u32> {
        let names = self.function_names()?;
        memchr::memmem::find_iter(names, name.as_bytes())
            .filter(|&at| at == 0 || names[at - 1] == 0)
            .find(|&at| names.get(at + name.len()) == Some(&0))
            .and_then(|at| u32::try_from(at).ok())
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.elf.tail(self.header.vaddr)
    }

    /// The function table, and behind it the functions' records, which it refers to by offset.
    fn function_table(&self) -> Option<&[u8]> {
        self.bytes()?.get(self.header.pcln_offset..)
    }

    fn function_names(&self) -> Option<&[u8]> {
        self.bytes()?
            .get(self.header.funcname_offset..self.header.cu_offset)
    }

    fn at_index(&self, index: usize) -> Option<Function<'_>> {
        if index >= self.len() {
            return None;
        }
        let table = self.function_table()?;
        let place = index * FUNCTAB_ENTRY;
        let address = |offset: u32| self.text.0.checked_add(u64::from(offset)).map(Vaddr);
        let entry = address(u32_at(table, place)?)?;
        // The entry after the last function's is its end.
        let end = address(u32_at(table, place + FUNCTAB_ENTRY)?)?;
        let record = u32_at(table, place + 4)? as usize;
        let fixed = table.get(record..record.checked_add(self.header.format.record_size())?)?;
        let &[func_id, flags, _, _] = fixed.last_chunk()?;
        Some(Function {
            entry,
            end,
            name: self.name_at(u32_at(fixed, 4)?),
            func_id,
            flags,
            table: self,
            record,
        })
    }

    fn name_at(&self, offset: u32) -> &str {
        text_at(self.function_names().unwrap_or(&[]), offset)
    }

    /// The value at `pc` of the pc table at `offset`, which begins at `entry`. `None` if the table
    /// does not reach `pc`.
    fn value_at(&self, offset: u32, entry: Vaddr, pc: Vaddr) -> Option<i32> {
        if offset == 0 {
            return None;
        }
        let tables = self
            .bytes()?
            .get(self.header.pctab_offset..self.header.pcln_offset)?;
        let mut steps = tables.get(offset as usize..)?;
        let mut at = entry.0;
        let mut value = -1_i32;
        let mut first = true;
        // Pairs of a value's change (zigzag) and a number of instruction quanta that it holds for.
        loop {
            let change = varint(&mut steps)?;
            if change == 0 && !first {
                return None;
            }
            first = false;
            value = value.wrapping_add((change >> 1) as i32 ^ -((change & 1) as i32));
            at = at.checked_add(u64::from(varint(&mut steps)?).checked_mul(self.quantum)?)?;
            if pc.0 < at {
                return Some(value);
            }
        }
    }
}

/// Table index of the fields of `runtime._func` that are used here, bytes from its begin.
mod record {
    pub(super) const DEFERRETURN: usize = 12;
    pub(super) const PCSP: usize = 16;
    pub(super) const PCFILE: usize = 20;
    pub(super) const PCLN: usize = 24;
    pub(super) const NPCDATA: usize = 28;
    pub(super) const CU_OFFSET: usize = 32;
}

impl<'a> Function<'a> {
    /// Whether unwinding ends here: nothing that called this function is on this stack
    /// (goexit, mstart, rt0_go, mcall, morestack and the like).
    pub fn is_top_frame(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether it writes to the stack pointer in ways that its table does not describe (it switches
    /// stacks): do not unwind through it, unless it is innermost and parked at a known place.
    pub fn writes_sp(&self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether it is written in assembly.
    pub fn is_assembly(&self) -> bool {
        self.flags & 4 != 0
    }

    /// See [`Pclntab::sp_delta`].
    pub fn sp_delta(&self, pc: Vaddr) -> Option<u32> {
        let value = self
            .table
            .value_at(self.field(record::PCSP)?, self.entry, pc)?;
        u32::try_from(value).ok()
    }

    /// Where a frame of it goes on after a panic that one of its deferred calls recovered from: its
    /// exit. `None` if it defers nothing.
    pub fn deferreturn(&self) -> Option<Vaddr> {
        match self.field(record::DEFERRETURN)? {
            0 => None,
            offset => Some(Vaddr(self.entry.0.checked_add(u64::from(offset))?)),
        }
    }

    /// Whether a byte of its code is at that address.
    pub(crate) fn contains(&self, vaddr: u64) -> bool {
        (self.entry.0..self.end.0).contains(&vaddr)
    }

    /// Code size, bytes.
    pub fn size(&self) -> u64 {
        self.end.0.saturating_sub(self.entry.0)
    }

    fn field(&self, offset: usize) -> Option<u32> {
        u32_at(self.table.function_table()?, self.record + offset)
    }

    fn frame(&self, name: &str, pc: Vaddr, inlined: bool) -> Frame {
        let value = |field| self.table.value_at(self.field(field)?, self.entry, pc);
        let file = value(record::PCFILE).and_then(|number| self.file(number));
        Frame {
            function: name.into(),
            file: file.unwrap_or("?").into(),
            line: value(record::PCLN).map_or(0, |line| u32::try_from(line).unwrap_or(0)),
            inlined,
        }
    }

    /// The source file with this number in the function's compile unit.
    fn file(&self, number: i32) -> Option<&'a str> {
        let header = &self.table.header;
        let bytes = self.table.bytes()?;
        let index = self
            .field(record::CU_OFFSET)?
            .checked_add(u32::try_from(number).ok()?)? as usize;
        let units = bytes.get(header.cu_offset..header.filetab_offset)?;
        let offset = u32_at(units, index.checked_mul(4)?)?;
        let files = bytes.get(header.filetab_offset..header.pctab_offset)?;
        (offset != u32::MAX).then(|| text_at(files, offset))
    }

    /// Where the pc table with this index is, as an offset; 0 if the function has none.
    fn pcdata(&self, index: usize) -> Option<u32> {
        let functions = self.table.function_table()?;
        match index < self.field(record::NPCDATA)? as usize {
            true => u32_at(functions, self.tables() + 4 * index),
            false => Some(0),
        }
    }

    /// The bytes that begin with the function's data of this kind; `Some(None)` if it has none.
    #[expect(
        clippy::option_option,
        reason = "what is not there and what cannot be read are different things"
    )]
    fn funcdata(&self, index: usize) -> Option<Option<&'a [u8]>> {
        let functions = self.table.function_table()?;
        let count = usize::from(*functions.get(self.tables() - 1)?);
        if index >= count {
            return Some(None);
        }
        let pcdata_count = self.field(record::NPCDATA)? as usize;
        let data = self.tables().checked_add(pcdata_count.checked_mul(4)?)?;
        let offset = u32_at(functions, data + 4 * index)?;
        if offset == u32::MAX {
            return Some(None);
        }
        let place = self.table.gofunc.0.checked_add(u64::from(offset))?;
        Some(Some(self.table.elf.tail(Vaddr(place))?))
    }

    /// Place of what follows the function's record: offsets of pc tables, then of data.
    fn tables(&self) -> usize {
        self.record + self.table.header.format.record_size()
    }

    /// Which pointers of the function's frame are live where the call at `pc` (an address inside of
    /// it) returns to, as the garbage collector knows it (`runtime.stkframe.getStackMap`). `None`
    /// where the function does not say: any word of the frame, and of its arguments, may be one.
    pub fn live_slots(&self, pc: Vaddr) -> Option<LiveSlots> {
        // What assembly keeps in its frame is known to the collector by other means.
        if self.is_assembly() {
            return None;
        }
        let index = match self.pcdata(PCDATA_STACK_MAP_INDEX)? {
            0 => -1,
            table => self.table.value_at(table, self.entry, pc)?,
        };
        // -1 stands for the function's begin, which has the first map.
        let index = usize::try_from(index.max(0)).ok()?;
        let map = |kind: usize| -> Option<Box<[bool]>> {
            let map = self.funcdata(kind)??;
            let (count, bits) = (u32_at(map, 0)? as usize, u32_at(map, 4)? as usize);
            if bits > MAX_FRAME_WORDS || (bits > 0 && index >= count) {
                return None;
            }
            let size = bits.div_ceil(8);
            let begin = index.checked_mul(size)?.checked_add(8)?;
            let bytes = map.get(begin..begin.checked_add(size)?)?;
            let bit = |bit: usize| bytes[bit / 8] >> (bit % 8) & 1 != 0;
            Some((0..bits).map(bit).collect())
        };
        let objects = match self.funcdata(FUNCDATA_STACK_OBJECTS)? {
            None => Box::default(),
            Some(objects) => {
                let count = u32_at(objects, 0)? as usize;
                if count > MAX_FRAME_WORDS {
                    return None;
                }
                (0..count)
                    .map(|object| {
                        let record = 8 + object * STACK_OBJECT_RECORD;
                        let offset = u32_at(objects, record)?.cast_signed();
                        Some((offset, u32_at(objects, record + 4)?))
                    })
                    .collect::<Option<_>>()?
            }
        };
        Some(LiveSlots {
            locals: map(FUNCDATA_LOCALS_POINTER_MAPS)?,
            arguments: map(FUNCDATA_ARGS_POINTER_MAPS)?,
            objects,
        })
    }

    /// Place of the function's inlined calls, and the pc table of indexes into them.
    fn inline_tree(&self) -> Option<(&'a [u8], u32)> {
        let indexes = self.pcdata(PCDATA_INL_TREE_INDEX)?;
        Some((self.funcdata(FUNCDATA_INL_TREE)??, indexes))
    }

    /// The function that the code at `pc` was inlined from, and a pc whose position is its call.
    fn inlined_at(&self, pc: Vaddr) -> Option<(&'a str, Vaddr)> {
        let (tree, indexes) = self.inline_tree()?;
        let index = usize::try_from(self.table.value_at(indexes, self.entry, pc)?).ok()?;
        let (size, name, parent) = self.table.header.format.inlined_call();
        let call = tree.get(index.checked_mul(size)?..)?;
        let parent = self.entry.0.checked_add(u64::from(u32_at(call, parent)?))?;
        Some((self.table.name_at(u32_at(call, name)?), Vaddr(parent)))
    }

    /// The names of all functions inlined into this one, with repetitions, as offsets in the table
    /// of names.
    fn inlined_name_offsets(&self) -> impl Iterator<Item = u32> {
        let tree = self.inline_tree();
        let (size, name, _) = self.table.header.format.inlined_call();
        let count = tree.map_or(0, |(_, indexes)| self.table.highest_value(indexes));
        (0..count).map_while(move |index| u32_at(tree?.0.get(index * size..)?, name))
    }
}

impl Pclntab {
    /// One more than the highest value in the pc table at `offset`.
    fn highest_value(&self, offset: u32) -> usize {
        let tables = self
            .bytes()
            .and_then(|bytes| bytes.get(self.header.pctab_offset..self.header.pcln_offset));
        let Some(mut steps) = tables.and_then(|tables| tables.get(offset as usize..)) else {
            return 0;
        };
        let (mut value, mut highest, mut first) = (-1_i32, -1, true);
        while let Some(change) = varint(&mut steps) {
            if (change == 0 && !first) || varint(&mut steps).is_none() {
                break;
            }
            first = false;
            value = value.wrapping_add((change >> 1) as i32 ^ -((change & 1) as i32));
            highest = highest.max(value);
        }
        usize::try_from(highest.saturating_add(1)).unwrap_or(0)
    }
}

impl std::fmt::Debug for Function<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("entry", &self.entry)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// A zero-terminated text in a table of them.
fn text_at(texts: &[u8], offset: u32) -> &str {
    texts
        .get(offset as usize..)
        .and_then(|bytes| bytes.get(..memchr::memchr(0, bytes)?))
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or("?")
}

/// A varint of at most 32 bits from the front of `bytes`.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl Arch {
    /// Smallest instruction size, bytes.
    const fn pc_quantum(self) -> u64 {
        match self {
            Arch::Amd64 => 1,
            Arch::Arm64 => 4,
        }
    }
}
