//! Kubernetes, as an agent on a node needs it: what the pods of the node are called, which of them are to be traced,
//! and findings as events of their pods. docs/kubernetes.md. And as somebody needs it who asks the agents: [`fleet`].
//!
//! A thread of its own follows the API and sends to it; whoever asks is answered from memory. What is known can be
//! old: [`Health`] says whether the API is followed, since when, and why not.
//!
//! The API is spoken to by a client of our own, a narrow one, with what serves and sends already (hyper, rustls): three
//! requests for two kinds of objects. The `kube` crate does much more, and would bring sixty more crates.

mod backoff;
mod cache;
mod client;
mod config;
mod event;
mod fleet;
mod health;
mod object;
mod pod;
mod rights;
mod selection;
mod selector;
mod sender;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracer_model::detect::Verdict;

use crate::document::findings::Entry;
use cache::Cache;
use client::Client;
use event::Report;
use watch::Watcher;

pub(crate) use config::Config;
pub(crate) use fleet::{Fleet, Round, Taken};
pub(crate) use health::Health;
pub(crate) use pod::Pod;
pub(crate) use rights::{Review, Rights};
pub(crate) use selection::{Choice, Decision, Place, Selection};
pub(crate) use selector::LabelSelector;

/// Findings that wait to be taken.
const REPORTS: usize = 256;
/// How long the end may be held up.
const FAREWELL: Duration = Duration::from_secs(5);

/// A cluster, seen from one of its nodes.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    shared: Arc<Shared>,
    least: Option<Verdict>,
    /// `None` once it is over.
    reports: Mutex<Option<Sender<Report>>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// What the thread and those who ask share.
#[derive(Debug)]
struct Shared {
    cache: Mutex<Cache>,
    connection: Mutex<health::Connection>,
    events: health::Events,
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        locked(&self.cache)
    }

    fn connection(&self) -> MutexGuard<'_, health::Connection> {
        locked(&self.connection)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody leaves it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kubernetes {
    /// Starts to follow the API, without waiting for it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(config: &Config) -> std::io::Result<Arc<Kubernetes>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            cache: Mutex::default(),
            connection: Mutex::new(health::Connection::new()),
            events: health::Events::default(),
        });
        let client = Client::new(config.api.clone());
        let (node, pause) = (&config.node, config.pause);
        let watcher = Watcher::new(client.clone(), node, pause, Arc::clone(&shared));
        let sender = sender::Sender::new(client, node, pause, Arc::clone(&shared));
        let (reports, heard) = channel(REPORTS);
        let (say_end, ended) = mpsc::channel();
        thread::Builder::new()
            .name("gotrace-kube".to_owned())
            .spawn(move || {
                runtime.block_on(follow(watcher, sender, heard));
                // Nobody may wait any more.
                let _ = say_end.send(());
            })?;
        Ok(Arc::new(Kubernetes {
            shared,
            least: config.events,
            reports: Mutex::new(Some(reports)),
            ended: Mutex::new(ended),
        }))
    }

    /// A pod of this node by its uid, that of the API or that of its control group; also one that was deleted a few
    /// minutes ago. Never waits for the API.
    pub(crate) fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.shared.cache().get(uid, Instant::now())
    }

    /// Makes a finding in a process of a pod an event, if it is sure enough. Never waits: what finds no room is dropped,
    /// and counted.
    pub(crate) fn report(&self, pod: Arc<Pod>, container: Option<&str>, pid: u32, entry: &Entry) {
        if self.least.is_none_or(|least| entry.verdict < least) {
            return;
        }
        let report = Report::new(pod, container, pid, entry);
        let taken = locked(&self.reports)
            .as_ref()
            .is_some_and(|reports| reports.try_send(report).is_ok());
        if !taken {
            self.shared.events.dropped(1);
        }
    }

    /// How it stands.
    pub(crate) fn health(&self) -> Health {
        let (events_sent, events_dropped) = self.shared.events.counts();
        let (pods, left_out) = {
            let cache = self.shared.cache();
            (cache.len(), cache.left_out())
        };
        let connection = self.shared.connection();
        Health {
            connected: connection.connected,
            since: connection.since,
            last_error: connection.last_error.clone(),
            pods,
            left_out,
            events_sent,
            events_dropped,
        }
    }

    /// Ends: sends what waits and may be sent, for some seconds.
    pub(crate) fn finish(&self) {
        if locked(&self.reports).take().is_none() {
            return;
        }
        let ended = locked(&self.ended).recv_timeout(FAREWELL);
        if ended == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("not every finding became an event: the Kubernetes API is too slow");
        }
    }
}

/// Follows the API until nobody reports any more.
async fn follow(watcher: Watcher, sender: sender::Sender, reports: Receiver<Report>) {
    tokio::select! {
        never = watcher.run() => match never {},
        () = sender.run(reports) => {}
    }
}
