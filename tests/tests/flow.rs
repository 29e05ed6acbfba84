//! The ways of messages: a program that knows how long each of its messages lay where, against what
//! `gotrace run --level full` says of them.

use integration_tests::json::number;
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use serde_json::Value;

#[track_caller]
fn seconds(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// Two clocks that look at the same thing from two sides: within a half and the double.
#[track_caller]
fn agree(ours: f64, theirs: f64, what: &str) {
    assert!(
        (0.5 * theirs..2.0 * theirs).contains(&ours),
        "{what}: {ours} s, the program says {theirs} s"
    );
}

#[test]
fn a_way_over_two_channels_says_where_the_time_goes() {
    require_root();
    let mut target = Target::start("flow", &[]);
    let arguments = ["--level", "full", "--listen", "127.0.0.1:0"];
    let (gotrace, attached) = Gotrace::attach_listening(target.pid(), &arguments);
    let address = attached["listening"].as_str().expect("it listens");
    let truth = target.ask("GO");
    let told = eventually("the API has it", || {
        let (_, text) = http::get(&format!("http://{address}/api/v1/flow"));
        let told: Value = serde_json::from_str(&text).expect("JSON");
        (told["messages"]["delivered"] == 2 * number(&truth["messages"])).then_some(told)
    });
    assert_eq!(told["schema"], "gotrace.flow/1");
    let report = gotrace.interrupt().report();
    target.end_unharmed();

    assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
    let flow = &report["flow"];
    assert_eq!(told["hops"], flow["hops"]);
    let messages = number(&truth["messages"]);
    assert_eq!(
        number(&flow["messages"]["delivered"]),
        2 * messages,
        "{flow:#}"
    );
    assert_eq!(flow["messages"]["unknown"], 0, "{flow:#}");

    let paths = flow["paths"].as_array().expect("a list");
    let [path] = &paths[..] else {
        panic!("one way: {paths:#?}");
    };
    // Who receives last sends nothing on; of the last message that is not known yet.
    assert!(
        (messages - 1..=messages).contains(&number(&path["ended"])),
        "{path:#}"
    );
    let hops = path["hops"].as_array().expect("a list");
    let told: Vec<[&str; 3]> = hops
        .iter()
        .map(|hop| {
            ["made_at", "sent_at", "received_at"]
                .map(|site| hop[site]["function"].as_str().expect("a site"))
        })
        .collect();
    assert_eq!(
        told,
        [
            ["main.makeQueue", "main.source", "main.worker"],
            ["main.makeResults", "main.worker", "main.main"],
        ]
    );
    let (queue, results) = (&hops[0], &hops[1]);
    assert_eq!(
        (number(&queue["messages"]), number(&results["messages"])),
        (messages, messages)
    );
    // A sender waits when the buffer is full, which the program cannot tell from lying in it.
    let queued = seconds(&queue["queued_seconds"]) + seconds(&queue["blocked_seconds"]);
    agree(queued, seconds(&truth["queued_seconds"]), "queued");
    agree(
        seconds(&results["work_seconds"]),
        seconds(&truth["work_seconds"]),
        "work",
    );
    assert!(seconds(&queue["transit_share"]) > 0.5, "{path:#}");
    assert!(seconds(&results["transit_share"]) < 0.1, "{path:#}");

    // Who wakes whom: the source finds the worker waiting at the beginning at the latest.
    let wakes = flow["wakes"].as_array().expect("a list");
    let woken = |reason: &str, waker: &str, woken: &str| {
        let is = |field: &Value, start: &str| match field {
            Value::Null => start.is_empty(),
            name => !start.is_empty() && name.as_str().is_some_and(|name| name.starts_with(start)),
        };
        wakes.iter().any(|wake| {
            wake["wait_reason"] == reason && is(&wake["waker"], waker) && is(&wake["woken"], woken)
        })
    };
    assert!(woken("sleep", "", "main.main"), "{wakes:#?}");
    assert!(
        woken("sync.Mutex.Lock", "runtime.main", "main.contend"),
        "{wakes:#?}"
    );

    let locks = flow["locks"].as_array().expect("a list");
    let lock = locks
        .iter()
        .find(|lock| lock["address"] == truth["semaphore"]);
    let lock = lock.unwrap_or_else(|| panic!("{} is not among {locks:#?}", truth["semaphore"]));
    assert_eq!(lock["waits"], truth["waits"], "{lock:#}");
    assert!(
        number(&lock["attempts"]) >= number(&truth["waits"]),
        "{lock:#}"
    );
    assert!(
        seconds(&lock["blocked_seconds"]) >= seconds(&lock["longest_seconds"]),
        "{lock:#}"
    );
}
