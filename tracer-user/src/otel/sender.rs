//! The thread that sends: connections, and what became of what went over them.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::client::{Batch, Client, SendError};
use super::config::{Config, Signal};
use super::health::Health;

/// How long the end may be held up by what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// The connections, with the runtime that they need.
pub(super) struct Sender {
    runtime: Runtime,
    /// By [`Signal`].
    clients: [Option<Client>; Signal::ALL.len()],
    pub(super) health: Arc<Health>,
}

impl Sender {
    /// Connections are made when they are first needed.
    ///
    /// # Errors
    /// An endpoint or a header is none.
    pub(super) fn new(config: &Config, health: Arc<Health>) -> anyhow::Result<Sender> {
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
        Ok(Sender {
            runtime,
            clients,
            health,
        })
    }

    /// Whether there is somewhere to send it.
    pub(super) const fn sends(&self, signal: Signal) -> bool {
        self.clients[signal as usize].is_some()
    }

    /// Waits for something, but not too long.
    pub(super) fn wait<T>(&self, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
        let what = async { tokio::time::timeout(patience, what).await };
        self.runtime.block_on(what).ok()
    }

    /// Sends a batch of so many and counts what became of it.
    pub(super) fn send(&self, signal: Signal, count: usize, batch: Batch) -> Sent {
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
pub(super) enum Sent {
    /// It is there, or never will be.
    Done,
    /// It may be there later.
    Later,
}

/// The thread, and how one knows that it is done.
pub(super) struct Worker {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(work: impl FnOnce() + Send + 'static) -> std::io::Result<Worker> {
        let (say_end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("gotrace-otel".to_owned())
            .spawn(move || {
                work();
                // Nobody may wait any more.
                let _ = say_end.send(());
            })?;
        Ok(Worker { thread, ended })
    }

    /// Waits until what there is has been sent, for some seconds. Nobody hands over anything any more.
    pub(super) fn finish(self) {
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
