//! The Go programs that the tests trace, built by one toolchain.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::go::Toolchain;
use crate::{cross, workspace};

/// One program to build.
#[derive(Hash)]
pub(crate) struct Fixture {
    /// Name of the file.
    pub(crate) name: &'static str,
    /// Its package in tests/programs.
    pub(crate) package: &'static str,
    pub(crate) arch: &'static str,
    /// Whether C code is linked into it.
    pub(crate) cgo: bool,
    /// Further arguments of `go build`.
    pub(crate) flags: &'static [&'static str],
}

impl Fixture {
    /// The program of a package, as `go build` makes it.
    pub(crate) const fn plain(name: &'static str, arch: &'static str) -> Fixture {
        Fixture {
            name,
            package: name,
            arch,
            cgo: false,
            flags: &[],
        }
    }
}

const fn amd64(name: &'static str) -> Fixture {
    Fixture::plain(name, "amd64")
}

const FIXTURES: &[Fixture] = &[
    amd64("demo"),
    amd64("counts"),
    amd64("churn"),
    amd64("load"),
    amd64("flow"),
    amd64("ledger"),
    amd64("many"),
    amd64("holders"),
    amd64("orders"),
    amd64("stuck"),
    amd64("turnover"),
    amd64("late"),
    amd64("service"),
    amd64("crowd"),
    amd64("trends"),
    amd64("heldopen"),
    amd64("corrupt"),
    amd64("hello"),
    amd64("relay"),
    Fixture {
        package: "hello",
        flags: &["-ldflags", "-s -w"],
        ..amd64("hello-stripped")
    },
    Fixture {
        package: "hello",
        arch: "386",
        ..amd64("hello-386")
    },
    Fixture {
        package: "hello",
        arch: "arm64",
        ..amd64("hello-arm64")
    },
];

/// Builds every program whose sources, flags or toolchain changed; returns their directory.
pub(crate) fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    build_all(toolchain, FIXTURES)
}

/// Builds the few programs that are to be traced beside those of another toolchain; returns their directory.
pub(crate) fn build_oldest(toolchain: &Toolchain) -> Result<PathBuf> {
    build_all(toolchain, &[amd64("counts")])
}

fn build_all(toolchain: &Toolchain, fixtures: &[Fixture]) -> Result<PathBuf> {
    let output = workspace::target()
        .join("fixtures")
        .join(format!("go{}", toolchain.version));
    for fixture in fixtures {
        build_one(toolchain, fixture, &output)?;
    }
    Ok(output)
}

/// Builds one program into a directory, unless it is there and nothing changed; returns its path.
pub(crate) fn build_one(
    toolchain: &Toolchain,
    fixture: &Fixture,
    output: &Path,
) -> Result<PathBuf> {
    let sources = workspace::root().join("tests/programs");
    let shell = workspace::shell()?;
    shell.create_dir(output)?;
    shell.change_dir(&sources);

    let mut hasher = DefaultHasher::new();
    toolchain.version.hash(&mut hasher);
    // What the programs share.
    fs::read(sources.join("go.mod"))?.hash(&mut hasher);
    hash_directory(&sources.join("internal"), &mut hasher)?;
    fixture.hash(&mut hasher);
    hash_directory(&sources.join(fixture.package), &mut hasher)?;
    let state = format!("{:016x}\n", hasher.finish());

    let stamp = output.join(format!(".{}.stamp", fixture.name));
    let program = output.join(fixture.name);
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == state) {
        return Ok(program);
    }
    println!("fixtures: building {}", program.display());
    let Fixture { package, flags, .. } = fixture;
    let mut command = toolchain
        .command(&shell)?
        .env("GOOS", "linux")
        .env("GOARCH", fixture.arch);
    if fixture.cgo {
        command = command.env("CGO_ENABLED", "1");
        if fixture.arch == "arm64" {
            command = command.env("CC", cross::COMPILER);
        }
    }
    let built = command
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .args(*flags)
        .arg(format!("./{package}"))
        .ignore_status()
        .output()?;
    ensure!(
        built.status.success(),
        "go build failed: {}",
        String::from_utf8_lossy(&built.stderr).trim()
    );
    fs::write(stamp, state)?;
    Ok(program)
}

/// Hashes names and contents of all files below a directory.
fn hash_directory(directory: &Path, hasher: &mut impl Hasher) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            hash_directory(&path, hasher)?;
        } else {
            path.file_name().hash(hasher);
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}
