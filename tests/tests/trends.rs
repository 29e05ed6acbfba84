//! Trends, in a program that does one thing wrong at a known place and rate: `tests/programs/trends`.
//!
//! The window is short here, so that a test takes seconds; what a window of minutes must not say is a
//! matter of the model's own tests.

use std::time::Duration;

use integration_tests::json::{list, number};
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use serde_json::Value;

/// A window that is full after moments.
const QUICKLY: [&str; 4] = ["--interval", "50ms", "--trend-window", "2s"];

/// A trend takes five windows where it is told at once, and begins anew where the machine is so busy that
/// what comes does not come steadily.
const PATIENCE: Duration = Duration::from_secs(120);

/// Watches the program until a finding of this kind is told.
#[track_caller]
fn told(fault: &str, level: &str, kind: &str) -> Value {
    require_root();
    let target = Target::start("trends", &[fault]);
    let arguments = [&["--level", level], &QUICKLY[..]].concat();
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &arguments);
    let line = gotrace.until_within(PATIENCE, "finding", |line| line["finding"]["kind"] == kind);
    assert_eq!(line["finding"]["verdict"], "suspect", "{line:#}");
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(0), "a trend is no proof: {finished:#?}");
    target.end_unharmed();
    line["finding"].clone()
}

#[track_caller]
fn assert_advice(finding: &Value, words: &str) {
    let advice = finding["advice"].as_str().expect("there is some");
    assert!(advice.contains(words), "{finding:#}");
}

#[test]
fn senders_that_pile_up_have_their_place_and_rate() {
    for level in ["observe", "park", "full"] {
        let finding = told("held", level, "growth");
        assert_eq!(
            finding["created_at"]["function"], "main.holdSenders",
            "{finding:#}"
        );
        assert_eq!(
            finding["chain"][0]["site"]["function"], "main.holdSenders.func1",
            "{finding:#}"
        );
        let trend = &finding["trend"];
        let rate = trend["per_second"].as_f64().expect("a rate");
        // One every 20 ms and what starting it takes; never more often.
        assert!((5.0..=51.0).contains(&rate), "{finding:#}");
        assert!(trend["low"].as_f64() <= Some(rate), "{finding:#}");
        assert!(trend["high"].as_f64() >= Some(rate), "{finding:#}");
        assert!(trend["chance"].as_f64() < Some(0.001), "{finding:#}");
        assert!(number(&trend["looks"]) >= 24, "{finding:#}");
        assert!(list(&finding, "goroutines").len() as u64 >= number(&trend["last"]));
        assert_advice(&finding, "make(chan T, 1)");
        assert_eq!(finding["returns"], 0, "{finding:#}");
        assert!(finding["first_seen"].is_string(), "{finding:#}");
    }
}

#[test]
fn a_ticker_that_is_never_stopped_is_named() {
    let finding = told("tickers", "observe", "growth");
    assert_advice(&finding, "ticker.Stop()");
}

#[test]
fn a_context_that_is_never_cancelled_is_named() {
    let finding = told("contexts", "observe", "growth");
    assert_advice(&finding, "defer cancel()");
}

#[test]
fn a_server_that_is_never_shut_down_is_named() {
    let finding = told("servers", "observe", "growth");
    assert_advice(&finding, "Server.Shutdown");
}

#[test]
fn a_body_that_is_never_closed_is_named() {
    let finding = told("bodies", "observe", "growth");
    assert_advice(&finding, "resp.Body.Close()");
}

#[test]
fn a_channel_that_stays_full_says_who_is_slow() {
    let finding = told("backlog", "park", "backlog");
    let reason = finding["reason"].as_str().expect("text");
    assert!(reason.contains("(chan int, cap 4)"), "{finding:#}");
    let link = &finding["chain"][0];
    assert_eq!(link["waits_on"]["direction"], "send", "{finding:#}");
    assert!(finding["trend"]["served_by"].is_u64(), "{finding:#}");
    let slow = list(&finding, "evidence")
        .iter()
        .filter_map(Value::as_str)
        .find(|evidence| evidence.contains("receives from it"));
    let slow = slow.expect("it is known who");
    assert!(slow.contains("main.overfill.func1"), "{slow}");
}

#[test]
fn a_crowd_at_a_lock_is_a_convoy() {
    let finding = told("convoy", "observe", "convoy");
    assert!(list(&finding, "goroutines").len() >= 8, "{finding:#}");
    assert_eq!(
        finding["chain"][0]["site"]["function"], "main.crowd.func1",
        "{finding:#}"
    );
}

#[test]
fn a_recursion_without_an_end_is_seen() {
    let finding = told("recursion", "observe", "recursion");
    assert_eq!(
        finding["chain"][0]["site"]["function"], "main.deeper",
        "{finding:#}"
    );
}

#[test]
fn a_channel_that_is_closed_twice_is_told_with_its_place() {
    let finding = told("panics", "full", "panic");
    assert_eq!(finding["at"]["function"], "main.closeAgain", "{finding:#}");
    assert_advice(&finding, "sync.Once");
}

#[test]
fn the_api_and_the_metrics_have_them_too() {
    require_root();
    let target = Target::start("trends", &["held"]);
    let arguments = [
        &["--level", "observe", "--listen", "127.0.0.1:0"],
        &QUICKLY[..],
    ]
    .concat();
    let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &arguments);
    let address = attached["listening"].as_str().expect("it listens");
    gotrace.until_within(PATIENCE, "finding", |line| {
        line["finding"]["kind"] == "growth"
    });
    // They show what is so at the moment, and it may pause where the machine is busy.
    let finding = eventually("the API has it", || {
        let (_, text) = http::get(&format!("http://{address}/api/v1/findings"));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let mut found = list(&document, "findings").iter();
        found.find(|finding| finding["kind"] == "growth").cloned()
    });
    assert!(number(&finding["count"]) >= 1, "{finding:#}");
    eventually("the metrics have it", || {
        let (_, metrics) = http::get(&format!("http://{address}/metrics"));
        let growth = |line: &&str| {
            let labels = [r#"kind="growth""#, r#"verdict="suspect""#];
            line.starts_with("gotrace_findings{") && labels.iter().all(|label| line.contains(label))
        };
        let line = metrics.lines().find(growth)?;
        line.ends_with("} 1").then_some(())
    });
    gotrace.interrupt();
    target.end_unharmed();
}

#[test]
fn goroutines_that_wait_and_end_are_no_trend() {
    require_root();
    let target = Target::start("trends", &["sessions"]);
    let arguments = [&["--level", "observe", "--duration", "15s"], &QUICKLY[..]].concat();
    let (gotrace, _) = Gotrace::attach(target.pid(), &arguments);
    let report = gotrace.finish().report();
    assert_eq!(list(&report, "findings").len(), 0, "{report:#}");
    target.end_unharmed();
}
