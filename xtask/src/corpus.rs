//! Known bugs and what only looks like one, each a process of its own, judged by gotrace and by the
//! runtime's own goroutine leak profile: the precision and the recall of `gotrace leaks`.
//!
//! The cases are those of `tests/programs/corpus`, which says of each goroutine whether it can ever run
//! again.

mod case;
mod table;
mod tally;

use std::fs;
use std::hint;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::fixtures::{self, Fixture};
use crate::go::Toolchain;
use crate::{privilege, workspace};

use case::{Case, Run};
use tally::{Column, Recall};

/// A version without a leak profile, one with new timers and weak pointers, and one with a profile.
const VERSIONS: [&str; 3] = ["1.21.13", "1.24.11", "1.27.3"];
/// Cases that run at the same time.
const AT_ONCE: usize = 3;

/// How the corpus is run.
#[derive(Args)]
pub(crate) struct Options {
    /// Go versions, separated by commas.
    #[arg(long = "go", value_name = "VERSION", value_delimiter = ',', default_values = VERSIONS)]
    versions: Vec<String>,
    /// How often each case runs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: usize,
    /// Keep all processors busy beside.
    #[arg(long)]
    load: bool,
    /// Only cases with this in their name.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the tables into docs/corpus.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

impl Options {
    /// What is run with every change: once, with two versions.
    pub(crate) fn reduced() -> Options {
        Options {
            versions: VERSIONS[1..].iter().map(ToString::to_string).collect(),
            runs: 1,
            load: false,
            only: None,
            write: false,
        }
    }
}

/// Downloads what builds them.
pub(crate) fn install(options: &Options) -> Result<()> {
    let mut versions = options.versions.iter();
    versions.try_for_each(|version| Toolchain::install(version).map(drop))
}

/// Runs all cases and prints the tables; an error if a healthy goroutine was called stuck, or too few
/// of the stuck ones were.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "corpus")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let mut columns = Vec::new();
    for version in &options.versions {
        let toolchain = Toolchain::install(version)?;
        let program = build(&toolchain)?;
        let mut cases = case::list(&program)?;
        if let Some(only) = &options.only {
            cases.retain(|case| case.name.contains(only.as_str()));
        }
        ensure!(!cases.is_empty(), "there is no such case");
        let runs = beside_load(options.load, || {
            all(&gotrace, &program, &cases, options.runs)
        })?;
        columns.push(Column::new(toolchain.version, cases, runs));
    }
    let tables = table::render(&columns);
    println!("{tables}");
    if options.write {
        let document = table::document(&columns, options.runs, options.load, &tables);
        fs::write(workspace::root().join("docs/corpus.md"), document)?;
    }
    let least = match options.runs {
        1 => Recall::OF_ONE,
        _ => Recall::OF_MANY,
    };
    let problems = columns.iter().flat_map(|column| column.problems(least));
    let problems: Vec<String> = problems.collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

fn build(toolchain: &Toolchain) -> Result<PathBuf> {
    let fixture = Fixture {
        name: "corpus",
        package: "corpus",
        arch: "amd64",
        cgo: false,
        flags: &[],
    };
    let output = workspace::target().join("corpus");
    fixtures::build_one(
        toolchain,
        &fixture,
        &output.join(format!("go{}", toolchain.version)),
    )
}

/// Runs every case so often, a few at a time; the runs are in the order of the cases.
fn all(gotrace: &Path, program: &Path, cases: &[Case], times: usize) -> Result<Vec<Vec<Run>>> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, Run)>> {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= cases.len() * times {
                return Ok(done);
            }
            let index = number % cases.len();
            let name = &cases[index].name;
            let run = case::run(gotrace, program, name).with_context(|| format!("case {name}"))?;
            done.push((index, run));
        }
    };
    let done: Result<Vec<_>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().expect("no panic");
        workers.into_iter().map(join).collect()
    });
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for (index, run) in done?.into_iter().flatten() {
        runs[index].push(run);
    }
    Ok(runs)
}

/// Does something while, if wanted, every processor has something else to do as well.
fn beside_load<T>(load: bool, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..if load { processors } else { 0 } {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// A field of a document that must be there.
fn field<'a>(value: &'a Value, name: &str) -> Result<&'a Value> {
    value
        .get(name)
        .with_context(|| format!("there is no {name} in {value}"))
}
