//! What is deployed is what Kubernetes takes, and what gotrace needs, no less and no more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::http::Question;
use integration_tests::kubernetes::{Document, documents, empty_api, helm, kubectl, root, text};
use integration_tests::text::assert_no_probe;
use integration_tests::{Gotrace, Target, eventually, gotrace, require_root, target};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHART: &str = "deploy/helm/gotrace";

/// Kinds that only who installed them has: there is no schema of them here, so their fields are looked at.
const FOREIGN: [&str; 4] = [
    "Certificate",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
];

/// Sets of values, with what is said beside them.
const SETS: [(&str, &[&str]); 4] = [
    ("least", &[]),
    (
        "least",
        &[
            "--namespace=elsewhere",
            "--set=interval=1m,nameOverride=eyes",
        ],
    ),
    ("all", &["--namespace=kube-system"]),
    ("bare", &[]),
];

#[track_caller]
fn render(values: &str, more: &[&str]) -> Vec<Document> {
    let values = format!("--values={CHART}/ci/{values}-values.yaml");
    let all = [&["template", "gotrace", CHART, &values], more].concat();
    documents(&text(&helm(&all)))
}

#[track_caller]
fn one<'a>(documents: &'a [Document], kind: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| document.kind() == kind);
    let value = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several {kind}");
    &value.value
}

fn kinds(documents: &[Document]) -> BTreeSet<&str> {
    documents.iter().map(Document::kind).collect()
}

/// The only container of the only workload.
#[track_caller]
fn container(documents: &[Document]) -> &Value {
    let containers = &one(documents, "DaemonSet")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    &containers[0]
}

#[track_caller]
fn words(value: &Value) -> Vec<&str> {
    let list = value.as_array().expect("a list");
    list.iter()
        .map(|word| word.as_str().expect("text"))
        .collect()
}

#[track_caller]
fn check_schemas(documents: &[Document]) {
    for document in documents {
        assert_eq!(document.problem, None, "{:#}", document.value);
        let foreign = FOREIGN.contains(&document.kind());
        assert!(document.known != foreign, "{:#}", document.value);
    }
}

#[test]
fn helm_and_the_schemas_of_kubernetes_admit_every_set_of_values() {
    for (values, more) in SETS {
        let file = format!("--values={CHART}/ci/{values}-values.yaml");
        text(&helm(&["lint", "--strict", CHART, &file]));
        let documents = render(values, more);
        check_schemas(&documents);
        // What is asked to be somewhere is there, and looks only there for what else is.
        let namespace = more
            .iter()
            .find_map(|word| word.strip_prefix("--namespace="))
            .unwrap_or("default");
        for document in &documents {
            let placed = &document.value["metadata"]["namespace"];
            let whole = document.kind().starts_with("ClusterRole");
            assert!(
                if whole {
                    placed.is_null()
                } else {
                    *placed == namespace
                },
                "{:#}",
                document.value
            );
        }
        let daemons = &one(&documents, "DaemonSet")["spec"];
        let labels = &daemons["template"]["metadata"]["labels"];
        for selector in [
            &daemons["selector"]["matchLabels"],
            &one(&documents, "Service")["spec"]["selector"],
        ] {
            let wanted = selector.as_object().expect("labels");
            assert!(
                wanted.iter().all(|(name, value)| labels[name] == *value),
                "{selector} selects no {labels}"
            );
        }
    }
}

#[test]
fn the_agent_knows_every_argument_that_it_is_given() {
    for (values, more) in SETS {
        let documents = render(values, more);
        let mut arguments = words(&container(&documents)["args"]);
        // Help is shown only where what is before it was understood.
        arguments.push("--help");
        let output = Command::new(gotrace::program())
            .args(&arguments)
            .env("NODE_NAME", "here")
            .output()
            .expect("gotrace runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn kubectl_takes_every_document() {
    for (values, more) in SETS {
        let file = format!("--values={CHART}/ci/{values}-values.yaml");
        let rendered = text(&helm(
            &[&["template", "gotrace", CHART, &file], more].concat(),
        ));
        let documents = documents(&rendered);
        take(&documents, &rendered);
    }
    for directory in ["deploy/kubernetes", "deploy/kubernetes/monitoring"] {
        let built = text(&kubectl(None, &["kustomize", directory], None));
        let documents = documents(&built);
        check_schemas(&documents);
        take(&documents, &built);
    }
}

/// Lets kubectl take documents in an empty cluster, without making them. An API's schemas are not asked for: they were
/// compared already.
#[track_caller]
fn take(documents: &[Document], yaml: &str) {
    let apply = ["apply", "--dry-run=client", "--validate=false", "-f", "-"];
    let said = text(&kubectl(Some(empty_api(documents)), &apply, Some(yaml)));
    let taken = said
        .lines()
        .filter(|line| line.ends_with("created (dry run)"));
    assert_eq!(taken.count(), documents.len(), "{said}");
}

#[test]
fn there_is_no_default_for_what_must_be_said() {
    let complete =
        "image.repository=registry.example/gotrace,token.existingSecret=t,tls.existingSecret=c";
    text(&helm(&["template", "gotrace", CHART, "--set", complete]));
    for (values, word) in [
        (
            "token.existingSecret=t,tls.existingSecret=c",
            "image.repository",
        ),
        (
            "image.repository=i,tls.existingSecret=c",
            "token.existingSecret",
        ),
        ("image.repository=i,token.existingSecret=t", "tls.insecure"),
        (&format!("{complete},tls.insecure=true"), "give one of"),
        (
            &format!("{complete},token.value=0123456789abcdef"),
            "not both",
        ),
        (
            "image.repository=i,token.value=short,tls.existingSecret=c",
            "/token/value",
        ),
        (&format!("{complete},interval=often"), "/interval"),
        (&format!("{complete},cpu=much"), "/cpu"),
        (&format!("{complete},tokens=x"), "tokens"),
        (
            &format!("{complete},securityContext.capabilities.add={{CAP_BPF}}"),
            "/securityContext/capabilities/add/0",
        ),
    ] {
        let output = helm(&["template", "gotrace", CHART, "--set", values]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values}");
        assert!(said.contains(word), "{values}: {said}");
    }
}

#[test]
fn what_is_off_is_not_there_and_what_is_on_is() {
    let least = [
        "ClusterRole",
        "ClusterRoleBinding",
        "DaemonSet",
        "NetworkPolicy",
        "Service",
        "ServiceAccount",
    ];
    assert_eq!(kinds(&render("least", &[])), BTreeSet::from(least));
    assert_eq!(
        kinds(&render("bare", &[])),
        BTreeSet::from(["DaemonSet", "PodMonitor", "Service"])
    );
    let more = [
        "Certificate",
        "ConfigMap",
        "PrometheusRule",
        "Secret",
        "ServiceMonitor",
    ];
    assert_eq!(
        kinds(&render("all", &[])),
        least.into_iter().chain(more).collect()
    );
}

#[test]
fn rights_in_the_cluster_are_pods_to_read_and_events_to_write() {
    let documents = render("least", &[]);
    let rules = &one(&documents, "ClusterRole")["rules"];
    assert_eq!(
        *rules,
        json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ])
    );
    let binding = one(&documents, "ClusterRoleBinding");
    assert_eq!(binding["subjects"].as_array().map(Vec::len), Some(1));
    let account = one(&documents, "ServiceAccount");
    for field in ["name", "namespace"] {
        assert_eq!(binding["subjects"][0][field], account["metadata"][field]);
    }
    let pod = &one(&documents, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
}

#[test]
fn a_token_and_a_certificate_are_given_to_the_agent_and_to_who_scrapes() {
    let documents = render("all", &[]);
    let agent = container(&documents);
    let arguments = words(&agent["args"]);
    let value = |flag: &str| {
        let at = arguments.iter().position(|word| *word == flag);
        arguments[at.unwrap_or_else(|| panic!("no {flag} in {arguments:?}")) + 1]
    };
    let mounts = agent["volumeMounts"].as_array().expect("a list");
    let pod = &one(&documents, "DaemonSet")["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().expect("a list");
    let mut sources = Vec::new();
    for flag in ["--token-file", "--tls-cert"] {
        let directory = Path::new(value(flag)).parent().and_then(Path::to_str);
        let mount = mounts
            .iter()
            .find(|it| it["mountPath"].as_str() == directory);
        let mount = mount.unwrap_or_else(|| panic!("{flag}: {directory:?} is not mounted"));
        assert_eq!(mount["readOnly"], true, "{mount}");
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"]);
        let volume = volume.unwrap_or_else(|| panic!("{mount} has no volume"));
        let secret = &volume["secret"]["secretName"];
        sources.push(secret.as_str().expect("a name"));
    }
    let secret = one(&documents, "Secret");
    assert_eq!(secret["metadata"]["name"], sources[0]);
    assert!(secret["data"]["token"].is_string());
    let certificate = &one(&documents, "Certificate")["spec"];
    assert_eq!(certificate["secretName"], sources[1]);
    let endpoint = &one(&documents, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["authorization"]["credentials"]["name"], sources[0]);
    assert_eq!(endpoint["tlsConfig"]["ca"]["secret"]["name"], sources[1]);
    assert_eq!(
        endpoint["tlsConfig"]["serverName"],
        certificate["dnsNames"][0]
    );
    // Names of pods are those that the agents tell, not the agent's own.
    assert_eq!(endpoint["honorLabels"], true);
    let ports = &one(&documents, "Service")["spec"]["ports"];
    assert_eq!(endpoint["port"], ports[0]["name"]);
    assert_eq!(ports[0]["targetPort"], agent["ports"][0]["name"]);
    let listens = format!("[::]:{}", agent["ports"][0]["containerPort"]);
    assert_eq!(value("--listen"), listens);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        // What needs no token (tests/access.rs).
        assert_eq!(agent[probe]["httpGet"]["path"], "/healthz");
        assert_eq!(agent[probe]["httpGet"]["scheme"], "HTTPS");
    }

    let bare = render("bare", &[]);
    let agent = container(&bare);
    assert!(words(&agent["args"]).contains(&"--insecure-listen"));
    assert_eq!(agent["livenessProbe"]["httpGet"]["scheme"], "HTTP");
    let endpoint = &one(&bare, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["scheme"], "http");
    assert_eq!(endpoint["port"], agent["ports"][0]["name"]);
}

#[test]
fn rules_dashboard_and_version_have_one_source() {
    let documents = render("all", &[]);
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("it is there");
    let rules = integration_tests::kubernetes::documents(&read("deploy/prometheus/rules.yml"));
    assert_eq!(one(&documents, "PrometheusRule")["spec"], rules[0].value);
    let dashboards: Vec<&str> = documents
        .iter()
        .filter_map(|document| document.value["data"]["gotrace.json"].as_str())
        .collect();
    let [dashboard] = dashboards[..] else {
        panic!("{} dashboards", dashboards.len());
    };
    let parsed = |text: &str| -> Value { serde_json::from_str(text).expect("it is JSON") };
    assert_eq!(
        parsed(dashboard),
        parsed(&read("deploy/grafana/dashboard.json"))
    );
    // The crates of the workspace have one version.
    let version = env!("CARGO_PKG_VERSION");
    let chart = &integration_tests::kubernetes::documents(&read(&format!("{CHART}/Chart.yaml")))[0];
    assert_eq!(chart.value["version"], version);
    assert_eq!(chart.value["appVersion"], version);
    let plain = text(&kubectl(None, &["kustomize", "deploy/kubernetes"], None));
    let plain = integration_tests::kubernetes::documents(&plain);
    let image = container(&plain)["image"].as_str().expect("text");
    assert!(image.ends_with(&format!(":{version}")), "{image}");
}

/// A program of another user, which only that user may read, with a deadlock in it.
struct Private {
    target: Target,
    _directory: TempDir,
}

impl Private {
    fn start() -> Private {
        const NOBODY: u32 = 65534;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("it is ours");
        let program = directory.path().join("demo");
        fs::copy(target::fixture("demo"), &program).expect("the fixture is a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o500)).expect("it is ours");
        chown(&program, Some(NOBODY), Some(NOBODY)).expect("root may");
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["-leaks", "1", "-leak-every", "1ms"]);
        Private {
            target: Target::start_command(command),
            _directory: directory,
        }
    }
}

/// A command that has what a container has: root without other capabilities than these, which gains none.
fn contained(capabilities: &[&str]) -> Command {
    let mut set = "-all".to_owned();
    for name in capabilities {
        set += &format!(",+{}", name.to_lowercase());
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set", &set])
        .arg(program());
    command
}

fn program() -> PathBuf {
    gotrace::program()
}

#[test]
fn the_capabilities_of_the_manifests_are_enough_and_none_is_too_many() {
    require_root();
    let documents = render("least", &[]);
    let pod = &one(&documents, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    for outside in ["hostNetwork", "hostIPC"] {
        assert_ne!(pod[outside], true, "{outside}");
    }
    let context = &container(&documents)["securityContext"];
    for (field, value) in [
        ("privileged", json!(false)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("runAsUser", json!(0)),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(context[field], value, "{field}");
    }
    assert_eq!(words(&context["capabilities"]["drop"]), ["ALL"]);
    let capabilities = words(&context["capabilities"]["add"]);

    let mut private = Private::start();
    let pid = private.target.pid_argument();
    let arguments = [
        "run", "--pid", &pid, "--level", "park", "--listen", "off", "--format", "json",
    ];
    let mut command = contained(&capabilities);
    command.args(arguments).args(["--interval", "300ms"]);
    let mut gotrace = Gotrace::start_command(command);
    gotrace.until("finding", |line| {
        line["finding"]["kind"] == "deadlock" && line["finding"]["verdict"] == "proven"
    });
    // The service's heart beats: there are events as well as memory.
    gotrace.until("summary", |line| line["totals"]["wakeups"] != 0);
    let finished = gotrace.interrupt();
    assert_eq!(finished.code, Some(1), "findings: {finished:#?}");
    assert_no_probe(private.target.pid());

    for missing in &capabilities {
        let others: Vec<&str> = capabilities
            .iter()
            .copied()
            .filter(|name| name != missing)
            .collect();
        let mut command = contained(&others);
        command.args(arguments);
        let finished = Gotrace::start_command(command).finish();
        assert_eq!(finished.code, Some(2), "without {missing}: {finished:#?}");
        assert!(
            finished.stderr.contains(&format!("CAP_{missing}")),
            "without {missing}: {finished:#?}"
        );
        assert_no_probe(private.target.pid());
    }
    assert!(private.target.is_alive(), "the target died");
}

/// Bits of the kernel's sets (include/uapi/linux/capability.h).
const BITS: [(&str, u32); 4] = [
    ("DAC_READ_SEARCH", 2),
    ("SYS_PTRACE", 19),
    ("PERFMON", 38),
    ("BPF", 39),
];

/// Checks what each thread of an agent may do.
#[track_caller]
fn assert_sandboxed(pid: u32, capabilities: &[&str]) {
    let set = BITS
        .iter()
        .filter(|(name, _)| capabilities.contains(name))
        .fold(0_u64, |set, (_, bit)| set | 1 << bit);
    assert_eq!(set.count_ones() as usize, capabilities.len());
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let tasks: Vec<PathBuf> = tasks
        .map(|task| task.expect("it is readable").path())
        .collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in tasks {
        // One that answered a request may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task.join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        let bits = |name: &str| u64::from_str_radix(field(name), 16).expect("a number");
        for name in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(bits(name), set, "{name}: {status}");
        }
        for name in ["CapInh", "CapAmb"] {
            assert_eq!(bits(name), 0, "{name}: {status}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"));
    }
}

#[test]
fn the_agent_gives_up_all_else_and_does_its_work() {
    require_root();
    const TOKEN: &str = "a-token-of-this-test-0123456789";
    let documents = render("least", &[]);
    let capabilities = words(&container(&documents)["securityContext"]["capabilities"]["add"]);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
        .expect("a certificate can be made");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    };
    let token = file("token", TOKEN);
    let certificate = file("cert", &made.cert.pem());
    let key = file("key", &made.signing_key.serialize_pem());
    let private = Private::start();
    let pid = private.target.pid();
    // As a container has it, and as root.
    for mut command in [contained(&capabilities), Command::new(program())] {
        command
            .args(["agent", "--listen", "127.0.0.1:0"])
            .args(["--name", "demo", "--name", "hello"])
            .args(["--interval", "200ms", "--cpu", "100%"])
            .args(["--node", "", "--token-file"])
            .arg(&token)
            .arg("--tls-cert")
            .arg(&certificate)
            .arg("--tls-key")
            .arg(&key);
        let mut agent = Gotrace::start_command(command);
        let started = agent.until("started", |_| true);
        assert_eq!(started["discovery"], "bpf");
        let sandbox = &started["sandbox"];
        let names = words(&sandbox["capabilities"]);
        let names: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("CAP_"))
            .collect();
        assert_eq!(names, capabilities.iter().copied().collect());
        assert_eq!(sandbox["failed"], json!([]), "{sandbox}");
        for part in ["no_new_privs", "bounding_set", "seccomp"] {
            assert_eq!(sandbox[part], true, "{sandbox}");
        }

        let is_private = |line: &Value| line["process"]["pid"] == pid;
        agent.until("finding", |line| {
            is_private(line) && line["finding"]["verdict"] == "proven"
        });
        // By now all of its threads are there.
        assert_sandboxed(agent.pid(), &capabilities);
        let later = Target::start("hello", &[]);
        agent.until("found", |line| line["process"]["pid"] == later.pid());
        let address = started["listening"].as_str().expect("it listens");
        let mut question = Question::with_token(TOKEN);
        question.trusted = Some(made.cert.pem());
        let ask = |path: &str| {
            let answer = question.get(&format!("https://{address}/{path}"));
            answer.unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let of = format!("api/v1/processes/{pid}");
        let (status, goroutines) = eventually("it is read", || {
            let (status, goroutines) = ask(&format!("{of}/goroutines"));
            goroutines.contains("main.").then_some((status, goroutines))
        });
        assert_eq!(status, 200, "{goroutines}");
        for path in [
            "metrics",
            "healthz",
            &format!("{of}/channels"),
            &format!("{of}/findings"),
        ] {
            assert_eq!(ask(path).0, 200, "{path}");
        }
        // Threads that were started meanwhile have no more.
        assert_sandboxed(agent.pid(), &capabilities);
        let finished = agent.interrupt();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert!(!finished.stderr.contains("sandbox"), "{finished:#?}");
        later.end_unharmed();
    }
}

#[test]
fn a_host_without_kubernetes_gives_the_same_capabilities() {
    let unit = fs::read_to_string(root().join("deploy/systemd/gotrace-agent.service"))
        .expect("the unit is there");
    let setting = |name: &str| -> BTreeSet<&str> {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}"))
            .split(' ')
            .collect()
    };
    let documents = render("least", &[]);
    let names: Vec<String> =
        words(&container(&documents)["securityContext"]["capabilities"]["add"])
            .into_iter()
            .map(|name| format!("CAP_{name}"))
            .collect();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(setting("CapabilityBoundingSet"), names);
    assert_eq!(setting("NoNewPrivileges"), BTreeSet::from(["yes"]));
    assert_eq!(setting("ProtectSystem"), BTreeSet::from(["strict"]));
}
