//! `gotrace replay`, and `--from` a recording: the same answers, of any moment, whatever the file is like.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use integration_tests::{Finished, Gotrace, Target, require_root};
use serde_json::Value;
use tempfile::TempDir;

/// A recording of the program `ledger`: first it does nothing, then much, then goroutines are left that
/// wait in ways of their own.
struct Recorded {
    directory: TempDir,
    path: PathBuf,
    live: Finished,
    /// Who is left, by the program's word.
    left: Value,
}

impl Recorded {
    fn ledger() -> Recorded {
        require_root();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("recording");
        let mut target = Target::start("ledger", &[]);
        let arguments = ["--level", "full", "--interval", "200ms"];
        let mut gotrace = Gotrace::record(target.pid(), &path, &arguments);
        gotrace.until("summary", |summary| {
            !summary["memory_age_seconds"].is_null()
        });
        gotrace.until("summary", |_| true);
        target.ask("RUN 5000");
        gotrace.until("summary", |_| true);
        let left = target.ask("PARK");
        for _ in 0..4 {
            gotrace.until("summary", |_| true);
        }
        let live = gotrace.interrupt();
        target.end_unharmed();
        Recorded {
            directory,
            path,
            live,
            left,
        }
    }

    /// The program `stuck`, until a deadlock was proven.
    fn stuck() -> Recorded {
        require_root();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("recording");
        let target = Target::start("stuck", &[]);
        let mut gotrace = Gotrace::record(target.pid(), &path, &[]);
        gotrace.until("finding", |line| {
            let finding = &line["finding"];
            finding["kind"] == "deadlock" && finding["verdict"] == "proven"
        });
        let live = gotrace.interrupt();
        target.end_unharmed();
        Recorded {
            directory,
            path,
            live,
            left: Value::Null,
        }
    }

    /// Summaries that were said live.
    fn summaries(&self) -> Vec<Value> {
        let objects = self.live.objects().into_iter();
        objects.filter(|line| line["type"] == "summary").collect()
    }

    fn replay(&self, arguments: &[&str]) -> Finished {
        let start = ["replay", text(&self.path), "--format", "json"];
        Gotrace::run(&[&start, arguments].concat())
    }

    /// A file of this test.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).expect("it is ours");
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

#[track_caller]
fn goroutines(document: &Value) -> &Vec<Value> {
    document["goroutines"].as_array().expect("a list")
}

#[test]
fn any_moment_can_be_asked() {
    let recorded = Recorded::ledger();
    let summaries = recorded.summaries();
    // What was said live of a moment is what is told of it.
    for summary in &summaries {
        let time = summary["time"].as_str().expect("a time");
        let moment = recorded
            .replay(&["--at", time])
            .document("gotrace.moment/1");
        assert_eq!(
            moment["goroutines"]["total"], summary["goroutines"]["total"],
            "{time}"
        );
        assert_eq!(
            moment["goroutines"]["by_state"], summary["goroutines"]["by_state"],
            "{time}"
        );
    }
    // The list of goroutines, at the beginning and at the end.
    let list = |at: &str| {
        let arguments = ["goroutines", "--from", text(&recorded.path), "--at", at];
        let more = ["--with", "user", "--format", "json"];
        Gotrace::run(&[&arguments[..], &more].concat()).document("gotrace.goroutines/1")
    };
    let first = summaries[1]["time"].as_str().expect("a time");
    assert_eq!(
        goroutines(&list(first)).len(),
        1,
        "the main goroutine alone"
    );
    let left = goroutines(&recorded.left);
    let last = list("-0s");
    assert_eq!(goroutines(&last).len(), 1 + left.len());
    for truth in left {
        let found = goroutines(&last)
            .iter()
            .find(|goroutine| goroutine["goid"] == truth["goid"]);
        let found = found.unwrap_or_else(|| panic!("{truth} is not in {last:#}"));
        assert_eq!(found["state"], "waiting", "{found:#}");
    }
    assert_eq!(last, list("-0s"), "asked twice, told twice");
    // Out of its time.
    let finished = recorded.replay(&["--at", "+1h"]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(finished.stderr.contains("it is from "), "{finished:#?}");
}

#[test]
fn one_shot_commands_answer_from_a_recording() {
    let recorded = Recorded::stuck();
    let report = recorded.live.report();
    let goid = report["findings"][0]["goroutines"][0].to_string();
    for (arguments, schema) in [
        (vec!["goroutines"], "gotrace.goroutines/1"),
        (vec!["goroutines", "--group", "userloc"], "gotrace.groups/1"),
        (vec!["stack", &goid], "gotrace.goroutines/1"),
        (vec!["channels"], "gotrace.channels/1"),
        (vec!["deadlocks"], "gotrace.findings/1"),
        (vec!["leaks"], "gotrace.findings/1"),
        (vec!["why", &goid], "gotrace.why/1"),
    ] {
        let more = ["--from", text(&recorded.path), "--format", "json"];
        let command = [&arguments[..], &more].concat();
        let finished = Gotrace::run(&command);
        assert!(
            matches!(finished.code, Some(0 | 1)),
            "{command:?}: {finished:#?}"
        );
        finished.document(schema);
        assert_eq!(
            finished.stdout,
            Gotrace::run(&command).stdout,
            "{command:?}"
        );
        let mut text = command.clone();
        text.truncate(command.len() - 2);
        let finished = Gotrace::run(&text);
        assert!(
            matches!(finished.code, Some(0 | 1)),
            "{text:?}: {finished:#?}"
        );
        assert!(!finished.stdout.is_empty(), "{text:?}");
    }
    // What was found last is what is told.
    let arguments = ["leaks", "--from", text(&recorded.path), "--format", "json"];
    let told = Gotrace::run(&arguments).document("gotrace.findings/1");
    let facts = |document: &Value| -> Vec<Value> {
        let list = document["findings"].as_array().expect("a list").iter();
        list.map(|it| serde_json::json!([it["id"], it["verdict"], it["goroutines"], it["chain"]]))
            .collect()
    };
    assert_eq!(facts(&told), facts(&report));
}

#[test]
fn a_window_counts_what_is_in_it() {
    let recorded = Recorded::ledger();
    let report = recorded.live.report();
    let summaries = recorded.summaries();
    let time = |summary: &Value| summary["time"].as_str().expect("a time").to_owned();
    let (before, last) = (time(&summaries[1]), time(&summaries[summaries.len() - 1]));
    let counted = |arguments: &[&str]| {
        let finished = recorded.replay(arguments);
        assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
        finished.report()["totals"]["sends"]
            .as_u64()
            .expect("a number")
    };
    let all = report["totals"]["sends"].as_u64().expect("a number");
    assert!(all > 0);
    assert_eq!(counted(&[]), all);
    assert_eq!(counted(&["--to-time", &before]), 0);
    assert_eq!(counted(&["--from-time", &before]), all);
    assert_eq!(counted(&["--from-time", &last]), 0);
    assert_eq!(counted(&["--from-time", &before, "--to-time", &last]), all);
}

#[test]
fn events_are_listed_in_order() {
    let recorded = Recorded::ledger();
    let list = recorded.replay(&["--events"]);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    let events: Vec<Value> = list
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert!(
        events
            .iter()
            .all(|event| event["schema"] == "gotrace.events/1")
    );
    let report = recorded.live.report();
    for (name, total) in [
        ("send", "sends"),
        ("close", "closes"),
        ("exit", "exited"),
        ("make", "made"),
    ] {
        let count = events.iter().filter(|event| event["event"] == name).count();
        assert_eq!(count as u64, report["totals"][total], "{name}");
    }
    assert!(events.is_sorted_by_key(|event| event["time"].as_str().expect("a time").to_owned()));
    // Of one goroutine: what it did and what was done to it.
    let child = events
        .iter()
        .find(|event| event["event"] == "create")
        .expect("it created some")["other"]
        .to_string();
    let of_child = recorded.replay(&["--events", "--goroutine", &child]);
    assert!(of_child.stdout.len() > 1 && of_child.stdout.len() < list.stdout.len());
    for line in &of_child.stdout {
        let event: Value = serde_json::from_str(line).expect("an object a line");
        let about = [&event["goid"], &event["other"]];
        assert!(about.iter().any(|goid| goid.to_string() == child), "{line}");
    }
    let shown = Gotrace::run(&["replay", text(&recorded.path), "--events"]);
    // What was found, and what is missing, is said among them.
    let lines = shown.stdout.iter().filter(|line| !line.starts_with("-- "));
    assert_eq!(lines.count(), list.stdout.len());
    assert!(
        shown.text().contains(" closes channel 0x"),
        "{}",
        shown.text()
    );
}

/// What can be wrong with a file, and what is said.
#[test]
fn every_bad_file_is_told_as_what_it_is() {
    let recorded = Recorded::ledger();
    let whole = fs::read(&recorded.path).expect("it is readable");
    let told = |path: &Path| Gotrace::run(&["replay", text(path), "--format", "json"]);
    let events = |finished: &Finished| {
        finished.report()["totals"]["events"]
            .as_u64()
            .expect("a number")
    };
    let all = events(&told(&recorded.path));

    // Nothing can be told.
    let keyframe = first_keyframe(&whole);
    let mut damaged = whole.clone();
    damaged[keyframe.end - 1] ^= 1;
    let mut newer = whole.clone();
    renumber(&mut newer, b"\"version\":1", b"\"version\":9");
    for (name, bytes, expected) in [
        ("empty", &[][..], "ends before the first whole block"),
        ("begun", &whole[..100], "ends before the first whole block"),
        (
            "foreign",
            b"PK\x03\x04 an archive",
            "no file of `gotrace record`",
        ),
        (
            "text",
            &b"words ".repeat(1 << 16),
            "no file of `gotrace record`",
        ),
        ("newer", &newer, "version 9"),
        ("damaged", &damaged, "no keyframe in it is whole"),
        (
            "hardly begun",
            &whole[..keyframe.end - 1],
            "no keyframe in it is whole",
        ),
    ] {
        let path = recorded.file(name, bytes);
        for command in [
            vec!["replay", text(&path)],
            vec!["goroutines", "--from", text(&path)],
            vec!["deadlocks", "--from", text(&path)],
        ] {
            let finished = Gotrace::run(&command);
            assert_eq!(finished.code, Some(2), "{name}: {finished:#?}");
            for part in [text(&path), expected, "next: "] {
                assert!(finished.stderr.contains(part), "{name}: {finished:#?}");
            }
        }
    }
    let missing = Gotrace::run(&["replay", "/nowhere/at/all"]);
    assert_eq!(missing.code, Some(2), "{missing:#?}");

    // Some can, and what is missing is said.
    let some = |name: &str, bytes: &[u8]| {
        let finished = told(&recorded.file(name, bytes));
        assert!(
            matches!(finished.code, Some(0 | 1)),
            "{name}: {finished:#?}"
        );
        let warned = finished
            .objects()
            .iter()
            .any(|line| line["type"] == "warning");
        assert!(warned, "{name} says nothing: {finished:#?}");
        assert!(events(&finished) <= all, "{name}");
    };
    some("cut", &whole[..whole.len() / 2]);
    some(
        "joined",
        &[&whole[..whole.len() / 2], &whole[whole.len() / 2 + 7..]].concat(),
    );
    let random = numbers(64);
    for (round, number) in random.enumerate() {
        let mut flipped = whole.clone();
        // The index alone may be damaged without a loss, and what begins the file is told apart above.
        let place = keyframe.end + number as usize % (whole.len() - 2000 - keyframe.end);
        flipped[place] ^= 1 << (number % 8);
        some(&format!("flipped {round} at {place}"), &flipped);
    }
    // Something foreign behind it, or before it.
    some(
        "behind",
        &[
            &whole[..],
            b"trailing bytes of somebody else, more than a header has",
        ]
        .concat(),
    );
}

/// Where the first keyframe of a file is: blocks are read as docs/format.md has them.
fn first_keyframe(bytes: &[u8]) -> Range<usize> {
    const KEYFRAME: u8 = 2;
    let mut at = 0;
    loop {
        let stored = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four"));
        let end = at + 40 + stored as usize;
        if bytes[at + 4] == KEYFRAME {
            return at..end;
        }
        at = end;
    }
}

/// Puts other bytes in place of some in the first block, and its checksums right.
fn renumber(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to);
    let stored = u32::from_le_bytes(bytes[8..12].try_into().expect("four")) as usize;
    let payload = crc32c::crc32c(&bytes[40..40 + stored]);
    bytes[32..36].copy_from_slice(&payload.to_le_bytes());
    let header = crc32c::crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&header.to_le_bytes());
}

/// So many numbers without a pattern, the same each time.
fn numbers(count: usize) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 20
    })
    .take(count)
}
