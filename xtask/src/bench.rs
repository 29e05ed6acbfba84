//! The numbers that gotrace promises, measured.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use xshell::Shell;

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{fixtures, privilege, prometheus, workspace};

/// What is measured.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What events cost, and how many can be read.
    Events,
    /// What tracing costs a saturated service, beside bpftrace and the runtime's own tracer.
    Service,
    /// The search of a large heap for what can never run again.
    Search,
    /// What recording costs, and how quickly a recording is told.
    Record,
    /// Looks at all goroutines, beside what people use today.
    Looks,
    /// Scrapes and lists of a trace of a crowd.
    Surfaces,
    /// Ten million goroutines that come and go, in ten minutes; only when it is asked for.
    Turnover,
}

/// How the benchmarks run.
#[derive(Args)]
pub(crate) struct Options {
    /// Measurements of each kind; their median counts.
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// Only print the numbers, do not write docs/benchmarks.md.
    #[arg(long)]
    no_write: bool,
    /// Only a part of it; the rest of docs/benchmarks.md stays as it is.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// The Delve to compare with, if it is not the `dlv` on PATH; without one, it is left out.
    #[arg(long, value_name = "PATH")]
    delve: Option<PathBuf>,
}

/// Sets up, builds and measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "bench")?;
    let programs = fixtures::build(&Toolchain::install(DEFAULT_VERSION)?)?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let bare_reads = example(&shell, "tracer-golang", "bare_reads")?;
    let big = example(&shell, "tracer-record", "big")?;
    let mut bench = workspace::cargo(&shell)
        .args(["bench", "--locked", "--package", "integration-tests"])
        .args(["--bench", "promises"])
        .args(["--", "--runs", &options.runs.to_string()])
        .env("GOTRACE_BIN", gotrace)
        .env("GOTRACE_FIXTURES", programs)
        .env("GOTRACE_BARE_READS", bare_reads)
        .env("GOTRACE_BIG", big);
    // The server of promtool's package is a large binary that nobody here built.
    let prometheus = prometheus::install().map(|prometheus| prometheus.server);
    match prometheus {
        Ok(program) if program.exists() => bench = bench.env("GOTRACE_PROMETHEUS", program),
        Ok(program) => println!(
            "bench: there is no {}, so it is left out",
            program.display()
        ),
        Err(error) => println!("bench: Prometheus is left out: {error:#}"),
    }
    if let Some(delve) = &options.delve {
        bench = bench.arg("--delve").arg(std::path::absolute(delve)?);
    }
    if let Some(part) = options.only {
        bench = bench.arg("--only").arg(match part {
            Part::Events => "events",
            Part::Service => "service",
            Part::Search => "search",
            Part::Record => "record",
            Part::Looks => "looks",
            Part::Surfaces => "surfaces",
            Part::Turnover => "turnover",
        });
    }
    if !options.no_write {
        bench = bench
            .arg("--write")
            .arg(workspace::root().join("docs/benchmarks.md"));
    }
    Ok(bench.run()?)
}

/// Builds an example of a package; returns the program.
fn example(shell: &Shell, package: &str, name: &str) -> Result<PathBuf> {
    workspace::cargo(shell)
        .args(["build", "--locked", "--release"])
        .args(["--package", package, "--example", name])
        .run()?;
    Ok(workspace::target().join("release/examples").join(name))
}
