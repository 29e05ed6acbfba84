//! Channels as a table, each with its values and its queues; one as a picture.

use std::borrow::Cow;
use std::fmt::Write as _;

use tracer_model::ids::Goid;
use tracer_model::snapshot::{Channel, Snapshot, Value, Waiter};
use tracer_model::symbol::{Symbolizer, user_frame};

use super::{BOLD, DIM, elapsed, goids, place, safe, styled, table};
use crate::document::Site;
use crate::document::channels::{Stacks, value};

/// How many waiting goroutines a queue shows.
const GOIDS: usize = 5;

/// Renders every channel of `snapshot`.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut table = table(&[
        "CHANNEL",
        "TYPE",
        "LEN/CAP",
        "STATE",
        "WAIT TO SEND",
        "WAIT TO RECEIVE",
        "HELD BY",
    ]);
    for channel in &snapshot.channels {
        table.add_row([
            channel.addr.to_string(),
            format!("chan {}", elem_type(channel)),
            format!("{}/{}", channel.len, channel.cap),
            state(channel).to_owned(),
            waiting(channel.send_waiting.iter().map(|waiter| waiter.goid)),
            waiting(channel.recv_waiting.iter().map(|waiter| waiter.goid)),
            waiting(channel.users.iter().map(|user| user.goid)),
        ]);
    }
    let mut text = format!("{table}\n");
    for channel in &snapshot.channels {
        let held = channel
            .send_waiting
            .iter()
            .filter_map(|waiter| waiter.value.as_ref());
        if channel.values.is_empty() && held.clone().next().is_none() {
            continue;
        }
        let _ = writeln!(text, "\n{}", channel.addr);
        for (index, item) in channel.values.iter().enumerate() {
            let _ = writeln!(text, "  [{index}] {}", shown_value(item));
        }
        let shown = channel.values.len() as u64;
        if channel.len > shown && shown > 0 {
            let _ = writeln!(
                text,
                "  {}",
                styled(DIM, format!("{} more", channel.len - shown))
            );
        }
        for waiter in &channel.send_waiting {
            if let Some(item) = &waiter.value {
                let _ = writeln!(
                    text,
                    "  {} {}",
                    styled(DIM, format!("goroutine {} holds", waiter.goid)),
                    shown_value(item)
                );
            }
        }
    }
    text
}

/// The element's type as Go spells it.
fn elem_type(channel: &Channel) -> Cow<'_, str> {
    match &*channel.elem_type {
        "" => "?".into(),
        name => safe(name),
    }
}

/// A value as JSON, which escapes some of what a terminal would obey, but not all.
fn shown_value(item: &Value) -> String {
    safe(&value(item).to_string()).into_owned()
}

fn state(channel: &Channel) -> &'static str {
    match channel {
        Channel { moving: true, .. } => "moving",
        Channel { closed: true, .. } => "closed",
        Channel { len, cap, .. } if *cap > 0 && len == cap => "full",
        _ => "open",
    }
}

fn waiting(ids: impl Iterator<Item = Goid>) -> String {
    let ids: Vec<Goid> = ids.collect();
    if ids.is_empty() {
        return "-".to_owned();
    }
    format!("{}: {}", ids.len(), goids(&ids, GOIDS))
}

/// One channel as a picture: senders, the buffer in the order of receipt, receivers.
pub(crate) fn picture(channel: &Channel, snapshot: &Snapshot, symbols: &dyn Symbolizer) -> String {
    let mut text = format!(
        "{} chan {}  {}/{}  {}\n\n",
        styled(BOLD, channel.addr),
        elem_type(channel),
        channel.len,
        channel.cap,
        state(channel),
    );
    queue(
        &mut text,
        " to send",
        &channel.send_waiting,
        snapshot,
        symbols,
    );
    let _ = writeln!(text, "      │\n      ▼");
    if channel.cap == 0 {
        let _ = writeln!(text, "  no buffer: a sender hands its value to a receiver");
    } else {
        let _ = writeln!(
            text,
            "  {}  {} of {}",
            bar(channel.len, channel.cap),
            channel.len,
            channel.cap
        );
        // The newest came in last, so it is nearest to the senders.
        for (index, item) in channel.values.iter().enumerate().rev() {
            let next = if index == 0 {
                styled(DIM, "  ← received next")
            } else {
                String::new()
            };
            let _ = writeln!(text, "  [{index}] {}{next}", shown_value(item));
        }
        let shown = channel.values.len() as u64;
        if channel.len > shown {
            let _ = writeln!(
                text,
                "  {}",
                styled(
                    DIM,
                    format!("{} newer ones not shown (--values)", channel.len - shown)
                )
            );
        }
    }
    let _ = writeln!(text, "      │\n      ▼");
    queue(
        &mut text,
        " to receive",
        &channel.recv_waiting,
        snapshot,
        symbols,
    );
    if let Some(timer) = &channel.timer {
        let fires = match timer.when {
            Some(when) => format!("fires in {}", elapsed(when.since(snapshot.finished))),
            None => "is stopped or has fired".to_owned(),
        };
        let again = match timer.period {
            0 => String::new(),
            period => format!(", then each {}", elapsed(period)),
        };
        let _ = writeln!(text, "\n  a timer sends to it: it {fires}{again}");
    }
    let stacks = Stacks::of(snapshot);
    if !channel.users.is_empty() {
        text.push('\n');
    }
    for user in &channel.users {
        let at = stacks
            .site(user, symbols)
            .map_or(String::new(), |site| format!("  {}", place(&site)));
        let through = user.through.map_or(String::new(), |object| {
            format!(" through the object at {object}")
        });
        let _ = writeln!(text, "  goroutine {} holds it{through}{at}", user.goid);
    }
    text
}

/// How wide a bar is, in characters.
const BAR: u64 = 32;

fn bar(len: u64, cap: u64) -> String {
    let filled = (u128::from(len.min(cap)) * u128::from(BAR))
        .checked_div(u128::from(cap))
        .unwrap_or(0) as usize;
    format!(
        "[{}{}]",
        "█".repeat(filled),
        "·".repeat(BAR as usize - filled)
    )
}

fn queue(
    text: &mut String,
    what: &str,
    waiters: &[Waiter],
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
) {
    if waiters.is_empty() {
        let _ = writeln!(text, "  {}", styled(DIM, format!("none waits{what}")));
    }
    for waiter in waiters {
        let goroutine = snapshot
            .goroutines
            .iter()
            .find(|goroutine| goroutine.goid == waiter.goid);
        let site = goroutine.and_then(|goroutine| user_frame(snapshot.stack(goroutine), symbols));
        let at = site.map_or(String::new(), |frame| {
            format!("  {}", place(&Site::from(&frame)))
        });
        let select = if waiter.select { " in a select" } else { "" };
        let holds = waiter.value.as_ref().map_or(String::new(), |item| {
            format!("  holds {}", shown_value(item))
        });
        let _ = writeln!(
            text,
            "  goroutine {} waits{what}{select}{holds}{at}",
            waiter.goid
        );
    }
}
