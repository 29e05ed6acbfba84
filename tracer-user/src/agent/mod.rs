//! `gotrace agent`: finds all Go processes of a node and follows them until it is told to end.
//!
//! - [`discover`] hears from the kernel which processes begin to run a program and which end, and walks through
//!   /proc at the beginning and after a loss;
//! - [`binaries`] knows programs: each is read once, however many processes run it;
//! - [`pool`] has a few threads that look at new processes and read those that are followed, each in its turn,
//!   within one budget of CPU time for all;
//! - [`follow`] is one process: what memory said, what was found;
//! - [`levels`] says which processes are traced with probes, [`tracer`] does so, all with one loaded BPF object, and
//!   [`share`] keeps to the node's budget;
//! - [`container`] and [`names`] say where it runs and what that is called;
//! - [`cluster`] knows what the Kubernetes API says of that, if there is one.
//!
//! What is kept of a process goes when it ends: there is no thread, descriptor or map of its own.

pub(crate) mod binaries;
mod budget;
pub(crate) mod cluster;
pub(crate) mod container;
mod discover;
pub(crate) mod follow;
pub(crate) mod health;
mod levels;
pub(crate) mod names;
mod pool;
mod select;
mod share;
pub(crate) mod told;
pub(crate) mod tracer;
mod voice;

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tracer_golang::process::ReadOptions;

use crate::document::WallClock;
use crate::document::agent::{Line, Started};
use crate::failure::Failure;
use crate::otel::NodeOutlet;
use crate::trace::kernel::watch::Watch;

pub(crate) use discover::Discovery;
pub(crate) use levels::{Levels, Rule};
pub(crate) use pool::Pool;
pub(crate) use select::Selection;

use cluster::Cluster;
use names::Names;
use tracer::{Budgets, Tracer};
use voice::Voice;

/// Threads that look at processes and read them: while one reads a large one, the others are not kept waiting.
const WORKERS: usize = 2;

/// How the agent works.
pub(crate) struct Settings {
    pub(crate) discovery: Discovery,
    /// Between two reads of a process.
    pub(crate) interval: Duration,
    /// For how long something must grow until it is said, in nanoseconds.
    pub(crate) trend_window: u64,
    /// The share of one CPU that reads may take.
    pub(crate) cpu_share: f64,
    /// How memory is read.
    pub(crate) options: ReadOptions,
    pub(crate) selection: Selection,
    /// Which processes are traced with probes.
    pub(crate) levels: Levels,
    /// The share of its CPU time that the probes in a process may take, and the share of the node's for all.
    pub(crate) budget: f64,
    pub(crate) node_budget: f64,
    pub(crate) names: Names,
    /// If the node is one of a cluster.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// If findings are to be sent as OpenTelemetry.
    pub(crate) otel: Option<Arc<NodeOutlet>>,
    pub(crate) clock: WallClock,
}

/// What was opened with all rights, before the agent gives up those that it goes on without.
pub(crate) struct Opened {
    watch: Option<Watch>,
}

impl Opened {
    /// Opens it. No thread is started.
    ///
    /// # Errors
    /// The kernel does not let it watch processes.
    pub(crate) fn open(discovery: Discovery) -> Result<Opened, Failure> {
        let watch = match discovery {
            Discovery::Kernel => Some(Watch::load().map_err(|error| {
                failed(&error).next(
                    "give CAP_BPF and CAP_PERFMON, or --scan 10s, which lists all processes so often",
                )
            })?),
            Discovery::Scan(_) => None,
        };
        Ok(Opened { watch })
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("cannot start the agent").because(error)
}

/// The running agent.
pub(crate) struct Agent {
    pool: Arc<Pool>,
    voice: Arc<Voice>,
    /// Closed to end the thread that discovers.
    stop: OwnedFd,
    threads: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
}

impl Agent {
    /// Starts its threads.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(
        settings: Settings,
        opened: Opened,
        started: &Started,
    ) -> Result<Agent, Failure> {
        let Opened { watch } = opened;
        let discovery = settings.discovery;
        let (voice, writer) = Voice::start(settings.clock).map_err(|error| failed(&error))?;
        voice.say(Line::Started(started));
        let budgets = Budgets {
            process: settings.budget,
            node: settings.node_budget,
        };
        let (orders, ordered) = mpsc::channel();
        let pool = Arc::new(Pool::new(settings, Arc::clone(&voice), orders));
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(&error))?;
        let mut threads = Vec::new();
        let discover = {
            let pool = Arc::clone(&pool);
            move || discover::discover(watch, discovery, &pool, &stopped)
        };
        threads.push(spawn("gotrace-watch", discover).map_err(|error| failed(&error))?);
        let tracer = Tracer::new(budgets, ordered, Arc::clone(&pool), Arc::clone(&voice));
        threads.push(spawn("gotrace-events", || tracer.run()).map_err(|error| failed(&error))?);
        for _ in 0..WORKERS {
            let pool = Arc::clone(&pool);
            let work = move || pool.work();
            threads.push(spawn("gotrace-memory", work).map_err(|error| failed(&error))?);
        }
        Ok(Agent {
            pool,
            voice,
            stop,
            threads,
            writer,
        })
    }

    /// What is followed.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }

    /// Ends the threads and writes what was said.
    pub(crate) fn finish(self) {
        drop(self.stop);
        self.pool.end();
        let ended: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        self.voice.end();
        let written = self.writer.join();
        for result in ended.into_iter().chain([written]) {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
