//! Exact to the last event: a program that keeps book of each operation while the collector runs and
//! stacks move, against the report; and, where the ring is made too small for that, what is said of
//! what is missing.

use std::collections::BTreeMap;
use std::env;

use integration_tests::json::number;
use integration_tests::{Gotrace, Target, is_emulated, require_root};
use serde_json::Value;

/// How many operations the tests make; `cargo xtask soak` and `cargo xtask vm` set it.
const OPERATIONS: &str = "GOTRACE_OPERATIONS";

fn operations() -> u64 {
    env::var(OPERATIONS).map_or(500_000, |text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{OPERATIONS}={text}: {error}"))
    })
}

/// Records that the kernel side wanted to write: one for each hit, since no select of the program has
/// more cases than one record carries.
#[track_caller]
fn all_hits(report: &Value) -> u64 {
    let hits = report["hits"].as_object().expect("hits by probe");
    hits.values().map(number).sum()
}

/// What the kernel side counted is what the program did, whether the records arrived or not, and each
/// record arrived or counts as lost; returns how many are lost.
#[track_caller]
fn check_hits(report: &Value, truth: &Value) -> u64 {
    let hits = &report["hits"];
    for (hook, kind) in [
        ("chan_send", "sends"),
        ("chan_recv", "receives"),
        ("chan_close", "closes"),
        ("select", "selects"),
        ("goroutine_create", "created"),
        ("goroutine_exit", "exited"),
        ("chan_make", "made"),
    ] {
        assert_eq!(hits[hook], truth[kind], "{hook} of {hits:#}");
    }
    let handed = number(&hits["direct_send"]) + number(&hits["direct_recv"]);
    assert!(handed >= number(&truth["handed"]), "{hits:#}");

    let lost = number(&report["loss"]["records"]);
    let arrived = number(&report["totals"]["events"]);
    // While probes are removed, what hits them is counted and told by nobody. Emulated, and one by one as before Linux
    // 6.6, that takes so long that the runtime's own goroutines do.
    let untold = all_hits(report).checked_sub(arrived + lost);
    let most = if is_emulated() { 100 } else { 0 };
    assert!(untold.is_some_and(|untold| untold <= most), "{report:#}");
    let by_cpu = report["loss"]["by_cpu"].as_array().expect("a list");
    assert_eq!(by_cpu.iter().map(number).sum::<u64>(), lost);
    lost
}

/// The goroutines that the program left wait as it says, and nothing about them is unknown.
#[track_caller]
fn check_goroutines(report: &Value, truth: &Value) {
    let seen: BTreeMap<u64, &Value> = report["goroutines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|goroutine| (number(&goroutine["goid"]), goroutine))
        .collect();
    for goroutine in truth["goroutines"].as_array().expect("a list") {
        let seen = seen[&number(&goroutine["goid"])];
        assert_eq!(seen["unknown"], Value::Null, "{seen:#}");
        assert_eq!(seen["state"], "waiting", "{seen:#}");
        assert_eq!(seen["wait_reason"], goroutine["state"], "{seen:#}");
    }
    let users = seen.values().filter(|seen| seen["system"] == false);
    // The main goroutine is not among those that it tells.
    let told = truth["goroutines"].as_array().expect("a list").len();
    assert_eq!(users.count(), told + 1, "{:#}", report["goroutines"]);
}

#[test]
fn exact_to_the_last_event_while_stacks_move_and_the_collector_runs() {
    require_root();
    let operations = operations();
    let mut target = Target::start("ledger", &[]);
    let (mut gotrace, _) =
        Gotrace::attach(target.pid(), &["--level", "full", "--event-ring", "64"]);
    let mut truth = Value::Null;
    let begun = |truth: &Value| -> u64 {
        ["sends", "receives", "closes", "selects"]
            .iter()
            .map(|kind| truth[kind].as_u64().unwrap_or(0))
            .sum()
    };
    while begun(&truth) < operations {
        truth = target.ask("RUN 100000");
        // The reader is to be ahead of a full ring, whatever else the machine does.
        let sends = number(&truth["sends"]);
        gotrace.until("summary", |summary| {
            number(&summary["totals"]["sends"]) >= sends
        });
    }
    let truth = target.ask("PARK");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    assert_eq!(report["loss"]["late"], 0, "{:#}", report["loss"]);
    assert_eq!(report["loss"]["faults"], 0, "{:#}", report["loss"]);
    assert_eq!(check_hits(&report, &truth), 0);
    let totals = &report["totals"];
    assert_eq!(totals["anomalies"], serde_json::json!({}), "{totals:#}");
    for kind in [
        "sends", "receives", "closes", "selects", "created", "exited", "made", "panics", "selected",
    ] {
        assert_eq!(totals[kind], truth[kind], "{kind} of {totals:#}");
    }

    // Every value was followed from its sender to its receiver.
    let messages = &report["flow"]["messages"];
    assert_eq!(messages["unknown"], 0, "{messages:#}");
    let mut followed = number(&messages["delivered"]);
    if is_emulated() {
        // It stands still for so long that a message counts as never received, which is said.
        followed += number(&messages["stale"]);
    }
    assert_eq!(followed, number(&truth["received"]), "{messages:#}");

    // Whoever parked for another goroutine was woken, but for those that are left.
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    for goroutine in truth["goroutines"].as_array().expect("a list") {
        let state = goroutine["state"].as_str().expect("a state");
        *left.entry(state).or_default() += 1;
    }
    let count = |counts: &Value, reason: &str| counts[reason].as_u64().unwrap_or(0);
    for (reason, left) in left {
        assert_eq!(
            count(&totals["parks"], reason),
            count(&totals["wakeups_from"], reason) + left,
            "{reason} of {totals:#}"
        );
    }
    // Each value of a channel without a buffer was handed over by one of the two.
    let channels = report["channels"].as_array().expect("a list");
    let handed: u64 = channels
        .iter()
        .filter(|channel| channel["cap"] == 0)
        .map(|channel| number(&channel["direct_sends"]) + number(&channel["direct_receives"]))
        .sum();
    // Channels that were idle for long may be forgotten, and their addresses be of others.
    assert!(handed <= number(&truth["handed"]), "{handed}");
    check_goroutines(&report, &truth);
}

#[test]
fn what_a_loss_touched_is_unknown_until_a_look_heals_it() {
    require_root();
    let mut target = Target::start("ledger", &[]);
    let arguments = ["--level", "full", "--ring-kib", "4", "--interval", "100ms"];
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &arguments);
    // Not as many as a soak has: it is a loss that counts here.
    target.say(&format!("RUN {}", 2 * operations().min(500_000)));
    gotrace.until("summary", |summary| {
        number(&summary["goroutines"]["unknown"]) > 0
    });
    target.hear();
    let truth = target.ask("PARK");
    // Nothing happens any more, so one look that began since makes up for all that is missing.
    gotrace.until("summary", |summary| {
        number(&summary["goroutines"]["unknown"]) == 0
            && summary["goroutines"]["by_state"]["waiting"]
                == truth["goroutines"].as_array().expect("a list").len()
    });
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    assert!(check_hits(&report, &truth) > 0);
    check_goroutines(&report, &truth);
}
