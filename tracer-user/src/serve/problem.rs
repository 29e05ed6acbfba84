//! Why a request is not answered, as JSON.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::access::MOST_BODY;

/// The body of every answer that is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What is wrong.
    error: Cow<'static, str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Cow<'static, str>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            error: error.into(),
            next: None,
        }
    }

    /// What the caller can do.
    pub(super) fn next(mut self, next: impl Into<Cow<'static, str>>) -> Problem {
        self.next = Some(next.into());
        self
    }

    /// A parameter is wrong, and how.
    pub(super) fn query(error: String) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, error)
    }

    /// The pipeline has ended or does not answer.
    pub(super) fn unavailable() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tracing has ended or is too busy to answer",
        )
    }

    /// Others ask for the same already.
    pub(super) fn busy(what: &'static str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).next("ask again in a few seconds")
    }

    pub(super) fn unauthorized(error: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, error).next(
            "send the header `Authorization: Bearer TOKEN` with the token that gotrace was given",
        )
    }

    pub(super) fn too_large() -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request's body is larger than {MOST_BODY} bytes"),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut answer = (status, Json(self)).into_response();
        let extra = match status {
            StatusCode::UNAUTHORIZED => {
                Some((header::WWW_AUTHENTICATE, "Bearer realm=\"gotrace\""))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}
