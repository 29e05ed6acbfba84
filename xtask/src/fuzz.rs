//! Fuzzing of what reads foreign bytes, by cargo-fuzz and libFuzzer.
//!
//! The targets are in `fuzz/`. They are built without a sanitizer: nearly all of what they run is safe
//! Rust, and so a stable compiler is enough. Memory is watched by their own allocator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::workspace;

/// cargo-fuzz, from crates.io.
const CARGO_FUZZ: &str = "0.13.2";

/// What to fuzz, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// How long one input may take, in seconds. It is the machine's time, so be generous where it is
    /// shared.
    #[arg(long, default_value_t = 1)]
    pub(crate) timeout: u32,
    /// Targets: files of fuzz/fuzz_targets without their extension. All of them if none is named.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
}

/// How a target's run ended.
struct Outcome {
    target: String,
    success: bool,
    log: PathBuf,
}

/// Builds the targets and runs each, as many at once as there are processors.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    let all = targets(&shell)?;
    for target in &options.targets {
        ensure!(
            all.contains(target),
            "there is no target {target}\nnext: choose among {}",
            all.join(", ")
        );
    }
    let chosen = match options.targets.is_empty() {
        true => all,
        false => options.targets.clone(),
    };
    let binaries = build(&shell)?;

    let waiting = Mutex::new(chosen.into_iter());
    let next = || waiting.lock().expect("no thread panics").next();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    while let Some(target) = next() {
                        outcomes.push(fuzz(&binaries, target, options)?);
                    }
                    Ok(outcomes)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no thread panics"))
            .collect::<Result<Vec<_>>>()
    })?;
    let failed: Vec<Outcome> = outcomes
        .into_iter()
        .flatten()
        .filter(|outcome| !outcome.success)
        .collect();
    for outcome in &failed {
        eprintln!(
            "fuzz: {} failed, and its output is in {}\n\
             next: fix it, and put the input that it names into fuzz/corpus/{}",
            outcome.target,
            outcome.log.display(),
            outcome.target
        );
        // The reason is among the last lines, behind what was tried.
        let log = fs::read_to_string(&outcome.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(40)..] {
            eprintln!("    {line}");
        }
    }
    ensure!(failed.is_empty(), "{} targets failed", failed.len());
    Ok(())
}

/// Names of all targets.
fn targets(shell: &Shell) -> Result<Vec<String>> {
    let mut names: Vec<String> = shell
        .read_dir(workspace::root().join("fuzz/fuzz_targets"))?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets; returns where they are.
fn build(shell: &Shell) -> Result<PathBuf> {
    let cargo_fuzz = install(shell)?;
    let host = cmd!(shell, "rustc --version --verbose").quiet().read()?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say what it compiles for")?;
    let target = workspace::target().join("fuzz");
    cmd!(shell, "{cargo_fuzz} build --fuzz-dir fuzz --sanitizer none")
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    Ok(target.join(host).join("release"))
}

/// Finds cargo-fuzz in the cache, or installs it there.
fn install(shell: &Shell) -> Result<PathBuf> {
    let home = workspace::cache()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = home.join("bin/cargo-fuzz");
    if !program.exists() {
        println!(
            "setup: building cargo-fuzz {CARGO_FUZZ} into {}",
            home.display()
        );
        workspace::cargo(shell)
            .args(["install", "--quiet", "--debug", "cargo-fuzz", "--locked"])
            .args(["--version", CARGO_FUZZ, "--root"])
            .arg(&home)
            .run()?;
    }
    Ok(program)
}

fn fuzz(binaries: &Path, target: String, options: &Options) -> Result<Outcome> {
    let own = workspace::target().join("fuzz").join("found").join(&target);
    fs::create_dir_all(&own)?;
    let log = own.with_extension("log");
    let file = fs::File::create(&log)?;
    let status = Command::new(binaries.join(&target))
        // What it finds goes to the first directory.
        .arg(&own)
        .arg(workspace::root().join("fuzz/corpus").join(&target))
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-timeout={}", options.timeout))
        // The targets' own allocator has a lower limit; this one is for libFuzzer itself.
        .args([
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-max_len=16384",
        ])
        .arg(format!("-artifact_prefix={}-", own.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run the target {target}"))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let executions = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .unwrap_or("?")
        .trim()
        .to_owned();
    println!(
        "fuzz: {target:<12} {executions:>9} inputs in {} s",
        options.seconds
    );
    Ok(Outcome {
        success: status.success(),
        target,
        log,
    })
}
