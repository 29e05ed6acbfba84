//! What is read of an agent's `gotrace.processes/1` (docs/agent.md). All else is skipped: an agent may be newer.

use serde::Deserialize;

/// The schema that is understood.
pub(super) const SCHEMA: &str = "gotrace.processes/1";

#[derive(Debug, Default, Deserialize)]
pub(super) struct Processes {
    pub(super) schema: String,
    #[serde(default)]
    pub(super) processes: Vec<Followed>,
    #[serde(default)]
    pub(super) refused: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Followed {
    pub(super) pid: u32,
    pub(super) process: String,
    pub(super) container_id: Option<String>,
    pub(super) pod_uid: Option<String>,
    pub(super) target: Target,
    pub(super) goroutines: u64,
    pub(super) findings: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) build_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refused {
    pub(super) pid: u32,
    pub(super) reason: String,
    pub(super) why: String,
    pub(super) container_id: Option<String>,
    pub(super) pod_uid: Option<String>,
}
