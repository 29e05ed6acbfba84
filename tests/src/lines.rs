//! Lines of a child's output, with a deadline.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

/// What a child writes, collected by a thread so that the child never blocks on a full pipe.
#[derive(Debug)]
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Lines {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                // A child that is killed may leave half a character; a test that no longer listens
                // is over.
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Lines(receiver)
    }

    /// The next line; `None` at the end of the stream.
    ///
    /// # Panics
    ///
    /// When none comes until the deadline.
    #[track_caller]
    pub(crate) fn next(&self, deadline: Instant) -> Option<String> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match self.0.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited in vain for a line"),
        }
    }

    /// All lines up to the end of the stream, which must come before the deadline.
    #[track_caller]
    pub(crate) fn rest(&self, deadline: Instant) -> Vec<String> {
        std::iter::from_fn(|| {
            assert!(Instant::now() < deadline, "waited in vain for the end");
            self.next(deadline)
        })
        .collect()
    }

    /// The lines that are there already.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.0.try_iter().collect()
    }
}
