//! What can be typed of the console.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Level, MomentArgs, RemoteArgs, RunArgs, RunTarget, SourceArgs, ValuesArgs, budget};
use crate::listing::duration;

/// `--help` of `top`.
const TOP: &str = "Keys: ? tells all of them. The console traces as `gotrace run` does, with the same budget, and serves \
    nobody. What a command that it starts prints goes nowhere.\n\n\
    Exit codes: 1 if a deadlock or a leak was proven, else 0; 2 error.\n\n\
    Examples:\n  \
    gotrace top --pid 4711\n  \
    gotrace top --name 'api*' --level observe        no probe: memory alone\n  \
    gotrace top --from incident.gotrace --at -5s     how everything was five seconds before the end\n  \
    gotrace top --url http://10.0.0.7:9477           by snapshots that another gotrace takes";

#[derive(Debug, Args)]
#[command(after_help = TOP)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) source: TopSource,
    /// What to trace: each level sees more and costs the target more [default: auto]
    #[arg(short, long, value_enum, conflicts_with_all = ["from", "url"])]
    level: Option<Level>,
    /// Of `--level auto`: how much of the target's CPU time its probes may take [default: 1%]
    #[arg(short, long, value_name = "PERCENT", value_parser = budget, conflicts_with_all = ["from", "url"])]
    budget: Option<f64>,
    /// Time between two reads of the target's memory, or between two snapshots of --url
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) values: ValuesArgs,
    /// For measurements alone: draw so many frames into nowhere and say how long that took
    #[arg(long, hide = true, value_name = "N", requires = "from")]
    pub(crate) bench_frames: Option<usize>,
}

/// Which process, which file, which other gotrace, or which command to start.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["pid", "name", "from", "url", "command"])]
pub(crate) struct TopSource {
    /// Process id of a running Go program
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// The one Go process whose name or executable's file name matches this glob
    #[arg(short, long, value_name = "GLOB")]
    name: Option<String>,
    /// A file made by `gotrace record` or `gotrace snapshot`, in place of a process
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Another gotrace that traces a process, such as http://127.0.0.1:9477: by snapshots that it takes
    #[arg(long, value_name = "URL", conflicts_with_all = ["at", "identity"])]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    moment: MomentArgs,
    /// A command to start and trace from its first instruction
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl TopSource {
    /// For a look, if nothing is to be traced.
    pub(crate) fn told(&self) -> Option<SourceArgs> {
        (self.from.is_some() || self.url.is_some()).then(|| SourceArgs {
            from: self.from.clone(),
            url: self.url.clone(),
            remote: self.remote.clone(),
            moment: self.moment.clone(),
            ..SourceArgs::default()
        })
    }
}

impl TopArgs {
    /// The trace that is shown.
    pub(crate) fn trace(&self) -> RunArgs {
        let target = RunTarget {
            pid: self.source.pid,
            name: self.source.name.clone(),
            command: self.source.command.clone(),
        };
        let level = self.level.unwrap_or(Level::Auto);
        RunArgs {
            budget: self.budget,
            duration: None,
            interval: self.interval,
            ..RunArgs::quiet(target, level)
        }
    }
}
