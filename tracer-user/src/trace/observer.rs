//! The thread that reads the target's memory, again and again, without stopping it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracer_golang::process::{GoProcess, ProcessError, ReadOptions, ktime_now};
use tracer_model::snapshot::Snapshot;

use super::pipeline::Input;

/// Reading takes at most this share of one core: a read that took long is followed by a pause that
/// is so many times longer.
const SNAPSHOT_PAUSE: u32 = 10;
/// The same for the search for what is reachable, which reads the whole heap.
const MARK_PAUSE: u32 = 20;

/// What one round of reading gave.
#[derive(Debug)]
pub(crate) enum Observation {
    /// A picture of the whole.
    Snapshot(Box<Snapshot>),
    /// This round failed; the next may not.
    Failed(String),
    /// The target ended.
    Gone,
}

/// Reads until `stop` is closed or the target ends.
pub(crate) fn observe(
    mut process: GoProcess,
    options: &ReadOptions,
    interval: Duration,
    inputs: &Sender<Input>,
    stop: &Receiver<()>,
) {
    let mut next_mark = Instant::now();
    let mut rounds = 0u32;
    loop {
        let started = Instant::now();
        let (observation, marked) =
            round(&mut process, options, rounds > 0 && started >= next_mark);
        let took = started.elapsed();
        if marked {
            next_mark = Instant::now() + took * MARK_PAUSE;
        }
        let gone = matches!(observation, Observation::Gone);
        if inputs.send(Input::Observation(observation)).is_err() || gone {
            return;
        }
        // The first picture is to come at once, the first verdict soon after it.
        let pause = if rounds < 3 {
            interval.min(Duration::from_millis(200))
        } else {
            interval
        };
        rounds = rounds.saturating_add(1);
        let pause = pause.saturating_sub(took).max(took * SNAPSHOT_PAUSE);
        // At irregular moments: what the target does by the clock must not fall between the same two
        // reads each time, or a reference that it moves then would never be seen.
        let pause = pause + (interval / 8).mul_f64(fastrand::f64());
        match stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// One round; tells whether it looked for what is reachable.
fn round(process: &mut GoProcess, options: &ReadOptions, mark: bool) -> (Observation, bool) {
    let mut snapshot = match process.snapshot(options, &ktime_now) {
        Ok(snapshot) => snapshot,
        Err(error) => return (failed(&error), false),
    };
    if mark {
        match process.reachability(&snapshot, &ktime_now) {
            Ok(reachability) => snapshot.reachability = Some(reachability),
            Err(error) if error.is_gone() => return (Observation::Gone, true),
            // The picture is good without it; that there is no verdict is said.
            Err(error) => snapshot
                .errors
                .push(format!("no search for leaks this time: {error}")),
        }
    }
    (Observation::Snapshot(Box::new(snapshot)), mark)
}

fn failed(error: &ProcessError) -> Observation {
    if error.is_gone() {
        Observation::Gone
    } else {
        Observation::Failed(error.to_string())
    }
}
