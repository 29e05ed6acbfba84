//! `gotrace agent` on a node of a cluster, whose API a stand-in plays: names, selection, events.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use integration_tests::target::fixture;
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use kubernetes_stand_in::StandIn;
use serde_json::{Value, json};

/// A control group as the kubelet and a runtime name it, with the cgroupfs driver; removed when dropped.
struct Group {
    pod: PathBuf,
    container: PathBuf,
    uid: String,
    id: String,
}

impl Group {
    fn make(number: u32) -> Group {
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

    /// Starts a program in it.
    fn start(&self, program: &str) -> Target {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$1\" && exec \"$2\"", "sh"])
            .arg(self.container.join("cgroup.procs"))
            .arg(fixture(program));
        Target::start_command(command)
    }

    /// Its pod, as the API has it.
    fn pod(&self, name: &str, annotations: &Value) -> Value {
        json!({
            "metadata": {
                "name": format!("{name}-6d4cf56db6-x2x4z"), "namespace": "shop", "uid": self.uid,
                "labels": {"app": name, "pod-template-hash": "6d4cf56db6"},
                "annotations": annotations,
                "creationTimestamp": "2026-03-01T10:00:07Z",
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-6d4cf56db6"),
                    "uid": "r", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {"nodeName": "node-1"},
            "status": {"containerStatuses": [{"name": "app", "containerID": format!("containerd://{}", self.id)}]},
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

#[test]
fn pods_say_what_is_followed_and_are_told_what_was_found() {
    require_root();
    let groups: Vec<Group> = (1..=3).map(Group::make).collect();
    let [cart, quiet, late] = &groups[..] else {
        panic!("three were made");
    };
    let api = StandIn::start();
    let none = json!({});
    api.put_pod(cart.pod("cart", &none));
    api.put_pod(quiet.pod("quiet", &json!({"gotrace.dev/level": "off"})));
    let stuck = cart.start("stuck");
    let not_wanted = quiet.start("hello");
    let unknown = late.start("hello");
    let outside = Target::start("hello", &[]);
    let mut agent = Gotrace::start(&[
        "agent",
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "200ms",
        "--cpu",
        "100%",
        "--node",
        "node-1",
        "--kube-api",
        &api.url(),
        "--selector",
        "app in (cart,quiet,late)",
    ]);
    let started = agent.until("started", |_| true);
    assert_eq!(started["node"], "node-1");
    let address = started["listening"].as_str().expect("it listens");
    let metric = |name: &str| {
        let (_, metrics) = http::get(&format!("http://{address}/metrics"));
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        metrics.lines().find_map(value).expect(name)
    };

    // The names are those of the API.
    let found = agent.until("found", |line| line["process"]["pid"] == stuck.pid());
    for (field, expected) in [
        ("namespace", "shop"),
        ("pod", "cart-6d4cf56db6-x2x4z"),
        ("container", "app"),
        ("workload", "Deployment/cart"),
    ] {
        assert_eq!(found["process"][field], expected, "{found}");
    }
    // A deadlock becomes an event of the pod.
    let event = eventually("an event", || api.events().into_iter().next());
    assert_eq!(event["reason"], "GoroutineDeadlock", "{event}");
    assert_eq!(event["involvedObject"]["uid"], *cart.uid);
    assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{app}");
    let message = event["message"].as_str().expect("a text");
    assert!(message.starts_with("Proven: "), "{message}");
    assert!(
        message.contains(&format!("process {}", stuck.pid())),
        "{message}"
    );
    assert_eq!(metric("gotrace_agent_kubernetes_connected"), "1");
    assert_eq!(metric("gotrace_agent_kubernetes_pods"), "2");

    // What was not known is followed once it is.
    api.put_pod(late.pod("late", &none));
    agent.until("found", |line| line["process"]["pid"] == unknown.pid());
    // What is not wanted any more is let go.
    api.put_pod(cart.pod("cart", &json!({"level.gotrace.dev/app": "off"})));
    let gone = agent.until("gone", |line| line["process"]["pid"] == stuck.pid());
    assert_eq!(gone["why"], "not_selected");

    // An API that is not there is said to be so; what is known stays.
    api.refuse(Some((503, None)));
    api.cut();
    eventually("it is said", || {
        (metric("gotrace_agent_kubernetes_connected") == "0").then_some(())
    });
    assert_eq!(metric("gotrace_agent_kubernetes_pods"), "3");
    let finished = agent.interrupt();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let said = "the Kubernetes API is not followed";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
    for target in [&not_wanted, &outside] {
        let of_it = |line: &Value| line["process"]["pid"] == target.pid();
        assert!(!finished.objects().iter().any(of_it));
    }
    // It asked for nothing else.
    for request in api.requests() {
        let path = request.target.split('?').next().unwrap_or_default();
        let allowed = match &*request.method {
            "GET" => path == "/api/v1/pods",
            "POST" => path == "/api/v1/namespaces/shop/events",
            "PATCH" => path.starts_with("/api/v1/namespaces/shop/events/"),
            _ => false,
        };
        assert!(allowed, "{request:?}");
    }
    for target in [stuck, not_wanted, unknown, outside] {
        target.end_unharmed();
    }
}
