//! What a Go binary says, compared with what the toolchain's own tools say about it.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;

use common::{Build, fixture, go, go_command, output};
use tracer_common::{FrameState, Hook};
use tracer_golang::binary::{
    Arch, BinaryError, GoBinary, LayoutOrigin, LayoutTable, SiteError, Vaddr,
};

fn open(build: Build<'_>) -> GoBinary {
    GoBinary::open(&fixture(build)).expect("the fixture can be read")
}

/// Name, address and size by `go tool nm`.
fn nm(build: Build<'_>) -> Vec<(String, u64, u64)> {
    output(
        go_command(&go())
            .args(["tool", "nm", "-size", "-type"])
            .arg(fixture(build)),
    )
    .lines()
    .filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let size = words.next()?.parse().ok()?;
        let name = words.nth(1)?;
        Some((name.to_owned(), address, size))
    })
    .collect()
}

fn symbol(symbols: &[(String, u64, u64)], name: &str) -> Vaddr {
    let found = symbols.iter().find(|(symbol, _, _)| symbol == name);
    Vaddr(found.unwrap_or_else(|| panic!("nm knows {name}")).1)
}

#[test]
fn says_what_it_is() {
    let binary = open(Build::EVERYTHING);
    let version = output(go_command(&go()).args(["env", "GOVERSION"]));
    assert_eq!(binary.arch(), Arch::Amd64);
    assert_eq!(binary.go_version().as_str(), version.trim());
    assert_eq!(binary.main_path(), Some("everything"));
    assert!(!binary.is_pie() && !binary.is_stripped() && binary.has_dwarf());
    assert_eq!(binary.layout_origin(), LayoutOrigin::Dwarf);
}

#[test]
fn variables_are_where_nm_says() {
    let binary = open(Build::EVERYTHING);
    let symbols = nm(Build::EVERYTHING);
    let variables = binary.variables();
    for (name, found) in [
        ("runtime.allgs", Some(variables.allgs)),
        ("runtime.allglen", Some(variables.allglen)),
        ("runtime.allgptr", Some(variables.allgptr)),
        ("runtime.firstmoduledata", Some(variables.firstmoduledata)),
        ("runtime.semtable", variables.semtable),
        ("runtime.mheap_", variables.mheap),
        ("runtime.allm", variables.allm),
        ("runtime.allp", variables.allp),
        ("runtime.sched", variables.sched),
        ("runtime.buildVersion", variables.buildversion),
    ] {
        assert_eq!(found, Some(symbol(&symbols, name)), "{name}");
    }
}

#[test]
fn functions_are_where_nm_says() {
    let binary = open(Build::EVERYTHING);
    let table = binary.pclntab();
    let mut compared = 0;
    for (name, address, size) in nm(Build::EVERYTHING) {
        let name = name.strip_suffix(".abi0").unwrap_or(&name);
        let Some(function) = table.function(Vaddr(address)) else {
            continue;
        };
        // Symbols of sections (`runtime.text`) and of wrappers share addresses with functions.
        if function.name != name || size == 0 {
            continue;
        }
        assert_eq!(function.entry, Vaddr(address), "{name}");
        assert!(
            function.size() >= size,
            "{name}: {} < {size}",
            function.size()
        );
        compared += 1;
    }
    assert!(
        compared > table.len() * 9 / 10,
        "{compared} of {}",
        table.len()
    );
    let park = table.lookup("runtime.gopark").expect("gopark");
    assert_eq!(
        table.function(park.entry).map(|f| f.name),
        Some("runtime.gopark")
    );
    assert!(table.lookup("runtime.gopar").is_none());
    assert!(
        table
            .lookup("runtime.goexit")
            .is_some_and(|f| f.is_top_frame())
    );
}

#[test]
fn wait_reasons_have_names() {
    use tracer_model::wait::WaitReason;
    let binary = open(Build::EVERYTHING);
    let reasons = binary.wait_reasons();
    assert_eq!(reasons.get(0), WaitReason::None);
    let unknown: Vec<_> = reasons
        .iter()
        .filter(|reason| matches!(reason, WaitReason::Unknown(_)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(
        reasons
            .iter()
            .any(|reason| reason == WaitReason::ChanReceive)
    );
    assert_eq!(reasons.get(255), WaitReason::Unknown(255));
}

#[test]
fn positions_are_those_of_addr2line() {
    let binary = open(Build::EVERYTHING);
    let table = binary.pclntab();
    let pcs: Vec<Vaddr> = table
        .functions()
        .step_by(7)
        .flat_map(|function| {
            [
                function.entry,
                Vaddr(function.entry.0 + function.size() / 3),
            ]
        })
        .collect();
    let mut command = go_command(&go());
    command
        .args(["tool", "addr2line"])
        .arg(fixture(Build::EVERYTHING))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = command.spawn().expect("go tool addr2line");
    let input: String = pcs.iter().map(|pc| format!("{pc}\n")).collect();
    let mut stdin = process.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let answer = process
        .wait_with_output()
        .expect("go tool addr2line")
        .stdout;
    writer
        .join()
        .expect("no panic")
        .expect("it reads its input");
    let answer = String::from_utf8(answer).expect("text");
    // Two lines a pc: the function (the outer one of inlined ones) and the innermost position.
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 2 * pcs.len());
    let mut inlined = 0;
    for (pc, lines) in pcs.iter().zip(lines.chunks(2)) {
        let frames = table.frames(*pc);
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            panic!("no frames at {pc}");
        };
        assert_eq!(&*last.function, lines[0], "{pc}");
        // Padding behind a function's code has no position.
        if !matches!(lines[1], "?:0" | ":-1") {
            assert_eq!(format!("{}:{}", first.file, first.line), lines[1], "{pc}");
        }
        assert!(!last.inlined && frames[..frames.len() - 1].iter().all(|frame| frame.inlined));
        inlined += frames.len() - 1;
    }
    assert!(inlined > 50, "only {inlined} inlined frames");
}

/// Addresses of a function's instructions and their text, by `go tool objdump`.
fn instructions(build: Build<'_>, function: &str) -> HashMap<u64, String> {
    output(
        go_command(&go())
            .args([
                "tool",
                "objdump",
                "-s",
                &format!("^{}$", function.replace('.', "\\.")),
            ])
            .arg(fixture(build)),
    )
    .lines()
    .filter_map(|line| {
        let (address, rest) = line.split_once("0x")?.1.split_once('\t')?;
        // The bytes, then the text.
        let text = rest.split('\t').filter(|field| !field.is_empty()).nth(1)?;
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        Some((address, text.trim().to_owned()))
    })
    .collect()
}

#[test]
fn sites_are_instructions_that_kernels_emulate() {
    for build in [
        Build::EVERYTHING,
        Build {
            arch: "arm64",
            ..Build::EVERYTHING
        },
    ] {
        let binary = open(build);
        let sites = binary.hook_sites().expect("every hook has a site");
        let hooks: Vec<Hook> = sites.iter().map(|site| site.hook).collect();
        assert_eq!(hooks, Hook::ALL);
        let file = std::fs::read(fixture(build)).expect("the fixture");
        for site in &sites {
            let known = instructions(build, &site.function);
            let text = known.get(&site.vaddr.0).unwrap_or_else(|| {
                panic!("{site:?} is no instruction: {known:?}");
            });
            let expected: &[&str] = match (binary.arch(), site.hook) {
                (_, Hook::Create) => &["CALL runtime.runqput"],
                (Arch::Amd64, Hook::ChanMake) => &["JE "],
                (Arch::Amd64, Hook::SelectEnd) => &["JLE "],
                (Arch::Amd64, _) => &["PUSHQ BP"],
                (Arch::Arm64, _) => &[
                    "CBZ",
                    "CBNZ",
                    "BHI",
                    "BLE",
                    "BNE",
                    "NOOP",
                    "NOP",
                    "ADRP",
                    "CALL runtime.casgstatus",
                ],
            };
            assert!(
                expected.iter().any(|start| text.starts_with(start)),
                "{site:?}: {text}"
            );
            let frame = match (binary.arch(), site.hook) {
                (_, Hook::Create | Hook::ChanMake | Hook::SelectEnd) | (Arch::Arm64, _) => {
                    FrameState::Built
                }
                (Arch::Amd64, _) => FrameState::AtPush,
            };
            assert_eq!(site.frame, frame, "{site:?}");
            assert_eq!(
                site.result.is_some(),
                matches!(site.hook, Hook::ChanMake | Hook::SelectEnd),
                "{site:?}"
            );
            let at = site.file_offset.0 as usize;
            assert_eq!(
                binary.file_bytes(site.vaddr, 4),
                file.get(at..at + 4),
                "{site:?}"
            );
        }
    }
}

/// The file's bytes as if it had no section headers: no symbols, no DWARF, no section names. All
/// addresses stay what they are.
fn sectionless(build: Build<'_>) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture(build)).expect("the fixture");
    // e_shoff; e_shnum and e_shstrndx
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    bytes
}

fn without_sections(build: Build<'_>) -> GoBinary {
    GoBinary::parse(sectionless(build)).expect("a stripped binary can be read")
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find(bytes, needle).expect("the file has it")
}

#[test]
fn refuses_what_it_cannot_read_and_says_why() {
    let good = sectionless(Build::EVERYTHING);
    let version = binary_version(&good);
    let patched = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let error = GoBinary::parse(bytes).expect_err("it is refused");
        // Every message says what to do, or what the file is.
        assert!(error.to_string().len() > 30, "{error}");
        error
    };
    use BinaryError as E;
    assert!(matches!(patched(&|bytes| bytes[0] = b'M'), E::NotElf));
    assert!(matches!(patched(&|bytes| bytes.truncate(2)), E::NotElf));
    assert!(matches!(
        patched(&|bytes| bytes.truncate(16)),
        E::Malformed(_)
    ));
    assert!(matches!(
        patched(&|bytes| bytes.truncate(100)),
        E::Malformed(_)
    ));
    assert!(matches!(patched(&|bytes| bytes[4] = 1), E::Not64Bit));
    let riscv = patched(&|bytes| bytes[18..20].copy_from_slice(&[243, 0]));
    assert!(
        matches!(&riscv, E::OtherArchitecture(name) if &**name == "riscv64"),
        "{riscv}"
    );
    let set_version = |bytes: &mut Vec<u8>, with: &str| {
        let info = find(bytes, b"\xff Go buildinf:\x08\x02");
        let at = info + find(&bytes[info..], version.as_bytes());
        bytes[at..at + with.len()].copy_from_slice(with.as_bytes());
    };
    let old = patched(&|bytes| set_version(bytes, "go1.17."));
    assert!(matches!(old, E::VersionTooOld(_)), "{old}");
    let unknown = patched(&|bytes| set_version(bytes, "golang-"));
    assert!(matches!(unknown, E::VersionUnknown(_)), "{unknown}");
    let newer = {
        let mut bytes = good.clone();
        set_version(&mut bytes, "go1.99.");
        GoBinary::parse(bytes).expect("a newer version is assumed to be like the newest")
    };
    assert!(
        matches!(newer.layout_origin(), LayoutOrigin::TableNewest(of) if of == version),
        "{:?}",
        newer.layout_origin()
    );
    let without_build_info = |bytes: &mut Vec<u8>| {
        let at = find(bytes, b"\xff Go buildinf:\x08\x02");
        bytes[at] = 0;
    };
    let no_version = patched(&|bytes| {
        without_build_info(bytes);
        let at = find(bytes, b"\0runtime.schedinit\0");
        bytes[at + 1] = b'R';
    });
    assert!(matches!(no_version, E::NoBuildInfo), "{no_version}");
    // The runtime itself knows its version.
    let no_build_info = {
        let mut bytes = good.clone();
        without_build_info(&mut bytes);
        GoBinary::parse(bytes).expect("the version is in the runtime as well")
    };
    assert_eq!(no_build_info.go_version().as_str(), version);
    assert_eq!(no_build_info.main_path(), None);
    assert_eq!(no_build_info.layout_origin(), LayoutOrigin::Table);
    let no_names = patched(&|bytes| {
        let at = find(bytes, b"\0runtime.allgadd\0");
        bytes[at + 1] = b'R';
    });
    assert!(
        matches!(no_names, E::Unrecognised("runtime.allgs")),
        "{no_names}"
    );
    // This test is a program, but no Go program.
    let this = std::env::current_exe().expect("this test's path");
    assert!(matches!(GoBinary::open(&this), Err(E::NotGo)));
    let absent = GoBinary::open("/nonexistent/program".as_ref()).expect_err("it is not there");
    assert!(
        absent.to_string().contains("/nonexistent/program"),
        "{absent}"
    );
}

fn binary_version(bytes: &[u8]) -> String {
    let binary = GoBinary::parse(bytes.to_vec()).expect("the fixture");
    binary.go_version().as_str().to_owned()
}

#[test]
fn a_hook_whose_function_is_gone_is_named() {
    let mut bytes = sectionless(Build::EVERYTHING);
    for (name, hook) in [("gopark", Hook::Park), ("selectgo", Hook::Select)] {
        let at = find(&bytes, format!("\0runtime.{name}\0").as_bytes());
        bytes[at + 1] = b'R';
        let binary = GoBinary::parse(bytes.clone()).expect("it can be read still");
        let error = binary.hook_site(hook).expect_err("the function is gone");
        assert!(matches!(error, SiteError::Absent { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("runtime.{name}")),
            "{error}"
        );
        // A program that never selects has no selectgo; but all goroutines park.
        let park = binary.hook_sites().expect_err("gopark is needed");
        assert!(park.to_string().contains("runtime.gopark"), "{park}");
    }
}

/// Foreign bytes give errors or other answers, but never a panic or an endless loop.
#[test]
fn survives_damaged_files() {
    let good = sectionless(Build::EVERYTHING);
    let binary = GoBinary::parse(good.clone()).expect("the fixture");
    let offset = |vaddr: Vaddr| binary.file_offset(vaddr).expect("in the file").0 as usize;
    let table = find(&good, b"\xf1\xff\xff\xff\0\0\x01\x08");
    let park = binary.pclntab().lookup("runtime.gopark").expect("gopark");
    let info = find(&good, b"\xff Go buildinf:\x08\x02");
    let module = offset(binary.variables().firstmoduledata);
    // Where damage matters: headers, the pclntab's header and tables, moduledata, code.
    let regions = [
        0..0x400,
        info..info + 0x80,
        table..table + 72,
        table..table + 0x9_0000,
        module..module + 0x240,
        offset(park.entry)..offset(park.end),
    ];
    // xorshift64, for the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..240 {
        let mut bytes = good.clone();
        let region = &regions[round % regions.len()];
        for _ in 0..1 + random(8) {
            let at = region.start + random(region.len());
            bytes[at] = match random(4) {
                0 => 0xff,
                1 => 0,
                _ => random(256) as u8,
            };
        }
        let Ok(binary) = GoBinary::parse(bytes) else {
            continue;
        };
        accepted += 1;
        let _ = binary.hook_sites();
        let _ = binary.build_id().to_string();
        for function in binary.pclntab().functions().step_by(11) {
            let middle = Vaddr(function.entry.0.wrapping_add(function.size() / 2));
            let _ = (binary.pclntab().frames(middle), function.sp_delta(middle));
        }
    }
    assert!(
        accepted > 20,
        "only {accepted} were readable enough to be tested"
    );
}

#[test]
fn a_stripped_file_says_the_same() {
    for build in [
        Build::EVERYTHING,
        Build {
            flags: &["-buildmode=pie"],
            ..Build::EVERYTHING
        },
        Build {
            arch: "arm64",
            ..Build::EVERYTHING
        },
        Build {
            arch: "arm64",
            flags: &["-buildmode=pie"],
            ..Build::EVERYTHING
        },
    ] {
        let full = open(build);
        let stripped = without_sections(build);
        assert!(stripped.is_stripped() && !stripped.has_dwarf(), "{build:?}");
        assert_eq!(stripped.layout_origin(), LayoutOrigin::Table, "{build:?}");
        assert_eq!(stripped.layout(), full.layout(), "{build:?}");
        assert_eq!(stripped.variables(), full.variables(), "{build:?}");
        assert_eq!(stripped.wait_reasons(), full.wait_reasons(), "{build:?}");
        assert_eq!(stripped.hook_sites(), full.hook_sites(), "{build:?}");
        assert_eq!(full.is_pie(), !build.flags.is_empty(), "{build:?}");
        assert_eq!(stripped.pclntab().len(), full.pclntab().len(), "{build:?}");
    }
}

/// Every Go version that is installed beside the tests' own is read the same way with and without
/// symbols: `cargo xtask setup` installs more than one.
#[test]
fn reads_every_installed_version() {
    for go in common::installed() {
        for arch in ["amd64", "arm64"] {
            let build = Build {
                arch,
                ..Build::EVERYTHING
            };
            let path = common::fixture_with(&go, build);
            let full = GoBinary::open(&path).expect("the fixture can be read");
            let version = full.go_version();
            let mut bytes = std::fs::read(&path).expect("the fixture");
            bytes[0x28..0x30].fill(0);
            bytes[0x3c..0x40].fill(0);
            let stripped = GoBinary::parse(bytes).expect("a stripped binary can be read");
            assert_eq!(stripped.layout(), full.layout(), "{version} {arch}");
            assert_eq!(stripped.variables(), full.variables(), "{version} {arch}");
            assert_eq!(
                stripped.wait_reasons(),
                full.wait_reasons(),
                "{version} {arch}"
            );
            let sites = full.hook_sites().expect("every hook has a site");
            assert_eq!(sites.len(), Hook::ALL.len(), "{version} {arch}");
            assert_eq!(
                stripped.hook_sites().as_ref(),
                Ok(&sites),
                "{version} {arch}"
            );
            for site in &sites {
                assert_ne!(site.frame, FrameState::Unknown, "{version} {arch} {site:?}");
            }
        }
    }
}

/// The committed table, against programs that every installed toolchain has just built.
#[test]
fn the_table_is_what_the_toolchains_say() {
    let table = LayoutTable::from_json(include_str!("../data/layouts.json")).expect("our own JSON");
    for go in common::installed() {
        for arch in ["amd64", "arm64"] {
            let build = Build {
                arch,
                ..Build::EVERYTHING
            };
            let path = common::fixture_with(&go, build);
            let binary = GoBinary::open(&path).expect("the fixture can be read");
            let differences = table.differences(&binary).expect("it has DWARF");
            assert!(differences.is_empty(), "{differences:#?}");
        }
    }
}
