//! A whole program that is deadlocked and held open by something that waits for the outside, and servers
//! that are idle and look much like it: `tests/programs/heldopen`.

use integration_tests::json::list;
use integration_tests::{Finished, Gotrace, Target, require_root};
use serde_json::Value;

#[track_caller]
fn findings(target: &Target) -> (Finished, Vec<Value>) {
    let pid = target.pid_argument();
    let finished = Gotrace::run(&["deadlocks", "--pid", &pid, "--format", "json"]);
    let document = finished.document("gotrace.findings/1");
    let found = list(&document, "findings").to_vec();
    (finished, found)
}

#[test]
fn what_holds_a_deadlocked_program_open_is_told() {
    require_root();
    for (keeper, what) in [
        ("signal", "wait for signals"),
        ("ticker", "waits for a timer"),
        ("poller", "waits for the network"),
    ] {
        let target = Target::start("heldopen", &[keeper]);
        let (finished, found) = findings(&target);
        assert_eq!(finished.code, Some(1), "{keeper}: {finished:#?}");
        let stall = found.iter().find(|finding| finding["kind"] == "stall");
        let stall = stall.unwrap_or_else(|| panic!("{keeper}: {found:#?}"));
        assert_eq!(stall["verdict"], "likely", "{stall:#}");
        assert!(
            stall["reason"].as_str().expect("text").ends_with(what),
            "{keeper}: {stall:#}"
        );
        // Main and the two that it waits for.
        assert_eq!(list(stall, "goroutines").len(), 3, "{stall:#}");
        assert!(
            list(stall, "goroutines").contains(&Value::from(1)),
            "{stall:#}"
        );
        let cause = found.iter().find(|finding| finding["kind"] == "deadlock");
        let cause = cause.expect("there is one");
        assert_eq!(cause["verdict"], "proven", "{cause:#}");
        assert_eq!(stall["caused_by"], cause["id"], "{stall:#}");
    }
}

#[test]
fn an_idle_server_is_none_of_that() {
    require_root();
    for well in ["server", "accept", "signals"] {
        let target = Target::start("heldopen", &[well]);
        let (finished, found) = findings(&target);
        assert_eq!(finished.code, Some(0), "{well}: {finished:#?}");
        assert_eq!(found, Vec::<Value>::new(), "{well}");
    }
}
