//! Telling a recording again: the same story, without the target, without root, on any machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tracer_model::event::Event;
use tracer_model::ids::Ktime;
use tracer_model::symbol::Symbolizer;
use tracer_record::{Entry, Error, Item, Keyframe, Keys, Note, Recording, Unpacked};

use super::About;
use crate::document::run::Attached;
use crate::document::{Target, WallClock, seconds};
use crate::failure::Failure;
use crate::trace::story::{End, Output, Story, Telling, Tick};

/// Events are told in order, but what is said beside them can be ahead of them by so much, nanoseconds.
const AHEAD: u64 = 1_000_000_000;
/// Entries that are unpacked before they are told.
const UNPACKED: usize = 2;

/// A moment of a recording, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// By the clock on the wall.
    At(Timestamp),
    /// So long after its beginning.
    FromStart(Duration),
    /// So long before its end.
    FromEnd(Duration),
}

/// Parses a moment: RFC 3339, `+12s` from the beginning, `-5s` from the end.
///
/// # Errors
/// What was expected instead.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let distance = |text: &str| {
        let parsed: Option<jiff::SignedDuration> = text.parse().ok();
        parsed.and_then(|distance| Duration::try_from(distance).ok())
    };
    let parsed = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => distance(rest).map(When::FromStart),
        (_, Some(rest)) => distance(rest).map(When::FromEnd),
        _ => text.parse().ok().map(When::At),
    };
    parsed.ok_or_else(|| {
        "expected a time such as 2026-11-26T12:00:00Z, +12s (from the beginning) or -5s (from the end)"
            .to_owned()
    })
}

/// Which part of a recording is told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// What was before is taken in silently, and counts begin here.
    pub(crate) from: Option<Ktime>,
    pub(crate) to: Option<Ktime>,
}

/// What one hears of a recording that is told.
pub(crate) enum Heard<'a> {
    /// An event that happened.
    Event(&'a Event),
    /// What was said then.
    Said(Output),
}

/// A recording, opened.
pub(crate) struct Replay {
    recording: Recording,
    path: String,
    about: About,
    pub(crate) clock: WallClock,
}

impl Replay {
    /// Opens a recording or a snapshot; `identity` is a file with the keys for one that is encrypted.
    ///
    /// # Errors
    /// It cannot be opened: what it is, and what to do about it.
    pub(crate) fn open(path: &Path, identity: Option<&Path>) -> Result<Replay, Failure> {
        let keys = match identity {
            Some(file) => Keys::read(file).map_err(|error| {
                Failure::new(format!("cannot take keys from {}", file.display()))
                    .because(error)
                    .next("give a file that `age-keygen` made")
            })?,
            None => Keys::none(),
        };
        let mut recording =
            Recording::open(path, keys).map_err(|error| cannot_read(path, &error))?;
        let about = first_keyframe(&mut recording)
            .and_then(|keyframe| serde_json::from_value(keyframe.about).ok());
        let (Some(about), Some(clock)) = (about, recording.clock()) else {
            return Err(cannot_read(path, &Error::NoKeyframe));
        };
        for (file, error) in recording.unopened() {
            tracing::warn!("{} is left out: {error}", file.display());
        }
        Ok(Replay {
            recording,
            path: path.display().to_string(),
            about,
            clock: clock.into(),
        })
    }

    /// What was traced and how; `None` for a snapshot.
    pub(crate) const fn attached(&self) -> Option<&Attached> {
        match &self.about {
            About::Trace { attached } => Some(attached),
            About::Look { .. } => None,
        }
    }

    pub(crate) const fn target(&self) -> &Target {
        match &self.about {
            About::Trace { attached } => &attached.target,
            About::Look { target } => target,
        }
    }

    /// The frames that it brings.
    pub(crate) fn symbols(&self) -> Arc<dyn Symbolizer + Send + Sync> {
        self.recording.symbols()
    }

    /// Its beginning and its end.
    pub(crate) fn span(&self) -> (Ktime, Ktime) {
        self.recording.span()
    }

    /// What it holds, in order, from the last place on from which all is known that was so at a time.
    pub(crate) fn entries(&mut self, from: Ktime) -> tracer_record::Entries<'_> {
        let segment = self.recording.segment_at(from);
        self.recording.entries(segment)
    }

    /// Whether its oldest part was deleted, as it was to be no larger than it is.
    pub(crate) fn is_cut(&self) -> bool {
        self.recording.first_number() > 0
    }

    /// The kernel time of a moment.
    ///
    /// # Errors
    /// The recording does not have it.
    pub(crate) fn moment(&self, when: When) -> Result<Ktime, Failure> {
        let (first, last) = self.span();
        let nanos = |distance: Duration| u64::try_from(distance.as_nanos()).unwrap_or(u64::MAX);
        let at = match when {
            When::At(timestamp) => self.clock.ktime(timestamp),
            When::FromStart(distance) => Ktime(first.0.saturating_add(nanos(distance))),
            When::FromEnd(distance) => Ktime(last.0.saturating_sub(nanos(distance))),
        };
        // Whoever types a time leaves out the last digits.
        let second = 1_000_000_000;
        if at.0.saturating_add(second) < first.0 || at.0 > last.0.saturating_add(second) {
            return Err(Failure::new(format!(
                "{} has nothing of {}",
                self.path,
                self.clock.rfc3339(at)
            ))
            .because(format!(
                "it is from {} to {}",
                self.clock.rfc3339(first),
                self.clock.rfc3339(last)
            ))
            .next("give a time between these, such as +10s or -10s"));
        }
        Ok(at.clamp(first, last))
    }

    /// The story as it stands at a moment. It is begun as late as possible; `enough` says whether it
    /// was begun early enough. `hear` hears it as it goes, again if it was not.
    pub(crate) fn story_at(
        &mut self,
        at: Ktime,
        enough: impl Fn(&Story) -> bool,
        hear: &mut dyn FnMut(Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Story> {
        let window = Window {
            from: None,
            to: Some(at),
        };
        let mut segment = self.recording.segment_at(at);
        loop {
            let story = self.tell_from(segment, window, hear)?;
            match story {
                Some(story) if segment == 0 || enough(&story) => return Ok(story),
                None if segment == 0 => return Err(self.nothing().into()),
                _ => segment -= 1,
            }
        }
    }

    /// Tells a window: what happened, and what was said of it, the report at its end included.
    pub(crate) fn tell(
        &mut self,
        window: Window,
        hear: &mut dyn FnMut(Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let segment = match window.from {
            Some(from) => self.recording.segment_at(from),
            None => 0,
        };
        if segment == 0 && self.is_cut() {
            let what =
                "the oldest part of the recording was deleted: counts begin with what is left";
            hear(Heard::Said(Output::Warning(what.to_owned())))?;
        }
        match self.tell_from(segment, window, hear)? {
            Some(_) => Ok(()),
            None => Err(self.nothing().into()),
        }
    }

    fn nothing(&self) -> Failure {
        Failure::new(format!("{} has nothing of that time", self.path))
            .because("what it had is damaged")
            .next("give another time")
    }

    fn tell_from(
        &mut self,
        segment: usize,
        window: Window,
        hear: &mut dyn FnMut(Heard<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Story>> {
        let mut teller = Teller {
            symbols: self.recording.symbols(),
            clock: self.clock,
            window,
            hear,
            said: mpsc::channel(),
            story: None,
            segment: 0,
            silent: window.from.is_some(),
            began: Ktime(0),
            told: Ktime(0),
            tick: Tick::default(),
            end: None,
        };
        // To unpack takes as long as to tell: a thread of its own does it.
        let mut entries = self.recording.entries(segment);
        thread::scope(|scope| -> anyhow::Result<()> {
            let (unpacked, to_tell) = mpsc::sync_channel(UNPACKED);
            let (give_back, given_back) = mpsc::channel();
            scope.spawn(move || {
                while let Some(entry) = entries.next() {
                    // Nobody wants more.
                    if unpacked.send(entry).is_err() {
                        break;
                    }
                    for items in given_back.try_iter() {
                        entries.give_back(items);
                    }
                }
            });
            for entry in to_tell {
                let goes_on = match entry {
                    Entry::Items(unpacked) => {
                        let goes_on = teller.items(&unpacked)?;
                        // It may have come to the end.
                        let _ = give_back.send(unpacked.items);
                        goes_on
                    }
                    entry => teller.entry(entry)?,
                };
                if !goes_on {
                    break;
                }
            }
            Ok(())
        })?;
        teller.finish()
    }
}

/// The first keyframe that can be read.
fn first_keyframe(recording: &mut Recording) -> Option<Keyframe> {
    recording.entries(0).find_map(|entry| match entry {
        Entry::Keyframe(keyframe) => Some(*keyframe),
        _ => None,
    })
}

fn cannot_read(path: &Path, error: &Error) -> Failure {
    let failure = Failure::new(format!("cannot read {}", path.display())).because(error);
    failure.next(match error {
        Error::Io(_) | Error::Foreign => {
            "give the path of a file made by `gotrace record` or `gotrace snapshot`"
        }
        Error::Newer { .. } => "use the version of gotrace that wrote it, or a later one",
        Error::Sealed => "give the file with your age key with --identity",
        Error::WrongKey => "give the key of one of those it was encrypted for with --identity",
        _ => "it is damaged where it begins: take another one",
    })
}

/// Tells a recording, entry by entry.
struct Teller<'a> {
    symbols: Arc<dyn Symbolizer + Send + Sync>,
    clock: WallClock,
    window: Window,
    hear: &'a mut dyn FnMut(Heard<'_>) -> anyhow::Result<()>,
    said: (mpsc::Sender<Output>, mpsc::Receiver<Output>),
    story: Option<Story>,
    /// Number of the segment that is being read.
    segment: u64,
    /// The window has not begun.
    silent: bool,
    began: Ktime,
    /// Time of the latest thing that was told.
    told: Ktime,
    /// The last that was told.
    tick: Tick,
    /// How the trace ended. It is told last, whatever is found behind it.
    end: Option<Note>,
}

impl Teller<'_> {
    fn telling(&self) -> Telling {
        let said = self.said.0.clone();
        Telling {
            symbols: Arc::clone(&self.symbols),
            clock: self.clock,
            // Whoever listens is there as long as the story.
            listener: Box::new(move |output| drop(said.send(output))),
            feed: None,
            recorder: None,
            farewell: None,
            trends: None,
        }
    }

    /// Takes the next entry; tells whether to go on.
    fn entry(&mut self, entry: Entry) -> anyhow::Result<bool> {
        match entry {
            Entry::Segment(preamble) => self.segment = preamble.segment,
            Entry::Keyframe(keyframe) => {
                if self.story.is_none() {
                    self.began = keyframe.at;
                    self.told = keyframe.at;
                    self.tick = Tick::of(&keyframe);
                    let is_beginning = self.segment == 0;
                    self.story = Some(Story::resume(self.telling(), &keyframe, is_beginning));
                }
            }
            Entry::Items(unpacked) => return self.items(&unpacked),
            Entry::Observation(snapshot) => {
                let at = snapshot.finished;
                if let Some(story) = self.reach(at)? {
                    story.observed(snapshot);
                    self.pass_on()?;
                }
                return Ok(!self.is_over(at));
            }
            Entry::Note(note) => {
                let at = note.at;
                if self.reach(at)?.is_none() {
                    return Ok(!self.is_over(at));
                }
                if Story::is_end(&note) {
                    self.end = Some(note);
                } else if let Some(story) = &mut self.story {
                    if let Some(tick) = story.noted(note) {
                        self.tick = tick;
                    }
                    self.pass_on()?;
                }
                return Ok(!self.is_over(at));
            }
            Entry::Missing(missing) => {
                let until = self.window.to.unwrap_or(Ktime(u64::MAX));
                if missing.after > until {
                    return Ok(false);
                }
                if missing.events {
                    self.missing(&missing.what)?;
                } else {
                    self.hear(Output::Warning(missing.what))?;
                }
            }
        }
        Ok(true)
    }

    /// Tells whether to go on.
    fn items(&mut self, unpacked: &Unpacked) -> anyhow::Result<bool> {
        for item in &unpacked.items {
            if !self.item(item)? {
                return Ok(false);
            }
        }
        for (kind, count) in &unpacked.unknown {
            self.missing(&format!(
                "{count} events of kind {kind}, which this gotrace does not know, are left out"
            ))?;
        }
        Ok(true)
    }

    /// Tells whether to go on.
    fn item(&mut self, item: &Item) -> anyhow::Result<bool> {
        let at = match item {
            Item::Event(event) => event.at,
            Item::HeardUntil(at) | Item::Retraced { at, .. } => *at,
        };
        if self.reach(at)?.is_none() {
            return Ok(!self.is_over(at));
        }
        if let (Item::Event(event), false) = (item, self.silent) {
            (self.hear)(Heard::Event(event))?;
        }
        if let Some(story) = &mut self.story {
            story.item(item);
        }
        Ok(true)
    }

    /// The story, if something of this time is to be told; the window begins if this is the first of it.
    fn reach(&mut self, at: Ktime) -> anyhow::Result<Option<&mut Story>> {
        if self.window.to.is_some_and(|to| at > to) {
            return Ok(None);
        }
        if let (true, Some(from)) = (self.silent, self.window.from)
            && at >= from
            && let Some(before) = &self.story
        {
            let keyframe = before.known(Tick {
                at: from,
                ..self.tick.clone()
            });
            self.silent = false;
            self.began = from;
            self.story = Some(Story::resume(self.telling(), &keyframe, false));
        }
        self.told = self.told.max(at);
        Ok(self.story.as_mut())
    }

    /// Whether nothing that belongs to the window can come any more.
    fn is_over(&self, at: Ktime) -> bool {
        let over = |to: Ktime| at.0 > to.0.saturating_add(AHEAD);
        self.window.to.is_some_and(over)
    }

    /// What was told is not all: nobody knows what happened.
    fn missing(&mut self, what: &str) -> anyhow::Result<()> {
        if let (Some(story), None) = (&mut self.story, &self.end) {
            story.missing(self.told);
        }
        self.hear(Output::Warning(format!("not all can be told: {what}")))
    }

    fn pass_on(&mut self) -> anyhow::Result<()> {
        while let Ok(output) = self.said.1.try_recv() {
            self.hear(output)?;
        }
        Ok(())
    }

    fn hear(&mut self, output: Output) -> anyhow::Result<()> {
        match self.silent {
            true => Ok(()),
            false => (self.hear)(Heard::Said(output)),
        }
    }

    /// Makes the report if the recording has none.
    fn finish(mut self) -> anyhow::Result<Option<Story>> {
        let Some(story) = &mut self.story else {
            return Ok(None);
        };
        if let Some(end) = self.end.take() {
            story.end_noted(end, self.window.from);
        } else {
            let end = self.window.to.unwrap_or(self.told);
            let tick = Tick {
                at: end,
                ..self.tick.clone()
            };
            let ended = match self.window.to {
                Some(_) => "end of the window",
                None => "recording ends",
            };
            story.report(
                tick,
                End {
                    ended: ended.into(),
                    seconds: seconds(end.since(self.began)),
                    probes_removed: 0,
                },
            );
        }
        self.pass_on()?;
        Ok(self.story)
    }
}

#[cfg(test)]
mod tests {
    use tracer_model::snapshot::Snapshot;

    use super::*;

    #[test]
    fn moments_are_named_in_three_ways() {
        for (text, expected) in [
            ("+12s", Some(When::FromStart(Duration::from_secs(12)))),
            ("-1m30s", Some(When::FromEnd(Duration::from_secs(90)))),
            ("-0s", Some(When::FromEnd(Duration::ZERO))),
            (
                "2026-11-26T12:00:00Z",
                "2026-11-26T12:00:00Z".parse().ok().map(When::At),
            ),
            ("12", None),
            ("+-3s", None),
            ("now", None),
        ] {
            assert_eq!(when(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_recording_of_another_architecture_is_told_all_the_same() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("look");
        for arch in ["amd64", "arm64", "riscv64"] {
            let target = Target {
                pid: 7,
                exe: "/made/up".into(),
                replaced: false,
                build_id: String::new(),
                go_version: "go1.27.3".to_owned(),
                arch: arch.to_owned(),
                main: None,
                stripped: false,
                pie: false,
                layout: String::new(),
                layout_assumed: false,
            };
            let snapshot = Snapshot {
                started: Ktime(5),
                finished: Ktime(9),
                ..Snapshot::default()
            };
            let clock = WallClock::new(Ktime(3));
            let symbols = tracer_record::Dictionary::default();
            super::super::write_look(&path, target, clock, &snapshot, &symbols)
                .expect("it is written");
            let mut replay = Replay::open(&path, None).expect("it is one");
            assert_eq!(replay.target().arch, arch);
            assert_eq!(replay.span(), (Ktime(5), Ktime(9)));
            let story = replay.story_at(Ktime(9), |_| true, &mut |_| Ok(()));
            assert_eq!(story.expect("it is told").snapshot(), snapshot);
            std::fs::remove_file(&path).expect("it is ours");
        }
    }
}
