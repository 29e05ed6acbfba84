//! `gotrace why` and `gotrace leaks`: the explanation of one goroutine, where goroutines are stuck, and
//! the exit codes that a build server goes by. The truth is what the traced program says of itself.

use integration_tests::json::list;
use integration_tests::target::fixture;
use integration_tests::{Finished, Gotrace, Target, require_root};
use serde_json::Value;

/// A goroutine that the program names.
#[track_caller]
fn goid(ready: &Value, role: &str) -> u64 {
    ready[role]
        .as_u64()
        .unwrap_or_else(|| panic!("nobody plays the {role}: {ready}"))
}

#[track_caller]
fn explain(pid: &str, goid: u64, format: &str) -> Finished {
    let finished = Gotrace::run(&["why", &goid.to_string(), "--pid", pid, "--format", format]);
    assert_eq!(finished.stderr, "", "{finished:#?}");
    finished
}

fn numbers(value: &Value, field: &str) -> Vec<u64> {
    list(value, field)
        .iter()
        .filter_map(Value::as_u64)
        .collect()
}

/// The entry of a goroutine in an explanation.
#[track_caller]
fn entry(document: &Value, goid: u64) -> &Value {
    list(document, "goroutines")
        .iter()
        .find(|entry| entry["goid"] == goid)
        .unwrap_or_else(|| panic!("no goroutine {goid} in {document:#}"))
}

#[test]
fn a_cycle_of_channels_is_explained_link_by_link() {
    require_root();
    let target = Target::start("stuck", &[]);
    let pid = target.pid_argument();
    let roles = ["editor", "printer", "reviewer"].map(|role| goid(&target.ready, role));
    let [editor, printer, reviewer] = roles;

    let document = explain(&pid, editor, "json").document("gotrace.why/1");
    assert_eq!(document["stands"], "stuck", "{document:#}");
    assert_eq!(document["verdict"], "proven", "{document:#}");
    assert!(document["finding"].is_string(), "{document:#}");
    // The editor waits for the printer, who waits for the reviewer, who waits for the editor.
    assert_eq!(
        numbers(&document, "cycle"),
        [editor, printer, reviewer],
        "{document:#}"
    );
    let next = [printer, reviewer, editor];
    let sites = [("main.edit", 93), ("main.print", 105), ("main.review", 99)];
    for ((who, next), (function, line)) in roles.into_iter().zip(next).zip(sites) {
        let entry = entry(&document, who);
        assert_eq!(entry["stands"], "stuck", "{entry:#}");
        assert_eq!(entry["wait_reason"], "chan receive", "{entry:#}");
        assert_eq!(entry["site"]["function"], function, "{entry:#}");
        assert_eq!(entry["site"]["line"], line, "{entry:#}");
        assert_eq!(entry["created_by"], 1, "{entry:#}");
        let [on] = list(entry, "waits_on") else {
            panic!("a receive waits on one channel: {entry:#}");
        };
        assert_eq!(on["channel"]["type"], "string", "{on:#}");
        assert_eq!(on["channel"]["cap"], 0, "{on:#}");
        // The one who could end it, with the place where it holds the channel.
        let [holder] = list(on, "held_by") else {
            panic!("one goroutine holds the channel: {on:#}");
        };
        assert_eq!(holder["goid"], next, "{holder:#}");
        assert!(holder["slot"].is_string(), "{holder:#}");
        assert!(holder["frame"]["function"].is_string(), "{holder:#}");
    }

    let text = explain(&pid, editor, "text").text();
    assert!(
        text.contains("can never run again (proven)") && text.contains("a cycle of 3"),
        "{text}"
    );
    target.end_unharmed();
}

#[test]
fn a_lock_and_a_channel_that_wait_for_each_other_are_explained() {
    require_root();
    let target = Target::start("stuck", &[]);
    let pid = target.pid_argument();
    let [bank, clerk] = ["bank", "clerk"].map(|role| goid(&target.ready, role));

    let document = explain(&pid, bank, "json").document("gotrace.why/1");
    assert_eq!(document["verdict"], "proven", "{document:#}");
    assert_eq!(numbers(&document, "cycle"), [bank, clerk], "{document:#}");
    let kind = |who| entry(&document, who)["waits_on"][0]["kind"].clone();
    assert_eq!(kind(bank), "chan", "{document:#}");
    assert_eq!(kind(clerk), "mutex", "{document:#}");
    target.end_unharmed();
}

#[test]
fn a_goroutine_that_will_run_again_is_said_to_be_alive() {
    require_root();
    let target = Target::start("stuck", &[]);
    let pid = target.pid_argument();
    let reader = goid(&target.ready, "reader");
    let finished = explain(&pid, reader, "json");
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let document = finished.document("gotrace.why/1");
    assert_eq!(document["stands"], "alive", "{document:#}");
    assert_eq!(document["verdict"], Value::Null, "{document:#}");

    let nobody = Gotrace::run(&["why", "999999", "--pid", &pid]);
    assert_eq!(nobody.code, Some(2), "{nobody:#?}");
    assert!(nobody.stderr.contains("999999"), "{nobody:#?}");
    target.end_unharmed();
}

#[test]
fn the_graph_is_drawn_for_graphviz_and_for_mermaid() {
    require_root();
    let target = Target::start("stuck", &[]);
    let pid = target.pid_argument();
    let editor = goid(&target.ready, "editor");
    let dot = explain(&pid, editor, "dot").text();
    assert!(dot.starts_with("digraph gotrace {"), "{dot}");
    // Three goroutines and three channels; from each goroutine to its channel and on to the next one.
    assert_eq!(dot.matches(" -> ").count(), 6, "{dot}");
    let mermaid = explain(&pid, editor, "mermaid").text();
    assert!(mermaid.starts_with("flowchart"), "{mermaid}");
    let leaks = Gotrace::run(&["leaks", "--pid", &pid, "--format", "dot"]);
    assert_eq!(leaks.code, Some(1), "{leaks:#?}");
    // Both cycles: five goroutines, each with an edge to what it waits on and one from there.
    assert_eq!(leaks.text().matches(" -> ").count(), 10, "{leaks:#?}");
    target.end_unharmed();
}

#[test]
fn leaks_are_grouped_by_where_they_are_stuck() {
    require_root();
    let target = Target::start("stuck", &[]);
    let pid = target.pid_argument();
    let finished = Gotrace::run(&["leaks", "--pid", &pid, "--format", "json"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let document = finished.document("gotrace.findings/1");
    let places = list(&document, "sites");
    let mut stuck: Vec<u64> = places
        .iter()
        .flat_map(|place| numbers(place, "goroutines"))
        .collect();
    stuck.sort_unstable();
    let mut roles = ["editor", "reviewer", "printer", "bank", "clerk"]
        .map(|role| goid(&target.ready, role))
        .to_vec();
    roles.sort_unstable();
    assert_eq!(stuck, roles, "{document:#}");
    for place in places {
        assert_eq!(place["verdict"], "proven", "{place:#}");
        assert_eq!(place["count"], 1, "{place:#}");
        let function = place["site"]["function"].as_str().expect("a function");
        let parts = ["edit", "review", "print", "pay", "clerk"].map(|part| format!("main.{part}"));
        assert!(parts.iter().any(|part| part == function), "{place:#}");
    }
    target.end_unharmed();
}

#[test]
fn a_command_is_judged_by_its_leaks_and_by_its_own_exit_code() {
    require_root();
    let program = fixture("stuck").display().to_string();
    let run = |options: &[&str], arguments: &[&str]| {
        let command = [
            &["leaks"],
            options,
            &["--", &program, "-for", "1s"],
            arguments,
        ]
        .concat();
        Gotrace::run(&command)
    };

    let json = ["--format", "json"];
    let finished = run(&json, &["-exit", "3"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let document = finished.document("gotrace.findings/1");
    let command = &document["command"];
    assert_eq!(command["ended"], "command ended", "{command:#}");
    assert_eq!(command["exit_code"], 3, "{command:#}");
    assert!(command["looks"].as_u64() >= Some(2), "{command:#}");
    assert_eq!(list(&document, "sites").len(), 5, "{document:#}");
    // What the command prints is not part of the document.
    assert!(finished.stderr.contains("READY"), "{finished:#?}");

    let healthy = run(&json, &["-healthy", "-exit", "3"]);
    assert_eq!(healthy.code, Some(3), "its own exit code: {healthy:#?}");
    let document = healthy.document("gotrace.findings/1");
    assert_eq!(list(&document, "findings").len(), 0, "{document:#}");

    let ended = run(&["--duration", "300ms", "--format", "json"], &["-healthy"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let document = ended.document("gotrace.findings/1");
    assert_eq!(document["command"]["ended"], "duration", "{document:#}");
}
