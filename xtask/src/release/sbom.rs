//! The bill of materials: every crate that the program is built of, in the format of CycloneDX.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::Shell;

use crate::portable::Arch;
use crate::workspace;

/// cargo-cyclonedx, from crates.io.
const CARGO_CYCLONEDX: &str = "0.5.9";
const PACKAGE: &str = "tracer-user";

/// Writes it.
///
/// # Errors
/// The tool cannot be built, or does not name the program's crates.
pub(super) fn write(shell: &Shell, arch: Arch, date: u64, file: &Path) -> Result<()> {
    let tool = install(shell)?;
    let name = "bom";
    shell
        .cmd(&tool)
        .args([
            "cyclonedx",
            "--format",
            "json",
            "--spec-version",
            "1.5",
            "--target",
            arch.target(),
        ])
        .args(["--override-filename", name])
        .env("SOURCE_DATE_EPOCH", date.to_string())
        .quiet()
        .run()?;
    // It writes one beside the manifest of each crate.
    let written = format!("{name}.json");
    let bill = workspace::root().join(PACKAGE).join(&written);
    let text = fs::read_to_string(&bill).context("cargo-cyclonedx wrote nothing")?;
    let metadata = workspace::metadata(shell)?;
    for package in metadata["packages"].as_array().context("it has packages")? {
        let manifest = package["manifest_path"].as_str().context("it has one")?;
        shell.remove_path(Path::new(manifest).with_file_name(&written))?;
    }
    let parsed: Value = serde_json::from_str(&text)?;
    let crates = parsed["components"].as_array().map_or(0, Vec::len);
    ensure!(crates > 0, "the bill of materials names no crate");
    // Where it was built is nobody's business, and differs from machine to machine.
    let here = format!("file://{}", workspace::root().display());
    fs::write(file, text.replace(&here, "file:///gotrace"))?;
    println!("release: for {} built of {crates} crates", arch.short());
    Ok(())
}

/// Finds the tool in the cache, or builds it there.
fn install(shell: &Shell) -> Result<PathBuf> {
    let home = workspace::cache()?.join(format!("cargo-cyclonedx-{CARGO_CYCLONEDX}"));
    let program = home.join("bin/cargo-cyclonedx");
    if !program.exists() {
        println!(
            "setup: building cargo-cyclonedx {CARGO_CYCLONEDX} into {}",
            home.display()
        );
        workspace::cargo(shell)
            .args(["install", "--quiet", "cargo-cyclonedx", "--locked"])
            .args(["--version", CARGO_CYCLONEDX, "--root"])
            .arg(&home)
            .run()?;
    }
    Ok(program)
}
