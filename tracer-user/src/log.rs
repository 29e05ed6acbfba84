//! What gotrace says of itself: to standard error, unless a console is drawn on the terminal. Then it is kept, for
//! the console to show, and written afterwards.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;

/// Lines that are kept at most; the oldest go first.
const MOST_LINES: usize = 200;

/// What is kept, while it is.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    /// Lines that went.
    dropped: u64,
    /// The latest, until somebody takes it.
    latest: Option<String>,
}

fn kept() -> MutexGuard<'static, Option<Kept>> {
    // Nobody leaves it half changed.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to log; `verbose` is how often that was asked for.
pub(crate) fn begin(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("GOTRACE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Writer)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        .init();
}

/// Takes one line at a time: so a subscriber writes.
struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *kept() {
            Some(kept) => {
                if kept.lines.len() == MOST_LINES {
                    kept.lines.pop_front();
                    kept.dropped += 1;
                }
                let line = String::from_utf8_lossy(bytes).into_owned();
                kept.latest = Some(line.clone());
                kept.lines.push_back(line);
            }
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// While this lives, what is logged is kept.
#[must_use = "it is kept only while this lives"]
pub(crate) struct Keeping(());

/// Keeps what is logged from now on.
pub(crate) fn keep() -> Keeping {
    kept().get_or_insert_default();
    Keeping(())
}

/// Whether the terminal is a console's.
pub(crate) fn is_kept() -> bool {
    kept().is_some()
}

impl Keeping {
    /// The latest line, if it was not taken before.
    pub(crate) fn latest(&self) -> Option<String> {
        let line = kept().as_mut()?.latest.take()?;
        Some(anstream::adapter::strip_str(line.trim_end()).to_string())
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let Some(Kept { lines, dropped, .. }) = kept().take() else {
            return;
        };
        // Nothing is left to do if it is closed.
        let mut out = io::stderr().lock();
        if dropped > 0 {
            let _ = writeln!(out, "{dropped} earlier messages are left out");
        }
        for line in lines {
            let _ = out.write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_and_counted() {
        let keeping = keep();
        for number in 0..MOST_LINES + 3 {
            Writer
                .write_all(format!("\x1b[33mline {number}\x1b[0m\n").as_bytes())
                .expect("memory");
        }
        assert_eq!(keeping.latest().as_deref(), Some("line 202"));
        assert_eq!(keeping.latest(), None);
        let kept = kept();
        let kept = kept.as_ref().expect("it is kept");
        assert_eq!((kept.lines.len(), kept.dropped), (MOST_LINES, 3));
    }
}
