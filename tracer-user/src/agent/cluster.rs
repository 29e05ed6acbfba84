//! The cluster that a node is part of: what its API calls the pods of processes, which of them are to be followed, and
//! findings as their events.

use std::sync::Arc;

use super::names::{Identity, PodNames};
use crate::document::findings::Entry;
use crate::failure::Failure;
use crate::kubernetes::{Config, Decision, Health, Kubernetes, Place, Pod, Selection};

/// See the module.
pub(crate) struct Cluster {
    kubernetes: Arc<Kubernetes>,
    selection: Selection,
}

impl Cluster {
    /// Starts to follow the API, without waiting for it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(config: Config) -> Result<Arc<Cluster>, Failure> {
        let kubernetes = Kubernetes::start(&config)
            .map_err(|error| Failure::new("cannot follow the Kubernetes API").because(error))?;
        Ok(Arc::new(Cluster {
            kubernetes,
            selection: config.selection,
        }))
    }

    /// The names of a process' pod, as far as the API has told them.
    pub(crate) fn names(&self, identity: &Identity) -> Option<PodNames> {
        let pod = self.pod(identity)?;
        let container = container(&pod, identity).unwrap_or_default();
        Some(PodNames {
            namespace: pod.namespace.to_string(),
            container: container.to_owned(),
            workload: format!("{}/{}", pod.workload.kind, pod.workload.name),
            pod: pod.name.to_string(),
        })
    }

    /// Whether a process is to be followed, as far as the API has told.
    pub(super) fn decide(&self, identity: &Identity) -> Decision {
        match self.pod(identity) {
            Some(pod) => {
                let container = container(&pod, identity);
                self.selection.decide(Place::Pod(&pod, container))
            }
            None if identity.pod_uid.is_some() => self.selection.decide(Place::UnknownPod),
            None => self.selection.decide(Place::Host),
        }
    }

    /// Tells of a finding in a process. Never waits.
    pub(super) fn report(&self, identity: &Identity, finding: &Entry) {
        if let Some(pod) = self.pod(identity) {
            let name = container(&pod, identity).map(str::to_owned);
            self.kubernetes
                .report(pod, name.as_deref(), identity.pid, finding);
        }
    }

    /// How it stands with the API.
    pub(crate) fn health(&self) -> Health {
        self.kubernetes.health()
    }

    /// Sends what waits, for some seconds at most.
    pub(crate) fn finish(&self) {
        self.kubernetes.finish();
    }

    fn pod(&self, identity: &Identity) -> Option<Arc<Pod>> {
        let uid = identity.pod_uid.as_ref()?;
        self.kubernetes.pod(&uid.to_string())
    }
}

/// The name of the container that a process is in.
fn container<'a>(pod: &'a Pod, identity: &Identity) -> Option<&'a str> {
    pod.container(&identity.container.as_ref()?.to_string())
}
