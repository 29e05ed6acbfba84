//! The numbers of the last minute, kept so that who opens the page sees at once what led to the moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::problem::Problem;
use super::{Shared, query};
use crate::document::Target;
use crate::document::run::Summary;
use crate::trace::story::Output;

/// The document's schema.
const SCHEMA: &str = "gotrace.history/1";
/// How far it reaches back.
const REACH: Duration = Duration::from_secs(60);
/// Of summaries that come faster than this, some are left out: so there are never more than so many.
const LEAST_APART: Duration = Duration::from_millis(450);

/// The last minute.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<(Instant, Arc<Output>)>>);

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "History")]
pub(super) struct Document<'a> {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    target: &'a Target,
    /// How far it reaches back at most.
    window_seconds: f64,
    /// From the oldest to the newest.
    summaries: Vec<&'a Summary>,
}

impl History {
    /// Keeps a summary, and forgets what is too old.
    fn add(&self, now: Instant, output: Arc<Output>) {
        if !matches!(*output, Output::Summary(_)) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept
            .back()
            .is_some_and(|(at, _)| now.duration_since(*at) < LEAST_APART)
        {
            return;
        }
        while kept
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > REACH)
        {
            kept.pop_front();
        }
        kept.push_back((now, output));
    }

    fn all(&self) -> Vec<Arc<Output>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(_, output)| Arc::clone(output)).collect()
    }
}

/// Keeps what is said, until nothing more is.
pub(super) async fn keep(history: Arc<History>, mut outputs: broadcast::Receiver<Arc<Output>>) {
    loop {
        match outputs.recv().await {
            Ok(output) => history.add(Instant::now(), output),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// `GET /api/v1/history`.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let outputs = shared.history.all();
    let summaries = outputs.iter().filter_map(|output| match &**output {
        Output::Summary(summary) => Some(&**summary),
        _ => None,
    });
    let document = Document {
        schema: SCHEMA,
        target: &shared.traced.attached.target,
        window_seconds: REACH.as_secs_f64(),
        summaries: summaries.collect(),
    };
    Ok(Json(document).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_a_minute_and_no_more_however_fast_summaries_come() {
        let history = History::default();
        let began = Instant::now();
        let summary = Arc::new(Output::Summary(Box::default()));
        for tenth in 0..2000 {
            history.add(
                began + Duration::from_millis(100 * tenth),
                Arc::clone(&summary),
            );
        }
        let kept = history.0.lock().expect("nobody else has it");
        let (first, last) = (kept[0].0, kept[kept.len() - 1].0);
        assert!(last.duration_since(first) <= REACH);
        assert!(last.duration_since(first) > REACH.mul_f64(0.95));
        assert_eq!(kept.len(), 121);
        drop(kept);
        history.add(
            began + Duration::from_secs(900),
            Arc::new(Output::Resolved(String::new())),
        );
        assert_eq!(history.all().len(), 121);
        history.add(began + Duration::from_secs(900), summary);
        assert_eq!(history.all().len(), 1);
    }
}
