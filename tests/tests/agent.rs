//! `gotrace agent`: what runs is found, what starts is found, what ends is let go; in a container as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use integration_tests::otlp::proto::logs::v1::LogRecord;
use integration_tests::otlp::{Receiver, text};
use integration_tests::target::{fixture, send};
use integration_tests::{Gotrace, Target, eventually, gotrace, http, pods, require_root};
use rustix::process::Signal;
use serde_json::Value;

/// Often enough that nothing waits for the next read, and as much CPU time as that takes.
const OFTEN: [&str; 4] = ["--interval", "200ms", "--cpu", "100%"];

fn is_of(pid: u32) -> impl Fn(&Value) -> bool {
    move |line| line["process"]["pid"] == pid
}

/// The process of a list that has this pid.
fn listed(address: &str, pid: u32) -> Option<Value> {
    let (status, list) = http::get(&format!("{address}/api/v1/processes"));
    assert_eq!(status, 200, "{list}");
    let list: Value = serde_json::from_str(&list).expect("a document");
    assert_eq!(list["schema"], "gotrace.processes/1");
    let processes = list["processes"].as_array().expect("a list");
    processes
        .iter()
        .find(|process| process["pid"] == pid)
        .cloned()
}

/// A process that is no Go program, for as long as it is needed.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn go_processes_are_found_followed_and_let_go() {
    require_root();
    let stuck = Target::start("stuck", &[]);
    // Whatever else runs on this machine would have its turns, too.
    let names = ["stuck", "hello", "relay", "sleep"].map(|name| ["--name", name]);
    let arguments = [
        &["agent", "--listen", "127.0.0.1:0"][..],
        names.as_flattened(),
    ]
    .concat();
    let mut agent = Gotrace::start(&[&arguments[..], &OFTEN].concat());
    let started = agent.until("started", |_| true);
    assert_eq!(started["discovery"], "bpf");
    let address = started["listening"].as_str().expect("it listens");
    let address = format!("http://{address}");

    // What ran before, and what is wrong with it.
    let found = agent.until("found", is_of(stuck.pid()));
    assert_eq!(found["process"]["process"], "stuck");
    assert_eq!(found["process"]["level"], "observe");
    let of_stuck = is_of(stuck.pid());
    let finding = agent.until("finding", |line| {
        of_stuck(line) && line["finding"]["verdict"] == "proven"
    });
    assert_eq!(finding["finding"]["kind"], "deadlock", "{finding}");
    let of = format!("{address}/api/v1/processes/{}", stuck.pid());
    let (status, goroutines) = http::get(&format!("{of}/goroutines?with=user&group=userloc"));
    assert_eq!(status, 200, "{goroutines}");
    assert!(goroutines.contains("main."), "{goroutines}");
    let (_, findings) = http::get(&format!("{of}/findings"));
    assert!(findings.contains("\"proven\""), "{findings}");
    let (status, channels) = http::get(&format!("{of}/channels?limit=1"));
    assert_eq!(status, 200, "{channels}");

    // What begins later: what is no Go program is left alone.
    let other = Other(Command::new("sleep").arg("1000").spawn().expect("sleep"));
    let hello = Target::start("hello", &[]);
    agent.until("found", is_of(hello.pid()));
    assert_eq!(listed(&address, other.0.id()), None);
    let state = eventually("it is read", || {
        listed(&address, hello.pid()).filter(|state| state["reads"].as_u64() > Some(1))
    });
    assert!(state["goroutines"].as_u64() > Some(0), "{state}");

    // A process that executes another program is another one.
    let mut relay = Target::start(
        "relay",
        &[fixture("stuck").to_str().expect("a path of ours")],
    );
    agent.until("found", is_of(relay.pid()));
    relay.say("");
    let gone = agent.until("gone", is_of(relay.pid()));
    assert_eq!(gone["why"], "exec");
    let found = agent.until("found", is_of(relay.pid()));
    assert_eq!(found["process"]["process"], "stuck");

    // What ends is let go.
    let pid = hello.pid();
    hello.end_unharmed();
    let gone = agent.until("gone", is_of(pid));
    assert_eq!(gone["why"], "exit");
    assert_eq!(listed(&address, pid), None);
    let (status, _) = http::get(&format!("{address}/api/v1/processes/{pid}/findings"));
    assert_eq!(status, 404);

    let (status, metrics) = http::get(&format!("{address}/metrics"));
    assert_eq!(status, 200);
    for (metric, labels) in [
        // Two processes run the program.
        ("gotrace_processes", "process=\"stuck\""),
        ("gotrace_findings", "verdict=\"proven\""),
        ("gotrace_goroutines_waiting", "reason=\"chan receive\""),
    ] {
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with(metric) && line.contains(labels)),
            "no {metric} with {labels} in {metrics}"
        );
    }
    assert!(
        metrics.contains("gotrace_agent_events_lost_total 0\n"),
        "{metrics}"
    );

    agent.signal(Signal::TERM);
    let finished = agent.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let others = finished.objects();
    let of_other = is_of(other.0.id());
    assert!(!others.iter().any(of_other), "sleep is no Go program");
    stuck.end_unharmed();
}

#[test]
fn without_bpf_all_processes_are_listed_now_and_then() {
    require_root();
    let arguments = [
        "agent",
        "--listen",
        "off",
        "--scan",
        "100ms",
        "--name",
        "hel*",
        "--deny",
        "hello-*",
        "--no-sandbox",
    ];
    let mut agent = Gotrace::start(&[&arguments[..], &OFTEN].concat());
    let started = agent.until("started", |_| true);
    assert_eq!(started["discovery"], "scan");
    assert_eq!(started["sandbox"], Value::Null);
    let denied = Target::start("hello-stripped", &[]);
    let not_named = Target::start("stuck", &[]);
    let hello = Target::start("hello", &[]);
    agent.until("found", is_of(hello.pid()));
    let pid = hello.pid();
    hello.end_unharmed();
    agent.until("gone", is_of(pid));
    let finished = agent.interrupt();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for target in [&denied, &not_named] {
        assert!(!finished.objects().iter().any(is_of(target.pid())));
    }
}

/// Over both ways to speak OTLP, in the sandbox, with settings of a file.
#[test]
fn findings_are_sent_as_opentelemetry() {
    require_root();
    let directory = tempfile::tempdir().expect("room");
    let file = directory.path().join("gotrace.toml");
    let settings =
        "level = \"full\"\n\n[agent]\nname = \"stuck\"\ninterval = \"200ms\"\ncpu = 100\n";
    fs::write(&file, settings).expect("it is ours");
    let pod = pods::Group::make(11);
    let names = "k8s.namespace.name=shop,k8s.pod.name=cart-1,k8s.deployment.name=cart";
    let stuck = pod.start_with("stuck", &[], &[("OTEL_RESOURCE_ATTRIBUTES", names)]);
    for (receiver, protocol) in [
        (Receiver::grpc(), "grpc"),
        (Receiver::http(), "http/protobuf"),
    ] {
        let mut command = Command::new(gotrace::program());
        command
            .args(["agent", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20secret",
            )
            .env(
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            )
            .env("OTEL_BSP_SCHEDULE_DELAY", "200");
        let mut agent = Gotrace::start_command(command);
        let started = agent.until("started", |_| true);
        assert_eq!(started["interval_seconds"], 0.2, "{started}");
        assert_ne!(started["sandbox"], Value::Null, "{started}");
        let address = started["listening"].as_str().expect("it listens");
        let of_stuck = is_of(stuck.pid());
        let finding = agent.until("finding", |line| {
            of_stuck(line) && line["finding"]["verdict"] == "proven"
        });
        let id = finding["finding"]["id"].as_str().expect("text");
        let record = eventually("it is received", || {
            let logs = receiver.got().logs;
            let of_it = |log: &LogRecord| {
                text(&log.attributes, "gotrace.finding.id") == Some(id)
                    && log.severity_text == "ERROR"
            };
            logs.into_iter().find(of_it)
        });
        assert_eq!(record.event_name, "gotrace.finding");
        assert_eq!(
            text(&record.attributes, "gotrace.finding.kind"),
            finding["finding"]["kind"].as_str()
        );
        let got = receiver.got();
        assert!(got.metrics.is_empty() && got.spans.is_empty());
        assert!(got.authorizations.iter().all(|it| it == "Bearer secret"));
        // Others of these tests may be stuck as well.
        let of_pod = got
            .resources
            .iter()
            .filter(|resource| text(&resource.attributes, "k8s.pod.uid") == Some(pod.uid()));
        let of_pod: Vec<_> = of_pod.collect();
        assert!(!of_pod.is_empty());
        for resource in of_pod {
            for (key, value) in [
                ("service.name", "cart"),
                ("k8s.namespace.name", "shop"),
                ("k8s.pod.name", "cart-1"),
                ("k8s.deployment.name", "cart"),
                ("process.executable.name", "stuck"),
                ("deployment.environment.name", "test"),
            ] {
                assert_eq!(text(&resource.attributes, key), Some(value), "{resource:?}");
            }
        }
        eventually("gotrace counts what was taken", || {
            let (_, metrics) = http::get(&format!("http://{address}/metrics"));
            let count = receiver.got().logs.len();
            let counted = format!("gotrace_otel_exported_total{{signal=\"logs\"}} {count}\n");
            metrics.contains(&counted).then_some(())
        });
        let finished = agent.interrupt();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(
            !finished.stderr.contains("OpenTelemetry"),
            "{}",
            finished.stderr
        );
    }
    stuck.end_unharmed();
}

const POD: &str = "0b5cf8ac-3f3e-4a0a-9f3b-0c1f3c0a5d11";
const CONTAINER: &str = "4b1c3c0e2a9f40d2b7b0a1f1d5e86f7c9e0a3b5d7f91c2e4a6b8d0f2143657a9";

/// A control group of version 2 with the name that containerd and the kubelet give it; removed when dropped.
struct Group {
    made: Vec<PathBuf>,
    /// Where control groups were mounted for it.
    mounted: Option<tempfile::TempDir>,
}

impl Group {
    fn make() -> Group {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("they are readable");
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (place, kind) = (words.next()?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(place))
        });
        let mounted = root.is_none().then(|| {
            let place = tempfile::tempdir().expect("room");
            let status = Command::new("mount")
                .args(["-t", "cgroup2", "none"])
                .arg(place.path())
                .status();
            assert!(status.expect("mount").success(), "no cgroup2");
            place
        });
        let root = root
            .or_else(|| Some(mounted.as_ref()?.path().to_owned()))
            .expect("one of both");
        let pod = POD.replace('-', "_");
        let mut group = Group {
            made: Vec::new(),
            mounted,
        };
        let mut path = root;
        for name in [
            "kubepods.slice".to_owned(),
            "kubepods-burstable.slice".to_owned(),
            format!("kubepods-burstable-pod{pod}.slice"),
            format!("cri-containerd-{CONTAINER}.scope"),
        ] {
            path.push(name);
            if !path.exists() {
                fs::create_dir(&path).expect("a control group can be made");
                group.made.push(path.clone());
            }
        }
        group
    }

    fn members(&self) -> PathBuf {
        self.made.last().expect("it was made").join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // Once its last process is gone.
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        if let Some(place) = &self.mounted {
            let _ = Command::new("umount").arg(place.path()).status();
        }
    }
}

/// The one child of a process.
fn child_of(pid: u32) -> u32 {
    eventually("it has a child", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

/// A container as the kernel sees one: a control group, a mount namespace with a root file system that nobody
/// else sees and that holds the static program alone, and a pid namespace.
fn start_contained(group: &Group, root: &Path) -> Target {
    let inside =
        "mount -t tmpfs none \"$1\" && cp \"$2\" \"$1/program\" && exec chroot \"$1\" /program";
    let outside = "echo $$ > \"$1\" && shift && exec unshare --mount --pid --fork sh -c \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", outside, "sh"])
        .arg(group.members())
        .args([inside, "sh"])
        .arg(root)
        .arg(fixture("hello"))
        .env(
            "OTEL_RESOURCE_ATTRIBUTES",
            "k8s.namespace.name=shop,k8s.pod.name=cart-1,k8s.deployment.name=cart",
        );
    Target::start_command(command)
}

#[test]
fn a_process_in_a_container_is_named_by_pod_and_container() {
    require_root();
    let group = Group::make();
    let root = tempfile::tempdir().expect("room");
    let arguments = ["agent", "--listen", "127.0.0.1:0", "--name", "program"];
    let mut agent = Gotrace::start(&[&arguments[..], &OFTEN].concat());
    let started = agent.until("started", |_| true);
    let address = format!(
        "http://{}",
        started["listening"].as_str().expect("it listens")
    );
    // The second time it is restarted.
    for _ in 0..2 {
        let contained = start_contained(&group, root.path());
        let pid = child_of(contained.pid());
        assert!(
            !root.path().join("program").exists(),
            "the file is seen from outside"
        );
        let found = agent.until("found", is_of(pid));
        let process = &found["process"];
        for (field, expected) in [
            ("runtime", "containerd"),
            ("container_id", CONTAINER),
            ("pod_uid", POD),
            ("namespace", "shop"),
            ("pod", "cart-1"),
            ("workload", "Deployment/cart"),
            ("process", "program"),
        ] {
            assert_eq!(process[field], expected, "{process}");
        }
        eventually("it is read", || {
            listed(&address, pid).filter(|state| state["reads"].as_u64() > Some(0))
        });
        let (_, goroutines) = http::get(&format!("{address}/api/v1/processes/{pid}/goroutines"));
        assert!(goroutines.contains("main.main"), "{goroutines}");
        let (_, metrics) = http::get(&format!("{address}/metrics"));
        let labels = "namespace=\"shop\",pod=\"cart-1\",process=\"program\"";
        assert!(metrics.contains(labels), "{metrics}");
        send(pid, Signal::KILL);
        agent.until("gone", is_of(pid));
    }
    let finished = agent.interrupt();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}
