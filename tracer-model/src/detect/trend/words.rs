//! Trends in words, and what usually helps.

use super::Slope;
use crate::ids::Pc;
use crate::symbol::{Landmark, Symbolizer, user_frame};
use crate::wait::{WaitKind, WaitReason};

/// `3 min`, `12.5 s`
pub(super) fn time(nanos: u64) -> String {
    let seconds = nanos as f64 / 1e9;
    if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if seconds < 6000.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.0} h", seconds / 3600.0)
    }
}

/// `0.25 a second (95 %: 0.20 to 0.31)`, `3.00 a minute (95 %: …)`
pub(super) fn rate(slope: Slope) -> String {
    let Slope {
        per_second,
        low,
        high,
    } = slope;
    let (times, unit) = match per_second >= 0.1 {
        true => (1.0, "second"),
        false => (60.0, "minute"),
    };
    format!(
        "{:.2} a {unit} (95 %: {:.2} to {:.2})",
        per_second * times,
        low * times,
        high * times
    )
}

/// `main.work (work.go:12)`
pub(super) fn place(stack: &[Pc], symbolizer: &dyn Symbolizer) -> Option<String> {
    let frame = user_frame(stack, symbolizer)?;
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    Some(format!("{} ({file}:{})", frame.function, frame.line))
}

/// What usually ends a pile of goroutines in such a wait.
pub(super) fn remedy(
    reason: Option<WaitReason>,
    landmark: Option<Landmark>,
    timer: bool,
) -> &'static str {
    match landmark {
        Some(Landmark::ResponseReader) => {
            return "each holds the connection of an HTTP response whose body is still open: read the body \
                    to its end and close it (defer resp.Body.Close() right after the error check), also \
                    where the body is not of interest";
        }
        Some(Landmark::ContextWatcher) => {
            return "each watches a context that is never cancelled: call the function that \
                    context.WithCancel or WithTimeout returned on every way out (defer cancel())";
        }
        Some(Landmark::Acceptor) => {
            return "each is a server that still listens: shut it down when it is no longer needed \
                    (Server.Shutdown or Close, Listener.Close)";
        }
        Some(Landmark::RequestWriter | Landmark::SignalLoop) | None => {}
    }
    if timer {
        return "each lives by a ticker that is never stopped: leave the loop when the work is over \
                (select on a context's Done beside the ticker's C) and defer ticker.Stop(); Stop alone \
                does not end who waits on C";
    }
    let Some(reason) = reason else {
        return "give each a way to end, such as a context that its loop looks at";
    };
    match (reason.kind(), reason) {
        (WaitKind::Chan, WaitReason::ChanSend | WaitReason::ChanSendDurable) => {
            "who should receive has gone away, often after a timeout or an error: give the channel room for \
             the one result (make(chan T, 1)), or select on the send beside a context's Done"
        }
        (WaitKind::Chan, _) => {
            "who should send has returned without sending or closing: close the channel on every way out \
             (defer close), or select on the receive beside a context's Done"
        }
        (WaitKind::Select, _) => {
            "no case of the select comes true any more: add one for a context's Done, and cancel that \
             context when the work is over"
        }
        (WaitKind::Mutex | WaitKind::RwMutex, _) => {
            "the lock is not released on some way out, or its holder is stuck: defer Unlock right after \
             Lock, and do not block while it is held"
        }
        (WaitKind::WaitGroup, _) => {
            "Done is not called on some way out: defer wg.Done() as the first statement of the goroutine, \
             and call Add before it is started"
        }
        (WaitKind::Cond, _) => {
            "nobody signals any more: Broadcast when the work is over, and let waiters check for that"
        }
        _ => "give each a way to end, such as a context that its loop looks at",
    }
}
