//! OpenTelemetry: metrics, findings as log records and tasks of goroutines as spans, sent as OTLP. Off unless
//! the standard variables give an endpoint; docs/opentelemetry.md.
//!
//! A thread of its own asks the pipeline for metrics and tasks, as a scrape does, and waits for the receiver.
//! The pipeline hands findings over without waiting: what finds no room is dropped, and counted.
//!
//! The messages are those of the official protobufs (`opentelemetry-proto`). The SDK is not used: its
//! instruments count for themselves and have no place for a histogram that was counted already, and its
//! queues do not tell what they drop.

mod attribute;
mod client;
mod config;
mod health;
mod logs;
mod metrics;
mod spans;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracer_golang::process::ktime_now;
use tracer_model::ids::Ktime;
use tracer_model::symbol::Symbolizer;
use tracer_model::world::{Task, TaskLimits};

use crate::document::WallClock;
use crate::document::findings::Entry;
use crate::document::run::Attached;
use crate::trace::measure::Measured;
use crate::trace::pipeline::Input;
use crate::trace::story::Output;
use client::{Batch, Client, SendError};
use spans::Names;

pub(crate) use config::{Config, Signal};
pub(crate) use health::Health;

/// How often tasks are taken from the pipeline.
const TAKE: Duration = Duration::from_millis(100);
/// Findings that wait to be taken from the pipeline.
const QUEUE: usize = 256;
/// Records or spans that wait to be sent; beyond it the oldest are dropped.
const PENDING: usize = 8192;
/// Of these, at most so many in one message.
const BATCH: usize = 512;
/// How long the pipeline may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest time between two attempts to send what was not received.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of a trace may be held up by what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much is kept of single ways: docs/opentelemetry.md.
const fn limits(ratio: f64) -> TaskLimits {
    TaskLimits {
        ratio,
        traces_per_second: 100,
        open: 4096,
        ended: 2048,
        links: 32,
    }
}

/// What the pipeline hands over.
enum News {
    Finding(Box<Entry>),
    Resolved(String),
    /// The end: how everything is then, with the last tasks.
    Last(Box<(Measured, Vec<Task>, u64)>),
}

/// The pipeline's end of the way.
#[derive(Clone)]
pub(crate) struct Outlet {
    news: SyncSender<News>,
    health: Arc<Health>,
    logs: bool,
    limits: Option<TaskLimits>,
}

impl Outlet {
    /// Hears what is said. Never waits.
    pub(crate) fn hear(&self, output: &Output) {
        let news = match output {
            Output::Finding(entry) if self.logs => News::Finding(entry.clone()),
            Output::Resolved(id) if self.logs => News::Resolved(id.clone()),
            _ => return,
        };
        if self.news.try_send(news).is_err() {
            self.health.dropped(Signal::Logs, 1);
        }
    }

    /// Takes how everything is at the end. Never waits.
    pub(crate) fn last(&self, measured: Measured, (tasks, left_out): (Vec<Task>, u64)) {
        let count = tasks.len() as u64;
        let last = News::Last(Box::new((measured, tasks, left_out)));
        if self.news.try_send(last).is_err() {
            self.health.dropped(Signal::Traces, count);
        }
    }

    /// What of single ways is to be followed, if any.
    pub(crate) const fn limits(&self) -> Option<TaskLimits> {
        self.limits
    }
}

/// The thread that sends.
pub(crate) struct Exporter {
    outlet: Outlet,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

/// What it needs to know of the trace.
pub(crate) struct Trace {
    pub(crate) attached: Attached,
    pub(crate) symbols: Arc<dyn Symbolizer + Send + Sync>,
    pub(crate) clock: WallClock,
    pub(crate) pipeline: Sender<Input>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// An endpoint or a header is none, or there is no thread to be had.
    pub(crate) fn start(config: &Config, trace: Trace) -> anyhow::Result<Exporter> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let clients = {
            let _inside = runtime.enter();
            let mut clients = [None, None, None];
            for (client, to) in clients.iter_mut().zip(&config.destinations) {
                *client = to.as_ref().map(Client::new).transpose()?;
            }
            clients
        };
        let (news, heard) = sync_channel(QUEUE);
        let health = Arc::new(Health::default());
        let outlet = Outlet {
            news,
            health: Arc::clone(&health),
            logs: config.sends(Signal::Logs),
            limits: config.sends(Signal::Traces).then(|| limits(config.ratio)),
        };
        let now = Instant::now();
        let sending = Sending {
            resource: resource(config, &trace.attached),
            began: ktime_now(),
            trace,
            runtime,
            clients,
            health,
            names: Names::new(),
            logs: Pending::new(),
            spans: Pending::new(),
            metric_interval: config.metric_interval,
            batch_delay: config.batch_delay,
            next_metrics: now + config.metric_interval.min(config.batch_delay),
            next_batch: now + config.batch_delay,
            follows: config.sends(Signal::Traces),
        };
        let (say_end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("gotrace-otel".to_owned())
            .spawn(move || {
                sending.run(&heard);
                // Nobody may wait any more.
                let _ = say_end.send(());
            })?;
        Ok(Exporter {
            outlet,
            thread,
            ended,
        })
    }

    /// The pipeline's end.
    pub(crate) fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }

    /// For the metrics.
    pub(crate) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.outlet.health)
    }

    /// Waits until what there is has been sent, for some seconds. The pipeline has ended.
    pub(crate) fn finish(self) {
        drop(self.outlet);
        match self.ended.recv_timeout(FAREWELL) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                if self.thread.join().is_err() {
                    tracing::error!("the thread that sends OpenTelemetry failed");
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(
                    "not everything was sent as OpenTelemetry: the receiver is too slow"
                );
            }
        }
    }
}

/// What the telemetry is about.
fn resource(config: &Config, attached: &Attached) -> Resource {
    let target = &attached.target;
    let file = target.exe.file_name().unwrap_or_default().to_string_lossy();
    let service = config
        .service_name
        .clone()
        .unwrap_or_else(|| file.clone().into_owned());
    let mut attributes = vec![
        attribute::text("service.name", service),
        attribute::count("process.pid", target.pid.into()),
        attribute::text("process.executable.name", file),
        attribute::text("process.executable.path", target.exe.to_string_lossy()),
        attribute::text("process.runtime.name", "go"),
        attribute::text("process.runtime.version", target.go_version.clone()),
        attribute::text("host.arch", target.arch.clone()),
        attribute::text("telemetry.distro.name", "gotrace"),
        attribute::text("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
    ];
    for (key, value) in &config.resource {
        // Whoever says it knows better.
        attributes.retain(|attribute: &KeyValue| attribute.key != *key);
        attributes.push(attribute::text(key, value.clone()));
    }
    Resource {
        attributes,
        ..Resource::default()
    }
}

/// What waits to be sent, and since when it could not be.
struct Pending<T> {
    items: VecDeque<T>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl<T: Clone> Pending<T> {
    const fn new() -> Pending<T> {
        Pending {
            items: VecDeque::new(),
            pause: Duration::from_millis(500),
            not_before: None,
        }
    }

    fn push(&mut self, item: T, signal: Signal, health: &Health) {
        if self.items.len() == PENDING {
            self.items.pop_front();
            health.dropped(signal, 1);
        }
        self.items.push_back(item);
    }

    /// The oldest, if it is time to send.
    fn batch(&self) -> Option<Vec<T>> {
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        let batch = || self.items.iter().take(BATCH).cloned().collect();
        (!waits && !self.items.is_empty()).then(batch)
    }

    /// These were sent, or never will be.
    fn done(&mut self, count: usize) {
        self.items.drain(..count);
        *self = Pending {
            items: std::mem::take(&mut self.items),
            ..Pending::new()
        };
    }

    /// It is to be tried again later.
    fn retry(&mut self) {
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

/// The thread's state.
struct Sending {
    trace: Trace,
    resource: Resource,
    began: Ktime,
    runtime: Runtime,
    /// By [`Signal`].
    clients: [Option<Client>; Signal::ALL.len()],
    health: Arc<Health>,
    names: Names,
    logs: Pending<LogRecord>,
    spans: Pending<Span>,
    metric_interval: Duration,
    batch_delay: Duration,
    next_metrics: Instant,
    next_batch: Instant,
    /// Whether tasks are followed.
    follows: bool,
}

impl Sending {
    /// Runs until the pipeline and whoever started this are gone.
    fn run(mut self, heard: &Receiver<News>) {
        loop {
            match heard.recv_timeout(TAKE) {
                Ok(News::Last(last)) => {
                    let (measured, tasks, left_out) = *last;
                    self.take(&tasks, left_out);
                    self.send_metrics(&measured);
                }
                Ok(news) => self.hear(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // The pipeline may have ended: then there is nothing to ask for.
            if self.follows
                && let Some((tasks, left_out)) = self.ask(Input::Tasks)
            {
                self.take(&tasks, left_out);
            }
            let now = Instant::now();
            if now >= self.next_metrics {
                self.next_metrics = now + self.metric_interval;
                if self.clients[Signal::Metrics as usize].is_some()
                    && let Some(measured) = self.ask(Input::Measure)
                {
                    self.send_metrics(&measured);
                }
            }
            if now >= self.next_batch || self.spans.items.len() >= BATCH {
                self.next_batch = now + self.batch_delay;
                self.send_pending();
            }
        }
        // One more time, whatever was tried before.
        self.logs.not_before = None;
        self.spans.not_before = None;
        self.send_pending();
        let left = [
            (Signal::Logs, self.logs.items.len()),
            (Signal::Traces, self.spans.items.len()),
        ];
        for (signal, count) in left {
            self.health.dropped(signal, count as u64);
        }
    }

    /// Asks the pipeline; nothing if it has ended or is too busy.
    fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.trace.pipeline.send(question(sender)).ok()?;
        let patience = async { tokio::time::timeout(PATIENCE, receiver).await };
        self.runtime.block_on(patience).ok()?.ok()
    }

    fn hear(&mut self, news: News) {
        let now = self.trace.clock.unix_nanos(ktime_now());
        let record = match news {
            News::Finding(entry) => logs::finding(&entry, now),
            News::Resolved(id) => logs::resolved(&id, now),
            News::Last(_) => return,
        };
        self.logs.push(record, Signal::Logs, &self.health);
    }

    fn take(&mut self, tasks: &[Task], left_out: u64) {
        self.health.dropped(Signal::Traces, left_out);
        let (symbols, clock) = (&*self.trace.symbols, self.trace.clock);
        for task in tasks {
            let span = spans::span(task, self.names, symbols, clock);
            self.spans.push(span, Signal::Traces, &self.health);
        }
    }

    fn send_metrics(&mut self, measured: &Measured) {
        let Trace {
            attached,
            symbols,
            clock,
            ..
        } = &self.trace;
        let families =
            crate::metrics::families(measured, attached, &**symbols, *clock, Some(&self.health));
        let at = metrics::Period {
            start: clock.unix_nanos(self.began),
            now: clock.unix_nanos(measured.at),
        };
        let list: Vec<_> = families
            .iter()
            .map(|family| metrics::metric(family, at))
            .collect();
        let points: usize = families
            .iter()
            .map(|family| family.get_metric().len())
            .sum();
        let batch = Batch::Metrics(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(attribute::scope()),
                    metrics: list,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        });
        // Counts go on: the next export says what this one did not.
        let _ = self.send(Signal::Metrics, points, batch);
    }

    fn send_pending(&mut self) {
        while let Some(records) = self.logs.batch() {
            let count = records.len();
            let batch = Batch::Logs(ExportLogsServiceRequest {
                resource_logs: vec![ResourceLogs {
                    resource: Some(self.resource.clone()),
                    scope_logs: vec![ScopeLogs {
                        scope: Some(attribute::scope()),
                        log_records: records,
                        ..ScopeLogs::default()
                    }],
                    ..ResourceLogs::default()
                }],
            });
            match self.send(Signal::Logs, count, batch) {
                Sent::Done => self.logs.done(count),
                Sent::Later => self.logs.retry(),
            }
        }
        while let Some(spans) = self.spans.batch() {
            let count = spans.len();
            let batch = Batch::Traces(ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans {
                    resource: Some(self.resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(attribute::scope()),
                        spans,
                        ..ScopeSpans::default()
                    }],
                    ..ResourceSpans::default()
                }],
            });
            match self.send(Signal::Traces, count, batch) {
                Sent::Done => self.spans.done(count),
                Sent::Later => self.spans.retry(),
            }
        }
    }

    /// Sends a batch of so many and counts what became of it.
    fn send(&self, signal: Signal, count: usize, batch: Batch) -> Sent {
        let Some(client) = &self.clients[signal as usize] else {
            return Sent::Done;
        };
        let count = count as u64;
        match self.runtime.block_on(client.send(batch)) {
            Ok(received) => {
                let rejected = received.rejected.min(count);
                self.health.exported(signal, count - rejected);
                self.health.dropped(signal, rejected);
                if !received.message.is_empty() {
                    let (name, said) = (signal.name(), &received.message);
                    tracing::warn!("the receiver of {name} says: {said}");
                }
                Sent::Done
            }
            Err(error) => {
                self.health.failed(signal);
                tracing::warn!("{} were not received: {error}", signal.name());
                match error {
                    SendError::Later(_) => Sent::Later,
                    SendError::Never(_) => {
                        self.health.dropped(signal, count);
                        Sent::Done
                    }
                }
            }
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It is there, or never will be.
    Done,
    /// It may be there later.
    Later,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_goes_oldest_first_and_is_counted() {
        let health = Health::default();
        let mut pending = Pending::new();
        for number in 0..PENDING + 5 {
            pending.push(number, Signal::Logs, &health);
        }
        assert_eq!(pending.items.len(), PENDING);
        assert_eq!(pending.batch().map(|batch| batch[0]), Some(5));
        assert_eq!(health.counts(Signal::Logs), [0, 5, 0]);
    }

    #[test]
    fn what_was_not_received_is_tried_again_later_and_less_and_less_often() {
        let health = Health::default();
        let mut pending = Pending::new();
        pending.push(1, Signal::Traces, &health);
        assert_eq!(pending.batch(), Some(vec![1]));
        let first = pending.pause;
        pending.retry();
        assert_eq!(pending.batch(), None, "not at once");
        assert_eq!(pending.pause, 2 * first);
        for _ in 0..20 {
            pending.retry();
        }
        assert_eq!(pending.pause, LONGEST_PAUSE);
        pending.done(1);
        pending.push(2, Signal::Traces, &health);
        assert_eq!((pending.batch(), pending.pause), (Some(vec![2]), first));
    }
}
