//! Writes the inputs that fuzzing begins with into the corpus: `cargo run --example seeds`.

use std::io;
use std::path::Path;

use gotrace_fuzz::image::{self, Choices, FUNCTION_SIZE, FUNCTIONS, Image};
use gotrace_fuzz::targets::VALUES;

#[path = "../../tracer-record/tests/common/mod.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod recording;

fn main() -> io::Result<()> {
    let whole = recording::file(1);
    write("recording", "whole", &[&[1], &whole[..]].concat())?;
    write(
        "recording",
        "cut",
        &[&[1], &whole[..whole.len() / 2]].concat(),
    )?;
    write("recording", "blocks", &blocks(&whole)?)?;
    for (name, choices) in [
        ("fixed", Choices::default()),
        (
            "pie",
            Choices {
                pie: true,
                ..Choices::default()
            },
        ),
        (
            "stripped",
            Choices {
                stripped: true,
                ..Choices::default()
            },
        ),
        (
            "arm64",
            Choices {
                arm64: true,
                ..Choices::default()
            },
        ),
    ] {
        write("elf", name, &Image::build(&choices).bytes)?;
    }

    write("build_info", "plain", &build_info("go1.27.3"))?;
    write(
        "build_info",
        "vendor",
        &build_info("go1.25.5 (Red Hat 1.25.5-1.el9)"),
    )?;
    write(
        "build_info",
        "development",
        &build_info("devel go1.28-0123abc"),
    )?;

    let table = image::pclntab(1, FUNCTION_SIZE as u32);
    write(
        "pclntab",
        "sound",
        &[sized(&image::gofunc()), table].concat(),
    )?;

    for (name, version) in [("four", 4), ("five", 5)] {
        let (info, abbreviations) = dwarf(version);
        write(
            "dwarf",
            name,
            &[vec![0], sized(&abbreviations), info.clone()].concat(),
        )?;
        let input = [vec![1], sized(&zlib(&abbreviations)), zlib(&info)].concat();
        write("dwarf", &format!("{name}-compressed"), &input)?;
    }

    for (name, flags) in [("amd64", 0), ("arm64", 1), ("amd64-stripped-pie", 6)] {
        write("code", name, &code(flags))?;
    }

    write("types", "sound", &image::types(0x50_0000))?;
    write("values", "sound", &values())?;
    // Every third byte tells a kind of change from the others.
    let changes: Vec<u8> = (0..600_u32).map(|n| (n * 7 + n / 5) as u8).collect();
    write("process", "sound", &[])?;
    write("process", "some-changes", &changes[..40])?;
    write("process", "many-changes", &changes)
}

/// The blocks of a recording as the target puts them together again, not compressed.
fn blocks(mut file: &[u8]) -> io::Result<Vec<u8>> {
    let mut input = vec![0];
    while let Some((header, rest)) = file.split_first_chunk::<40>() {
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four"));
        let (stored, rest) = rest.split_at(word(8) as usize);
        file = rest;
        let payload = match header[5] {
            0 => stored.to_vec(),
            _ => zstd::decode_all(stored)?,
        };
        // Kind 7 is the index, whose own beginning is told from its end.
        if header[4] != 7 {
            input.push(header[4]);
            input.extend((payload.len() as u16).to_le_bytes());
            input.extend(payload);
        }
    }
    Ok(input)
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join(format!("seed-{name}")), bytes)
}

/// A part behind its size in two bytes.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// What follows the magic.
fn build_info(version: &str) -> Vec<u8> {
    let mut bytes = vec![8, 2];
    bytes.resize(18, 0);
    bytes.push(version.len() as u8);
    bytes.extend(version.bytes());
    bytes.push(32 + 12);
    bytes.extend([b'0'; 16]);
    bytes.extend(b"path\ta.org/b");
    bytes.extend([b'1'; 16]);
    bytes
}

/// Some structs as the Go linker describes them.
fn dwarf(version: u16) -> (Vec<u8>, Vec<u8>) {
    // Code, tag, children, then attributes with their forms.
    let abbreviations = [
        &[1, 0x11, 1, 0x03, 0x08, 0, 0][..],
        &[2, 0x13, 1, 0x03, 0x08, 0x0b, 0x0f, 0, 0],
        &[3, 0x0d, 0, 0x03, 0x08, 0x38, 0x0f, 0x49, 0x10, 0, 0],
        &[4, 0x16, 0, 0x03, 0x08, 0x49, 0x10, 0, 0],
        &[5, 0x01, 0, 0x0b, 0x0f, 0, 0],
        &[0],
    ]
    .concat();
    let mut info = vec![0; 4];
    info.extend(version.to_le_bytes());
    match version {
        5 => info.extend([1, 8, 0, 0, 0, 0]),
        _ => info.extend([0, 0, 0, 0, 8]),
    }
    let text = |info: &mut Vec<u8>, text: &str| info.extend(text.bytes().chain([0]));
    info.push(1);
    text(&mut info, "runtime");
    let array = info.len() as u32;
    info.extend([5, 0x80, 0x7d]);
    let nested = info.len() as u32;
    info.push(2);
    text(&mut info, "runtime.gobuf");
    info.push(48);
    for (name, offset) in [("sp", 0), ("pc", 8), ("g", 16)] {
        info.push(3);
        text(&mut info, name);
        info.push(offset);
        info.extend(array.to_le_bytes());
    }
    info.push(0);
    let typedef = info.len() as u32;
    info.push(4);
    text(&mut info, "runtime.gobuf");
    info.extend(nested.to_le_bytes());
    info.push(2);
    text(&mut info, "runtime.g");
    info.extend([0xc8, 0x03]);
    for (name, offset, kind) in [("goid", 100, array), ("sched", 56, typedef)] {
        info.push(3);
        text(&mut info, name);
        info.push(offset);
        info.extend(kind.to_le_bytes());
    }
    info.push(0);
    info.push(4);
    text(&mut info, "runtime.semTable");
    info.extend(array.to_le_bytes());
    info.push(0);
    let length = info.len() as u32 - 4;
    info[..4].copy_from_slice(&length.to_le_bytes());
    (info, abbreviations)
}

/// A compressed section with one block that is stored as it is.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let size = bytes.len() as u16;
    let mut out = [1_u64, bytes.len() as u64, 1]
        .map(u64::to_le_bytes)
        .concat();
    out.extend([0x78, 0x01, 0x01]);
    out.extend(size.to_le_bytes());
    out.extend((!size).to_le_bytes());
    out.extend(bytes);
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// The code of all functions as it is in a sound program.
fn code(flags: u8) -> Vec<u8> {
    let image = Image::build(&Choices {
        pie: flags & 4 != 0,
        stripped: flags & 2 != 0,
        ..Choices::default()
    });
    let mut input = vec![flags];
    for name in FUNCTIONS {
        let at = (image.places[name] - image::BASE) as usize;
        let mut code = image.bytes[at..at + FUNCTION_SIZE as usize].to_vec();
        if flags & 1 != 0 {
            // ldr x16, [x28, #16]; cmp sp, x16; b.ls; str x30; stur x29; sub x29; cbz x0; nop
            code = [
                0xf940_0b90_u32,
                0xeb30_63ff,
                0x5400_0109,
                0xf81f_0ffe,
                0xf81f_83fd,
                0xd100_23fd,
                0xb400_0040,
                0xd503_201f,
                0xd65f_03c0,
            ]
            .map(u32::to_le_bytes)
            .concat();
        }
        input.push(code.len() as u8);
        input.extend(code);
    }
    input
}

/// A struct that points to itself, a string, a slice, a map.
fn values() -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    for (at, value) in [
        (0, 7),
        (8, VALUES),
        (16, VALUES + 0x100),
        (24, 5),
        (32, VALUES + 0x40),
        (40, 3),
        (48, 4),
        (56, 0x50_0200),
        (64, VALUES + 0x48),
        (0x80, 2),
        (0x90, VALUES + 0x110),
    ] {
        image::put(&mut bytes, at, value);
    }
    bytes[0x100..0x105].copy_from_slice(b"hello");
    bytes
}
