//! Answers that are sent while they are made, so that no more than some chunks of one are in memory,
//! however long it is and however slowly it is taken.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;
/// Chunks that are made and not taken, at most.
const AHEAD: usize = 2;
/// How long an answer may take in all. What it is made from is kept so long.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A part of an answer.
enum Part {
    Chunk(Bytes),
    /// It is whole.
    End,
}

/// Takes what is written and gives it to who asked.
pub(super) struct Chunks {
    runtime: Handle,
    sender: Sender<Part>,
    deadline: Instant,
    chunk: Vec<u8>,
    written: u64,
}

impl Chunks {
    /// Bytes that were written by now.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    fn give(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Part::Chunk(chunk.into()))
    }

    fn send(&self, part: Part) -> io::Result<()> {
        let sent = self.sender.send(part);
        match self.runtime.block_on(timeout_at(self.deadline, sent)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() + bytes.len() > CHUNK {
            self.give()?;
        }
        self.chunk.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.give()
    }
}

/// An answer that `make` writes, on a thread that may wait. An error of that breaks the connection off,
/// so that half an answer does not look like a whole one.
pub(super) fn stream(
    content_type: &'static str,
    make: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static,
) -> Response {
    let (sender, receiver) = channel(AHEAD);
    let mut chunks = Chunks {
        runtime: Handle::current(),
        sender,
        deadline: Instant::now() + ANSWER_TIME,
        chunk: Vec::with_capacity(CHUNK),
        written: 0,
    };
    tokio::task::spawn_blocking(move || {
        let made = make(&mut chunks)
            .and_then(|()| chunks.give())
            .and_then(|()| chunks.send(Part::End));
        if let Err(error) = made {
            tracing::debug!("an answer was not sent to its end: {error}");
        }
    });
    let take = |receiver: Option<Receiver<Part>>| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Part::Chunk(chunk)) => Some((Ok(chunk), Some(receiver))),
            Some(Part::End) => None,
            None => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
        }
    };
    let body = Body::from_stream(stream::unfold(Some(receiver), take));
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Writes a document.
pub(super) fn write_json(chunks: &mut Chunks, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(chunks, document).map_err(io::Error::from)
}
