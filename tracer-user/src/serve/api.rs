//! The handlers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tracer_golang::process::Symbols;
use tracer_model::query::{SortBy, group};

use super::body::{stream, write_json};
use super::problem::Problem;
use super::query::{self, Query};
use super::{Shared, Traced, metrics};
use crate::document::goroutines::Style;
use crate::document::{self, SnapshotInfo, WallClock};
use crate::listing::{self, ChannelSort, Grouping, Sort};
use crate::open_files;
use crate::trace::pipeline::Input;
use crate::trace::story::View;

/// Content type of the Prometheus text format that is served.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of documents.
pub(super) const JSON_TYPE: &str = "application/json";

/// Whether the trace is alive.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health<'a> {
    /// Always `tracing`.
    status: &'static str,
    pid: u32,
    level: &'a str,
    /// Events that arrived since attach.
    events: u64,
    /// Records that did not.
    lost: u64,
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let measured = shared.ask(Input::Measure).await?;
    let Traced {
        attached,
        symbols,
        clock,
        ..
    } = &shared.traced;
    let otel = shared.otel.as_deref();
    match metrics::render(&measured, attached, symbols, *clock, otel) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}

pub(super) async fn healthz(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let (view, _seat) = shared.view(&shared.glances, false).await?;
    let health = Health {
        status: "tracing",
        pid: shared.traced.attached.target.pid,
        level: &shared.traced.attached.level,
        events: view.totals.events,
        lost: view.loss.records,
    };
    Ok(Json(health).into_response())
}

/// What a list is made of.
pub(super) struct Seen {
    pub(super) view: View,
    pub(super) target: document::Target,
    pub(super) symbols: Symbols,
    pub(super) clock: WallClock,
    /// The right to hold it.
    pub(super) seat: OwnedSemaphorePermit,
}

/// A view for a list.
async fn view_for_list(shared: &Shared, channels: bool) -> Result<Seen, Problem> {
    let (mut view, seat) = shared.view(&shared.lists, channels).await?;
    let traced = &shared.traced;
    open_files::name(traced.attached.target.pid, &mut view.snapshot.descriptors);
    Ok(Seen {
        view,
        target: traced.attached.target.clone(),
        symbols: traced.symbols.clone(),
        clock: traced.clock,
        seat,
    })
}

pub(super) async fn goroutines(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Goroutines::asked(query.as_deref())?;
    Ok(asked.answer(view_for_list(&shared, false).await?))
}

/// What a list of goroutines is asked.
pub(super) struct Goroutines {
    query: Query,
    sort: Sort,
}

impl Goroutines {
    /// Parses what follows the question mark.
    ///
    /// # Errors
    /// It is not what there is.
    pub(super) fn asked(query: Option<&str>) -> Result<Goroutines, Problem> {
        let query = Query::parse(query).map_err(Problem::query)?;
        let sort = query.sort().map_err(Problem::query)?.unwrap_or(Sort::Goid);
        Ok(Goroutines { query, sort })
    }

    /// Sends the list.
    pub(super) fn answer(self, seen: Seen) -> Response {
        let Goroutines { query, sort } = self;
        stream(JSON_TYPE, move |chunks| {
            let Seen {
                view,
                target,
                symbols,
                clock,
                seat: _seat,
            } = seen;
            let (target, symbols) = (&target, &symbols);
            let snapshot = &view.snapshot;
            let mut chosen = listing::choose(snapshot, &query.filter, symbols);
            SortBy::from(sort).sort(&snapshot.goroutines, &mut chosen);
            if let Some(Grouping::By(by)) = &query.group {
                let groups = group(snapshot, chosen, by, symbols);
                let document = document::groups::Document::new(
                    target,
                    snapshot,
                    query.window(&groups),
                    symbols,
                    clock,
                    Style::Compact,
                )
                .of_matching(groups.len())
                .with_members(query.members())
                .with_unknown(&view.unsure);
                return write_json(chunks, &document);
            }
            let list = query
                .window(&chosen)
                .iter()
                .filter_map(|index| snapshot.goroutines.get(*index));
            let document = document::goroutines::Document::new(
                target,
                snapshot,
                list,
                symbols,
                clock,
                Style::Compact,
            )
            .of_matching(chosen.len())
            .with_unknown(&view.unsure);
            write_json(chunks, &document)
        })
    }
}

pub(super) async fn channels(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Channels::asked(query.as_deref())?;
    Ok(asked.answer(view_for_list(&shared, true).await?))
}

/// What a list of channels is asked.
pub(super) struct Channels {
    query: Query,
    sort: ChannelSort,
}

impl Channels {
    /// Parses what follows the question mark.
    ///
    /// # Errors
    /// It is not what there is.
    pub(super) fn asked(query: Option<&str>) -> Result<Channels, Problem> {
        let query = Query::parse(query).map_err(Problem::query)?;
        let sort = query.sort().map_err(Problem::query)?;
        let sort = sort.unwrap_or(ChannelSort::Address);
        if query.group.is_some() {
            return Err(Problem::query("group: channels have no groups".to_owned()));
        }
        Ok(Channels { query, sort })
    }

    /// Sends the list.
    pub(super) fn answer(self, seen: Seen) -> Response {
        let Channels { query, sort } = self;
        stream(JSON_TYPE, move |chunks| {
            let Seen {
                mut view,
                target,
                symbols,
                clock,
                seat: _seat,
            } = seen;
            let snapshot = &mut view.snapshot;
            listing::choose_channels(snapshot, &query.filter, &symbols);
            listing::sort_channels(&mut snapshot.channels, sort);
            let document = document::channels::Document::new(
                &target,
                snapshot,
                query.window(&snapshot.channels),
                &symbols,
                clock,
            )
            .of_matching(snapshot.channels.len());
            write_json(chunks, &document)
        })
    }
}

pub(super) async fn findings(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let (view, _seat) = shared.view(&shared.glances, false).await?;
    let document = document::findings::Document {
        schema: document::findings::SCHEMA,
        target: &shared.traced.attached.target,
        snapshot: Some(SnapshotInfo::new(&view.snapshot, shared.traced.clock)),
        findings: &view.findings,
        errors: &view.snapshot.errors,
    };
    Ok(Json(document).into_response())
}

pub(super) async fn flow(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let document = document::flow::Document {
        schema: document::flow::SCHEMA,
        target: &shared.traced.attached.target,
        flow: &shared.ask(super::Input::Flow).await?,
    };
    Ok(Json(document).into_response())
}

pub(super) async fn not_found() -> Problem {
    not_there()
}

/// There is no such path.
pub(super) fn not_there() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path").next("see /api/v1/openapi.json")
}

pub(super) async fn not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path is not there for this method",
    )
}
