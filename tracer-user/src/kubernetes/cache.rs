//! The pods of this node, by uid, and for a while those that were deleted: a finding may come late.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::pod::Pod;

/// Pods at most. A kubelet runs 110 unless it is told otherwise, and nobody tells it ten times that.
pub(super) const MOST: usize = 2048;
/// Deleted pods at most, and how long they are kept.
const MOST_GONE: usize = 256;
const KEEP_GONE: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pods: FxHashMap<Box<str>, Arc<Pod>>,
    /// From the uid that the node knows of a static pod to the API's.
    aliases: FxHashMap<Box<str>, Box<str>>,
    /// The latest last.
    gone: VecDeque<(Instant, Arc<Pod>)>,
    left_out: u64,
}

impl Cache {
    /// Adds or changes one.
    pub(super) fn put(&mut self, pod: Pod, now: Instant) {
        self.forget(now);
        let known = self.pods.get(&pod.uid);
        if known.is_none() && self.pods.len() >= MOST {
            self.left_out += 1;
            return;
        }
        if known.is_some_and(|known| **known == pod) {
            // Most changes are of what is not kept, such as conditions.
            return;
        }
        if let Some(alias) = &pod.static_uid {
            self.aliases.insert(alias.clone(), pod.uid.clone());
        }
        self.pods.insert(pod.uid.clone(), Arc::new(pod));
    }

    /// Deletes one.
    pub(super) fn remove(&mut self, uid: &str, now: Instant) {
        self.forget(now);
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        if let Some(alias) = &pod.static_uid
            && self.aliases.get(alias).is_some_and(|of| **of == *uid)
        {
            self.aliases.remove(alias);
        }
        if self.gone.len() >= MOST_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back((now, pod));
    }

    /// These are all there are, but for those that found no room in the list.
    pub(super) fn replace(&mut self, pods: Vec<Pod>, left_out: u64, now: Instant) {
        self.left_out = left_out;
        let missing: Vec<Box<str>> = {
            let listed: rustc_hash::FxHashSet<&str> = pods.iter().map(|pod| &*pod.uid).collect();
            let known = self.pods.keys();
            known
                .filter(|uid| !listed.contains(&***uid))
                .cloned()
                .collect()
        };
        for uid in missing {
            self.remove(&uid, now);
        }
        for pod in pods {
            self.put(pod, now);
        }
    }

    /// A pod by its uid, the API's or the node's.
    pub(super) fn get(&self, uid: &str, now: Instant) -> Option<Arc<Pod>> {
        let known = self.pods.get(self.aliases.get(uid).map_or(uid, |uid| uid));
        if let Some(pod) = known {
            return Some(Arc::clone(pod));
        }
        let is_it = |pod: &Pod| *pod.uid == *uid || pod.static_uid.as_deref() == Some(uid);
        let mut gone = self.gone.iter().rev();
        gone.find(|(since, pod)| now.duration_since(*since) < KEEP_GONE && is_it(pod))
            .map(|(_, pod)| Arc::clone(pod))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    /// How often a pod found no room since the last list.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn forget(&mut self, now: Instant) {
        let old = |since: &Instant| now.duration_since(*since) >= KEEP_GONE;
        while self.gone.front().is_some_and(|(since, _)| old(since)) {
            self.gone.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, hash: Option<&str>) -> Pod {
        let object = json!({"metadata": {
            "name": format!("pod-{uid}"), "namespace": "n", "uid": uid,
            "annotations": hash.map(|hash| json!({"kubernetes.io/config.hash": hash})),
        }});
        Pod::new(serde_json::from_value(object).expect("a pod")).expect("a pod")
    }

    fn name(cache: &Cache, uid: &str, now: Instant) -> Option<String> {
        cache.get(uid, now).map(|pod| pod.name.to_string())
    }

    #[test]
    fn a_deleted_pod_is_known_for_a_while() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(pod("a", None), now);
        cache.put(pod("b", Some("h")), now);
        cache.replace(vec![pod("c", None)], 0, now);
        assert_eq!(cache.len(), 1);
        for uid in ["a", "b", "h", "c"] {
            assert!(name(&cache, uid, now).is_some(), "{uid}");
        }
        let later = now + KEEP_GONE;
        for uid in ["a", "b", "h"] {
            assert_eq!(name(&cache, uid, later), None, "{uid}");
        }
        cache.put(pod("d", None), later);
        assert!(cache.gone.is_empty());
    }

    #[test]
    fn a_static_pod_is_found_by_the_uid_of_its_cgroup_even_when_its_mirror_was_made_anew() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(pod("old", Some("h")), now);
        cache.put(pod("new", Some("h")), now);
        cache.remove("old", now);
        assert_eq!(name(&cache, "h", now).as_deref(), Some("pod-new"));
        cache.remove("new", now);
        assert_eq!(name(&cache, "h", now).as_deref(), Some("pod-new"));
        assert!(cache.aliases.is_empty());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..MOST + 3 {
            cache.put(pod(&number.to_string(), None), now);
        }
        assert_eq!((cache.len(), cache.left_out()), (MOST, 3));
        cache.replace(Vec::new(), 0, now);
        assert_eq!((cache.len(), cache.left_out()), (0, 0));
        assert_eq!(cache.gone.len(), MOST_GONE);
    }
}
