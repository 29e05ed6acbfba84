//! Where a one-shot command looks: a live process or a saved snapshot. Both answer alike.

use tracer_golang::process::{GoProcess, ReadOptions, Symbols, ktime_now};
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use crate::cli::SourceArgs;
use crate::document::{self, WallClock};
use crate::failure::Failure;
use crate::open_files;
use crate::saved::{Dictionary, Saved};
use crate::target::{self, Target};
use crate::text;
use crate::trace::preflight::Host;

/// A process or a file, opened.
pub(super) enum Source {
    Live(Box<Live>),
    Saved(Box<FromFile>),
}

pub(super) struct Live {
    target: Target,
    process: GoProcess,
    symbols: Symbols,
    clock: WallClock,
}

pub(super) struct FromFile {
    saved: Saved,
    symbols: Dictionary,
}

impl Source {
    /// Opens what the user named.
    ///
    /// # Errors
    /// It cannot be opened, or is not what it should be.
    pub(super) fn open(args: &SourceArgs) -> Result<Source, Failure> {
        match &args.from {
            Some(path) => {
                let saved = Saved::read(path)?;
                let symbols = saved.dictionary();
                Ok(Source::Saved(Box::new(FromFile { saved, symbols })))
            }
            None => Self::of_process(args.pid, args.name.as_deref()),
        }
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

    /// Reads the process, or gives what was saved, whatever the options were then.
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
            Source::Saved(file) => Ok(file.saved.snapshot.clone()),
        }
    }

    /// Finds out what is reachable; a saved snapshot knows it already.
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
            Source::Saved(file) => &file.symbols,
        }
    }

    pub(super) const fn info(&self) -> &document::Target {
        match self {
            Source::Live(live) => &live.target.info,
            Source::Saved(file) => &file.saved.target,
        }
    }

    pub(super) const fn clock(&self) -> WallClock {
        match self {
            Source::Live(live) => live.clock,
            Source::Saved(file) => file.saved.clock,
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
        let when = if self.is_live() {
            String::new()
        } else {
            format!(" at {}", self.clock().rfc3339(snapshot.started))
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
            "{} (pid {}) {} {}: {} and {system} of the runtime, read{when} in {}{moving}{replaced}{assumed}",
            text::styled(
                text::BOLD,
                text::safe(&info.exe.file_name().unwrap_or_default().to_string_lossy())
            ),
            info.pid,
            text::safe(&info.go_version),
            info.arch,
            text::count(snapshot.goroutines.len() - system, "goroutine"),
            text::elapsed(snapshot.finished.since(snapshot.started)),
        )
    }
}
