//! Which container a process is in, by the text of `/proc/PID/cgroup` alone.
//!
//! Runtimes name the control group of a container after it; the kubelet names that of a pod after the pod's
//! uid. How, differs by runtime and by driver (systemd or cgroupfs); both versions of control groups have the
//! same paths. What is not named so has no container: nothing is guessed.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runtime {
    Containerd,
    #[serde(rename = "cri-o")]
    CriO,
    Docker,
    Podman,
}

/// The id of a container, 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub(crate) struct ContainerId(String);

/// The uid of a pod as the Kubernetes API writes it. That of a static pod, which the kubelet made of a file, is
/// a hash without hyphens; the API knows its mirror by that as an annotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub(crate) struct PodUid(String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the control group says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// `None` also where a container is known, but not by whom it is run.
    pub(crate) runtime: Option<Runtime>,
    pub(crate) container: Option<ContainerId>,
    pub(crate) pod: Option<PodUid>,
}

impl Place {
    /// Reads the text of `/proc/PID/cgroup`: of all its lines the one that says most.
    pub(crate) fn of(text: &str) -> Place {
        let mut best = Place::default();
        for line in text.lines() {
            // Hierarchy, controllers, path: the path may have colons itself.
            let Some(path) = line.splitn(3, ':').nth(2) else {
                continue;
            };
            let place = Place::of_path(path);
            if place.known() > best.known() {
                best = place;
            }
        }
        best
    }

    const fn known(&self) -> usize {
        // An id says more than a runtime, which is told by the id's prefix.
        2 * (self.container.is_some() as usize)
            + 2 * (self.pod.is_some() as usize)
            + self.runtime.is_some() as usize
    }

    /// Reads one path. The innermost names count: a node can be a container itself.
    fn of_path(path: &str) -> Place {
        let mut place = Place::default();
        let mut above = "";
        // Where a runtime was told to ask systemd and does not, what it would have asked is one name.
        for name in path.split(['/', ':']) {
            if let Some(pod) = pod_uid(name) {
                place = Place {
                    pod: Some(pod),
                    ..Place::default()
                };
            } else if let Some((runtime, container)) = container(name, above) {
                place.runtime = runtime;
                place.container = Some(container);
            }
            above = name;
        }
        place
    }
}

/// The pod that a control group is named after: `kubepods-burstable-podUID.slice` or `podUID`.
fn pod_uid(name: &str) -> Option<PodUid> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = match name.rsplit_once("-pod") {
        Some((_, uid)) => uid,
        None => name.strip_prefix("pod")?,
    };
    // In a slice's name a hyphen would be a level of slices.
    let uid = uid.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let hyphens = uid.bytes().filter(|byte| *byte == b'-').count();
    let is_uid = digits == 32 && (hyphens == 0 || hyphens == 4) && digits + hyphens == uid.len();
    is_uid.then_some(PodUid(uid))
}

/// The container that a control group below `above` is named after.
fn container(name: &str, above: &str) -> Option<(Option<Runtime>, ContainerId)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = name.rsplit_once('-').unwrap_or(("", name));
    if id.len() != ID_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let by = if prefix.is_empty() { above } else { prefix };
    let runtime = match by {
        "cri-containerd" | "nerdctl" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::CriO),
        "docker" => Some(Runtime::Docker),
        "libpod" | "libpod_parent" => Some(Runtime::Podman),
        // Such as `crio-conmon`: what watches a container from outside.
        _ if !prefix.is_empty() => return None,
        _ => None,
    };
    Some((runtime, ContainerId(id.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b1c3c0e2a9f40d2b7b0a1f1d5e86f7c9e0a3b5d7f91c2e4a6b8d0f2143657a9";
    const OUTER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
    const UID: &str = "0b5cf8ac-3f3e-4a0a-9f3b-0c1f3c0a5d11";

    #[test]
    fn paths_say_runtime_container_and_pod() {
        let low = UID.replace('-', "_");
        let hash = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
        let containerd = Some(Runtime::Containerd);
        let docker = Some(Runtime::Docker);
        for (path, runtime, has_container, pod) in [
            // containerd, systemd driver: burstable, best effort, guaranteed.
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice/cri-containerd-{ID}.scope"
                ),
                containerd,
                true,
                UID,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{low}.slice/cri-containerd-{ID}.scope"
                ),
                containerd,
                true,
                UID,
            ),
            (
                format!("/kubepods.slice/kubepods-pod{low}.slice/cri-containerd-{ID}.scope"),
                containerd,
                true,
                UID,
            ),
            // The kubelet in a slice of its own (kind), and a container that has groups of its own (systemd in it).
            (
                format!(
                    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{low}.slice/cri-containerd-{ID}.scope"
                ),
                containerd,
                true,
                UID,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-pod{low}.slice/cri-containerd-{ID}.scope/init.scope"
                ),
                containerd,
                true,
                UID,
            ),
            // containerd that was told to use systemd by the kubelet alone.
            (
                format!(
                    "/system.slice/containerd.service/kubepods-burstable-pod{low}.slice:cri-containerd:{ID}"
                ),
                containerd,
                true,
                UID,
            ),
            // cgroupfs driver: no runtime in the path, but for CRI-O.
            (
                format!("/kubepods/burstable/pod{UID}/{ID}"),
                None,
                true,
                UID,
            ),
            (format!("/kubepods/pod{UID}/{ID}"), None, true, UID),
            (
                format!("/kubepods/besteffort/pod{UID}/crio-{ID}"),
                Some(Runtime::CriO),
                true,
                UID,
            ),
            // CRI-O, systemd driver, also with the group that it makes below; what watches from outside.
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice/crio-{ID}.scope"
                ),
                Some(Runtime::CriO),
                true,
                UID,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice/crio-{ID}.scope/container"
                ),
                Some(Runtime::CriO),
                true,
                UID,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice/crio-conmon-{ID}.scope"
                ),
                None,
                false,
                UID,
            ),
            // docker below the kubelet (cri-dockerd).
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice/docker-{ID}.scope"
                ),
                docker,
                true,
                UID,
            ),
            // A static pod.
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-{ID}.scope"
                ),
                containerd,
                true,
                hash,
            ),
            // Without Kubernetes.
            (format!("/system.slice/docker-{ID}.scope"), docker, true, ""),
            (format!("/docker/{ID}"), docker, true, ""),
            (
                format!("/system.slice/nerdctl-{ID}.scope"),
                containerd,
                true,
                "",
            ),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                Some(Runtime::Podman),
                true,
                "",
            ),
            (format!("/default/{ID}"), None, true, ""),
            // A node that is a container.
            (
                format!("/docker/{OUTER}/kubelet/kubepods/burstable/pod{UID}/{ID}"),
                None,
                true,
                UID,
            ),
            // As one sees it who is in a control group namespace.
            (
                format!("/../../kubepods-pod{low}.slice/cri-containerd-{ID}.scope"),
                containerd,
                true,
                UID,
            ),
            // None.
            ("/".to_owned(), None, false, ""),
            ("/system.slice/ssh.service".to_owned(), None, false, ""),
            (
                "/user.slice/user-1000.slice/session-4.scope".to_owned(),
                None,
                false,
                "",
            ),
            ("/podium/pod-4".to_owned(), None, false, ""),
            (
                format!("/system.slice/docker-{}.scope", &ID[1..]),
                None,
                false,
                "",
            ),
        ] {
            let expected = Place {
                runtime,
                container: has_container.then(|| ContainerId(ID.to_owned())),
                pod: (!pod.is_empty()).then(|| PodUid(pod.to_owned())),
            };
            assert_eq!(Place::of(&format!("0::{path}\n")), expected, "{path}");
            let old = format!("12:memory:{path}\n1:name=systemd:{path}\n0::/\n");
            assert_eq!(Place::of(&old), expected, "version 1: {path}");
        }
    }

    #[test]
    fn the_line_that_says_most_counts() {
        let text = format!(
            "4:pids:/system.slice/containerd.service\n3:cpu:/kubepods/pod{UID}\n1:name=systemd:/kubepods/pod{UID}/{ID}\n0::/\n"
        );
        assert_eq!(Place::of(&text).container, Some(ContainerId(ID.to_owned())));
        for text in ["", "\n", "0", "0:", "::", ":::::", "0::"] {
            assert_eq!(Place::of(text), Place::default(), "{text:?}");
        }
    }
}
