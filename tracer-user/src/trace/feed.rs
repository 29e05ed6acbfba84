//! What is said of the target, and what happens in it, for whoever listens beside the screen. Nobody who
//! listens can delay who speaks: each has so much room, and is told how much it missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use tracer_model::event::Event;

use super::story::Output;

/// What is said and was not heard yet, at most.
const OUTPUTS: usize = 256;
/// Events that were not heard yet, at most.
const EVENTS: usize = 1 << 14;

/// The speaker's end, and where listeners come from.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    outputs: broadcast::Sender<Arc<Output>>,
    events: broadcast::Sender<Event>,
    /// Who listens to events: while nobody does, none is copied.
    listeners: Arc<AtomicUsize>,
}

impl Feed {
    pub(crate) fn new() -> Feed {
        Feed {
            outputs: broadcast::Sender::new(OUTPUTS),
            events: broadcast::Sender::new(EVENTS),
            listeners: Arc::default(),
        }
    }

    /// Tells what is said.
    pub(crate) fn output(&self, output: &Arc<Output>) {
        // An error means that nobody listens.
        let _ = self.outputs.send(Arc::clone(output));
    }

    /// Tells what happened.
    pub(crate) fn event(&self, event: &Event) {
        if self.listeners.load(Ordering::Relaxed) > 0 {
            let _ = self.events.send(event.clone());
        }
    }

    /// Listens to what is said from now on.
    pub(crate) fn outputs(&self) -> broadcast::Receiver<Arc<Output>> {
        self.outputs.subscribe()
    }

    /// Listens to what happens from now on.
    pub(crate) fn events(&self) -> Events {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Events {
            receiver: self.events.subscribe(),
            listeners: Arc::clone(&self.listeners),
        }
    }
}

/// A listener to events.
#[derive(Debug)]
pub(crate) struct Events {
    receiver: broadcast::Receiver<Event>,
    listeners: Arc<AtomicUsize>,
}

impl Events {
    /// The next one.
    ///
    /// # Errors
    /// Some were missed, and how many; or there are no more.
    pub(crate) async fn next(&mut self) -> Result<Event, broadcast::error::RecvError> {
        self.receiver.recv().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::RecvError;
    use tracer_model::event::EventKind;
    use tracer_model::ids::{Goid, Ktime};

    use super::*;

    fn event(at: usize) -> Event {
        Event {
            at: Ktime(at as u64),
            actor: Goid(1),
            kind: EventKind::Run,
        }
    }

    #[test]
    fn who_is_slow_is_told_how_much_it_missed_and_nobody_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let feed = Feed::new();
            feed.event(&event(0));
            let mut slow = feed.events();
            for at in 1..=EVENTS + 10 {
                feed.event(&event(at));
            }
            let missed = slow.next().await;
            assert!(matches!(missed, Err(RecvError::Lagged(10))), "{missed:?}");
            let next = slow.next().await.map(|event| event.at);
            assert_eq!(next.ok(), Some(Ktime(11)));
            drop(slow);
            assert_eq!(feed.listeners.load(Ordering::Relaxed), 0);
        });
    }
}
