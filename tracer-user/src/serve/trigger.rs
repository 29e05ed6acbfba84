//! Asks for the last seconds to be written, where they are kept.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::MOST_BODY;
use super::connection::HEAD_TIME;
use super::problem::Problem;
use super::{Input, Shared, query};

/// The document's schema.
const SCHEMA: &str = "gotrace.trigger/1";

/// What a request says: nothing, as yet.
pub(super) fn asked(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 0, "additionalProperties": false })
}

/// Where the last seconds go.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Kept {
    #[schemars(extend("const" = SCHEMA))]
    schema: &'static str,
    /// The file that is written.
    file: String,
    /// In so many seconds: what comes after the reason is in it as well.
    in_seconds: f64,
    /// Whether it is written for another reason anyway.
    already: bool,
}

/// `POST /api/v1/recorder/trigger`. It must say that it sends JSON: a form of another site cannot, and a
/// script of one is not allowed to.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    if !shared.has_token && !shared.is_local {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "files are written only for who has a token, or from this machine",
        )
        .next("start gotrace with --token-file"));
    }
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the request does not say that it sends JSON",
        )
        .next("send `Content-Type: application/json` with the body {}"));
    }
    let body = match tokio::time::timeout(HEAD_TIME, to_bytes(body, MOST_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Problem::too_large()),
        Err(_) => {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the request's body did not come in time",
            ));
        }
    };
    let asked = serde_json::from_slice::<Map<String, Value>>(&body);
    if !asked.is_ok_and(|asked| asked.is_empty()) {
        return Err(Problem::query("the body is not {}".to_owned()));
    }
    let kept = shared.ask(|reply| Input::Keep(Some(reply))).await?;
    let Some((due, already)) = kept else {
        return Err(
            Problem::new(StatusCode::CONFLICT, "the last seconds are not kept")
                .next("start gotrace with `record --ring 60s` or `run --ring 60s --ring-to DIR`"),
        );
    };
    let kept = Kept {
        schema: SCHEMA,
        file: due.path.to_string_lossy().into_owned(),
        in_seconds: due.seconds,
        already,
    };
    Ok((StatusCode::ACCEPTED, Json(kept)).into_response())
}
