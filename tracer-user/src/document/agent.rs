//! `gotrace.agent/1`: the objects that `gotrace agent` prints, one a line, and `gotrace.processes/1`, the list of
//! processes that its API gives.

use schemars::JsonSchema;
use serde::Serialize;

use super::Target;
use super::findings::Entry as Finding;
use crate::agent::container::{ContainerId, PodUid, Runtime};
use crate::agent::names::PodNames;
use crate::sandbox::Sandbox;

/// The schema of every line.
pub(crate) const SCHEMA: &str = "gotrace.agent/1";
/// The schema of the list.
pub(crate) const PROCESSES: &str = "gotrace.processes/1";

/// One line of the stream.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Line<'a> {
    /// The first line.
    Started(&'a Started),
    /// A Go process is followed from now on.
    Found { process: &'a Process },
    /// One is not followed any more.
    Gone {
        process: &'a Process,
        /// `exit`; `exec`: it runs another program now; `not_selected`: its pod does not want it any more.
        why: &'static str,
    },
    /// A process is not followed though its program is Go's, or looks so.
    Refused {
        pid: u32,
        /// In a word.
        reason: &'static str,
        why: &'a str,
    },
    /// A new finding of a process, or one whose verdict changed.
    Finding {
        process: &'a Process,
        finding: &'a Finding,
    },
    /// A finding that is not true any more.
    Resolved { process: &'a Process, id: &'a str },
    /// A process is traced more or less closely than before.
    Level {
        process: &'a Process,
        /// The level before.
        before: &'static str,
    },
    /// Processes may have begun or ended unseen: all are looked through again.
    Lost {
        /// How many times something happened that was not told.
        events: u64,
    },
}

/// A line with its schema.
#[derive(Debug, Serialize)]
pub(crate) struct Stamped<'a> {
    schema: &'static str,
    time: String,
    #[serde(flatten)]
    line: Line<'a>,
}

impl<'a> Stamped<'a> {
    pub(crate) const fn new(time: String, line: Line<'a>) -> Stamped<'a> {
        Stamped {
            schema: SCHEMA,
            time,
            line,
        }
    }
}

/// How the agent works.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Started {
    /// `bpf`, or `scan`: how new processes are found.
    pub(crate) discovery: &'static str,
    /// Between two reads of a process' memory.
    pub(crate) interval_seconds: f64,
    /// The share of one CPU that the reads of all processes may take.
    pub(crate) cpu_share: f64,
    /// The share of its CPU time that the probes in a process may take, and the share of the node's for those in all.
    pub(crate) budget: f64,
    pub(crate) node_budget: f64,
    /// Where it is served, if it is.
    pub(crate) listening: Option<String>,
    pub(crate) tls: bool,
    /// What the cluster calls this node, if its API is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Which rights it gave up; `null` with --no-sandbox.
    pub(crate) sandbox: Option<Sandbox>,
}

/// A process that is followed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since the machine was: with the pid it names a process for good.
    pub(crate) start_ticks: u64,
    /// The name of its program's file.
    pub(crate) process: String,
    /// Since when it is followed.
    pub(crate) since: String,
    /// What is traced of it: `observe`, `wake`, `park`, `full` or `syscalls`.
    pub(crate) level: &'static str,
    /// What was asked for, if that is more than `observe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<&'static str>,
    /// Why the level is not the one that was asked for; of `auto`, what made it this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// By whom its container is run, if it is in one that is recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runtime: Option<Runtime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container_id: Option<ContainerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod_uid: Option<PodUid>,
    /// What its pod is called, as far as it is known.
    #[serde(flatten)]
    pub(crate) names: PodNames,
}

/// The list of processes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Processes")]
pub(crate) struct Processes {
    #[schemars(extend("const" = PROCESSES))]
    pub(crate) schema: &'static str,
    /// Those that are followed, by pid.
    pub(crate) processes: Vec<State>,
    /// Those that are not, though their program is Go's, or looks so.
    pub(crate) refused: Vec<Refused>,
}

/// A process and how it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProcessState")]
pub(crate) struct State {
    #[serde(flatten)]
    pub(crate) process: Process,
    pub(crate) target: Target,
    /// When its memory was read last; `null` before the first time.
    pub(crate) read: Option<String>,
    /// How often.
    pub(crate) reads: u64,
    /// Why the last attempt failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// Goroutines of the user, and the runtime's own.
    pub(crate) goroutines: u64,
    pub(crate) system_goroutines: u64,
    /// Findings that stand.
    pub(crate) findings: usize,
}

/// A process that is not followed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "RefusedProcess")]
pub(crate) struct Refused {
    pub(crate) pid: u32,
    /// In a word.
    pub(crate) reason: &'static str,
    pub(crate) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) container_id: Option<ContainerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod_uid: Option<PodUid>,
}
