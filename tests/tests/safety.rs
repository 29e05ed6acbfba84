//! The target is never harmed: a busy one, whose every message and result is checked by itself,
//! lives through many traces, and through the violent death of the tracer.

use std::time::Duration;

use integration_tests::chaos::{self, account};
use integration_tests::text::{assert_no_probe, patched};
use integration_tests::{Gotrace, Target, eventually, require_root};
use rustix::process::Signal;
use serde_json::Value;

#[track_caller]
fn probes_of(attached: &Value) -> usize {
    attached["probes"].as_array().expect("a list").len()
}

/// The long form is `cargo xtask chaos`.
#[test]
fn chaos_leaves_a_busy_target_right() {
    require_root();
    let target = Target::start("churn", &[]);
    let summary = chaos::run(target, 20, Duration::from_secs(20));
    assert!(summary.events > 0, "{summary:?}");
    assert!(summary.killed > 0 && summary.lossy > 0, "{summary:?}");
}

#[test]
fn fifty_traces_leave_a_busy_target_right() {
    require_root();
    let mut target = Target::start("churn", &[]);
    for turn in 0..50 {
        let level = match turn % 5 {
            3 => "wake",
            4 => "park",
            _ => "full",
        };
        let arguments = ["--level", level, "--duration", "500ms"];
        let (gotrace, attached) = Gotrace::attach(target.pid(), &arguments);
        // As many bytes of its code differ as there are probes, wherever gotrace says they are.
        let patched_now: Vec<String> = patched(target.pid())
            .iter()
            .map(|address| format!("{address:#x}"))
            .collect();
        let mut said: Vec<&str> = attached["probes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|probe| probe["address"].as_str().expect("an address"))
            .collect();
        said.sort_unstable();
        assert_eq!(patched_now, said, "turn {turn}");

        let finished = gotrace.finish();
        assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
        let report = finished.report();
        assert_eq!(report["ended"], "duration", "turn {turn}");
        assert_eq!(
            report["probes_removed"],
            probes_of(&attached),
            "turn {turn}"
        );
        assert!(
            report["totals"]["events"].as_u64() > Some(0),
            "turn {turn} saw nothing: {report:#}"
        );
        assert_no_probe(target.pid());
        assert!(
            target.is_alive(),
            "the target died in turn {turn}: {:?}",
            target.wait()
        );
    }
    account(target);
}

#[test]
fn a_busy_target_is_not_accused() {
    require_root();
    let target = Target::start("churn", &[]);
    let arguments = ["--level", "full", "--duration", "3s", "--interval", "200ms"];
    let (gotrace, _) = Gotrace::attach(target.pid(), &arguments);
    let finished = gotrace.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    account(target);
}

#[test]
fn a_killed_tracer_leaves_no_probe() {
    require_root();
    let target = Target::start("churn", &[]);
    for turn in 0..5 {
        let (mut gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "full"]);
        assert_eq!(patched(target.pid()).len(), probes_of(&attached));
        // In the middle of its work at one time, just attached at another.
        if turn % 2 == 0 {
            gotrace.until("summary", |summary| {
                summary["totals"]["events"].as_u64() > Some(0)
            });
        }
        gotrace.signal(Signal::KILL);
        assert_eq!(gotrace.finish().code, None, "a signal ended it");
        eventually("the kernel removed the probes", || {
            patched(target.pid()).is_empty().then_some(())
        });
    }
    account(target);
}

#[test]
fn reading_memory_alone_places_nothing() {
    require_root();
    let target = Target::start("churn", &[]);
    let (mut gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "observe"]);
    assert_eq!(probes_of(&attached), 0);
    gotrace.until("summary", |_| true);
    assert_no_probe(target.pid());
    let report = gotrace.interrupt().report();
    assert_eq!(report["totals"]["events"], 0);
    for command in ["goroutines", "channels", "deadlocks"] {
        let finished = Gotrace::run(&[command, "--pid", &target.pid_argument()]);
        assert_eq!(finished.code, Some(0), "{command}: {finished:#?}");
    }
    account(target);
}
