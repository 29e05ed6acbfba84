//! What the agent says on standard output. Whoever reads that slowly delays nobody: what finds no room is
//! counted and left out.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracer_golang::process::ktime_now;

use crate::document::WallClock;
use crate::document::agent::{Line, Stamped};

/// Lines that were not written yet, at most.
const WAITING: usize = 4096;

enum Message {
    Line(Vec<u8>),
    End,
}

pub(crate) struct Voice {
    lines: SyncSender<Message>,
    clock: WallClock,
    /// Lines that were left out.
    unsaid: AtomicU64,
}

impl Voice {
    /// Starts the thread that writes.
    pub(super) fn start(clock: WallClock) -> std::io::Result<(Arc<Voice>, JoinHandle<()>)> {
        let (lines, written) = sync_channel(WAITING);
        let writer = super::spawn("gotrace-say", move || write(&written))?;
        let voice = Voice {
            lines,
            clock,
            unsaid: AtomicU64::new(0),
        };
        Ok((Arc::new(voice), writer))
    }

    pub(super) fn say(&self, line: Line<'_>) {
        let stamped = Stamped::new(self.clock.rfc3339(ktime_now()), line);
        let said = serde_json::to_vec(&stamped)
            .ok()
            .and_then(|line| self.lines.try_send(Message::Line(line)).ok());
        if said.is_none() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the thread once all is written.
    pub(super) fn end(&self) {
        // An error means that it has ended.
        let _ = self.lines.send(Message::End);
    }

    pub(super) fn unsaid(&self) -> u64 {
        self.unsaid.load(Ordering::Relaxed)
    }
}

fn write(lines: &Receiver<Message>) {
    let mut out = std::io::stdout();
    while let Ok(Message::Line(mut line)) = lines.recv() {
        line.push(b'\n');
        if let Err(error) = out.write_all(&line).and_then(|()| out.flush()) {
            // What is served goes on without.
            tracing::warn!("nothing more is written to standard output: {error}");
            return;
        }
    }
}
