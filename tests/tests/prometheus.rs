//! A real Prometheus scrapes a real run: what the dashboard and the rules ask for is there.

use std::time::Duration;

use integration_tests::json::number;
use integration_tests::prometheus::{Prometheus, deployed, promtool};
use integration_tests::{Gotrace, Target, require_root};
use rustix::process::Signal;
use serde_json::Value;

/// Traces a target and says where its metrics are.
#[track_caller]
fn listening(target: &Target, arguments: &[&str]) -> (Gotrace, String) {
    let all = [
        &["--listen", "127.0.0.1:0", "--interval", "200ms"],
        arguments,
    ]
    .concat();
    let (gotrace, attached) = Gotrace::attach_listening(target.pid(), &all);
    let address = attached["listening"].as_str().expect("it listens");
    (gotrace, address.to_owned())
}

/// What the panels of the dashboard ask for, as Grafana would, with everything chosen.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(deployed("grafana/dashboard.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("a list").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries: Vec<String> = targets
        .map(|target| {
            let mut query = target["expr"].as_str().expect("a query").to_owned();
            for (variable, value) in [
                ("$job", ".*"),
                ("$instance", ".*"),
                ("$process", ".*"),
                ("$__rate_interval", "10s"),
            ] {
                query = query.replace(variable, value);
            }
            assert!(!query.contains('$'), "{query}");
            query
        })
        .collect();
    assert!(queries.len() > 20, "{queries:#?}");
    queries
}

/// The dashboard, and the variables by which it chooses.
#[test]
fn every_panel_has_data() {
    require_root();
    let demo = Target::start("demo", &["-packing", "20ms"]);
    let (_full, full) = listening(&demo, &["--level", "full"]);
    let mut load = Target::start("load", &["-mode", "pingpong", "-rate", "200"]);
    load.ask("START");
    let (_auto, auto) = listening(&load, &["--level", "auto"]);
    let prometheus = Prometheus::start(&[&full, &auto]);
    prometheus.until_all_have_data(&queries());
    for (label, value) in [("job", "gotrace"), ("instance", &full), ("process", "demo")] {
        let known = prometheus.ask(
            &format!("label/{label}/values"),
            &[("match[]", "gotrace_build_info")],
        );
        let known = known.as_array().expect("a list");
        assert!(known.iter().any(|known| known == value), "{known:?}");
    }
}

/// The expressions of the rules, alerts without the time for which they must hold.
fn expressions(prometheus: &Prometheus, is_wanted: impl Fn(&str, bool) -> bool) -> Vec<String> {
    let rules = prometheus.rules().into_iter();
    rules
        .filter(|(name, _, alert)| is_wanted(name, *alert))
        .map(|(_, expression, _)| expression)
        .collect()
}

#[test]
fn every_rule_has_data_where_something_is_wrong() {
    require_root();
    // A deadlock, a leak that grows and a full channel.
    let demo = Target::start("demo", &["-leak-every", "300ms", "-leaks", "100000"]);
    let (_sick, sick) = listening(&demo, &["--level", "full"]);
    let panicking = Target::start("trends", &["panics"]);
    let (_panics, panics) = listening(&panicking, &["--level", "full"]);
    let mut crowded = Target::start("load", &["-mode", "buffered", "-n", "200"]);
    let (_crowd, crowd) = listening(&crowded, &["--level", "full"]);
    let mut hot = Target::start("load", &["-n", "1"]);
    let (lossy, loss) = listening(&hot, &["--level", "full", "--event-ring", "1"]);
    let mut dear = Target::start("load", &["-mode", "buffered"]);
    let (mut taxing, tax) = listening(&dear, &["--level", "auto", "--budget", "0.1%"]);
    taxing.until("governor", |change| change["level"] == "full");
    let prometheus = Prometheus::start(&[&sick, &panics, &crowd, &loss, &tax]);
    // What a rate is of has to happen between two scrapes: each of the five has had one.
    prometheus.until_all_have_data(&[
        "count(gotrace_events_lost_total) == 5".to_owned(),
        "count(gotrace_scheduling_latency_seconds_count) >= 4".to_owned(),
    ]);

    crowded.ask("START");
    lossy.signal(Signal::STOP);
    hot.ask("START");
    // Far more than the ring holds: a record takes 64 bytes in it.
    let begun = |answer: Value| number(&answer["sends"]) + number(&answer["receives"]);
    while begun(hot.ask("COUNT")) < 10 * (1 << 20) / 64 {}
    lossy.signal(Signal::CONT);
    crowded.ask("STOP");
    hot.ask("STOP");
    // All is traced since nothing happens; then much happens, which takes a while to pay off.
    dear.ask("START");
    let now = expressions(&prometheus, |name, _| name != "GotraceSnapshotStale");
    assert!(now.len() > 15, "{now:#?}");
    prometheus.until_all_have_data(&now);
    // Two minutes from now, if nothing came any more.
    let stale = expressions(&prometheus, |name, _| name == "GotraceSnapshotStale");
    let [stale] = stale.as_slice() else {
        panic!("one rule of that name: {stale:?}");
    };
    assert!(prometheus.series(stale, Duration::ZERO).is_empty());
    assert!(
        !prometheus
            .series(stale, Duration::from_secs(150))
            .is_empty()
    );
    dear.ask("STOP");
}

#[test]
fn nothing_is_wrong_with_a_program_that_is_well() {
    require_root();
    let target = Target::start("trends", &["sessions"]);
    let (mut gotrace, address) = listening(&target, &["--level", "full"]);
    let prometheus = Prometheus::start(&[&address]);
    let seen = ["count_over_time(gotrace_findings[1m]) > 10".to_owned()];
    gotrace.until("summary", |summary| {
        summary["totals"]["exited"].as_u64() > Some(0)
    });
    prometheus.until_all_have_data(&seen);
    // How long goroutines wait to run is the machine's affair.
    let alerts = expressions(&prometheus, |name, alert| {
        alert && name != "GoSchedulingSlow"
    });
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        let series = prometheus.series(&alert, Duration::ZERO);
        assert!(series.is_empty(), "{alert}: {series:?}");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    for (checks, file) in [("check", "rules.yml"), ("test", "rules_test.yml")] {
        let output = promtool()
            .args([checks, "rules", file])
            .current_dir(deployed("prometheus"))
            .output()
            .expect("promtool is there: run `cargo xtask test`");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{checks}: {said} {output:?}");
        assert!(said.contains("SUCCESS"), "{said}");
    }
}
