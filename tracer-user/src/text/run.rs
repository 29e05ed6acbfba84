//! What `gotrace run` prints for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::{
    ALARM, BOLD, DIM, NOTICE, count, elapsed, findings, flow, safe, styled, table, thousands,
};
use crate::document::run::{
    Attached, Channel, Goroutines, Governor, LongWait, Loss, Report, Summary,
};

/// What was found and placed.
pub(crate) fn attached(attached: &Attached) -> String {
    let target = &attached.target;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} pid {}  {}  {} {}",
        styled(BOLD, "tracing"),
        target.pid,
        safe(&target.exe.to_string_lossy()),
        safe(&target.go_version),
        target.arch,
    );
    let mut facts = vec![
        format!("build id {}", target.build_id),
        format!("layouts from {}", target.layout),
    ];
    if target.stripped {
        facts.push("stripped".to_owned());
    }
    if target.pie {
        facts.push("position independent".to_owned());
    }
    let _ = writeln!(text, "{}", styled(DIM, facts.join(", ")));
    if target.replaced {
        let _ = writeln!(
            text,
            "{}",
            styled(
                NOTICE,
                "the file was replaced on disk; the running one is read through /proc"
            )
        );
    }
    let nanos = attached.expected_seconds_per_hit * 1e9;
    if attached.level == "auto" {
        let _ = writeln!(
            text,
            "level auto: up to {}, as the budget allows; {} of the target's time a hit, as measured on this host",
            count(attached.probes.len(), "probe"),
            elapsed(nanos as u64),
        );
    } else if attached.probes.is_empty() {
        let _ = writeln!(
            text,
            "level {}: no probe, memory is read once an interval, no cost inside the target",
            attached.level
        );
    } else {
        let _ = writeln!(
            text,
            "level {}: {}, about {} of the target's time a hit",
            attached.level,
            count(attached.probes.len(), "probe"),
            elapsed(nanos as u64),
        );
    }
    if !attached.probes.is_empty() {
        let mut probes = table(&["PROBE", "AT", "ADDRESS", "INSTRUCTION"]);
        for probe in &attached.probes {
            probes.add_row([
                probe.hook.clone().into_owned(),
                format!("{}+{:#x}", safe(&probe.function), probe.offset),
                probe.address.clone(),
                probe.instruction.clone(),
            ]);
        }
        let _ = writeln!(text, "{probes}");
    }
    for left_out in &attached.left_out {
        let text_of = format!("without {}: {}", left_out.hook, safe(&left_out.reason));
        let _ = writeln!(text, "{}", styled(NOTICE, text_of));
    }
    if let Some(address) = &attached.listening {
        let scheme = if attached.tls { "https" } else { "http" };
        let _ = writeln!(
            text,
            "serving a page at {scheme}://{address}/, and /metrics, /healthz and /api/v1 (described by /api/v1/openapi.json)"
        );
    }
    text
}

/// The state of affairs of this moment.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    let time = summary.time.get(11..19).unwrap_or(&summary.time);
    let goroutines = census(&summary.goroutines);
    let _ = writeln!(text, "\n{} {goroutines}", styled(BOLD, time));
    let rates = &summary.rates;
    let _ = writeln!(
        text,
        "  {} events/s{}: sends {}/s, receives {}/s, closes {}/s, selects {}/s, parks {}/s, wake-ups {}/s, created {}/s, exited {}/s",
        rate(rates.events),
        tax(rates.estimated_tax),
        rate(rates.sends),
        rate(rates.receives),
        rate(rates.closes),
        rate(rates.selects),
        rate(rates.parks),
        rate(rates.wakeups),
        rate(rates.created),
        rate(rates.exited),
    );
    if let Some(governor) = &summary.governor {
        governed(&mut text, governor);
    }
    losses(&mut text, &summary.loss);
    for channel in &summary.fullest {
        let _ = writeln!(text, "  {}", fill(channel));
    }
    for wait in &summary.longest_waits {
        let _ = writeln!(text, "  {}", long_wait(wait));
    }
    text
}

/// How many goroutines are in each state.
pub(super) fn census(goroutines: &Goroutines) -> String {
    let states: Vec<String> = goroutines
        .by_state
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(state, number)| format!("{state} {}", thousands(*number as u64)))
        .collect();
    let mut text = format!(
        "{}: {}; {} of the runtime",
        count(goroutines.total, "goroutine"),
        states.join(", "),
        goroutines.system,
    );
    if goroutines.unknown > 0 {
        let _ = write!(
            text,
            "; {}",
            styled(
                NOTICE,
                format!("{} not known since their last event", goroutines.unknown)
            )
        );
    }
    text
}

/// A finding that is not true any more.
pub(crate) fn resolved(id: &str) -> String {
    format!("\nresolved: {id}")
}

/// The governor changed what is traced.
pub(crate) fn governor(governor: &Governor, reason: &str) -> String {
    format!(
        "\n{} {}: {}",
        styled(BOLD, "governor:"),
        traced(governor),
        reason
    )
}

/// What the governor lets trace.
fn traced(governor: &Governor) -> String {
    let mut text = if governor.windows {
        "windows of `wake`".to_owned()
    } else {
        format!("level {}", governor.level)
    };
    if !governor.skipped.is_empty() {
        let _ = write!(text, " without {}", governor.skipped.join(", "));
    }
    text
}

/// What the governor does, and what it estimates.
fn governed(text: &mut String, governor: &Governor) {
    let _ = writeln!(
        text,
        "  {}, {:.2} % of the target's CPU time taken so far (budget {} %)",
        traced(governor),
        governor.tax * 100.0,
        governor.budget * 100.0,
    );
    for estimate in &governor.estimates {
        let interval = match (estimate.low, estimate.high) {
            (Some(low), Some(high)) => format!("95 %: {} to {}", rate(low), rate(high)),
            _ => "from one window".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {} about {}/s under probes, an estimate ({interval}; {}); the counts above are of the windows alone",
            estimate.hook,
            rate(estimate.per_second),
            count(
                usize::try_from(governor.windows_made).unwrap_or(usize::MAX),
                "window"
            ),
        );
    }
}

/// A remark.
pub(crate) fn note(message: &str) -> String {
    styled(NOTICE, safe(message))
}

/// How a recording goes.
pub(crate) fn progress(elapsed_time: Duration, events: u64, bytes: u64) -> String {
    format!(
        "recording for {} s: {} events, {:.1} MiB",
        elapsed_time.as_secs(),
        thousands(events),
        bytes as f64 / f64::from(1 << 20),
    )
}

/// The end of the trace.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    let totals = &report.totals;
    let _ = writeln!(
        text,
        "\n{} {}, after {:.1} s: {} events, {}",
        styled(BOLD, "ended:"),
        report.ended,
        report.seconds,
        thousands(totals.events),
        if report.loss.records == 0 {
            "none lost".to_owned()
        } else {
            format!("{} lost", thousands(report.loss.records))
        },
    );
    let _ = writeln!(
        text,
        "  sends {}, receives {}, closes {}, selects {}, parks {}, wake-ups {}, goroutines created {}, exited {}",
        thousands(totals.sends),
        thousands(totals.receives),
        thousands(totals.closes),
        thousands(totals.selects),
        thousands(totals.parked()),
        thousands(totals.wakeups),
        thousands(totals.created),
        thousands(totals.exited),
    );
    if let Some(governor) = &report.governor {
        governed(&mut text, governor);
    }
    losses(&mut text, &report.loss);
    if !totals.anomalies.is_empty() {
        let list: Vec<String> = totals
            .anomalies
            .iter()
            .map(|(kind, number)| format!("{kind} {number}"))
            .collect();
        let _ = writeln!(
            text,
            "  {}",
            styled(
                NOTICE,
                format!("transitions not understood: {}", list.join(", "))
            )
        );
    }
    let mut busiest: Vec<&Channel> = report.channels.iter().collect();
    busiest.sort_by_key(|channel| {
        std::cmp::Reverse(channel.sends + channel.receives + channel.len.unwrap_or(0))
    });
    if !busiest.is_empty() {
        let mut channels = table(&[
            "CHANNEL",
            "TYPE",
            "LEN/CAP",
            "SENDS",
            "RECEIVES",
            "BLOCKED SENDS",
            "BLOCKED RECEIVES",
        ]);
        for channel in busiest.iter().take(CHANNELS) {
            channels.add_row([
                channel.address.clone(),
                type_name(channel),
                fill_of(channel),
                thousands(channel.sends),
                thousands(channel.receives),
                thousands(channel.parks_send),
                thousands(channel.parks_receive),
            ]);
        }
        let _ = writeln!(text, "{channels}");
        if busiest.len() > CHANNELS {
            let _ = writeln!(
                text,
                "{}",
                styled(
                    DIM,
                    format!("and {} more channels", busiest.len() - CHANNELS)
                )
            );
        }
    }
    text.push_str(&flow::render(&report.flow));
    if report.findings.is_empty() {
        text.push_str("no findings\n");
    }
    for finding in &report.findings {
        let _ = writeln!(text, "\n{}", findings::render(finding));
    }
    if report.probes_removed > 0 {
        let _ = writeln!(
            text,
            "{}",
            styled(
                DIM,
                format!("{} removed", count(report.probes_removed, "probe"))
            )
        );
    }
    text
}

/// How many channels the report shows.
const CHANNELS: usize = 20;

fn rate(per_second: f64) -> String {
    thousands(per_second.round() as u64)
}

fn tax(share: f64) -> String {
    if share > 0.0 {
        format!(" (about {:.1} % of one core)", share * 100.0)
    } else {
        String::new()
    }
}

fn losses(text: &mut String, loss: &Loss) {
    for (count, style, what) in [
        (
            loss.records,
            ALARM,
            "events lost: the counts above miss them",
        ),
        (loss.late, NOTICE, "events came too late to be put in order"),
        (
            loss.faults,
            NOTICE,
            "events are incomplete: memory was not readable",
        ),
        (
            loss.unknown,
            ALARM,
            "records of a kind that is not known: not counted above",
        ),
    ] {
        if count > 0 {
            let _ = writeln!(
                text,
                "  {}",
                styled(style, format!("{} {what}", thousands(count)))
            );
        }
    }
}

fn type_name(channel: &Channel) -> String {
    if channel.elem_type.is_empty() {
        "chan ?".to_owned()
    } else {
        format!("chan {}", safe(&channel.elem_type))
    }
}

/// Length and capacity, as far as they are known.
fn fill_of(channel: &Channel) -> String {
    let known = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    format!("{}/{}", known(channel.len), known(channel.cap))
}

pub(super) fn fill(channel: &Channel) -> String {
    let full = channel.cap > Some(0) && channel.len == channel.cap;
    let mut text = format!(
        "{} {} {}",
        channel.address,
        type_name(channel),
        fill_of(channel)
    );
    if full {
        text.push_str(&styled(NOTICE, " full"));
    }
    if channel.send_waiting > 0 {
        let _ = write!(text, ", {} wait to send", channel.send_waiting);
    }
    if channel.recv_waiting > 0 {
        let _ = write!(text, ", {} wait to receive", channel.recv_waiting);
    }
    text
}

pub(super) fn long_wait(wait: &LongWait) -> String {
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let time = match wait.seconds {
        Some(seconds) => elapsed(nanos(seconds)),
        None => format!("at least {}", elapsed(nanos(wait.seen_seconds))),
    };
    let site = wait.site.as_ref().map_or(String::new(), |site| {
        let (function, file) = (safe(&site.function), safe(&site.file));
        format!(" at {function} {file}:{}", site.line)
    });
    format!(
        "goroutine {} waits {time} ({}){site}",
        wait.goid, wait.reason
    )
}
