//! Against a stand-in for the API and for agents.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Parser as _;
use kubernetes_stand_in::StandIn;
use serde_json::json;

use super::*;
use crate::cli::{Cli, ClusterCommand, Command};
use crate::kubernetes::tests::with_tls;

const TOKEN: &str = "0123456789abcdef";

/// What answers each request as an agent does; what it was asked.
struct FakeAgent {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl FakeAgent {
    /// `answer` makes status and body of a path and the number of requests before.
    fn start(answer: impl Fn(&str, usize) -> (&'static str, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&heads);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let before = {
                    let mut heads = heard.lock().expect("nobody panicked");
                    heads.push(head);
                    heads.len() - 1
                };
                let (status, body) = answer(&path, before);
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // Who asks may have gone.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body));
            }
        });
        FakeAgent { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panicked").clone()
    }
}

fn list(uid: &str) -> Vec<u8> {
    let process = json!({
        "pid": 7, "process": "cart", "pod_uid": uid, "container_id": "id",
        "target": {"build_id": "b"}, "goroutines": 3, "findings": 0,
    });
    json!({"schema": answer::SCHEMA, "processes": [process], "refused": []})
        .to_string()
        .into_bytes()
}

/// A cluster with a pod on each node, of which these are the agents' addresses.
fn cluster(agents: &[SocketAddr]) -> StandIn {
    let api = StandIn::start();
    for (number, address) in agents.iter().enumerate() {
        let node = format!("node-{number}");
        api.put_pod(json!({
            "metadata": {"name": format!("cart-{number}"), "namespace": "shop", "uid": format!("uid-{number}"),
                "labels": {"app": "cart"}},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "containerID": "containerd://id"},
            ]},
        }));
        api.put_pod(json!({
            "metadata": {"name": format!("agent-{number}"), "namespace": "gotrace", "uid": format!("agent-{number}"),
                "labels": {"app.kubernetes.io/name": "gotrace"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "tracer", "controller": true}]},
            "spec": {"nodeName": node, "containers": [
                {"ports": [{"name": "http", "containerPort": address.port()}]},
            ]},
            "status": {"phase": "Running", "podIP": address.ip().to_string()},
        }));
    }
    api
}

fn args(api: &StandIn, token: &Path, more: &[&str]) -> FleetArgs {
    let url = api.url();
    let token = token.to_str().expect("a path of ours");
    let usual = [
        "gotrace",
        "cluster",
        "diff",
        "-n",
        "shop",
        "-l",
        "app=cart",
        "--kube-api",
        &url,
        "--token-file",
        token,
    ];
    let cli = Cli::try_parse_from(usual.iter().chain(more)).expect("it can be typed");
    match cli.command {
        Command::Cluster(args) => match args.command {
            ClusterCommand::Diff(args) => args.fleet,
            ClusterCommand::Snapshot(args) => args.fleet,
        },
        other => panic!("{other:?}"),
    }
}

fn token(directory: &Path) -> PathBuf {
    let file = directory.join("token");
    std::fs::write(&file, TOKEN).expect("the directory is ours");
    file
}

#[test]
fn each_agent_is_asked_for_its_own_pods_and_who_is_silent_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = token(directory.path());
    let busy = FakeAgent::start(|path, before| match (path, before) {
        ("/api/v1/processes", _) => ("200 OK", list("uid-0")),
        // Somebody else has a snapshot taken.
        (_, 1) => (
            "503 Busy\r\nRetry-After: 0",
            br#"{"error": "another snapshot is being taken"}"#.to_vec(),
        ),
        _ => ("200 OK", b"snapshot".to_vec()),
    });
    let strict = FakeAgent::start(|_, _| {
        (
            "401 Unauthorized",
            br#"{"error": "the token is wrong"}"#.to_vec(),
        )
    });
    let strange = FakeAgent::start(|_, _| ("200 OK", br#"{"schema": "\u001b[m"}"#.to_vec()));
    // It accepts, and says nothing.
    let hole = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let fails = FakeAgent::start(|path, _| match path {
        "/api/v1/processes" => ("200 OK", list("uid-4")),
        _ => (
            "404 Gone",
            br#"{"error": "no such process is followed"}"#.to_vec(),
        ),
    });
    let api = cluster(&[
        busy.address,
        strict.address,
        strange.address,
        hole.local_addr().expect("it is bound"),
        fails.address,
    ]);
    let args = args(&api, &token, &["--insecure-agents", "--timeout", "1s"]);
    let mut fleet = Fleet::find(&args).expect("the API answers");
    assert_eq!(fleet.survey.pods, 5);
    let failed: Vec<_> = fleet
        .survey
        .agents
        .iter()
        .map(|agent| (&*agent.node, agent.failed.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        failed,
        [
            ("node-0", "-"),
            (
                "node-1",
                "status 401: it does not take the token: the token is wrong"
            ),
            (
                "node-2",
                "the answer is not understood: it is no list of processes"
            ),
            ("node-3", "no answer in 1 s"),
            ("node-4", "-"),
        ]
    );
    let unseen: Vec<_> = fleet.survey.unseen.iter().map(|it| &*it.name.pod).collect();
    assert_eq!(unseen, ["cart-1", "cart-2", "cart-3"]);
    let made = fleet
        .visit(&Round {
            folder: directory.path().to_owned(),
            due: Vec::new(),
            each: Arc::new(|process, taken| {
                let text = std::fs::read_to_string(taken.file.path()).expect("it is there");
                Ok((process.name.pod.clone(), text))
            }),
        })
        .expect("nobody interrupts");
    let expected = ("cart-0".to_owned(), "snapshot".to_owned());
    assert_eq!(made, [Some(expected), None]);
    let why = fleet.survey.processes[1].failed.as_deref();
    assert_eq!(why, Some("status 404: no such process is followed"));
    assert!(busy.heads().iter().all(|head| head.contains(TOKEN)));
    let left = std::fs::read_dir(directory.path())
        .expect("it is there")
        .count();
    assert_eq!(left, 1, "the token alone is left");
}

#[test]
fn a_token_goes_only_to_who_has_the_agents_certificate() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = token(directory.path());
    let agent = FakeAgent::start(|_, _| ("200 OK", list("uid-0")));
    let (url, authority) = with_tls(agent.address, "tracer.gotrace.svc");
    let (_, other) = with_tls(agent.address, "tracer.gotrace.svc");
    let address = url
        .trim_start_matches("https://")
        .parse()
        .expect("an address");
    let api = cluster(&[address]);
    let ca = directory.path().join("ca.crt");
    let file = ca.to_str().expect("a path of ours");
    let found = |authority: &str, more: &[&str]| {
        std::fs::write(&ca, authority).expect("the directory is ours");
        let args = args(&api, &token, &[&["--tls-ca", file], more].concat());
        Fleet::find(&args).expect("the API answers").survey
    };
    for (authority, more) in [
        (&other, &[][..]),
        (&authority, &["--agents-name", "else.gotrace.svc"][..]),
    ] {
        let survey = found(authority, more);
        let why = survey.agents[0].failed.clone().expect("it is not trusted");
        assert!(why.contains("certificate"), "{why}");
        assert!(agent.heads().is_empty(), "it was asked all the same");
    }
    // The chart's name of the Service is that of the DaemonSet.
    assert_eq!(found(&authority, &[]).processes.len(), 1);
    assert_eq!(agent.heads().len(), 1);
}

#[test]
fn what_cannot_be_asked_safely_or_is_too_much_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = token(directory.path());
    let agent = FakeAgent::start(|_, _| ("200 OK", list("uid-0")));
    let api = cluster(&[agent.address]);
    for (more, said) in [
        (&[][..], "--tls-ca"),
        (
            &["--insecure-agents", "--most", "0"][..],
            "1 processes are chosen",
        ),
    ] {
        let refused = Fleet::find(&args(&api, &token, more))
            .err()
            .expect("it is refused");
        let refused = refused.to_string();
        assert!(refused.contains(said), "{refused}");
    }
    api.refuse(Some((403, None)));
    let refused = Fleet::find(&args(&api, &token, &["--insecure-agents"]));
    let refused = refused.err().expect("it is refused").to_string();
    assert!(
        refused.contains("403") && refused.contains("`list` of `pods`"),
        "{refused}"
    );
}
