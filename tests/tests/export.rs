//! `gotrace export`: every format, read by the tool that it is for, against what the target itself counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::json::{list, number};
use integration_tests::text::assert_no_probe;
use integration_tests::{Finished, Gotrace, Target, gotrace, provided, require_root};
use serde_json::Value;
use tempfile::TempDir;

/// A recording, and what is true of it.
struct Recorded {
    directory: TempDir,
    path: PathBuf,
    report: Value,
    truth: Value,
}

impl Recorded {
    fn of(program: &str, arguments: &[&str], work: impl FnOnce(&mut Target) -> Value) -> Recorded {
        require_root();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("recording");
        let mut target = Target::start(program, &[]);
        let mut gotrace = Gotrace::record(target.pid(), &path, arguments);
        gotrace.until("summary", |summary| {
            !summary["memory_age_seconds"].is_null()
        });
        let truth = work(&mut target);
        gotrace.until("summary", |_| true);
        let report = gotrace.interrupt().report();
        target.end_unharmed();
        Recorded {
            directory,
            path,
            report,
            truth,
        }
    }

    /// Of the program `counts`, which counts what it does.
    fn counts() -> Recorded {
        let arguments = ["--level", "full", "--event-ring", "64"];
        let recorded = Recorded::of("counts", &arguments, |target| target.ask("GO"));
        let loss = &recorded.report["loss"];
        assert_eq!(loss["records"], 0, "{loss:#}");
        recorded
    }

    /// With so little room that events are lost.
    fn lossy() -> Recorded {
        let arguments = ["--level", "full", "--ring-kib", "4", "--interval", "100ms"];
        let recorded = Recorded::of("ledger", &arguments, |target| target.ask("RUN 200000"));
        assert!(number(&recorded.report["loss"]["records"]) > 0);
        recorded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Exports into a file of this test.
    fn export(&self, name: &str, arguments: &[&str]) -> (PathBuf, Finished) {
        let file = self.file(name);
        let source = ["--from", text(&self.path), "-o", text(&file)];
        let finished = Gotrace::run(&[&["export"], arguments, &source].concat());
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert_eq!(finished.stdout, [""; 0], "{arguments:?}");
        (file, finished)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// What a program says of a file.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask test`"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{error}");
    said
}

/// What a script of tests/readers says of a file.
#[track_caller]
fn read_by(script: &str, file: &Path) -> Value {
    let readers = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers");
    let mut python = Command::new("python3");
    if let Some(perfetto) = std::env::var_os("GOTRACE_PERFETTO") {
        python.env("PYTHONPATH", perfetto);
    }
    let said = said(python.arg(readers.join(script)).arg(file));
    serde_json::from_str(&said).expect("the script says JSON")
}

/// `go tool pprof`, which downloads nothing and looks for no other files.
#[track_caller]
fn pprof(arguments: &[&str], file: &Path) -> String {
    let go = std::env::var_os("GOTRACE_GO").unwrap_or_else(|| "go".into());
    let mut command = Command::new(go);
    command
        .args(["tool", "pprof", "-symbolize=none"])
        .args(arguments)
        .arg(file)
        .env_remove("GOROOT")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOWORK", "off");
    if let Some(cache) = std::env::var_os("GOTRACE_CACHE") {
        command.env("GOCACHE", Path::new(&cache).join("go-build"));
    }
    said(&mut command)
}

/// How many of a list there are of each name.
fn by_name<'a>(items: impl Iterator<Item = &'a Value>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts
            .entry(item["name"].as_str().expect("a name"))
            .or_default() += 1;
    }
    counts
}

#[test]
fn perfetto_reads_goroutines_channels_and_arrows() {
    let recorded = Recorded::counts();
    let (truth, report) = (&recorded.truth, &recorded.report);
    let (file, _) = recorded.export("trace", &["perfetto"]);
    let trace = read_by("perfetto_trace.py", &file);
    assert_eq!(trace["errors"], serde_json::json!([]));

    // Every goroutine that the report knows has a track, below one for where it was created.
    let tracks = list(&trace, "tracks");
    for goroutine in list(report, "goroutines") {
        let title = format!("G{}", goroutine["goid"]);
        let of = |track: &&Value| {
            let name = track["name"].as_str().expect("a name");
            name.split(' ').next() == Some(title.as_str())
        };
        let track = tracks.iter().find(of);
        let track = track.unwrap_or_else(|| panic!("there is no {title} in {tracks:#?}"));
        let parent = track["parent"].as_str().expect("a parent");
        assert!(
            parent.starts_with("go at ") || parent == "created by nobody known",
            "{track}"
        );
    }

    // Each wait is a slice, and what began before the recording says so.
    let slices = list(&trace, "slices");
    let whole = |slice: &&Value| slice["arguments"]["began before"].is_null();
    let waits = by_name(slices.iter().filter(whole));
    for (reason, parks) in truth["parks"].as_object().expect("parks by reason") {
        assert_eq!(
            waits.get(reason.as_str()),
            parks.as_u64().as_ref(),
            "{reason}"
        );
    }
    for slice in slices.iter().filter(|slice| slice["name"] == "chan send") {
        assert!(slice["arguments"]["channel"].is_u64(), "{slice}");
        let at = slice["arguments"]["at"].as_str().expect("a place");
        assert!(at.starts_with("main.") && at.contains("main.go:"), "{at}");
    }

    // Each arrow has both ends, on the tracks that its beginning names.
    let arrows = list(&trace, "arrows");
    let mut begins = Vec::new();
    for arrow in arrows {
        let (from, to) = (list(arrow, "from"), list(arrow, "to"));
        let ([from], [to]) = (from, to) else {
            panic!("an arrow without two ends: {arrow:#}");
        };
        assert!(number(&from["from"]) <= number(&to["from"]), "{arrow:#}");
        let title = format!("G{} ", from["arguments"]["to goroutine"]);
        let track = to["track"].as_str().expect("a track");
        assert!(format!("{track} ").starts_with(&title), "{arrow:#}");
        let end = if from["name"] == "send" {
            "receive"
        } else {
            "runnable"
        };
        assert_eq!(to["name"], end, "{arrow:#}");
        begins.push(from.clone());
    }
    let begins = by_name(begins.iter());
    assert_eq!(begins.get("send"), truth["messages"].as_u64().as_ref());
    assert_eq!(begins.get("go"), truth["created"].as_u64().as_ref());
    assert_eq!(
        begins.get("wake"),
        report["totals"]["wakeups"].as_u64().as_ref()
    );

    // A channel with a buffer has a counter, which goes no higher than its capacity.
    let mut buffered = 0;
    for channel in list(truth, "channels") {
        let name = format!(
            "len of {}",
            channel["address"].as_str().expect("an address")
        );
        let Some(counter) = trace["counters"][&name].as_array() else {
            continue;
        };
        buffered += 1;
        let most = counter.iter().map(number).max();
        assert!(most <= channel["cap"].as_u64(), "{channel}");
        assert!(most > Some(0), "{channel}");
    }
    assert!(buffered > 0, "{truth:#}");
}

/// Chrome's events, by phase.
fn chrome(file: &Path) -> BTreeMap<String, Vec<Value>> {
    let json = fs::read(file).expect("it was written");
    let trace: Value = serde_json::from_slice(&json).expect("it is JSON");
    let mut phases = BTreeMap::<String, Vec<Value>>::new();
    for event in list(&trace, "traceEvents") {
        for field in ["ph", "name", "pid", "tid", "ts"] {
            assert!(!event[field].is_null(), "no {field} in {event}");
        }
        let phase = event["ph"].as_str().expect("a phase").to_owned();
        phases.entry(phase).or_default().push(event.clone());
    }
    phases
}

fn micros(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn chrome_has_the_same() {
    let recorded = Recorded::counts();
    let truth = &recorded.truth;
    let (file, _) = recorded.export("trace.json", &["chrome"]);
    let phases = chrome(&file);

    // Whoever has an event has a name.
    let named: Vec<&Value> = phases["M"].iter().map(|event| &event["tid"]).collect();
    let (begins, ends) = (&phases["B"], &phases["E"]);
    let slices = || phases["X"].iter().chain(begins);
    assert!(slices().all(|slice| named.contains(&&slice["tid"])));
    let whole = |slice: &&Value| slice["args"]["began before"].is_null();
    let waits = by_name(begins.iter().filter(whole));
    for (reason, parks) in truth["parks"].as_object().expect("parks by reason") {
        assert_eq!(
            waits.get(reason.as_str()),
            parks.as_u64().as_ref(),
            "{reason}"
        );
    }
    // What a goroutine does ends before it does something else: at the very same number at the earliest.
    assert_eq!(begins.len(), ends.len());
    let mut by_thread = BTreeMap::<u64, Vec<(f64, f64)>>::new();
    for (begin, end) in begins.iter().zip(ends) {
        assert_eq!(begin["tid"], end["tid"]);
        assert_eq!(begin["name"], end["name"]);
        let slice = (micros(&begin["ts"]), micros(&end["ts"]));
        let slices = by_thread.entry(number(&begin["tid"])).or_default();
        slices.push(slice);
    }
    for slices in by_thread.values() {
        assert!(slices.iter().all(|(begin, end)| begin <= end));
        for pair in slices.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{pair:?}");
        }
    }

    // Each arrow begins and ends once.
    let ends: BTreeMap<u64, &Value> = phases["f"]
        .iter()
        .map(|end| (number(&end["id"]), end))
        .collect();
    assert_eq!(ends.len(), phases["s"].len());
    assert_eq!(ends.len(), phases["f"].len());
    for begin in &phases["s"] {
        let end = ends[&number(&begin["id"])];
        assert_eq!(begin["name"], end["name"]);
        assert!(micros(&begin["ts"]) <= micros(&end["ts"]), "{begin} {end}");
    }
    let arrows = by_name(phases["s"].iter());
    assert_eq!(arrows.get("message"), truth["messages"].as_u64().as_ref());
    assert_eq!(arrows.get("go"), truth["created"].as_u64().as_ref());
    assert!(phases["C"].iter().all(|fill| fill["args"]["len"].is_u64()));
}

#[test]
fn csv_has_a_row_an_event() {
    let recorded = Recorded::counts();
    let (file, _) = recorded.export("events.csv", &["csv"]);
    let rows = read_by("csv_rows.py", &file);
    let rows = rows.as_array().expect("a list");
    let listed = Gotrace::run(&[
        "replay",
        text(&recorded.path),
        "--events",
        "--format",
        "json",
    ]);
    let listed: Vec<Value> = listed
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .filter(|line: &Value| line["type"] == "event")
        .collect();
    assert_eq!(rows.len(), listed.len());
    let field = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for (row, event) in rows.iter().zip(&listed) {
        for name in [
            "time",
            "goid",
            "event",
            "other",
            "channel",
            "object",
            "direction",
            "wait_reason",
            "len",
            "cap",
            "case",
        ] {
            assert_eq!(row[name], field(&event[name]), "{name} of {row} {event}");
        }
        let site = row["site"].as_str().expect("a place");
        let function = event["site"]["function"].as_str().unwrap_or_default();
        assert!(site.starts_with(function), "{row} {event}");
    }
    let kinds = |kind: &str| rows.iter().filter(|row| row["event"] == kind).count() as u64;
    for (kind, counted) in [
        ("send", "sends"),
        ("receive", "receives"),
        ("close", "closes"),
        ("create", "created"),
    ] {
        assert_eq!(
            Some(kinds(kind)),
            recorded.truth[counted].as_u64(),
            "{kind}"
        );
    }
    // A part of it.
    let (file, _) = recorded.export("part.csv", &["csv", "--to-time", "+0s"]);
    let part = read_by("csv_rows.py", &file);
    assert!(part.as_array().expect("a list").len() < rows.len());
}

#[test]
fn pprof_counts_goroutines() {
    require_root();
    let mut demo = Target::start("demo", &[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("goroutines.pb.gz");
    let pid = demo.pid_argument();
    let arguments = ["export", "pprof", "--pid", &pid, "-o", text(&file)];
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let top = pprof(&["-top", "-nodecount=1000"], &file);
    assert!(top.contains("Type: goroutine"), "{top}");
    for function in ["runtime.gopark", "main.reserveStock", "main.chargeCard"] {
        assert!(top.contains(function), "no {function} in {top}");
    }
    // The deadlock has stood since the beginning.
    let stock = pprof(&["-top", "-focus=main.reserveStock"], &file);
    assert!(
        stock.contains("Showing nodes accounting for 1, "),
        "{stock}"
    );
    assert!(pprof(&["-comments"], &file).contains("of the runtime are left out"));

    // The same as a line a stack.
    let folded = Gotrace::run(&["export", "folded", "--pid", &pid]);
    assert_eq!(folded.code, Some(0), "{folded:#?}");
    let stacks: Vec<(&str, u64)> = folded
        .stdout
        .iter()
        .map(|line| {
            let (stack, count) = line.rsplit_once(' ').expect("a stack and a number");
            (stack, count.parse().expect("a number"))
        })
        .collect();
    let stock: Vec<_> = stacks
        .iter()
        .filter(|(stack, _)| stack.contains("main.reserveStock;"))
        .collect();
    assert_eq!(stock.len(), 1, "{stacks:#?}");
    assert_eq!(stock[0].1, 1);
    assert!(stock[0].0.ends_with(";runtime.gopark"), "{stock:#?}");
    assert!(demo.is_alive());
}

#[test]
fn pprof_tells_where_goroutines_block() {
    let recorded = Recorded::counts();
    let (file, _) = recorded.export("block.pb.gz", &["pprof", "--profile", "block"]);
    let top = pprof(&["-top", "-nodecount=1000"], &file);
    assert!(top.contains("Type: delay"), "{top}");
    assert!(top.contains("main."), "{top}");
    // How often, by reason. pprof rounds, but not such numbers.
    let tags = pprof(&["-tags", "-sample_index=contentions"], &file);
    for (reason, parks) in recorded.truth["parks"].as_object().expect("parks") {
        let line = tags
            .lines()
            .find(|line| line.trim_end().ends_with(&format!(": {reason}")));
        let line = line.unwrap_or_else(|| panic!("no {reason} in {tags}"));
        let count = line.split_whitespace().next().expect("a number");
        assert_eq!(count, parks.to_string(), "{reason} in {tags}");
    }
    assert!(pprof(&["-comments"], &file).contains("0 events are lost, in 0 gaps"));

    // The same nanoseconds, as lines.
    let (file, finished) = recorded.export("block.folded", &["folded", "--profile", "block"]);
    assert!(finished.stderr.contains("0 events are lost, in 0 gaps"));
    let folded = fs::read_to_string(file).expect("it was written");
    let nanos = |line: &str| -> u64 {
        let (_, number) = line.rsplit_once(' ').expect("a stack and a number");
        number.parse().expect("a number")
    };
    assert!(folded.lines().map(nanos).sum::<u64>() > 0, "{folded}");
}

#[test]
fn graphviz_draws_who_is_stuck() {
    require_root();
    let stuck = Target::start("stuck", &[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("waits.dot");
    let pid = stuck.pid_argument();
    let arguments = ["export", "dot", "--pid", &pid, "-o", text(&file)];
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let dot = std::env::var_os("GOTRACE_DOT").unwrap_or_else(|| "dot".into());
    let svg = said(Command::new(dot).arg("-Tsvg").arg(&file));
    for role in ["editor", "reviewer", "printer"] {
        let goid = &stuck.ready[role];
        assert!(svg.contains(&format!("goroutine {goid}")), "{role}: {svg}");
    }
    let mermaid = Gotrace::run(&["export", "mermaid", "--pid", &pid]);
    assert!(mermaid.stdout[0].starts_with("flowchart"), "{mermaid:#?}");
    stuck.end_unharmed();
}

#[test]
fn loss_is_seen_in_each_format() {
    let recorded = Recorded::lossy();
    let lost = number(&recorded.report["loss"]["records"]);

    let (file, finished) = recorded.export("trace", &["perfetto"]);
    assert!(finished.stderr.contains(" lost, in "), "{finished:#?}");
    let trace = read_by("perfetto_trace.py", &file);
    assert_eq!(trace["errors"], serde_json::json!([]));
    let slices = list(&trace, "slices");
    let gaps = slices
        .iter()
        .filter(|slice| slice["track"] == "lost events");
    let told: u64 = gaps
        .map(|gap| number(&gap["arguments"]["lost events"]))
        .sum();
    assert_eq!(told, lost);
    assert!(by_name(slices.iter()).contains_key("not known"));

    let (file, _) = recorded.export("trace.json", &["chrome"]);
    let phases = chrome(&file);
    let gaps = phases["X"].iter().filter(|slice| slice["cat"] == "loss");
    let told: u64 = gaps.map(|gap| number(&gap["args"]["lost events"])).sum();
    assert_eq!(told, lost);

    let (file, _) = recorded.export("events.csv", &["csv"]);
    let rows = read_by("csv_rows.py", &file);
    let counts = rows.as_array().expect("a list").iter().filter_map(|row| {
        let count = row["count"].as_str().expect("text");
        count.parse::<u64>().ok().filter(|_| row["event"] == "lost")
    });
    assert_eq!(counts.sum::<u64>(), lost);

    let said = format!("{lost} events are lost, in ");
    let (file, _) = recorded.export("block.pb.gz", &["pprof", "--profile", "block"]);
    assert!(pprof(&["-comments"], &file).contains(&said));
    let (_, finished) = recorded.export("block.folded", &["folded", "--profile", "block"]);
    assert!(finished.stderr.contains(&said), "{finished:#?}");
}

#[test]
fn a_live_process_is_recorded_first() {
    require_root();
    let mut target = Target::start("demo", &[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, place) = (directory.path().join("trace"), directory.path().join("tmp"));
    fs::create_dir(&place).expect("a directory of ours");
    let mut command = Command::new(gotrace::program());
    command
        .args(["export", "perfetto", "--for", "1s", "--pid"])
        .arg(target.pid_argument())
        .arg("-o")
        .arg(&file)
        .env("TMPDIR", &place);
    let finished = Gotrace::start_command(command).finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.stdout, [""; 0]);
    assert!(finished.stderr.contains(" events"), "{finished:#?}");
    assert!(target.is_alive());
    assert_no_probe(target.pid());
    let left = fs::read_dir(&place).expect("it is there").count();
    assert_eq!(left, 0, "nothing is left behind");
    let trace = read_by("perfetto_trace.py", &file);
    assert_eq!(trace["errors"], serde_json::json!([]));
    assert!(!list(&trace, "arrows").is_empty());
}

#[test]
fn what_a_source_has_not_is_said() {
    require_root();
    let hello = Target::start("hello", &[]);
    let pid = hello.pid_argument();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let snapshot = directory.path().join("snapshot");
    let observed = directory.path().join("observed");
    let taken = directory.path().join("taken");
    fs::write(&taken, "mine").expect("a file of ours");
    let made = Gotrace::run(&["snapshot", "--pid", &pid, "-o", text(&snapshot)]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let arguments = ["--level", "observe", "--duration", "1s"];
    let made = Gotrace::record(hello.pid(), &observed, &arguments).finish();
    assert_eq!(made.code, Some(0), "{made:#?}");
    let (snapshot, observed) = (text(&snapshot), text(&observed));
    let program = provided("GOTRACE_FIXTURES", "fixtures/go1.27.3").join("hello");
    for (arguments, said) in [
        (
            vec!["csv", "--from", snapshot],
            "it tells how everything was",
        ),
        (
            vec!["perfetto", "--from", snapshot, "-o", "-"],
            "it tells how everything was",
        ),
        (
            vec!["folded", "--profile", "block", "--from", snapshot],
            "make a recording with `gotrace record`",
        ),
        (
            vec!["chrome", "--from", observed],
            "recorded at `--level observe`",
        ),
        (
            vec!["csv", "--pid", &pid, "--level", "observe"],
            "sees no events",
        ),
        (
            vec!["dot", "--profile", "block", "--pid", &pid],
            "has no profiles",
        ),
        (vec!["pprof", "--pid", &pid, "--for", "1s"], "looks once"),
        (
            vec!["csv", "--from", observed, "--at", "-1s"],
            "--from-time",
        ),
        (
            vec!["dot", "--from", observed, "--to-time", "-1s"],
            "give --at",
        ),
        (
            vec!["csv", "--", text(&program)],
            "give a file with --output",
        ),
        (
            vec!["csv", "--pid", &pid, "-o", text(&taken)],
            "cannot write",
        ),
    ] {
        let finished = Gotrace::run(&[&["export"], &arguments[..]].concat());
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:#?}");
        assert!(
            finished.stderr.contains(said),
            "{arguments:?}: {finished:#?}"
        );
        assert!(finished.stderr.contains("next: "), "{finished:#?}");
        assert_eq!(finished.stdout, [""; 0], "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(&taken).expect("it is there"), "mine");
    // What fails leaves nothing half done.
    let partial = directory.path().join("partial");
    let failed = Gotrace::run(&["export", "csv", "--from", snapshot, "-o", text(&partial)]);
    assert_eq!(failed.code, Some(2));
    assert!(!partial.exists());

    // A terminal, as `script` makes one, is no place for binary.
    let command = format!(
        "{} export pprof --from {snapshot}",
        text(&gotrace::program())
    );
    let terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .output()
        .expect("`script` of util-linux is there");
    let shown = String::from_utf8_lossy(&terminal.stdout);
    assert_eq!(terminal.status.code(), Some(2), "{shown}");
    assert!(shown.contains("nothing for a terminal"), "{shown}");

    // What a snapshot has, it gives.
    for format in ["pprof", "folded", "dot", "mermaid"] {
        let file = directory.path().join(format);
        let arguments = ["export", format, "--from", snapshot, "-o", text(&file)];
        let finished = Gotrace::run(&arguments);
        let size = fs::metadata(&file).map(|file| file.len());
        match format {
            // It was not searched for who is stuck.
            "dot" | "mermaid" if finished.code == Some(2) => {
                assert!(finished.stderr.contains("cannot tell who is stuck"));
            }
            _ => {
                assert_eq!(finished.code, Some(0), "{finished:#?}");
                assert!(size.expect("it was written") > 0, "{format}");
            }
        }
    }
    hello.end_unharmed();
}

#[test]
fn a_command_is_traced_from_its_beginning() {
    require_root();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("events.csv");
    let program = provided("GOTRACE_FIXTURES", "fixtures/go1.27.3").join("stuck");
    let arguments = [
        "export",
        "csv",
        "--for",
        "30s",
        "-o",
        text(&file),
        "--",
        text(&program),
        "-for",
        "500ms",
    ];
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let rows = read_by("csv_rows.py", &file);
    let rows = rows.as_array().expect("a list");
    // Whoever is cast was created after the runtime had begun, and each was seen to be.
    let started = |row: &&Value| row["start"].as_str().expect("text").starts_with("main.");
    assert_eq!(rows.iter().filter(started).count(), 7, "{rows:#?}");
}
