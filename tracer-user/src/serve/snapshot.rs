//! A snapshot's file, as `gotrace snapshot` writes it.

use std::io::{self, Write as _};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use tracer_golang::process::{ChannelScope, ReadOptions, ktime_now};
use tracer_model::ids::Ktime;
use tracer_model::snapshot::Snapshot;
use tracer_record::Sink;

use super::body::{Chunks, stream};
use super::problem::Problem;
use super::{PATIENCE, Shared, query};
use crate::failure::Failure;
use crate::open_files;
use crate::record;
use crate::target::Target;

/// Content type of recordings.
pub(super) const SNAPSHOT_TYPE: &str = "application/octet-stream";

/// `GET /api/v1/snapshot`. The target's memory is read anew, heap and all; one at a time.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    query::none(query.as_deref()).map_err(Problem::query)?;
    let permit = Arc::clone(&shared.snapshots).acquire_owned();
    let permit = match tokio::time::timeout(PATIENCE, permit).await {
        Ok(Ok(permit)) => permit,
        _ => return Err(Problem::busy("another snapshot is being taken")),
    };
    let unread = |cause: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, cause);
    let taken = tokio::task::spawn_blocking({
        let shared = Arc::clone(&shared);
        move || look(&shared.traced.target, &shared.traced.options)
    });
    let snapshot = match taken.await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(failure)) => return Err(unread(failure.to_string().replace('\n', "; "))),
        Err(_) => return Err(unread("reading the process failed".to_owned())),
    };
    Ok(stream(SNAPSHOT_TYPE, move |chunks| {
        let _permit = permit;
        let traced = &shared.traced;
        let target = traced.target.info.clone();
        record::write_look_into(
            Sent(chunks),
            target,
            traced.clock,
            &snapshot,
            &traced.symbols,
        )
        .map(drop)
        .map_err(io::Error::other)
    }))
}

/// Reads all that a snapshot's file has.
fn look(target: &Target, options: &ReadOptions) -> Result<Snapshot, Failure> {
    let unreadable = |error| target.unreadable(&error);
    let mut process = target.process()?;
    let options = ReadOptions {
        channels: ChannelScope::Heap,
        ..options.clone()
    };
    let mut snapshot = process.snapshot(&options, &ktime_now).map_err(unreadable)?;
    open_files::name(target.pid, &mut snapshot.descriptors);
    let found = process.reachability(&snapshot, &ktime_now);
    snapshot.reachability = Some(found.map_err(unreadable)?);
    snapshot.corrupt = process.corruption(&snapshot).map_err(unreadable)?;
    Ok(snapshot)
}

/// Blocks go to who asked.
struct Sent<'a>(&'a mut Chunks);

impl Sink for Sent<'_> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn block(&mut self, bytes: &[u8], _: Ktime) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.0.written()
    }
}
