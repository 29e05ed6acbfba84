//! The table of the Go runtime's layouts, made from programs that real toolchains built.

use anyhow::Result;
use clap::Args;

use crate::go::{Toolchain, Versions};
use crate::workspace;

/// Architectures that gotrace reads.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Which versions, and what to do with them.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    versions: Versions,
    /// Change nothing: say where the table differs from these toolchains, field by field, and fail if
    /// it does.
    #[arg(long)]
    check: bool,
}

/// Builds a program that has every type of interest in it, by each version for each architecture,
/// and adds what its DWARF says to the table, or compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let root = workspace::root();
    let output = workspace::target().join("layouts");
    shell.create_dir(&output)?;
    let mut built = Vec::new();
    for version in &options.versions.versions {
        let toolchain = Toolchain::install(version)?;
        let _in_program = shell.push_dir(root.join("tests/programs/everything"));
        for arch in ARCHITECTURES {
            let program = output.join(format!("go{}-{arch}", toolchain.version));
            println!("layouts: building {}", program.display());
            toolchain
                .command(&shell)?
                .env("GOOS", "linux")
                .env("GOARCH", arch)
                .args(["build", "-o"])
                .arg(&program)
                .arg(".")
                .run()?;
            built.push(program);
        }
    }
    workspace::cargo(&shell)
        .args(["run", "--quiet", "--locked", "--package", "tracer-golang"])
        .args(["--example", "layouts", "--"])
        .args(options.check.then_some("--check"))
        .arg(root.join("tracer-golang/data/layouts.json"))
        .args(&built)
        .run()?;
    if options.check {
        println!("layouts: the table is what these toolchains say");
    }
    Ok(())
}
