//! The findings of all processes of a node, as log records. Each process is a resource of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tracer_golang::process::ktime_now;

use super::attribute::{self, text};
use super::config::{Config, Signal};
use super::health::Health;
use super::logs;
use super::pending::Pending;
use super::sender::{Sender, Worker};
use crate::agent::names::{PodNames, WORKLOADS};
use crate::document::agent::Process;
use crate::document::findings::Entry;
use crate::document::{Target, WallClock};

/// Findings that wait to be taken over.
const QUEUE: usize = 256;
/// Findings that wait to be sent: each has its process with it.
const PENDING: usize = 1024;
/// A record, with what it is about.
type News = (Vec<KeyValue>, LogRecord);

/// Where findings are handed over. Any thread does.
pub(crate) struct NodeOutlet {
    /// Until the end.
    news: Mutex<Option<SyncSender<News>>>,
    health: Arc<Health>,
    clock: WallClock,
    /// Of the Kubernetes API, if there is one.
    node: Option<String>,
}

impl NodeOutlet {
    /// A finding in a process. Never waits.
    pub(crate) fn finding(&self, process: &Process, target: &Target, finding: &Entry) {
        let record = logs::finding(finding, self.clock.unix_nanos(ktime_now()));
        self.hand_over(process, target, record);
    }

    /// A finding that is over. Never waits.
    pub(crate) fn resolved(&self, process: &Process, target: &Target, id: &str) {
        let record = logs::resolved(id, self.clock.unix_nanos(ktime_now()));
        self.hand_over(process, target, record);
    }

    /// What became of them.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    fn hand_over(&self, process: &Process, target: &Target, record: LogRecord) {
        let about = about(process, target, self.node.as_deref());
        let news = self.news();
        let taken = news
            .as_ref()
            .is_some_and(|news| news.try_send((about, record)).is_ok());
        if !taken {
            self.health.dropped(Signal::Logs, 1);
        }
    }

    /// Locked for moments.
    fn news(&self) -> MutexGuard<'_, Option<SyncSender<News>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that sends.
pub(crate) struct NodeExporter {
    outlet: Arc<NodeOutlet>,
    worker: Worker,
}

impl NodeExporter {
    /// Starts the thread; `None` if no findings are to be sent.
    ///
    /// # Errors
    /// An endpoint or a header is none, or there is no thread to be had.
    pub(crate) fn start(
        config: Config,
        clock: WallClock,
        node: Option<String>,
    ) -> anyhow::Result<Option<NodeExporter>> {
        if !config.sends(Signal::Logs) {
            return Ok(None);
        }
        let (news, heard) = sync_channel(QUEUE);
        let health = Arc::new(Health::default());
        let sending = Sending {
            sender: Sender::new(&config, Arc::clone(&health))?,
            config,
            records: Pending::of_at_most(PENDING),
        };
        let worker = Worker::start(move || sending.run(&heard))?;
        let outlet = NodeOutlet {
            news: Mutex::new(Some(news)),
            health,
            clock,
            node,
        };
        Ok(Some(NodeExporter {
            outlet: Arc::new(outlet),
            worker,
        }))
    }

    /// Where findings are handed over.
    pub(crate) fn outlet(&self) -> Arc<NodeOutlet> {
        Arc::clone(&self.outlet)
    }

    /// Waits until what there is has been sent, for some seconds.
    pub(crate) fn finish(self) {
        self.outlet.news().take();
        self.worker.finish();
    }
}

/// The thread's state.
struct Sending {
    sender: Sender,
    config: Config,
    records: Pending<News>,
}

impl Sending {
    /// Runs until the outlet is closed.
    fn run(mut self, heard: &Receiver<News>) {
        let mut next = None;
        loop {
            // While nothing waits, it does not wake up.
            let wait = next.map_or(Duration::MAX, |next: Instant| {
                next.saturating_duration_since(Instant::now())
            });
            match heard.recv_timeout(wait) {
                Ok(news) => {
                    self.records.push(news, Signal::Logs, &self.sender.health);
                    next.get_or_insert_with(|| Instant::now() + self.config.batch_delay);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.send();
                    let waits = self.records.len() > 0;
                    next = waits.then(|| Instant::now() + self.config.batch_delay);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // One more time, whatever was tried before.
        self.records.hurry();
        self.send();
        let left = self.records.len() as u64;
        self.sender.health.dropped(Signal::Logs, left);
    }

    fn send(&mut self) {
        let config = &self.config;
        self.records.send(Signal::Logs, &self.sender, |news| {
            let of_one = news.chunk_by(|(about, _), (other, _)| about == other);
            logs::batch(of_one.map(|news| {
                let about = news.first().map(|(about, _)| about.clone());
                let records = news.iter().map(|(_, record)| record.clone());
                (
                    config.resource(about.unwrap_or_default()),
                    records.collect(),
                )
            }))
        });
    }
}

/// What a process is, by the semantic conventions.
fn about(process: &Process, target: &Target, node: Option<&str>) -> Vec<KeyValue> {
    let PodNames {
        namespace,
        pod,
        container,
        workload,
    } = &process.names;
    let (kind, name) = workload.split_once('/').unwrap_or_default();
    let service = match name.is_empty() {
        true => &process.process,
        false => name,
    };
    let uid = process.pod_uid.as_ref().map(ToString::to_string);
    let id = process.container_id.as_ref().map(ToString::to_string);
    let workload = WORKLOADS.iter().find(|(_, known)| *known == kind);
    let workload = workload.map(|(key, _)| (*key, Some(name)));
    let known = [
        ("service.name", Some(service)),
        ("service.namespace", Some(namespace.as_str())),
        ("k8s.namespace.name", Some(namespace)),
        ("k8s.pod.name", Some(pod)),
        ("k8s.pod.uid", uid.as_deref()),
        ("k8s.container.name", Some(container)),
        ("k8s.node.name", node),
        ("container.id", id.as_deref()),
    ];
    known
        .into_iter()
        .chain(workload)
        .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)))
        .map(|(key, value)| text(key, value))
        .chain(attribute::process(target))
        .collect()
}
