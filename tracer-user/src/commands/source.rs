//! Where a one-shot command looks: a live process, a snapshot's file or a moment of a recording. All
//! answer alike.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tracer_golang::process::memory::TargetMemory as _;
use tracer_golang::process::{GoProcess, ReadOptions, Symbols, ktime_now};
use tracer_model::ids::{Goid, Ktime};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use crate::cli::{MomentArgs, SourceArgs};
use crate::document::{self, WallClock};
use crate::failure::Failure;
use crate::open_files;
use crate::progress::Busy;
use crate::record::replay::{Heard, Replay};
use crate::remote;
use crate::target::{self, Target};
use crate::text;
use crate::trace::preflight::Host;
use crate::trace::story::{Output, Story};

/// A process or a file, opened.
pub(super) enum Source {
    Live(Box<Live>),
    Told(Box<Told>),
}

pub(super) struct Live {
    target: Target,
    process: GoProcess,
    symbols: Symbols,
    clock: WallClock,
}

/// A recording, told up to a moment.
pub(super) struct Told {
    target: document::Target,
    symbols: Arc<dyn Symbolizer + Send + Sync>,
    clock: WallClock,
    at: Ktime,
    story: Story,
}

impl Source {
    /// Opens what the user named.
    ///
    /// # Errors
    /// It cannot be opened, or is not what it should be.
    pub(super) fn open(args: &SourceArgs) -> anyhow::Result<Source> {
        Self::open_with(args, |_| true)
    }

    /// The same for a question that needs a search for what is reachable.
    ///
    /// # Errors
    /// As before.
    pub(super) fn open_searched(args: &SourceArgs) -> anyhow::Result<Source> {
        Self::open_with(args, |story| story.marked().is_some())
    }

    fn open_with(args: &SourceArgs, enough: impl Fn(&Story) -> bool) -> anyhow::Result<Source> {
        if let Some(url) = &args.url {
            let busy = Busy::with(format!("waiting for a snapshot by {}", text::safe(url)));
            let file = remote::snapshot(url, &args.remote)?;
            drop(busy);
            let told = Self::of_file(file.path(), &args.moment, enough);
            return told.with_context(|| format!("{url} sent what cannot be used"));
        }
        match &args.from {
            Some(path) => Self::of_file(path, &args.moment, enough),
            None => Ok(Self::of_process(args.pid, args.name.as_deref())?),
        }
    }

    /// Opens a file, which is read to its end or to the moment that is asked for.
    fn of_file(
        path: &Path,
        moment: &MomentArgs,
        enough: impl Fn(&Story) -> bool,
    ) -> anyhow::Result<Source> {
        let _busy = Busy::with(format!(
            "reading {}",
            text::safe(&path.display().to_string())
        ));
        let mut replay = Replay::open(path, moment.identity.as_deref())?;
        let at = match moment.at {
            Some(when) => replay.moment(when)?,
            None => replay.span().1,
        };
        let story = replay.story_at(at, enough, &mut |heard| {
            if let Heard::Said(Output::Warning(message)) = heard {
                tracing::warn!("{message}");
            }
            Ok(())
        })?;
        if !story.has_seen_memory() {
            let path = path.display();
            return Err(Failure::new(format!("cannot read {path}: it has no goroutines"))
                .because("there is no read of the target's memory in it by that time, or that is cut off")
                .next("give a later time with --at, or another file")
                .into());
        }
        Ok(Source::Told(Box::new(Told {
            target: replay.target().clone(),
            symbols: replay.symbols(),
            clock: replay.clock,
            at,
            story,
        })))
    }

    /// Opens a live process.
    ///
    /// # Errors
    /// There is none such, or it cannot be read.
    pub(super) fn of_process(pid: Option<u32>, name: Option<&str>) -> Result<Source, Failure> {
        let pid = match (pid, name) {
            (Some(pid), _) => pid,
            (None, Some(name)) => target::pid_by_name(name)?,
            (None, None) => {
                return Err(Failure::new("no process is named").next("give --pid or --name"));
            }
        };
        let target = Target::of_pid(pid)?;
        Host::look().check_memory()?;
        let process = target.process()?;
        let symbols = process.symbols();
        Ok(Source::Live(Box::new(Live {
            target,
            process,
            symbols,
            clock: WallClock::new(ktime_now()),
        })))
    }

    /// A process that was started for the purpose, opened already.
    pub(super) fn of_started(target: Target, process: GoProcess) -> Source {
        let symbols = process.symbols();
        Source::Live(Box::new(Live {
            target,
            process,
            symbols,
            clock: WallClock::new(ktime_now()),
        }))
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self, Source::Live(_))
    }

    /// Whether it was a process that has ended.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Source::Live(live) => live.process.memory().check_alive().is_err(),
            Source::Told(_) => false,
        }
    }

    /// What a recording tells, if this is one.
    pub(super) fn story(&self) -> Option<&Story> {
        match self {
            Source::Live(_) => None,
            Source::Told(told) => Some(&told.story),
        }
    }

    /// Reads the process, or gives what was recorded, whatever the options were then.
    ///
    /// # Errors
    /// The process cannot be read.
    pub(super) fn snapshot(&mut self, options: &ReadOptions) -> Result<Snapshot, Failure> {
        match self {
            Source::Live(live) => {
                let mut snapshot = (live.process)
                    .snapshot(options, &ktime_now)
                    .map_err(|error| live.target.unreadable(&error))?;
                open_files::name(live.target.pid, &mut snapshot.descriptors);
                Ok(snapshot)
            }
            Source::Told(told) => Ok(told.story.snapshot()),
        }
    }

    /// Goroutines whose state is not known at that moment of a recording, ascending.
    pub(super) fn unsure(&self) -> Vec<Goid> {
        self.story().map(Story::unsure).unwrap_or_default()
    }

    /// Finds out what is reachable; a recording knows it already, or not.
    ///
    /// # Errors
    /// The process cannot be read.
    pub(super) fn find_reachable(&mut self, snapshot: &mut Snapshot) -> Result<(), Failure> {
        if let Source::Live(live) = self {
            let unreadable = |error| live.target.unreadable(&error);
            let found = live.process.reachability(snapshot, &ktime_now);
            snapshot.reachability = Some(found.map_err(unreadable)?);
            snapshot.corrupt = live.process.corruption(snapshot).map_err(unreadable)?;
        }
        Ok(())
    }

    pub(super) fn symbols(&self) -> &dyn Symbolizer {
        match self {
            Source::Live(live) => &live.symbols,
            Source::Told(told) => &*told.symbols,
        }
    }

    /// The same, to be kept.
    pub(super) fn shared_symbols(&self) -> Arc<dyn Symbolizer + Send + Sync> {
        match self {
            Source::Live(live) => Arc::new(live.symbols.clone()),
            Source::Told(told) => Arc::clone(&told.symbols),
        }
    }

    /// The moment of a recording that it is about.
    pub(super) fn moment(&self) -> Option<String> {
        match self {
            Source::Live(_) => None,
            Source::Told(told) => Some(told.clock.rfc3339(told.at)),
        }
    }

    pub(super) const fn info(&self) -> &document::Target {
        match self {
            Source::Live(live) => &live.target.info,
            Source::Told(told) => &told.target,
        }
    }

    pub(super) const fn clock(&self) -> WallClock {
        match self {
            Source::Live(live) => live.clock,
            Source::Told(told) => told.clock,
        }
    }

    /// One line that says what was read and how.
    pub(super) fn heading(&self, snapshot: &Snapshot) -> String {
        let info = self.info();
        let system = snapshot
            .goroutines
            .iter()
            .filter(|goroutine| goroutine.system)
            .count();
        let moving = match snapshot.moving {
            0 => String::new(),
            moving => format!(", {moving} moving"),
        };
        let took = text::elapsed(snapshot.finished.since(snapshot.started));
        let read = match self {
            Source::Live(_) => format!("read in {took}"),
            Source::Told(told) => {
                let time = |at| told.clock.rfc3339(at);
                match told.story.brought_up_to_date_since() {
                    // What is asked may be about the read alone.
                    Some(read) if snapshot.reachability.is_none() => format!(
                        "as of {}, by events since memory was read at {}",
                        time(told.at),
                        time(read)
                    ),
                    _ => format!("read at {} in {took}", time(snapshot.started)),
                }
            }
        };
        let replaced = if info.replaced {
            "\nthe file was replaced on disk; the running one was read through /proc"
        } else {
            ""
        };
        let assumed = match info.layout_assumed {
            true => format!(
                "\nthis Go version is not known to gotrace: layouts from {}",
                info.layout
            ),
            false => String::new(),
        };
        format!(
            "{} (pid {}) {} {}: {} and {system} of the runtime, {read}{moving}{replaced}{assumed}",
            text::styled(
                text::BOLD,
                text::safe(&info.exe.file_name().unwrap_or_default().to_string_lossy())
            ),
            info.pid,
            text::safe(&info.go_version),
            info.arch,
            text::count(snapshot.goroutines.len() - system, "goroutine"),
        )
    }
}
