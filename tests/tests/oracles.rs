//! The oracles themselves: what the other tests believe must be true without gotrace.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use integration_tests::text::{assert_no_probe, patched};
use integration_tests::{Target, profile, require_root};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_changed_byte_of_code_is_seen() {
    require_root();
    let target = Target::start("hello", &[]);
    assert_no_probe(target.pid());

    // The last byte of the code's first page belongs to code that runs at most at the start.
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid())).expect("it runs");
    let line = maps
        .lines()
        .find(|line| line.contains("r-xp") && line.ends_with("/hello"))
        .expect("it has code");
    let start = line.split('-').next().expect("a range");
    let address = u64::from_str_radix(start, 16).expect("a number") + 0xfff;
    let memory = OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/{}/mem", target.pid()))
        .expect("root may write memory");
    let mut byte = [0];
    memory
        .read_exact_at(&mut byte, address)
        .expect("it is readable");
    memory
        .write_all_at(&[!byte[0]], address)
        .expect("root may write code");
    assert_eq!(patched(target.pid()), [address]);
    memory
        .write_all_at(&byte, address)
        .expect("root may write code");
    assert_no_probe(target.pid());
    target.end_unharmed();
}

#[test]
fn the_programs_count_the_same_each_time() {
    let count = || -> Value {
        let mut target = Target::start("counts", &[]);
        let mut truth = target.ask("GO");
        target.end_unharmed();
        for channel in truth["channels"].as_array_mut().expect("a list") {
            channel["address"] = Value::Null;
        }
        truth
    };
    let truth = count();
    assert_eq!(truth, count());
    // The defaults are 16 goroutines in each phase, woken 25 times.
    assert_eq!(truth["parks"]["chan receive"], 16 * 26);
    assert_eq!(truth["parks"]["chan send"], 16 * 25);
    assert_eq!(truth["parks"]["select"], 16 * 25);
    assert_eq!(truth["wakeups_by_main"], 16 * (26 + 25 + 25));
}

#[test]
fn the_busy_program_is_right_when_nobody_looks() {
    let mut target = Target::start("churn", &[]);
    target.signal(Signal::TERM);
    let account = target.hear();
    assert_eq!(account["ok"], true, "{account:#}");
    assert!(account["operations"].as_u64() > Some(0), "{account:#}");
    assert!(target.wait().success());
}

#[test]
fn the_load_counts_what_it_does() {
    for mode in ["buffered", "pingpong"] {
        let mut target = Target::start("load", &["-mode", mode]);
        target.ask("START");
        let begun = target.ask("COUNT");
        let truth = target.ask("STOP");
        assert!(
            truth["sends"].as_u64() >= begun["sends"].as_u64(),
            "{truth:#}"
        );
        // The answering side of a pair receives the end as well.
        let ends = if mode == "pingpong" { 2 } else { 0 };
        let (sends, receives) = (truth["sends"].as_u64(), truth["receives"].as_u64());
        assert_eq!(sends.map(|sends| sends + ends), receives, "{truth:#}");
        target.end_unharmed();
    }
}

#[test]
fn the_service_knows_its_faults() {
    let demo = Target::start("demo", &[]);
    let truth: Value = serde_json::from_str(&demo.get("/truth")).expect("the truth is JSON");
    let profile = profile::parse(&demo.get("/debug/pprof/goroutine?debug=2"));
    let parties = truth["deadlocked"].as_array().expect("a list");
    assert_eq!(parties.len(), 3);
    for party in parties {
        let goroutine = &profile[&party["goid"].as_u64().expect("a goid")];
        assert_eq!(goroutine.state, "chan receive");
        let function = match party["role"].as_str() {
            Some("stock") => "main.reserveStock",
            Some("payment") => "main.chargeCard",
            Some("courier") => "main.bookCourier",
            other => panic!("a party of role {other:?}"),
        };
        assert_eq!(goroutine.calls[0].function, function);
        // Exactly one other party would send what it waits for.
        let senders = parties
            .iter()
            .filter(|other| other["would_send_on"] == party["receives_on"])
            .count();
        assert_eq!(senders, 1, "{truth:#}");
    }
}
