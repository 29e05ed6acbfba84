//! What recording costs, and how quickly a recording is told.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::{Gotrace, Target, provided};

use crate::{RATE, Sample, high_water, number, verdict};

/// How long is recorded.
const RECORDED: usize = 10;
/// Bytes of an event on disk.
const BYTES: f64 = 12.0;
/// Of one core.
const SHARE: f64 = 0.5;
/// Times as fast as it happened.
const SPEED: f64 = 20.0;
/// MiB of the file in which a time is looked for, and the seconds that this may take.
const BIG: u64 = 1024;
const SEEK: f64 = 0.5;
/// Events a second into a ring of a minute, and the MiB that it may take.
const RING_RATE: &str = "100000";
const RING_SECONDS: u64 = 60;
const RING_MIB: f64 = 150.0;

/// The section of the report.
pub(crate) fn section(runs: usize) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut rows = String::new();
    let mut row = |name: &str, sample: &Sample, digits: usize| {
        writeln!(rows, "| {name} | {} |", sample.cells(digits)).expect("a string");
    };
    let (mut rate, mut bytes, mut lost) = (vec![], vec![], vec![]);
    let (mut recorder, mut runner, mut speed) = (vec![], vec![], vec![]);
    for run in 0..runs {
        let path = directory.path().join(run.to_string());
        let recorded = traced(Some(&path));
        runner.push(traced(None).share);
        #[expect(clippy::cast_precision_loss, reason = "less than 2^52 bytes")]
        let size = fs::metadata(&path).expect("it is there").len() as f64;
        rate.push(recorded.rate);
        lost.push(recorded.lost);
        recorder.push(recorded.share);
        bytes.push(size / recorded.events);
        let begin = Instant::now();
        let told = Gotrace::run(&["replay", text(&path), "--format", "json"]).report();
        speed.push(number(&told["seconds"]) / begin.elapsed().as_secs_f64());
        assert_eq!(told["totals"]["events"], recorded.events);
        fs::remove_file(&path).expect("it is ours");
    }
    let (rate, bytes, lost) = (Sample::of(rate), Sample::of(bytes), Sample::of(lost));
    let (recorder, runner, speed) = (Sample::of(recorder), Sample::of(runner), Sample::of(speed));
    row("events a second", &rate, 0);
    row("records lost", &lost, 0);
    row("bytes an event in the file", &bytes, 2);
    row("`gotrace record`, share of one core", &recorder, 3);
    row("`gotrace run`, for comparison", &runner, 3);
    row("told again, times as fast as it happened", &speed, 1);
    let seek = seek(runs, directory.path());
    row(&format!("a time in a file of {BIG} MiB, seconds"), &seek, 3);
    let ring = ring(directory.path());
    row(
        &format!("memory of `--ring {RING_SECONDS}s` at {RING_RATE} events a second, MiB"),
        &ring,
        0,
    );
    let kept = rate.median() >= 0.98 * RATE
        && bytes.median() < BYTES
        && recorder.median() < SHARE
        && speed.median() >= SPEED
        && seek.median() < SEEK
        && ring.median() < RING_MIB;
    format!(
        "## Recording

`gotrace record --level full` of {RATE} operations a second on buffered channels, for {RECORDED} seconds; the file in
which a time is looked for is of made-up events, and the time a different one each run; the ring is measured once.
Promise: under {BYTES} bytes an event and {SHARE} of one core, at least {SPEED} times as fast as it happened, a
time found in under {SEEK} seconds, a ring of a minute in under {RING_MIB} MiB.

| | median | least | greatest |
| --- | --- | --- | --- |
{rows}
{}
",
        verdict(kept)
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// What a trace took.
struct Traced {
    rate: f64,
    events: f64,
    lost: f64,
    /// Of one core.
    share: f64,
}

/// Traces a program that makes events at the promised rate, into a file if there is one.
fn traced(path: Option<&Path>) -> Traced {
    let mut target = Target::start("load", &["-rate", &RATE.to_string()]);
    let pid = target.pid_argument();
    let common = [
        "--pid", &pid, "--level", "full", "--format", "json", "--listen", "off",
    ];
    let start = match path {
        Some(path) => vec!["record", "-o", text(path)],
        None => vec!["run"],
    };
    let mut gotrace = Gotrace::start(&[&start[..], &common].concat());
    gotrace.until("summary", |_| true);
    target.ask("START");
    let (began, before) = (Instant::now(), cpu_seconds(gotrace.pid()));
    for _ in 0..RECORDED {
        gotrace.until("summary", |_| true);
    }
    let share = (cpu_seconds(gotrace.pid()) - before) / began.elapsed().as_secs_f64();
    let truth = target.ask("STOP");
    let report = gotrace.interrupt().report();
    let made = number(&truth["sends"]) + number(&truth["receives"]);
    Traced {
        rate: made / number(&truth["elapsed_seconds"]),
        events: number(&report["totals"]["events"]),
        lost: number(&report["loss"]["records"]),
        share,
    }
}

/// CPU time of a process so far: of its user part and of the kernel's work for it.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("its name is in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    // USER_HZ is 100 on every architecture that Go runs on.
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / 100.0
}

/// How long it takes to tell how everything was at a time.
fn seek(runs: usize, directory: &Path) -> Sample {
    let path = directory.join("big");
    let program = provided("GOTRACE_BIG", "release/examples/big");
    let size = BIG.to_string();
    let status = Command::new(program).args([text(&path), &size]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the file is not made"
    );
    let took = (0..runs).map(|run| {
        let at = format!("+{}s", 7 + 17 * run);
        let begin = Instant::now();
        let finished = Gotrace::run(&["replay", text(&path), "--at", &at, "--format", "json"]);
        let took = begin.elapsed().as_secs_f64();
        finished.document("gotrace.moment/1");
        took
    });
    let took = Sample::of(took);
    fs::remove_file(&path).expect("it is ours");
    took
}

/// The most memory that a recorder with a ring has resident at once.
fn ring(directory: &Path) -> Sample {
    let mut target = Target::start("load", &["-rate", RING_RATE]);
    let window = format!("{RING_SECONDS}s");
    let arguments = ["--ring", &window, "--level", "full"];
    let gotrace = Gotrace::record(target.pid(), &directory.join("ring"), &arguments);
    target.ask("START");
    // Until what is older is given up again.
    std::thread::sleep(Duration::from_secs(RING_SECONDS + RING_SECONDS / 4));
    let peak = high_water(gotrace.pid());
    gotrace.interrupt();
    target.ask("STOP");
    target.end_unharmed();
    Sample::of([peak])
}
