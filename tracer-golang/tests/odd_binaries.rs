//! Binaries that are not what a plain `go build` makes: each is read, and what is read is true, or it
//! is refused with a reason. These tests need CAP_SYS_PTRACE or root, and a C compiler.

mod common;
mod target;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Build, fixture, go, go_command, output};
use target::Target;
use tracer_common::Hook;
use tracer_golang::binary::{BinaryError, GoBinary, LayoutOrigin, Vaddr};
use tracer_golang::process::{GoProcess, ReadOptions, ktime_now};
use tracer_model::snapshot::State;
use tracer_model::symbol::Symbolizer;
use tracer_model::wait::WaitReason;

/// Parks twenty goroutines in `main.receive`.
const PARKED: Build<'static> = Build {
    program: "parked",
    ..Build::EVERYTHING
};
const STRIPPED: Build<'static> = Build {
    flags: &["-ldflags=-s -w"],
    ..PARKED
};

/// A file of this test's own.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Writes an executable file.
fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = own(name);
    // It may be running still, from an earlier test: a new file, not new contents.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).expect("the directory is writable");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("it is ours");
    path
}

/// Builds a package of tests/programs with C code in it.
fn build_with_c(package: &str, flags: &[&str], name: &str) -> PathBuf {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs");
    let path = own(name);
    output(
        go_command(&go())
            .current_dir(programs.join(package))
            .env("CGO_ENABLED", "1")
            .args(["build", "-o"])
            .arg(&path)
            .args(flags)
            .arg("."),
    );
    path
}

/// The functions on the stacks of all goroutines that wait to receive, innermost first.
fn receivers(process: &mut GoProcess) -> Vec<Vec<String>> {
    let snapshot = process
        .snapshot(&ReadOptions::default(), &ktime_now)
        .expect("it can be read");
    assert!(snapshot.errors.is_empty(), "{:?}", snapshot.errors);
    let symbols = process.symbols();
    snapshot
        .goroutines
        .iter()
        .filter(|g| {
            g.state == State::Waiting
                && g.wait
                    .as_ref()
                    .is_some_and(|wait| wait.reason == WaitReason::ChanReceive)
        })
        .map(|g| {
            let stack = g.stack.expect("a parked goroutine has a stack");
            let pcs = &snapshot.stacks[stack.0 as usize];
            pcs.iter()
                .flat_map(|pc| symbols.frames(*pc).to_vec())
                .map(|frame| frame.function.to_string())
                .collect()
        })
        .collect()
}

/// That many goroutines wait in a function, and nobody else on its stack is unknown.
#[track_caller]
fn assert_receivers(process: &mut GoProcess, function: &str, count: usize) {
    let stacks = receivers(process);
    let inside = stacks
        .iter()
        .filter(|stack| stack.iter().any(|name| name == function));
    assert_eq!(inside.count(), count, "{stacks:#?}");
}

/// The bytes of a program with another version: in its build information, and in the variable that the
/// runtime says it by.
fn with_version(build: Build<'_>, version: &str) -> Vec<u8> {
    let path = fixture(build);
    let mut bytes = std::fs::read(&path).expect("the fixture");
    let binary = GoBinary::open(&path).expect("the fixture can be read");
    let magic = b"\xff Go buildinf:\x08\x02";
    let info = memchr::memmem::rfind(&bytes, magic).expect("it has build information") + 32;
    // In the place of the old version and the modules behind it.
    bytes[info] = version.len() as u8;
    bytes[info + 1..info + 1 + version.len()].copy_from_slice(version.as_bytes());
    bytes[info + 1 + version.len()] = 0;
    let variable = binary.variables().buildversion.expect("it was found");
    let header = binary.file_offset(variable).expect("in the file").0 as usize;
    let segment = binary
        .segments()
        .iter()
        .find(|segment| {
            (segment.offset.0..segment.offset.0 + segment.filesz).contains(&(info as u64))
        })
        .expect("the build information is loaded");
    let text = segment.vaddr.0 + info as u64 + 1 - segment.offset.0;
    bytes[header..header + 8].copy_from_slice(&text.to_le_bytes());
    bytes[header + 8..header + 16].copy_from_slice(&(version.len() as u64).to_le_bytes());
    bytes
}

#[test]
fn versions_with_more_than_a_number_are_read_and_said_to_be_assumed() {
    let own = output(go_command(&go()).args(["env", "GOVERSION"]));
    let own = own.trim();
    for (version, newer) in [
        (format!("{own}-X:goroutineleakprofile"), false),
        (format!("{own} (Red Hat 1.el9)"), false),
        ("go1.99.1".to_owned(), true),
        ("devel go1.99-abcdef".to_owned(), true),
    ] {
        let path = write("other-version", &with_version(STRIPPED, &version));
        let target = Target::start(&path, &["20"]);
        let mut process = target.attach();
        assert_eq!(process.binary().go_version().as_str(), version);
        let origin = process.binary().layout_origin();
        match newer {
            true => assert!(matches!(origin, LayoutOrigin::TableNewest(_)), "{origin}"),
            false => assert!(
                matches!(origin, LayoutOrigin::TableNearest(of) if of == own),
                "{origin}"
            ),
        }
        assert!(origin.is_assumed() && origin.to_string().contains("self-check"));
        assert_receivers(&mut process, "main.receive", 20);
    }
    // What has its own DWARF needs no assumption.
    let binary = GoBinary::parse(with_version(PARKED, "go1.99.1")).expect("it can be read");
    assert_eq!(binary.go_version().as_str(), "go1.99.1");
    let said = binary.layout_origin();
    assert_eq!(
        binary.layout(),
        GoBinary::open(&fixture(PARKED))
            .expect("it is fine")
            .layout()
    );
    assert!(said.is_assumed() || said == LayoutOrigin::Dwarf, "{said}");
}

#[test]
fn without_build_information_the_program_tells_its_version() {
    // By its symbols, and without those by the code that uses `runtime.buildVersion`.
    for (name, build) in [("no-build-info", PARKED), ("nothing-but-code", STRIPPED)] {
        let mut bytes = std::fs::read(fixture(build)).expect("the fixture");
        while let Some(at) = memchr::memmem::find(&bytes, b"\xff Go buildinf:\x08\x02") {
            bytes[at] = 0;
        }
        let target = Target::start(&write(name, &bytes), &["20"]);
        assert_receivers(&mut target.attach(), "main.receive", 20);
    }
}

#[test]
fn of_several_pclntabs_the_one_that_the_program_uses_is_taken() {
    let path = fixture(STRIPPED);
    let binary = GoBinary::open(&path).expect("the fixture can be read");
    let mut bytes = std::fs::read(&path).expect("the fixture");
    // No section names: then the magic is all there is.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let at = memchr::memmem::find(&bytes, b"\xf1\xff\xff\xff\0\0\x01\x08").expect("a pclntab");
    let segment = binary
        .segments()
        .iter()
        .find(|segment| {
            (segment.offset.0..segment.offset.0 + segment.filesz).contains(&(at as u64))
        })
        .expect("it is loaded");
    // A second header at the begin of the same segment, which is read first.
    let header = bytes[at..at + 72].to_vec();
    let planted = segment.offset.0 as usize;
    assert!(planted + 72 <= at);
    bytes[planted..planted + 72].copy_from_slice(&header);
    let read = GoBinary::parse(bytes).expect("only one of them is referred to");
    assert_eq!(read.variables(), binary.variables());
    assert_eq!(read.pclntab().len(), binary.pclntab().len());
}

#[test]
fn obfuscated_names_are_refused_as_such() {
    let mut bytes = std::fs::read(fixture(STRIPPED)).expect("the fixture");
    let names: Vec<usize> = memchr::memmem::find_iter(&bytes, b"\0runtime.").collect();
    assert!(names.len() > 500, "{}", names.len());
    for at in names {
        bytes[at + 1..at + 8].copy_from_slice(b"zXk3_qp");
    }
    let refused = GoBinary::parse(bytes).expect_err("it knows no function of the runtime");
    assert!(matches!(refused, BinaryError::Obfuscated), "{refused}");
    assert!(refused.to_string().contains("not obfuscated"), "{refused}");
}

#[test]
fn what_is_packed_is_refused_as_such() {
    let this = std::env::current_exe().expect("this test's path");
    let mut bytes = std::fs::read(this).expect("it is a file");
    bytes.extend(b"UPX!\0\0\0\0");
    let refused = GoBinary::parse(bytes).expect_err("it is no Go program on disk");
    assert!(matches!(refused, BinaryError::Packed), "{refused}");
    assert!(refused.to_string().contains("upx -d"), "{refused}");
}

#[test]
fn a_program_with_the_race_detector_is_read() {
    let path = build_with_c("parked", &["-race"], "race");
    let target = Target::start(&path, &["20"]);
    let mut process = target.attach();
    assert_receivers(&mut process, "main.receive", 20);
    let sites = process.binary().hook_sites().expect("probes can be placed");
    assert!(sites.iter().any(|site| site.hook == Hook::ChanRecv));
}

#[test]
fn go_code_in_a_c_program_is_read() {
    let archive = build_with_c("odd/embedded", &["-buildmode=c-archive"], "embedded.a");
    let program = own("embedded");
    let host =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/odd/embedded/host/main.c");
    output(
        Command::new("cc")
            .arg(&host)
            .arg(&archive)
            .args(["-lpthread", "-o"])
            .arg(&program),
    );
    let target = Target::start(&program, &[]);
    let mut process = target.attach();
    assert_receivers(&mut process, "main.receive", 5);
    process.binary().hook_sites().expect("probes can be placed");

    // In a shared library it is not: the program itself has no Go in it.
    let library = build_with_c("odd/embedded", &["-buildmode=c-shared"], "libembedded.so");
    let program = own("embedded-shared");
    output(
        Command::new("cc")
            .arg(&host)
            .arg(&library)
            .arg("-o")
            .arg(&program),
    );
    let refused = GoBinary::open(&program).expect_err("the program is C");
    assert!(matches!(refused, BinaryError::NotGo), "{refused}");
    assert!(refused.to_string().contains("shared library"), "{refused}");
}

#[test]
fn stacks_go_through_plugins() {
    let part = build_with_c("odd/plugged/part", &["-buildmode=plugin"], "part.so");
    let program = build_with_c("odd/plugged", &[], "plugged");
    let argument = part.to_str().expect("a path of text");
    let target = Target::start(&program, &[argument]);
    let mut process = target.attach();
    assert_eq!(process.modules().len(), 2);
    let stacks = receivers(&mut process);
    let through: Vec<_> = stacks
        .iter()
        .filter(|stack| stack.iter().any(|name| name == "main.work"))
        .collect();
    assert_eq!(through.len(), 5, "{stacks:#?}");
    for stack in through {
        let names: Vec<&str> = stack.iter().map(String::as_str).collect();
        let at = names.iter().position(|name| name.ends_with(".inner"));
        let at = at.unwrap_or_else(|| panic!("the plugin's function is named: {names:?}"));
        assert!(names[at + 1].ends_with(".Receive"), "{names:?}");
        assert_eq!(names[at + 2], "main.work", "{names:?}");
    }

    // Without the plugin's file, what is on the stack is said, and no more is made up.
    std::fs::remove_file(&part).expect("it is ours");
    let stacks = receivers(&mut target.attach());
    let cut = stacks
        .iter()
        .filter(|stack| stack.last().is_some_and(|name| name.starts_with("part.so")));
    assert_eq!(cut.count(), 5, "{stacks:#?}");
    assert!(
        GoBinary::open(&program)
            .expect("it is Go")
            .pclntab()
            .function(Vaddr(0))
            .is_none()
    );
}
