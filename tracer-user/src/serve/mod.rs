//! The HTTP server: the page, `/metrics`, `/healthz` and the JSON API. It answers from the pipeline's view of
//! the moment, on a thread of its own, so that a caller delays neither the trace nor its display.

mod access;
mod agent;
mod api;
mod body;
mod connection;
mod door;
mod endpoint;
mod history;
mod metrics;
mod openapi;
mod page;
mod problem;
mod query;
mod snapshot;
mod stream;
mod token;
mod trigger;
mod why;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Router, middleware};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracer_golang::process::{ReadOptions, Symbols};

use crate::agent::Pool;
use crate::document::WallClock;
use crate::document::run::Attached;
use crate::otel::Health;
use crate::target::Target;
use crate::trace::feed::Feed;
use crate::trace::pipeline::Input;
use crate::trace::story::View;

pub(crate) use door::Door;
pub(crate) use token::Token;

use history::History;
use problem::Problem;

/// How long the pipeline may take to answer: it can be busy with a snapshot of a large target.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lists at a time, and other answers that are made from a view of everything: each holds one in memory.
const MOST_VIEWS: usize = 2;
/// Threads for answers that are made while they are sent.
const MOST_MAKERS: usize = 8;

/// What is served.
pub(crate) struct Traced {
    pub(crate) target: Target,
    /// How memory is read.
    pub(crate) options: ReadOptions,
    pub(crate) attached: Attached,
    pub(crate) inputs: Sender<Input>,
    pub(crate) symbols: Symbols,
    pub(crate) clock: WallClock,
    pub(crate) feed: Feed,
}

/// What the handlers share.
struct Shared {
    traced: Traced,
    /// How the export of OpenTelemetry goes, if there is one.
    otel: Option<Arc<Health>>,
    has_token: bool,
    /// Whether this machine alone can reach the server.
    is_local: bool,
    /// Lists, which are held while they are taken.
    lists: Arc<Semaphore>,
    /// What is answered at once.
    glances: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    history: Arc<History>,
}

/// The running server; it ends when this is dropped.
pub(crate) struct Server {
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    /// Ends the server; connections that are open are closed after a moment.
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Starts to serve.
///
/// # Errors
/// The listener or a thread cannot be used.
pub(crate) fn start(
    door: Door,
    traced: Traced,
    otel: Option<Arc<Health>>,
) -> std::io::Result<Server> {
    let is_local = door.is_local()?;
    let has_token = door.access.token.is_some();
    let runtime = runtime()?;
    let history = Arc::new(History::default());
    runtime.spawn(history::keep(Arc::clone(&history), traced.feed.outputs()));
    let shared = Arc::new(Shared {
        traced,
        otel,
        has_token,
        is_local,
        lists: Arc::new(Semaphore::new(MOST_VIEWS)),
        glances: Arc::new(Semaphore::new(MOST_VIEWS)),
        snapshots: Arc::new(Semaphore::new(1)),
        listeners: Arc::new(Semaphore::new(stream::MOST_LISTENERS)),
        history,
    });
    listen(door, runtime, endpoint::router(shared))
}

/// Serves what `gotrace agent` follows.
///
/// # Errors
/// The listener or a thread cannot be used.
pub(crate) fn start_agent(door: Door, pool: Arc<Pool>) -> std::io::Result<Server> {
    let router = agent::router(pool, door.access.token.is_some());
    listen(door, runtime()?, router)
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MOST_MAKERS)
        .build()
}

/// Lets in who may come in, on a thread of its own.
fn listen(door: Door, runtime: Runtime, router: Router) -> std::io::Result<Server> {
    let Door {
        listener,
        tls,
        access,
    } = door;
    listener.set_nonblocking(true)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let check = middleware::from_fn_with_state(Arc::new(access), access::check);
    let router = router.layer(check);
    let (end, ended) = watch::channel(false);
    let thread = std::thread::Builder::new()
        .name("gotrace-http".to_owned())
        .spawn(move || {
            runtime.block_on(connection::serve(listener, tls, router, ended));
            // Whoever makes an answer that nobody takes any more notices that before long.
            runtime.shutdown_background();
        })?;
    Ok(Server {
        end,
        thread: Some(thread),
    })
}

impl Shared {
    /// A view, with channels if they are wanted, and the right to hold one.
    async fn view(
        &self,
        seats: &Arc<Semaphore>,
        channels: bool,
    ) -> Result<(View, OwnedSemaphorePermit), Problem> {
        let seat = Arc::clone(seats).acquire_owned();
        let seat = match tokio::time::timeout(PATIENCE, seat).await {
            Ok(Ok(seat)) => seat,
            _ => return Err(Problem::busy("others ask for the same")),
        };
        let view = self.ask(|reply| Input::View { channels, reply }).await?;
        Ok((view, seat))
    }

    /// Asks the pipeline.
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Input,
    ) -> Result<T, Problem> {
        let (sender, receiver) = oneshot::channel();
        self.traced
            .inputs
            .send(question(sender))
            .map_err(|_| Problem::unavailable())?;
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Problem::unavailable()),
        }
    }
}
