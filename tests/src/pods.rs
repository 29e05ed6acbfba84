//! Pods as the kernel and the Kubernetes API know them: a control group, and an object.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Target;
use crate::target::fixture;

/// What a Deployment's pods have in their labels and names.
const HASH: &str = "6d4cf56db6";

/// A control group as the kubelet and a runtime name it, with the cgroupfs driver; removed when dropped.
#[derive(Debug)]
pub struct Group {
    pod: PathBuf,
    container: PathBuf,
    uid: String,
    id: String,
}

impl Group {
    /// Makes one; of each number there is one on a machine.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[track_caller]
    pub fn make(number: u32) -> Group {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("they are readable");
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (place, kind) = (words.next()?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(place))
        });
        let root = root.expect("control groups of version 2 are mounted");
        let uid = format!("{number:08x}-3f3e-4a0a-9f3b-0c1f3c0a5d11");
        let id = format!("{number:064x}");
        let pod = root.join("kubepods").join(format!("pod{uid}"));
        let container = pod.join(&id);
        fs::create_dir_all(&container).expect("a control group can be made");
        Group {
            pod,
            container,
            uid,
            id,
        }
    }

    /// The uid of its pod.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Starts a program of tests/programs in it.
    #[track_caller]
    pub fn start(&self, program: &str, arguments: &[&str]) -> Target {
        self.start_with(program, arguments, &[])
    }

    /// The same with these variables.
    #[track_caller]
    pub fn start_with(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Target {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"])
            .arg(self.container.join("cgroup.procs"))
            .arg(fixture(program))
            .args(arguments)
            .envs(variables.iter().copied());
        Target::start_command(command)
    }

    /// Its pod, of a Deployment, as the API has it.
    pub fn pod(&self, name: &str, node: &str, annotations: &Value) -> Value {
        let last: String = self.uid.chars().skip(3).take(5).collect();
        json!({
            "metadata": {
                "name": format!("{name}-{HASH}-{last}"), "namespace": "shop", "uid": self.uid,
                "labels": {"app": name, "pod-template-hash": HASH},
                "annotations": annotations,
                "creationTimestamp": "2026-03-01T10:00:07Z",
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-{HASH}"),
                    "uid": "r", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {"nodeName": node},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "app", "containerID": format!("containerd://{}", self.id)}],
            },
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once its last process is gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.container).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let above = self.pod.parent().expect("it was made in one");
        for path in [self.pod.as_path(), above] {
            // Others may still need it.
            let _ = fs::remove_dir(path);
        }
    }
}
