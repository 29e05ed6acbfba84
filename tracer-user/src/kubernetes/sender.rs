//! Sends findings as events, beside the watch: nobody waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep_until, timeout};

use super::Shared;
use super::backoff::Backoff;
use super::client::{Client, Error, Question};
use super::event::{Outcome, Queue, Report, Request};
use super::object::EventObject;

/// How long the end may be held up by what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Sender {
    client: Client,
    queue: Queue,
    backoff: Backoff,
    not_before: Instant,
    /// Whether the last one was refused: that is said once.
    refused: bool,
    shared: Arc<Shared>,
}

impl Sender {
    pub(super) fn new(client: Client, node: &str, pause: Duration, shared: Arc<Shared>) -> Sender {
        let now = Instant::now();
        Sender {
            client,
            queue: Queue::new(node, now),
            backoff: Backoff::new(pause),
            not_before: now,
            refused: false,
            shared,
        }
    }

    /// Sends until nobody is left who finds anything.
    pub(super) async fn run(mut self, mut reports: Receiver<Report>) {
        loop {
            let ready = self.queue.ready(Instant::now());
            let ready = ready.map(|at| at.max(self.not_before));
            let time = async {
                match ready {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = reports.recv() => match report {
                    Some(report) => self.take(report),
                    None => break,
                },
                () = time => self.send().await,
            }
        }
        let rest = async {
            while self
                .queue
                .ready(Instant::now())
                .is_some_and(|at| at <= Instant::now())
            {
                let before = self.queue.waiting();
                self.send().await;
                if self.queue.waiting() >= before {
                    break;
                }
            }
        };
        // What is left is counted, however that ends.
        let _ = timeout(FAREWELL, rest).await;
        self.shared.events.dropped(self.queue.waiting() as u64);
    }

    fn take(&mut self, report: Report) {
        if !self.queue.push(report, Instant::now(), Timestamp::now()) {
            self.shared.events.dropped(1);
        }
    }

    async fn send(&mut self) {
        let Some(request) = self.queue.next(Instant::now()) else {
            return;
        };
        let said = self.ask(&request).await;
        let outcome = match &said {
            Ok(count) => Outcome::Sent { count: *count },
            Err(error) => match error.code() {
                Some(409) if request.create => Outcome::Exists,
                Some(404) if !request.create => Outcome::Missing,
                // Too many, or not able to: not what was asked is wrong.
                None | Some(401 | 408 | 409 | 429 | 500..=599) => Outcome::Later,
                Some(_) => Outcome::Refused,
            },
        };
        match (&said, outcome) {
            (Ok(_), _) => {
                self.shared.events.sent();
                self.backoff.reset();
                self.refused = false;
            }
            (Err(error), Outcome::Later) => {
                tracing::debug!("an event waits: {error}");
                self.not_before = Instant::now() + self.backoff.pause(error.retry_after());
            }
            (Err(error), Outcome::Refused) => {
                self.shared.events.dropped(1);
                if !self.refused {
                    let next = match error.code() {
                        Some(403) => {
                            "; the service account needs `create` and `patch` of `events` in all namespaces"
                        }
                        _ => "",
                    };
                    tracing::warn!("the Kubernetes API takes no event: {error}{next}");
                }
                self.refused = true;
            }
            (Err(_), _) => {}
        }
        self.queue.done(&request.key, outcome, Instant::now());
    }

    async fn ask(&self, request: &Request) -> Result<Option<u32>, Error> {
        let question = match request.create {
            true => Question::create(&request.path, &request.body),
            false => Question::patch(&request.path, &request.body),
        };
        let answer = self.client.ask(question).await?;
        // It is done, whatever is said of it.
        let event = answer.object::<EventObject>().await;
        Ok(event.ok().and_then(|event| event.count))
    }
}
