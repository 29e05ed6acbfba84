//! Explains one goroutine, as `gotrace why` does.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tracer_golang::process::{ChannelScope, ReadOptions, ktime_now};
use tracer_model::detect::{Detector, Why};
use tracer_model::ids::Goid;
use tracer_model::snapshot::Snapshot;

use super::problem::Problem;
use super::query::once;
use super::{PATIENCE, Shared, Traced};
use crate::document::why::Document;
use crate::failure::Failure;
use crate::open_files;
use crate::passes::{self, passes};

/// `GET /api/v1/why`. The target's memory is read anew, several times; one at a time, with snapshots.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let goid = asked(query.as_deref()).map_err(Problem::query)?;
    let seat = Arc::clone(&shared.snapshots).acquire_owned();
    let _seat = match tokio::time::timeout(PATIENCE, seat).await {
        Ok(Ok(seat)) => seat,
        _ => return Err(Problem::busy("memory is being searched for somebody else")),
    };
    let unread = |cause: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, cause);
    let looked = tokio::task::spawn_blocking({
        let shared = Arc::clone(&shared);
        move || look(&shared.traced, goid)
    });
    let (snapshot, why, made) = match looked.await {
        Ok(Ok(seen)) => seen,
        Ok(Err(failure)) => return Err(unread(failure.to_string().replace('\n', "; "))),
        Err(_) => return Err(unread("reading the process failed".to_owned())),
    };
    let Some(why) = why else {
        let missing = format!("there is no goroutine {goid}: it has ended, or never was");
        return Err(Problem::new(StatusCode::NOT_FOUND, missing).next("see /api/v1/goroutines"));
    };
    let Traced {
        attached,
        symbols,
        clock,
        ..
    } = &shared.traced;
    let document = Document::new(&attached.target, &why, &snapshot, made, symbols, *clock);
    Ok(Json(document).into_response())
}

/// Which goroutine is asked for.
fn asked(text: Option<&str>) -> Result<Goid, String> {
    let mut goid = None;
    for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
        if name != "goid" {
            return Err(format!("no parameter `{name}`: there is goid"));
        }
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse().ok().filter(|_| digits);
        let parsed = number.ok_or_else(|| "expected a goroutine's id".to_owned());
        once(&mut goid, parsed).map_err(|error| format!("goid: {error}"))?;
    }
    goid.map(Goid)
        .ok_or_else(|| "goid: give a goroutine's id".to_owned())
}

/// Looks until nothing is left to be proven, or for some time.
fn look(traced: &Traced, goid: Goid) -> Result<(Snapshot, Option<Why>, usize), Failure> {
    let target = &traced.target;
    let unreadable = |error| target.unreadable(&error);
    let options = ReadOptions {
        channels: ChannelScope::Stacks,
        ..ReadOptions::default()
    };
    let mut process = target.process()?;
    let mut detector = Detector::new();
    let pass = || {
        let mut snapshot = process.snapshot(&options, &ktime_now).map_err(unreadable)?;
        open_files::name(target.pid, &mut snapshot.descriptors);
        let reachability = process.reachability(&snapshot, &ktime_now);
        snapshot.reachability = Some(reachability.map_err(unreadable)?);
        let why = detector.pass_with_why(&snapshot, None, &traced.symbols, goid);
        let settled = detector.is_settled() || !why.as_ref().is_some_and(Why::is_unsettled);
        Ok(((snapshot, why), settled))
    };
    let ((snapshot, why), made) = passes(true, passes::PATIENCE, pass)?;
    Ok((snapshot, why, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goroutine_is_asked_for() {
        assert_eq!(asked(Some("goid=17")), Ok(Goid(17)));
        for wrong in [
            "",
            "goid=",
            "goid=x",
            "goid=-1",
            "goid=%2B1",
            "goid=1&goid=1",
            "goid=1&n=2",
            "goid=18446744073709551616",
        ] {
            assert!(asked(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(asked(None).is_err());
    }
}
