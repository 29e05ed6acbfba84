//! What `gotrace run --listen` serves, read by Prometheus' own parser and as JSON.

use std::io::Write;
use std::process::{Command, Stdio};

use integration_tests::{Gotrace, Target, eventually, http, require_root};
use serde_json::Value;

/// Starts gotrace with a server on a busy service; returns both and the server's address.
fn serving(level: &str) -> (Target, Gotrace, String) {
    require_root();
    let demo = Target::start("demo", &["-leak-every", "1ms", "-leaks", "5"]);
    let arguments = ["--level", level, "--listen", "127.0.0.1:0"];
    let (mut gotrace, attached) = Gotrace::attach_listening(demo.pid(), &arguments);
    let address = attached["listening"]
        .as_str()
        .expect("it says where it listens")
        .to_owned();
    gotrace.until("summary", |_| true);
    (demo, gotrace, format!("http://{address}"))
}

#[test]
fn prometheus_accepts_the_metrics() {
    let (_demo, _gotrace, server) = serving("full");
    let (status, metrics) = http::get(&format!("{server}/metrics"));
    assert_eq!(status, 200, "{metrics}");
    assert!(metrics.contains("gotrace_"), "{metrics}");

    let promtool = std::env::var_os("GOTRACE_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut promtool = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: run `cargo xtask test`");
    promtool
        .stdin
        .take()
        .expect("its input is a pipe")
        .write_all(metrics.as_bytes())
        .expect("promtool reads its input");
    let verdict = promtool.wait_with_output().expect("promtool ends");
    let said = [verdict.stdout, verdict.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    // It also complains about names and missing help texts; there is nothing to complain about.
    assert!(
        verdict.status.success() && said.trim().is_empty(),
        "{said}\n{metrics}"
    );

    // Labels are bounded: nothing names a goroutine or an address.
    for forbidden in ["goid=", "goroutine=", "address=", "=\"0x"] {
        assert!(!metrics.contains(forbidden), "{forbidden} in {metrics}");
    }
}

#[test]
fn counters_grow() {
    let (_demo, _gotrace, server) = serving("full");
    let total = || -> f64 {
        http::get(&format!("{server}/metrics"))
            .1
            .lines()
            .filter(|line| line.starts_with("gotrace_") && line.contains("_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let first = total();
    eventually("a counter grows", || (total() > first).then_some(()));
}

#[test]
fn health_and_documents() {
    let (demo, gotrace, server) = serving("park");
    let (status, health) = http::get(&format!("{server}/healthz"));
    assert_eq!(status, 200, "{health}");

    let document = |path: &str, schema: &str| -> Value {
        let (status, text) = http::get(&format!("{server}/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {text}");
        let document: Value = serde_json::from_str(&text).expect("the API speaks JSON");
        assert_eq!(document["schema"], schema);
        assert_eq!(document["target"]["pid"], demo.pid());
        document
    };
    // A goroutine that runs at the moment of a look has no stack to show.
    eventually("the API shows who places orders", || {
        document("goroutines", "gotrace.goroutines/1")["goroutines"]
            .as_array()?
            .iter()
            .filter_map(|goroutine| goroutine["stack"].as_array())
            .flatten()
            .any(|frame| frame["function"] == "main.placeOrders")
            .then_some(())
    });
    let channels = document("channels", "gotrace.channels/1");
    assert!(
        channels["channels"]
            .as_array()
            .is_some_and(|list| list.iter().any(|channel| channel["type"] == "main.order")),
        "{channels:#}"
    );
    eventually("the API shows the deadlock", || {
        document("findings", "gotrace.findings/1")["findings"]
            .as_array()?
            .iter()
            .any(|finding| finding["kind"] == "deadlock")
            .then_some(())
    });
    // The API lists as the command line does.
    let blocked = document(
        "goroutines?with=state+waiting&with=user&limit=2",
        "gotrace.goroutines/1",
    );
    let blocked = blocked["goroutines"].as_array().expect("a list");
    assert_eq!(blocked.len(), 2);
    assert!(
        blocked
            .iter()
            .all(|goroutine| goroutine["state"] == "waiting"),
        "{blocked:#?}"
    );
    let groups = document("goroutines?group=reason", "gotrace.groups/1");
    assert!(
        groups["groups"]
            .as_array()
            .is_some_and(|groups| groups.len() > 1),
        "{groups:#}"
    );
    let one = document("channels?sort=fill&limit=1", "gotrace.channels/1");
    assert_eq!(one["channels"].as_array().map(Vec::len), Some(1), "{one:#}");
    for wrong in [
        "goroutines?with=colour",
        "channels?group=state",
        "goroutines?sort=fill",
    ] {
        let (status, text) = http::get(&format!("{server}/api/v1/{wrong}"));
        assert_eq!(status, 400, "{wrong}: {text}");
        assert!(text.contains("error"), "{wrong}: {text}");
    }
    let (status, _) = http::get(&format!("{server}/no-such-page"));
    assert_eq!(status, 404);

    // The server ends with the trace.
    gotrace.interrupt();
    assert!(http::try_get(&format!("{server}/healthz"), integration_tests::PATIENCE).is_err());
}

/// All buffered values and those that senders hold out, as the API shows them.
fn values_shown(arguments: &[&str]) -> Vec<Value> {
    require_root();
    let demo = Target::start("demo", &[]);
    let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
    let (_gotrace, attached) = Gotrace::attach_listening(demo.pid(), &arguments);
    let server = attached["listening"].as_str().expect("it listens");
    eventually("the first picture", || {
        let (_, text) = http::get(&format!("http://{server}/api/v1/channels"));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let channels = document["channels"].as_array().expect("a list");
        let full = channels.iter().any(|channel| channel["len"] != 0);
        full.then(|| {
            let values = channels.iter().flat_map(|channel| {
                let held = channel["send_waiting"].as_array().expect("a list");
                let held = held.iter().map(|sender| &sender["value"]);
                let buffered = channel["values"].as_array().expect("a list");
                buffered.iter().chain(held).cloned().collect::<Vec<_>>()
            });
            values.filter(|value| !value.is_null()).collect()
        })
    })
}

#[test]
fn values_are_redacted_over_the_network() {
    assert_eq!(values_shown(&[]), Vec::<Value>::new());
    let redacted = values_shown(&["--values", "3"]);
    assert!(!redacted.is_empty());
    for value in redacted {
        assert!(value["$redacted"].is_u64(), "{value}");
    }
    let exposed = values_shown(&["--values", "3", "--expose-values"]);
    assert!(!exposed.is_empty());
    for value in exposed {
        assert!(value["$redacted"].is_null(), "{value}");
    }
}

/// As many series as docs/metrics.md says at most.
fn bound() -> usize {
    let reference = include_str!("../../docs/metrics.md");
    let (before, _) = reference
        .split_once(" series at most**")
        .expect("it says how many");
    let (_, number) = before.rsplit_once("**").expect("it is bold");
    number.parse().expect("it is a number")
}

#[test]
fn many_goroutines_and_channels_make_no_more_series() {
    const MANY: usize = 20_000;
    require_root();
    let target = Target::start("many", &["-n", &MANY.to_string()]);
    let arguments = ["--level", "full", "--listen", "127.0.0.1:0"];
    let (mut gotrace, attached) = Gotrace::attach_listening(target.pid(), &arguments);
    gotrace.until("summary", |summary| {
        summary["goroutines"]["total"].as_u64() > Some(MANY as u64)
    });
    let address = attached["listening"].as_str().expect("it listens");
    let (_, metrics) = http::get(&format!("http://{address}/metrics"));
    let series = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert!(series <= bound(), "{series} of {}", bound());
    assert!(metrics.len() < 1 << 20, "{} bytes", metrics.len());
    // They are in it all the same, at their place.
    let value = |name: &str, label: &str| -> Option<f64> {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name) && line.contains(label))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let waiting = value("gotrace_goroutines_waiting_at{", "main.parked");
    assert_eq!(waiting, Some(MANY as f64), "{metrics}");
    assert!(
        value("gotrace_channels{", "type=\"int\"") >= Some(MANY as f64),
        "{metrics}"
    );
    assert_eq!(gotrace.interrupt().code, Some(0));
    target.end_unharmed();
}
