//! Events of a recording, and how everything was at a moment of it, for people.

use std::fmt::Write as _;

use tracer_model::wait::Direction;

use super::run::{census, fill, long_wait};
use super::{BOLD, findings, safe, styled};
use crate::document::Site;
use crate::document::events::Event;
use crate::document::findings::Entry;
use crate::document::moment::Moment;

/// One event, as a line.
pub(crate) fn line(event: &Event) -> String {
    let who = match event.goid.0 {
        0 => "the runtime".to_owned(),
        goid => format!("goroutine {goid}"),
    };
    let mut text = format!(
        "{}  {who:<16} {}",
        event.time.get(11..26).unwrap_or(&event.time),
        what(event)
    );
    if let (Some(len), Some(cap)) = (event.len, event.cap) {
        let _ = write!(text, " ({len} of {cap} buffered)");
    }
    if let Some(site) = &event.site {
        let _ = write!(text, "  at {}", place(site));
    }
    text
}

fn what(event: &Event) -> String {
    let channel = match &event.channel {
        Some(channel) => format!("channel {channel}"),
        None => "a nil channel".to_owned(),
    };
    let other = event.other.map_or(0, |goid| goid.0);
    let reason = event.wait_reason.as_deref().unwrap_or_default();
    let on = match (&event.channel, &event.object) {
        (Some(channel), _) => format!(" on channel {channel}"),
        (None, Some(object)) => format!(" on {object}"),
        (None, None) => String::new(),
    };
    match event.event {
        "send" => format!("sends to {channel}"),
        "receive" => format!("receives from {channel}"),
        "close" => format!("closes {channel}"),
        "make" => format!("makes {channel}"),
        "select" => {
            let cases = event.cases.iter().map(|case| match case.direction {
                Direction::Send => format!("send to {}", case.channel),
                Direction::Receive => format!("receive from {}", case.channel),
            });
            format!("selects: {}", cases.collect::<Vec<_>>().join(", "))
        }
        "select_end" => match event.case {
            Some(case) => format!("has selected case {case} (sends come first)"),
            None => "has selected the default case".to_owned(),
        },
        "acquire" => format!("wants the lock{}", on.replacen(" on", "", 1)),
        "syscall_enter" => "enters a system call".to_owned(),
        "syscall_exit" => "comes out of a system call".to_owned(),
        "park" => format!("parks: {}{on}", safe(reason)),
        "ready" => format!("wakes goroutine {other} from {}{on}", safe(reason)),
        "create" => {
            let start = event.start.as_ref();
            let start =
                start.map_or_else(String::new, |start| format!(": {}", safe(&start.function)));
            format!("creates goroutine {other}{start}")
        }
        "run" => "runs".to_owned(),
        "direct" => match event.direction {
            Some(Direction::Send) => {
                format!("hands its value to goroutine {other}, which waits on {channel}")
            }
            _ => format!("takes the value of goroutine {other}, which waits on {channel}"),
        },
        "exit" => "exits".to_owned(),
        "lost" => match event.count {
            None | Some(0) => "events may be missing before this".to_owned(),
            Some(count) => format!("{count} events are missing before this"),
        },
        other => other.to_owned(),
    }
}

fn place(site: &Site) -> String {
    let file = site.file.rsplit('/').next().unwrap_or(&site.file);
    format!("{} {}:{}", safe(&site.function), safe(file), site.line)
}

/// What was found, in one line.
pub(crate) fn finding(finding: &Entry) -> String {
    format!(
        "found: {} ({})",
        safe(&finding.reason),
        finding.verdict.name()
    )
}

/// How everything was.
pub(crate) fn moment(moment: &Moment<'_>) -> String {
    let state = &moment.state;
    let target = &moment.target;
    let mut text = format!(
        "{} (pid {}) {} {} at {}\n",
        styled(
            BOLD,
            safe(&target.exe.file_name().unwrap_or_default().to_string_lossy())
        ),
        target.pid,
        safe(&target.go_version),
        target.arch,
        moment.time,
    );
    let _ = writeln!(text, "{}", census(&state.goroutines));
    for channel in &state.fullest {
        let _ = writeln!(text, "  {}", fill(channel));
    }
    for wait in &state.longest_waits {
        let _ = writeln!(text, "  {}", long_wait(wait));
    }
    for finding in &state.findings {
        let _ = writeln!(text, "\n{}", findings::render(finding));
    }
    if !moment.events.is_empty() {
        text.push_str("\nThe last events before:\n");
    }
    for event in &moment.events {
        let _ = writeln!(text, "{}", line(event));
    }
    text
}
