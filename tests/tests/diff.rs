//! `gotrace diff`: what grew, and which replica is unlike the others.

use std::path::Path;

use integration_tests::{Finished, Gotrace, Target, eventually, require_root};
use serde_json::Value;

/// Goroutines that the leaking replica leaks.
const LEAKED: u64 = 30;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn diff(arguments: &[&str]) -> Finished {
    Gotrace::run(&[&["diff", "--format", "json"], arguments].concat())
}

/// A replica that leaks so many goroutines, once it has.
fn replica(leaks: u64) -> Target {
    require_root();
    let number = leaks.to_string();
    let target = Target::start("demo", &["-leaks", &number, "-leak-every", "10ms"]);
    let pid = target.pid_argument();
    eventually("it has leaked", || {
        let arguments = [
            "goroutines",
            "--pid",
            &pid,
            "--with",
            "userloc main.fetchPrice",
        ];
        let finished = Gotrace::run(&[&arguments[..], &["--format", "json"]].concat());
        let document = finished.document("gotrace.goroutines/1");
        let found = document["goroutines"].as_array().expect("a list").len() as u64;
        (found >= leaks).then_some(())
    });
    target
}

#[track_caller]
fn leak_is_named(differences: &Value) {
    let first = &differences[0];
    assert_eq!(first["signal"], "finding", "{differences:#}");
    let place = &first["about"]["problem"]["places"][0]["function"];
    assert_eq!(place, "main.fetchPrice", "{differences:#}");
    let grown = differences
        .as_array()
        .expect("a list")
        .iter()
        .any(|difference| {
            difference["signal"] == "goroutines"
                && difference["about"]["goroutines"]["place"]["function"] == "main.fetchPrice"
                && difference["here"].as_f64() >= Some(LEAKED as f64)
        });
    assert!(grown, "{differences:#}");
}

#[test]
fn the_replica_that_leaks_is_named_with_the_place() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let replicas = [replica(LEAKED), replica(0), replica(0)];
    let pids: Vec<String> = replicas.iter().map(Target::pid_argument).collect();
    // One as it runs, one as a snapshot, one as a recording.
    let (snapshot, recording) = (
        directory.path().join("snapshot"),
        directory.path().join("recording"),
    );
    let saved = Gotrace::run(&["snapshot", "--pid", &pids[1], "-o", text(&snapshot)]);
    assert_eq!(saved.code, Some(0), "{saved:#?}");
    let mut gotrace = Gotrace::record(replicas[2].pid(), &recording, &[]);
    // Its deadlock is there in all of them: that makes no difference.
    gotrace.until("finding", |line| line["finding"]["verdict"] == "proven");
    gotrace.interrupt();

    let sides = [pids[0].as_str(), text(&snapshot), text(&recording)];
    let finished = diff(&sides);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let document = finished.document("gotrace.diff/1");
    assert_eq!(document["outliers"][0]["side"], 0, "{document:#}");
    leak_is_named(&document["outliers"][0]["differences"]);
    let shown = Gotrace::run(&[&["diff"][..], &sides].concat());
    let shown = shown.text();
    let heading = format!("{} is unlike the others", pids[0]);
    let (_, why) = shown.split_once(&heading).expect("it is named");
    assert!(
        why.lines()
            .nth(1)
            .is_some_and(|line| line.contains("main.fetchPrice")),
        "{shown}"
    );

    // The others are alike.
    let alike = diff(&[sides[1], sides[2]]);
    assert_eq!(alike.code, Some(0), "{alike:#?}");
    // Before and after.
    let grown = diff(&[sides[1], sides[0]]);
    assert_eq!(grown.code, Some(1), "{grown:#?}");
    leak_is_named(&grown.document("gotrace.diff/1")["grown"]);
    let shrunk = diff(&[sides[0], sides[1]]);
    assert_eq!(shrunk.code, Some(0), "what went is no alarm: {shrunk:#?}");
    leak_is_named(&shrunk.document("gotrace.diff/1")["shrunk"]);
    // Only what was asked for fails.
    for (fail_on, code) in [("goroutines", 1), ("finding", 1), ("rate", 0), ("never", 0)] {
        let finished = diff(&[sides[1], sides[0], "--fail-on", fail_on]);
        assert_eq!(finished.code, Some(code), "{fail_on}: {finished:#?}");
    }
    let finished = diff(&[
        sides[1],
        sides[0],
        "--fail-on",
        "goroutines",
        "--least",
        "1000",
    ]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    for mut replica in replicas {
        assert!(replica.is_alive());
    }
}

#[test]
fn two_moments_of_a_recording_are_compared() {
    require_root();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("recording");
    let mut target = Target::start("ledger", &[]);
    let mut gotrace = Gotrace::record(target.pid(), &recording, &["--interval", "200ms"]);
    let first = gotrace.until("summary", |summary| {
        !summary["memory_age_seconds"].is_null()
    });
    gotrace.until("summary", |_| true);
    let left = target.ask("PARK")["goroutines"]
        .as_array()
        .expect("a list")
        .len();
    for _ in 0..4 {
        gotrace.until("summary", |_| true);
    }
    gotrace.interrupt();
    let before = format!(
        "{}@{}",
        text(&recording),
        first["time"].as_str().expect("a time")
    );
    let after = format!("{}@-0s", text(&recording));
    let finished = diff(&[&before, &after, "--least", "1"]);
    let document = finished.document("gotrace.diff/1");
    let count = |side: usize| {
        document["sides"][side]["goroutines"]
            .as_u64()
            .expect("a number")
    };
    assert_eq!(count(1) - count(0), left as u64, "{document:#}");
    assert!(
        !document["grown"].as_array().expect("a list").is_empty(),
        "{document:#}"
    );
    target.end_unharmed();
}
