//! What a receiver of OpenTelemetry gets of a real run, over gRPC and over HTTP.

use std::collections::BTreeSet;
use std::process::Command;

use integration_tests::json::number;
use integration_tests::otlp::proto::metrics::v1::metric::Data;
use integration_tests::otlp::proto::metrics::v1::number_data_point::Value;
use integration_tests::otlp::proto::metrics::v1::{AggregationTemporality, NumberDataPoint};
use integration_tests::otlp::proto::trace::v1::Span;
use integration_tests::otlp::proto::trace::v1::span::SpanKind;
use integration_tests::otlp::{Got, Receiver, text};
use integration_tests::{Gotrace, Target, eventually, gotrace, http, require_root};

/// `gotrace run --level full` with these variables, once it is attached.
#[track_caller]
fn exporting(target: &Target, arguments: &[&str], variables: &[(&str, &str)]) -> (Gotrace, String) {
    let mut command = Command::new(gotrace::program());
    command
        .args([
            "run",
            "--pid",
            &target.pid_argument(),
            "--format",
            "json",
            "--level",
            "full",
        ])
        .args(["--interval", "200ms", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .envs(variables.iter().copied());
    let mut gotrace = Gotrace::start_command(command);
    let attached = gotrace.until("attached", |_| true);
    let address = attached["listening"]
        .as_str()
        .expect("it listens")
        .to_owned();
    (gotrace, address)
}

/// Both ways to speak OTLP, with the name that the variables have for it.
fn receivers() -> [(Receiver, &'static str); 2] {
    [
        (Receiver::grpc(), "grpc"),
        (Receiver::http(), "http/protobuf"),
    ]
}

/// The variables that send everything to a receiver, soon.
fn variables<'a>(url: &'a str, protocol: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20secret",
        ),
        ("OTEL_SERVICE_NAME", "orders"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ]
}

fn points(got: &Got, name: &str) -> Vec<NumberDataPoint> {
    match got.metric(name).and_then(|metric| metric.data.clone()) {
        Some(Data::Gauge(gauge)) => gauge.data_points,
        Some(Data::Sum(sum)) => {
            assert!(sum.is_monotonic, "{name}");
            let temporality = AggregationTemporality::Cumulative as i32;
            assert_eq!(sum.aggregation_temporality, temporality, "{name}");
            sum.data_points
        }
        other => panic!("{name} is {other:?}"),
    }
}

fn sum(points: &[NumberDataPoint]) -> f64 {
    let values = points.iter().map(|point| match point.value {
        Some(Value::AsDouble(value)) => value,
        ref other => panic!("not a double: {other:?}"),
    });
    values.sum()
}

#[test]
fn metrics_and_findings_arrive() {
    require_root();
    for (receiver, protocol) in receivers() {
        let demo = Target::start("demo", &["-packing", "10ms"]);
        let url = receiver.url();
        let (mut gotrace, address) = exporting(&demo, &[], &variables(&url, protocol));
        let told = gotrace.until("finding", |line| {
            line["finding"]["kind"] == "deadlock" && line["finding"]["verdict"] == "proven"
        });
        eventually("a second export of metrics", || {
            (receiver.got().metrics.len() > 1).then_some(())
        });
        eventually("gotrace counts what was taken", || {
            let (_, metrics) = http::get(&format!("http://{address}/metrics"));
            let taken = |line: &&str| {
                line.starts_with("gotrace_otel_exported_total{") && !line.ends_with(" 0")
            };
            let signals = metrics.lines().filter(taken).count();
            (signals == 3).then_some(())
        });
        let report = gotrace.interrupt().report();

        let got = receiver.got();
        assert!(
            got.authorizations
                .iter()
                .all(|header| header == "Bearer secret"),
            "{protocol}"
        );
        for resource in &got.resources {
            let attribute = |key| text(&resource.attributes, key);
            assert_eq!(attribute("service.name"), Some("orders"));
            assert_eq!(attribute("deployment.environment.name"), Some("test"));
            assert_eq!(attribute("process.executable.name"), Some("demo"));
        }

        // What is sent at the end is what the report says.
        let totals = &report["totals"];
        assert_eq!(
            sum(&points(&got, "gotrace_events_total")),
            number(&totals["events"]) as f64
        );
        let sends: Vec<_> = points(&got, "gotrace_channel_operations_total")
            .into_iter()
            .filter(|point| text(&point.attributes, "operation") == Some("send"))
            .collect();
        assert_eq!(sum(&sends), number(&totals["sends"]) as f64);
        assert!(
            sends
                .iter()
                .all(|point| text(&point.attributes, "process") == Some("demo"))
        );
        assert!(sends.iter().all(|point| 0 < point.start_time_unix_nano
            && point.start_time_unix_nano < point.time_unix_nano));
        assert!(sum(&points(&got, "gotrace_goroutines")) > 5.0);
        let blocked = got
            .metric("gotrace_blocked_seconds")
            .expect("goroutines were blocked");
        assert_eq!(blocked.unit, "s");
        let Some(Data::Histogram(blocked)) = &blocked.data else {
            panic!("not a histogram: {blocked:?}");
        };
        for point in &blocked.data_points {
            assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        }

        let id = told["finding"]["id"].as_str().expect("it has an id");
        let proven = got.logs.iter().find(|record| {
            text(&record.attributes, "gotrace.finding.id") == Some(id)
                && text(&record.attributes, "gotrace.finding.verdict") == Some("proven")
        });
        let proven = proven.unwrap_or_else(|| panic!("{id} in {:#?}", got.logs));
        assert_eq!(proven.event_name, "gotrace.finding");
        assert_eq!(proven.severity_text, "ERROR");
        assert_eq!(
            text(&proven.attributes, "gotrace.finding.kind"),
            Some("deadlock")
        );
        let function = text(&proven.attributes, "code.function.name").expect("a place");
        assert!(["main.reserveStock", "main.chargeCard", "main.bookCourier"].contains(&function));
        // Each is told as often as `run` tells it.
        let lines = gotrace_lines(&got, id);
        assert_eq!(
            lines.len(),
            lines.iter().collect::<BTreeSet<_>>().len(),
            "{lines:?}"
        );
    }
}

/// The verdicts with which a finding was told.
fn gotrace_lines(got: &Got, id: &str) -> Vec<String> {
    let records = got.logs.iter().filter(|record| {
        record.event_name == "gotrace.finding"
            && text(&record.attributes, "gotrace.finding.id") == Some(id)
    });
    records
        .map(|record| {
            text(&record.attributes, "gotrace.finding.verdict")
                .expect("it has one")
                .to_owned()
        })
        .collect()
}

#[test]
fn messages_link_the_tasks_of_goroutines() {
    const MESSAGES: usize = 50;
    require_root();
    for (receiver, protocol) in receivers() {
        let mut target = Target::start("flow", &["-messages", &MESSAGES.to_string()]);
        let url = receiver.url();
        let (mut gotrace, _) = exporting(&target, &[], &variables(&url, protocol));
        gotrace.until("summary", |_| true);
        target.say("GO");
        target.hear();
        let report = gotrace.interrupt().report();
        assert_eq!(report["loss"]["records"], 0, "{:#}", report["loss"]);
        let got = receiver.got();
        let named = |name: &str| -> Vec<&Span> {
            got.spans.iter().filter(|span| span.name == name).collect()
        };
        let names: BTreeSet<&str> = got.spans.iter().map(|span| &*span.name).collect();

        let worked = named("process main.worker");
        assert_eq!(worked.len(), MESSAGES, "{names:?}");
        // It was created, sent all of them and ended.
        let source = got
            .spans
            .iter()
            .find(|span| span.span_id == worked[0].parent_span_id);
        let source = source.expect("its span is there as well");
        assert_eq!(source.kind, SpanKind::Internal as i32, "{source:#?}");
        assert!(source.name.starts_with("goroutine main."), "{source:#?}");
        for span in &worked {
            assert_eq!(span.kind, SpanKind::Consumer as i32);
            assert_eq!(span.trace_id, source.trace_id);
            assert_eq!(span.parent_span_id, source.span_id);
            assert_eq!(span.links[0].span_id, source.span_id, "{span:#?}");
            assert_eq!(span.links[0].trace_id, source.trace_id);
            let attributes = &span.links[0].attributes;
            assert_eq!(text(attributes, "gotrace.link.kind"), Some("message"));
            let made = text(attributes, "gotrace.channel.made_at").expect("it was seen");
            assert!(made.starts_with("main.makeQueue"), "{made}");
            assert!(source.start_time_unix_nano <= span.start_time_unix_nano);
            // The worker has each for a while before it sends it on.
            assert!(
                span.end_time_unix_nano - span.start_time_unix_nano >= 1_000_000,
                "{span:#?}"
            );
        }
        // What the worker sent on is linked to the very task in which it did.
        let workers: BTreeSet<&[u8]> = worked.iter().map(|span| &*span.span_id).collect();
        assert_eq!(workers.len(), MESSAGES, "no two have one name");
        let collected = named("process main.main");
        let senders: BTreeSet<&[u8]> = collected
            .iter()
            .flat_map(|span| &span.links)
            .map(|link| &*link.span_id)
            .collect();
        // The task that main has for the last one goes on.
        assert!(senders.is_subset(&workers), "{collected:#?}");
        assert!(senders.len() >= MESSAGES - 1, "{collected:#?}");
        for span in &collected {
            assert_eq!(span.trace_id, source.trace_id, "it is one way");
        }
        target.end_unharmed();
    }
}

#[test]
fn a_sampler_that_takes_none_leaves_no_span() {
    require_root();
    let receiver = Receiver::grpc();
    let mut target = Target::start("flow", &["-messages", "20"]);
    let url = receiver.url();
    let mut variables = variables(&url, "grpc");
    variables.push(("OTEL_TRACES_SAMPLER", "traceidratio"));
    variables.push(("OTEL_TRACES_SAMPLER_ARG", "0"));
    let (mut gotrace, _) = exporting(&target, &[], &variables);
    gotrace.until("summary", |_| true);
    target.say("GO");
    target.hear();
    assert_eq!(gotrace.interrupt().code, Some(0));
    let got = receiver.got();
    assert!(!got.metrics.is_empty());
    assert_eq!(got.spans, []);
}

#[test]
fn a_receiver_that_never_answers_holds_nothing_up() {
    require_root();
    let receiver = Receiver::stalled();
    let mut load = Target::start("load", &["-mode", "pingpong", "-rate", "2000"]);
    load.ask("START");
    let url = receiver.url();
    let mut variables = variables(&url, "http/protobuf");
    variables.push(("OTEL_EXPORTER_OTLP_TIMEOUT", "500"));
    let (mut gotrace, address) = exporting(&load, &[], &variables);
    eventually("an export has failed", || {
        let (_, metrics) = http::get(&format!("http://{address}/metrics"));
        let failed =
            |line: &&str| line.starts_with("gotrace_otel_failures_total{") && !line.ends_with(" 0");
        (metrics.lines().filter(failed).count() > 1).then_some(())
    });
    // All the same everything is read.
    let before = gotrace.until("summary", |_| true);
    let sends = number(&before["totals"]["sends"]);
    gotrace.until("summary", |summary| {
        number(&summary["totals"]["sends"]) > sends + 1000
    });
    let counted = load.ask("STOP");
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.report()["loss"]["records"], 0);
    assert!(number(&counted["sends"]) >= sends);
}

#[test]
fn a_variable_that_cannot_be_followed_is_named_before_anything_is_attached() {
    require_root();
    let target = Target::start("hello", &[]);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no%20name=value"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://"),
    ] {
        let mut command = Command::new(gotrace::program());
        command
            .args(["run", "--pid", &target.pid_argument(), "--format", "json"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
            .env(name, value);
        let finished = Gotrace::start_command(command).finish();
        assert_eq!(finished.code, Some(2), "{finished:#?}");
        assert!(
            finished.stderr.contains("OTEL_EXPORTER_OTLP_"),
            "{finished:#?}"
        );
        assert_eq!(
            finished.stdout,
            Vec::<String>::new(),
            "nothing was attached"
        );
    }
    target.end_unharmed();
}
