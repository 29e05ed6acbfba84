//! Reads the target's memory, again and again, without stopping it: how, how often, and the thread that does so
//! for one target.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracer_golang::process::{GoProcess, ProcessError, ReadOptions, ktime_now};
use tracer_model::detect::{CALM_PROOF, CLEAN_PROOF};
use tracer_model::ids::Goid;
use tracer_model::snapshot::{Reachability, Snapshot};

use super::pipeline::Input;

/// Reading takes at most this share of one core: a read that took long is followed by a pause that
/// is so many times longer.
const SNAPSHOT_PAUSE: u32 = 10;
/// The same for the search for what is reachable, which reads the whole heap.
const MARK_PAUSE: u32 = 20;

/// Between two rounds at least, when a verdict is waited for.
const HURRY: Duration = Duration::from_millis(100);
/// How many searches may follow each other so quickly while the same goroutines are found stuck: as many
/// as a proof can take, and some more.
const HURRIED: u32 = 2 * CALM_PROOF;

/// Whether another search would soon make a verdict surer.
#[derive(Debug, Default)]
struct Suspense {
    unreached: Vec<Goid>,
    /// Searches that found just these.
    searches: u32,
    /// Of these, those that saw memory as at one moment.
    clean: u32,
}

impl Suspense {
    /// Takes in what a search found.
    fn found(&mut self, found: &Reachability) {
        if self.unreached != found.unreached {
            *self = Suspense {
                unreached: found.unreached.clone(),
                ..Suspense::default()
            };
        }
        self.searches += 1;
        let clean = found.running.is_empty() && found.ran.is_empty() && found.errors.is_empty();
        self.clean += u32::from(clean);
    }

    fn goes_on(&self) -> bool {
        !self.unreached.is_empty() && self.clean < CLEAN_PROOF && self.searches < HURRIED
    }
}

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

/// How often memory is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two reads, if these take less.
    pub(crate) interval: Duration,
    /// Reads at the beginning that follow each other sooner.
    pub(crate) eager: u32,
    /// Between two searches for what is reachable at least, unless another one would soon make a verdict surer.
    pub(crate) between_marks: Duration,
}

impl Pace {
    /// Of who reads one target alone.
    pub(crate) const fn of_one(interval: Duration) -> Pace {
        Pace {
            interval,
            eager: 3,
            between_marks: Duration::ZERO,
        }
    }
}

/// Reads one process.
pub(crate) struct Reader {
    process: GoProcess,
    options: ReadOptions,
    pace: Pace,
    next_mark: Instant,
    rounds: u32,
    suspense: Suspense,
    /// What the last round took.
    took: Duration,
}

impl Reader {
    pub(crate) fn new(process: GoProcess, options: ReadOptions, pace: Pace) -> Reader {
        Reader {
            process,
            options,
            pace,
            next_mark: Instant::now(),
            rounds: 0,
            suspense: Suspense::default(),
            took: Duration::ZERO,
        }
    }

    /// Reads once.
    pub(crate) fn round(&mut self) -> Observation {
        let started = Instant::now();
        let mark = self.rounds > 0 && started >= self.next_mark;
        let (observation, marked) = round(&mut self.process, &self.options, mark);
        self.took = started.elapsed();
        if let Observation::Snapshot(snapshot) = &observation
            && let Some(found) = &snapshot.reachability
        {
            self.suspense.found(found);
        }
        if marked {
            let pause = match self.suspense.goes_on() {
                true => Duration::ZERO,
                false => self.pace.between_marks,
            };
            self.next_mark = Instant::now() + pause.max(self.took * MARK_PAUSE);
        }
        observation
    }

    /// For how long not to read after a round.
    pub(crate) fn pause(&mut self) -> Duration {
        let interval = self.pace.interval;
        // The first picture is to come at once, the first verdict soon after it.
        let pause = if self.rounds < self.pace.eager {
            interval.min(Duration::from_millis(200))
        } else if self.suspense.goes_on() {
            interval.min(HURRY)
        } else {
            interval
        };
        self.rounds = self.rounds.saturating_add(1);
        // At irregular moments: what the target does by the clock must not fall between the same two
        // reads each time, or a reference that it moves then would never be seen.
        let jitter = (pause / 8).mul_f64(fastrand::f64());
        pause.saturating_sub(self.took).max(self.least_pause()) + jitter
    }

    /// The pause that even who is in a hurry keeps.
    fn least_pause(&self) -> Duration {
        self.took * SNAPSHOT_PAUSE
    }
}

/// Reads until `asked` is closed or the target ends; sooner than the interval says when asked to.
pub(crate) fn observe(mut reader: Reader, inputs: &Sender<Input>, asked: &Receiver<()>) {
    loop {
        let observation = reader.round();
        let gone = matches!(observation, Observation::Gone);
        // What was looked up in the file is remembered.
        reader.process.binary().release();
        if inputs.send(Input::Observation(observation)).is_err() || gone {
            return;
        }
        let pause = reader.pause();
        let now = Instant::now();
        let mut next = now + pause;
        loop {
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(()) => next = next.min(now + reader.least_pause()),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
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
            Ok(reachability) => {
                snapshot.reachability = Some(reachability);
                // What cannot be read was said by the search already.
                snapshot.corrupt = process.corruption(&snapshot).unwrap_or_default();
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn search(unreached: &[u64], ran: &[u64]) -> Reachability {
        let goids = |goids: &[u64]| goids.iter().copied().map(Goid).collect();
        Reachability {
            unreached: goids(unreached),
            ran: goids(ran),
            ..Reachability::default()
        }
    }

    #[test]
    fn it_hurries_until_a_proof_is_there_or_out_of_reach() {
        let mut suspense = Suspense::default();
        suspense.found(&search(&[], &[7]));
        assert!(!suspense.goes_on(), "nobody is stuck");
        suspense.found(&search(&[5], &[7]));
        suspense.found(&search(&[5], &[]));
        assert!(suspense.goes_on(), "one clean search proves nothing");
        suspense.found(&search(&[5], &[]));
        assert!(!suspense.goes_on(), "two do");
        for _ in 0..HURRIED {
            suspense.found(&search(&[5, 6], &[7]));
        }
        assert!(!suspense.goes_on(), "it does not go on for ever");
        suspense.found(&search(&[6], &[7]));
        assert!(suspense.goes_on(), "others are stuck now");
    }
}
