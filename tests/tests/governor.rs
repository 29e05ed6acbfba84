//! `gotrace run --level auto`: what is traced follows the target, and the budget is kept.

use integration_tests::text::assert_no_probe;
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use serde_json::Value;

const AUTO: [&str; 2] = ["--level", "auto"];

#[track_caller]
fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// The most that a window may cost: two cores, hit after hit, until it is removed on a loaded machine.
const WINDOW_SECONDS: f64 = 1.0;

/// What the probes took, by the kernel's count of hits, is what the governor says, and in the budget.
#[track_caller]
fn check_account(report: &Value) {
    let governor = &report["governor"];
    let hits: u64 = report["hits"]
        .as_object()
        .expect("hits by hook")
        .values()
        .map(|hits| hits.as_u64().expect("a count"))
        .sum();
    let spent = number(&governor["spent_seconds"]);
    let cost = number(&governor["seconds_per_hit"]);
    assert!(
        (spent - hits as f64 * cost).abs() <= 0.02 * spent + 1e-4,
        "{hits} hits of {cost} s are not {spent} s: {governor:#}"
    );
    // A debt is what is beyond the budget now and is paid next: one window at most.
    let allowed = number(&governor["allowed_seconds"]);
    let debt = number(&governor["debt_seconds"]);
    assert!(spent <= allowed + debt + 1e-6, "{governor:#}");
    assert!(debt <= WINDOW_SECONDS, "{governor:#}");
}

#[test]
fn an_idle_target_is_traced_in_full() {
    require_root();
    let target = Target::start("many", &["-n", "10"]);
    let (mut gotrace, attached) = Gotrace::attach(target.pid(), &AUTO);
    assert_eq!(attached["level"], "auto");
    let cost = number(&attached["expected_seconds_per_hit"]);
    assert!((1e-8..1e-3).contains(&cost), "{cost} s a hit");
    // One level after the other, each with its reason.
    for level in ["wake", "park", "full"] {
        let change = gotrace.until("governor", |_| true);
        assert_eq!(change["level"], level, "{change:#}");
        assert_eq!(change["windows"], false, "{change:#}");
        assert!(change["reason"].is_string(), "{change:#}");
    }
    let summary = gotrace.until("summary", |summary| summary["governor"]["level"] == "full");
    assert_eq!(summary["governor"]["estimates"], Value::Array(vec![]));
    // Whatever changed meanwhile, the next read of memory knows every goroutine.
    gotrace.until("summary", |summary| summary["goroutines"]["unknown"] == 0);
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let report = finished.report();
    assert!(report["probes_removed"].as_u64() > Some(8), "{report:#}");
    check_account(&report);
    assert_no_probe(target.pid());
    target.end_unharmed();
}

#[test]
fn a_busy_target_is_traced_in_windows_within_the_budget() {
    require_root();
    let mut target = Target::start("load", &["-mode", "pingpong"]);
    target.ask("START");
    let (mut gotrace, _) =
        Gotrace::attach(target.pid(), &[&AUTO[..], &["--budget", "5%"]].concat());
    let summary = gotrace.until("summary", |summary| {
        summary["governor"]["windows_made"].as_u64() >= Some(4)
    });
    let governor = &summary["governor"];
    assert_eq!(governor["budget"], 0.05);
    assert_eq!(governor["windows"], true, "{governor:#}");
    let estimates = governor["estimates"].as_array().expect("a list");
    let [ready] = estimates.as_slice() else {
        panic!("windows trace wake-ups alone: {governor:#}");
    };
    assert_eq!(ready["hook"], "ready");
    assert_eq!(ready["estimate"], true);
    let rate = number(&ready["per_second"]);
    assert!(
        number(&ready["low"]) <= rate && rate <= number(&ready["high"]),
        "{ready:#}"
    );
    assert!(rate > 0.0, "{ready:#}");
    // It was traced for the windows alone.
    let traced = number(&governor["traced_seconds"]["ready"]);
    assert!(traced > 0.0 && traced < number(&governor["cpu_seconds"]));
    let report = gotrace.interrupt().report();
    check_account(&report);
    assert!(
        report["goroutines"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    );
    assert_no_probe(target.pid());
    let counted = target.ask("STOP");
    // Every message came; the last receive of both pairs finds the channel closed. And no operation
    // wakes more than one goroutine.
    assert_eq!(
        number(&counted["sends"]) + 2.0,
        number(&counted["receives"]),
        "{counted:#}"
    );
    let operations = number(&counted["sends"]) + number(&counted["receives"]);
    assert!(
        number(&ready["low"]) <= operations / number(&counted["elapsed_seconds"]),
        "{counted:#} {ready:#}"
    );
    target.end_unharmed();
}

#[test]
fn hot_operations_are_left_out_and_a_target_that_grows_busy_is_let_go() {
    require_root();
    // Nothing blocks: there is room for everything but the operations themselves.
    let mut target = Target::start("load", &["-mode", "buffered"]);
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &AUTO);
    gotrace.until("governor", |change| change["level"] == "full");
    target.ask("START");
    let operations = Value::from(vec!["chan_send", "chan_recv"]);
    let change = gotrace.until("governor", |change| {
        assert_eq!(change["level"], "full", "{change:#}");
        // The first one falls within milliseconds, for which the start itself can be too much as well. That is
        // tried again, seconds later.
        change["skipped"] == operations
    });
    assert!(
        number(&change["tax"]) > number(&change["budget"]),
        "{change:#}"
    );
    let report = gotrace.interrupt().report();
    check_account(&report);
    let anomalies = &report["totals"]["anomalies"];
    assert_eq!(anomalies, &serde_json::json!({}), "{anomalies:#}");
    assert_no_probe(target.pid());
    let counted = target.ask("STOP");
    assert_eq!(counted["sends"], counted["receives"], "{counted:#}");
    target.end_unharmed();
}

#[test]
fn a_churning_target_stays_right() {
    require_root();
    let mut target = Target::start("churn", &[]);
    let arguments = [&AUTO[..], &["--budget", "3"]].concat();
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &arguments);
    gotrace.until("summary", |summary| {
        summary["governor"]["windows_made"].as_u64() >= Some(6)
    });
    let report = gotrace.interrupt().report();
    check_account(&report);
    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    assert_no_probe(target.pid());
    target.close_input();
    let outcome = target.hear();
    assert_eq!(outcome["ok"], true, "{outcome:#}");
    assert!(target.wait().success());
}

#[test]
fn metrics_say_what_is_an_estimate() {
    require_root();
    let mut target = Target::start("load", &["-mode", "pingpong"]);
    target.ask("START");
    let arguments = ["--level", "auto", "--listen", "127.0.0.1:0"];
    let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &arguments);
    gotrace.until("summary", |summary| {
        summary["governor"]["windows_made"].as_u64() >= Some(1)
    });
    let address = attached["listening"].as_str().expect("an address");
    let metrics = eventually("the metrics have an estimate", || {
        let (_, metrics) = http::get(&format!("http://{address}/metrics"));
        let estimate =
            "gotrace_governor_estimated_hits_per_second{bound=\"estimate\",hook=\"ready\"";
        metrics.contains(estimate).then_some(metrics)
    });
    for line in [
        "gotrace_governor_level{level=\"wake\",",
        "gotrace_governor_budget_ratio",
        "gotrace_governor_tax_ratio",
        "# HELP gotrace_governor_traced_seconds_total ",
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    assert_eq!(gotrace.interrupt().code, Some(0));
    target.ask("STOP");
    target.end_unharmed();
}

#[test]
fn a_budget_is_for_auto_alone() {
    require_root();
    let target = Target::start("hello", &[]);
    let pid = target.pid_argument();
    let finished = Gotrace::run(&["run", "--pid", &pid, "--level", "park", "--budget", "1%"]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(finished.stderr.contains("--level auto"), "{finished:#?}");
    target.end_unharmed();
}
