//! The ways of messages, who wakes whom, and locks, for people.

use std::fmt::Write as _;

use super::{BOLD, DIM, count, elapsed, safe, styled, table, thousands};
use crate::document::Site;
use crate::document::flow::{Flow, Hop, Path, PathHop};

/// How many of each are shown.
const SHOWN: usize = 5;

/// Where messages, wake-ups and waits for locks went; empty if there is nothing to say.
pub(crate) fn render(flow: &Flow) -> String {
    let mut text = String::new();
    if !flow.hops.is_empty() {
        let mut hops = table(&[
            "MESSAGES",
            "CHANNEL MADE AT",
            "SENT AT",
            "RECEIVED AT",
            "SENDER WAITED",
            "IN BUFFER",
            "TO RUN",
            "LONGEST",
        ]);
        for hop in flow.hops.iter().take(SHOWN) {
            hops.add_row([
                thousands(hop.messages),
                place(hop.made_at.as_ref()),
                place(hop.sent_at.as_ref()),
                place(hop.received_at.as_ref()),
                time(hop.blocked_seconds),
                time(hop.queued_seconds),
                time(hop.scheduling_seconds),
                time(hop.longest_seconds),
            ]);
        }
        let _ = writeln!(text, "{hops}");
    }
    for path in flow.paths.iter().take(SHOWN) {
        way(&mut text, path);
    }
    if !flow.wakes.is_empty() {
        let mut wakes = table(&["WAKE-UPS", "FROM", "WHO WAKES", "WHOM"]);
        for wake in flow.wakes.iter().take(SHOWN) {
            wakes.add_row([
                thousands(wake.count),
                wake.wait_reason.clone(),
                name(wake.waker.as_deref(), "the runtime, or not known"),
                name(wake.woken.as_deref(), "not known"),
            ]);
        }
        let _ = writeln!(text, "{wakes}");
    }
    if !flow.locks.is_empty() {
        let mut locks = table(&["LOCK", "CONTENDED", "WAITS", "WAITED IN ALL", "LONGEST"]);
        for lock in flow.locks.iter().take(SHOWN) {
            locks.add_row([
                lock.address.clone(),
                thousands(lock.attempts),
                thousands(lock.waits),
                time(lock.blocked_seconds),
                time(lock.longest_seconds),
            ]);
        }
        let _ = writeln!(text, "{locks}");
    }
    text
}

/// A way, a line a hop, the part that takes longest named first.
fn way(text: &mut String, path: &Path) {
    let _ = write!(
        text,
        "{} {}, {} on average",
        styled(BOLD, "way of"),
        count(usize::try_from(path.ended).unwrap_or(usize::MAX), "message"),
        time(path.mean_seconds),
    );
    let longest = path
        .hops
        .iter()
        .max_by(|one, other| one.transit_share.total_cmp(&other.transit_share));
    if let Some(longest) = longest.filter(|hop| hop.transit_share >= 0.1) {
        let _ = write!(
            text,
            ": {:.0} % of it {} {}",
            100.0 * longest.transit_share,
            most_of(&longest.hop),
            channel(&longest.hop),
        );
    }
    text.push('\n');
    for PathHop {
        hop,
        transit_share,
        work_share,
    } in &path.hops
    {
        if *work_share > 0.0 {
            let _ = writeln!(
                text,
                "    {:>4.0} %  work until the send, {}",
                100.0 * work_share,
                time(hop.work_seconds)
            );
        }
        let _ = writeln!(
            text,
            "    {:>4.0} %  {} -> {} -> {}  {}",
            100.0 * transit_share,
            place(hop.sent_at.as_ref()),
            channel(hop),
            place(hop.received_at.as_ref()),
            styled(
                DIM,
                format!(
                    "sender waited {}, in buffer {}, to run {}",
                    time(hop.blocked_seconds),
                    time(hop.queued_seconds),
                    time(hop.scheduling_seconds)
                )
            ),
        );
    }
}

/// What of a hop's time is the largest part.
fn most_of(hop: &Hop) -> &'static str {
    if hop.queued_seconds >= hop.blocked_seconds && hop.queued_seconds >= hop.scheduling_seconds {
        "queued in"
    } else if hop.blocked_seconds >= hop.scheduling_seconds {
        "waiting to send to"
    } else {
        "waiting to run after"
    }
}

fn channel(hop: &Hop) -> String {
    match &hop.made_at {
        Some(site) => format!("the channel made at {}", short(site)),
        None => "a channel made before".to_owned(),
    }
}

fn place(site: Option<&Site>) -> String {
    site.map_or_else(
        || "?".to_owned(),
        |site| format!("{} {}", safe(&site.function), short(site)),
    )
}

/// The file's name and the line.
fn short(site: &Site) -> String {
    let file = site.file.rsplit('/').next().unwrap_or(&site.file);
    format!("{}:{}", safe(file), site.line)
}

fn name(function: Option<&str>, otherwise: &str) -> String {
    function.map_or_else(|| otherwise.to_owned(), |name| safe(name).into())
}

fn time(seconds: f64) -> String {
    elapsed((seconds * 1e9) as u64)
}
