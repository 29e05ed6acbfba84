//! The HTTP server: `/metrics`, `/healthz` and the JSON API. It answers from the pipeline's view of
//! the moment and never touches the target itself.

mod metrics;
mod query;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracer_golang::process::Symbols;
use tracer_model::query::{SortBy, group};

use crate::document::goroutines::Style;
use crate::document::run::Attached;
use crate::document::{self, SnapshotInfo, WallClock};
use crate::listing::{self, ChannelSort, Grouping, Sort};
use crate::open_files;
use crate::otel::Health;
use crate::trace::pipeline::Input;
use crate::trace::story::View;

use query::Query;

/// How long the pipeline may take to answer: it can be busy with a snapshot of a large target.
const PATIENCE: Duration = Duration::from_secs(10);

/// Content type of the Prometheus text format that is served.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the handlers share.
struct Shared {
    attached: Attached,
    inputs: Sender<Input>,
    symbols: Symbols,
    clock: WallClock,
    /// How the export of OpenTelemetry goes, if there is one.
    otel: Option<Arc<Health>>,
}

/// The running server, or none if it is switched off.
pub(crate) struct Server {
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Ends the server; connections that are open are closed.
    pub(crate) fn stop(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Starts to serve on `listener`. To be called inside a tokio runtime.
///
/// # Errors
/// The listener cannot be used.
pub(crate) fn start(
    listener: Option<TcpListener>,
    attached: Attached,
    inputs: Sender<Input>,
    symbols: Symbols,
    clock: WallClock,
    otel: Option<Arc<Health>>,
) -> std::io::Result<Server> {
    let Some(listener) = listener else {
        return Ok(Server { task: None });
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let shared = Arc::new(Shared {
        attached,
        inputs,
        symbols,
        clock,
        otel,
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/api/v1/goroutines", get(goroutines))
        .route("/api/v1/channels", get(channels))
        .route("/api/v1/findings", get(findings))
        .route("/api/v1/flow", get(flow))
        .fallback(not_found)
        .with_state(shared);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the HTTP server ended: {error}");
        }
    });
    Ok(Server { task: Some(task) })
}

impl Shared {
    async fn view(&self) -> Result<View, Unavailable> {
        self.ask(Input::View).await
    }

    /// Asks the pipeline.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Input,
    ) -> Result<T, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        self.inputs
            .send(question(sender))
            .map_err(|_| Unavailable)?;
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Unavailable),
        }
    }
}

/// The pipeline has ended or does not answer.
struct Unavailable;

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        let body = json!({ "error": "tracing has ended or is too busy to answer" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

/// Why a list is not given.
enum NoList {
    Unavailable,
    /// The request's query is wrong, and how.
    Query(String),
}

impl From<Unavailable> for NoList {
    fn from(_: Unavailable) -> NoList {
        NoList::Unavailable
    }
}

impl From<String> for NoList {
    fn from(error: String) -> NoList {
        NoList::Query(error)
    }
}

impl IntoResponse for NoList {
    fn into_response(self) -> Response {
        match self {
            NoList::Unavailable => Unavailable.into_response(),
            NoList::Query(error) => {
                (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
            }
        }
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Unavailable> {
    let measured = shared.ask(Input::Measure).await?;
    let (attached, symbols) = (&shared.attached, &shared.symbols);
    match metrics::render(
        &measured,
        attached,
        symbols,
        shared.clock,
        shared.otel.as_deref(),
    ) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()),
        Err(error) => {
            let body = json!({ "error": error.to_string() });
            Ok((StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response())
        }
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Result<Response, Unavailable> {
    let view = shared.view().await?;
    let body = json!({
        "status": "tracing",
        "pid": shared.attached.target.pid,
        "level": shared.attached.level,
        "events": view.totals.events,
        "lost": view.loss.records,
    });
    Ok(Json(body).into_response())
}

async fn goroutines(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, NoList> {
    let query = Query::parse(query.as_deref().unwrap_or_default())?;
    let sort = query.sort()?.unwrap_or(Sort::Goid);
    let mut view = shared.view().await?;
    open_files::name(shared.attached.target.pid, &mut view.snapshot.descriptors);
    let snapshot = &view.snapshot;
    let mut chosen = listing::choose(snapshot, &query.filter, &shared.symbols);
    SortBy::from(sort).sort(&snapshot.goroutines, &mut chosen);
    let limit = query.limit.unwrap_or(usize::MAX);
    let (target, symbols, clock) = (&shared.attached.target, &shared.symbols, shared.clock);
    if let Some(Grouping::By(by)) = &query.group {
        let mut groups = group(snapshot, chosen, by, symbols);
        groups.truncate(limit);
        let document = document::groups::Document::new(
            target,
            snapshot,
            &groups,
            symbols,
            clock,
            Style::Compact,
        );
        return Ok(Json(document).into_response());
    }
    let list = chosen
        .iter()
        .take(limit)
        .filter_map(|index| snapshot.goroutines.get(*index));
    let document =
        document::goroutines::Document::new(target, snapshot, list, symbols, clock, Style::Compact);
    Ok(Json(document).into_response())
}

async fn channels(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, NoList> {
    let query = Query::parse(query.as_deref().unwrap_or_default())?;
    let sort = query.sort()?.unwrap_or(ChannelSort::Address);
    if query.group.is_some() {
        return Err("group: channels have no groups".to_owned().into());
    }
    let mut view = shared.view().await?;
    let snapshot = &mut view.snapshot;
    listing::choose_channels(snapshot, &query.filter, &shared.symbols);
    listing::sort_channels(&mut snapshot.channels, sort);
    snapshot
        .channels
        .truncate(query.limit.unwrap_or(usize::MAX));
    let document = document::channels::Document::new(
        &shared.attached.target,
        snapshot,
        &shared.symbols,
        shared.clock,
    );
    Ok(Json(document).into_response())
}

async fn findings(State(shared): State<Arc<Shared>>) -> Result<Response, Unavailable> {
    let view = shared.view().await?;
    let document = document::findings::Document {
        schema: document::findings::SCHEMA,
        target: &shared.attached.target,
        snapshot: Some(SnapshotInfo::new(&view.snapshot, shared.clock)),
        findings: &view.findings,
        errors: &view.snapshot.errors,
    };
    Ok(Json(document).into_response())
}

async fn flow(State(shared): State<Arc<Shared>>) -> Result<Response, Unavailable> {
    let document = document::flow::Document {
        schema: document::flow::SCHEMA,
        target: &shared.attached.target,
        flow: &shared.ask(Input::Flow).await?,
    };
    Ok(Json(document).into_response())
}

async fn not_found() -> Response {
    let body = json!({
        "error": "no such path",
        "paths": ["/metrics", "/healthz", "/api/v1/goroutines", "/api/v1/channels", "/api/v1/findings", "/api/v1/flow"],
    });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
