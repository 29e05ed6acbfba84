//! What gotrace sees of the running programs, against what these say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use integration_tests::text::assert_no_probe;
use integration_tests::{Gotrace, Target};
use serde_json::Value;

use crate::cells::{Cell, Live};

/// Where goroutines of `truth` wait that can never run again: on a channel that nobody else knows, on
/// no channel, in a select without cases.
const LOST: [&str; 3] = ["main.leak", "main.receiveNil", "main.block"];

/// How many of them wait at the first of these places.
const LEAKED: usize = 4;

/// Compares all that `truth` and `counts` know.
///
/// # Panics
///
/// When something does not agree.
pub(crate) fn check(cell: &Cell) -> Live {
    let target = Target::start_file(&cell.directory.join("truth"), &[]);
    let goroutines = compare_goroutines(cell, &target);
    let channels = compare_channels(&target);
    compare_findings(&target);
    // Traced, it is still the same.
    let arguments = ["--level", "full", "--duration", "1s"];
    let report = Gotrace::attach(target.pid(), &arguments).0.finish();
    assert!(matches!(report.code, Some(0 | 1)), "{report:#?}");
    assert_eq!(report.report()["ended"], "duration");
    assert_no_probe(target.pid());
    target.end_unharmed();

    Live {
        goroutines,
        channels,
        counting_tests: compare_counts(cell),
    }
}

fn document(command: &str, target: &Target) -> Value {
    let finished = Gotrace::run(&[command, "--pid", &target.pid_argument(), "--format", "json"]);
    assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
    let schema = match command {
        "deadlocks" => "gotrace.findings/1".to_owned(),
        other => format!("gotrace.{other}/1"),
    };
    let document = finished.document(&schema);
    assert_eq!(document["errors"], Value::Array(Vec::new()), "{document:#}");
    assert_eq!(document["snapshot"]["moving"], 0, "{document:#}");
    document
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    match &object[field] {
        Value::Null => &[],
        other => other.as_array().expect("a list"),
    }
}

/// Each goroutine of the program is there, in the state and at the place that the runtime shows.
fn compare_goroutines(cell: &Cell, target: &Target) -> usize {
    let document = document("goroutines", target);
    let about = &document["target"];
    assert_eq!(about["go_version"], format!("go{}", cell.go), "{about:#}");
    assert_eq!(about["arch"], cell.arch, "{about:#}");
    assert_eq!(about["stripped"], cell.with_symbols.is_some(), "{about:#}");
    assert_eq!(about["pie"], cell.column.contains("PIE"), "{about:#}");

    let mut found: BTreeMap<u64, &Value> = list(&document, "goroutines")
        .iter()
        .filter(|goroutine| goroutine["system"] == false)
        .map(|goroutine| (number(&goroutine["goid"]), goroutine))
        .collect();
    let main = found.remove(&number(&target.ready["main"]));
    // It reads its input, which is a pipe that blocks.
    assert_eq!(main.expect("main is there")["state"], "syscall");

    let truth = list(&target.ready, "goroutines");
    for goroutine in truth {
        let found = found
            .remove(&number(&goroutine["goid"]))
            .unwrap_or_else(|| panic!("{goroutine:#} was not found"));
        let state = match found["state"].as_str() {
            Some("waiting") => &found["wait_reason"],
            _ => &found["state"],
        };
        assert_eq!(*state, goroutine["state"], "{found:#}");
        let stack = list(found, "stack");
        let of_main = |frame: &&Value| {
            let function = frame["function"].as_str();
            function.is_some_and(|function| function.starts_with("main."))
        };
        let frame = stack.iter().find(of_main).expect("it is in main");
        assert_eq!(frame["function"], goroutine["function"], "{found:#}");
        assert_eq!(frame["line"], goroutine["line"], "{found:#}");
        // The whole stack: it ends where the goroutine began.
        let last = stack.last().expect("it has frames");
        assert_eq!(last["function"], found["start"]["function"], "{found:#}");
    }
    assert!(found.is_empty(), "the program has no {found:#?}");
    assert_eq!(truth.len(), if cell.cgo { 24 } else { 23 });
    truth.len() + 1
}

/// Each channel of the program is there with its type, its values and its waiting goroutines, the
/// senders with what they send, in their order.
fn compare_channels(target: &Target) -> usize {
    let document = document("channels", target);
    let truth = list(&target.ready, "channels");
    for channel in truth {
        let found = list(&document, "channels")
            .iter()
            .find(|found| found["address"] == channel["address"])
            .unwrap_or_else(|| panic!("{channel:#} was not found"));
        for field in ["type", "len", "cap"] {
            assert_eq!(found[field], channel[field], "{field} of {found:#}");
        }
        assert_eq!(found["closed"], false, "{found:#}");
        assert_eq!(
            list(found, "values"),
            list(channel, "values"),
            "values of {found:#}"
        );
        let sent: Vec<Value> = list(found, "send_waiting")
            .iter()
            .map(|waiter| waiter["value"].clone())
            .collect();
        assert_eq!(sent, list(channel, "senders"), "senders of {found:#}");
        assert_eq!(
            list(found, "recv_waiting").len() as u64,
            number(&channel["receivers"]),
            "receivers of {found:#}"
        );
    }
    assert_eq!(truth.len(), 6);
    truth.len()
}

/// The goroutines that can never run again are found out, and no other one is accused of that. The
/// mark is conservative: a word left over somewhere may look like a reference to one of the channels
/// that nobody has, but not to all four.
fn compare_findings(target: &Target) {
    let document = document("deadlocks", target);
    let proven: BTreeSet<u64> = list(&document, "findings")
        .iter()
        .filter(|finding| finding["verdict"] == "proven")
        .flat_map(|finding| list(finding, "goroutines"))
        .map(number)
        .collect();
    let lost: BTreeSet<u64> = list(&target.ready, "goroutines")
        .iter()
        .filter(|goroutine| {
            let function = goroutine["function"].as_str();
            function.is_some_and(|function| LOST.contains(&function))
        })
        .map(|goroutine| number(&goroutine["goid"]))
        .collect();
    assert_eq!(lost.len(), LEAKED + 2, "{:#}", target.ready);
    assert!(proven.is_subset(&lost), "{proven:?}: {document:#}");
    assert!(
        proven.len() > lost.len() - LEAKED,
        "{proven:?} of {lost:?}: {document:#}"
    );
}

/// The tests that count every operation, park and wake-up pass with this cell's `counts` as well;
/// returns how many these are.
fn compare_counts(cell: &Cell) -> u64 {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--quiet", "--locked"])
        .args(["--package", "integration-tests", "--test", "counts"])
        .args(["every_count", "--", "--test-threads=1"])
        .env("GOTRACE_FIXTURES", &cell.directory)
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 6 filtered out; …
    let passed = said
        .split_once("test result: ok. ")
        .and_then(|(_, rest)| rest.split_once(" passed")?.0.parse().ok());
    assert!(passed > Some(0), "no such test: {said}");
    passed.unwrap_or(0)
}
