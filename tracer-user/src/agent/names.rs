//! What the processes of containers are called by whoever deployed them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::container::{ContainerId, PodUid};

/// Which process it is, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since boot: with the pid it names a process for good.
    pub(crate) start: u64,
    pub(crate) container: Option<ContainerId>,
    pub(crate) pod_uid: Option<PodUid>,
}

/// The names of a process' pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub(crate) struct PodNames {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) pod: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) container: String,
    /// What made the pod, such as `Deployment/shop`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) workload: String,
}

/// Tells the names of a process; `None` if they are not known, or not yet. Asked anew each time.
pub(crate) type Names = Arc<dyn Fn(&Identity) -> Option<PodNames> + Send + Sync>;

/// The variable in which OpenTelemetry's SDKs are told what they run in.
const VARIABLE: &[u8] = b"OTEL_RESOURCE_ATTRIBUTES=";
/// An environment's bytes that are looked at.
const MOST: u64 = 128 << 10;
/// A longer name is none.
const MOST_NAME: usize = 253;
/// Kinds of workloads, as attributes name them.
pub(crate) const WORKLOADS: [(&str, &str); 5] = [
    ("k8s.deployment.name", "Deployment"),
    ("k8s.statefulset.name", "StatefulSet"),
    ("k8s.daemonset.name", "DaemonSet"),
    ("k8s.cronjob.name", "CronJob"),
    ("k8s.job.name", "Job"),
];

/// The names that a process of a pod was given in its environment, for OpenTelemetry. Nothing else of the
/// environment is kept.
pub(crate) fn from_environment(identity: &Identity) -> Option<PodNames> {
    use std::io::Read as _;
    identity.pod_uid.as_ref()?;
    let mut text = Vec::new();
    std::fs::File::open(format!("/proc/{}/environ", identity.pid))
        .and_then(|file| file.take(MOST).read_to_end(&mut text))
        .ok()?;
    of_environment(&text)
}

fn of_environment(text: &[u8]) -> Option<PodNames> {
    let value = text
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(VARIABLE))?;
    let mut names = PodNames::default();
    for pair in std::str::from_utf8(value).ok()?.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let Ok(value) = percent_encoding::percent_decode_str(value.trim()).decode_utf8() else {
            continue;
        };
        if value.len() > MOST_NAME {
            continue;
        }
        let key = key.trim();
        match key {
            "k8s.namespace.name" => names.namespace = value.into_owned(),
            "k8s.pod.name" => names.pod = value.into_owned(),
            "k8s.container.name" => names.container = value.into_owned(),
            _ => {
                let kind = WORKLOADS.iter().find(|(name, _)| *name == key);
                if let Some((_, kind)) = kind {
                    names.workload = format!("{kind}/{value}");
                }
            }
        }
    }
    (names != PodNames::default()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_names_a_pod() {
        let text = b"PATH=/bin\0OTEL_RESOURCE_ATTRIBUTES=service.name=x,k8s.namespace.name=shop, k8s.pod.name=cart-7f%2D2 ,k8s.deployment.name=cart,broken\0A=b\0";
        assert_eq!(
            of_environment(text),
            Some(PodNames {
                namespace: "shop".to_owned(),
                pod: "cart-7f-2".to_owned(),
                container: String::new(),
                workload: "Deployment/cart".to_owned(),
            })
        );
        for text in [
            &b""[..],
            b"PATH=/bin",
            b"OTEL_RESOURCE_ATTRIBUTES=service.name=x",
            b"OTEL_RESOURCE_ATTRIBUTES=\xff\xfe",
        ] {
            assert_eq!(of_environment(text), None, "{text:?}");
        }
    }
}
