//! The numbers that gotrace promises, run by `cargo xtask bench`.
//!
//! What is compared is measured in turn, in the same run and on the same processes, so that a noisy
//! machine disturbs both alike. The median of the runs counts; the table shows the extremes as well.

mod looks;
mod pages;
mod record;
mod service;
mod surfaces;
mod turnover;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::{Gotrace, Target, require_root};
use serde_json::Value;

use service::bpftrace::{self, Bpftrace, Does};

/// Sends and receives of one measurement of the cost of an event, together.
const OPERATIONS: u64 = 400_000;
/// Channel operations a second that must be read.
const RATE: f64 = 500_000.0;
/// Goroutines of which the first picture is taken.
const GOROUTINES: u64 = 10_000;

fn main() {
    require_root();
    let options = Options::parse();
    for part in PARTS {
        if !options.runs_part(part.name) {
            continue;
        }
        // It takes ten minutes, and is done once.
        let runs = if part.name == TURNOVER {
            1
        } else {
            options.runs
        };
        let mut sections = vec![where_and_when(runs)];
        let mut add = |section: String| {
            println!("{section}");
            sections.push(section);
        };
        (part.measure)(&options, &mut add);
        if let Some(path) = &options.write {
            pages::put(path, part.name, &sections.join("\n"));
            println!("written to {}", path.display());
        }
    }
}

/// What is measured in one go.
struct Part {
    name: &'static str,
    measure: fn(&Options, &mut dyn FnMut(String)),
}

const PARTS: &[Part] = &[
    Part {
        name: "events",
        measure: |options, add| {
            for section in [
                cost_of_an_event,
                rate_without_loss,
                first_picture,
                memory_of_a_trace,
            ] {
                add(section(options.runs));
            }
        },
    },
    Part {
        name: "service",
        measure: |options, add| add(service::measure(options.runs)),
    },
    Part {
        name: "search",
        measure: |options, add| add(looks::search::section(options.runs)),
    },
    Part {
        name: "record",
        measure: |options, add| add(record::section(options.runs)),
    },
    Part {
        name: "looks",
        measure: |options, add| looks::measure(options.runs, options.delve.as_deref(), add),
    },
    Part {
        name: "surfaces",
        measure: |options, add| add(surfaces::section(options.runs)),
    },
    Part {
        name: TURNOVER,
        measure: |_, add| add(turnover::section()),
    },
];

/// Takes ten minutes, and is not made unless asked for.
const TURNOVER: &str = "turnover";

struct Options {
    runs: usize,
    write: Option<PathBuf>,
    /// Only this part.
    only: Option<String>,
    /// Delve, to compare with.
    delve: Option<PathBuf>,
}

impl Options {
    fn runs_part(&self, name: &str) -> bool {
        match &self.only {
            Some(only) => only == name,
            None => name != TURNOVER,
        }
    }

    fn parse() -> Options {
        let mut options = Options {
            runs: 7,
            write: None,
            only: None,
            delve: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("the option has a value");
            match argument.as_str() {
                "--runs" => options.runs = value().parse().expect("a number of runs"),
                "--write" => options.write = Some(value().into()),
                "--only" => options.only = Some(value()),
                "--delve" => options.delve = Some(value().into()),
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => panic!("unknown option {other}"),
            }
        }
        options
    }
}

/// Values of several runs.
struct Sample(Vec<f64>);

impl Sample {
    fn of(values: impl IntoIterator<Item = f64>) -> Sample {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Sample(values)
    }

    /// Not a number if there are no values.
    fn median(&self) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            (self.0[middle - 1] + self.0[middle]) / 2.0
        }
    }

    /// Median, least and greatest as cells of a table.
    fn cells(&self, digits: usize) -> String {
        let (least, greatest) = (self.0[0], self.0[self.0.len() - 1]);
        let median = self.median();
        format!("{median:.digits$} | {least:.digits$} | {greatest:.digits$}")
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// What one event costs the target, at the site that gotrace chooses and at the worst one.
fn cost_of_an_event(runs: usize) -> String {
    let mut target = Target::start("load", &[]);
    let measure = |target: &mut Target| -> f64 {
        let answer = target.ask(&format!("MEASURE {}", OPERATIONS / 2));
        number(&answer["nanoseconds_an_operation"])
    };
    let traced = |target: &mut Target, arguments: &[&str]| -> f64 {
        let (mut gotrace, _) = Gotrace::attach(target.pid(), arguments);
        gotrace.until("summary", |_| true);
        let nanoseconds = measure(target);
        let report = gotrace.interrupt().report();
        let totals = &report["totals"];
        let seen = number(&totals["sends"]) + number(&totals["receives"]);
        let lost = number(&report["loss"]["records"]);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let made = OPERATIONS as f64;
        assert!(
            seen + lost >= made,
            "each operation is one event: {totals:#}"
        );
        nanoseconds
    };
    let printing = |target: &mut Target| -> Option<f64> {
        bpftrace::version()?;
        let functions = ["runtime.chansend1", "runtime.chanrecv1"];
        let program = integration_tests::target::fixture("load");
        let bpftrace = Bpftrace::attach(&program, target.pid(), &functions, Does::Print);
        let nanoseconds = measure(target);
        assert!(bpftrace.end() > 0, "bpftrace printed nothing");
        Some(nanoseconds)
    };
    let empty = |target: &mut Target| -> f64 {
        let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full", "--bench-empty"]);
        gotrace.until("summary", |_| true);
        let nanoseconds = measure(target);
        gotrace.interrupt();
        nanoseconds
    };
    let mut columns: [Vec<f64>; 5] = Default::default();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for _ in 0..runs {
        let base = measure(&mut target);
        let empty = empty(&mut target) - base;
        let at_site = traced(&mut target, &["--level", "full"]) - base;
        let at_entry = traced(&mut target, &["--level", "full", "--bench-worst"]) - base;
        let printing = printing(&mut target).map(|nanoseconds| nanoseconds - base);
        for (column, value) in columns.iter_mut().zip([
            Some(base),
            Some(empty),
            Some(at_site),
            Some(at_entry),
            printing,
        ]) {
            column.extend(value);
        }
        let quotients = [
            Some(at_site / empty),
            Some(at_entry / at_site),
            printing.map(|printing| printing / at_site),
        ];
        for (column, value) in ratios.iter_mut().zip(quotients) {
            column.extend(value);
        }
    }
    let table = |names: &[&str], columns: &[Vec<f64>], digits| {
        let mut rows = String::new();
        for (name, column) in names.iter().zip(columns) {
            if !column.is_empty() {
                let cells = Sample::of(column.iter().copied()).cells(digits);
                writeln!(rows, "| {name} | {cells} |").expect("a string");
            }
        }
        rows
    };
    let promises = [
        ("event / empty", "≤ 1.4", 0.0..=1.4),
        ("worst / event", "≥ 8", 8.0..=f64::INFINITY),
        ("bpftrace / event", "≥ 10", 10.0..=f64::INFINITY),
    ];
    let mut comparison = String::new();
    for ((name, promise, range), column) in promises.into_iter().zip(&ratios) {
        if column.is_empty() {
            continue;
        }
        let sample = Sample::of(column.iter().copied());
        let kept = verdict(range.contains(&sample.median()));
        writeln!(
            comparison,
            "| {name} | {} | {promise} | {kept} |",
            sample.cells(2)
        )
        .expect("a string");
    }
    format!(
        "## What one event costs the target

One goroutine makes {OPERATIONS} sends and receives on a buffered channel, none of which blocks. Each is
one event with its record in the ring. Cost: time of an operation with the probes less the time without.
Empty: a program that returns at once, at the same sites. The worst case is the same record at the function's first
instruction (the stack check, which the kernel single-steps) with a wake-up of the reader per record. bpftrace
prints a line with the time and two registers at `chansend1` and `chanrecv1`.

| nanoseconds | median | least | greatest |
| --- | --- | --- | --- |
{}
| | median | least | greatest | promise | |
| --- | --- | --- | --- | --- | --- |
{comparison}",
        table(
            &[
                "an operation without probes",
                "an empty program at the chosen site",
                "an event at the chosen site",
                "an event at the worst one",
                "a line of bpftrace",
            ],
            &columns,
            0
        ),
    )
}

/// Whether the promised rate is read, and what happens beyond it.
fn rate_without_loss(runs: usize) -> String {
    let mut rows = String::new();
    let mut kept = true;
    for (name, arguments) in [
        ("at the promised rate", &["-rate", "500000"][..]),
        ("as fast as it can", &[]),
    ] {
        let (mut rates, mut losses) = (vec![], vec![]);
        for _ in 0..runs {
            let mut target = Target::start("load", arguments);
            let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full"]);
            target.ask("START");
            for _ in 0..4 {
                gotrace.until("summary", |_| true);
            }
            let truth = target.ask("STOP");
            let report = gotrace.interrupt().report();
            let made = number(&truth["sends"]) + number(&truth["receives"]);
            let totals = &report["totals"];
            let seen = number(&totals["sends"]) + number(&totals["receives"]);
            let lost = number(&report["loss"]["records"]);
            rates.push(made / number(&truth["elapsed_seconds"]));
            losses.push(lost);
            // Lost records of other kinds (a few parks) may be among the lost ones.
            kept &= seen <= made && seen + lost >= made && (lost > 0.0 || seen == made);
        }
        let (rates, losses) = (Sample::of(rates), Sample::of(losses));
        if name == "at the promised rate" {
            kept &= rates.median() >= 0.98 * RATE;
        }
        writeln!(rows, "| {name}: events a second | {} |", rates.cells(0)).expect("a string");
        writeln!(rows, "| {name}: records lost | {} |", losses.cells(0)).expect("a string");
    }
    format!(
        "## Events a second

Two goroutines on two cores fill and empty buffered channels; `gotrace run --level full` counts, and the
program counts. Promise: 500,000 a second with zero loss, or with the loss counted exactly (what was seen
and what was lost are together what the program made).

| | median | least | greatest |
| --- | --- | --- | --- |
{rows}
{}
",
        verdict(kept)
    )
}

/// How long until everything is shown once.
fn first_picture(runs: usize) -> String {
    let goroutines = GOROUTINES.to_string();
    let target = Target::start("many", &["-n", &goroutines]);
    let pid = target.pid_argument();
    let (mut attached, mut full, mut look) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        let begin = Instant::now();
        let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full"]);
        attached.push(milliseconds(begin.elapsed()));
        gotrace.until("summary", |summary| {
            summary["goroutines"]["total"].as_u64() >= Some(GOROUTINES)
        });
        full.push(milliseconds(begin.elapsed()));
        gotrace.interrupt();

        let begin = Instant::now();
        let finished = Gotrace::run(&["goroutines", "--pid", &pid, "--format", "json"]);
        look.push(milliseconds(begin.elapsed()));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    let (attached, full, look) = (Sample::of(attached), Sample::of(full), Sample::of(look));
    format!(
        "## Time to the first picture

A program with {GOROUTINES} parked goroutines, each on a channel of its own; from the start of the gotrace
process on. Promise: under a second.

| milliseconds | median | least | greatest |
| --- | --- | --- | --- |
| `gotrace run --level full`: probes placed | {} |
| `gotrace run --level full`: first summary with all goroutines | {} |
| `gotrace goroutines --format json`: everything printed | {} |

{}
",
        attached.cells(0),
        full.cells(0),
        look.cells(0),
        verdict(full.median() < 1000.0)
    )
}

/// How much memory a trace takes.
fn memory_of_a_trace(runs: usize) -> String {
    let mut rows = String::new();
    let cases = [
        (1_000, 1_000, 31.0, "1,000 goroutines, a channel each"),
        (100_000, 10_000, 60.0, "100,000 goroutines, 10,000 channels"),
    ];
    for (goroutines, channels, promised, name) in cases {
        let arguments = [
            "-n",
            &goroutines.to_string(),
            "-channels",
            &channels.to_string(),
        ];
        let target = Target::start("crowd", &arguments);
        let (mut most, mut mostly) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "park"]);
            for _ in 0..5 {
                gotrace.until("summary", |summary| {
                    summary["goroutines"]["total"].as_u64() >= Some(goroutines)
                });
            }
            most.push(high_water(gotrace.pid()));
            mostly.push(resident(gotrace.pid()).median());
            gotrace.interrupt();
        }
        for (sample, when) in [(most, "at most"), (mostly, "most of the time")] {
            let sample = Sample::of(sample);
            writeln!(
                rows,
                "| {name}: {when} | {} | ≤ {promised:.0} | {} |",
                sample.cells(1),
                verdict(sample.median() <= promised)
            )
            .expect("a string");
        }
    }
    format!(
        "## Memory of a trace

`gotrace run --level park`, findings and the server included: the most that it had resident at once until its fifth
summary, which is while it searches; and the median of what it has then, ten times a second for three seconds.

| MiB | median | least | greatest | promise | |
| --- | --- | --- | --- | --- | --- |
{rows}
"
    )
}

/// What a process has resident, MiB, ten times a second for three seconds.
fn resident(pid: u32) -> Sample {
    Sample::of((0..30).map(|_| {
        thread::sleep(Duration::from_millis(100));
        memory(pid, "VmRSS:")
    }))
}

/// The most memory that a process had resident at once, MiB.
fn high_water(pid: u32) -> f64 {
    memory(pid, "VmHWM:")
}

/// A size in a process's status, MiB.
fn memory(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"))
        .expect("the kernel counts it");
    kib.parse::<f64>().expect("a number") / 1024.0
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn verdict(kept: bool) -> &'static str {
    if kept { "Kept." } else { "Not kept." }
}

/// What ran where and when.
fn where_and_when(runs: usize) -> String {
    let runs = match runs {
        1 => "one run".to_owned(),
        runs => format!("medians of {runs} runs"),
    };
    let say = |program: &str, arguments: &[&str]| -> String {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo")
        .expect("/proc is there")
        .lines()
        .find_map(|line| {
            Some(
                line.strip_prefix("model name")?
                    .split_once(':')?
                    .1
                    .trim()
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let virtual_machine =
        if fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("hypervisor")) {
            ", a virtual machine"
        } else {
            ""
        };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let hello = Target::start("hello", &[]);
    let go = hello.ready["go_version"].as_str().expect("text").to_owned();
    hello.end_unharmed();
    format!(
        "*{}; {cpu}, {cores} cores{virtual_machine}; kernel {}; {}; {go}; {runs}.*\n",
        say("date", &["--utc", "+%F"]),
        say("uname", &["-r"]),
        say(
            &std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()),
            &["--version"]
        ),
    )
}
