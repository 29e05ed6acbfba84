//! What can be typed of `gotrace cluster`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::record::CountsArgs;
use super::{Format, RemoteArgs};
use crate::kubernetes::LabelSelector;
use crate::listing::duration;

/// `--help` of `cluster`.
const CLUSTER: &str = "The Kubernetes API tells which pods there are and where the agents are; each agent is asked over the \
    network of the pods, so this runs in one of them, best in an agent's (docs/cluster.md). Nothing is changed.\n\n\
    Exit codes: 1 if `diff` found what --fail-on names; else 2 if something was not seen; else 0.\n\n\
    Examples:\n  \
    gotrace cluster diff -n shop -l app=cart --token-file t --tls-ca ca.crt\n  \
    gotrace cluster snapshot -n shop -l app=cart -o replicas --token-file t --tls-ca ca.crt";

#[derive(Debug, Args)]
#[command(after_help = CLUSTER)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Save a snapshot of each Go process of the chosen pods
    #[command(after_help = SNAPSHOT)]
    Snapshot(ClusterSnapshotArgs),
    /// Show how the replicas of each workload differ, and which is unlike the others
    #[command(after_help = DIFF)]
    Diff(ClusterDiffArgs),
}

impl ClusterCommand {
    /// Whether it shows text that people read from its beginning to its end.
    pub(super) fn is_read(&self) -> bool {
        match self {
            ClusterCommand::Snapshot(_) => false,
            ClusterCommand::Diff(args) => args.format == Format::Text,
        }
    }
}

/// `--help` of `cluster snapshot`.
const SNAPSHOT: &str = "The files are named NAMESPACE-POD-CONTAINER-PID.gosnap; none is overwritten.\n\n\
    Examples:\n  \
    gotrace cluster snapshot -n shop -l app=cart -o replicas --token-file t --tls-ca ca.crt\n  \
    gotrace cluster snapshot -A -l tier=web -o replicas --kube-api http://127.0.0.1:8001 --token-file t --tls-ca ca.crt\n  \
    gotrace why 17 --from replicas/shop-cart-6d4cf56db6-x2x4z-app-4711.gosnap";

/// Of `cluster snapshot`.
#[derive(Debug, Args)]
pub(crate) struct ClusterSnapshotArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// The directory for the files; it is made if there is none
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `--help` of `cluster diff`.
const DIFF: &str = "Replicas are the Go processes of one program in one container of one workload. Compared is by place in \
    the code, as `gotrace diff` does.\n\n\
    Examples:\n  \
    gotrace cluster diff -n shop -l app=cart --token-file t --tls-ca ca.crt\n  \
    gotrace cluster diff -n shop --for 30s --token-file t --tls-ca ca.crt       which one grows faster\n  \
    gotrace cluster diff -n shop -l app=cart --format json --token-file t --tls-ca ca.crt";

/// Of `cluster diff`.
#[derive(Debug, Args)]
pub(crate) struct ClusterDiffArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
    /// Look twice, so long apart, and compare also how much each grew meanwhile
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) period: Option<Duration>,
    #[command(flatten)]
    pub(crate) counts: CountsArgs,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Which pods, and how agents are asked for them.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct FleetArgs {
    #[command(flatten)]
    pub(crate) pods: PodsArgs,
    /// Pods with such labels alone, as for `kubectl -l`: app=shop,tier in (web,api),!canary
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// The namespace of the agents
    #[arg(long, value_name = "NAME", default_value = "gotrace")]
    pub(crate) agents_namespace: String,
    /// The port of the agents [default: the one that their pods call `http`, else 9477]
    #[arg(long, value_name = "PORT")]
    pub(crate) agents_port: Option<u16>,
    /// For whom the agents' certificates are [default: the Service that is named as their DaemonSet, as in the chart]
    #[arg(long, value_name = "NAME", conflicts_with = "insecure_agents")]
    pub(crate) agents_name: Option<String>,
    /// Ask agents by HTTP, and send them the token in the clear: where they run so because something else keeps others away
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) insecure_agents: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    /// How long an agent may take for each answer
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1m")]
    pub(crate) timeout: Duration,
    /// So many agents are asked at the same time; each for one process after the other
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// More processes than this are refused: each snapshot reads a process' memory
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) most: usize,
}

/// Pods of which namespaces.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PodsArgs {
    /// Pods of this namespace
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Pods of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// Where the Kubernetes API is, for who is no agent.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ApiArgs {
    /// Where the Kubernetes API is, such as http://127.0.0.1:8001, that of `kubectl proxy` [default: as a pod is told]
    #[arg(long, value_name = "URL")]
    pub(crate) kube_api: Option<String>,
    /// The file with the token for it
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_token_file: Option<PathBuf>,
    /// The certificates (PEM) that its own must be signed by
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_ca: Option<PathBuf>,
}

/// A selector that the API will understand, as it was typed.
fn selector(text: &str) -> Result<String, String> {
    text.parse::<LabelSelector>()?;
    Ok(text.to_owned())
}
