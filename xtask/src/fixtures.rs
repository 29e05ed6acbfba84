//! The Go programs that the tests trace, built by one toolchain.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::go::Toolchain;
use crate::workspace;

/// One program to build.
#[derive(Hash)]
struct Fixture {
    /// Name of the file.
    name: &'static str,
    /// Its package in tests/programs.
    package: &'static str,
    arch: &'static str,
    ldflags: &'static str,
}

const fn amd64(name: &'static str) -> Fixture {
    Fixture {
        name,
        package: name,
        arch: "amd64",
        ldflags: "",
    }
}

const FIXTURES: &[Fixture] = &[
    amd64("demo"),
    amd64("counts"),
    amd64("churn"),
    amd64("load"),
    amd64("many"),
    amd64("holders"),
    amd64("crowd"),
    amd64("hello"),
    Fixture {
        name: "hello-stripped",
        package: "hello",
        arch: "amd64",
        ldflags: "-s -w",
    },
    Fixture {
        name: "hello-386",
        package: "hello",
        arch: "386",
        ldflags: "",
    },
    Fixture {
        name: "hello-arm64",
        package: "hello",
        arch: "arm64",
        ldflags: "",
    },
];

/// Builds every program whose sources, flags or toolchain changed; returns their directory.
pub(crate) fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let sources = workspace::root().join("tests/programs");
    let output = workspace::target()
        .join("fixtures")
        .join(format!("go{}", toolchain.version));
    let shell = workspace::shell()?;
    shell.create_dir(&output)?;
    shell.change_dir(&sources);

    let mut hasher = DefaultHasher::new();
    toolchain.version.hash(&mut hasher);
    // What the programs share.
    fs::read(sources.join("go.mod"))?.hash(&mut hasher);
    hash_directory(&sources.join("internal"), &mut hasher)?;

    for fixture in FIXTURES {
        let mut hasher = hasher.clone();
        fixture.hash(&mut hasher);
        hash_directory(&sources.join(fixture.package), &mut hasher)?;
        let state = format!("{:016x}\n", hasher.finish());
        let stamp = output.join(format!(".{}.stamp", fixture.name));
        let program = output.join(fixture.name);
        if program.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == state) {
            continue;
        }
        println!("fixtures: building {}", program.display());
        let Fixture {
            package, ldflags, ..
        } = fixture;
        toolchain
            .command(&shell)?
            .env("GOOS", "linux")
            .env("GOARCH", fixture.arch)
            .args(["build", "-trimpath", "-ldflags", ldflags, "-o"])
            .arg(&program)
            .arg(format!("./{package}"))
            .run()?;
        fs::write(stamp, state)?;
    }
    Ok(output)
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
