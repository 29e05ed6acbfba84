//! What `gotrace agent` serves: its metrics, and what it knows of each process that it follows.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::access::OPEN;
use super::api::{Channels, Goroutines, JSON_TYPE, METRICS_TYPE, Seen};
use super::body::{stream, write_json};
use super::endpoint::{
    Answer, CHANNEL_SORT, Endpoint, GROUP, LIMIT, MEMBERS, OFFSET, Parameter, SORT, WITH, WITHOUT,
    complete, document, goroutines_or_groups, routes, text,
};
use super::problem::Problem;
use super::snapshot::{self, SNAPSHOT_TYPE};
use super::{MOST_VIEWS, PATIENCE, metrics, openapi, query};
use crate::agent::Pool;
use crate::agent::follow::Followed;
use crate::document::{SnapshotInfo, agent, channels, findings};
use crate::open_files;

/// What the API tells.
const WHAT: &str = "what its agent knows of the processes of this node";

/// What the handlers share.
pub(super) struct Shared {
    pool: Arc<Pool>,
    has_token: bool,
    /// Answers that are made from a view of everything, which are held while they are taken.
    views: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

/// Whether the agent is alive.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AgentHealth")]
struct Health {
    /// Always `following`.
    status: &'static str,
    /// Processes that are followed.
    processes: usize,
    /// Begins and ends of processes that were not told.
    lost: u64,
}

const PID: Parameter = Parameter {
    name: "pid",
    required: true,
    many: false,
    description: "The process' id",
    schema: || json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
};

/// Every endpoint.
const ENDPOINTS: &[Endpoint<Shared>] = &[
    Endpoint {
        method: "get",
        path: "/metrics",
        place: None,
        handler: || get(scrape),
        summary: "Metrics for Prometheus",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "The text format of Prometheus",
            content_type: METRICS_TYPE,
            schema: text,
        },
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: OPEN,
        place: None,
        handler: || get(healthz),
        summary: "Whether the agent is alive; needs no token",
        parameters: &[],
        body: None,
        answer: document::<Health>("It is"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/processes",
        place: None,
        handler: || get(processes),
        summary: "The processes that are followed, where they run, and those that are refused",
        parameters: &[],
        body: None,
        answer: document::<agent::Processes>("gotrace.processes/1"),
        problems: &[],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/processes/{pid}/goroutines",
        place: Some(&PID),
        handler: || get(goroutines),
        summary: "Goroutines of a process with state, wait and stack, or groups of them",
        parameters: &[WITH, WITHOUT, GROUP, MEMBERS, SORT, LIMIT, OFFSET],
        body: None,
        answer: Answer {
            status: 200,
            description: "gotrace.goroutines/1, with `group` gotrace.groups/1",
            content_type: JSON_TYPE,
            schema: goroutines_or_groups,
        },
        problems: &[404],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/processes/{pid}/channels",
        place: Some(&PID),
        handler: || get(list_channels),
        summary: "Channels that goroutines of a process wait on, with both queues",
        parameters: &[WITH, WITHOUT, CHANNEL_SORT, LIMIT, OFFSET],
        body: None,
        answer: document::<channels::Document<'_>>("gotrace.channels/1"),
        problems: &[404],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/processes/{pid}/findings",
        place: Some(&PID),
        handler: || get(list_findings),
        summary: "What was found of a process and stands: deadlocks, leaks, trends",
        parameters: &[],
        body: None,
        answer: document::<findings::Document<'_>>("gotrace.findings/1"),
        problems: &[404],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/processes/{pid}/snapshot",
        place: Some(&PID),
        handler: || get(take_snapshot),
        summary: "A snapshot's file, as `gotrace snapshot` writes it, of what the process' memory holds now",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "A file for --from (docs/format.md)",
            content_type: SNAPSHOT_TYPE,
            schema: |_| json_schema!({}),
        },
        problems: &[404],
    },
    Endpoint {
        method: "get",
        path: "/api/v1/openapi.json",
        place: None,
        handler: || get(describe),
        summary: "This description",
        parameters: &[],
        body: None,
        answer: Answer {
            status: 200,
            description: "An OpenAPI document, version 3.1",
            content_type: JSON_TYPE,
            schema: |_| json_schema!({ "type": "object", "required": ["openapi", "paths"] }),
        },
        problems: &[],
    },
];

/// What answers.
pub(super) fn router(pool: Arc<Pool>, has_token: bool) -> Router {
    let shared = Shared {
        pool,
        has_token,
        views: Arc::new(Semaphore::new(MOST_VIEWS)),
        snapshots: Arc::new(Semaphore::new(1)),
    };
    complete(routes(ENDPOINTS), Arc::new(shared))
}

impl Shared {
    /// The process that a path names.
    fn process(&self, pid: &str) -> Result<Arc<Followed>, Problem> {
        let followed = pid.parse().ok().and_then(|pid| self.pool.of(pid));
        followed.ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "no such process is followed")
                .next("see /api/v1/processes")
        })
    }

    /// Makes something of a process that takes a look at all of it, when it is its turn.
    async fn made<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Pool) -> T + Send + 'static,
    ) -> Result<(T, tokio::sync::OwnedSemaphorePermit), Problem> {
        let seat = Arc::clone(&self.views).acquire_owned();
        let seat = match tokio::time::timeout(PATIENCE, seat).await {
            Ok(Ok(seat)) => seat,
            _ => return Err(Problem::busy("others ask for the same")),
        };
        let pool = Arc::clone(&self.pool);
        match tokio::task::spawn_blocking(move || make(&pool)).await {
            Ok(made) => Ok((made, seat)),
            Err(_) => Err(Problem::unavailable()),
        }
    }

    /// What a list of a process is made of.
    async fn seen(&self, followed: Arc<Followed>, channels: bool) -> Result<Seen, Problem> {
        let pid = followed.target.pid;
        let of = Arc::clone(&followed);
        let (view, seat) = self
            .made(move |_| {
                let mut view = of.view(channels);
                open_files::name(pid, &mut view.snapshot.descriptors);
                view
            })
            .await?;
        Ok(Seen {
            view,
            target: followed.target.info.clone(),
            symbols: followed.symbols.clone(),
            clock: self.pool.clock(),
            seat,
        })
    }
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let (families, _seat) = shared.made(crate::metrics::agent::families).await?;
    match metrics::encode(&families) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()),
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Json<Health> {
    Json(Health {
        status: "following",
        processes: shared.pool.followed().0,
        lost: shared.pool.health.unseen.get(),
    })
}

async fn processes(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let (list, seat) = shared.made(Pool::list).await?;
    Ok(stream(JSON_TYPE, move |chunks| {
        let _seat = seat;
        write_json(chunks, &list)
    }))
}

async fn goroutines(
    State(shared): State<Arc<Shared>>,
    Path(pid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Goroutines::asked(query.as_deref())?;
    let followed = shared.process(&pid)?;
    Ok(asked.answer(shared.seen(followed, false).await?))
}

async fn list_channels(
    State(shared): State<Arc<Shared>>,
    Path(pid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = Channels::asked(query.as_deref())?;
    let followed = shared.process(&pid)?;
    Ok(asked.answer(shared.seen(followed, true).await?))
}

async fn list_findings(
    State(shared): State<Arc<Shared>>,
    Path(pid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let seen = shared.seen(shared.process(&pid)?, false).await?;
    let document = findings::Document {
        schema: findings::SCHEMA,
        target: &seen.target,
        snapshot: Some(SnapshotInfo::new(&seen.view.snapshot, seen.clock)),
        findings: &seen.view.findings,
        errors: &seen.view.snapshot.errors,
    };
    Ok(Json(document).into_response())
}

async fn take_snapshot(
    State(shared): State<Arc<Shared>>,
    Path(pid): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let followed = shared.process(&pid)?;
    let (target, symbols) = (followed.target.clone(), followed.symbols.clone());
    let options = shared.pool.options().clone();
    snapshot::take(
        target,
        options,
        symbols,
        shared.pool.clock(),
        &shared.snapshots,
    )
    .await
}

async fn describe(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    Ok(Json(description(shared.has_token)))
}

/// A function of its own: a handler that names the table in which it stands is a cycle.
fn description(has_token: bool) -> Value {
    openapi::document(ENDPOINTS, WHAT, has_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_path() {
        let manual = include_str!("../../../docs/agent.md");
        for endpoint in ENDPOINTS {
            let row = format!("| `{}` |", endpoint.path);
            assert!(manual.contains(&row), "no {row}");
        }
    }

    #[test]
    fn every_path_with_braces_says_what_stands_there() {
        let document = description(true);
        for endpoint in ENDPOINTS {
            let parameters = &document["paths"][endpoint.path]["get"]["parameters"];
            let parameters = parameters.as_array().expect("a list");
            let in_path = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path");
            let expected = usize::from(endpoint.path.contains("{pid}"));
            assert_eq!(in_path.count(), expected, "{}", endpoint.path);
        }
    }
}
