//! The ways to start and end `gotrace run`.

use std::fs;

use integration_tests::target::fixture;
use integration_tests::text::{assert_no_probe, patched};
use integration_tests::{Finished, Gotrace, Target, require_root};
use rustix::process::Signal;
use serde_json::Value;

const NO_SERVER: [&str; 2] = ["--listen", "off"];

#[track_caller]
fn types(finished: &Finished) -> Vec<String> {
    finished
        .objects()
        .iter()
        .map(|object| object["type"].as_str().expect("a type").to_owned())
        .collect()
}

#[test]
fn every_line_is_json_from_attached_to_report() {
    require_root();
    let target = Target::start("many", &["-n", "100"]);
    let (mut gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "full"]);
    for probe in attached["probes"].as_array().expect("a list") {
        for field in ["hook", "function", "address", "instruction"] {
            assert!(probe[field].is_string(), "{field} of {probe:#}");
        }
    }
    let summary = gotrace.until("summary", |_| true);
    assert_eq!(
        summary["goroutines"]["by_state"]["waiting"], 100,
        "{summary:#}"
    );
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.report()["ended"], "interrupted");
    let types = types(&finished);
    assert_eq!(types.first().map(String::as_str), Some("attached"));
    for middle in &types[1..types.len() - 1] {
        assert!(
            ["summary", "finding", "resolved", "warning"].contains(&middle.as_str()),
            "{types:?}"
        );
    }
    target.end_unharmed();
}

#[test]
fn levels_place_their_probes() {
    require_root();
    let mut target = Target::start("counts", &[]);
    let mut before: Vec<Value> = Vec::new();
    for level in ["observe", "wake", "park", "full", "syscalls"] {
        let (gotrace, attached) = Gotrace::attach(target.pid(), &["--level", level]);
        assert_eq!(attached["level"], level);
        let hooks: Vec<Value> = attached["probes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|probe| probe["hook"].clone())
            .collect();
        assert_eq!(patched(target.pid()).len(), hooks.len(), "{level}");
        assert_eq!(hooks.is_empty(), level == "observe", "{hooks:?}");
        // Each level has what the one below has, and more.
        assert!(before.iter().all(|hook| hooks.contains(hook)), "{hooks:?}");
        assert!(
            level == "observe" || hooks.len() > before.len(),
            "{hooks:?}"
        );
        let report = gotrace.interrupt().report();
        assert_eq!(report["probes_removed"], hooks.len(), "{level}");
        assert_no_probe(target.pid());
        before = hooks;
    }
    assert_eq!(before.len(), 16, "{before:?}");
    target.ask("GO");
    target.end_unharmed();
}

#[test]
fn a_program_that_never_selects_is_traced_at_every_level() {
    require_root();
    // The linker leaves out what it does not use, so there is no place for that probe.
    let target = Target::start("hello", &[]);
    let (gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "full"]);
    let probes = attached["probes"].as_array().expect("a list");
    assert!(
        probes.iter().all(|probe| probe["hook"] != "select"),
        "{attached:#}"
    );
    assert_eq!(patched(target.pid()).len(), probes.len());
    assert_eq!(gotrace.interrupt().code, Some(0));
    assert_no_probe(target.pid());
    target.end_unharmed();
}

#[test]
fn a_name_finds_the_process() {
    require_root();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("gotrace-test-by-name");
    fs::copy(fixture("hello"), &program).expect("the fixture is a file");
    let target = Target::start_file(&program, &[]);
    for pattern in ["gotrace-test-by-name", "gotrace-test-by-n*"] {
        let mut arguments = vec!["run", "--name", pattern, "--format", "json"];
        arguments.extend(["--duration", "100ms"]);
        arguments.extend(NO_SERVER);
        let finished = Gotrace::run(&arguments);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert_eq!(finished.objects()[0]["target"]["pid"], target.pid());
    }

    // Two that match are not guessed between, none is said.
    let second = Target::start_file(&program, &[]);
    let mut arguments = vec!["run", "--name", "gotrace-test-by-*"];
    arguments.extend(NO_SERVER);
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    for pid in [target.pid_argument(), second.pid_argument()] {
        assert!(finished.stderr.contains(&pid), "{finished:#?}");
    }
    target.end_unharmed();
    second.end_unharmed();
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(
        finished.stderr.contains("gotrace-test-by-*"),
        "{finished:#?}"
    );
}

#[test]
fn a_command_is_traced_from_its_beginning_to_its_end() {
    require_root();
    let program = fixture("hello");
    let mut arguments = vec!["run", "--level", "full", "--format", "json"];
    arguments.extend(NO_SERVER);
    arguments.extend(["--", program.to_str().expect("a path of ours")]);
    let mut gotrace = Gotrace::start(&arguments);
    gotrace.until("summary", |summary| {
        summary["goroutines"]["total"].as_u64() > Some(0)
    });
    // At the end of its input, which is that of gotrace, the program ends.
    gotrace.close_input();
    let finished = gotrace.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let report = finished.report();
    assert_eq!(report["ended"], "target exited");
    // The goroutines that the runtime itself starts before main.
    assert!(report["totals"]["created"].as_u64() > Some(2), "{report:#}");
    // What the program prints is not mixed with what gotrace prints.
    assert!(finished.stderr.contains("READY "), "{finished:#?}");
    assert_eq!(types(&finished)[0], "attached");
}

#[test]
fn the_targets_end_ends_the_trace() {
    require_root();
    for level in ["observe", "wake", "park", "full", "syscalls"] {
        let mut target = Target::start("hello", &[]);
        let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", level]);
        gotrace.until("summary", |_| true);
        target.close_input();
        assert!(target.wait().success(), "{level}");
        let finished = gotrace.finish();
        assert_eq!(finished.code, Some(0), "{level}: {finished:#?}");
        assert_eq!(finished.report()["ended"], "target exited", "{level}");
    }
}

#[test]
fn a_duration_ends_the_trace() {
    require_root();
    let target = Target::start("hello", &[]);
    let (gotrace, _) = Gotrace::attach(target.pid(), &["--duration", "1500ms"]);
    let finished = gotrace.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let report = finished.report();
    assert_eq!(report["ended"], "duration");
    let seconds = report["seconds"].as_f64().expect("a number");
    assert!((1.4..10.0).contains(&seconds), "{seconds}");
    target.end_unharmed();
}

#[test]
fn signals_end_the_trace_with_a_report() {
    require_root();
    let target = Target::start("many", &["-n", "10"]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full"]);
        gotrace.until("summary", |_| true);
        gotrace.signal(signal);
        let finished = gotrace.finish();
        assert_eq!(finished.code, Some(0), "{signal:?}: {finished:#?}");
        assert_eq!(finished.report()["ended"], "interrupted", "{signal:?}");
        assert_no_probe(target.pid());
    }
    target.end_unharmed();
}

#[test]
fn text_says_what_was_found_and_ends_with_a_report() {
    require_root();
    let target = Target::start("many", &["-n", "10"]);
    let pid = target.pid_argument();
    let mut arguments = vec!["run", "--pid", &pid, "--level", "full"];
    arguments.extend(["--duration", "1200ms"]);
    arguments.extend(NO_SERVER);
    let finished = Gotrace::run(&arguments);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let text = finished.text();
    let version = target.ready["go_version"].as_str().expect("text");
    for fact in [pid.as_str(), version, "many", "full"] {
        assert!(text.contains(fact), "{fact} is missing in:\n{text}");
    }
    // Colours are for terminals.
    assert!(!text.contains('\u{1b}'), "{text}");
    target.end_unharmed();
}

#[test]
fn two_tracers_of_one_process_do_not_disturb_each_other() {
    require_root();
    let target = Target::start("many", &["-n", "10"]);
    let (mut first, attached) = Gotrace::attach(target.pid(), &["--level", "full"]);
    let probes = attached["probes"].as_array().expect("a list").len();
    let (mut second, _) = Gotrace::attach(target.pid(), &["--level", "full"]);
    second.until("summary", |_| true);
    assert!(matches!(second.interrupt().code, Some(0)));
    assert_eq!(patched(target.pid()).len(), probes, "the first one's stay");
    first.until("summary", |_| true);
    assert!(matches!(first.interrupt().code, Some(0)));
    assert_no_probe(target.pid());
    target.end_unharmed();
}
