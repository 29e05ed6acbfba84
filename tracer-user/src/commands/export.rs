//! `gotrace export FORMAT`: what was traced, or how everything is, for other tools.
//!
//! What tells of events is always written from a recording: of a live process one is made first, in a temporary
//! directory. So memory stays bounded, and a live process and a recording give the same.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tracer_export::block::Blocking;
use tracer_export::chrome::Chrome;
use tracer_export::csv::Csv;
use tracer_export::perfetto::Perfetto;
use tracer_export::profile::{self, Profile};
use tracer_export::timeline::Timeline;
use tracer_export::{About, Clocks, Export, Part, Told, Written, folded, pprof};
use tracer_golang::process::ReadOptions;
use tracer_model::ids::Ktime;
use tracer_model::symbol::Symbolizer;
use tracer_record::sink::Limits;
use tracer_record::{Entry, Item};

use super::Verdict;
use super::findings::{Look, graph_of};
use super::run;
use super::screen::Voice;
use super::source::Source;
use crate::cli::{ExportArgs, ExportFormat, ExportSource, Level, ProfileKind, RunArgs, RunTarget};
use crate::document::{self, WallClock};
use crate::failure::Failure;
use crate::record::replay::Replay;
use crate::record::{Keep, Plan};
use crate::text;

/// How long a process is traced if nobody says.
const TIME: Duration = Duration::from_secs(5);
/// The output is written in pieces of so many bytes.
const BUFFER: usize = 1 << 18;

/// Writes one export.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<Verdict> {
    check(args)?;
    let mut output = Output::open(args.output.as_deref(), args.to)?;
    let what = match needs_events(args) {
        true => events(args, &mut output.writer)?,
        false => moment(args, &mut output.writer)?,
    };
    output.complete(&what)?;
    Ok(Verdict::Clean)
}

/// Whether it is of what happened, rather than of one moment.
fn needs_events(args: &ExportArgs) -> bool {
    match args.to {
        ExportFormat::Perfetto | ExportFormat::Chrome | ExportFormat::Csv => true,
        ExportFormat::Pprof | ExportFormat::Folded => args.profile == Some(ProfileKind::Block),
        ExportFormat::Dot | ExportFormat::Mermaid => false,
    }
}

/// Whether what was typed fits together, as far as its grammar does not tell.
fn check(args: &ExportArgs) -> Result<(), Failure> {
    let format = args.to.name();
    let refuse = |what: String, next: &str| Err(Failure::new(what).next(next));
    if args.profile.is_some() && !args.to.is_profile() {
        return refuse(
            format!("{format} has no profiles"),
            "leave --profile out, or export pprof or folded",
        );
    }
    let is_command = !args.source.command.is_empty();
    if is_command && (args.source.moment.at.is_some() || args.source.moment.identity.is_some()) {
        return refuse(
            "a command that is started is no recording".to_owned(),
            "leave --at and --identity out, or give a recording with --from",
        );
    }
    let goes_to_stdout = args.output.as_deref().is_none_or(is_dash);
    if is_command && goes_to_stdout {
        return refuse(
            "the export and what the command prints would get into each other".to_owned(),
            "give a file with --output",
        );
    }
    if needs_events(args) {
        if args.source.moment.at.is_some() {
            return refuse(
                format!("{format} is not of one moment"),
                "give --from-time and --to-time in place of --at",
            );
        }
        if args.level == Some(Level::Observe) {
            return refuse(
                "`--level observe` sees no events".to_owned(),
                "use another level, or export what tells how everything is: pprof, folded, dot, mermaid",
            );
        }
        return Ok(());
    }
    if args.from_time.is_some() || args.to_time.is_some() {
        return refuse(
            format!("{format} is of one moment"),
            "give --at in place of --from-time and --to-time",
        );
    }
    if !is_command && (args.time.is_some() || args.level.is_some()) {
        return refuse(
            format!("{format} looks once, without any probe"),
            if args.to.is_profile() {
                "leave --for and --level out, or take `--profile block`"
            } else {
                "leave --for and --level out"
            },
        );
    }
    Ok(())
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Where an export goes.
struct Output {
    writer: BufWriter<Box<dyn Write>>,
    /// The file that is written, until it is complete.
    partial: Option<PathBuf>,
}

impl Output {
    /// Opens a file, or standard output, before anything is traced.
    fn open(path: Option<&Path>, format: ExportFormat) -> Result<Output, Failure> {
        let (writer, partial): (Box<dyn Write>, _) = match path.filter(|path| !is_dash(path)) {
            Some(path) => {
                let file = File::create_new(path).map_err(|error| cannot_write(path, &error))?;
                (Box::new(file), Some(path.to_owned()))
            }
            None => {
                let stdout = std::io::stdout();
                if format.is_binary() && stdout.is_terminal() {
                    return Err(Failure::new(format!(
                        "{} is nothing for a terminal",
                        format.name()
                    ))
                    .next("give a file with --output, or a pipe"));
                }
                (Box::new(stdout), None)
            }
        };
        Ok(Output {
            writer: BufWriter::with_capacity(BUFFER, writer),
            partial,
        })
    }

    /// All of it was written.
    fn complete(mut self, what: &str) -> std::io::Result<()> {
        self.writer.flush()?;
        if let Some(path) = self.partial.take() {
            eprintln!("{}: {what}", text::safe(&path.display().to_string()));
        } else {
            eprintln!("{what}");
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = &self.partial {
            // It is of no use, and there is an error to be told already.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}", path.display()))
        .because(error)
        .next("give another path with --output")
}

/// What happened.
fn events(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<String> {
    let made = match &args.source.from {
        Some(_) => None,
        None => Some(record(args, args.level.unwrap_or(Level::Full))?),
    };
    let path = match (&made, &args.source.from) {
        (Some(made), _) => made.path(),
        (None, Some(path)) => path.clone(),
        (None, None) => return Err(Failure::new("nothing to export").next("give --from").into()),
    };
    let mut replay = Replay::open(&path, args.source.moment.identity.as_deref())?;
    check_events(&replay, &path)?;
    let (begun, last) = replay.span();
    // The probes of a program that was started are there before its recording begins.
    let first = first_event(&mut replay).map_or(begun, |event| event.min(begun));
    let moment = |when, otherwise| match when {
        Some(when) => replay.moment(when),
        None => Ok(otherwise),
    };
    let part = Part {
        from: moment(args.from_time, first)?,
        to: moment(args.to_time, last)?,
    };
    if replay.is_cut() && args.from_time.is_none() {
        tracing::warn!("the oldest part of the recording was deleted: it begins with what is left");
    }
    let about = about(replay.target(), replay.clock);
    let symbols = replay.symbols();
    let written = match args.to {
        ExportFormat::Perfetto => {
            let canvas = Perfetto::new(out, &about, symbols.clone())?;
            feed(&mut replay, part, &mut Timeline::new(canvas, part, symbols))?
        }
        ExportFormat::Chrome => {
            let canvas = Chrome::new(out, &about, symbols.clone())?;
            feed(&mut replay, part, &mut Timeline::new(canvas, part, symbols))?
        }
        ExportFormat::Csv => {
            let mut csv = Csv::new(out, part, about.clocks, symbols)?;
            feed(&mut replay, part, &mut csv)?
        }
        ExportFormat::Pprof | ExportFormat::Folded | ExportFormat::Dot | ExportFormat::Mermaid => {
            let blocking = Blocking::new(part, symbols.clone());
            let mut timeline = Timeline::new(blocking, part, symbols.clone());
            let written = feed(&mut replay, part, &mut timeline)?;
            write_profile(args.to, timeline.canvas().profile(), &about, &*symbols, out)?;
            written
        }
    };
    if written.events == 0 {
        tracing::warn!("there are no events in this time: the target did nothing that is traced");
    }
    Ok(summary(written))
}

/// Time of the first event of a recording.
fn first_event(replay: &mut Replay) -> Option<Ktime> {
    replay.entries(Ktime(0)).find_map(|entry| match entry {
        Entry::Items(unpacked) => unpacked.items.iter().find_map(|item| match item {
            Item::Event(event) => Some(event.at),
            Item::HeardUntil(_) | Item::Retraced { .. } => None,
        }),
        _ => None,
    })
}

/// What was written, in a line.
fn summary(written: Written) -> String {
    let Written { events, lost, gaps } = written;
    let events = text::count(usize::try_from(events).unwrap_or(usize::MAX), "event");
    match (lost, gaps) {
        (_, 0) => events,
        (lost, gaps) => format!(
            "{events}; {} lost, in {}",
            text::thousands(lost),
            text::count(usize::try_from(gaps).unwrap_or(usize::MAX), "gap")
        ),
    }
}

/// Whether a file has events at all.
fn check_events(replay: &Replay, path: &Path) -> Result<(), Failure> {
    let path = path.display();
    match replay.attached() {
        None => Err(Failure::new(format!(
            "{path} is a snapshot: it tells how everything was, not what happened"
        ))
        .next(
            "export pprof, folded, dot or mermaid of it, or make a recording with `gotrace record`",
        )),
        Some(attached) if &*attached.level == Level::Observe.name() => Err(Failure::new(format!(
            "{path} has no events: it was recorded at `--level observe`"
        ))
        .next("export pprof, folded, dot or mermaid of it, or record at another level")),
        Some(_) => Ok(()),
    }
}

/// A recording that was made for the purpose, and goes with this value.
struct Made(TempDir);

impl Made {
    fn path(&self) -> PathBuf {
        self.0.path().join("recording")
    }
}

/// Traces for a while.
fn record(args: &ExportArgs, level: Level) -> anyhow::Result<Made> {
    let ExportSource {
        pid,
        name,
        from: _,
        moment: _,
        command,
    } = &args.source;
    let made = Made(tempfile::tempdir().map_err(|error| {
        Failure::new("cannot make a place for what is traced")
            .because(error)
            .next("set TMPDIR to a directory with room")
    })?);
    let target = RunTarget {
        pid: *pid,
        name: name.clone(),
        command: command.clone(),
    };
    let plan = Plan {
        path: made.path(),
        keep: Keep::Up(Limits::default()),
        recipients: None,
    };
    let run = RunArgs::for_export(target, level, args.time.unwrap_or(TIME));
    // What was found is not what was asked for.
    run::trace(run, Some(plan), Voice::Warnings)?;
    Ok(made)
}

/// Tells a part of a recording, and what was before it as far as one needs to know.
fn feed(replay: &mut Replay, part: Part, export: &mut dyn Export) -> anyhow::Result<Written> {
    let mut begun = false;
    for entry in replay.entries(part.from) {
        match entry {
            Entry::Keyframe(keyframe) if !begun => {
                begun = true;
                export.tell(Told::Known {
                    at: keyframe.at,
                    snapshot: keyframe.snapshot.as_ref(),
                    parks_seen: keyframe.parks_seen,
                })?;
            }
            Entry::Items(unpacked) => {
                for item in &unpacked.items {
                    let at = match item {
                        Item::Event(event) => event.at,
                        Item::HeardUntil(at) | Item::Retraced { at, .. } => *at,
                    };
                    // They come in the order of time.
                    if at > part.to {
                        return Ok(export.finish()?);
                    }
                    export.tell(match item {
                        Item::Event(event) => Told::Event(event),
                        Item::HeardUntil(at) => Told::HeardUntil(*at),
                        Item::Retraced { at, parks_seen } => Told::Retraced {
                            at: *at,
                            parks_seen: *parks_seen,
                        },
                    })?;
                }
                for (kind, count) in unpacked.unknown {
                    let what =
                        format!("{count} events of kind {kind}, which this gotrace does not know");
                    missing(export, &what)?;
                }
            }
            Entry::Observation(snapshot) if snapshot.finished <= part.to => {
                export.tell(Told::Observed(snapshot))?;
            }
            Entry::Missing(damage) if damage.events && damage.after <= part.to => {
                missing(export, &damage.what)?;
            }
            Entry::Missing(damage) => tracing::warn!("{}", damage.what),
            Entry::Segment(_) | Entry::Keyframe(_) | Entry::Observation(_) | Entry::Note(_) => {}
        }
    }
    Ok(export.finish()?)
}

fn missing(export: &mut dyn Export, what: &str) -> std::io::Result<()> {
    tracing::warn!("not all can be told: {what}");
    export.tell(Told::Missing { what })
}

/// How everything is, or was at a moment.
fn moment(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<String> {
    let mut look = args.source.look();
    let made = match args.source.command.is_empty() {
        true => None,
        false => Some(record(args, args.level.unwrap_or(Level::Observe))?),
    };
    look.from = made.as_ref().map(Made::path).or(look.from);
    if !args.to.is_profile() {
        let mut source = Source::open_searched(&look)?;
        let look = Look::of(&mut source)?;
        let graph = graph_of(&look, &source);
        let text = match args.to {
            ExportFormat::Mermaid => text::graph::mermaid(&graph),
            _ => text::graph::dot(&graph),
        };
        out.write_all(text.as_bytes())?;
        return Ok(match look.findings.len() {
            0 => "no goroutine is stuck, as far as memory tells: the graph is empty".to_owned(),
            found => text::count(found, "finding"),
        });
    }
    let mut source = Source::open(&look)?;
    let snapshot = source.snapshot(&ReadOptions::default())?;
    let profile = profile::goroutines(&snapshot);
    let about = about(source.info(), source.clock());
    write_profile(args.to, &profile, &about, source.symbols(), out)?;
    let goroutines = profile.samples.values().flatten().sum::<i64>();
    let goroutines = usize::try_from(goroutines).unwrap_or(0);
    Ok(format!(
        "{}, {}",
        text::count(goroutines, "goroutine"),
        text::count(profile.samples.len(), "stack")
    ))
}

/// Writes a profile. What its format has no place for goes to standard error.
fn write_profile(
    format: ExportFormat,
    profile: &Profile,
    about: &About,
    symbols: &dyn Symbolizer,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if format == ExportFormat::Pprof {
        return pprof::write(profile, about, symbols, out);
    }
    for comment in &profile.comments {
        eprintln!("{}", text::safe(comment));
    }
    folded::write(profile, symbols, out)
}

fn about(target: &document::Target, clock: WallClock) -> About {
    let pair = clock.pair();
    About {
        pid: target.pid,
        name: target
            .exe
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        exe: target.exe.to_string_lossy().into_owned(),
        build_id: target.build_id.clone(),
        clocks: Clocks {
            kernel: pair.kernel,
            unix: pair.unix,
        },
    }
}
