//! The live stream: what the trace says and what happens in the target, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tracer_model::event::Event;

use super::problem::Problem;
use super::query::{number, once};
use super::{Input, Shared};
use crate::document::events;
use crate::document::run::{Line, Stamped};
use crate::trace::feed::Events;
use crate::trace::story::Output;

/// Listeners at a time.
pub(super) const MOST_LISTENERS: usize = 16;
/// When nothing is said for so long, a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Events that are sent at once,
const BURST: u32 = 1000;
/// and the pause after these: to spell events must not take a processor from the target.
const PAUSE: Duration = Duration::from_millis(20);

/// Kinds of messages that can be chosen. `attached`, `missed` and `ended` come in any case.
pub(super) const KINDS: [&str; 6] = [
    "summary", "finding", "resolved", "governor", "warning", "event",
];
/// The kind that nobody gets who does not ask for it.
const EVENT: &str = "event";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    kinds: Vec<&'static str>,
    /// Messages, after which it ends.
    limit: Option<usize>,
}

impl Asked {
    fn parse(text: Option<&str>) -> Result<Asked, String> {
        let (mut kinds, mut limit) = (Vec::new(), None);
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            let parsed = match &*name {
                "kind" => match KINDS.iter().find(|kind| **kind == value) {
                    Some(kind) => {
                        kinds.push(*kind);
                        Ok(())
                    }
                    None => Err(format!("expected one of {}", KINDS.join(", "))),
                },
                "limit" => once(&mut limit, number(&value)),
                _ => Err("no such parameter: there are kind and limit".to_owned()),
            };
            parsed.map_err(|error| format!("{name}: {error}"))?;
        }
        if kinds.is_empty() {
            kinds.extend(KINDS.iter().filter(|kind| **kind != EVENT));
        }
        Ok(Asked { kinds, limit })
    }

    fn wants(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }
}

/// `GET /api/v1/stream`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Asked::parse(query.as_deref()).map_err(Problem::query)?;
    let seat = Arc::clone(&shared.listeners).try_acquire_owned();
    let seat = seat.map_err(|_| Problem::busy("as many listen already as may"))?;
    // First, so that nothing is said between.
    let outputs = shared.traced.feed.outputs();
    let events = asked.wants(EVENT).then(|| shared.traced.feed.events());
    let mut listener = Listener {
        left: asked.limit.unwrap_or(usize::MAX),
        waiting: VecDeque::new(),
        ended: false,
        burst: 0,
        outputs,
        events,
        asked,
        shared,
        _seat: seat,
    };
    let attached = &listener.shared.traced.attached;
    let attached = message("attached", &Stamped::from(Line::Attached(attached)));
    listener.waiting.push_back(attached);
    if listener.asked.wants("finding") {
        for finding in listener.shared.ask(Input::Findings).await? {
            let finding = &finding;
            listener.say("finding", Line::Finding { finding });
        }
    }
    let messages = stream::unfold(listener, |mut listener| async {
        let message = listener.next().await?;
        Some((Ok::<_, Infallible>(message), listener))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(messages).keep_alive(alive).into_response())
}

/// Who listens.
struct Listener {
    shared: Arc<Shared>,
    asked: Asked,
    outputs: broadcast::Receiver<Arc<Output>>,
    events: Option<Events>,
    /// What is to be sent next.
    waiting: VecDeque<sse::Event>,
    /// Messages that are still to be sent at most.
    left: usize,
    ended: bool,
    /// Events since the last pause.
    burst: u32,
    _seat: OwnedSemaphorePermit,
}

impl Listener {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if self.left == 0 {
                return None;
            }
            if let Some(message) = self.waiting.pop_front() {
                self.left -= 1;
                return Some(message);
            }
            if self.ended {
                return None;
            }
            if self.burst >= BURST {
                self.burst = 0;
                tokio::time::sleep(PAUSE).await;
            }
            let event = async {
                match &mut self.events {
                    Some(events) => events.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                output = self.outputs.recv() => match output {
                    Ok(output) => self.output(&output),
                    Err(RecvError::Lagged(count)) => self.missed("messages", count),
                    Err(RecvError::Closed) => self.ended = true,
                },
                event = event => match event {
                    Ok(event) => self.event(&event),
                    Err(RecvError::Lagged(count)) => self.missed("events", count),
                    // What is said ends as well.
                    Err(RecvError::Closed) => self.events = None,
                },
            }
        }
    }

    fn output(&mut self, output: &Output) {
        match output {
            Output::Summary(summary) => self.say("summary", Line::Summary(summary)),
            Output::Finding(finding) => self.say("finding", Line::Finding { finding }),
            Output::Resolved(id) => self.say("resolved", Line::Resolved { id }),
            Output::Governor {
                time,
                reason,
                governor,
            } => self.say(
                "governor",
                Line::Governor {
                    time,
                    reason,
                    governor,
                },
            ),
            Output::Warning(text) => self.say("warning", Line::Warning { message: text }),
            Output::Report(report) => {
                let ended = &*report.ended;
                let line = Stamped::from(Line::Ended { ended });
                self.waiting.push_back(message("ended", &line));
                self.ended = true;
            }
        }
    }

    fn event(&mut self, event: &Event) {
        self.burst += 1;
        let traced = &self.shared.traced;
        let event = events::Event::new(event, &traced.symbols, traced.clock);
        let line = events::Line::Event(&event).stamped();
        self.waiting.push_back(message(EVENT, &line));
    }

    fn missed(&mut self, of: &'static str, count: u64) {
        let line = Stamped::from(Line::Missed { of, count });
        self.waiting.push_back(message("missed", &line));
    }

    fn say(&mut self, kind: &'static str, line: Line<'_>) {
        if self.asked.wants(kind) {
            let line = Stamped::from(line);
            self.waiting.push_back(message(kind, &line));
        }
    }
}

/// A message: its kind as the event's name, and a line of JSON.
fn message(kind: &str, line: &impl Serialize) -> sse::Event {
    let text = serde_json::to_string(line);
    // Structs of text and numbers cannot fail to be spelled.
    sse::Event::default()
        .event(kind)
        .data(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_single_events_unless_kinds_are_named() {
        for (text, kinds, limit) in [
            ("", &KINDS[..5], None),
            ("limit=3", &KINDS[..5], Some(3)),
            ("kind=event&kind=finding", &["event", "finding"], None),
        ] {
            let kinds = kinds.to_vec();
            assert_eq!(Asked::parse(Some(text)), Ok(Asked { kinds, limit }));
        }
        for wrong in ["kind=hue", "kind=", "limit=x", "limit=1&limit=2", "after=3"] {
            assert!(Asked::parse(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
