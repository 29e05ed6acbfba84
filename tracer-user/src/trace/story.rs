//! The one way into the world: whatever is learnt of a target is told here, in order, kept if it is being
//! recorded, and applied. A recording tells the same again, so that a replay says the same.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracer_model::detect::{
    Changes, Detector, Finding, FindingLog, Tracked, Trends, Waiting, Why, panics,
};
use tracer_model::event::Event;
use tracer_model::ids::{Goid, Ktime};
use tracer_model::snapshot::{Descriptor, Snapshot};
use tracer_model::symbol::Symbolizer;
use tracer_model::world::{self, Task, TaskLimits, World};
use tracer_record::{Item, Keyframe, Memory, Note};

use super::feed::Feed;
use super::measure::{Measured, Reads};
use super::picture::{self, Counted, Shown};
use crate::document::findings::Entry;
use crate::document::flow::Flow;
use crate::document::moment;
use crate::document::run::{self, Report, Summary, Totals};
use crate::document::{WallClock, seconds};
use crate::record::trigger::Reason;
use crate::record::{Due, Recorder};

/// What is said of a target.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// The state of affairs, once an interval.
    Summary(Box<Summary>),
    /// A new finding, or one whose verdict changed.
    Finding(Box<Entry>),
    /// The id of a finding that is not true any more.
    Resolved(String),
    /// The governor changed what is traced: when, why, and what it does now.
    Governor {
        time: String,
        reason: String,
        governor: Box<run::Governor>,
    },
    /// Something that the user should know.
    Warning(String),
    /// The end.
    Report(Box<Report>),
}

/// What is told once an interval beside events and reads: what the kernel side counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub(crate) at: Ktime,
    pub(crate) loss: run::Loss,
    /// Hits of each hook.
    pub(crate) hits: Vec<(run::Name, u64)>,
    /// The cost of one hit in seconds.
    pub(crate) hit_seconds: f64,
    pub(crate) governor: Option<run::Governor>,
}

impl Tick {
    /// What was counted by then.
    pub(crate) fn of(keyframe: &Keyframe) -> Tick {
        let mut notes = keyframe.notes.iter();
        let tick = notes
            .find(|note| note.name == name::TICK)
            .and_then(|note| serde_json::from_value(note.body.clone()).ok());
        tick.unwrap_or(Tick {
            at: keyframe.at,
            ..Tick::default()
        })
    }
}

/// How a trace ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) ended: run::Name,
    pub(crate) seconds: f64,
    pub(crate) probes_removed: usize,
}

/// A change of what is traced.
#[derive(Serialize, Deserialize)]
struct Change {
    reason: String,
    governor: run::Governor,
}

/// The names of notes in a recording.
mod name {
    pub(super) const TICK: &str = "tick";
    pub(super) const TRENDS: &str = "trends";
    pub(super) const PANICS: &str = "panics";
    pub(super) const GOVERNOR: &str = "governor";
    pub(super) const WARNING: &str = "warning";
    pub(super) const END: &str = "end";
}

/// Everything as it is at one moment, for the API.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Snapshot,
    pub(crate) totals: Totals,
    pub(crate) loss: run::Loss,
    pub(crate) findings: Vec<Entry>,
    /// Goroutines whose state is not known since a loss, ascending.
    pub(crate) unsure: Vec<Goid>,
}

/// Hears how everything is at the end, with the tasks that nobody took, and how many found no room.
pub(crate) type Farewell = Box<dyn FnOnce(Measured, (Vec<Task>, u64)) + Send>;

/// What is needed to tell a story.
pub(crate) struct Telling {
    pub(crate) symbols: Arc<dyn Symbolizer + Send + Sync>,
    pub(crate) clock: WallClock,
    /// Hears what is said.
    pub(crate) listener: Box<dyn FnMut(Output) + Send>,
    /// Hears what happens; of a trace that is live.
    pub(crate) feed: Option<Feed>,
    /// Keeps what is told.
    pub(crate) recorder: Option<Recorder>,
    /// Hears of the end.
    pub(crate) farewell: Option<Farewell>,
    /// Finds what takes many looks to find; `None` in a replay, which is told what was found.
    pub(crate) trends: Option<Trends>,
}

/// What detectors remember from one look to the next.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Detectors {
    detector: Detector,
    findings: FindingLog,
    /// What the looks of a trend find comes and goes by its own time.
    trending: FindingLog,
    /// Likewise what events alone tell.
    told: FindingLog,
    /// What events alone told last.
    panics: Vec<Finding>,
}

/// The last read of memory that looked for what is reachable.
struct Marked {
    snapshot: Arc<Snapshot>,
    /// The waits in the chains of what was found.
    waits: Vec<Waiting>,
    /// What the detector knew before.
    before: Detector,
}

/// The state of a trace, live or told again.
pub(crate) struct Story {
    telling: Telling,
    world: World,
    parks_seen: bool,
    detectors: Detectors,
    last_memory: picture::LastRead,
    reads: Reads,
    last_errors: Vec<String>,
    last_descriptors: Vec<Descriptor>,
    /// The counts of the last summary.
    counted: Counted,
    /// What the counts are of is told from here on.
    base: Tick,
    began: Ktime,
    /// Time of the latest count or read of memory.
    now: Ktime,
    /// The last read of memory, as long as nothing happened since; of a replay alone.
    untouched: Option<Arc<Snapshot>>,
    /// Of a replay alone.
    marked: Option<Marked>,
    replayed: bool,
}

impl Story {
    /// A story that begins with nothing known. `parks_seen`: whether goroutines park with an event.
    pub(crate) fn new(telling: Telling, parks_seen: bool) -> Story {
        Story {
            telling,
            world: if parks_seen {
                World::new()
            } else {
                World::new().without_parks()
            },
            parks_seen,
            detectors: Detectors::default(),
            last_memory: None,
            reads: Reads::default(),
            last_errors: Vec::new(),
            last_descriptors: Vec::new(),
            counted: Counted::default(),
            base: Tick::default(),
            began: Ktime(0),
            now: Ktime(0),
            untouched: None,
            marked: None,
            replayed: false,
        }
    }

    /// A story that goes on from what was known at a moment. Counts begin there too, unless it is the
    /// beginning.
    pub(crate) fn resume(telling: Telling, keyframe: &Keyframe, is_beginning: bool) -> Story {
        let mut story = Story::new(telling, keyframe.parks_seen);
        story.replayed = true;
        if let Some(snapshot) = &keyframe.snapshot {
            story.world.observe(snapshot);
            story.last_errors.clone_from(&snapshot.errors);
            story.last_descriptors.clone_from(&snapshot.descriptors);
        }
        if let Some(at) = keyframe.unknown_since {
            story.world.retrace(at, keyframe.parks_seen);
        }
        story.last_memory = keyframe.memory_read;
        story.detectors = keyframe.memory.recall().unwrap_or_default();
        story.began = keyframe.at;
        let tick = Tick::of(keyframe);
        if !is_beginning {
            story.base = tick.clone();
        }
        story.counted = story.count(tick);
        story
    }

    /// Follows single ways of messages, too.
    pub(crate) fn follow_tasks(&mut self, limits: TaskLimits) {
        self.world.follow_tasks(limits);
    }

    /// Takes the tasks that have ended, and how many found no room since the last time.
    pub(crate) fn take_tasks(&mut self) -> (Vec<Task>, u64) {
        self.world.take_tasks()
    }

    /// The first count, before anything else.
    pub(crate) fn begin(&mut self, tick: Tick) {
        self.counted = self.count(tick.clone());
        if self.telling.recorder.is_some() {
            self.keyframe(tick);
        }
    }

    /// Tells an event.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.event(event);
        }
        if let Some(feed) = &self.telling.feed {
            feed.event(event);
        }
        self.untouched = None;
        self.world.apply(event);
    }

    /// Tells that no event from before `at` is still to come.
    pub(crate) fn heard_until(&mut self, at: Ktime) {
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.heard_until(at);
        }
        self.world.heard_until(at);
    }

    /// Tells that other probes are in place.
    pub(crate) fn retraced(&mut self, at: Ktime, parks_seen: bool) {
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.retraced(at, parks_seen);
        }
        self.parks_seen = parks_seen;
        self.untouched = None;
        self.world.retrace(at, parks_seen);
    }

    /// Tells what a read of memory saw.
    pub(crate) fn observed(&mut self, snapshot: Box<Snapshot>) {
        let snapshot: Arc<Snapshot> = Arc::from(snapshot);
        self.look_for_panics(snapshot.finished);
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.observation(&snapshot);
        }
        self.world.observe(&snapshot);
        self.now = snapshot.finished;
        self.last_memory = Some((snapshot.started, snapshot.finished));
        self.reads.add(&snapshot);
        self.last_errors.clone_from(&snapshot.errors);
        self.last_descriptors.clone_from(&snapshot.descriptors);
        if self.replayed {
            self.untouched = Some(Arc::clone(&snapshot));
        }
        let at = snapshot.finished;
        let changes = self
            .detectors
            .told
            .update(self.detectors.panics.clone(), at);
        self.news(changes);
        if snapshot.reachability.is_some() {
            self.pass(&snapshot);
        }
        let (symbols, world) = (&*self.telling.symbols, Some(&self.world));
        let trends = self.telling.trends.as_mut();
        if let Some(found) = trends.and_then(|trends| trends.look(&snapshot, world, symbols)) {
            self.note(at, name::TRENDS, &found);
            self.trended(found, at);
        }
    }

    /// Asks the detector.
    fn pass(&mut self, snapshot: &Arc<Snapshot>) {
        let (symbols, world) = (&*self.telling.symbols, Some(&self.world));
        let detector = &mut self.detectors.detector;
        let found = if self.replayed {
            let before = detector.clone();
            let (found, waits) = detector.pass_with_waits(snapshot, world, symbols);
            self.marked = Some(Marked {
                snapshot: Arc::clone(snapshot),
                waits,
                before,
            });
            found
        } else {
            detector.pass(snapshot, world, symbols)
        };
        let changes = self.detectors.findings.update(found, snapshot.finished);
        self.news(changes);
    }

    /// Looks for what events alone tell. A replay is told.
    fn look_for_panics(&mut self, at: Ktime) {
        if self.replayed {
            return;
        }
        let found = panics(&self.world);
        if found != self.detectors.panics {
            self.note(at, name::PANICS, &found);
            self.detectors.panics = found;
        }
    }

    fn trended(&mut self, found: Vec<Finding>, at: Ktime) {
        let changes = self.detectors.trending.update(found, at);
        self.news(changes);
    }

    fn news(&mut self, changes: Changes) {
        for tracked in changes.new.iter().chain(&changes.changed) {
            let entry = self.entry(tracked);
            self.say(Output::Finding(Box::new(entry)));
        }
        for resolved in changes.resolved {
            self.say(Output::Resolved(resolved.finding.id.to_string()));
        }
    }

    fn entry(&self, tracked: &Tracked) -> Entry {
        Entry::of_tracked(tracked, &*self.telling.symbols, self.telling.clock)
    }

    /// Tells what was counted, which makes a summary.
    pub(crate) fn tick(&mut self, tick: Tick) {
        self.now = tick.at;
        self.note(tick.at, name::TICK, &tick);
        let governor = tick.governor.clone();
        let now = self.count(tick);
        let mut summary = picture::summary(
            &self.world,
            &now,
            &self.counted,
            &*self.telling.symbols,
            self.telling.clock,
            self.last_memory,
        );
        summary.governor = governor;
        self.counted = now;
        self.say(Output::Summary(Box::new(summary)));
    }

    /// Tells that the governor changed what is traced.
    pub(crate) fn governed(&mut self, at: Ktime, reason: String, governor: run::Governor) {
        let change = Change { reason, governor };
        self.note(at, name::GOVERNOR, &change);
        self.say_change(at, change);
    }

    fn say_change(&mut self, at: Ktime, Change { reason, governor }: Change) {
        self.say(Output::Governor {
            time: self.telling.clock.rfc3339(at),
            reason,
            governor: Box::new(governor),
        });
    }

    /// Tells something that the user should know.
    pub(crate) fn warn(&mut self, at: Ktime, message: String) {
        self.note(at, name::WARNING, &message);
        self.say(Output::Warning(message));
    }

    /// Tells the end, which makes the report.
    pub(crate) fn end(&mut self, tick: Tick, end: End) {
        self.look_for_panics(tick.at);
        self.note(tick.at, name::END, &(&tick, &end));
        self.report(tick.clone(), end);
        if let Some(farewell) = self.telling.farewell.take() {
            farewell(self.measured(tick), self.world.take_tasks());
        }
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.end();
        }
    }

    /// Makes the report.
    pub(crate) fn report(&mut self, tick: Tick, end: End) {
        let changes = self
            .detectors
            .told
            .update(self.detectors.panics.clone(), tick.at);
        self.news(changes);
        let governor = tick.governor.clone();
        let counted = self.count(tick);
        let report = Report {
            governor,
            ended: end.ended,
            seconds: end.seconds,
            totals: counted.totals,
            loss: counted.loss,
            hits: counted.hits.into_iter().collect(),
            goroutines: picture::goroutines(&self.world),
            channels: picture::channels(&self.world, &*self.telling.symbols),
            flow: self.flow(),
            findings: self.current_findings(),
            probes_removed: end.probes_removed,
        };
        self.say(Output::Report(Box::new(report)));
    }

    /// Tells again what was kept of a batch.
    pub(crate) fn item(&mut self, item: &Item) {
        match item {
            Item::Event(event) => self.event(event),
            Item::HeardUntil(at) => self.heard_until(*at),
            Item::Retraced { at, parks_seen } => self.retraced(*at, *parks_seen),
        }
    }

    /// Tells again what was noted, the end excepted. Returns what was counted, if it was that.
    pub(crate) fn noted(&mut self, note: Note) -> Option<Tick> {
        let Note { at, name, body } = note;
        match name.as_str() {
            name::TICK => {
                let tick: Tick = serde_json::from_value(body).ok()?;
                self.tick(tick.clone());
                return Some(tick);
            }
            name::TRENDS => {
                if let Ok(found) = serde_json::from_value(body) {
                    self.trended(found, at);
                }
            }
            name::PANICS => {
                if let Ok(found) = serde_json::from_value(body) {
                    self.detectors.panics = found;
                }
            }
            name::GOVERNOR => {
                if let Ok(change) = serde_json::from_value(body) {
                    self.say_change(at, change);
                }
            }
            name::WARNING => {
                if let Ok(message) = serde_json::from_value(body) {
                    self.say(Output::Warning(message));
                }
            }
            // What a later gotrace notes beside.
            _ => {}
        }
        None
    }

    /// Whether a note is of the end.
    pub(crate) fn is_end(note: &Note) -> bool {
        note.name == name::END
    }

    /// Tells the end again, of a trace that is told from `since` on (`None`: from its beginning).
    pub(crate) fn end_noted(&mut self, note: Note, since: Option<Ktime>) {
        if let Ok((tick, mut end)) = serde_json::from_value::<(Tick, End)>(note.body) {
            if let Some(since) = since {
                end.seconds = seconds(tick.at.since(since));
            }
            self.report(tick, end);
        }
    }

    /// Tells that a part of what was told is missing.
    pub(crate) fn missing(&mut self, after: Ktime) {
        self.retraced(after.max(self.world.now()), self.parks_seen);
    }

    /// Whether the recording wants to begin anew with what is known.
    pub(crate) fn keyframe_is_due(&mut self) -> bool {
        self.telling
            .recorder
            .as_mut()
            .is_some_and(Recorder::keyframe_is_due)
    }

    /// Gives the recording what is known.
    pub(crate) fn keyframe(&mut self, tick: Tick) {
        let keyframe = self.known(tick);
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.keyframe(keyframe);
        }
    }

    /// What is known at this moment.
    pub(crate) fn known(&self, tick: Tick) -> Keyframe {
        let snapshot = self.last_memory.map(|_| {
            picture::snapshot(
                &self.world,
                Shown::Certain,
                self.last_memory,
                &self.last_descriptors,
                &self.last_errors,
            )
        });
        let unknown = self.world.unknown_goroutines();
        Keyframe {
            at: tick.at,
            parks_seen: self.parks_seen,
            snapshot,
            unknown_since: unknown
                .filter_map(|goroutine| goroutine.unknown_since())
                .max(),
            memory_read: self.last_memory,
            findings: self.findings().cloned().collect(),
            notes: vec![Note {
                at: tick.at,
                name: name::TICK.to_owned(),
                body: serde_json::to_value(&tick).unwrap_or_default(),
            }],
            memory: Memory::of(&self.detectors),
            ..Keyframe::default()
        }
    }

    /// Whether what is told is kept, if it is to be.
    pub(crate) fn is_kept(&self) -> bool {
        self.telling.recorder.as_ref().is_none_or(Recorder::goes_on)
    }

    /// Whether memory was read.
    pub(crate) const fn has_seen_memory(&self) -> bool {
        self.last_memory.is_some()
    }

    /// Everything as it is now; channels only if they are wanted.
    pub(crate) fn view(&self, tick: Tick, channels: bool) -> View {
        let counted = self.count(tick);
        View {
            snapshot: self.picture(match channels {
                true => Shown::Waited,
                false => Shown::None,
            }),
            totals: counted.totals,
            loss: counted.loss,
            findings: self.current_findings(),
            unsure: self.unsure(),
        }
    }

    /// Goroutines whose state may have changed unseen since it was last known, ascending.
    pub(crate) fn unsure(&self) -> Vec<Goid> {
        let unknown = self.world.unknown_goroutines();
        let mut goids: Vec<Goid> = unknown.map(|goroutine| goroutine.goid()).collect();
        goids.sort_unstable();
        goids
    }

    /// Everything as it is now, in numbers.
    pub(crate) fn measured(&self, tick: Tick) -> Measured {
        let mut measured = Measured {
            at: tick.at,
            loss: tick.loss,
            hits: tick.hits,
            hit_seconds: tick.hit_seconds,
            governor: tick.governor,
            last_read: self.last_memory,
            reads: self.reads,
            ..Measured::of(&self.world)
        };
        for tracked in self.findings() {
            measured.count_finding(tracked);
        }
        measured
    }

    /// What events told so far.
    pub(crate) fn totals(&self) -> &world::Totals {
        self.world.totals()
    }

    /// What was counted of a goroutine; `None` if it is not known.
    pub(crate) fn goroutine(&self, goid: Goid) -> Option<run::Goroutine> {
        self.world.goroutine(goid).map(picture::goroutine)
    }

    /// The ways of messages, wake-ups and locks.
    pub(crate) fn flow(&self) -> Flow {
        Flow::new(&self.world, &*self.telling.symbols)
    }

    fn picture(&self, shown: Shown) -> Snapshot {
        picture::snapshot(
            &self.world,
            shown,
            self.last_memory,
            &self.last_descriptors,
            &self.last_errors,
        )
    }

    /// What was found and stands, for documents.
    pub(crate) fn current_findings(&self) -> Vec<Entry> {
        self.findings().map(|tracked| self.entry(tracked)).collect()
    }

    /// What was found and stands.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Tracked> {
        let Detectors {
            findings,
            told,
            trending,
            ..
        } = &self.detectors;
        let logs = [findings, told, trending];
        logs.into_iter().flat_map(FindingLog::iter)
    }

    /// The counts, of what happened since the story began.
    fn count(&self, tick: Tick) -> Counted {
        let base = &self.base;
        let before = |name: &str| {
            let hits = base.hits.iter().find(|(hook, _)| hook == name);
            hits.map_or(0, |(_, hits)| *hits)
        };
        let hits = tick.hits.into_iter().map(|(hook, hits)| {
            let before = before(&hook);
            (hook, hits.saturating_sub(before))
        });
        Counted {
            at: tick.at,
            totals: picture::totals(&self.world),
            loss: tick.loss.since(&base.loss),
            hits: hits.collect(),
            hit_seconds: tick.hit_seconds,
        }
    }

    fn say(&mut self, output: Output) {
        let at = self.now;
        let reason = match &mut self.telling.recorder {
            Some(recorder) => recorder.hear(&output, at),
            None => None,
        };
        (self.telling.listener)(output);
        if let Some(said) = reason {
            self.warn(at, said);
        }
    }

    /// Keeps the last seconds, if they are recorded, since somebody asks for it. Returns where they go,
    /// and whether they went there anyway.
    pub(crate) fn keep_last(&mut self, at: Ktime) -> Option<(Due, bool)> {
        let recorder = self.telling.recorder.as_mut()?;
        let said = recorder.write_last(Reason::Asked, at);
        let due = recorder.due()?;
        let already = said.is_none();
        if let Some(said) = said {
            self.warn(at, said);
        }
        Some((due, already))
    }

    fn note(&mut self, at: Ktime, name: &str, body: &impl Serialize) {
        if let Some(recorder) = &mut self.telling.recorder {
            recorder.note(Note {
                at,
                name: name.to_owned(),
                body: serde_json::to_value(body).unwrap_or_default(),
            });
        }
    }
}

/// What a replay is asked.
impl Story {
    /// How everything is at a time, which is the story's latest.
    pub(crate) fn state(&self, at: Ktime) -> moment::State {
        moment::State {
            findings: self.current_findings(),
            ..picture::state(&self.world, &*self.telling.symbols, at, self.last_memory)
        }
    }

    /// When memory was read last, if something is known to have happened since.
    pub(crate) fn brought_up_to_date_since(&self) -> Option<Ktime> {
        match &self.untouched {
            Some(_) => None,
            None => self.last_memory.map(|(started, _)| started),
        }
    }

    /// The world as a snapshot: as memory was read, if nothing is known to have happened since.
    pub(crate) fn snapshot(&self) -> Snapshot {
        match &self.untouched {
            Some(snapshot) => (**snapshot).clone(),
            None => self.picture(Shown::Waited),
        }
    }

    /// The last read of memory that looked for what is reachable.
    pub(crate) fn marked(&self) -> Option<&Snapshot> {
        self.marked.as_ref().map(|marked| &*marked.snapshot)
    }

    /// The waits in the chains of the findings of that read.
    pub(crate) fn waits(&self) -> &[Waiting] {
        self.marked.as_ref().map_or(&[], |marked| &marked.waits)
    }

    /// Explains a goroutine by that read; `None` if it was not there.
    pub(crate) fn why(&self, goid: Goid) -> Option<Why> {
        let marked = self.marked.as_ref()?;
        let mut detector = marked.before.clone();
        let symbols = &*self.telling.symbols;
        let world = Some(&self.world);
        detector.pass_with_why(&marked.snapshot, world, symbols, goid)
    }

    /// Goroutines created a second since the story began, if events tell.
    pub(crate) fn created_per_second(&self) -> Option<f64> {
        let totals = self.world.totals();
        let since = seconds(self.world.now().since(self.began));
        (totals.events > 0 && since > 0.0).then(|| totals.created as f64 / since)
    }
}
