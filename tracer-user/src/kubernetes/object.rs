//! What is read of the API's objects. All else in them is skipped while they are parsed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One page of a list of pods.
#[derive(Debug, Deserialize)]
pub(super) struct PodList {
    pub(super) metadata: ListMetadata,
    pub(super) items: Option<Vec<PodObject>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub(super) resource_version: Option<String>,
    /// Where the next page begins; empty or absent on the last.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Change<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

#[derive(Debug, Deserialize)]
pub(super) struct PodObject {
    pub(super) metadata: Metadata,
    pub(super) spec: Option<PodSpec>,
    pub(super) status: Option<PodStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    /// Where it runs; absent until that is decided.
    pub(super) node_name: Option<Box<str>>,
    pub(super) containers: Option<Vec<ContainerSpec>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerSpec {
    pub(super) ports: Option<Vec<ContainerPort>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: Option<Box<str>>,
    pub(super) container_port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) uid: Option<Box<str>>,
    pub(super) namespace: Option<Box<str>>,
    pub(super) name: Option<Box<str>>,
    pub(super) resource_version: Option<String>,
    pub(super) creation_timestamp: Option<String>,
    /// There is one once it is to end.
    pub(super) deletion_timestamp: Option<String>,
    pub(super) labels: Option<BTreeMap<Box<str>, Box<str>>>,
    pub(super) annotations: Option<BTreeMap<Box<str>, Box<str>>>,
    pub(super) owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) api_version: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) name: Box<str>,
    #[serde(default)]
    pub(super) controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub(super) phase: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<Box<str>>,
    pub(super) container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) init_container_statuses: Option<Vec<ContainerStatus>>,
    pub(super) ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ContainerStatus {
    pub(super) name: Box<str>,
    #[serde(rename = "containerID")]
    pub(super) container_id: Option<String>,
}

/// The answer to the question whether something may be done (authorization.k8s.io/v1, SelfSubjectAccessReview).
#[derive(Debug, Deserialize)]
pub(super) struct AccessReview {
    pub(super) status: AccessStatus,
}

#[derive(Debug, Deserialize)]
pub(super) struct AccessStatus {
    pub(super) allowed: bool,
}

/// What is sent in place of an object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    /// An agent calls it `error`.
    #[serde(alias = "error")]
    pub(super) message: Option<String>,
    pub(super) code: Option<u16>,
}

/// What is read of an event that was changed.
#[derive(Debug, Deserialize)]
pub(super) struct EventObject {
    pub(super) count: Option<u32>,
}
