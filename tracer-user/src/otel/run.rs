//! The telemetry of one trace: a thread asks the pipeline for metrics and tasks, as a scrape does, and waits for the
//! receiver. The pipeline hands findings over without waiting: what finds no room is dropped, and counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Handle, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::sync::oneshot;
use tracer_golang::process::ktime_now;
use tracer_model::ids::Ktime;
use tracer_model::symbol::Symbolizer;
use tracer_model::world::{Task, TaskLimits};

use super::client::Batch;
use super::config::{Config, Signal};
use super::health::Health;
use super::pending::{BATCH, Pending};
use super::sender::{Sender, Worker};
use super::spans::{self, Names};
use super::{attribute, logs, metrics};
use crate::document::WallClock;
use crate::document::findings::Entry;
use crate::document::run::Attached;
use crate::target::file_name;
use crate::trace::measure::Measured;
use crate::trace::pipeline::Input;
use crate::trace::story::Output;

/// How often tasks are taken from the pipeline.
const TAKE: Duration = Duration::from_millis(100);
/// Findings that wait to be taken from the pipeline.
const QUEUE: usize = 256;
/// Records, and spans, that wait to be sent.
const PENDING: usize = 8192;
/// How long the pipeline may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
    worker: Worker,
}

/// What it needs to know of the trace.
pub(crate) struct Trace {
    pub(crate) attached: Attached,
    pub(crate) symbols: Arc<dyn Symbolizer + Send + Sync>,
    pub(crate) clock: WallClock,
    pub(crate) pipeline: Handle<Input>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// An endpoint or a header is none, or there is no thread to be had.
    pub(crate) fn start(config: &Config, trace: Trace) -> anyhow::Result<Exporter> {
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
            sender: Sender::new(config, health)?,
            names: Names::new(),
            logs: Pending::of_at_most(PENDING),
            spans: Pending::of_at_most(PENDING),
            metric_interval: config.metric_interval,
            batch_delay: config.batch_delay,
            next_metrics: now + config.metric_interval.min(config.batch_delay),
            next_batch: now + config.batch_delay,
            follows: config.sends(Signal::Traces),
        };
        let worker = Worker::start(move || sending.run(&heard))?;
        Ok(Exporter { outlet, worker })
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
        self.worker.finish();
    }
}

/// What the telemetry is about.
fn resource(config: &Config, attached: &Attached) -> Resource {
    let target = &attached.target;
    let service = config.service_name.clone();
    let service = service.unwrap_or_else(|| file_name(&target.exe));
    let own = [attribute::text("service.name", service)];
    let own = own.into_iter().chain(attribute::process(target));
    config.resource(own.collect())
}

/// The thread's state.
struct Sending {
    trace: Trace,
    resource: Resource,
    began: Ktime,
    sender: Sender,
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
                if self.sender.sends(Signal::Metrics)
                    && let Some(measured) = self.ask(Input::Measure)
                {
                    self.send_metrics(&measured);
                }
            }
            if now >= self.next_batch || self.spans.len() >= BATCH {
                self.next_batch = now + self.batch_delay;
                self.send_pending();
            }
        }
        // One more time, whatever was tried before.
        self.logs.hurry();
        self.spans.hurry();
        self.send_pending();
        let left = [
            (Signal::Logs, self.logs.len()),
            (Signal::Traces, self.spans.len()),
        ];
        for (signal, count) in left {
            self.sender.health.dropped(signal, count as u64);
        }
    }

    /// Asks the pipeline; nothing if it has ended or is too busy.
    fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.trace.pipeline.send(question(sender)).ok()?;
        self.sender.wait(PATIENCE, receiver)?.ok()
    }

    fn hear(&mut self, news: News) {
        let now = self.trace.clock.unix_nanos(ktime_now());
        let record = match news {
            News::Finding(entry) => logs::finding(&entry, now),
            News::Resolved(id) => logs::resolved(&id, now),
            News::Last(_) => return,
        };
        self.logs.push(record, Signal::Logs, &self.sender.health);
    }

    fn take(&mut self, tasks: &[Task], left_out: u64) {
        self.sender.health.dropped(Signal::Traces, left_out);
        let (symbols, clock) = (&*self.trace.symbols, self.trace.clock);
        for task in tasks {
            let span = spans::span(task, self.names, symbols, clock);
            self.spans.push(span, Signal::Traces, &self.sender.health);
        }
    }

    fn send_metrics(&mut self, measured: &Measured) {
        let Trace {
            attached,
            symbols,
            clock,
            ..
        } = &self.trace;
        let families = crate::metrics::families(
            measured,
            attached,
            &**symbols,
            *clock,
            Some(&self.sender.health),
        );
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
        let _ = self.sender.send(Signal::Metrics, points, batch);
    }

    fn send_pending(&mut self) {
        let resource = &self.resource;
        self.logs.send(Signal::Logs, &self.sender, |records| {
            logs::batch([(resource.clone(), records)])
        });
        self.spans.send(Signal::Traces, &self.sender, |spans| {
            Batch::Traces(ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans {
                    resource: Some(resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(attribute::scope()),
                        spans,
                        ..ScopeSpans::default()
                    }],
                    ..ResourceSpans::default()
                }],
            })
        });
    }
}
