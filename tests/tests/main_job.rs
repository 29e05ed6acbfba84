//! The main job: a Go service that hangs in places, and what gotrace says of it. The oracles are the
//! service's own list of its faults and its own pprof goroutine profile.

use std::collections::{BTreeMap, BTreeSet};

use integration_tests::profile::{self, Call};
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use serde_json::Value;

/// Leaks come fast and stop at this number, so that the picture soon stands still.
const LEAKS: usize = 5;

/// Starts the service and waits until all its faults are there; returns it with its list of them.
fn hanging_service() -> (Target, Value) {
    require_root();
    let leaks = LEAKS.to_string();
    let demo = Target::start(
        "demo",
        &["-leaks", &leaks, "-leak-every", "1ms", "-packing", "500ms"],
    );
    let truth = eventually("all leaks are there", || {
        let truth: Value = serde_json::from_str(&demo.get("/truth")).expect("the truth is JSON");
        let profile = pprof(&demo);
        let stuck = |goid: &u64| profile.get(goid).is_some_and(|it| it.state == "chan send");
        let leaked = goids(&truth["leaked"]);
        (leaked.len() == LEAKS && leaked.iter().all(stuck)).then_some(truth)
    });
    (demo, truth)
}

fn goids(value: &Value) -> BTreeSet<u64> {
    value
        .as_array()
        .expect("a list of goids")
        .iter()
        .map(|goid| goid.as_u64().expect("a goid"))
        .collect()
}

fn deadlocked(truth: &Value) -> &[Value] {
    truth["deadlocked"].as_array().expect("a list")
}

fn pprof(demo: &Target) -> BTreeMap<u64, profile::Goroutine> {
    profile::parse(&demo.get("/debug/pprof/goroutine?debug=2"))
}

/// Checks a deadlock's chain against the service's own words and its profile.
#[track_caller]
fn check_deadlock(finding: &Value, truth: &Value, profile: &BTreeMap<u64, profile::Goroutine>) {
    assert_eq!(finding["verdict"], "proven", "{finding:#}");
    let parties = deadlocked(truth);
    let expected: BTreeSet<u64> = parties
        .iter()
        .map(|party| party["goid"].as_u64().expect("a goid"))
        .collect();
    assert_eq!(goids(&finding["goroutines"]), expected, "{finding:#}");
    let chain = finding["chain"].as_array().expect("a chain");
    assert_eq!(chain.len(), parties.len(), "{finding:#}");
    for link in chain {
        let party = parties
            .iter()
            .find(|party| party["goid"] == link["goid"])
            .unwrap_or_else(|| panic!("{link} is of no party of {truth:#}"));
        assert_eq!(link["waits_on"]["kind"], "chan", "{link}");
        assert_eq!(link["waits_on"]["direction"], "receive", "{link}");
        assert_eq!(link["waits_on"]["address"], party["receives_on"], "{link}");
        // The other side: whoever would send on that channel.
        let sender = parties
            .iter()
            .find(|other| other["would_send_on"] == party["receives_on"])
            .expect("the truth is a cycle");
        let sender = sender["goid"].as_u64().expect("a goid");
        assert_eq!(
            goids(&link["held_by"]),
            BTreeSet::from([sender]),
            "{link}: only {sender} could send"
        );
        // Where it waits, as the profile says.
        let goid = link["goid"].as_u64().expect("a goid");
        assert_eq!(site(&link["site"]), profile[&goid].calls[0], "{link}");
    }
}

fn site(site: &Value) -> Call {
    Call {
        function: site["function"].as_str().expect("a function").to_owned(),
        file: site["file"].as_str().expect("a file").to_owned(),
        line: site["line"].as_u64().expect("a line"),
    }
}

fn of_kind<'a>(findings: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    findings
        .iter()
        .filter(move |finding| finding["kind"] == kind)
}

/// Checks that the deadlock was found and that nobody else was accused than the leaked goroutines;
/// says which of those were.
#[track_caller]
fn check_findings(findings: &Value, truth: &Value, demo: &Target) -> BTreeSet<u64> {
    let profile = pprof(demo);
    let findings = findings.as_array().expect("a list");
    let deadlocks: Vec<&Value> = of_kind(findings, "deadlock").collect();
    assert_eq!(deadlocks.len(), 1, "{findings:#?}");
    check_deadlock(deadlocks[0], truth, &profile);

    let mut leaked = BTreeSet::new();
    for leak in of_kind(findings, "leak").filter(|leak| leak["verdict"] == "proven") {
        for goid in goids(&leak["goroutines"]) {
            assert!(leaked.insert(goid), "{goid} is found twice: {findings:#?}");
        }
        for link in leak["chain"].as_array().expect("a chain") {
            assert_eq!(link["waits_on"]["direction"], "send", "{link}");
            assert_eq!(link["site"]["function"], "main.fetchPrice", "{link}");
        }
    }
    assert!(leaked.is_subset(&goids(&truth["leaked"])), "{findings:#?}");
    leaked
}

#[test]
fn run_finds_the_deadlock_and_the_leaks_with_their_chain() {
    let (demo, truth) = hanging_service();
    let arguments = ["--interval", "300ms", "--listen", "127.0.0.1:0"];
    let (mut gotrace, attached) = Gotrace::attach_listening(demo.pid(), &arguments);
    let address = attached["listening"].as_str().expect("an address");
    assert_eq!(attached["target"]["pid"], demo.pid());
    assert_eq!(attached["target"]["go_version"], demo.ready["go_version"]);
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    assert_eq!(attached["target"]["arch"], arch);

    gotrace.until("finding", |line| {
        line["finding"]["kind"] == "deadlock" && line["finding"]["verdict"] == "proven"
    });
    // A finding that grows a little is told once; the API has it as it is.
    let leaked = eventually("all leaks are proven", || {
        let (_, text) = http::get(&format!("http://{address}/api/v1/findings"));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let findings = document["findings"].as_array().expect("a list");
        let proven = of_kind(findings, "leak").filter(|leak| leak["verdict"] == "proven");
        let leaked: BTreeSet<u64> = proven.flat_map(|leak| goids(&leak["goroutines"])).collect();
        (leaked.len() >= LEAKS).then_some(leaked)
    });
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(1), "findings: {finished:#?}");
    let report = finished.report();
    assert_eq!(report["ended"], "interrupted");
    let found = check_findings(&report["findings"], &truth, &demo);
    assert_eq!(found, leaked);
}

#[test]
fn deadlocks_finds_them_at_one_look() {
    let (demo, truth) = hanging_service();
    let pid = demo.pid_argument();
    // A word that is left over on a stack can hide a leak for a while; it never makes one.
    eventually("every leak is found", || {
        let finished = Gotrace::run(&["deadlocks", "--pid", &pid, "--format", "json"]);
        assert_eq!(finished.code, Some(1), "findings: {finished:#?}");
        let document = finished.document("gotrace.findings/1");
        let found = check_findings(&document["findings"], &truth, &demo);
        (found == goids(&truth["leaked"])).then_some(())
    });
}

#[test]
fn text_shows_goroutines_channels_and_both_sides() {
    let (demo, truth) = hanging_service();
    let pid = demo.pid_argument();
    let mut run = Gotrace::start(&["run", "--pid", &pid, "--listen", "off"]);
    run.until_line("DEADLOCK (proven)");
    let asked = [run.interrupt(), Gotrace::run(&["deadlocks", "--pid", &pid])];
    let texts = asked.map(|finished| {
        assert_eq!(finished.code, Some(1), "findings: {finished:#?}");
        finished.text()
    });
    let profile = pprof(&demo);
    for text in texts {
        for party in deadlocked(&truth) {
            let goid = party["goid"].as_u64().expect("a goid");
            let waits_at = &profile[&goid].calls[0];
            let file = waits_at.file.rsplit('/').next().expect("a name");
            for fact in [
                goid.to_string(),
                party["receives_on"]
                    .as_str()
                    .expect("an address")
                    .to_owned(),
                waits_at.function.clone(),
                format!("{file}:{}", waits_at.line),
            ] {
                assert!(text.contains(&fact), "{fact} is missing in:\n{text}");
            }
        }
    }
}

#[test]
fn goroutines_agree_with_the_programs_own_profile() {
    let (demo, _) = hanging_service();
    // The program looks at itself before and after. What stood still meanwhile must be the same.
    let before = pprof(&demo);
    let finished = Gotrace::run(&[
        "goroutines",
        "--pid",
        &demo.pid_argument(),
        "--format",
        "json",
    ]);
    let after = pprof(&demo);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let document = finished.document("gotrace.goroutines/1");
    assert_eq!(
        document["errors"].as_array().map(Vec::len),
        Some(0),
        "{document:#}"
    );

    let seen: BTreeMap<u64, &Value> = document["goroutines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|goroutine| (goroutine["goid"].as_u64().expect("a goid"), goroutine))
        .collect();
    for (goid, goroutine) in &seen {
        // The profile leaves out the runtime's own, and so does gotrace by this flag.
        if goroutine["system"] == false {
            assert!(
                before.contains_key(goid) || after.contains_key(goid),
                "the program knows no goroutine {goid}: {goroutine:#}"
            );
        }
    }
    let mut compared = 0;
    for (goid, goroutine) in &before {
        if after.get(goid) != Some(goroutine) {
            continue;
        }
        let seen = seen
            .get(goid)
            .unwrap_or_else(|| panic!("goroutine {goid} is missing: {goroutine:?}"));
        assert_eq!(seen["system"], false, "{seen:#}");
        let state = match &seen["wait_reason"] {
            Value::String(reason) => {
                assert_eq!(seen["state"], "waiting", "{seen:#}");
                reason
            }
            _ => seen["state"].as_str().expect("a state"),
        };
        assert_eq!(state, goroutine.state, "{seen:#}");
        assert_eq!(shown_calls(&seen["stack"]), goroutine.calls, "{seen:#}");
        if let Some((creator, created_at)) = &goroutine.created_by {
            assert_eq!(seen["created_by"]["goid"], *creator, "{seen:#}");
            assert_eq!(site(&seen["created_by"]["site"]), *created_at, "{seen:#}");
        }
        compared += 1;
    }
    // Three of the deadlock, the leaks, main, orders, packing, prices, heart.
    assert!(
        compared >= 3 + LEAKS + 5,
        "only {compared} goroutines stood still"
    );
}

/// The calls of a stack that the Go runtime would show to a user: not its own inner ones, nor the
/// wrappers that the compiler makes.
fn shown_calls(stack: &Value) -> Vec<Call> {
    stack
        .as_array()
        .expect("a stack")
        .iter()
        .map(site)
        .filter(|call| {
            let inner = |rest: &str| rest.starts_with(|c: char| !c.is_ascii_uppercase());
            let runtime = call.function.strip_prefix("runtime.").is_some_and(inner);
            let wrapper = call.function.contains(".gowrap") || call.file == "<autogenerated>";
            !runtime && !wrapper
        })
        .collect()
}

#[test]
fn channels_shows_the_full_one_with_its_orders() {
    let (demo, truth) = hanging_service();
    let pid = demo.pid_argument();
    // Now and then the slow consumer has just taken one.
    let channel = eventually("a look at the full channel", || {
        let finished = Gotrace::run(&["channels", "--pid", &pid, "--format", "json"]);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let document = finished.document("gotrace.channels/1");
        document["channels"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|channel| channel["address"] == truth["full_channel"]["address"])
            .filter(|channel| channel["len"] == channel["cap"])
            .cloned()
    });
    assert_eq!(channel["type"], truth["full_channel"]["type"]);
    assert_eq!(channel["cap"], truth["full_channel"]["cap"]);
    assert_eq!(channel["closed"], false);
    assert_eq!(
        channel["send_waiting"][0]["goid"],
        truth["blocked_on_full_channel"]
    );
    assert_eq!(channel["recv_waiting"].as_array().map(Vec::len), Some(0));

    // Orders are numbered, and each item's SKU is made of the number.
    let values = channel["values"].as_array().expect("values");
    assert_eq!(values.len(), 8, "{channel:#}");
    let first = values[0]["ID"].as_u64().expect("an order's number");
    let waiting = &channel["send_waiting"][0]["value"];
    for (number, order) in (first..).zip(values.iter().chain([waiting])) {
        assert_eq!(order["ID"], number, "{channel:#}");
        assert_eq!(
            order["Items"][0]["SKU"],
            format!("SKU-{:04}", number % 100),
            "{channel:#}"
        );
    }
}

#[test]
fn summaries_name_the_fullest_channel_and_the_longest_waits() {
    let (demo, truth) = hanging_service();
    // The runtime notes since when a goroutine waits at a garbage collection.
    demo.get("/debug/pprof/heap?gc=1&debug=1");
    let (mut gotrace, _) = Gotrace::attach(demo.pid(), &["--interval", "200ms"]);
    gotrace.until("summary", |summary| {
        summary["fullest"].as_array().is_some_and(|fullest| {
            fullest.iter().any(|channel| {
                channel["address"] == truth["full_channel"]["address"]
                    && channel["len"] == channel["cap"]
                    && channel["type"] == truth["full_channel"]["type"]
            })
        })
    });
    let stuck: BTreeSet<u64> = goids(&truth["leaked"])
        .into_iter()
        .chain(
            deadlocked(&truth)
                .iter()
                .filter_map(|party| party["goid"].as_u64()),
        )
        .collect();
    gotrace.until("summary", |summary| {
        summary["longest_waits"].as_array().is_some_and(|waits| {
            waits.iter().any(|wait| {
                wait["goid"]
                    .as_u64()
                    .is_some_and(|goid| stuck.contains(&goid))
            })
        })
    });
    gotrace.interrupt();
}
