//! What a user can type. What it means is decided in [`crate::commands`].

mod agent;
mod cluster;
mod config;
mod dap;
mod doctor;
mod export;
mod kubernetes;
mod record;
mod remote;
mod serve;
mod shell;
mod top;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracer_model::detect::Verdict;
use tracer_model::ids::ChanAddr;
use tracer_model::query::{Criterion, Filter};

use crate::listing::{ChannelSort, Grouping, Sort, criterion, duration, group_by};
use crate::record::replay::{When, when};

pub(crate) use agent::AgentArgs;
pub(crate) use cluster::{
    ApiArgs, ClusterArgs, ClusterCommand, ClusterDiffArgs, ClusterSnapshotArgs, FleetArgs,
};
pub(crate) use config::{ConfigArgs, ConfigCommand};
pub(crate) use dap::DapArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use export::{ExportArgs, ExportFormat, ExportSource, ProfileKind};
pub(crate) use kubernetes::{Events, KubernetesArgs};
pub(crate) use record::{DiffArgs, LastArgs, RecordArgs, ReplayArgs};
pub(crate) use remote::RemoteArgs;
pub(crate) use serve::{Listen, ServeArgs};
pub(crate) use shell::{CompletionsArgs, ManArgs};
pub(crate) use top::TopArgs;

/// What the list commands filter by.
macro_rules! criteria {
    () => {
        "Criteria: user, system, running, state S, reason TEXT, label K[=V], curloc RE, userloc RE, \
        goloc RE, startloc RE, stack RE, chan ADDR, waiting-longer TIME, created-by GOID, goid GOID, text TEXT.\n\
        A place (curloc: the innermost frame, userloc: the innermost of the user's code, goloc: the go statement, \
        startloc: the goroutine's function, stack: any frame) matches by its function or its file:line; \
        text looks for a word in all that is shown.\n\n"
    };
}

/// A continuous, non-stop tracer for Go programs.
///
/// Attaches to a running Go process, reads what its goroutines and channels do and who waits for
/// whom, and never stops it. Needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE).
#[derive(Debug, Parser)]
#[command(
    name = "gotrace",
    version,
    after_help = "Exit codes: 0 nothing found, 1 findings (a deadlock or a proven leak; see --fail-on), 2 error.\n\n\
                  Examples:\n  \
                  gotrace run --pid 4711              trace a process until Ctrl-C\n  \
                  gotrace deadlocks --pid 4711        look once, without any probe\n  \
                  gotrace why 17 --pid 4711           what keeps goroutine 17\n  \
                  gotrace leaks -- ./service.test     run a test, fail if it leaks goroutines\n  \
                  gotrace run --level full -- ./svc   start a program and trace it from the beginning"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log what gotrace itself does to stderr (repeat for more; the variable GOTRACE_LOG takes a
    /// filter such as `debug`)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Do not show long text through a pager (on a terminal: GOTRACE_PAGER, else PAGER, else `less`)
    #[arg(long, global = true)]
    pub(crate) no_pager: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Trace a Go process: a live picture, findings as they come, a report at the end
    #[command(after_help = RUN)]
    Run(RunArgs),
    /// Watch a Go process in a console: its goroutines, channels, findings and sites
    Top(TopArgs),
    /// Trace a Go process as `run` does and keep it all in a file, to be replayed and asked later
    Record(RecordArgs),
    /// Tell a recording again, or show how everything was at a moment of it
    Replay(ReplayArgs),
    /// Find all Go processes of this machine and follow them, new ones too, until told to end
    Agent(AgentArgs),
    /// List the goroutines of a process, once, from its memory alone
    Goroutines(GoroutinesArgs),
    /// Show one goroutine: what it waits on, since when, and its stack
    Stack(StackArgs),
    /// List the channels that goroutines wait on or hold, once, from the process' memory alone
    Channels(ChannelsArgs),
    /// Show one channel as a picture: its buffer and both wait queues
    Channel(ChannelArgs),
    /// Save all of it as one file, to be studied elsewhere with --from
    Snapshot(SnapshotArgs),
    /// Look for goroutines that can never run again, once, from the process' memory alone
    Deadlocks(DeadlocksArgs),
    /// List goroutines that can never run again by where they are stuck, of a process or of a command
    Leaks(LeaksArgs),
    /// Explain one goroutine: what it waits on, who could end that and why they do not
    Why(WhyArgs),
    /// Compare two sides, or name the one of several replicas that is unlike the others
    Diff(DiffArgs),
    /// Ask the agents of a Kubernetes cluster: how do replicas differ, or a snapshot of each
    Cluster(ClusterArgs),
    /// Write what was traced, or how everything is, in the format of another tool
    Export(ExportArgs),
    /// Let an editor look into a running program: the Debug Adapter Protocol, without a stop
    Dap(DapArgs),
    /// Tell what this host can and cannot do, and why
    Doctor(DoctorArgs),
    /// Check files of settings for `run` and `record`, or show what holds
    Config(ConfigArgs),
    /// Print a script that lets a shell complete what is typed
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

impl Command {
    /// Whether it shows text that people read from its beginning to its end.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Command::Replay(args) => args.format == Format::Text,
            Command::Goroutines(args) => args.format == Format::Text,
            Command::Stack(args) => args.format == Format::Text,
            Command::Channels(args) => args.format == Format::Text,
            Command::Channel(args) => args.format == Format::Text,
            Command::Diff(args) => args.format == Format::Text,
            Command::Cluster(args) => args.command.is_read(),
            Command::Doctor(args) => args.format == Format::Text && !args.json,
            Command::Deadlocks(args) => args.report.format == GraphFormat::Text,
            Command::Why(args) => args.format == GraphFormat::Text,
            // A command's own output comes meanwhile.
            Command::Leaks(args) => {
                args.report.format == GraphFormat::Text && args.source.command().is_none()
            }
            Command::Run(_)
            | Command::Top(_)
            | Command::Record(_)
            | Command::Agent(_)
            | Command::Snapshot(_)
            | Command::Export(_)
            | Command::Dap(_)
            | Command::Config(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }
}

/// Which process, or which saved snapshot.
#[derive(Clone, Debug, Default, Args)]
#[group(required = true, multiple = false, args = ["pid", "name", "from", "url"])]
pub(crate) struct SourceArgs {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// A file made by `gotrace record` or `gotrace snapshot`, in place of a process
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Another gotrace that traces a process, such as http://127.0.0.1:9477: a snapshot that it takes now
    #[arg(long, value_name = "URL", conflicts_with_all = ["at", "identity"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) moment: MomentArgs,
}

/// Of a recording: which moment, and how to open it.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct MomentArgs {
    /// Of a recording: at this time (2026-11-26T12:00:00Z, +12s from its beginning, -5s from its end)
    /// [default: its end]
    #[arg(long, value_name = "TIME", value_parser = when, conflicts_with_all = ["pid", "name"], allow_hyphen_values = true)]
    pub(crate) at: Option<When>,
    /// The file with the age keys for one that is encrypted
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pid", "name"])]
    pub(crate) identity: Option<PathBuf>,
}

/// Which process.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct TargetArgs {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
}

/// `--help` of `run`.
const RUN: &str = "Examples:\n  \
    gotrace run --pid 4711                          as much as 1 % of its CPU time pays for\n  \
    gotrace run --name 'api*' --level observe       no probe: memory alone, once a second\n  \
    gotrace run --level full --duration 30s -- ./service --port 8080\n  \
    gotrace run --pid 4711 --format json | jq 'select(.type == \"finding\")'\n  \
    gotrace run --pid 4711 --ring 60s --ring-to /var/lib/gotrace   the last minute, when something is proven";

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) target: RunTarget,
    /// What to trace: each level sees more and costs the target more
    #[arg(short, long, value_enum, default_value_t = Level::Auto)]
    pub(crate) level: Level,
    /// Of `--level auto`: how much of the target's CPU time its probes may take [default: 1%]
    #[arg(short, long, value_name = "PERCENT", value_parser = budget)]
    pub(crate) budget: Option<f64>,
    /// Read settings from this file (TOML; see `gotrace config --help`)
    /// [default: /etc/gotrace/config.toml, then the user's own]
    #[arg(long, value_name = "FILE", env = "GOTRACE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Text for people or one JSON object a line
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Stop after this time, e.g. 30s or 5m (default: when interrupted or when the target ends)
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Time between two summaries and two reads of the target's memory
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(crate) interval: Duration,
    /// For how long something must grow or jam until it is said; a slow growth, and all of a program that has just
    /// begun, takes three to five times as long
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3m")]
    pub(crate) trend_window: Duration,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) last: LastArgs,
    /// Size of the kernel's ring of events in MiB, a power of two [default: 2 at `wake` and `park`, else 8]
    #[arg(long, value_name = "MIB", value_parser = ring_mib)]
    pub(crate) event_ring: Option<u32>,
    /// For tests alone: a ring of so few KiB that records are lost
    #[arg(long, hide = true, value_name = "KIB", conflicts_with = "event_ring", value_parser = ring_kib)]
    pub(crate) ring_kib: Option<u32>,
    /// For `cargo xtask bench` alone: what a tracer would cost that probes a function's first
    /// instruction and wakes its reader for each record
    #[arg(long, hide = true)]
    pub(crate) bench_worst: bool,
    /// For `cargo xtask bench` alone: what the traps alone cost, by probes that do nothing
    #[arg(long, hide = true)]
    pub(crate) bench_empty: bool,
    /// Attach each probe as a link of its own, as on kernels before 6.6: slower to begin and to end
    #[arg(long, hide = true)]
    pub(crate) single_links: bool,
    /// Show the diagnostics of the kernel side as well (costs the target more)
    #[arg(long)]
    pub(crate) kernel_log: bool,
}

impl RunArgs {
    /// The window of trends in nanoseconds.
    pub(crate) fn trend_nanos(&self) -> u64 {
        u64::try_from(self.trend_window.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A trace for a purpose of gotrace's own, until it is ended: it serves nobody and prints nothing.
    fn quiet(target: RunTarget, level: Level) -> RunArgs {
        RunArgs {
            target,
            level,
            budget: None,
            config: None,
            format: Format::Text,
            duration: None,
            interval: Duration::from_secs(1),
            trend_window: Duration::from_secs(180),
            serve: ServeArgs::off(),
            last: LastArgs::default(),
            event_ring: None,
            ring_kib: None,
            bench_worst: false,
            bench_empty: false,
            single_links: false,
            kernel_log: false,
        }
    }

    /// Size of the event ring. It is mapped twice, one mapping after the other, so that it counts twice
    /// as resident memory; the levels with few records make do with less.
    pub(crate) fn ring_bytes(&self) -> u32 {
        let usual = match self.level {
            Level::Observe | Level::Wake | Level::Park => 2,
            Level::Auto | Level::Full | Level::Syscalls => 8,
        };
        match self.ring_kib {
            Some(kib) => kib << 10,
            None => self.event_ring.unwrap_or(usual) << 20,
        }
    }
}

/// Which process, or which command to start.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RunTarget {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// A command to start and trace from its first instruction
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// Which goroutines of a list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only goroutines that meet this: `state waiting`, `reason "chan send"`, `userloc REGEX`, … (all of
    /// them, if given more than once). An equals sign may stand for the space
    #[arg(short, long, value_name = "CRITERION", value_parser = criterion)]
    pub(crate) with: Vec<Criterion>,
    /// Leave out goroutines that meet this
    #[arg(long, value_name = "CRITERION", value_parser = criterion)]
    pub(crate) without: Vec<Criterion>,
}

impl ListArgs {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            with: self.with.clone(),
            without: self.without.clone(),
        }
    }
}

/// `--help` of `goroutines`.
const GOROUTINES: &str = concat!(
    criteria!(),
    "Examples:\n  \
    gotrace goroutines --pid 4711                              alike ones once, the most frequent first\n  \
    gotrace goroutines --pid 4711 --with user --with 'waiting-longer 1m'\n  \
    gotrace goroutines --pid 4711 --without 'reason IO wait' --group userloc\n  \
    gotrace goroutines --url http://10.0.0.7:9477 --sort waiting --group none --limit 20"
);

/// `--help` of `channels`.
const CHANNELS: &str = concat!(
    criteria!(),
    "Examples:\n  \
    gotrace channels --pid 4711                                the fullest first\n  \
    gotrace channels --pid 4711 --heap --redact                also those that nobody waits on\n  \
    gotrace channels --pid 4711 --with 'userloc main.worker' --sort waiting"
);

#[derive(Debug, Args)]
#[command(after_help = GOROUTINES)]
pub(crate) struct GoroutinesArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Group by: stack, state, reason, `label K`, curloc, userloc, goloc, startloc, chan,
    /// wait (state or reason, and userloc), or none [default: stack, which shows alike ones once]
    #[arg(short, long, value_name = "BY", value_parser = group_by)]
    pub(crate) group: Option<Grouping>,
    /// Order of the list, and within groups
    #[arg(short, long, value_enum, default_value_t = Sort::Goid)]
    pub(crate) sort: Sort,
    /// At most so many groups, or goroutines if they are not grouped
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// At most so many frames of each stack
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) depth: usize,
    /// Include the runtime's own goroutines in text output
    #[arg(long)]
    pub(crate) system: bool,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `--help` of `stack`.
const STACK: &str = "Examples:\n  \
    gotrace stack 17 --pid 4711\n  \
    gotrace stack 17 --from incident.gotrace --at -5s";

#[derive(Debug, Args)]
#[command(after_help = STACK)]
pub(crate) struct StackArgs {
    /// The goroutine's id
    #[arg(value_name = "GOID")]
    pub(crate) goid: u64,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = CHANNELS)]
pub(crate) struct ChannelsArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Also every other channel in the heap, those included that nothing refers to any more and that
    /// the garbage collector has not yet freed
    #[arg(long)]
    pub(crate) heap: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Order of the list
    #[arg(short, long, value_enum, default_value_t = ChannelSort::Fill)]
    pub(crate) sort: ChannelSort,
    /// At most so many channels
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) values: ValuesArgs,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `--help` of `channel`.
const CHANNEL: &str = "Examples:\n  \
    gotrace channel 0xc000012345 --pid 4711\n  \
    gotrace channel 0xc000012345 --pid 4711 --redact          sizes in place of values\n  \
    gotrace channel 0xc000012345 --from incident.gotrace --at +12s";

#[derive(Debug, Args)]
#[command(after_help = CHANNEL)]
pub(crate) struct ChannelArgs {
    /// Address of the channel, such as 0xc000012345
    #[arg(value_name = "ADDR", value_parser = chan_addr)]
    pub(crate) address: ChanAddr,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) values: ValuesArgs,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How much of the values in channels is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct ValuesArgs {
    /// How many buffered values to show of each channel
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) values: usize,
    /// How many bytes of each value to read and show at most [default: 64 KiB, of a text 512 bytes]
    #[arg(long, value_name = "N")]
    pub(crate) max_bytes: Option<u64>,
    /// Show sizes in place of values
    #[arg(long)]
    pub(crate) redact: bool,
}

/// `--help` of `snapshot`.
const SNAPSHOT: &str = "Examples:\n  \
    gotrace snapshot --pid 4711 -o before.gosnap\n  \
    gotrace why 17 --from before.gosnap                        elsewhere, without root\n  \
    gotrace diff before.gosnap after.gosnap";

#[derive(Debug, Args)]
#[command(after_help = SNAPSHOT)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The file to write; it must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) values: ValuesArgs,
}

/// `--help` of `deadlocks`.
const DEADLOCKS: &str = "Examples:\n  \
    gotrace deadlocks --pid 4711\n  \
    gotrace deadlocks --pid 4711 --fail-on likely && echo fine\n  \
    gotrace deadlocks --pid 4711 --format dot | dot -Tsvg -o waits.svg";

#[derive(Debug, Args)]
#[command(after_help = DEADLOCKS)]
pub(crate) struct DeadlocksArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// How findings are reported.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ReportArgs {
    /// Exit with code 1 if there is a finding of this verdict or of a surer one
    #[arg(long, value_enum, value_name = "VERDICT", default_value_t = FailOn::Proven)]
    pub(crate) fail_on: FailOn,
    /// Text for people, one JSON document, or the wait-for graph for Graphviz or Mermaid
    #[arg(short, long, value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

/// `--help` of `leaks`.
const LEAKS: &str = "With a command, gotrace starts it, looks into its memory once an interval until it ends, \
    and reports what the last complete look found. What the command prints goes to standard error.\n\n\
    Exit codes: 1 if there is a finding (--fail-on), else the command's own code (128 and the number of the signal \
    that ended it; 0 if gotrace ended it after --duration), 2 if gotrace could not do its work.\n\n\
    Examples:\n  \
    gotrace leaks --pid 4711\n  \
    gotrace leaks -- ./service.test -test.run TestPool\n  \
    gotrace leaks --fail-on likely --duration 30s --exec ./service --port 8080";

#[derive(Debug, Args)]
#[command(after_help = LEAKS)]
pub(crate) struct LeaksArgs {
    #[command(flatten)]
    pub(crate) source: LeaksSource,
    /// Of a command: time between two looks (at least as long as a look takes)
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "100ms")]
    pub(crate) interval: Duration,
    /// Of a command: look for so long, then ask it to end (default: until it ends by itself)
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// Which process, which saved snapshot, or which command to start.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["pid", "name", "from", "url", "exec", "command"])]
pub(crate) struct LeaksSource {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Option<String>,
    /// A file made by `gotrace record` or `gotrace snapshot`, in place of a process
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Another gotrace that traces a process, such as http://127.0.0.1:9477: a snapshot that it takes now
    #[arg(long, value_name = "URL", conflicts_with_all = ["at", "identity"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(flatten)]
    pub(crate) moment: MomentArgs,
    /// A command to start and its arguments: everything that follows
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub(crate) exec: Vec<String>,
    /// The same, as other commands spell it
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

impl LeaksSource {
    /// The command to start, if one is named.
    pub(crate) fn command(&self) -> Option<&[String]> {
        [&self.exec, &self.command]
            .into_iter()
            .find(|command| !command.is_empty())
            .map(Vec::as_slice)
    }
}

/// `--help` of `why`.
const WHY: &str = "Examples:\n  \
    gotrace why 17 --pid 4711\n  \
    gotrace why 17 --from incident.gotrace\n  \
    gotrace why 17 --pid 4711 --format mermaid";

#[derive(Debug, Args)]
#[command(after_help = WHY)]
pub(crate) struct WhyArgs {
    /// The goroutine's id
    #[arg(value_name = "GOID")]
    pub(crate) goid: u64,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Text for people, one JSON document, or the wait-for graph for Graphviz or Mermaid
    #[arg(short, long, value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

/// How much is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// As much of the levels below as the budget allows, by turns or in windows if it must be
    Auto,
    /// No probe: the target's memory is read once an interval
    Observe,
    /// Who wakes whom, from which wait and on which channel; states by reading memory
    Wake,
    /// Goroutines that block, are woken, created and exit
    Park,
    /// Every channel operation, select and wait for a lock as well
    Full,
    /// System calls as well: where they take time
    Syscalls,
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Level::Auto => "auto",
            Level::Observe => "observe",
            Level::Wake => "wake",
            Level::Park => "park",
            Level::Full => "full",
            Level::Syscalls => "syscalls",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned text
    Text,
    /// JSON
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Aligned text
    Text,
    /// JSON
    Json,
    /// A graph in Graphviz' language: `| dot -Tsvg`
    Dot,
    /// A graph in Mermaid's language, as Markdown shows it
    Mermaid,
}

/// The least verdict that makes a command fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Two passes agree and saw everything
    Proven,
    /// One pass, or goroutines ran meanwhile
    Likely,
    /// Something could not be read, or it may be meant so
    Suspect,
}

impl From<FailOn> for Verdict {
    fn from(level: FailOn) -> Verdict {
        match level {
            FailOn::Proven => Verdict::Proven,
            FailOn::Likely => Verdict::Likely,
            FailOn::Suspect => Verdict::Suspect,
        }
    }
}

/// A share of the target's CPU time, from percent.
fn budget(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("expected a percentage above 0, such as 1% or 0.5".to_owned()),
    }
}

fn chan_addr(text: &str) -> Result<ChanAddr, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map(ChanAddr)
        .map_err(|_| "expected an address such as 0xc000012345".to_owned())
}

fn ring_mib(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(mib) if (1..=1024).contains(&mib) && u32::is_power_of_two(mib) => Ok(mib),
        _ => Err("expected a power of two from 1 to 1024".to_owned()),
    }
}

/// A ring is at least a page.
fn ring_kib(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(kib) if (4..1024).contains(&kib) && u32::is_power_of_two(kib) => Ok(kib),
        _ => Err("expected a power of two from 4 to 512".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_target_is_needed_and_only_one() {
        for (line, ok) in [
            ("gotrace run", false),
            ("gotrace run --pid 1", true),
            ("gotrace run --name api*", true),
            ("gotrace run -- ./svc --flag", true),
            ("gotrace run --pid 1 --name x", false),
            ("gotrace run --pid 1 -- ./svc", false),
            ("gotrace run --pid 1 --event-ring 3", false),
            (
                "gotrace run --pid 1 --ring 60s --ring-to d --after 5s",
                true,
            ),
            ("gotrace run --pid 1 --after 5s", false),
            (
                "gotrace record --pid 1 -o d --ring 60s --on-goroutines 500",
                true,
            ),
            ("gotrace record --pid 1 -o d --ring 60s --max-age 1h", false),
            (
                "gotrace record --pid 1 -o d --ring 60s --on-metric goroutines.total>9 --on-metric loss.records>0",
                true,
            ),
            (
                "gotrace record --pid 1 -o d --ring 60s --on-metric hue>9",
                false,
            ),
            ("gotrace run --pid 1 --on-metric loss.records>0", false),
            ("gotrace run --pid 1 --duration 1ms", false),
            ("gotrace run --pid 1 --duration 5s --listen off", true),
            ("gotrace run --pid 1 --listen nowhere", false),
            (
                "gotrace run --pid 1 --token-file t --tls-cert c --tls-key k",
                true,
            ),
            ("gotrace run --pid 1 --tls-cert c", false),
            (
                "gotrace run --pid 1 --allow-host a --allow-host b --insecure-listen",
                true,
            ),
            ("gotrace run --pid 1 --level auto --budget 0.5%", true),
            ("gotrace run --pid 1 --level auto --budget 2", true),
            ("gotrace run --pid 1 --level auto --budget 0", false),
            ("gotrace run --pid 1 --level auto --budget all", false),
            ("gotrace top", false),
            ("gotrace top --pid 1 --level full --values 3 --redact", true),
            ("gotrace top -- ./svc --flag", true),
            ("gotrace top --from x.gotrace --at -5s", true),
            ("gotrace top --from x.gotrace --level full", false),
            ("gotrace top --url http://a:9477 --token-file t", true),
            ("gotrace top --pid 1 --from x.gotrace", false),
            ("gotrace agent", true),
            (
                "gotrace agent --name a --name b --deny c --cpu 0.5% --scan 5s",
                true,
            ),
            ("gotrace agent --pid 1", false),
            ("gotrace agent --cpu 0", false),
            ("gotrace completions zsh", true),
            ("gotrace completions cmd.exe", false),
            ("gotrace man --dir d", true),
            ("gotrace goroutines", false),
            ("gotrace goroutines --pid 1 --format json", true),
            (
                "gotrace goroutines --from x.gosnap --with user --without state=waiting",
                true,
            ),
            ("gotrace goroutines --pid 1 --with colour", false),
            ("gotrace goroutines --pid 1 --with state=asleep", false),
            (
                "gotrace goroutines --pid 1 --with waiting-longer=1m --group label=tenant --sort waiting",
                true,
            ),
            ("gotrace goroutines --pid 1 --group hue", false),
            ("gotrace stack 17 --pid 1", true),
            ("gotrace channel 0xc000012345 --pid 1", true),
            ("gotrace channel somewhere --pid 1", false),
            ("gotrace snapshot --pid 1 -o x.gosnap", true),
            ("gotrace snapshot --pid 1", false),
            (
                "gotrace deadlocks --pid 1 --fail-on likely --format dot",
                true,
            ),
            ("gotrace deadlocks --pid 1 --fail-on always", false),
            ("gotrace deadlocks -- ./svc", false),
            ("gotrace record --pid 1 -o x --level full", true),
            (
                "gotrace record -o x --max-size 10G --max-age 1h -- ./svc",
                true,
            ),
            ("gotrace record --pid 1", false),
            ("gotrace record --pid 1 -o x --max-size 3", false),
            ("gotrace record --pid 1 -o x --max-size 3X", false),
            ("gotrace replay x", true),
            ("gotrace replay x --at -5s", true),
            ("gotrace replay x --at soon", false),
            (
                "gotrace replay x --from-time +1s --to-time -1s --events",
                true,
            ),
            ("gotrace replay x --at -5s --events", false),
            (
                "gotrace goroutines --from x --at 2026-11-26T12:00:00Z",
                true,
            ),
            ("gotrace goroutines --pid 1 --at -5s", false),
            ("gotrace leaks", false),
            ("gotrace leaks --from x.gosnap --format mermaid", true),
            ("gotrace leaks --from x.gosnap --at -1s", true),
            ("gotrace leaks --at -1s", false),
            ("gotrace leaks --duration 5s --exec ./svc --pid 1 -v", true),
            ("gotrace leaks -- ./svc.test -test.v", true),
            ("gotrace leaks --pid 1 --exec ./svc", false),
            ("gotrace leaks --pid 1 -- ./svc", false),
            ("gotrace leaks --exec", false),
            ("gotrace why 17 --pid 1 --format mermaid", true),
            ("gotrace why --pid 1", false),
            ("gotrace why 17 --url http://a:9477 --token-file t", true),
            ("gotrace channels --url http://a:9477 --pid 1", false),
            ("gotrace channels --url http://a:9477 --at -5s", false),
            ("gotrace diff http://a:9477 http://b:9477 --tls-ca c", true),
            ("gotrace diff a b", true),
            (
                "gotrace diff 1 2 a@-5s --fail-on finding,rate --least 5",
                true,
            ),
            ("gotrace diff a", false),
            ("gotrace diff a b --fail-on hue", false),
            ("gotrace export perfetto --pid 1 -o x", true),
            ("gotrace export csv --from x --from-time -5s", true),
            ("gotrace export csv --pid 1 --from-time -5s", false),
            (
                "gotrace export pprof --profile block --pid 1 --for 5s",
                true,
            ),
            ("gotrace export pprof --from x --for 5s", false),
            ("gotrace export pprof --profile heap --pid 1", false),
            ("gotrace export chrome --level park -o x -- ./svc -v", true),
            ("gotrace export chrome --from x --level park", false),
            ("gotrace export chrome", false),
            ("gotrace export --pid 1", false),
            ("gotrace export svg --pid 1", false),
        ] {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert_eq!(parsed.is_ok(), ok, "{line}: {:?}", parsed.err());
        }
    }
}
