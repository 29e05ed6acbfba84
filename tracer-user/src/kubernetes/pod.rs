//! A pod, as far as a tracer wants to know it: whose it is, what it is part of, and which container is which.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::object::{Owner, PodObject};

/// Of the annotations only those that are about gotrace are kept: others can be hundreds of kilobytes.
const OURS: &str = "gotrace.dev/";
/// The uid that the kubelet gives a static pod, by which the node knows it. The API has another.
const STATIC_UID: &str = "kubernetes.io/config.hash";
/// How long after its time a CronJob's Job may be made so that its name is still taken for that time.
const LATEST_JOB: Duration = Duration::from_secs(24 * 3600);

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// As the API knows it.
    pub(crate) uid: Box<str>,
    /// As the node knows it, where that is another one: of a static pod.
    pub(crate) static_uid: Option<Box<str>>,
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) workload: Workload,
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
    /// Those that are gotrace's.
    pub(crate) annotations: BTreeMap<Box<str>, Box<str>>,
    containers: Vec<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    id: Box<str>,
    name: Box<str>,
}

/// What a pod is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Such as `Deployment`; `Pod` of a pod that stands for itself.
    pub(crate) kind: Box<str>,
    pub(crate) name: Box<str>,
}

impl Pod {
    /// `None` if the object lacks what each pod has.
    pub(super) fn new(object: PodObject) -> Option<Pod> {
        let PodObject {
            metadata, status, ..
        } = object;
        let (uid, namespace, name) = (metadata.uid?, metadata.namespace?, metadata.name?);
        let labels = metadata.labels.unwrap_or_default();
        let created = metadata.creation_timestamp.and_then(|at| at.parse().ok());
        let workload = metadata
            .owner_references
            .unwrap_or_default()
            .iter()
            .find(|owner| owner.controller)
            .and_then(|owner| Workload::of(owner, &labels, created))
            .unwrap_or_else(|| Workload::new("Pod", &name));
        let mut annotations = metadata.annotations.unwrap_or_default();
        let static_uid = annotations.remove(STATIC_UID);
        annotations.retain(|key, _| key.contains(OURS));
        let status = status.unwrap_or_default();
        let containers = [
            status.container_statuses,
            status.init_container_statuses,
            status.ephemeral_container_statuses,
        ];
        let containers = containers
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|container| {
                // `containerd://0123…`; empty until it was made.
                let (_, id) = container.container_id.as_deref()?.split_once("://")?;
                (!id.is_empty()).then(|| Container {
                    id: id.into(),
                    name: container.name,
                })
            })
            .collect();
        Some(Pod {
            static_uid: static_uid.filter(|hash| *hash != uid),
            uid,
            namespace,
            name,
            workload,
            labels,
            annotations,
            containers,
        })
    }

    /// The name of a container, by the id that the container runtime gave it. `None` if the API has not told of it
    /// yet: that takes a moment after its start.
    pub(crate) fn container(&self, id: &str) -> Option<&str> {
        let found = self.containers.iter().find(|known| *known.id == *id);
        found.map(|container| &*container.name)
    }
}

impl Workload {
    fn new(kind: &str, name: &str) -> Workload {
        Workload {
            kind: kind.into(),
            name: name.into(),
        }
    }

    /// What a pod is one of, by its controller. A Deployment and a CronJob are not told there, but the object between
    /// has a name that they made. `None`: the pod stands for itself.
    fn of(
        owner: &Owner,
        labels: &BTreeMap<Box<str>, Box<str>>,
        created: Option<Timestamp>,
    ) -> Option<Workload> {
        let group = owner.api_version.split_once('/').map(|(group, _)| group);
        let made_by = match (group, &*owner.kind) {
            // The kubelet made it from a file.
            (None, "Node") => return None,
            // Only a Deployment gives this label, and ends the ReplicaSet's name in it.
            (Some("apps"), "ReplicaSet") => labels
                .get("pod-template-hash")
                .and_then(|hash| owner.name.strip_suffix(&**hash)?.strip_suffix('-'))
                .map(|name| ("Deployment", name)),
            (Some("batch"), "Job") => {
                created.and_then(|created| Some(("CronJob", cron_job(&owner.name, created)?)))
            }
            _ => None,
        };
        Some(match made_by {
            Some((kind, name)) if !name.is_empty() => Workload::new(kind, name),
            _ => Workload::new(&owner.kind, &owner.name),
        })
    }
}

/// The CronJob that made a Job: it ends the name in the minutes since 1970 for which it was planned. A number that
/// somebody else chose is not that of the very day.
fn cron_job(job: &str, created: Timestamp) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let planned = minutes.parse::<i64>().ok()?.checked_mul(60)?;
    let late = created.as_second().checked_sub(planned)?;
    let late = Duration::from_secs(u64::try_from(late).ok()?);
    (late <= LATEST_JOB).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(object: Value) -> Pod {
        let object = serde_json::from_value(object).expect("it is a pod");
        Pod::new(object).expect("it has a name")
    }

    fn workload(owner: Value, labels: Value) -> String {
        let workload = pod(json!({"metadata": {
            "name": "p", "namespace": "n", "uid": "u", "labels": labels,
            "creationTimestamp": "2026-03-01T10:00:07Z",
            "ownerReferences": [{"apiVersion": "x/v1", "kind": "Friend", "name": "f"}, owner],
        }}))
        .workload;
        format!("{}/{}", workload.kind, workload.name)
    }

    #[test]
    fn a_workload_is_what_a_person_made() {
        let hash = json!({"pod-template-hash": "6d4cf56db6"});
        let none = json!(null);
        // 2026-03-01T10:00:00Z is minute 29539320.
        for (version, kind, name, labels, expected) in [
            (
                "apps/v1",
                "ReplicaSet",
                "shop-6d4cf56db6",
                &hash,
                "Deployment/shop",
            ),
            (
                "apps/v1",
                "ReplicaSet",
                "shop-abc",
                &hash,
                "ReplicaSet/shop-abc",
            ),
            (
                "apps/v1",
                "ReplicaSet",
                "-6d4cf56db6",
                &hash,
                "ReplicaSet/-6d4cf56db6",
            ),
            (
                "apps/v1",
                "ReplicaSet",
                "shop-6d4cf56db6",
                &none,
                "ReplicaSet/shop-6d4cf56db6",
            ),
            (
                "else.io/v1",
                "ReplicaSet",
                "shop-6d4cf56db6",
                &hash,
                "ReplicaSet/shop-6d4cf56db6",
            ),
            ("apps/v1", "StatefulSet", "db", &none, "StatefulSet/db"),
            ("apps/v1", "DaemonSet", "log", &none, "DaemonSet/log"),
            (
                "batch/v1",
                "Job",
                "backup-29539320",
                &none,
                "CronJob/backup",
            ),
            (
                "batch/v1",
                "Job",
                "backup-29539321",
                &none,
                "Job/backup-29539321",
            ),
            (
                "batch/v1",
                "Job",
                "backup-20260301",
                &none,
                "Job/backup-20260301",
            ),
            (
                "batch/v1",
                "Job",
                "backup-9223372036854775807",
                &none,
                "Job/backup-9223372036854775807",
            ),
            ("batch/v1", "Job", "import", &none, "Job/import"),
            ("argoproj.io/v1alpha1", "Workflow", "w", &none, "Workflow/w"),
            (
                "v1",
                "ReplicationController",
                "old",
                &none,
                "ReplicationController/old",
            ),
            ("v1", "Node", "node-1", &none, "Pod/p"),
        ] {
            let owner =
                json!({"apiVersion": version, "kind": kind, "name": name, "controller": true});
            assert_eq!(workload(owner, labels.clone()), expected, "{kind} {name}");
        }
        let friend = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"});
        assert_eq!(
            workload(friend, none),
            "Pod/p",
            "it does not control the pod"
        );
    }

    #[test]
    fn containers_have_the_names_of_their_ids() {
        let pod = pod(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "status": {
                "containerStatuses": [
                    {"name": "app", "containerID": "containerd://aa"},
                    {"name": "waiting", "containerID": ""},
                    {"name": "new"},
                ],
                "initContainerStatuses": [{"name": "init", "containerID": "cri-o://bb"}],
                "ephemeralContainerStatuses": [{"name": "debug", "containerID": "docker://cc"}],
            },
        }));
        for (id, name) in [
            ("aa", Some("app")),
            ("bb", Some("init")),
            ("cc", Some("debug")),
            ("", None),
        ] {
            assert_eq!(pod.container(id), name, "{id}");
        }
    }

    #[test]
    fn a_static_pod_has_two_uids_and_annotations_of_others_are_not_kept() {
        let pod = pod(json!({"metadata": {
            "name": "p", "namespace": "n", "uid": "u",
            "annotations": {"kubernetes.io/config.hash": "h", "gotrace.dev/level": "park", "other": "x"},
        }}));
        assert_eq!(pod.static_uid.as_deref(), Some("h"));
        let kept: Vec<_> = pod.annotations.keys().map(|key| &**key).collect();
        assert_eq!(kept, ["gotrace.dev/level"]);
    }

    #[test]
    fn what_lacks_a_name_is_no_pod() {
        let object =
            serde_json::from_value(json!({"metadata": {"uid": "u"}})).expect("it is an object");
        assert_eq!(Pod::new(object), None);
    }
}
