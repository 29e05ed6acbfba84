//! The table of the Go runtime's layouts, made from programs that real toolchains built.

use anyhow::Result;

use crate::go::Toolchain;
use crate::workspace;

/// Architectures that gotrace reads.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Builds a program that has every type of interest in it, by each version for each architecture,
/// and adds what its DWARF says to the table.
pub(crate) fn add(versions: &[String]) -> Result<()> {
    let shell = workspace::shell()?;
    let root = workspace::root();
    let output = workspace::target().join("layouts");
    shell.create_dir(&output)?;
    let mut built = Vec::new();
    for version in versions {
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
        .arg(root.join("tracer-golang/data/layouts.json"))
        .args(&built)
        .run()?;
    Ok(())
}
