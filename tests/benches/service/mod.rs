//! What tracing costs a service that does all that it can: requests a second and the slowest of a
//! hundred, with gotrace at each level beside what people use today.

pub(crate) mod bpftrace;

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use integration_tests::{Gotrace, Target, target::fixture};

use super::{Sample, number, verdict};
use bpftrace::{Bpftrace, Does};

/// For how long requests come in one measurement.
const LOAD: Duration = Duration::from_secs(4);
/// Connections at once.
const CONNECTIONS: u32 = 32;
/// The functions that `park` and bpftrace look at.
const FUNCTIONS: [&str; 2] = ["runtime.gopark", "runtime.ready"];

/// Who looks at the service.
#[derive(Clone, Copy, Debug)]
enum Observer {
    Nobody,
    Gotrace(&'static [&'static str]),
    Bpftrace(Does),
    /// The command that turns the runtime's own tracer on.
    Runtime(&'static str),
}

const NOBODY: usize = 0;
const PARK: usize = 2;
const WAKE: usize = 3;
const AUTO: usize = 4;

const OBSERVERS: [(&str, Observer); 11] = [
    ("nobody", Observer::Nobody),
    (
        "`gotrace run --level observe`",
        Observer::Gotrace(&["--level", "observe"]),
    ),
    (
        "`gotrace run --level park`",
        Observer::Gotrace(&["--level", "park"]),
    ),
    (
        "`gotrace run --level wake`",
        Observer::Gotrace(&["--level", "wake"]),
    ),
    (
        "`gotrace run --level auto --budget 1`",
        Observer::Gotrace(&["--level", "auto", "--budget", "1"]),
    ),
    (
        "`gotrace run --level full`",
        Observer::Gotrace(&["--level", "full"]),
    ),
    (
        "probes of `park` that do nothing",
        Observer::Gotrace(&["--level", "park", "--bench-empty"]),
    ),
    ("runtime/trace in the program", Observer::Runtime("TRACE")),
    ("its flight recorder", Observer::Runtime("FLIGHT")),
    (
        "bpftrace, gopark and ready, counting",
        Observer::Bpftrace(Does::Count),
    ),
    (
        "bpftrace, gopark and ready, printing",
        Observer::Bpftrace(Does::Print),
    ),
];

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
struct Served {
    requests_a_second: f64,
    /// Milliseconds.
    p99: f64,
}

/// The section of the report.
pub(crate) fn measure(runs: usize) -> String {
    let bpftrace = bpftrace::version();
    let mut results: Vec<Vec<Served>> = vec![Vec::new(); OBSERVERS.len()];
    let mut target = Target::start("service", &[]);
    serve(&target); // warms up
    for _ in 0..runs {
        for ((_, observer), results) in OBSERVERS.iter().zip(&mut results) {
            if matches!(observer, Observer::Bpftrace(_)) && bpftrace.is_none() {
                continue;
            }
            results.push(observed(&mut target, *observer));
        }
    }
    let base = results[NOBODY].clone();
    let shares: Vec<Sample> = (results.iter())
        .map(|results| {
            let pairs = results.iter().zip(&base);
            Sample::of(
                pairs.map(|(with, without)| with.requests_a_second / without.requests_a_second),
            )
        })
        .collect();
    let slower = |observer: usize| {
        let pairs = results[observer].iter().zip(&base);
        Sample::of(pairs.map(|(with, without)| with.p99 / without.p99)).median()
    };
    let mut rows = String::new();
    for (((name, _), results), shares) in OBSERVERS.iter().zip(&results).zip(&shares) {
        if results.is_empty() {
            continue;
        }
        let rates = Sample::of(results.iter().map(|served| served.requests_a_second));
        let p99 = Sample::of(results.iter().map(|served| served.p99));
        writeln!(
            rows,
            "| {name} | {:.0} | {} | {:.1} |",
            rates.median(),
            shares.cells(3),
            p99.median()
        )
        .expect("a string");
    }
    let kept = shares[PARK].median() >= 0.75
        && shares[WAKE].median() >= 0.85
        && shares[AUTO].median() >= 0.985
        && slower(AUTO) <= 1.1;
    let left_out = match &bpftrace {
        Some(version) => {
            format!("bpftrace is {version}, its probes at the first instruction of each function.")
        }
        None => {
            "bpftrace was left out: it is not on PATH (Debian: the package bpftrace).".to_owned()
        }
    };
    format!(
        "## What tracing costs a saturated service

An HTTP server with a pool of eight workers, GOMAXPROCS=2; every request goes through two channels. wrk keeps
{CONNECTIONS} connections busy for {} seconds, on the same two cores. {left_out}
Promise: of what is served while
nobody looks, at least 0.75 at `park`, 0.85 at `wake`, 0.985 at `auto` with a budget of 1 %, there with the
slowest of a hundred within 1.1 times.

| who looks | requests a second | share of untraced | least | greatest | p99, ms |
| --- | --- | --- | --- | --- | --- |
{rows}
p99 at `auto` is {:.2} times that of untraced. {}
",
        LOAD.as_secs(),
        slower(AUTO),
        verdict(kept)
    )
}

/// Serves while somebody looks.
fn observed(target: &mut Target, observer: Observer) -> Served {
    match observer {
        Observer::Nobody => serve(target),
        Observer::Gotrace(arguments) => {
            let (mut gotrace, _) = Gotrace::attach(target.pid(), arguments);
            gotrace.until("summary", |_| true);
            let served = serve(target);
            let report = gotrace.interrupt().report();
            assert_eq!(number(&report["loss"]["records"]), 0.0, "{report:#}");
            served
        }
        Observer::Bpftrace(does) => {
            let program = fixture("service");
            let bpftrace = Bpftrace::attach(&program, target.pid(), &FUNCTIONS, does);
            let served = serve(target);
            let printed = bpftrace.end();
            assert!(printed > 0, "bpftrace saw nothing");
            served
        }
        Observer::Runtime(command) => {
            target.ask(command);
            let served = serve(target);
            target.ask("OFF");
            served
        }
    }
}

/// Runs wrk.
fn serve(target: &Target) -> Served {
    let address = target.ready["http"].as_str().expect("it serves HTTP");
    let output = Command::new("wrk")
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{}s", LOAD.as_secs())])
        .arg(format!("http://{address}/work"))
        .output()
        .expect("wrk is there: Debian has the package wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let after = |label: &str| {
        let rest = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        rest.unwrap_or_else(|| panic!("no {label} in {text}"))
            .trim()
    };
    Served {
        requests_a_second: after("Requests/sec:").parse().expect("a number"),
        p99: milliseconds(after("99%")),
    }
}

/// A time as wrk writes it: `417.00us`, `2.66ms`, `1.02s`.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (digits, factor) = (units.into_iter())
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .unwrap_or_else(|| panic!("{text} is no time"));
    digits.parse::<f64>().expect("a number") * factor
}
