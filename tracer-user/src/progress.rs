//! A word on standard error about what takes longer than a moment, where somebody looks on.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::log;
use crate::text::safe;

/// What takes less is not worth a word; also the time between two words on a terminal.
const MOMENT: Duration = Duration::from_secs(1);
/// The time between two words in a log.
const SELDOM: Duration = Duration::from_secs(10);

/// Says a line at once, where somebody looks on.
pub(crate) fn line(text: &str) {
    if std::io::stderr().is_terminal() || tracing::enabled!(tracing::Level::INFO) {
        // It is there to be seen; where it cannot, nothing is lost.
        let _ = writeln!(std::io::stderr(), "{}", safe(text));
    }
}

/// Says what is being done while it lives, if that is longer than a moment and somebody wants to know.
#[must_use = "it is said only while this lives"]
pub(crate) struct Busy(Option<(Sender<()>, JoinHandle<()>)>);

impl Busy {
    /// `what` as in `searching memory`.
    pub(crate) fn with(what: impl Into<String>) -> Busy {
        let what = what.into();
        if log::is_kept() {
            return Busy(None);
        }
        let terminal = std::io::stderr().is_terminal();
        if !terminal && !tracing::enabled!(tracing::Level::INFO) {
            return Busy(None);
        }
        let (end, ended) = channel::<()>();
        let began = Instant::now();
        let speaker = std::thread::Builder::new()
            .name("gotrace-progress".to_owned())
            .spawn(move || {
                let mut said = false;
                loop {
                    let pause = if said && !terminal { SELDOM } else { MOMENT };
                    let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(pause) else {
                        break;
                    };
                    said = true;
                    let seconds = began.elapsed().as_secs();
                    // It is there to be seen; where it cannot, nothing is lost.
                    let _ = match terminal {
                        true => write!(std::io::stderr(), "\r{what}: {seconds} s "),
                        false => writeln!(std::io::stderr(), "{what}: {seconds} s"),
                    };
                }
                if said && terminal {
                    let _ = write!(std::io::stderr(), "\r\x1b[K");
                }
            });
        // Without a thread nothing is said.
        Busy(speaker.ok().map(|speaker| (end, speaker)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some((end, speaker)) = self.0.take() {
            drop(end);
            // It only writes; should it have panicked, nothing is lost.
            let _ = speaker.join();
        }
    }
}
