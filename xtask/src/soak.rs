//! Millions of operations, each of which must be in the report.

use anyhow::Result;
use clap::Args;

use crate::fixtures::{self, Fixture};
use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{privilege, workspace};

/// How many.
#[derive(Args)]
pub(crate) struct Options {
    /// Channel operations.
    #[arg(long, default_value_t = 10_000_000)]
    operations: u64,
    /// Go versions, separated by commas.
    #[arg(long = "go", value_name = "VERSION", value_delimiter = ',', default_value = DEFAULT_VERSION)]
    versions: Vec<String>,
}

/// Runs the test that compares a report with its program's own books, with so many operations.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "soak")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let fixture = Fixture {
        name: "ledger",
        package: "ledger",
        arch: "amd64",
        cgo: false,
        flags: &[],
    };
    for version in &options.versions {
        let directory = workspace::target()
            .join("fixtures")
            .join(format!("go{version}"));
        fixtures::build_one(&Toolchain::install(version)?, &fixture, &directory)?;
        println!("soak: Go {version}, {} operations", options.operations);
        workspace::cargo(&shell)
            .args(["test", "--quiet", "--locked"])
            .args(["--package", "integration-tests", "--test", "exact"])
            .args(["to_the_last_event", "--", "--test-threads=1"])
            .env("GOTRACE_BIN", &gotrace)
            .env("GOTRACE_FIXTURES", directory)
            .env("GOTRACE_OPERATIONS", options.operations.to_string())
            .run()?;
    }
    Ok(())
}
