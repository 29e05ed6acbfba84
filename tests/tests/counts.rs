//! Counting is exact: a program that knows how many operations it made, how often its goroutines
//! parked and who woke them, against the report of `gotrace run --level full`.

use std::collections::BTreeMap;

use integration_tests::json::number;
use integration_tests::{Gotrace, Target, require_root};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn every_count_is_exact() {
    check_every_count(&["--level", "full", "--event-ring", "64"]);
}

/// As on a kernel that cannot have all probes in one link.
#[test]
fn every_count_is_exact_with_a_link_for_each_probe() {
    check_every_count(&["--level", "full", "--event-ring", "64", "--single-links"]);
}

#[track_caller]
fn check_every_count(arguments: &[&str]) {
    require_root();
    let mut target = Target::start("counts", &[]);
    let (gotrace, _) = Gotrace::attach(target.pid(), arguments);
    let truth = target.ask("GO");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    let totals = &report["totals"];
    for kind in [
        "sends",
        "receives",
        "closes",
        "selects",
        "created",
        "exited",
        "made",
        "direct_sends",
        "direct_receives",
        "selected",
        "defaulted",
    ] {
        assert_eq!(totals[kind], truth[kind], "{kind} of {totals:#}");
    }
    check_messages(&report, &truth);
    // Reasons that the program does not count are those of the runtime's own goroutines.
    for (reason, parks) in truth["parks"].as_object().expect("parks by reason") {
        assert_eq!(totals["parks"][reason], *parks, "{reason} of {totals:#}");
    }

    check_wakeups(&report, &truth);
    let main = find(&report["goroutines"], "goid", &truth["main_goid"]);
    assert_eq!(main["parks"], 0, "{main:#}");
    // Whoever was created or woken ran once for that, and before anything else; how often the
    // scheduler let somebody else run in between only the runtime knows.
    assert_eq!(
        number(&totals["scheduled"]),
        number(&totals["created"]) + number(&totals["wakeups"]),
        "{totals:#}"
    );
    assert!(
        number(&totals["runs"]) >= number(&totals["scheduled"]),
        "{totals:#}"
    );

    for channel in truth["channels"].as_array().expect("a list") {
        let seen = find(&report["channels"], "address", &channel["address"]);
        assert_eq!(seen["made_at"]["function"], truth["made_in"], "{seen:#}");
        assert_eq!(seen["made_by"], truth["main_goid"], "{seen:#}");
        for count in [
            "sends",
            "receives",
            "closes",
            "parks_send",
            "parks_receive",
            "direct_sends",
            "direct_receives",
            "selected_sends",
            "selected_receives",
        ] {
            assert_eq!(
                seen[count], channel[count],
                "{count} of {channel:#}: {seen:#}"
            );
        }
        // A select does not say how large its channels are, so it may not be known.
        if !seen["cap"].is_null() || number(&channel["sends"]) > 0 {
            assert_eq!(seen["cap"], channel["cap"], "{channel:#}: {seen:#}");
        }
    }
    // No channel appears that is not the program's.
    let known: BTreeMap<&str, u64> = truth["channels"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|channel| (channel["address"].as_str().expect("text"), 1))
        .collect();
    let mut operations = 0;
    for channel in report["channels"].as_array().expect("a list") {
        let (sends, receives) = (number(&channel["sends"]), number(&channel["receives"]));
        let address = channel["address"].as_str().expect("text");
        assert!(
            sends + receives == 0 || known.contains_key(address),
            "{channel:#} is not the program's"
        );
        operations += sends + receives;
    }
    assert_eq!(
        operations,
        number(&truth["sends"]) + number(&truth["receives"])
    );
}

/// Every value was followed from its sender to its receiver, and every attempt in vain is known as such.
#[track_caller]
fn check_messages(report: &Value, truth: &Value) {
    let messages = &report["flow"]["messages"];
    for (kind, told) in [
        ("delivered", &truth["messages"]),
        ("failed_sends", &truth["failed_sends"]),
        ("failed_receives", &truth["failed_receives"]),
        ("unknown", &Value::from(0)),
        ("stale", &Value::from(0)),
    ] {
        assert_eq!(&messages[kind], told, "{kind} of {messages:#}");
    }
    // Whatever did not fail, park, or meet somebody went through the buffer.
    for (kind, all, direct, reason, failed) in [
        (
            "buffered_sends",
            "sends",
            "direct_sends",
            "chan send",
            "failed_sends",
        ),
        (
            "buffered_receives",
            "receives",
            "direct_receives",
            "chan receive",
            "failed_receives",
        ),
    ] {
        let handed: u64 = truth["channels"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|channel| channel["name"] != "selected" || number(&channel[all]) > 0)
            .map(|channel| number(&channel[direct]))
            .sum();
        let others = handed + number(&truth["parks"][reason]) + number(&truth[failed]);
        assert_eq!(
            number(&messages[kind]),
            number(&truth[all]) - others,
            "{kind} of {messages:#}"
        );
    }
}

/// The one object of a list whose field has the value.
#[track_caller]
fn find<'a>(list: &'a Value, field: &str, value: &Value) -> &'a Value {
    let found: Vec<&Value> = list
        .as_array()
        .expect("a list")
        .iter()
        .filter(|object| object[field] == *value)
        .collect();
    match found[..] {
        [one] => one,
        ref several => panic!("{field} {value} is there {} times", several.len()),
    }
}

#[test]
fn at_the_level_park_nothing_but_parking_is_counted_and_that_exactly() {
    require_root();
    let mut target = Target::start("counts", &[]);
    let (gotrace, _) = Gotrace::attach(target.pid(), &["--level", "park"]);
    let truth = target.ask("GO");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    let totals = &report["totals"];
    for kind in ["sends", "receives", "closes", "selects"] {
        assert_eq!(totals[kind], 0, "{kind} of {totals:#}");
    }
    for kind in ["created", "exited"] {
        assert_eq!(totals[kind], truth[kind], "{kind} of {totals:#}");
    }
    for (reason, parks) in truth["parks"].as_object().expect("parks by reason") {
        assert_eq!(totals["parks"][reason], *parks, "{reason} of {totals:#}");
    }
    check_wakeups(&report, &truth);
}

#[test]
fn at_the_level_wake_every_wake_up_is_counted_by_reason_and_channel() {
    require_root();
    let mut target = Target::start("counts", &[]);
    let (gotrace, attached) = Gotrace::attach(target.pid(), &["--level", "wake"]);
    let truth = target.ask("GO");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    let probes = attached["probes"].as_array().expect("a list");
    assert_eq!(probes.len(), 1, "{probes:#?}");
    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    let totals = &report["totals"];
    for kind in [
        "sends", "receives", "closes", "selects", "created", "exited",
    ] {
        assert_eq!(totals[kind], 0, "{kind} of {totals:#}");
    }
    assert_eq!(totals["parks"], serde_json::json!({}), "{totals:#}");
    assert_eq!(totals["anomalies"], serde_json::json!({}), "{totals:#}");
    check_wakeups(&report, &truth);
}

/// Every park of the program was ended, and by the main goroutine.
#[track_caller]
fn check_wakeups(report: &Value, truth: &Value) {
    let totals = &report["totals"];
    for (reason, parks) in truth["parks"].as_object().expect("parks by reason") {
        assert_eq!(
            totals["wakeups_from"][reason], *parks,
            "{reason} of {totals:#}"
        );
    }
    let main = find(&report["goroutines"], "goid", &truth["main_goid"]);
    assert_eq!(main["wakeups_made"], truth["wakeups_by_main"], "{main:#}");
    for channel in truth["channels"].as_array().expect("a list") {
        let parks = number(&channel["parks_send"]) + number(&channel["parks_receive"]);
        // A channel on which nobody waited alone was never heard of at this level.
        if parks > 0 {
            let seen = find(&report["channels"], "address", &channel["address"]);
            assert_eq!(seen["wakeups_send"], channel["parks_send"], "{seen:#}");
            assert_eq!(
                seen["wakeups_receive"], channel["parks_receive"],
                "{seen:#}"
            );
        }
    }
}

/// Every operation was seen by a probe, and its record arrived or counts as lost; returns how many
/// records were lost. The program parks nobody while it works, so all that can be lost besides is
/// that a goroutine runs on after the scheduler let another one run.
#[track_caller]
fn check_loss(report: &Value, truth: &Value) -> u64 {
    let (totals, hits) = (&report["totals"], &report["hits"]);
    assert_eq!(hits["chan_send"], truth["sends"], "{hits:#}");
    assert_eq!(hits["chan_recv"], truth["receives"], "{hits:#}");
    let lost = number(&report["loss"]["records"]);
    let operations = begun(truth) - begun(totals);
    let runs = number(&hits["goroutine_run"]) - number(&totals["runs"]);
    assert!(
        (operations..=operations + runs).contains(&lost),
        "{operations} operations and at most {runs} runs: {:#}",
        report["loss"]
    );
    lost
}

/// Channel operations begun, of a count.
fn begun(count: &Value) -> u64 {
    number(&count["sends"]) + number(&count["receives"])
}

#[test]
fn half_a_million_operations_a_second_are_read_without_loss() {
    require_root();
    let mut target = Target::start("load", &["-rate", "500000"]);
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full"]);
    target.ask("START");
    for _ in 0..5 {
        gotrace.until("summary", |_| true);
    }
    let truth = target.ask("STOP");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    check_loss(&report, &truth);
}

#[test]
fn what_a_reader_that_stands_still_loses_is_counted_exactly() {
    require_root();
    let mut target = Target::start("load", &["-n", "1"]);
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "full", "--event-ring", "1"]);
    target.ask("START");
    gotrace.until("summary", |summary| number(&summary["totals"]["sends"]) > 0);

    gotrace.signal(Signal::STOP);
    // Far more than the ring holds: a record takes 64 bytes in it.
    let goal = begun(&target.ask("COUNT")) + 10 * (1 << 20) / 64;
    while begun(&target.ask("COUNT")) < goal {}
    gotrace.signal(Signal::CONT);

    let lossy = gotrace.until("summary", |summary| number(&summary["loss"]["records"]) > 0);
    // After the loss it goes on.
    let then = number(&lossy["totals"]["sends"]);
    gotrace.until("summary", |summary| {
        number(&summary["totals"]["sends"]) > then
    });
    let truth = target.ask("STOP");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    let lost = check_loss(&report, &truth);
    assert!(lost > 0, "{:#}", report["loss"]);
    let by_cpu: u64 = report["loss"]["by_cpu"]
        .as_array()
        .expect("a list")
        .iter()
        .map(number)
        .sum();
    assert_eq!(by_cpu, lost, "{:#}", report["loss"]);
}
