//! Channels whose fields were overwritten: `tests/programs/corrupt` does that to one of its own.

use integration_tests::json::list;
use integration_tests::{Gotrace, Target, require_root};
use serde_json::Value;

/// The channels that are found to be corrupt when this was done. The program's goroutines wait for what
/// nobody sends, which is said as well, and no matter here.
#[track_caller]
fn found(fault: &str) -> (Target, Vec<Value>) {
    require_root();
    let target = Target::start("corrupt", &[fault]);
    let pid = target.pid_argument();
    let finished = Gotrace::run(&["deadlocks", "--pid", &pid, "--format", "json"]);
    assert_eq!(finished.code, Some(0), "it is no proof: {finished:#?}");
    let document = finished.document("gotrace.findings/1");
    let mut found = list(&document, "findings").to_vec();
    found.retain(|finding| finding["kind"] == "corrupt");
    (target, found)
}

#[test]
fn each_way_to_spoil_a_channel_is_a_finding_with_the_values() {
    for (fault, field, value) in [
        ("count", "hchan.qcount", "9 of 4"),
        ("index", "hchan.sendx", "77"),
        ("buffer", "hchan.buf", "0x1000"),
        ("capacity", "hchan.buf or dataqsiz", "1048576 elements"),
        ("cycle", "recvq", "comes after itself"),
    ] {
        let (target, found) = found(fault);
        let [finding] = found.as_slice() else {
            panic!("{fault}: {found:#?}");
        };
        assert_eq!(finding["verdict"], "likely", "{fault}: {finding:#}");
        let reason = finding["reason"].as_str().expect("text");
        let address = target.ready["channel"].as_str().expect("text");
        for fact in [field, value, address] {
            assert!(reason.contains(fact), "{fault}, {fact}: {reason}");
        }
        assert_eq!(list(finding, "goroutines").len(), 2, "{finding:#}");
        assert_eq!(
            finding["chain"][0]["site"]["function"], "main.receive",
            "{finding:#}"
        );
        target.end_unharmed();
    }
}

#[test]
fn a_sound_channel_is_none() {
    let (target, found) = found("none");
    assert_eq!(found, Vec::<Value>::new());
    target.end_unharmed();
}

#[test]
fn a_spoilt_channel_is_told_as_it_is_traced() {
    require_root();
    let target = Target::start("corrupt", &["count"]);
    let (mut gotrace, _) = Gotrace::attach(target.pid(), &["--level", "observe"]);
    gotrace.until("finding", |line| {
        line["finding"]["kind"] == "corrupt" && line["finding"]["verdict"] == "likely"
    });
    gotrace.interrupt();
    target.end_unharmed();
}
