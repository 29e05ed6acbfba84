//! Every check and every test, with the time that each stage took.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use xshell::{Cmd, Shell};

use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{
    corpus, deny, ebpf, fixtures, fuzz, kubernetes, manifests, matrix, privilege, prometheus,
    readers, real, schemathesis, tmux, vm, vscode, web, workspace,
};

/// Files of integration tests which mostly wait: for a trend to show, for a reader to start. So several tests
/// run at a time.
const PATIENT: &[&str] = &["access", "export", "trends"];

/// Which tests run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this file of integration tests, e.g. `counts`; nothing else is checked.
    #[arg(long, value_name = "FILE")]
    only: Option<String>,
    /// Only tests with this in their name; needs --only.
    #[arg(requires = "only")]
    filter: Option<String>,
    /// How often a recorder is killed in the middle of its work.
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: u32,
}

/// Runs the stages in order and stops at the first that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "test")?;
    let began = Instant::now();
    let mut stages = Stages::default();
    let outcome = run_stages(&shell, options, &mut stages);
    stages.print(began.elapsed());
    outcome
}

fn run_stages(shell: &Shell, options: &Options, stages: &mut Stages) -> Result<()> {
    let Some(file) = &options.only else {
        return run_all(shell, options, stages);
    };
    let tools = stages.run("set-up", Tools::install)?;
    let gotrace = stages.run("build", || workspace::build_gotrace(shell))?;
    let tests = Integration {
        tools: &tools,
        gotrace: &gotrace,
        kills: options.kills,
    };
    let tests = tests.command(shell, std::slice::from_ref(file), 1)?;
    match &options.filter {
        Some(filter) => Ok(tests.arg(filter).run()?),
        None => stages.run_tests("integration tests", tests),
    }
}

fn run_all(shell: &Shell, options: &Options, stages: &mut Stages) -> Result<()> {
    // What is downloaded waits for the network, what is built for the processor.
    let tools = stages.beside(check, |stages| {
        stages.run("set-up", || {
            let tools = Tools::install()?;
            vm::install()?;
            corpus::install(&corpus::Options::reduced())?;
            Ok(tools)
        })
    })?;
    let files = Files::of(&workspace::metadata(shell)?)?;
    let named = files.unit.iter().flat_map(|file| ["--test", file]);
    let unit_tests = workspace::linted(shell)
        .args(["test", "--locked", "--no-fail-fast", "--workspace"])
        .args(["--lib", "--bins"])
        .args(named)
        .env("GOTRACE_GO", &tools.toolchain.go)
        .env("GOTRACE_CACHE", workspace::cache()?);
    let reduced = matrix::Options::reduced();
    let (cells, built_cells) = mpsc::channel();
    let mut arm64 = None;
    // What tests leave of the processors goes to what yields to everything.
    stages.beside(
        |stages| {
            // Gone when this ends, so that nobody waits for what never comes.
            let cells = cells;
            workspace::yield_to_all()?;
            arm64 = Some(stages.run("arm64, built", vm::build)?);
            // Nobody waits any more if a test failed.
            let _ = cells.send(stages.run("matrix, built", || matrix::build(&reduced))?);
            stages.run("fuzzing", || {
                fuzz::run(&fuzz::Options {
                    seconds: 10,
                    // Of which it has what others leave.
                    timeout: 60,
                    targets: Vec::new(),
                })
            })
        },
        |stages| {
            let mut gotrace = None;
            stages.beside(
                |stages| {
                    let shell = workspace::shell()?;
                    gotrace = Some(stages.run("build", || workspace::build_gotrace(&shell))?);
                    check_more(stages)
                },
                |stages| stages.run_tests("unit tests", unit_tests),
            )?;
            let tests = Integration {
                tools: &tools,
                gotrace: &gotrace.context("it was built")?,
                kills: options.kills,
            };
            // One at a time: they share the machine's processors, and counting is about time, too.
            let busy = tests.command(shell, &files.busy, 1)?;
            stages.run_tests("integration tests", busy)?;
            let patient = tests.command(shell, &files.patient, 3)?;
            stages.run_tests("patient tests", patient)?;
            stages.run("corpus", || corpus::run(&corpus::Options::reduced()))?;
            let cells = built_cells.recv().context("its programs were not built")?;
            stages.run("matrix", || matrix::check(&reduced, &cells))
        },
    )?;
    // An emulated machine wants the host for itself.
    let arm64 = arm64.context("it was built")?;
    stages.run("arm64", || vm::boot(&arm64))
}

/// The package whose tests need root, Go programs and a kernel.
const INTEGRATION: &str = "integration-tests";

/// Files of tests by name.
#[derive(Default)]
struct Files {
    unit: Vec<String>,
    busy: Vec<String>,
    patient: Vec<String>,
}

impl Files {
    /// As cargo tells of the workspace.
    fn of(metadata: &Value) -> Result<Files> {
        let mut files = Files::default();
        for package in metadata["packages"].as_array().context("it has packages")? {
            for target in package["targets"].as_array().context("it has targets")? {
                if target["kind"] != json!(["test"]) {
                    continue;
                }
                let name = target["name"].as_str().context("it has a name")?;
                let group = match package["name"] == INTEGRATION {
                    false => &mut files.unit,
                    true if PATIENT.contains(&name) => &mut files.patient,
                    true => &mut files.busy,
                };
                group.push(name.to_owned());
            }
        }
        Ok(files)
    }
}

/// The integration tests and what they need.
struct Integration<'a> {
    tools: &'a Tools,
    gotrace: &'a Path,
    kills: u32,
}

impl Integration<'_> {
    /// Runs files of them, so many tests of a file at a time.
    fn command<'s>(&self, shell: &'s Shell, files: &[String], threads: u32) -> Result<Cmd<'s>> {
        let tools = self.tools;
        let files = files.iter().flat_map(|file| ["--test", file]);
        Ok(workspace::linted(shell)
            .args(["test", "--locked", "--no-fail-fast", "--workspace"])
            .args(files)
            .args(["--", &format!("--test-threads={threads}")])
            .env("GOTRACE_KILLS", self.kills.to_string())
            .env("GOTRACE_BIN", self.gotrace)
            .env("GOTRACE_FIXTURES", &tools.programs)
            .env("GOTRACE_OLDEST", &tools.oldest)
            .env("GOTRACE_PROMTOOL", &tools.prometheus.promtool)
            .env("GOTRACE_PROMETHEUS", &tools.prometheus.server)
            .env("GOTRACE_PERFETTO", &tools.readers.perfetto)
            .env("GOTRACE_DOT", &tools.readers.dot)
            .env("GOTRACE_GO", &tools.toolchain.go)
            .env("GOTRACE_CACHE", workspace::cache()?)
            .env("GOTRACE_SCHEMATHESIS", &tools.schemathesis)
            .env("GOTRACE_DAP_CLIENT", &tools.vscode)
            .env("GOTRACE_REAL", &tools.real)
            .env("GOTRACE_TMUX", &tools.tmux)
            .env("GOTRACE_HELM", &tools.kubernetes.helm)
            .env("GOTRACE_KUBECTL", &tools.kubernetes.kubectl)
            .env("GOTRACE_KUBERNETES_SCHEMAS", &tools.kubernetes.schemas)
            .env("GOTRACE_PAGE_TOOLS", &tools.browser.home)
            .env("GOTRACE_CHROMIUM", &tools.browser.chromium))
    }
}

/// What the tests need beside Rust.
struct Tools {
    toolchain: Toolchain,
    programs: PathBuf,
    /// Some of them, built by the oldest version of Go that is supported.
    oldest: PathBuf,
    prometheus: prometheus::Prometheus,
    schemathesis: PathBuf,
    readers: readers::Readers,
    vscode: PathBuf,
    real: PathBuf,
    tmux: PathBuf,
    kubernetes: kubernetes::Tools,
    browser: web::Browser,
}

impl Tools {
    fn install() -> Result<Tools> {
        let toolchain = Toolchain::install(DEFAULT_VERSION)?;
        Ok(Tools {
            programs: fixtures::build(&toolchain)?,
            oldest: fixtures::build_oldest(&Toolchain::install(matrix::OLDEST)?)?,
            toolchain,
            prometheus: prometheus::install()?,
            schemathesis: schemathesis::install()?,
            readers: readers::install()?,
            vscode: vscode::install()?,
            real: real::install()?,
            tmux: tmux::install()?,
            kubernetes: kubernetes::install()?,
            browser: web::install()?,
        })
    }
}

/// What the compiler can say without running anything, and all that tests are.
fn check(stages: &mut Stages) -> Result<()> {
    let shell = workspace::shell()?;
    stages.run("format", || {
        for more in [&["--all"][..], &["--manifest-path", "fuzz/Cargo.toml"]] {
            let format = workspace::cargo(&shell).arg("fmt").args(more);
            format.arg("--check").run()?;
        }
        Ok(())
    })?;
    stages.run("clippy, tests built", || {
        Ok(workspace::linted(&shell)
            .args([
                "test",
                "--locked",
                "--no-run",
                "--workspace",
                "--all-targets",
            ])
            .run()?)
    })
}

/// What is committed though it is built, and licenses.
fn check_more(stages: &mut Stages) -> Result<()> {
    let shell = workspace::shell()?;
    stages.run("BPF objects", || {
        ebpf::run(&ebpf::Options {
            check: true,
            reproducible: false,
        })
    })?;
    stages.run("licenses", || deny::check(&shell))?;
    stages.run("manifests", || {
        manifests::run(&manifests::Options { check: true })
    })?;
    stages.run("page", || web::run(&web::Options { check: true }))
}

/// What was done, and how long it took.
#[derive(Default)]
struct Stages {
    done: Vec<(&'static str, Duration, Option<Counts>)>,
}

impl Stages {
    /// Runs other stages in the meantime; both come to their end before the first error is told.
    fn beside<T>(
        &mut self,
        others: impl FnOnce(&mut Stages) -> Result<()> + Send,
        own: impl FnOnce(&mut Stages) -> Result<T>,
    ) -> Result<T> {
        let (outcome, (others, other)) = thread::scope(|scope| {
            let others = scope.spawn(|| {
                let mut stages = Stages::default();
                let outcome = others(&mut stages);
                (stages, outcome)
            });
            let outcome = own(self);
            (outcome, others.join().expect("no thread panics"))
        });
        self.done.extend(others.done);
        other.and(outcome)
    }

    fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== {name}");
        let started = Instant::now();
        let outcome = stage().with_context(|| format!("{name} failed"));
        self.done.push((name, started.elapsed(), None));
        outcome
    }

    /// Runs `cargo test`. A test that was skipped counts as a failure: what nobody ran proves
    /// nothing.
    fn run_tests(&mut self, name: &'static str, command: Cmd<'_>) -> Result<()> {
        println!("== {name}");
        println!("$ {command}");
        let started = Instant::now();
        let outcome = run_and_count(command.into());
        let counts = outcome.as_ref().ok().map(|(_, counts)| *counts);
        self.done.push((name, started.elapsed(), counts));
        let (success, counts) = outcome?;
        ensure!(success, "{name} failed");
        ensure!(counts.passed > 0, "{name}: no test ran");
        let skipped = counts.ignored + counts.filtered_out;
        ensure!(skipped == 0, "{name}: {skipped} tests were skipped");
        Ok(())
    }

    /// `total` is less than the sum of all where some ran beside others.
    fn print(&self, total: Duration) {
        println!();
        let mut all = Counts::default();
        for (name, time, counts) in &self.done {
            let note = counts.map_or_else(String::new, |counts| {
                all.passed += counts.passed;
                all.failed += counts.failed;
                format!("{} passed, {} failed", counts.passed, counts.failed)
            });
            println!("{name:<20}{:>8.1} s  {note}", time.as_secs_f64());
        }
        println!(
            "{:<20}{:>8.1} s  {} tests passed, {} failed",
            "total",
            total.as_secs_f64(),
            all.passed,
            all.failed
        );
    }
}

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered_out: u64,
}

impl Counts {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0
    /// filtered out; finished in 0.01s` says; any other line says nothing.
    fn add_line(&mut self, line: &str) -> Result<()> {
        let Some((_, numbers)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return Ok(());
        };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                bail!("unexpected test result: {line}");
            };
            let counter = match what {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.ignored,
                "filtered out" => &mut self.filtered_out,
                _ => continue,
            };
            *counter += number
                .parse::<u64>()
                .with_context(|| format!("unexpected test result: {line}"))?;
        }
        Ok(())
    }
}

/// Runs a command whose output is shown as it comes and counted.
fn run_and_count(mut command: Command) -> Result<(bool, Counts)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("its output is a pipe")?;
    let mut counts = Counts::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        counts.add_line(&line)?;
    }
    Ok((child.wait()?.success(), counts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Counts, Files};

    #[test]
    fn files_are_found_by_their_package() {
        let target = |kind: &str, name: &str| json!({"kind": [kind], "name": name});
        let metadata = json!({"packages": [
            {"name": "tracer-model", "targets": [target("lib", "tracer_model"), target("test", "world")]},
            {"name": "integration-tests", "targets": [
                target("bench", "promises"), target("test", "exact"), target("test", "trends")
            ]},
        ]});
        let files = Files::of(&metadata).unwrap();
        assert_eq!(files.unit, ["world"]);
        assert_eq!(files.busy, ["exact"]);
        assert_eq!(files.patient, ["trends"]);
    }

    #[test]
    fn counts_results_and_nothing_else() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.01s",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            counts.add_line(line).unwrap();
        }
        assert_eq!(
            counts,
            Counts {
                passed: 4,
                failed: 2,
                ignored: 2,
                filtered_out: 4
            }
        );
    }
}
