//! What can be typed of Kubernetes: where its API is, what of the node is traced, what it is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::kubernetes::LabelSelector;

/// How an agent works in a cluster.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct KubernetesArgs {
    /// This node's name, as the cluster has it: names pods, and selects by them
    #[arg(long, value_name = "NAME", env = "NODE_NAME", hide_env_values = true)]
    pub(crate) node: Option<String>,
    /// Where the Kubernetes API is [default: as a pod is told]
    #[arg(long, value_name = "URL", requires = "node")]
    pub(crate) kube_api: Option<String>,
    /// The file with the token for it; read anew for each connection
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_token_file: Option<PathBuf>,
    /// The certificates (PEM) that its own must be signed by
    #[arg(long, value_name = "FILE", requires = "kube_api")]
    pub(crate) kube_ca: Option<PathBuf>,
    /// Trace pods of this namespace alone (more than once for several)
    #[arg(long, value_name = "NAME", requires = "node")]
    pub(crate) namespace: Vec<String>,
    /// Trace no pod of this namespace (more than once for several)
    #[arg(long, value_name = "NAME", requires = "node")]
    pub(crate) deny_namespace: Vec<String>,
    /// Trace pods with such labels alone, as for `kubectl -l`: app=shop,tier in (web,api),!canary
    #[arg(long, value_name = "SELECTOR", requires = "node")]
    pub(crate) selector: Option<LabelSelector>,
    /// The least sure finding that becomes an event of its pod: proven, likely or suspect; or off
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "VERDICT",
        hide_possible_values = true,
        requires = "node"
    )]
    pub(crate) events: Events,
}

/// Which findings become events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Events {
    /// None
    Off,
    /// What is proven
    #[default]
    Proven,
    /// Also what is likely
    Likely,
    /// All
    Suspect,
}
