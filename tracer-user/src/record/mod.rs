//! Keeping what a story tells: events are put together on the thread that tells them, everything else is
//! done by a thread of its own.
//!
//! If that thread cannot keep up, the telling waits for it, and what the probes say meanwhile may find no
//! room in the ring: then it is lost and counted as such, in the recording too.

pub(crate) mod replay;
pub(crate) mod threshold;
pub(crate) mod trigger;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracer_model::event::Event;
use tracer_model::ids::Ktime;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;
use tracer_record::{Batch, Error, Keyframe, Note, Packed, Recipients, Sink, Writer, sink};

use self::trigger::{Conditions, Reason, Triggers};
use crate::document::run::Attached;
use crate::document::{Target, WallClock};
use crate::failure::Failure;
use crate::text::thousands;
use crate::trace::story::Output;

/// Events of one batch at most.
const BATCH: usize = 1 << 16;
/// How long events are collected at most: so much is lost when gotrace is killed.
const PATIENCE: Duration = Duration::from_millis(250);
/// Batches and reads that wait to be written, at most.
const QUEUE: usize = 64;
/// A segment ends after so long, so that what was at a time is found by reading no more than that,
const SEGMENT_AGE: Duration = Duration::from_secs(60);
/// or after so many events,
const SEGMENT_EVENTS: u64 = 1 << 20;
/// but not before there are so many for each goroutine: what is known is written at its beginning.
const EVENTS_PER_GOROUTINE: u64 = 8;
/// Where the last seconds alone are kept, a segment is no longer than this share of them.
const RING_SEGMENTS: u32 = 6;
/// How files of the last seconds end.
const SUFFIX: &str = ".gotrace";
/// Of a recording with a limit, a segment is no larger than this share of it.
const SHARE: u64 = 8;

/// What a recording is about.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub(crate) enum About {
    /// A trace.
    Trace { attached: Attached },
    /// One look.
    Look { target: Target },
}

/// Where a recording goes, and how much of it stays.
pub(crate) struct Plan {
    /// A file; a directory if there are limits, or if the last seconds alone are kept.
    pub(crate) path: PathBuf,
    pub(crate) keep: Keep,
    pub(crate) recipients: Option<Recipients>,
}

/// How much of a recording stays.
pub(crate) enum Keep {
    /// What the limits admit.
    Up(sink::Limits),
    /// The last seconds, in memory; written into a file of their own when there is a reason.
    Last(Last),
}

/// The last seconds.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) window: Duration,
    /// How long after the reason they are written.
    pub(crate) after: Duration,
    pub(crate) conditions: Conditions,
}

/// What is given to the thread that writes.
enum Work {
    Keyframe(Box<Keyframe>),
    Items(Packed),
    Observation(Arc<Snapshot>),
    Note(Note),
    /// What is kept in memory is to be written into a file.
    Write(PathBuf),
}

/// What has been written by now.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bytes: AtomicU64,
    /// The number of the segment that has become large enough, counted from 1.
    full: AtomicU64,
    events: AtomicU64,
    failed: AtomicBool,
}

impl Progress {
    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Events that were written, those included that were deleted since.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

/// The teller's end of a recording.
pub(crate) struct Recorder {
    about: serde_json::Value,
    batch: Batch,
    begun: Instant,
    work: SyncSender<Work>,
    progress: Arc<Progress>,
    segment: Segment,
    ring: Option<Watch>,
}

/// A file that is about to be written.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) path: PathBuf,
    /// In how many seconds.
    pub(crate) seconds: f64,
}

/// When the last seconds are written.
struct Watch {
    directory: PathBuf,
    last: Last,
    triggers: Triggers,
    clock: WallClock,
    /// When what is to be written under which name.
    due: Option<(Instant, PathBuf)>,
}

/// The segment that is being written.
struct Segment {
    /// Counted from 1.
    number: u64,
    begun: Instant,
    events: u64,
    most_events: u64,
    most_age: Duration,
}

/// The writer's end of a recording.
pub(crate) struct Recording {
    path: PathBuf,
    progress: Arc<Progress>,
    thread: JoinHandle<Result<(), Error>>,
}

/// Begins a recording of a trace.
///
/// # Errors
/// The file exists or cannot be made.
pub(crate) fn begin(
    plan: Plan,
    attached: &Attached,
    clock: WallClock,
    symbols: Arc<dyn Symbolizer + Send + Sync>,
) -> Result<(Recorder, Recording), Failure> {
    let path = plan.path;
    let failed = |error: &std::io::Error| cannot_write(&path, error);
    let sink: Box<dyn Sink> = match &plan.keep {
        Keep::Up(limits) if *limits == sink::Limits::default() => {
            Box::new(sink::file(&path).map_err(|error| failed(&error))?)
        }
        Keep::Up(limits) => {
            Box::new(sink::directory(&path, *limits).map_err(|error| failed(&error))?)
        }
        Keep::Last(last) => {
            make_directory(&path).map_err(|error| failed(&error))?;
            // What comes after the reason must not push out what came before it.
            Box::new(sink::Ring::new(nanos(last.window + last.after)))
        }
    };
    let (most_bytes, most_age, ring) = match plan.keep {
        Keep::Up(limits) => (limits.bytes.map(|bytes| bytes / SHARE), SEGMENT_AGE, None),
        Keep::Last(last) => {
            let age = (last.window / RING_SEGMENTS).max(Duration::from_secs(1));
            let watch = Watch {
                directory: path.clone(),
                triggers: Triggers::new(last.conditions.clone()),
                last,
                clock,
                due: None,
            };
            (None, age.min(SEGMENT_AGE), Some(watch))
        }
    };
    let writer = Writer::new(
        sink,
        clock.pair(),
        env!("CARGO_PKG_VERSION"),
        plan.recipients,
    );
    let (work, queue) = sync_channel(QUEUE);
    let progress = Arc::new(Progress::default());
    let thread = std::thread::Builder::new()
        .name("gotrace-record".to_owned())
        .spawn({
            let progress = Arc::clone(&progress);
            let most = most_bytes.unwrap_or(u64::MAX);
            move || {
                let written = write(writer, &queue, &*symbols, most, &progress);
                progress.failed.store(written.is_err(), Ordering::Relaxed);
                written
            }
        })
        .map_err(|error| failed(&error))?;
    let about = About::Trace {
        attached: attached.clone(),
    };
    let recorder = Recorder {
        about: serde_json::to_value(about).map_err(|error| failed(&error.into()))?,
        batch: Batch::new(),
        begun: Instant::now(),
        work,
        progress: Arc::clone(&progress),
        segment: Segment {
            number: 0,
            begun: Instant::now(),
            events: 0,
            most_events: SEGMENT_EVENTS,
            most_age,
        },
        ring,
    };
    let recording = Recording {
        path,
        progress,
        thread,
    };
    Ok((recorder, recording))
}

/// Writes one look as a file, which must not exist. Returns its size in bytes.
///
/// # Errors
/// The file exists or cannot be written.
pub(crate) fn write_look(
    path: &Path,
    target: Target,
    clock: WallClock,
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
) -> Result<u64, Failure> {
    let sink = sink::file(path).map_err(|error| cannot_write(path, error))?;
    write_look_into(sink, target, clock, snapshot, symbols)
        .map_err(|error| cannot_write(path, error))
}

/// Writes one look. Returns its size in bytes.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_look_into(
    sink: impl Sink,
    target: Target,
    clock: WallClock,
    snapshot: &Snapshot,
    symbols: &dyn Symbolizer,
) -> Result<u64, Error> {
    let mut writer = Writer::new(sink, clock.pair(), env!("CARGO_PKG_VERSION"), None);
    let about = serde_json::to_value(About::Look { target });
    let about = about.map_err(|error| Error::Encode(error.to_string()))?;
    let keyframe = Keyframe {
        at: snapshot.started,
        about,
        parks_seen: true,
        ..Keyframe::default()
    };
    writer
        .keyframe(&keyframe, symbols)
        .and_then(|()| writer.observation(snapshot, symbols))
        .and_then(|()| writer.finish())
        .map(|sink| sink.bytes())
}

/// Makes a directory for recordings, if there is none: they are their owner's alone.
fn make_directory(path: &Path) -> std::io::Result<()> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn cannot_write(path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot write {}", path.display()))
        .because(cause)
        .next("give another path with --output")
}

/// Writes until there is nothing more to come.
fn write(
    mut writer: Writer<Box<dyn Sink>>,
    queue: &Receiver<Work>,
    symbols: &dyn Symbolizer,
    most_segment_bytes: u64,
    progress: &Progress,
) -> Result<(), Error> {
    let (mut segment, mut begins) = (0, 0);
    for work in queue {
        match work {
            Work::Keyframe(keyframe) => {
                (segment, begins) = (segment + 1, writer.written());
                writer.keyframe(&keyframe, symbols)?;
            }
            Work::Items(packed) => writer.items(packed, symbols)?,
            Work::Observation(snapshot) => writer.observation(&snapshot, symbols)?,
            Work::Note(note) => writer.note(&note)?,
            // The trace goes on without it.
            Work::Write(path) => match writer.sink().write_to(&path) {
                Ok(bytes) => tracing::info!("{}: {bytes} bytes", path.display()),
                Err(error) => tracing::error!("cannot write {}: {error}", path.display()),
            },
        }
        if writer.written() - begins > most_segment_bytes {
            progress.full.store(segment, Ordering::Relaxed);
        }
        progress
            .bytes
            .store(writer.sink().bytes(), Ordering::Relaxed);
        progress
            .events
            .store(writer.items_written(), Ordering::Relaxed);
    }
    let sink = writer.finish()?;
    progress.bytes.store(sink.bytes(), Ordering::Relaxed);
    Ok(())
}

impl Recorder {
    /// Keeps an event.
    pub(crate) fn event(&mut self, event: &Event) {
        self.batch.event(event);
        self.added();
    }

    /// Keeps that no event from before `at` is still to come.
    pub(crate) fn heard_until(&mut self, at: Ktime) {
        self.batch.heard_until(at);
        self.added();
    }

    /// Keeps that other probes are in place.
    pub(crate) fn retraced(&mut self, at: Ktime, parks_seen: bool) {
        self.batch.retraced(at, parks_seen);
        self.added();
    }

    fn added(&mut self) {
        self.segment.events += 1;
        match self.batch.len() {
            1 => self.begun = Instant::now(),
            BATCH.. => self.flush(),
            _ => {}
        }
    }

    /// Keeps a read of memory.
    pub(crate) fn observation(&mut self, snapshot: &Arc<Snapshot>) {
        self.flush();
        self.give(Work::Observation(Arc::clone(snapshot)));
    }

    /// Keeps a note.
    pub(crate) fn note(&mut self, note: Note) {
        self.flush();
        self.give(Work::Note(note));
    }

    /// Gives out what was collected.
    pub(crate) fn flush(&mut self) {
        if let Some(packed) = self.batch.pack() {
            self.give(Work::Items(packed));
        }
    }

    /// Whether it is time to begin a segment. To be asked often: what was collected for long enough is
    /// given out.
    pub(crate) fn keyframe_is_due(&mut self) -> bool {
        if !self.batch.is_empty() && self.begun.elapsed() > PATIENCE {
            self.flush();
        }
        if let Some(path) = self.take_due(Instant::now()) {
            self.write(path);
        }
        self.segment.events >= self.segment.most_events
            || self.segment.begun.elapsed() > self.segment.most_age
            || self.progress.full.load(Ordering::Relaxed) == self.segment.number
    }

    /// Begins a segment.
    pub(crate) fn keyframe(&mut self, keyframe: Keyframe) {
        self.flush();
        let goroutines = keyframe
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.goroutines.len() as u64);
        self.segment = Segment {
            number: self.segment.number + 1,
            begun: Instant::now(),
            events: 0,
            most_events: SEGMENT_EVENTS.max(EVENTS_PER_GOROUTINE * goroutines),
            most_age: self.segment.most_age,
        };
        self.give(Work::Keyframe(Box::new(Keyframe {
            about: self.about.clone(),
            ..keyframe
        })));
    }

    /// Hears what is said at a time. If that is a reason to write the last seconds, returns what to say
    /// of it.
    pub(crate) fn hear(&mut self, output: &Output, at: Ktime) -> Option<String> {
        let reason = self.ring.as_mut()?.triggers.hear(output, at)?;
        self.write_last(reason, at)
    }

    /// Writes the last seconds for a reason, unless they are about to be written anyway. Returns what to
    /// say of it.
    pub(crate) fn write_last(&mut self, reason: Reason, at: Ktime) -> Option<String> {
        let ring = self.ring.as_mut()?;
        if ring.due.is_some() {
            return None;
        }
        let time = ring.clock.rfc3339(at).replace(':', "-");
        let path = ring
            .directory
            .join(format!("{time}-{}{SUFFIX}", reason.name()));
        let said = format!(
            "the last {} s, and {} s from now, go to {} ({})",
            ring.last.window.as_secs_f64(),
            ring.last.after.as_secs_f64(),
            path.display(),
            reason.name()
        );
        ring.due = Some((Instant::now() + ring.last.after, path));
        Some(said)
    }

    /// What is about to be written, and when.
    pub(crate) fn due(&self) -> Option<Due> {
        let (when, path) = self.ring.as_ref()?.due.as_ref()?;
        Some(Due {
            path: path.clone(),
            seconds: when.saturating_duration_since(Instant::now()).as_secs_f64(),
        })
    }

    /// What is to be written by now.
    fn take_due(&mut self, now: Instant) -> Option<PathBuf> {
        let due = &mut self.ring.as_mut()?.due;
        due.take_if(|(when, _)| *when <= now).map(|(_, path)| path)
    }

    fn write(&mut self, path: PathBuf) {
        self.flush();
        self.give(Work::Write(path));
    }

    /// There is nothing more to come.
    pub(crate) fn end(&mut self) {
        self.flush();
        let due = self.ring.as_mut().and_then(|ring| ring.due.take());
        if let Some((_, path)) = due {
            self.write(path);
        }
    }

    /// Whether it can go on.
    pub(crate) fn goes_on(&self) -> bool {
        !self.progress.failed.load(Ordering::Relaxed)
    }

    fn give(&self, work: Work) {
        // The thread is gone only if it failed, which is noticed before long.
        let _: Result<(), mpsc::SendError<Work>> = self.work.send(work);
    }
}

impl Recording {
    /// What has been written by now.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Waits until everything is written and says what that is; the recorder must be gone.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(crate) fn finish(self) -> Result<String, Failure> {
        let written = match self.thread.join() {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        written.map_err(|error| {
            Failure::new(format!("the recording {} ended early", self.path.display()))
                .because(error)
                .next("what was written until then can be replayed; give --max-size, or a path with more room")
        })?;
        Ok(format!(
            "{}: {} events, {} bytes",
            self.path.display(),
            thousands(self.progress.events()),
            thousands(self.progress.bytes()),
        ))
    }
}
