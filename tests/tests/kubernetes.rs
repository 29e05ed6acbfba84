//! `gotrace agent` on a node of a cluster, whose API a stand-in plays: names, selection, events.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use integration_tests::pods::Group;
use integration_tests::text::assert_no_probe;
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use kubernetes_stand_in::StandIn;
use serde_json::{Value, json};

#[test]
fn pods_say_what_is_followed_and_are_told_what_was_found() {
    require_root();
    let groups: Vec<Group> = (1..=3).map(Group::make).collect();
    let [cart, quiet, late] = &groups[..] else {
        panic!("three were made");
    };
    let api = StandIn::start();
    let none = json!({});
    api.put_pod(cart.pod("cart", "node-1", &none));
    api.put_pod(quiet.pod("quiet", "node-1", &json!({"gotrace.dev/level": "off"})));
    let stuck = cart.start("stuck", &[]);
    let not_wanted = quiet.start("hello", &[]);
    let unknown = late.start("hello", &[]);
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
        ("pod", "cart-6d4cf56db6-00001"),
        ("container", "app"),
        ("workload", "Deployment/cart"),
    ] {
        assert_eq!(found["process"][field], expected, "{found}");
    }
    // A deadlock becomes an event of the pod.
    let event = eventually("an event", || api.events().into_iter().next());
    assert_eq!(event["reason"], "GoroutineDeadlock", "{event}");
    assert_eq!(event["involvedObject"]["uid"], *cart.uid());
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
    api.put_pod(late.pod("late", "node-1", &none));
    agent.until("found", |line| line["process"]["pid"] == unknown.pid());
    // How closely, its pod says as well, at any time.
    let closely = json!({"gotrace.dev/level": "wake", "level.gotrace.dev/app": "park"});
    api.put_pod(late.pod("late", "node-1", &closely));
    let level = agent.until("level", |line| line["process"]["pid"] == unknown.pid());
    assert_eq!(level["process"]["level"], "park", "{level}");
    api.put_pod(late.pod("late", "node-1", &none));
    let level = agent.until("level", |line| line["process"]["pid"] == unknown.pid());
    assert_eq!(level["process"]["level"], "observe", "{level}");
    assert_no_probe(unknown.pid());
    // What is not wanted any more is let go.
    api.put_pod(cart.pod("cart", "node-1", &json!({"level.gotrace.dev/app": "off"})));
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

/// A command whose bpf(2) is refused, as by the profile of a container.
fn without_bpf(command: &mut Command) {
    let statement = |code: u32, jf, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            libc::SYS_bpf as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the program and changes no memory of ours.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(install) };
}

/// Status and what to do, of the checks of `kubernetes` with this name.
fn checks<'a>(document: &'a Value, name: &str) -> Vec<(&'a str, &'a str)> {
    let checks = document["kubernetes"].as_array().expect("a list");
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    checks
        .iter()
        .filter(|check| check["name"] == name)
        .map(|check| (text(&check["status"]), text(&check["next"])))
        .collect()
}

#[test]
fn doctor_tells_what_a_node_lacks() {
    require_root();
    let group = Group::make(9);
    let _pod = group.start("hello", &[]);
    let api = StandIn::start();
    api.put_pod(group.pod("hello", "node-1", &json!({})));
    api.deny("create", "events");
    let arguments = [
        "doctor",
        "--kubernetes",
        "--json",
        "--node",
        "node-1",
        "--kube-api",
        &api.url(),
    ];
    let ask = |mut command: Command| {
        command.args(arguments);
        let finished = Gotrace::start_command(command).finish();
        (finished.code, finished.document("gotrace.doctor/1"))
    };
    let program = integration_tests::gotrace::program();

    let (code, document) = ask(Command::new(&program));
    assert_eq!(document["can_run_agent"], true, "{document:#}");
    assert_eq!(code, Some(0));
    for name in [
        "pid namespace",
        "CAP_BPF",
        "CAP_DAC_READ_SEARCH",
        "bpf",
        "perf_event_open",
        "process_vm_readv",
        "begins and ends",
        "control groups",
        "node's name",
        "Kubernetes API",
    ] {
        assert_eq!(
            checks(&document, name),
            [("ok", "")],
            "{name}: {document:#}"
        );
    }
    assert_eq!(checks(&document, "pods").len(), 2);
    let events = checks(&document, "events");
    assert_eq!(events[0].0, "warning", "{document:#}");
    assert!(events[0].1.contains("rbac.create"), "{document:#}");
    assert_eq!(events[1], ("ok", ""), "{document:#}");

    // Namespaces of its own, as a pod has them that does not share the node's.
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--cgroup",
        ])
        .arg(&program);
    let (code, document) = ask(command);
    assert_eq!((code, &document["can_run_agent"]), (Some(1), &json!(false)));
    let [(status, next)] = checks(&document, "pid namespace")[..] else {
        panic!("{document:#}");
    };
    assert_eq!(status, "missing");
    assert!(next.contains("hostPID"), "{next}");
    assert_eq!(checks(&document, "other processes")[0].0, "warning");

    // A cgroup namespace alone hides no pod.
    let mut command = Command::new("unshare");
    command.arg("--cgroup").arg(&program);
    let (_, document) = ask(command);
    assert_eq!(
        checks(&document, "control groups"),
        [("ok", "")],
        "{document:#}"
    );

    // Fewer rights than the chart gives, and a profile that refuses.
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-all,+bpf,+perfmon,+dac_read_search"])
        .args(["--inh-caps=-all", "--no-new-privs"])
        .arg(&program);
    without_bpf(&mut command);
    let (code, document) = ask(command);
    assert_eq!((code, &document["can_run_agent"]), (Some(1), &json!(false)));
    for (name, value) in [
        (
            "CAP_SYS_PTRACE",
            "securityContext.capabilities.add: [SYS_PTRACE]",
        ),
        ("bpf", "securityContext.seccompProfile.type"),
        ("begins and ends", "--scan"),
    ] {
        let [(status, next)] = checks(&document, name)[..] else {
            panic!("{name}: {document:#}");
        };
        assert_eq!(status, "missing", "{name}: {document:#}");
        assert!(next.contains(value), "{name}: {next}");
    }
    for name in ["CAP_BPF", "perf_event_open", "process_vm_readv"] {
        assert_eq!(
            checks(&document, name),
            [("ok", "")],
            "{name}: {document:#}"
        );
    }
}
