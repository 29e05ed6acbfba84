//! The HTTP API: held against its own description, and what its paths do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use integration_tests::http::{get, say};
use integration_tests::{Gotrace, PATIENCE, Target, eventually, http, require_root};
use rustix::process::Signal;
use serde_json::Value;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// A trace of a program, and where it is served.
struct Served {
    gotrace: Gotrace,
    target: Target,
    address: String,
}

impl Served {
    #[track_caller]
    fn start(target: Target, arguments: &[&str]) -> Served {
        require_root();
        let all = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &all);
        // Memory was read.
        gotrace.until("summary", |summary| summary["goroutines"]["total"] != 0);
        let address = attached["listening"].as_str().expect("it says where");
        Served {
            gotrace,
            target,
            address: address.to_owned(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let (status, text) = get(&self.url(path));
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"))
    }

    /// The answer to a POST request: its head and its body.
    #[track_caller]
    fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address.parse().expect("an address");
        let answer = say(address, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

fn demo() -> Target {
    Target::start("demo", &["-leak-every", "1ms", "-leaks", "5"])
}

#[test]
fn every_answer_is_as_the_description_says() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (token, ring) = (
        directory.path().join("token"),
        directory.path().join("ring"),
    );
    std::fs::write(&token, TOKEN).expect("the directory is ours");
    let arguments = [
        "--level",
        "full",
        "--values",
        "2",
        "--token-file",
        token.to_str().expect("a path of ours"),
        "--ring",
        "5s",
        "--ring-to",
        ring.to_str().expect("a path of ours"),
        "--after",
        "100ms",
    ];
    let mut served = Served::start(demo(), &arguments);
    let program = std::env::var_os("GOTRACE_SCHEMATHESIS").unwrap_or_else(|| "schemathesis".into());
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/hooks.py");
    let outcome = Command::new(program)
        // Nothing is left beside the hooks, which lie in the source.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("run")
        .arg(served.url("/api/v1/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--max-examples", "20", "--seed", "1", "--no-color"])
        .args(["--request-timeout", &PATIENCE.as_secs().to_string()])
        .current_dir(directory.path())
        .env("SCHEMATHESIS_HOOKS", hooks)
        .output()
        .expect("schemathesis is there: run `cargo xtask test`");
    let said = String::from_utf8_lossy(&outcome.stdout);
    let errors = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}\n{errors}");
    assert!(served.target.is_alive(), "{:?}", served.target.wait());
    // None was left out but the description itself, which is read here.
    let question = http::Question::with_token(TOKEN);
    let (_, document) = question
        .get(&served.url("/api/v1/openapi.json"))
        .expect("an answer");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").len() - 1;
    for count in [
        format!("Selected: {paths}/{paths}\n"),
        format!("Tested: {paths}\n"),
    ] {
        assert!(said.contains(&count), "no {count:?} in {said}");
    }
}

#[test]
fn another_gotrace_is_asked_for_a_snapshot() {
    let served = Served::start(demo(), &["--level", "observe"]);
    let url = served.url("");
    let deadlocks = Gotrace::run(&["deadlocks", "--url", &url, "--format", "json"]);
    let deadlocks = deadlocks.document("gotrace.findings/1");
    assert_eq!(deadlocks["target"]["pid"], served.target.pid());
    assert!(
        deadlocks["findings"]
            .as_array()
            .is_some_and(|found| found.iter().any(|finding| finding["kind"] == "deadlock")),
        "{deadlocks:#}"
    );
    let goroutines = Gotrace::run(&["goroutines", "--url", &url, "--format", "json"]);
    let goroutines = goroutines.document("gotrace.goroutines/1");
    assert!(
        goroutines["goroutines"]
            .as_array()
            .is_some_and(|all| all.len() > 5),
        "{goroutines:#}"
    );
    // The same bytes that a file of `gotrace snapshot` is made of are read by --from.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("now.gosnap");
    let bytes = http::bytes(&served.url("/api/v1/snapshot"));
    std::fs::write(&file, bytes).expect("the directory is ours");
    let file = file.to_str().expect("a path of ours");
    let channels = Gotrace::run(&["channels", "--from", file, "--format", "json"]);
    let channels = channels.document("gotrace.channels/1");
    assert_eq!(channels["target"]["pid"], served.target.pid());
}

#[test]
fn replicas_are_compared_by_their_urls() {
    let (a, b) = (
        Served::start(
            Target::start("crowd", &["-n", "20"]),
            &["--level", "observe"],
        ),
        Served::start(
            Target::start("crowd", &["-n", "500"]),
            &["--level", "observe"],
        ),
    );
    let (one, two) = (a.url(""), b.url("/"));
    let finished = Gotrace::run(&["diff", &one, &two, "--format", "json"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let diff = finished.document("gotrace.diff/1");
    assert_eq!(diff["sides"][0]["name"], one.as_str());
    assert_eq!(diff["sides"][1]["target"]["pid"], b.target.pid());
    let nobody = format!("http://{}", http::free_address());
    let finished = Gotrace::run(&["diff", &one, &nobody]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(
        finished
            .stderr
            .contains(&format!("{nobody} did not answer")),
        "{finished:#?}"
    );
}

/// Listens to the stream; lines as they come.
fn listen(served: &Served, query: &str) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(&served.address).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has a timeout");
    write!(
        stream,
        "GET /api/v1/stream{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("it takes what comes");
    BufReader::new(stream)
        .lines()
        .map(|line| line.expect("the stream goes on"))
}

/// The next message of a kind.
#[track_caller]
fn next(lines: &mut impl Iterator<Item = String>, kind: &str) -> Value {
    let name = format!("event: {kind}");
    let mut named = false;
    for line in lines {
        if let Some(data) = line.strip_prefix("data: ")
            && named
        {
            let message: Value = serde_json::from_str(data).expect("a line of JSON");
            assert_eq!(message["type"], kind, "{message:#}");
            return message;
        }
        named = line == name;
    }
    panic!("the stream ended before {kind}");
}

#[test]
fn the_stream_tells_what_is_said_until_the_end() {
    let served = Served::start(demo(), &["--level", "full", "--interval", "200ms"]);
    let mut all = listen(&served, "");
    let attached = next(&mut all, "attached");
    assert_eq!(attached["schema"], "gotrace.run/1");
    assert_eq!(attached["target"]["pid"], served.target.pid());
    next(&mut all, "summary");
    let finding = next(&mut all, "finding");
    assert!(finding["finding"]["id"].is_string(), "{finding:#}");

    // Who comes later is told what stands.
    let mut late = listen(&served, "?kind=finding&limit=2");
    next(&mut late, "attached");
    next(&mut late, "finding");
    assert!(!late.any(|line| line.starts_with("data:")), "two are two");

    let mut events = listen(&served, "?kind=event");
    let event = next(&mut events, "event");
    assert_eq!(event["schema"], "gotrace.events/1");

    served.gotrace.signal(Signal::INT);
    let ended = next(&mut all, "ended");
    assert_eq!(ended["ended"], "interrupted");
    next(&mut events, "ended");
    let finished = served.gotrace.finish();
    assert_eq!(finished.report()["ended"], "interrupted");
}

#[test]
fn who_listens_too_slowly_is_told_what_it_missed() {
    let target = Target::start("churn", &[]);
    let mut served = Served::start(target, &["--level", "full", "--interval", "200ms"]);
    let mut slow = listen(&served, "?kind=event");
    next(&mut slow, "attached");
    // Far more happens than waits for a listener, and the trace goes on.
    let events = |summary: &Value| summary["totals"]["events"].as_u64().expect("a number");
    let first = events(&served.gotrace.until("summary", |_| true));
    served
        .gotrace
        .until("summary", |summary| events(summary) > first + 100_000);
    let missed = next(&mut slow, "missed");
    assert_eq!(missed["of"], "events");
    assert!(
        missed["count"].as_u64().is_some_and(|count| count > 0),
        "{missed:#}"
    );
}

#[test]
fn the_last_seconds_are_written_on_request() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let target = Target::start("crowd", &["-n", "20"]);
    let pid = target.pid_argument();
    let arguments = [
        "record",
        "--pid",
        &pid,
        "--level",
        "park",
        "--format",
        "json",
        "--ring",
        "10s",
        "--after",
        "200ms",
        "--listen",
        "127.0.0.1:0",
        "-o",
        directory.path().to_str().expect("a path of ours"),
    ];
    require_root();
    let mut gotrace = Gotrace::start(&arguments);
    let attached = gotrace.until("attached", |_| true);
    gotrace.until("summary", |_| true);
    let served = Served {
        gotrace,
        target,
        address: attached["listening"]
            .as_str()
            .expect("it says where")
            .to_owned(),
    };
    let path = "/api/v1/recorder/trigger";
    // What a form of another site can send.
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
    ] {
        let (status, body) = served.post(path, headers, "{}");
        assert_eq!(status, 415, "{headers}: {body}");
    }
    let json = "Content-Type: application/json\r\n";
    let (status, body) = served.post(path, json, "{\"path\": \"/etc/passwd\"}");
    assert_eq!(status, 400, "{body}");
    assert_eq!(get(&served.url(path)).0, 405);

    let (status, body) = served.post(path, json, "{}");
    assert_eq!(status, 202, "{body}");
    let kept: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(kept["schema"], "gotrace.trigger/1");
    let file = kept["file"].as_str().expect("a path");
    assert!(file.ends_with("-asked.gotrace"), "{file}");
    eventually("the file is written", || {
        Path::new(file).exists().then_some(())
    });
    let finished = served.gotrace.interrupt();
    assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
    let replayed = Gotrace::run(&["replay", file, "--format", "json"]);
    assert!(!replayed.stdout.is_empty(), "{replayed:#?}");
}

#[test]
fn without_a_ring_nothing_can_be_written() {
    let served = Served::start(
        Target::start("crowd", &["-n", "20"]),
        &["--level", "observe"],
    );
    let json = "Content-Type: application/json\r\n";
    let (status, body) = served.post("/api/v1/recorder/trigger", json, "{}");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("--ring"), "{body}");
}

/// Resident memory of a process now and at most, in KiB.
fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
        number.expect("a process has memory")
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// How much larger gotrace may get while it lists a crowd, KiB: two views, and much less than the list.
const VIEWS: u64 = 90 << 10;

#[test]
fn a_list_of_a_crowd_is_sent_in_bounded_memory() {
    let goroutines = 100_000;
    let target = Target::start("crowd", &["-n", &goroutines.to_string()]);
    let mut served = Served::start(target, &["--level", "observe"]);
    // It has read memory and searched it a few times.
    for _ in 0..15 {
        assert!(served.target.is_alive(), "{:?}", served.target.wait());
        served.gotrace.until("summary", |_| true);
        let first = served.json("/api/v1/goroutines?limit=1");
        assert_eq!(first["goroutines"].as_array().map(Vec::len), Some(1));
    }
    let pid = served.gotrace.pid();
    let (before, peak_before) = memory(pid);
    for path in ["goroutines", "channels"] {
        let text = http::bytes(&served.url(&format!("/api/v1/{path}")));
        let (now, peak) = memory(pid);
        eprintln!(
            "{path}: {} bytes of JSON; resident before {before} KiB (at most {peak_before}), now {now} KiB (at most {peak})",
            text.len()
        );
        let document: Value = serde_json::from_slice(&text).expect("JSON");
        let listed = document[path].as_array().map_or(0, Vec::len);
        assert!(listed >= goroutines, "{path}: {listed}");
        assert!(
            peak < peak_before + VIEWS,
            "{path}: {peak_before} KiB, then {peak}"
        );
        if path == "goroutines" {
            assert!(
                text.len() as u64 >> 10 > VIEWS,
                "the list is no larger than a view"
            );
        }
    }
    // In parts: each goes on where the last one ended, and the last one is the end.
    let part = |offset: usize| -> Vec<u64> {
        let query = format!("with=user&without=running&limit=3&offset={offset}");
        let part = served.json(&format!("/api/v1/goroutines?{query}"));
        let part = part["goroutines"].as_array().expect("a list");
        let goids = part.iter().map(|goroutine| goroutine["goid"].as_u64());
        goids.map(|goid| goid.expect("a number")).collect()
    };
    let (first, second) = (part(0), part(3));
    assert_eq!((first.len(), second.len()), (3, 3));
    assert!(first.last() < second.first(), "{first:?} {second:?}");
    assert_eq!(part(goroutines - 3).len(), 3);
    assert!(part(2 * goroutines).is_empty());
}

#[test]
fn what_is_not_known_after_a_loss_is_marked() {
    let target = Target::start("churn", &[]);
    // A ring far too small, and reads of memory so seldom that none heals what was lost.
    let arguments = ["--level", "full", "--ring-kib", "4", "--interval", "1s"];
    let mut served = Served::start(target, &arguments);
    served.gotrace.until("summary", |summary| {
        summary["loss"]["records"].as_u64() > Some(0)
    });
    eventually("a goroutine is marked", || {
        let list = served.json("/api/v1/goroutines");
        let list = list["goroutines"].as_array()?;
        list.iter()
            .any(|goroutine| goroutine["unknown"] == true)
            .then_some(())
    });
}
