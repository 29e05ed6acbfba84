//! The thread that owns the story: it drains the ring, lets events be decoded and put in order, and tells them,
//! with what the observer read.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use tokio::sync::oneshot;
use tracer_common::{HOOK_COUNT, Hook};
use tracer_golang::process::{WaitDecoder, ktime_now};
use tracer_model::ids::{Goid, Ktime};
use tracer_model::world::Task;

use super::governed::Governed;
use super::intake::{Intake, SLACK};
use super::kernel::{Attachment, Kernel, KernelError, KernelLog, Ring};
use super::measure::Measured;
use super::observer::Observation;
use super::probes::{HIT_COST_NANOS, Placing, SLOT};
use super::story::{End, Story, Tick, View};
use crate::document::findings::Entry;
use crate::document::flow::Flow;
use crate::document::run;
use crate::document::seconds;
use crate::failure::Failure;
use crate::record::Due;
use crate::target::Target;

/// How often the ring is drained when nothing wakes the thread: often enough that a view is fresh,
/// rarely enough to cost nothing when the target is idle.
const DRAIN: Duration = Duration::from_millis(10);

/// How many records one drain takes at most, before anything else gets its turn: some 10 ms of work.
const DRAIN_RECORDS: usize = 1 << 16;

/// What is said to the pipeline.
#[derive(Debug)]
pub(crate) enum Input {
    /// What a read of memory saw.
    Observation(Observation),
    /// Somebody wants to see everything as it is now.
    View {
        /// Whether channels are wanted.
        channels: bool,
        reply: oneshot::Sender<View>,
    },
    /// Somebody wants to see everything as it is now, in numbers.
    Measure(oneshot::Sender<Measured>),
    /// Somebody wants to know what was counted of a goroutine.
    Goroutine(Goid, oneshot::Sender<Option<run::Goroutine>>),
    /// Somebody wants to see the ways of messages, wake-ups and locks.
    Flow(oneshot::Sender<Flow>),
    /// Somebody takes the tasks that have ended, and how many found no room.
    Tasks(oneshot::Sender<(Vec<Task>, u64)>),
    /// Somebody wants to know what was found and stands.
    Findings(oneshot::Sender<Vec<Entry>>),
    /// The last seconds are to be kept; where they go is told to who asks, and whether they went there
    /// anyway.
    Keep(Option<oneshot::Sender<Option<(Due, bool)>>>),
    /// Come to an end.
    Stop(Ended),
}

/// Why tracing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A signal came.
    Interrupted,
    /// The time was over.
    Duration,
    /// The target ended.
    TargetExited,
    /// The recording cannot go on.
    Unrecorded,
}

impl Ended {
    const fn name(self) -> &'static str {
        match self {
            Ended::Interrupted => "interrupted",
            Ended::Duration => "duration",
            Ended::TargetExited => "target exited",
            Ended::Unrecorded => "recording failed",
        }
    }
}

/// The kernel side while it is attached.
pub(crate) struct Source {
    kernel: Kernel,
    ring: Ring,
    attachment: Option<Attachment>,
    log: Option<KernelLog>,
}

impl Source {
    /// Takes the kernel side over; `None` if its ring was taken before.
    pub(crate) fn new(
        mut kernel: Kernel,
        attachment: Option<Attachment>,
        log: Option<KernelLog>,
    ) -> Option<Source> {
        let ring = kernel.take_ring()?;
        Some(Source {
            kernel,
            ring,
            attachment,
            log,
        })
    }

    /// Places these probes in place of those before. Records begin once all are there, so that none
    /// misses its counterpart of another probe.
    fn place(&mut self, placing: &Placing, hooks: &[Hook]) -> Result<(), KernelError> {
        let attachment = placing.place_silent(&mut self.kernel, hooks)?;
        self.attachment = Some(attachment);
        Ok(())
    }

    /// The kernel side.
    pub(crate) const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Removes the probes and returns how many there were. What they said is still in the ring.
    fn detach(&mut self) -> usize {
        self.attachment
            .take()
            .map_or(0, |attachment| self.kernel.detach(attachment))
    }
}

/// The thread's state.
pub(crate) struct Pipeline {
    target: OwnedFd,
    interval: Duration,
    inputs: Receiver<Input>,
    observer: Sender<()>,
    source: Option<Source>,
    governed: Option<Governed>,
    intake: Intake,
    story: Story,
    started: Instant,
}

/// Hits by hook, with names.
pub(crate) fn named(hits: [u64; HOOK_COUNT]) -> Vec<(run::Name, u64)> {
    let names = Hook::ALL.iter().map(|hook| hook.program().into());
    names.zip(hits).collect()
}

/// What connects the pipeline with the other threads.
pub(crate) struct Wiring {
    pub(crate) inputs: Receiver<Input>,
    /// Asks the observer for a read of memory.
    pub(crate) observer: Sender<()>,
}

impl Pipeline {
    /// `story` has not begun yet.
    ///
    /// # Errors
    /// The target has ended already.
    pub(crate) fn new(
        target: &Target,
        meaning: WaitDecoder,
        interval: Duration,
        source: Option<Source>,
        governed: Option<Governed>,
        story: Story,
        wiring: Wiring,
    ) -> Result<Pipeline, Failure> {
        let gone = |cause: String| {
            Failure::new(format!(
                "process {} ended while gotrace attached",
                target.pid
            ))
            .because(cause)
            .next("start it again and give its new pid, or start it with `gotrace run -- CMD`")
        };
        let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| gone("its pid is not one".to_owned()))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| gone(error.to_string()))?;
        Ok(Pipeline {
            target: pidfd,
            interval,
            inputs: wiring.inputs,
            observer: wiring.observer,
            source,
            governed,
            intake: Intake::new(meaning),
            story,
            started: Instant::now(),
        })
    }

    /// Runs until told to stop or the target ends, then removes the probes, takes in what is left
    /// and says the report.
    pub(crate) fn run(mut self) {
        let tick = self.count();
        self.story.begin(tick);
        let mut next_summary = Instant::now() + self.interval;
        let mut first_picture = true;
        let ended = loop {
            let exited = self.wait();
            self.drain();
            if let Some(ended) = self.take_inputs() {
                break ended;
            }
            if exited {
                break Ended::TargetExited;
            }
            self.govern();
            if self.story.keyframe_is_due() {
                let tick = self.count();
                self.story.keyframe(tick);
            }
            if !self.story.is_kept() {
                break Ended::Unrecorded;
            }
            // The first read of memory is shown at once: it is what people wait for.
            if Instant::now() >= next_summary || (first_picture && self.story.has_seen_memory()) {
                first_picture = false;
                next_summary = Instant::now() + self.interval;
                let tick = self.count();
                self.story.tick(tick);
            }
        };
        self.finish(ended);
    }

    /// Waits for a wake-up by the kernel side, the target's end or the next drain. Tells whether
    /// the target has ended.
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::new(&self.target, PollFlags::IN)];
        if let Some(source) = &self.source {
            fds.push(PollFd::from_borrowed_fd(source.ring.as_fd(), PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(DRAIN.as_nanos()).unwrap_or(i64::MAX),
        };
        // An interrupted wait is a short one.
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
        fds.first()
            .is_some_and(|target| !target.revents().is_empty())
    }

    /// Takes in what the ring holds, and applies what is old enough to be in order. Tells whether the
    /// ring was found empty.
    fn drain(&mut self) -> bool {
        let before = ktime_now();
        let Some(source) = &mut self.source else {
            return true;
        };
        let intake = &mut self.intake;
        let emptied = source
            .ring
            .drain(DRAIN_RECORDS, |record| intake.record(record));
        if let Some(log) = &mut source.log {
            log.flush();
        }
        // That something is lost is to be known before anything that came later is applied.
        let story = &mut self.story;
        match source.kernel.lost(SLOT) {
            Ok(refused) => {
                if let Some(lost) = intake.refused(refused, ktime_now()) {
                    story.event(&lost);
                }
            }
            Err(error) => tracing::warn!("{error}"),
        }
        let read_until = if emptied { before } else { intake.newest() };
        intake.take(read_until, |event| story.event(event));
        // The ring was found empty of anything younger: nothing can precede what is held back.
        if emptied && intake.is_over(before) {
            intake.rest(|event| story.event(event));
            story.heard_until(Ktime(before.0.saturating_sub(SLACK)));
        }
        emptied
    }

    /// Changes what is traced if the governor says so: the old probes go, what they said is taken in,
    /// the world is told of the gap, the new ones come. What the old ones are hit until they are gone is
    /// counted by the kernel side and paid for.
    fn govern(&mut self) {
        let (Some(governed), Some(source)) = (&mut self.governed, &mut self.source) else {
            return;
        };
        let Some(decision) = governed.judge(&source.kernel) else {
            return;
        };
        let hooks = governed.hooks(decision.plan);
        source.detach();
        while !self.drain() {}
        let story = &mut self.story;
        self.intake.rest(|event| story.event(event));
        let (Some(governed), Some(source)) = (&mut self.governed, &mut self.source) else {
            return;
        };
        let placed = if hooks.is_empty() {
            Ok(())
        } else {
            source.place(governed.placing(), &hooks)
        };
        // Before the first record of the new probes, after the last one of the old.
        self.story.retraced(ktime_now(), decision.plan.sees_parks());
        let armed =
            placed.and_then(|()| source.kernel.configure(SLOT, governed.placing().config()));
        if let Err(error) = armed {
            source.detach();
            self.governed = None;
            self.warn(format!(
                "no probe from now on, memory alone is read: {error}"
            ));
            return;
        }
        governed.changed(decision.plan, &source.kernel);
        // What is known so far is not certain until memory is read; in a window it is read at its end.
        if decision.change.is_some() || hooks.is_empty() {
            // The observer may have ended with the target.
            let _ = self.observer.send(());
        }
        if let Some(change) = decision.change {
            let governor = run::Governor {
                tax: change.tax,
                ..governed.document()
            };
            let reason = change.reason(governed.budget());
            self.story.governed(ktime_now(), reason, governor);
        }
    }

    fn take_inputs(&mut self) -> Option<Ended> {
        loop {
            match self.inputs.try_recv() {
                Ok(Input::Observation(observation)) => self.observation(observation),
                Ok(Input::View { channels, reply }) => {
                    let view = self.story.view(self.count(), channels);
                    // Whoever asked may have given up.
                    let _ = reply.send(view);
                }
                Ok(Input::Measure(reply)) => drop(reply.send(self.story.measured(self.count()))),
                Ok(Input::Goroutine(goid, reply)) => drop(reply.send(self.story.goroutine(goid))),
                Ok(Input::Flow(reply)) => drop(reply.send(self.story.flow())),
                Ok(Input::Tasks(reply)) => drop(reply.send(self.story.take_tasks())),
                Ok(Input::Findings(reply)) => drop(reply.send(self.story.current_findings())),
                Ok(Input::Keep(reply)) => {
                    let kept = self.story.keep_last(ktime_now());
                    if let Some(reply) = reply {
                        let _ = reply.send(kept);
                    }
                }
                Ok(Input::Stop(ended)) => return Some(ended),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Ended::Interrupted),
            }
        }
    }

    fn observation(&mut self, observation: Observation) {
        match observation {
            Observation::Snapshot(snapshot) => self.story.observed(snapshot),
            Observation::Failed(message) => self.warn(message),
            // The pidfd says so too; until it does, events may still come.
            Observation::Gone => {}
        }
    }

    /// What no event tells.
    fn count(&self) -> Tick {
        Tick {
            at: ktime_now(),
            loss: self.intake.loss(),
            hits: self.hits(),
            hit_seconds: self
                .governed
                .as_ref()
                .map_or(seconds(HIT_COST_NANOS), Governed::hit_seconds),
            governor: self.governed.as_ref().map(Governed::document),
        }
    }

    fn hits(&self) -> Vec<(run::Name, u64)> {
        let Some(source) = &self.source else {
            return Vec::new();
        };
        match source.kernel.hits(SLOT) {
            Ok(hits) => named(hits),
            Err(error) => {
                tracing::warn!("{error}");
                Vec::new()
            }
        }
    }

    fn finish(mut self, ended: Ended) {
        let seconds = self.started.elapsed().as_secs_f64();
        let stopped = ktime_now();
        let removed = self.source.as_mut().map_or(0, Source::detach);
        if let (Some(governed), Some(source)) = (&mut self.governed, &self.source) {
            governed.settle(&source.kernel);
        }
        while !self.drain() {}
        let counters = self
            .source
            .as_ref()
            .map(|source| source.kernel.counters(SLOT));
        let counters = match counters.transpose() {
            Ok(counters) => counters,
            Err(error) => {
                self.warn(format!("what was lost at the end is not known: {error}"));
                None
            }
        };
        let story = &mut self.story;
        self.intake
            .finish(counters.as_deref(), |event| story.event(event));
        self.story.heard_until(stopped);
        let tick = self.count();
        self.story.end(
            tick,
            End {
                ended: ended.name().into(),
                seconds,
                probes_removed: removed,
            },
        );
    }

    fn warn(&mut self, message: String) {
        self.story.warn(ktime_now(), message);
    }
}
