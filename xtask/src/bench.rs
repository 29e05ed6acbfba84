//! The numbers that gotrace promises, measured.

use anyhow::Result;
use clap::Args;

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{fixtures, privilege, workspace};

/// How the benchmarks run.
#[derive(Args)]
pub(crate) struct Options {
    /// Measurements of each kind; their median counts.
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// Only print the numbers, do not write docs/benchmarks.md.
    #[arg(long)]
    no_write: bool,
}

/// Sets up, builds and measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "bench")?;
    let programs = fixtures::build(&Toolchain::install(DEFAULT_VERSION)?)?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let mut bench = workspace::cargo(&shell)
        .args(["bench", "--locked", "--package", "integration-tests"])
        .args(["--bench", "promises"])
        .args(["--", "--runs", &options.runs.to_string()])
        .env("GOTRACE_BIN", gotrace)
        .env("GOTRACE_FIXTURES", programs);
    if !options.no_write {
        bench = bench
            .arg("--write")
            .arg(workspace::root().join("docs/benchmarks.md"));
    }
    Ok(bench.run()?)
}
