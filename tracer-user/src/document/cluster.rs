//! `gotrace.cluster/1`: what the agents of a cluster know of the chosen pods, who of them did not answer, and how the
//! replicas of each workload differ.

use std::path::PathBuf;

use serde::Serialize;
use tracer_model::diff::Difference;

use super::diff;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) schema: &'static str,
    #[serde(flatten)]
    pub(crate) survey: &'a Survey,
    /// Of `cluster diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparisons: Option<&'a [Comparison]>,
}

impl Document<'_> {
    pub(crate) const SCHEMA: &'static str = "gotrace.cluster/1";
}

/// What was asked, and what came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Survey {
    /// How many pods were chosen, without those that have ended.
    pub(crate) pods: usize,
    /// The agents of the nodes on which these are.
    pub(crate) agents: Vec<Agent>,
    /// Go processes of these pods.
    pub(crate) processes: Vec<Process>,
    /// Pods of which nothing is known.
    pub(crate) unseen: Vec<Unseen>,
    /// Pods of which their agent follows no process: they have no Go program, or are not selected.
    pub(crate) not_followed: Vec<PodName>,
    /// Processes that their agent refuses.
    pub(crate) refused: Vec<Refused>,
}

impl Survey {
    /// Processes of which there is no snapshot.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&Process, &str)> {
        let failed = |process: &Process| process.failed.is_some();
        self.processes
            .iter()
            .filter(move |process| failed(process))
            .map(|process| (process, process.failed.as_deref().unwrap_or_default()))
    }
}

/// A pod's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Agent {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) name: PodName,
    /// Why it gave no list of processes, if it did not.
    pub(crate) failed: Option<String>,
}

/// A process of a chosen pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Process {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) name: PodName,
    /// Empty if it is not known.
    pub(crate) container: String,
    /// What made the pod, such as `Deployment/shop`.
    pub(crate) workload: String,
    /// On its node.
    pub(crate) pid: u32,
    /// The name of its program's file.
    pub(crate) process: String,
    pub(crate) build_id: String,
    /// Goroutines of the user, as of the agent's last read.
    pub(crate) goroutines: u64,
    /// Findings of the agent that stand.
    pub(crate) findings: u64,
    /// The snapshot's file, of `cluster snapshot`, and its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Why there is no snapshot of it, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

impl Process {
    /// What it is called where one line is said of it.
    pub(crate) fn title(&self) -> String {
        let Process {
            node,
            name: PodName { namespace, pod },
            container,
            pid,
            ..
        } = self;
        format!("{namespace}/{pod} {container} (pid {pid} on {node})")
    }
}

/// A pod of which nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unseen {
    #[serde(flatten)]
    pub(crate) name: PodName,
    /// `null` if it is on none yet.
    pub(crate) node: Option<String>,
    pub(crate) why: String,
}

/// A process that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) name: PodName,
    pub(crate) container: String,
    pub(crate) pid: u32,
    /// In a word (docs/agent.md).
    pub(crate) reason: String,
    pub(crate) why: String,
}

/// The replicas of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) container: String,
    pub(crate) process: String,
    /// Which of the `processes` each side is.
    pub(crate) replicas: Vec<usize>,
    /// Over how long growth was seen, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) growth_seconds: Option<f64>,
    pub(crate) diff: diff::Document,
}

impl Comparison {
    /// All differences: of two replicas nobody knows which is as it should be.
    pub(crate) fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.diff.signs().chain(&self.diff.shrunk)
    }
}
