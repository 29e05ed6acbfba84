//! `gotrace cluster`: agents in network namespaces of their own, each with Go programs in pods of its node; a stand-in
//! plays the Kubernetes API and tells each agent which of the machine's pods are of its node.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use integration_tests::pods::Group;
use integration_tests::{Finished, Gotrace, Target, eventually, gotrace, require_root};
use kubernetes_stand_in::StandIn;
use rustix::process::Signal;
use serde_json::{Value, json};

/// The port of the agents.
const PORT: u16 = 9477;
/// Nodes that have an agent.
const NODES: u8 = 4;
/// The one whose replica leaks.
const LEAKY: u8 = 3;
/// The one whose agent is stopped for a while.
const STOPPED: u8 = 4;
/// The one that has no agent.
const BARE: u8 = 5;

fn node(number: u8) -> String {
    format!("node-{number}")
}

#[track_caller]
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("ip (iproute2) is needed: {error}"));
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// A network namespace with a way to this one; removed when dropped.
struct Network {
    name: String,
    number: u8,
}

impl Network {
    fn make(number: u8) -> Network {
        let name = format!("gotrace-test-{number}");
        // What a run that was killed has left.
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
        let network = Network { name, number };
        let (name, here, there) = (&network.name, network.here(), network.there());
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add gtt{number} type veth peer name eth0 netns {name}"
        ));
        ip(&format!("addr add {here}/30 dev gtt{number}"));
        ip(&format!("link set gtt{number} up"));
        ip(&format!("-n {name} addr add {there}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        network
    }

    /// This side's address.
    fn here(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// Its own.
    fn there(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 2)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The pair of links goes with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

/// Token, certificate and key of the agents.
struct Secrets {
    directory: tempfile::TempDir,
}

impl Secrets {
    fn make() -> Secrets {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let names = vec!["gotrace.gotrace.svc".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        for (name, text) in [
            ("token", "a-token-of-the-tests".to_owned()),
            ("cert", made.cert.pem()),
            ("key", made.signing_key.serialize_pem()),
        ] {
            fs::write(directory.path().join(name), text).expect("the directory is ours");
        }
        Secrets { directory }
    }

    fn file(&self, name: &str) -> String {
        text(&self.directory.path().join(name))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours").to_owned()
}

/// An agent's pod, as the API has it.
fn agent_pod(number: u8, address: Ipv4Addr) -> Value {
    json!({
        "metadata": {
            "name": format!("gotrace-{number}"), "namespace": "gotrace", "uid": format!("agent-{number}"),
            "labels": {"app.kubernetes.io/name": "gotrace", "app.kubernetes.io/instance": "gotrace"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gotrace", "uid": "d", "controller": true,
            }],
        },
        "spec": {
            "nodeName": node(number),
            "containers": [{"name": "agent", "ports": [{"name": "http", "containerPort": PORT}]}],
        },
        "status": {"phase": "Running", "podIP": address.to_string()},
    })
}

/// Starts the agent of a node in its network.
fn start_agent(network: &Network, api: &StandIn, secrets: &Secrets) -> Gotrace {
    let (there, here) = (network.there(), network.here());
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/var/run/netns/{}", network.name))
        .arg(gotrace::program())
        .args(["agent", "--interval", "1s", "--cpu", "100%"])
        .args(["--listen", &format!("{there}:{PORT}")])
        .args(["--token-file", &secrets.file("token")])
        .args([
            "--tls-cert",
            &secrets.file("cert"),
            "--tls-key",
            &secrets.file("key"),
        ])
        .args(["--node", &node(network.number)])
        .args([
            "--kube-api",
            &format!("http://{here}:{}", api.address().port()),
        ]);
    Gotrace::start_command(command)
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
    let mut names: Vec<String> = list
        .iter()
        .map(|one| one[field].as_str().expect("a text").to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_replica_that_is_unlike_the_others_is_named_and_who_did_not_answer() {
    require_root();
    let secrets = Secrets::make();
    let api = StandIn::start_at(Ipv4Addr::UNSPECIFIED);
    let groups: Vec<(u8, Group)> = (1..=BARE)
        .map(|number| (number, Group::make(100 + u32::from(number))))
        .collect();
    let pod = |number: u8| format!("cart-6d4cf56db6-{:05x}", 100 + number);
    let mut replicas: Vec<Target> = Vec::new();
    for (number, group) in &groups {
        api.put_pod(group.pod("cart", &node(*number), &Value::Null));
        let leaks = if *number == LEAKY { "100000" } else { "0" };
        replicas.push(group.start("demo", &["-leaks", leaks, "-leak-every", "20ms"]));
    }
    // Another workload, which was not asked for.
    let other = Group::make(100);
    api.put_pod(other.pod("till", &node(1), &Value::Null));
    let till = other.start("hello", &[]);
    let networks: Vec<Network> = (1..=NODES).map(Network::make).collect();
    let mut agents: Vec<Gotrace> = Vec::new();
    for network in &networks {
        api.put_pod(agent_pod(network.number, network.there()));
        agents.push(start_agent(network, &api, &secrets));
    }
    for (agent, replica) in agents.iter_mut().zip(&replicas) {
        // It follows the pod of its node.
        agent.until("found", |line| line["process"]["pid"] == replica.pid());
    }
    let url = format!("http://127.0.0.1:{}", api.address().port());
    let (token, ca) = (secrets.file("token"), secrets.file("cert"));
    let cluster = |command: &str, more: &[&str]| -> Finished {
        let usual = [
            "cluster",
            command,
            "-n",
            "shop",
            "-l",
            "app=cart",
            "--kube-api",
            &url,
            "--token-file",
            &token,
            "--tls-ca",
            &ca,
        ];
        Gotrace::run(&[&usual[..], more].concat())
    };

    // All but one answer: what they say is compared, and who did not answer is told.
    let stopped = &agents[usize::from(STOPPED) - 1];
    stopped.signal(Signal::STOP);
    let diff = eventually("it has leaked enough to count", || {
        let more = ["--format", "json", "--for", "2s", "--timeout", "10s"];
        let finished = cluster("diff", &more);
        if finished.code != Some(1) {
            eprintln!("{finished:#?}");
        }
        (finished.code == Some(1)).then_some(finished)
    });
    stopped.signal(Signal::CONT);
    let document = diff.document("gotrace.cluster/1");
    assert_eq!(document["pods"], 5, "{document:#}");
    for agent in document["agents"].as_array().expect("a list") {
        let failed = agent["failed"].as_str();
        let expected = (agent["node"] == node(STOPPED)).then_some("no answer in 10 s");
        assert_eq!(failed, expected, "{document:#}");
    }
    assert_eq!(names(&document["unseen"], "pod"), [pod(STOPPED), pod(BARE)]);
    assert_eq!(
        names(&document["processes"], "pod"),
        [pod(1), pod(2), pod(3)]
    );
    let comparisons = document["comparisons"].as_array().expect("a list");
    let [comparison] = &comparisons[..] else {
        panic!("one workload was asked for: {document:#}");
    };
    assert_eq!(comparison["workload"], "Deployment/cart");
    assert_eq!(comparison["container"], "app");
    let diff = &comparison["diff"];
    let outliers = diff["outliers"].as_array().expect("a list");
    let [outlier] = &outliers[..] else {
        panic!("one is unlike the others: {diff:#}");
    };
    let side = outlier["side"].as_u64().expect("an index") as usize;
    assert_eq!(diff["sides"][side]["name"], pod(LEAKY));
    let differences = outlier["differences"].as_array().expect("a list");
    for signal in ["goroutines", "growth"] {
        let told = differences.iter().any(|it| {
            it["signal"] == signal
                && it["about"]["goroutines"]["place"]["function"] == "main.fetchPrice"
        });
        assert!(told, "{signal}: {outlier:#}");
    }

    // All agents answer: a file of each process; of one node it is said that nobody looks there.
    let directory = secrets.directory.path().join("replicas");
    let saved = cluster("snapshot", &["-o", &text(&directory)]);
    assert_eq!(saved.code, Some(2), "{saved:#?}");
    let why = format!("1 of 5 pods were not seen: no agent runs on {}", node(BARE));
    assert!(saved.stderr.contains(&why), "{saved:#?}");
    for (number, replica) in (1..=NODES).zip(&replicas) {
        let file = format!("shop-{}-app-{}.gosnap", pod(number), replica.pid());
        let file = text(&directory.join(file));
        assert!(saved.text().contains(&file), "{saved:#?}");
        let seen = Gotrace::run(&["goroutines", "--from", &file, "--format", "json"]);
        let seen = seen.document("gotrace.goroutines/1");
        assert_eq!(seen["target"]["pid"], replica.pid());
    }
    let all = fs::read_dir(&directory).expect("it was made").count();
    assert_eq!(all, usize::from(NODES), "nothing else is left there");

    // A wrong token gets nothing, and is told as such; the text names everybody.
    let wrong = secrets.file("wrong");
    fs::write(&wrong, "some-other-token-of-all").expect("the directory is ours");
    api.delete_pod(groups[usize::from(BARE) - 1].1.uid());
    let refused = Gotrace::run(&[
        "cluster",
        "diff",
        "-A",
        "-l",
        "app=cart",
        "--kube-api",
        &url,
        "--token-file",
        &wrong,
        "--tls-ca",
        &ca,
    ]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(
        refused.text().contains("the token is wrong"),
        "{refused:#?}"
    );
    let shown = cluster("diff", &["--fail-on", "never"]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    let heading = format!("{} is unlike the others", pod(LEAKY));
    assert!(shown.text().contains(&heading), "{shown:#?}");
    for said in [&refused, &shown] {
        let all = format!("{}{}", said.text(), said.stderr);
        assert!(
            !all.contains("of-the-tests") && !all.contains("token-of-all"),
            "{all}"
        );
    }
    for agent in agents {
        let finished = agent.interrupt();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    for replica in &mut replicas {
        assert!(replica.is_alive());
    }
    till.end_unharmed();
}
