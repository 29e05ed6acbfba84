//! Where gotrace's probes would sit in a Go binary.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::workspace;

/// What to look at.
#[derive(Args)]
pub(crate) struct Options {
    /// A Go program, of any architecture that gotrace reads.
    binary: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints every probe site of a binary, and why it is safe or why it is refused.
pub(crate) fn print(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    // The task runs where it was called, cargo in the workspace.
    let binary = std::path::absolute(&options.binary)?;
    let mut example = workspace::cargo(&shell)
        .quiet()
        .args(["run", "--quiet", "--locked", "--package", "tracer-golang"])
        .args(["--example", "sites", "--"])
        .arg(binary);
    if options.json {
        example = example.arg("--json");
    }
    let status = std::process::Command::from(example).status()?;
    ensure!(status.success(), "not every hook has a safe site");
    Ok(())
}
