//! gotrace comes and goes in every way on a busy program, which must not notice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;

use crate::fixtures::{self, Fixture};
use crate::go::Toolchain;
use crate::{privilege, workspace};

/// How much of it.
#[derive(Args)]
pub(crate) struct Options {
    /// For how long, all Go versions together: a number with `s`, `m` or `h`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3m")]
    duration: Duration,
    /// Go versions, separated by commas.
    #[arg(long = "go", value_name = "VERSION", value_delimiter = ',',
        default_values = ["1.21.13", "1.24.11", "1.27.3"])]
    versions: Vec<String>,
    /// To repeat what happened, as far as that depends on chance here; it is printed.
    #[arg(long)]
    seed: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no time such as 90s, 30m or 2h");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(malformed)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(malformed()),
    };
    let number: u64 = number.parse().map_err(|_| malformed())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// Builds the program with each version and lets chaos loose on it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "chaos")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let fixture = Fixture {
        name: "churn",
        package: "churn",
        arch: "amd64",
        cgo: false,
        flags: &[],
    };
    let home = workspace::target().join("fixtures");
    let mut programs = Vec::new();
    for version in &options.versions {
        let directory = home.join(format!("go{version}"));
        let toolchain = Toolchain::install(version)?;
        programs.push(fixtures::build_one(&toolchain, &fixture, &directory)?);
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let each = options.duration.as_secs() / programs.len().max(1) as u64;
    workspace::cargo(&shell)
        .args(["run", "--quiet", "--locked"])
        .args(["--package", "integration-tests", "--bin", "chaos", "--"])
        .args([seed.to_string(), each.to_string()])
        .args(programs)
        .env("GOTRACE_BIN", gotrace)
        .run()
        .context("a target was harmed, or a trace was not right")
}
