//! Which agent is asked for which pods, and which of its processes are theirs: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::answer;
use crate::document::cluster::{PodName, Process, Refused, Unseen};
use crate::kubernetes::object::PodObject;
use crate::kubernetes::pod::Pod;

/// The name that the chart gives to the agents' port.
const PORT_NAME: &str = "http";

/// A pod and where it runs.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) pod: Pod,
    /// `None` until that is decided.
    pub(super) node: Option<String>,
    pub(super) address: Option<IpAddr>,
    /// That is called so.
    port: Option<u16>,
    /// Nothing of it runs any more.
    has_ended: bool,
    /// It runs, and nobody wants it to end.
    is_well: bool,
}

impl Placed {
    /// `None` if the object lacks what each pod has.
    pub(super) fn new(mut object: PodObject) -> Option<Placed> {
        let spec = object.spec.take().unwrap_or_default();
        let status = object.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let address = status.and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let mut ports = spec.containers.iter().flatten();
        let port = ports.find_map(|container| {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(PORT_NAME))?;
            Some(named.container_port)
        });
        Some(Placed {
            node: spec.node_name.map(String::from),
            address,
            port,
            has_ended: matches!(phase, Some("Succeeded" | "Failed")),
            is_well: phase == Some("Running") && object.metadata.deletion_timestamp.is_none(),
            pod: Pod::new(object)?,
        })
    }

    pub(super) fn name(&self) -> PodName {
        name(&self.pod)
    }

    /// Where it is asked, if it is an agent that has an address.
    pub(super) fn port(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }
}

fn name(pod: &Pod) -> PodName {
    PodName {
        namespace: pod.namespace.to_string(),
        pod: pod.name.to_string(),
    }
}

/// An agent and the chosen pods of its node.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) node: String,
    pub(super) agent: Placed,
    pub(super) pods: Vec<Pod>,
}

/// Who is asked for what.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// By node.
    pub(super) posts: Vec<Post>,
    pub(super) unseen: Vec<Unseen>,
    /// Pods that have not ended.
    pub(super) pods: usize,
}

impl Roster {
    pub(super) fn new(pods: Vec<Placed>, agents: Vec<Placed>) -> Roster {
        let mut by_node: BTreeMap<String, Placed> = BTreeMap::new();
        for agent in agents {
            let Some(node) = agent.node.clone().filter(|_| !agent.has_ended) else {
                continue;
            };
            // While agents are replaced there may be two.
            let better = by_node.get(&node).is_none_or(|known| !known.is_well);
            if better {
                by_node.insert(node, agent);
            }
        }
        let mut roster = Roster::default();
        let mut of_node: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for placed in pods.into_iter().filter(|placed| !placed.has_ended) {
            roster.pods += 1;
            let why = match &placed.node {
                None => "it is on no node yet".to_owned(),
                Some(node) if !by_node.contains_key(node) => format!("no agent runs on {node}"),
                Some(node) => {
                    of_node.entry(node.clone()).or_default().push(placed.pod);
                    continue;
                }
            };
            roster.unseen.push(Unseen {
                name: placed.name(),
                node: placed.node,
                why,
            });
        }
        roster.posts = of_node
            .into_iter()
            .filter_map(|(node, pods)| {
                let agent = by_node.remove(&node)?;
                Some(Post { node, agent, pods })
            })
            .collect();
        roster
    }
}

/// What an agent says of its pods.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) processes: Vec<Process>,
    pub(super) refused: Vec<Refused>,
    pub(super) not_followed: Vec<PodName>,
}

impl Post {
    /// The names of its pods.
    pub(super) fn names(&self) -> impl Iterator<Item = PodName> {
        self.pods.iter().map(name)
    }

    /// Takes from an agent's list what is of the chosen pods.
    pub(super) fn take(&self, list: answer::Processes) -> Said {
        let mut said = Said::default();
        for followed in list.processes {
            let Some(pod) = self.pod(followed.pod_uid.as_deref()) else {
                continue;
            };
            said.processes.push(Process {
                node: self.node.clone(),
                name: name(pod),
                container: container(pod, followed.container_id.as_deref()),
                workload: format!("{}/{}", pod.workload.kind, pod.workload.name),
                pid: followed.pid,
                process: followed.process,
                build_id: followed.target.build_id,
                goroutines: followed.goroutines,
                findings: followed.findings,
                file: None,
                bytes: None,
                failed: None,
            });
        }
        for refused in list.refused {
            let Some(pod) = self.pod(refused.pod_uid.as_deref()) else {
                continue;
            };
            said.refused.push(Refused {
                node: self.node.clone(),
                name: name(pod),
                container: container(pod, refused.container_id.as_deref()),
                pid: refused.pid,
                reason: refused.reason,
                why: refused.why,
            });
        }
        let is_told = |pod: &PodName| {
            let followed = said.processes.iter().map(|process| &process.name);
            let refused = said.refused.iter().map(|refused| &refused.name);
            followed.chain(refused).any(|name| name == pod)
        };
        let not_followed = self.names().filter(|pod| !is_told(pod)).collect();
        Said {
            not_followed,
            ..said
        }
    }

    /// The chosen pod with this uid, be it that of the API or that of the node.
    fn pod(&self, uid: Option<&str>) -> Option<&Pod> {
        let uid = uid?;
        self.pods
            .iter()
            .find(|pod| *pod.uid == *uid || pod.static_uid.as_deref() == Some(uid))
    }
}

fn container(pod: &Pod, id: Option<&str>) -> String {
    let name = id.and_then(|id| pod.container(id));
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn placed(name: &str, node: Option<&str>, phase: &str, more: &Value) -> Placed {
        let mut object = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
            "spec": {"nodeName": node, "containers": [
                {"name": "proxy"},
                {"name": "app", "ports": [
                    {"name": "admin", "containerPort": 1}, {"name": "http", "containerPort": 9000},
                ]},
            ]},
            "status": {"phase": phase, "podIP": "10.0.0.7", "containerStatuses": [
                {"name": "app", "containerID": format!("containerd://id-{name}")},
            ]},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            object["metadata"][key] = value.clone();
        }
        let object = serde_json::from_value(object).expect("it is a pod");
        Placed::new(object).expect("it has a name")
    }

    fn running(name: &str, node: &str) -> Placed {
        placed(name, Some(node), "Running", &Value::Null)
    }

    #[test]
    fn each_pod_has_the_agent_of_its_node_or_a_reason() {
        let none = Value::Null;
        let ends = json!({"deletionTimestamp": "2026-03-01T10:00:07Z"});
        let pods = vec![
            running("a", "n1"),
            running("b", "n2"),
            running("c", "n1"),
            running("d", "n3"),
            placed("e", None, "Pending", &none),
            placed("over", Some("n1"), "Succeeded", &none),
        ];
        let agents = vec![
            placed("old", Some("n1"), "Running", &ends),
            running("new", "n1"),
            placed("older", Some("n1"), "Failed", &none),
            placed("young", Some("n2"), "Pending", &none),
            placed("lost", Some("n3"), "Failed", &none),
            running("idle", "n4"),
        ];
        let roster = Roster::new(pods, agents);
        let posts: Vec<_> = roster
            .posts
            .iter()
            .map(|post| {
                let pods: Vec<_> = post.pods.iter().map(|pod| &*pod.name).collect();
                (&*post.node, &*post.agent.pod.name, pods)
            })
            .collect();
        assert_eq!(
            posts,
            [("n1", "new", vec!["a", "c"]), ("n2", "young", vec!["b"])]
        );
        let unseen: Vec<_> = roster
            .unseen
            .iter()
            .map(|it| (&*it.name.pod, &*it.why))
            .collect();
        assert_eq!(
            unseen,
            [("d", "no agent runs on n3"), ("e", "it is on no node yet")]
        );
        assert_eq!(roster.pods, 5);
        let agent = &roster.posts[0].agent;
        assert_eq!(agent.port(9477), 9000);
        assert_eq!(agent.address, Some([10, 0, 0, 7].into()));
    }

    #[test]
    fn only_processes_of_the_chosen_pods_are_taken() {
        let hash = json!({"annotations": {"kubernetes.io/config.hash": "hash-b"}});
        let post = Post {
            node: "n1".to_owned(),
            agent: running("agent", "n1"),
            pods: [
                running("a", "n1"),
                placed("b", Some("n1"), "Running", &hash),
                running("quiet", "n1"),
                running("c", "n1"),
            ]
            .map(|placed| placed.pod)
            .into(),
        };
        let process = |pid: u32, uid: Value, container: &str| {
            json!({
                "pid": pid, "start_ticks": 1, "process": "cart", "since": "x", "level": "observe",
                "pod_uid": uid, "container_id": container, "reads": 3, "read": null,
                "target": {"pid": pid, "build_id": "b1", "new": {}}, "goroutines": 7, "findings": 1,
            })
        };
        let list = json!({
            "schema": answer::SCHEMA,
            "processes": [
                process(1, "uid-a".into(), "id-a"),
                process(2, "uid-a".into(), "id-young"),
                process(3, "hash-b".into(), "id-b"),
                process(4, "uid-other".into(), "id-other"),
                process(5, Value::Null, "id-a"),
            ],
            "refused": [
                {"pid": 6, "reason": "version", "why": "too old", "pod_uid": "uid-c", "container_id": "id-c"},
                {"pid": 7, "reason": "denied", "why": "no"},
            ],
        });
        let said = post.take(serde_json::from_value(list).expect("it is a list"));
        let processes: Vec<_> = said
            .processes
            .iter()
            .map(|process| (process.pid, &*process.name.pod, &*process.container))
            .collect();
        assert_eq!(processes, [(1, "a", "app"), (2, "a", ""), (3, "b", "app")]);
        assert_eq!(said.processes[0].workload, "Pod/a");
        let refused: Vec<_> = said
            .refused
            .iter()
            .map(|it| (it.pid, &*it.name.pod, &*it.reason))
            .collect();
        assert_eq!(refused, [(6, "c", "version")]);
        let silent: Vec<_> = said.not_followed.iter().map(|name| &*name.pod).collect();
        assert_eq!(silent, ["quiet"]);
    }
}
