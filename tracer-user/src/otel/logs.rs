//! Findings as log records: one as `run` tells it, when it is new, surer, much larger, or over.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tracer_model::detect::Verdict;

use super::attribute::{code, count, place, scope, text, texts, value};
use super::client::Batch;
use crate::document::findings::{ChainLink, Entry};

/// Goroutines and links of a chain that are named; how many there are is said all the same.
const NAMED: usize = 32;

/// A finding.
pub(super) fn finding(entry: &Entry, now: u64) -> LogRecord {
    let (severity, word) = severity(entry.verdict);
    let mut attributes = vec![
        text("gotrace.finding.id", entry.id.clone()),
        text("gotrace.finding.kind", entry.kind.name()),
        text("gotrace.finding.verdict", entry.verdict.name()),
        count("gotrace.finding.goroutines", entry.goroutines.len() as u64),
    ];
    let goids = entry
        .goroutines
        .iter()
        .take(NAMED)
        .map(|goid| goid.0.to_string());
    attributes.push(texts("gotrace.finding.goids", goids));
    let waits = entry.chain.iter().find_map(|link| link.site.as_ref());
    if let Some(site) = entry.at.as_ref().or(waits) {
        attributes.extend(code(site));
    }
    if let Some(site) = &entry.created_at {
        attributes.push(text("gotrace.finding.created_at", place(site)));
    }
    let chain = entry.chain.iter().take(NAMED).map(link);
    attributes.push(texts("gotrace.finding.chain", chain));
    attributes.push(texts("gotrace.finding.evidence", entry.evidence.clone()));
    if let Some(advice) = &entry.advice {
        attributes.push(text("gotrace.finding.advice", advice.clone()));
    }
    if let Some(cause) = &entry.caused_by {
        attributes.push(text("gotrace.finding.caused_by", cause.clone()));
    }
    LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: severity as i32,
        severity_text: word.to_owned(),
        body: Some(value(Value::StringValue(entry.reason.clone()))),
        attributes,
        event_name: "gotrace.finding".to_owned(),
        ..LogRecord::default()
    }
}

/// Records of several, each with what it is about.
pub(super) fn batch(records: impl IntoIterator<Item = (Resource, Vec<LogRecord>)>) -> Batch {
    let of = |(resource, log_records)| ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![ScopeLogs {
            scope: Some(scope()),
            log_records,
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    Batch::Logs(ExportLogsServiceRequest {
        resource_logs: records.into_iter().map(of).collect(),
    })
}

/// A finding that is over.
pub(super) fn resolved(id: &str, now: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: now,
        observed_time_unix_nano: now,
        severity_number: SeverityNumber::Info as i32,
        severity_text: "INFO".to_owned(),
        body: Some(value(Value::StringValue("not found any more".to_owned()))),
        attributes: vec![text("gotrace.finding.id", id)],
        event_name: "gotrace.finding.resolved".to_owned(),
        ..LogRecord::default()
    }
}

const fn severity(verdict: Verdict) -> (SeverityNumber, &'static str) {
    match verdict {
        Verdict::Suspect => (SeverityNumber::Info, "INFO"),
        Verdict::Likely => (SeverityNumber::Warn, "WARN"),
        Verdict::Proven => (SeverityNumber::Error, "ERROR"),
    }
}

fn link(link: &ChainLink) -> String {
    let mut text = format!(
        "goroutine {} waits for a {}",
        link.goid.0,
        link.waits_on.kind_name()
    );
    if let Some(address) = link.waits_on.address() {
        text += &format!(" at {address}");
    }
    if let Some(site) = &link.site {
        text += &format!(" in {}", place(site));
    }
    if !link.held_by.is_empty() {
        let named = link.held_by.iter().take(NAMED);
        let holders: Vec<String> = named.map(|goid| goid.0.to_string()).collect();
        text += &format!(", held by {}", holders.join(", "));
        if link.held_by.len() > NAMED {
            text += &format!(" and {} more", link.held_by.len() - NAMED);
        }
    }
    text
}
