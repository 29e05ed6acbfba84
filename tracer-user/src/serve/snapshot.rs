//! A snapshot's file, as `gotrace snapshot` writes it.

use std::io::{self, Write as _};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::Semaphore;
use tracer_golang::process::{ChannelScope, ReadOptions, Symbols, ktime_now};
use tracer_model::ids::Ktime;
use tracer_model::snapshot::Snapshot;
use tracer_record::Sink;

use super::body::{Chunks, stream};
use super::problem::Problem;
use super::{PATIENCE, Shared, Traced, query};
use crate::document::WallClock;
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
    let Traced {
        target,
        options,
        symbols,
        clock,
        ..
    } = &shared.traced;
    let (target, options) = (target.clone(), options.clone());
    take(target, options, symbols.clone(), *clock, &shared.snapshots).await
}

/// Reads a process anew, when it is its turn, and sends what there is.
pub(super) async fn take(
    target: Target,
    options: ReadOptions,
    symbols: Symbols,
    clock: WallClock,
    turns: &Arc<Semaphore>,
) -> Result<Response, Problem> {
    let permit = Arc::clone(turns).acquire_owned();
    let permit = match tokio::time::timeout(PATIENCE, permit).await {
        Ok(Ok(permit)) => permit,
        _ => return Err(Problem::busy("another snapshot is being taken")),
    };
    let unread = |cause: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, cause);
    let info = target.info.clone();
    let taken = tokio::task::spawn_blocking(move || look(&target, &options));
    let snapshot = match taken.await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(failure)) => return Err(unread(failure.to_string().replace('\n', "; "))),
        Err(_) => return Err(unread("reading the process failed".to_owned())),
    };
    Ok(stream(SNAPSHOT_TYPE, move |chunks| {
        let _permit = permit;
        record::write_look_into(Sent(chunks), info, clock, &snapshot, &symbols)
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
