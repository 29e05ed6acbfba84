//! What each Go version builds in each way, and gotrace on all of it: docs/matrix.md.
//!
//! This builds the programs; the matrix program of the integration tests checks them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use xshell::cmd;

use crate::fixtures::{self, Fixture};
use crate::go::Toolchain;
use crate::{cross, privilege, workspace};

/// The oldest version of Go that is supported.
pub(crate) const OLDEST: &str = "1.19.8";

/// The rows, oldest first.
const VERSIONS: [&str; 8] = [
    OLDEST, "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

/// Architectures of the programs.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// A way to build a program.
struct Column {
    name: &'static str,
    /// Whether C code is linked into it.
    cgo: bool,
    /// Arguments of `go build`.
    flags: &'static [&'static str],
    /// The column whose programs differ in symbols alone.
    with_symbols: Option<&'static str>,
}

const COLUMNS: &[Column] = &[
    Column {
        name: "symbols",
        cgo: false,
        flags: &[],
        with_symbols: None,
    },
    Column {
        name: "stripped",
        cgo: false,
        flags: &["-ldflags", "-s -w"],
        with_symbols: Some("symbols"),
    },
    Column {
        name: "PIE",
        cgo: false,
        flags: &["-buildmode=pie"],
        with_symbols: None,
    },
    Column {
        name: "stripped PIE",
        cgo: false,
        flags: &["-buildmode=pie", "-ldflags", "-s -w"],
        with_symbols: Some("PIE"),
    },
    Column {
        name: "cgo",
        cgo: true,
        flags: &[],
        with_symbols: None,
    },
    Column {
        name: "race",
        cgo: true,
        flags: &["-race"],
        with_symbols: None,
    },
    Column {
        name: "static",
        cgo: true,
        flags: &["-ldflags", "-linkmode external -extldflags -static"],
        with_symbols: None,
    },
];

/// Which part of the matrix is made.
#[derive(Args)]
pub(crate) struct Options {
    /// Go versions, separated by commas.
    #[arg(long = "go", value_name = "VERSION", value_delimiter = ',', default_values = VERSIONS)]
    versions: Vec<String>,
    /// Write the table into docs/matrix.md.
    #[arg(long)]
    write: bool,
}

impl Options {
    /// The oldest and the newest version: what a change is most likely to break.
    pub(crate) fn reduced() -> Options {
        let [.., newest] = VERSIONS;
        Options {
            versions: vec![OLDEST.to_owned(), newest.to_owned()],
            write: false,
        }
    }
}

/// Builds all cells and checks them; an error if one fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    check(options, &build(options)?)
}

/// The cells of a matrix, ready to be checked.
pub(crate) struct Built {
    /// Where it is written what they are.
    list: PathBuf,
    facts: PathBuf,
}

/// Builds all cells.
pub(crate) fn build(options: &Options) -> Result<Built> {
    let shell = workspace::shell()?;
    let facts = build_facts()?;
    cross::install()?;

    let home = workspace::target().join("matrix");
    let mut cells = Vec::new();
    for version in &options.versions {
        let toolchain = Toolchain::install(version)?;
        for arch in ARCHITECTURES {
            for column in COLUMNS {
                cells.push(cell(&toolchain, arch, column, &home));
            }
        }
    }
    let list = home.join("cells.json");
    shell.write_file(&list, Value::from(cells).to_string())?;
    Ok(Built { list, facts })
}

/// Checks cells that were built; an error if one fails.
pub(crate) fn check(options: &Options, built: &Built) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "matrix")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let program = workspace::target().join("debug/matrix");
    // As the tests are built: with what all of the workspace wants of a crate, so that none is built again.
    workspace::linted(&shell)
        .args(["build", "--locked", "--workspace", "--bin", "matrix"])
        .run()?;
    let mut check = cmd!(shell, "{program}")
        .arg(&built.list)
        .env("GOTRACE_BIN", gotrace)
        .env("GOTRACE_FACTS", &built.facts);
    if options.write {
        check = check.arg(workspace::root().join("docs/matrix.md"));
    }
    check.run().context("a cell of the matrix failed")
}

/// The program that says what gotrace finds out from a binary.
fn build_facts() -> Result<PathBuf> {
    let shell = workspace::shell()?;
    workspace::cargo(&shell)
        // Together with the program, so that what both use is built once.
        .args(["build", "--locked", "--release"])
        .args(["--package", "tracer-user", "--bin", "gotrace"])
        .args(["--package", "tracer-golang", "--example", "facts"])
        .run()?;
    Ok(workspace::target().join("release/examples/facts"))
}

/// Builds the programs of a cell. That they cannot be built is the cell's failure, not the end.
fn cell(toolchain: &Toolchain, arch: &'static str, column: &Column, home: &Path) -> Value {
    let directory = |column: &str| {
        home.join(format!("go{}", toolchain.version))
            .join(arch)
            .join(column.replace(' ', "-"))
    };
    let build = |name| {
        let fixture = Fixture {
            name,
            package: name,
            arch,
            cgo: column.cgo,
            flags: column.flags,
        };
        fixtures::build_one(toolchain, &fixture, &directory(column.name))
    };
    let built = build("truth").and_then(|_| build("counts"));
    json!({
        "go": toolchain.version,
        "command": toolchain.go,
        "arch": arch,
        "column": column.name,
        "cgo": column.cgo,
        "directory": directory(column.name),
        "with_symbols": column.with_symbols.map(directory),
        "error": built.err().map(|error| format!("{error:#}")),
    })
}
