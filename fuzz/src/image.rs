//! A Go program's file, made up: a few kilobytes that have all that gotrace looks for, any part of
//! which the fuzzer may put in its own words.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;
use tracer_golang::binary::Arch;
use tracer_golang::layout::{LayoutSource, MapLayout, RuntimeLayout};

/// Where the file is mapped, its first byte first.
pub const BASE: u64 = 0x40_0000;

/// The version that it says it was built by.
pub const VERSION: &str = "go1.27.3";

/// Zeroed memory behind the file's own, bytes: one half is scanned by the collector.
pub const BSS: u64 = 0x4_0000;

/// Functions of the program, in the order of their addresses.
pub const FUNCTIONS: [&str; 25] = [
    "runtime.goexit",
    "runtime.chansend",
    "runtime.chanrecv",
    "runtime.closechan",
    "runtime.selectgo",
    "runtime.gopark",
    "runtime.ready",
    "runtime.newproc1",
    "runtime.runqput",
    "runtime.newproc.func1",
    "runtime.gdestroy",
    "runtime.allgadd",
    "runtime.forEachG",
    "runtime.forEachGRace",
    "runtime.waitReason.String",
    "runtime.semacquire1",
    "runtime.spanOfHeap",
    "runtime.main",
    "main.main",
    "runtime.makechan",
    "runtime.execute",
    "runtime.send",
    "runtime.recv",
    "runtime.reentersyscall",
    "runtime.exitsyscall",
];

/// Wait reasons of the program: some that the model knows.
const REASONS: [&str; 8] = [
    "",
    "chan receive",
    "chan send",
    "select",
    "select (no cases)",
    "sleep",
    "sync.Mutex.Lock",
    "sync.WaitGroup.Wait",
];

/// Variables by symbol, as offsets in bss.
const VARIABLES: [(&str, u64); 8] = [
    ("runtime.allgs", 0),
    ("runtime.allgptr", 24),
    ("runtime.semtable", 0x100),
    ("runtime.allm", 32),
    ("runtime.allp", 40),
    ("runtime.sched", 0x6000),
    ("runtime.mheap_", 0x8000),
    ("runtime.allglen", BSS - 8),
];

/// What of the file the fuzzer chooses; the rest is as a linker would have it.
#[derive(Clone, Debug, Default)]
pub struct Choices<'a> {
    /// Position independent, pointers as relocations.
    pub pie: bool,
    /// No symbol table: variables have to be found in the code.
    pub stripped: bool,
    /// For arm64.
    pub arm64: bool,
    /// The build information behind its magic.
    pub build_info: Option<&'a [u8]>,
    /// The whole pclntab.
    pub pclntab: Option<&'a [u8]>,
    /// Data that the pclntab refers to: stack maps, inlined calls.
    pub gofunc: Option<&'a [u8]>,
    /// Code of each function in [`FUNCTIONS`]; what is missing is one return.
    pub code: Option<Vec<&'a [u8]>>,
    /// `.debug_info` and `.debug_abbrev`, compressed as the last field says.
    pub dwarf: Option<(&'a [u8], &'a [u8], bool)>,
    /// Runtime type data.
    pub types: Option<&'a [u8]>,
}

/// A file and where its parts are.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file.
    pub bytes: Vec<u8>,
    /// Addresses by name: of functions, variables and parts (`types`, `gofunc`, `pclntab`,
    /// `moduledata`).
    pub places: HashMap<&'static str, u64>,
}

/// The layouts of [`VERSION`], by the table that gotrace carries.
pub fn layout(arch: Arch) -> &'static RuntimeLayout {
    static AMD64: LazyLock<RuntimeLayout> = LazyLock::new(|| read_layout(Arch::Amd64));
    static ARM64: LazyLock<RuntimeLayout> = LazyLock::new(|| read_layout(Arch::Arm64));
    match arch {
        Arch::Amd64 => &AMD64,
        Arch::Arm64 => &ARM64,
    }
}

fn read_layout(arch: Arch) -> RuntimeLayout {
    struct Source<'a>(&'a Value);
    impl LayoutSource for Source<'_> {
        fn size(&self, strukt: &str) -> Option<u32> {
            u32::try_from(self.0[strukt]["size"].as_u64()?).ok()
        }

        fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
            u32::try_from(self.0[strukt]["fields"][field].as_u64()?).ok()
        }
    }
    let key = format!("{VERSION}/{arch}");
    let table = include_str!("../../tracer-golang/data/layouts.json");
    let table: Value = serde_json::from_str(table).expect("the table is JSON");
    let name = table["versions"][&key]
        .as_str()
        .expect("the version is there");
    RuntimeLayout::from_source(&Source(&table["layouts"][name])).expect("the table is complete")
}

/// Bytes of a word.
pub fn put(bytes: &mut [u8], at: u64, value: u64) {
    let at = at as usize;
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The pclntab of [`FUNCTIONS`], each `size` bytes long.
pub fn pclntab(quantum: u8, size: u32) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let mut names = Vec::new();
    let mut name_offsets = Vec::new();
    for name in FUNCTIONS {
        name_offsets.push(names.len() as u32);
        names.extend(name.bytes().chain([0]));
    }
    let units = words(&[0, 8]);
    let files = b"main.go\0proc.go\0".to_vec();
    // Value tables: a change, zigzag, and so many quanta of code; 0 ends.
    let steps = (size / u32::from(quantum)) as u8;
    let mut tables = vec![0];
    let mut table = |pairs: &[u8]| {
        let at = tables.len() as u32;
        tables.extend(pairs.iter().chain(&[0]));
        at
    };
    let sp = table(&[2, 8, 16, steps - 8]);
    let zero = table(&[2, steps]);
    let line = table(&[22, 4, 2, steps - 4]);
    let inline = table(&[0, 8, 2, steps - 8]);

    let function_table = 8 * FUNCTIONS.len() + 8;
    let mut functions = Vec::new();
    let mut records = Vec::new();
    for (index, name) in name_offsets.iter().enumerate() {
        let entry = index as u32 * size;
        let record = (function_table + records.len()) as u32;
        functions.extend(words(&[entry, record]));
        records.extend(words(&[entry, *name, 0, 0, sp, zero, line, 3, 0, 1]));
        let (id, flags) = if index == 0 { (1, 1) } else { (0, 0) };
        records.extend([id, flags, 0, 4]);
        records.extend(words(&[0, zero, inline]));
        // Maps of arguments and locals, objects, inlined calls.
        records.extend(words(&[0, 0, 16, 40]));
    }
    functions.extend(words(&[FUNCTIONS.len() as u32 * size, 0]));
    let parts = [names, units, files, tables, [functions, records].concat()];

    let mut header = 0xffff_fff1_u32.to_le_bytes().to_vec();
    header.extend([0, 0, quantum, 8]);
    let mut offset = 72;
    for word in [FUNCTIONS.len() as u64, 2, 0] {
        header.extend(word.to_le_bytes());
    }
    let mut body = Vec::new();
    for part in parts {
        header.extend((offset as u64).to_le_bytes());
        let padded = part.len().next_multiple_of(8);
        offset += padded;
        body.extend(part);
        body.resize(offset - 72, 0);
    }
    [header, body].concat()
}

/// What the pclntab's functions refer to: one map of one bitmap, one object, one inlined call.
pub fn gofunc() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 1;
    bytes[4] = 8;
    bytes[8] = 0b101;
    put(&mut bytes, 16, 1);
    bytes[24..28].copy_from_slice(&(-16_i32).to_le_bytes());
    bytes[28] = 16;
    // runtime.main's name, called at +4.
    bytes[44] = 0;
    bytes[48] = 4;
    bytes
}

/// Code as a compiler makes it, as far as gotrace looks for it.
fn code(
    index: usize,
    size: u64,
    variable: &dyn Fn(&str) -> u64,
    reasons: u64,
    text: u64,
) -> Vec<u8> {
    let entry = text + index as u64 * size;
    let mut code = Vec::new();
    // lea rax, [rip+x] (0x8d) or mov rax, [rip+x] (0x8b)
    let mention = |code: &mut Vec<u8>, opcode: u8, address: u64| {
        let next = entry + code.len() as u64 + 7;
        code.extend([0x48, opcode, 0x05]);
        code.extend((address.wrapping_sub(next) as u32).to_le_bytes());
    };
    let call = |code: &mut Vec<u8>, name: &str| {
        let callee = FUNCTIONS
            .iter()
            .position(|f| *f == name)
            .expect("it is there");
        let next = entry + code.len() as u64 + 5;
        code.push(0xe8);
        code.extend(((text + callee as u64 * size).wrapping_sub(next) as u32).to_le_bytes());
    };
    match FUNCTIONS[index] {
        "runtime.newproc.func1" => {
            call(&mut code, "runtime.newproc1");
            code.extend([0x48, 0x89, 0xc3]);
            call(&mut code, "runtime.runqput");
        }
        "runtime.allgadd" => {
            mention(&mut code, 0x8b, variable("runtime.allgs"));
            mention(&mut code, 0x8b, variable("runtime.allgs") + 16);
            mention(&mut code, 0x8b, variable("runtime.allglen"));
            mention(&mut code, 0x8b, variable("runtime.allgptr"));
        }
        "runtime.forEachG" => mention(&mut code, 0x8b, variable("runtime.allgs")),
        "runtime.forEachGRace" => {
            mention(&mut code, 0x8b, variable("runtime.allglen"));
            mention(&mut code, 0x8b, variable("runtime.allgptr"));
        }
        "runtime.waitReason.String" => {
            code.extend([0x3c, REASONS.len() as u8]);
            mention(&mut code, 0x8d, reasons);
        }
        // cmp rsp, [r14+16]; jbe to the end; push rbp; mov rbp, rsp
        _ => code.extend([
            0x49,
            0x3b,
            0x66,
            0x10,
            0x76,
            size as u8 - 8,
            0x55,
            0x48,
            0x89,
            0xe5,
        ]),
    }
    if ["runtime.makechan", "runtime.selectgo"].contains(&FUNCTIONS[index]) {
        // je to what follows: its last branch.
        code.extend([0x74, 0x00]);
    }
    code.push(0xc3);
    code
}

/// Bytes of code of each function.
pub const FUNCTION_SIZE: u64 = 96;

impl Image {
    /// Puts a file together.
    pub fn build(choices: &Choices<'_>) -> Image {
        let arch = if choices.arm64 {
            Arch::Arm64
        } else {
            Arch::Amd64
        };
        let quantum = if choices.arm64 { 4 } else { 1 };
        let layout = layout(arch);
        let mut file = vec![0; 0x200];
        let mut places = HashMap::new();
        let mut relocated: Vec<(u64, u64)> = Vec::new();
        let mut add = |file: &mut Vec<u8>, name: &'static str, bytes: &[u8]| {
            file.resize(file.len().next_multiple_of(16), 0);
            let at = BASE + file.len() as u64;
            file.extend(bytes);
            places.insert(name, at);
            at
        };

        // Data whose addresses nothing before it needs.
        let mut strings = Vec::new();
        let mut string = |text: &str| {
            let at = strings.len() as u64;
            strings.extend(text.bytes());
            (at, text.len() as u64)
        };
        let texts: Vec<_> = REASONS
            .iter()
            .chain([&VERSION])
            .map(|text| string(text))
            .collect();
        let strings_at = add(&mut file, "strings", &strings);
        let own = gofunc();
        let gofunc = add(&mut file, "gofunc", choices.gofunc.unwrap_or(&own));
        let own = types(BASE + file.len().next_multiple_of(16) as u64);
        let types = choices.types.unwrap_or(&own);
        let types_at = add(&mut file, "types", types);
        let own = pclntab(quantum, FUNCTION_SIZE as u32);
        let table = choices.pclntab.unwrap_or(&own);
        let pclntab = add(&mut file, "pclntab", table);
        let names = table.get(32..40).map_or(0, |word| {
            u64::from_le_bytes(word.try_into().expect("eight bytes"))
        });

        // The data segment: the wait reasons' strings, the version, then moduledata.
        let data = add(&mut file, "data", &[]);
        for (at, len) in texts {
            relocated.push((BASE + file.len() as u64, strings_at + at));
            file.extend((strings_at + at).to_le_bytes());
            file.extend(len.to_le_bytes());
        }
        let build_version = data + 16 * REASONS.len() as u64;
        let own = {
            let mut own = vec![8, 2];
            own.resize(18, 0);
            own.push(VERSION.len() as u8);
            own.extend(VERSION.bytes());
            let lines = "path\texample.org/made-up\n";
            own.push(32 + lines.len() as u8);
            own.extend([b'0'; 16]);
            own.extend(lines.bytes());
            own.extend([b'1'; 16]);
            own
        };
        let info = [b"\xff Go buildinf:", choices.build_info.unwrap_or(&own)].concat();
        add(&mut file, "build info", &info);
        let module_size = layout.moduledata.size as usize;
        let module = add(&mut file, "moduledata", &vec![0; module_size]);
        let text = add(&mut file, "text", &[]);
        // Code, of which the addresses of bss depend on the size.
        let code_size = FUNCTION_SIZE * FUNCTIONS.len() as u64;
        let code_at = file.len();
        file.resize(code_at + code_size as usize, 0x90);
        let end = BASE + file.len() as u64;
        // Relocations come behind the code: a page of them at most.
        let bss = end.next_multiple_of(0x1000) + 0x1000;
        let middle = bss + BSS / 2;
        let variable = |name: &str| {
            let (_, at) = VARIABLES
                .iter()
                .find(|(known, _)| *known == name)
                .expect("known");
            bss + at
        };
        for index in 0..FUNCTIONS.len() {
            let own = code(index, FUNCTION_SIZE, &variable, data, text);
            let given = choices
                .code
                .as_ref()
                .map(|code| code.get(index).copied().unwrap_or(&[]));
            let bytes = given.unwrap_or(&own);
            let bytes = &bytes[..bytes.len().min(FUNCTION_SIZE as usize)];
            let at = code_at + index * FUNCTION_SIZE as usize;
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }

        let at = |address: u64| address - BASE;
        for (offset, value) in [
            (0, pclntab),
            (8, pclntab.wrapping_add(names)),
            (layout.moduledata.text, text),
            (layout.moduledata.etext, text + code_size),
            (layout.moduledata.noptrdata, data),
            (layout.moduledata.enoptrdata, data),
            (layout.moduledata.data, data),
            (layout.moduledata.edata, module),
            (layout.moduledata.bss, bss),
            (layout.moduledata.ebss, middle),
            (layout.moduledata.noptrbss, middle),
            (layout.moduledata.enoptrbss, bss + BSS),
            (layout.moduledata.types, types_at),
            (layout.moduledata.etypes, types_at + types.len() as u64),
            (layout.moduledata.gofunc, gofunc),
        ] {
            let place = module + u64::from(offset);
            put(&mut file, at(place), value);
            relocated.push((place, value));
        }

        let loaded = file.len() as u64;
        let dynamic = choices.pie.then(|| {
            // In the file they would be zero.
            for (place, _) in &relocated {
                put(&mut file, at(*place), 0);
            }
            let kind = if choices.arm64 { 1027 } else { 8_u64 };
            let table: Vec<u8> = relocated
                .iter()
                .flat_map(|(place, value)| [*place, kind, *value])
                .flat_map(u64::to_le_bytes)
                .collect();
            let rela = add(&mut file, "relocations", &table);
            let entries: Vec<u8> = [7, rela, 8, table.len() as u64, 0, 0]
                .into_iter()
                .flat_map(u64::to_le_bytes)
                .collect();
            let dynamic = add(&mut file, "dynamic", &entries);
            (at(dynamic), entries.len() as u64)
        });
        let file_size = match choices.pie {
            true => file.len() as u64,
            false => loaded,
        };
        let memory_size = at(bss + BSS);

        let mut sections: Vec<(&str, u32, u64, u64, u64, u32, u64)> = Vec::new();
        if !choices.stripped {
            let mut names = vec![0];
            let mut symbols = vec![0; 24];
            let mut symbol = |name: &str, address: u64, size: u64| {
                symbols.extend((names.len() as u32).to_le_bytes());
                symbols.extend([1, 0, 1, 0]);
                symbols.extend(address.to_le_bytes());
                symbols.extend(size.to_le_bytes());
                names.extend(name.bytes().chain([0]));
            };
            for (name, offset) in VARIABLES {
                symbol(name, bss + offset, 8);
            }
            symbol("runtime.buildVersion", build_version, 16);
            symbol("runtime.waitReasonStrings", data, 16 * REASONS.len() as u64);
            let place = at(add(&mut file, "symbols", &symbols));
            sections.push((".symtab", 2, place, symbols.len() as u64, 24, 2, 0));
            let place = at(add(&mut file, "symbol names", &names));
            sections.push((".strtab", 3, place, names.len() as u64, 0, 0, 0));
        }
        if let Some((info, abbreviations, compressed)) = choices.dwarf {
            for (name, bytes) in [(".debug_info", info), (".debug_abbrev", abbreviations)] {
                let place = at(add(&mut file, "dwarf", bytes));
                let flags = if compressed { 0x800 } else { 0 };
                sections.push((name, 1, place, bytes.len() as u64, 0, 0, flags));
            }
        }
        let mut section_table = 0;
        if !sections.is_empty() {
            let mut names = vec![0];
            let mut headers = vec![0; 64];
            sections.push((".shstrtab", 3, 0, 0, 0, 0, 0));
            let all: usize = sections.iter().map(|section| section.0.len() + 1).sum();
            let names_at = file.len() as u64;
            for (name, kind, place, size, entry, link, flags) in &sections {
                let (place, size) = match *name {
                    ".shstrtab" => (names_at, all as u64 + 1),
                    _ => (*place, *size),
                };
                headers.extend((names.len() as u32).to_le_bytes());
                headers.extend(kind.to_le_bytes());
                // The link to another section and what it means are one word here.
                for word in [*flags, 0, place, size, u64::from(*link), 1, *entry] {
                    headers.extend(word.to_le_bytes());
                }
                names.extend(name.bytes().chain([0]));
            }
            file.extend(names);
            section_table = at(add(&mut file, "section headers", &headers));
        }

        // The header and what is loaded.
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let machine = if choices.arm64 { 183 } else { 62_u16 };
        file[16..18].copy_from_slice(&[if choices.pie { 3 } else { 2 }, 0]);
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[20] = 1;
        put(&mut file, 24, text);
        put(&mut file, 32, 64);
        put(&mut file, 40, section_table);
        file[52] = 64;
        file[54] = 56;
        file[56] = 1 + u8::from(dynamic.is_some());
        file[58] = 64;
        let count = if sections.is_empty() {
            0
        } else {
            sections.len() as u8 + 1
        };
        file[60] = count;
        file[62] = count.saturating_sub(1);
        // Readable, writable, executable: everything is in one segment.
        let load = [
            (7_u64 << 32) | 1,
            0,
            BASE,
            BASE,
            file_size,
            memory_size,
            0x1000,
        ];
        let link = dynamic.map(|(at, size)| [(4_u64 << 32) | 2, at, BASE + at, 0, size, size, 8]);
        for (index, header) in [Some(load), link].into_iter().flatten().enumerate() {
            for (word, value) in header.into_iter().enumerate() {
                put(&mut file, (64 + 56 * index + 8 * word) as u64, value);
            }
        }
        for (index, name) in FUNCTIONS.into_iter().enumerate() {
            places.insert(name, text + index as u64 * FUNCTION_SIZE);
        }
        for (name, offset) in VARIABLES {
            places.insert(name, bss + offset);
        }
        places.insert("bss", bss);
        places.insert("runtime.buildVersion", build_version);
        Image {
            bytes: file,
            places,
        }
    }

    /// The program's memory as it is when it starts, from [`BASE`] on.
    pub fn memory(&self) -> Vec<u8> {
        let mut memory = self.bytes.clone();
        let size = self.places["bss"] + BSS - BASE;
        // What is behind the file's loaded part is zero.
        let loaded = u64::from_le_bytes(self.bytes[96..104].try_into().expect("eight bytes"));
        memory.truncate(loaded as usize);
        memory.resize(size as usize, 0);
        memory
    }
}

/// Bytes of [`types`].
const TYPES_SIZE: usize = 0x800;

/// Type descriptors: offsets in [`types`].
pub mod typ {
    /// `int`
    pub const INT: u64 = 0x200;
    /// `*main.T`
    pub const POINTER: u64 = 0x280;
    /// `main.T`, a struct with an int, a pointer to its own type, a string, a slice and an interface.
    pub const STRUCT: u64 = 0x300;
    /// `string`
    pub const STRING: u64 = 0x400;
    /// `[]int`
    pub const SLICE: u64 = 0x480;
    /// `any`
    pub const ANY: u64 = 0x500;
    /// `map[int]string`
    pub const MAP: u64 = 0x580;
    /// `[4]main.T`
    pub const ARRAY: u64 = 0x680;
    /// `chan int`
    pub const CHAN: u64 = 0x700;
    /// The fields of the struct.
    pub(super) const FIELDS: u64 = 0x780;
    /// All types.
    pub const ALL: [u64; 9] = [INT, POINTER, STRUCT, STRING, SLICE, ANY, MAP, ARRAY, CHAN];
}

/// Type data of a small program that lies at `base`.
pub fn types(base: u64) -> Vec<u8> {
    let layout = layout(Arch::Amd64).types;
    let mut bytes = vec![0; TYPES_SIZE];
    let mut names = 0x10_usize;
    let mut name = |bytes: &mut Vec<u8>, text: &str| {
        let at = names;
        bytes[at + 1] = text.len() as u8;
        bytes[at + 2..at + 2 + text.len()].copy_from_slice(text.as_bytes());
        names += text.len() + 2;
        at as u64
    };
    for (at, text, kind, size, pointers) in [
        (typ::INT, "int", 2, 8, 0),
        (typ::POINTER, "*main.T", 22, 8, 8),
        (typ::STRUCT, "main.T", 25, 72, 72),
        (typ::STRING, "string", 24, 16, 8),
        (typ::SLICE, "[]int", 23, 24, 8),
        (typ::ANY, "interface {}", 20, 16, 16),
        (typ::MAP, "map[int]string", 21, 8, 8),
        (typ::ARRAY, "[4]main.T", 17, 288, 288),
        (typ::CHAN, "chan int", 18, 8, 8),
    ] {
        let head = layout.head;
        let text = name(&mut bytes, text);
        put(&mut bytes, at + u64::from(head.bytes), size);
        put(&mut bytes, at + u64::from(head.ptr_bytes), pointers);
        bytes[at as usize + head.align as usize] = 8;
        bytes[at as usize + head.kind as usize] = kind;
        let place = at as usize + head.name as usize;
        bytes[place..place + 4].copy_from_slice(&(text as u32).to_le_bytes());
    }
    let fields = typ::STRUCT + u64::from(layout.strukt.fields);
    for (at, value) in [
        (typ::POINTER + u64::from(layout.pointer.elem), typ::STRUCT),
        (typ::SLICE + u64::from(layout.slice.elem), typ::INT),
        (typ::ARRAY + u64::from(layout.array.elem), typ::STRUCT),
        (typ::CHAN + u64::from(layout.chan.elem), typ::INT),
        (fields, typ::FIELDS),
    ] {
        put(&mut bytes, at, base + value);
    }
    put(&mut bytes, typ::ARRAY + u64::from(layout.array.len), 4);
    put(&mut bytes, fields + 8, 5);
    for (index, (text, typ, offset)) in [
        ("N", typ::INT, 0),
        ("Next", typ::POINTER, 8),
        ("Text", typ::STRING, 16),
        ("List", typ::SLICE, 32),
        ("Any", typ::ANY, 56),
    ]
    .into_iter()
    .enumerate()
    {
        let field = typ::FIELDS + index as u64 * u64::from(layout.field.size);
        let text = name(&mut bytes, text);
        put(
            &mut bytes,
            field + u64::from(layout.field.name),
            base + text,
        );
        put(&mut bytes, field + u64::from(layout.field.typ), base + typ);
        put(&mut bytes, field + u64::from(layout.field.offset), offset);
    }
    if let Some(MapLayout::Swiss { typ: map, .. }) = layout.map {
        for (at, value) in [
            (Some(map.key), base + typ::INT),
            (Some(map.elem), base + typ::STRING),
            (Some(map.group_size), 8 + 8 * 24),
            (map.keys_off, 8),
            (map.key_stride, 8),
            (map.elems_off, 8 + 8 * 8),
            (map.elem_stride, 16),
        ] {
            if let Some(at) = at {
                put(&mut bytes, typ::MAP + u64::from(at), value);
            }
        }
    }
    bytes
}
