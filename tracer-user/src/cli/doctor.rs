//! What can be typed of the doctor.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// `--help` of `doctor`.
const DOCTOR: &str = "It looks and tries: BPF programs are loaded, a probe is placed on gotrace's own code; nothing stays \
    behind. In a process nothing is placed.\n\n\
    Exit codes: 0 if `gotrace run` can work (with --kubernetes: `gotrace agent`), 1 if not; 2 error.\n\n\
    Examples:\n  \
    sudo gotrace doctor\n  \
    sudo gotrace doctor --pid 4711               is it Go, is its layout known, where would probes sit\n  \
    kubectl exec daemonset/gotrace -- /gotrace doctor --kubernetes\n  \
    sudo gotrace doctor --format json | jq '.host[] | select(.status != \"ok\")'";

#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct DoctorArgs {
    /// Look at this process as well
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Look at what `gotrace agent` needs of a node of a cluster as well: in its pod
    #[arg(long)]
    pub(crate) kubernetes: bool,
    /// This node's name, as the cluster has it
    #[arg(long, value_name = "NAME", env = "NODE_NAME", hide_env_values = true)]
    pub(crate) node: Option<String>,
    /// Where the Kubernetes API is [default: as a pod is told]
    #[arg(long, value_name = "URL", requires = "kubernetes")]
    pub(crate) kube_api: Option<String>,
    /// The file with the token for it
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_token_file: Option<PathBuf>,
    /// The certificates (PEM) that its own must be signed by
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_ca: Option<PathBuf>,
    /// Text for people or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}
