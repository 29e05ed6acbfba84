//! Looks at all goroutines: how fast, with how much memory, and what the target notices, beside what
//! people use today.

mod delve;
mod measure;
pub(crate) mod search;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::{Gotrace, Target, eventually, provided};

use super::{Sample, milliseconds, number, verdict};
use delve::Delve;
use measure::look;

/// Goroutines of the look that is compared.
const MANY: u64 = 100_000;
/// Goroutines of the look whose memory is measured.
const MOST: u64 = 1_000_000;
/// Goroutines of the quick look.
const FEW: u64 = 1_000;
/// For how long the target watches itself where the look takes less.
const WATCH: Duration = Duration::from_secs(1);

const TEXT: &[&str] = &[];
const EACH: &[&str] = &["--group", "none"];
const JSON: &[&str] = &["--format", "json"];

/// All of it, a section of the report each; `dlv` is Delve, if it was named.
pub(crate) fn measure(runs: usize, dlv: Option<&Path>, add: &mut dyn FnMut(String)) {
    let delve = Delve::find(dlv);
    let delve = delve.as_ref();
    add(speed(runs, delve));
    add(stalls(runs, delve));
    add(memory(runs));
    add(first_output(runs, delve));
}

/// A column of measurements.
#[derive(Default)]
struct Column(Vec<f64>);

impl Column {
    fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    fn row(&self, table: &mut String, name: &str, digits: usize) {
        if !self.0.is_empty() {
            let cells = Sample::of(self.0.iter().copied()).cells(digits);
            writeln!(table, "| {name} | {cells} |").expect("a string");
        }
    }

    fn median(&self) -> f64 {
        Sample::of(self.0.iter().copied()).median()
    }

    /// The median of one by the other, run by run.
    fn over(&self, other: &Column) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        Sample::of(pairs.map(|(one, other)| one / other)).median()
    }
}

fn without_delve(delve: Option<&Delve>) -> String {
    match delve {
        Some(delve) => format!("Delve is {}.", delve.version),
        None => "Delve was left out: there is no `dlv` on PATH. `go install \
                 github.com/go-delve/delve/cmd/dlv@latest`, or `cargo xtask bench --delve PATH`."
            .to_owned(),
    }
}

fn crowd(goroutines: u64) -> Target {
    Target::start("crowd", &["-n", &goroutines.to_string()])
}

/// The time of a look.
fn speed(runs: usize, delve: Option<&Delve>) -> String {
    let target = crowd(MANY);
    let (mut bare, mut text, mut each, mut json) = <(Column, Column, Column, Column)>::default();
    let (mut profile, mut debugger) = <(Column, Column)>::default();
    for _ in 0..runs {
        bare.add(bare_reads(target.pid()));
        text.add(milliseconds(look(target.pid(), TEXT).time));
        each.add(milliseconds(look(target.pid(), EACH).time));
        json.add(milliseconds(look(target.pid(), JSON).time));
        profile.add(milliseconds(debug2(&target)));
        if let Some(delve) = delve {
            debugger.add(milliseconds(delve.goroutines(target.pid()).1));
        }
    }
    let mut rows = String::new();
    bare.row(&mut rows, "bare reads", 0);
    text.row(&mut rows, "`gotrace goroutines`, alike ones once", 0);
    each.row(&mut rows, "`gotrace goroutines --group none`", 0);
    json.row(&mut rows, "`gotrace goroutines --format json`", 0);
    profile.row(&mut rows, "`/debug/pprof/goroutine?debug=2`", 0);
    debugger.row(&mut rows, "Delve, `goroutines -t`", 0);
    let ratios = [
        ("text / bare reads", text.over(&bare), 3.0, false),
        ("each / bare reads", each.over(&bare), 3.0, false),
        ("JSON / bare reads", json.over(&bare), 3.0, false),
        ("debug=2 / text", profile.over(&text), 6.0, true),
        ("Delve / text", debugger.over(&text), 100.0, true),
    ];
    let mut kept = true;
    let mut comparison = String::new();
    for (name, ratio, promised, at_least) in ratios {
        if ratio.is_nan() {
            continue;
        }
        kept &= if at_least {
            ratio >= promised
        } else {
            ratio <= promised
        };
        let sign = if at_least { "≥" } else { "≤" };
        writeln!(comparison, "| {name} | {ratio:.1} | {sign} {promised} |").expect("a string");
    }
    format!(
        "## A look at {MANY} goroutines

Parked up to four calls deep, each on a channel of its own. gotrace: the whole command, from the start of
the process to the end of its output, which a pipe takes. Bare reads: a program that reads every g, sudog
and hchan and 512 bytes of each stack, neighbours merged, and does nothing else; only its reads count.
The profile is what the program gives of itself, over HTTP on loopback. {}

| milliseconds | median | least | greatest |
| --- | --- | --- | --- |
{rows}
| | median of the runs' ratios | promise |
| --- | --- | --- |
{comparison}
{}
",
        without_delve(delve),
        verdict(kept)
    )
}

/// Milliseconds of one run of the bare reads, with buffers that were used before.
fn bare_reads(pid: u32) -> f64 {
    let program = provided("GOTRACE_BARE_READS", "release/examples/bare_reads");
    let output = Command::new(program)
        .args([&pid.to_string(), "--times", "2"])
        .output()
        .expect("the program can be started");
    assert!(output.status.success(), "bare_reads: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let nanoseconds = text.lines().last().and_then(|line| line.parse().ok());
    let nanoseconds = nanoseconds.expect("it prints nanoseconds");
    milliseconds(Duration::from_nanos(nanoseconds))
}

/// Whether a process is so far that it has goroutines.
fn can_look(pid: u32) -> bool {
    Gotrace::run(&["goroutines", "--pid", &pid.to_string()]).code == Some(0)
}

fn debug2(target: &Target) -> Duration {
    let begin = Instant::now();
    let profile = target.get("/debug/pprof/goroutine?debug=2");
    let took = begin.elapsed();
    // The runtime cuts it off at 64 MiB.
    let shown = profile.matches("\n\ngoroutine ").count() as u64;
    assert!(shown >= MANY, "the profile is complete: {shown} goroutines");
    took
}

/// A process that computes; killed when dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Busy {
        let mut command = Command::new("sh");
        command
            .args(["-c", "while :; do :; done"])
            .stdin(Stdio::null());
        Busy(command.spawn().expect("there is a shell"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It does not end by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the target stands still.
fn stalls(runs: usize, delve: Option<&Delve>) -> String {
    type Look<'a> = (&'static str, Box<dyn Fn(&Target) + 'a>);
    let looks: Vec<Look<'_>> = [
        Some::<Look<'_>>(("nobody looks", Box::new(|_| std::thread::sleep(WATCH)))),
        Some((
            "nobody looks, another process computes",
            Box::new(|_| {
                let _busy = Busy::start();
                std::thread::sleep(WATCH);
            }),
        )),
        Some((
            "`gotrace goroutines`, again and again",
            Box::new(|target| {
                let begin = Instant::now();
                while begin.elapsed() < WATCH {
                    look(target.pid(), TEXT);
                }
            }),
        )),
        Some((
            "`/debug/pprof/goroutine?debug=2`, once",
            Box::new(|target| {
                debug2(target);
            }),
        )),
        delve.map(|delve| -> Look<'_> {
            (
                "Delve, `goroutines -t`, once",
                Box::new(|target| {
                    delve.goroutines(target.pid());
                }),
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect();

    let mut target = crowd(MANY);
    let mut worst: Vec<Column> = looks.iter().map(|_| Column::default()).collect();
    for _ in 0..runs {
        for ((_, look), worst) in looks.iter().zip(&mut worst) {
            target.say("WATCH");
            look(&target);
            let seen = target.ask("TELL");
            worst.add(number(&seen["worst_nanoseconds"]) / 1e6);
        }
    }
    target.end_unharmed();
    let mut rows = String::new();
    for ((name, _), worst) in looks.iter().zip(&worst) {
        worst.row(&mut rows, name, 2);
    }
    let medians: Vec<f64> = worst
        .iter()
        .map(|worst| Sample::of(worst.0.iter().copied()).median())
        .collect();
    let greatest = worst[..2]
        .iter()
        .flat_map(|column| column.0.iter().copied());
    let kept = medians[2] <= greatest.fold(0.0, f64::max);
    format!(
        "## What the target notices of a look

The same program, with one goroutine that does nothing but look at the clock: its longest gap between two
looks. Promise: with gotrace, the median is within what is seen while nobody looks, an idle machine's or
one's where another process computes.

| worst stall, milliseconds | median | least | greatest |
| --- | --- | --- | --- |
{rows}
{}
",
        verdict(kept)
    )
}

/// gotrace's own memory.
fn memory(runs: usize) -> String {
    let target = crowd(MOST);
    let forms = [
        ("alike ones once", TEXT),
        ("`--group none`", EACH),
        ("`--format json`", JSON),
    ];
    let mut memory = forms.map(|_| Column::default());
    let mut seconds = forms.map(|_| Column::default());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = |bytes: u64| bytes as f64 / MOST as f64;
    for _ in 0..runs {
        for ((_, options), (memory, seconds)) in
            forms.iter().zip(memory.iter_mut().zip(&mut seconds))
        {
            let took = look(target.pid(), options);
            memory.add(each(took.memory));
            seconds.add(took.time.as_secs_f64());
        }
    }
    let (mut bytes, mut times) = (String::new(), String::new());
    let mut kept = true;
    for ((name, _), (memory, seconds)) in forms.iter().zip(memory.iter().zip(&seconds)) {
        memory.row(&mut bytes, name, 0);
        seconds.row(&mut times, name, 2);
        kept &= memory.0.iter().all(|bytes| *bytes <= 1024.0);
    }
    format!(
        "## A look at {MOST} goroutines

Nothing is cut. Promise: at most 1024 bytes of gotrace's own memory (the most that it had resident at once)
for each goroutine, in each form of output.

| bytes a goroutine | median | least | greatest |
| --- | --- | --- | --- |
{bytes}
| seconds | median | least | greatest |
| --- | --- | --- | --- |
{times}
{}
",
        verdict(kept)
    )
}

/// How soon something is shown.
fn first_output(runs: usize, delve: Option<&Delve>) -> String {
    let small = crowd(FEW);
    let mut looked = Column::default();
    let mut debugger = Column::default();
    let mut large = Large::start(delve);
    // Until their runtimes are up.
    for (_, pid, _) in &large.programs {
        eventually("it can be looked at", || can_look(*pid).then_some(()));
    }
    for _ in 0..runs {
        looked.add(milliseconds(look(small.pid(), TEXT).first));
        if let Some(delve) = delve {
            debugger.add(milliseconds(delve.goroutines(small.pid()).0));
        }
        for (_, pid, column) in &mut large.programs {
            column.add(milliseconds(look(*pid, TEXT).first));
        }
    }
    let mut rows = String::new();
    looked.row(&mut rows, "`gotrace goroutines`", 0);
    debugger.row(&mut rows, "Delve, `goroutines -t`", 0);
    let mut kept = Sample::of(looked.0.iter().copied()).median() < 300.0;
    for (name, _, column) in &large.programs {
        kept &= Sample::of(column.0.iter().copied()).median() < 300.0;
        column.row(&mut rows, name, 0);
    }
    format!(
        "## From the start to the first output

A program with {FEW} goroutines, and large ones. The binary is looked at anew each time: there is no cache.
Promise: under 300.

| milliseconds | median | least | greatest |
| --- | --- | --- | --- |
{rows}
{}
",
        verdict(kept)
    )
}

/// Programs with large binaries: a name, the pid, what was measured.
struct Large {
    programs: Vec<(String, u32, Column)>,
    children: Vec<Child>,
    _directory: tempfile::TempDir,
}

impl Large {
    /// Starts those that are here.
    fn start(delve: Option<&Delve>) -> Large {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut large = Large {
            programs: Vec::new(),
            children: Vec::new(),
            _directory: directory,
        };
        let path = |name| large._directory.path().join(name).display().to_string();
        let (config, data) = (path("prometheus.yml"), path("data"));
        std::fs::write(&config, "global: {}\n").expect("a file can be written");
        if let Some(program) = std::env::var_os("GOTRACE_PROMETHEUS") {
            let arguments = [
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={data}"),
                "--web.listen-address=127.0.0.1:0".to_owned(),
            ];
            large.add(
                "Debian's prometheus, stripped",
                program.as_ref(),
                &arguments,
            );
        }
        if let Some(delve) = delve {
            let arguments = ["dap", "--listen=127.0.0.1:0"].map(str::to_owned);
            large.add("Delve itself, with DWARF", &delve.program, &arguments);
        }
        large
    }

    fn add(&mut self, name: &str, program: &Path, arguments: &[String]) {
        let size = std::fs::metadata(program).map_or(0, |file| file.len()) >> 20;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let name = format!("`gotrace goroutines`, of a binary of {size} MiB: {name}");
        self.programs.push((name, child.id(), Column::default()));
        self.children.push(child);
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        for child in &mut self.children {
            // They do not end by themselves.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
