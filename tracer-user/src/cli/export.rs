//! What can be typed of exports.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Level, MomentArgs, RunArgs, RunTarget, SourceArgs};
use crate::listing::duration;
use crate::record::replay::{When, when};

/// `--help` of `export`.
const EXPORT: &str = "perfetto, chrome, csv and `--profile block` tell what happened: of a process or a command they are \
    recorded for a while (--for), with probes, and then written; of a file they need a recording. The others tell how \
    everything is at one moment, of a snapshot too, and place no probe.\n\n\
    Examples:\n  \
    gotrace export perfetto --pid 4711 --for 10s -o api.perfetto-trace   open it at ui.perfetto.dev\n  \
    gotrace export pprof --from incident.gotrace -o goroutines.pb.gz     go tool pprof -top goroutines.pb.gz\n  \
    gotrace export folded --profile block --from incident.gotrace        into a flame graph\n  \
    gotrace export dot --pid 4711 | dot -Tsvg -o waits.svg";

#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct ExportArgs {
    /// In which format
    #[arg(value_name = "FORMAT", value_enum)]
    pub(crate) to: ExportFormat,
    #[command(flatten)]
    pub(crate) source: ExportSource,
    /// The file to write; it must not exist [default: `-`, which is standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Of pprof and folded: what is counted [default: goroutine]
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) profile: Option<ProfileKind>,
    /// Of a process or a command: trace it for so long [default: 5s]
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "from")]
    pub(crate) time: Option<Duration>,
    /// Of a process or a command: what to trace [default: full, which sees messages and the fill of channels]
    #[arg(short, long, value_enum, conflicts_with = "from")]
    pub(crate) level: Option<Level>,
    /// Of a recording: begin at this time (2026-11-26T12:00:00Z, +12s from its beginning, -5s from its end)
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true, conflicts_with_all = ["pid", "name", "command"])]
    pub(crate) from_time: Option<When>,
    /// Of a recording: end at this time
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true, conflicts_with_all = ["pid", "name", "command"])]
    pub(crate) to_time: Option<When>,
}

/// Which process, which file, or which command to start.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["pid", "name", "from", "command"])]
pub(crate) struct ExportSource {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// A file made by `gotrace record` or `gotrace snapshot`, in place of a process
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) moment: MomentArgs,
    /// A command to start
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

impl ExportSource {
    /// For one look.
    pub(crate) fn look(&self) -> SourceArgs {
        SourceArgs {
            pid: self.pid,
            name: self.name.clone(),
            from: self.from.clone(),
            moment: self.moment.clone(),
            ..SourceArgs::default()
        }
    }
}

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A timeline for ui.perfetto.dev: goroutines, channels, wake-ups, messages
    Perfetto,
    /// The same in Chrome's JSON
    Chrome,
    /// A profile for `go tool pprof`
    Pprof,
    /// Stacks for flame graphs
    Folded,
    /// Who is stuck on what, for Graphviz
    Dot,
    /// The same for Mermaid
    Mermaid,
    /// Events, one a row
    Csv,
}

impl ExportFormat {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ExportFormat::Perfetto => "perfetto",
            ExportFormat::Chrome => "chrome",
            ExportFormat::Pprof => "pprof",
            ExportFormat::Folded => "folded",
            ExportFormat::Dot => "dot",
            ExportFormat::Mermaid => "mermaid",
            ExportFormat::Csv => "csv",
        }
    }

    /// Whether it is not for people's eyes.
    pub(crate) const fn is_binary(self) -> bool {
        matches!(self, ExportFormat::Perfetto | ExportFormat::Pprof)
    }

    /// Whether it is of stacks that are counted.
    pub(crate) const fn is_profile(self) -> bool {
        matches!(self, ExportFormat::Pprof | ExportFormat::Folded)
    }
}

/// The profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileKind {
    /// Goroutines by their stacks
    Goroutine,
    /// Where goroutines wait for each other, how often and how long
    Block,
}

impl RunArgs {
    /// Traces for an export: quietly, and for so long.
    pub(crate) fn for_export(target: RunTarget, level: Level, duration: Duration) -> RunArgs {
        RunArgs {
            duration: Some(duration),
            ..RunArgs::quiet(target, level)
        }
    }
}
