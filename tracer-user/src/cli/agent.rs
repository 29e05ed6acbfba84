//! What can be typed of `gotrace agent`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::kubernetes::KubernetesArgs;
use super::serve::ServeArgs;
use crate::agent::Rule;
use crate::listing::duration;

/// `--help` of `agent`.
const AGENT: &str = "Prints one JSON object a line (docs/agent.md): a process found, gone or refused, a finding that \
    began or ended.\n\n\
    Examples:\n  \
    gotrace agent                                   all Go processes of this machine\n  \
    gotrace agent --name 'api*' --deny kubelet      by the name of process or file\n  \
    gotrace agent --level 'api*=park'               probes in some, while they keep to the budget\n  \
    gotrace agent --listen 0.0.0.0:9477 --token-file t --tls-cert c --tls-key k\n  \
    gotrace agent --scan 10s --interval 1m          without BPF, and rarely";

#[derive(Debug, Args)]
#[command(after_help = AGENT)]
pub(crate) struct AgentArgs {
    /// Follow only processes whose name, or whose file's name, matches this glob (more than once for several)
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) name: Vec<String>,
    /// Leave out processes whose name, or whose file's name, matches this glob, whatever --name says
    #[arg(long, value_name = "GLOB")]
    pub(crate) deny: Vec<String>,
    /// How closely to trace, by probes if it is more than `observe`, which all others are: `park` for all processes,
    /// `api*=park` for those whose name, or whose file's name, matches. More than once for several, of which the last
    /// that matches counts; what a pod's annotation says counts where none does
    #[arg(short, long, value_name = "[GLOB=]LEVEL")]
    pub(crate) level: Vec<Rule>,
    /// How much of its CPU time the probes in a process may take: where a level takes more, it is lowered
    #[arg(short, long, value_name = "PERCENT", value_parser = super::budget, default_value = "1%")]
    pub(crate) budget: f64,
    /// How much of the CPU time of all CPUs the probes in all processes may take together
    #[arg(long, value_name = "PERCENT", value_parser = super::budget, default_value = "1%")]
    pub(crate) node_budget: f64,
    /// Time between two reads of a process' memory, as far as --cpu pays for it
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    pub(crate) interval: Duration,
    /// How much of one CPU the reads of all processes may take together
    #[arg(long, value_name = "PERCENT", value_parser = super::budget, default_value = "2%")]
    pub(crate) cpu: f64,
    /// For how long something must grow or jam until it is said
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub(crate) trend_window: Duration,
    /// List all processes so often, where BPF may not be used, in place of hearing from the kernel which begin and end
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) scan: Option<Duration>,
    /// Keep all rights that it was started with, and all system calls: to find out whether giving them up is what fails
    #[arg(long)]
    pub(crate) no_sandbox: bool,
    /// Read settings from the table [agent] of this file (TOML; see `gotrace config --help`)
    /// [default: /etc/gotrace/config.toml, then the user's own]
    #[arg(
        long,
        value_name = "FILE",
        env = "GOTRACE_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArgs,
}
