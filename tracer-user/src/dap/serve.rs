//! Sessions on streams: standard input and output, or connections of a listener, each with a session and a
//! program of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::config::Policy;
use super::framing::{self, FrameError};
use super::look::Attacher;
use super::protocol::{Message, Outbox};
use super::session::{Next, Session};

/// Sessions at a time. Each can hold a snapshot of a program.
const MOST_SESSIONS: usize = 8;
/// Messages that wait while one is answered; more wait in the kernel.
const WAITING: usize = 4;
/// How often it is looked whether the program is still there.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection may be silent before it says its first word.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// How long nobody is accepted after that failed, such as for want of file descriptors.
const RECOVERY: Duration = Duration::from_millis(200);

/// Numbers messages and writes them.
struct Writer<W> {
    stream: W,
    seq: i64,
}

impl<W: Write> Outbox for Writer<W> {
    fn send(&mut self, message: &Message) -> io::Result<()> {
        #[derive(Serialize)]
        struct Numbered<'a> {
            seq: i64,
            #[serde(flatten)]
            message: &'a Message,
        }
        self.seq += 1;
        let numbered = Numbered {
            seq: self.seq,
            message,
        };
        framing::write(&mut self.stream, &serde_json::to_vec(&numbered)?)
    }
}

/// Reads messages on a thread of their own, so that the program's end is noticed while the client is silent.
/// The thread ends with the stream, at the first thing that is no message, or when nobody listens any more.
fn messages(
    mut input: impl BufRead + Send + 'static,
    mut heard: impl FnMut() + Send + 'static,
) -> io::Result<Receiver<Result<Vec<u8>, FrameError>>> {
    let (sender, receiver) = sync_channel(WAITING);
    let read = move || {
        while let Some(message) = framing::read(&mut input).transpose() {
            heard();
            let is_last = message.is_err();
            if sender.send(message).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("gotrace-dap-in".to_owned())
        .spawn(read)?;
    Ok(receiver)
}

/// Serves one client until it disconnects or is gone.
fn serve(
    messages: &Receiver<Result<Vec<u8>, FrameError>>,
    output: impl Write,
    attacher: &dyn Attacher,
    policy: Policy,
) -> Result<(), FrameError> {
    let mut out = Writer {
        stream: output,
        seq: 0,
    };
    let mut session = Session::new(attacher, policy);
    loop {
        let next = match messages.recv_timeout(TICK) {
            Ok(Ok(message)) => session.take(&message, &mut out),
            Ok(Err(error)) => {
                let text = format!("gotrace ends the session: {error}");
                // Whoever speaks something else will hardly read it.
                let _ = out.send(&Message::output("stderr", &text));
                let _ = out.send(&Message::event("terminated", &serde_json::json!({})));
                return Err(error);
            }
            Err(RecvTimeoutError::Timeout) => session.tick(&mut out).map(|()| Next::Go),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match next {
            Ok(Next::Go) => {}
            Ok(Next::End) => return Ok(()),
            // It went without a word.
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

/// Serves the client on standard input and output.
///
/// # Errors
/// It does not speak the protocol, or the streams fail.
pub(crate) fn on_stdio(attacher: &dyn Attacher, policy: Policy) -> Result<(), FrameError> {
    let messages = messages(BufReader::new(io::stdin()), || ())?;
    serve(&messages, io::stdout().lock(), attacher, policy)
}

/// A place for a session, free again when this is dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Seat> {
        let seat = Seat(Arc::clone(taken));
        let before = taken.fetch_add(1, Ordering::Relaxed);
        (before < MOST_SESSIONS).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves whoever connects and may, for as long as this process lives.
pub(crate) fn on_connections(
    listener: &TcpListener,
    attacher: &'static (dyn Attacher + Sync),
    policy: Policy,
    may_enter: impl Fn(&TcpStream) -> Result<(), String>,
) {
    let taken = Arc::default();
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                thread::sleep(RECOVERY);
                continue;
            }
        };
        let seat = Seat::take(&taken);
        let refusal = match (&seat, may_enter(&stream)) {
            (_, Err(why)) => Some(why),
            (None, _) => Some(format!(
                "{MOST_SESSIONS} sessions are open, which is the most"
            )),
            _ => None,
        };
        if let Some(why) = refusal {
            tracing::warn!("a connection was refused: {why}");
            let text = format!("gotrace refused the connection: {why}");
            let mut out = Writer { stream, seq: 0 };
            // Few bytes, for which there is room in any connection that is new.
            let _ = out.send(&Message::output("important", &text));
            continue;
        }
        let session = move || {
            let _seat = seat;
            if let Err(error) = on_connection(stream, attacher, policy) {
                tracing::warn!("a session ended: {error}");
            }
        };
        let started = thread::Builder::new()
            .name("gotrace-dap".to_owned())
            .spawn(session);
        if let Err(error) = started {
            tracing::warn!("cannot serve a connection: {error}");
        }
    }
}

fn on_connection(
    stream: TcpStream,
    attacher: &dyn Attacher,
    policy: Policy,
) -> Result<(), FrameError> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(FIRST_WORD))?;
    let input = stream.try_clone()?;
    let waiting = stream.try_clone()?;
    let heard = move || {
        // A client may think for as long as it likes once it has said what it is.
        let _ = waiting.set_read_timeout(None);
    };
    let messages = messages(BufReader::new(input), heard)?;
    let served = serve(&messages, &stream, attacher, policy);
    // The thread that reads ends by this.
    let _ = stream.shutdown(std::net::Shutdown::Both);
    served
}
