//! The targets. Each takes any bytes, and must neither panic nor take long nor much memory.

use arbitrary::Unstructured;
use tracer_common::Hook;
use tracer_golang::binary::{Arch, GoBinary, Vaddr};
use tracer_golang::process::types::Types;
use tracer_golang::process::value::{Decoder, Limits};
use tracer_model::ids::Addr;

use crate::image::{self, Choices, FUNCTIONS, Image, typ};
use crate::world::{Garbage, World};

/// A whole file: ELF headers, segments, symbols, notes, relocations.
pub fn elf(data: &[u8]) {
    open(data.to_vec());
}

/// The build information, in a file that is fine otherwise.
pub fn build_info(data: &[u8]) {
    let image = Image::build(&Choices {
        build_info: Some(data),
        stripped: true,
        ..Choices::default()
    });
    open(image.bytes);
}

/// The pclntab and what it refers to. The first two bytes are the size of the latter.
pub fn pclntab(data: &[u8]) {
    let Some((gofunc, table)) = split(data) else {
        return;
    };
    let image = Image::build(&Choices {
        pclntab: Some(table),
        gofunc: Some(gofunc),
        ..Choices::default()
    });
    open(image.bytes);
}

/// DWARF. Whether it is compressed, then the size of the abbreviations in two bytes, those, and the
/// information.
pub fn dwarf(data: &[u8]) {
    let Some((&compressed, rest)) = data.split_first() else {
        return;
    };
    let Some((abbreviations, info)) = split(rest) else {
        return;
    };
    let image = Image::build(&Choices {
        dwarf: Some((info, abbreviations, compressed & 1 != 0)),
        ..Choices::default()
    });
    open(image.bytes);
}

/// Machine code of the runtime's functions. The first byte says which architecture, and whether
/// variables have to be found in the code; each function's code comes after its size.
pub fn code(data: &[u8]) {
    let Some((&flags, mut rest)) = data.split_first() else {
        return;
    };
    let mut code = Vec::new();
    while let Some((&size, after)) = rest.split_first() {
        let (function, after) = after.split_at(usize::from(size).min(after.len()));
        code.push(function);
        rest = after;
    }
    let image = Image::build(&Choices {
        arm64: flags & 1 != 0,
        stripped: flags & 2 != 0,
        pie: flags & 4 != 0,
        code: Some(code),
        ..Choices::default()
    });
    open(image.bytes);
}

/// Type descriptors: the bytes are a whole type section, and the memory that values lie in.
pub fn types(data: &[u8]) {
    const AT: u64 = 0x50_0000;
    let mut memory = Garbage::default();
    memory.map(AT, data.to_vec());
    let section = Addr(AT)..Addr(AT + data.len() as u64);
    decode(&memory, section);
}

/// Values: their memory is garbage, their types are fine.
pub fn values(data: &[u8]) {
    const AT: u64 = 0x50_0000;
    let types = image::types(AT);
    let section = Addr(AT)..Addr(AT + types.len() as u64);
    let mut memory = Garbage::default();
    memory.map(AT, types);
    memory.map(VALUES, data.to_vec());
    decode(&memory, section);
}

/// Where the target [`values`] puts its bytes.
pub const VALUES: u64 = 0x10_0000;

/// A process: a world of goroutines, channels and spans, of which words are garbage, and some change
/// while it is read.
pub fn process(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = World::new(&mut input).read();
}

/// What can be asked about a file.
fn open(bytes: Vec<u8>) {
    let Ok(binary) = GoBinary::parse(bytes) else {
        return;
    };
    let _ = binary.build_id().to_string();
    let _ = (binary.main_path(), binary.has_dwarf(), binary.is_pie());
    for hook in Hook::ALL {
        let Ok(site) = binary.hook_site(hook) else {
            continue;
        };
        let function = binary
            .pclntab()
            .lookup(&site.function)
            .expect("it was found there");
        assert_eq!(site.vaddr.0 - function.entry.0, site.offset_in_function);
        assert!(site.vaddr < function.end, "{site:?} is not in {function:?}");
        assert!(site.offset_in_function >= site.stack_check, "{site:?}");
        if binary.arch() == Arch::Arm64 {
            assert_eq!(site.offset_in_function % 4, 0, "{site:?}");
        }
        assert_eq!(binary.file_offset(site.vaddr), Some(site.file_offset));
    }
    let table = binary.pclntab();
    for function in table.functions().take(64) {
        for pc in [0, 1, function.size() / 2, function.size()] {
            let pc = Vaddr(function.entry.0.wrapping_add(pc));
            let _ = (
                table.frames(pc),
                function.sp_delta(pc),
                function.live_slots(pc),
            );
        }
    }
    let _ = table.inlined_into(FUNCTIONS);
}

fn decode(memory: &Garbage, section: std::ops::Range<Addr>) {
    let layout = image::layout(Arch::Amd64).types;
    let mut types = Types::new(layout, [section.clone()]);
    for at in (section.start.0..section.end.0).step_by(64) {
        let _ = types.get(memory, Addr(at));
    }
    let no_name = |_| None;
    for at in typ::ALL {
        let typ = Addr(section.start.0 + at);
        let mut decoder = Decoder::new(memory, &mut types, &no_name, Limits::default());
        let _ = decoder.decode_at(typ, Addr(VALUES));
        let _ = decoder.decode(typ, &[0xff; 72]);
        let _ = decoder.decode_at(typ, section.start);
    }
}

/// Two bytes of a size, as many bytes, and the rest.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))
}
