//! Kubernetes' own tools on what is deployed: the chart rendered by helm, documents judged by the schemas, and an API that
//! knows which kinds there are and has none of them, which is what kubectl asks before it takes a document.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::provided;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs helm in the repository.
#[track_caller]
pub fn helm(arguments: &[&str]) -> Output {
    run(
        &provided("GOTRACE_HELM", "kubernetes/helm"),
        arguments,
        None,
    )
}

/// Runs kubectl in the repository; if it is given an API, with that and no other.
#[track_caller]
pub fn kubectl(api: Option<SocketAddr>, arguments: &[&str], input: Option<&str>) -> Output {
    let server = api.map(|api| format!("--server=http://{api}"));
    // It keeps what an API said, and reads whom it is to ask, in a home.
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = format!("--cache-dir={}", home.path().display());
    let mut all = vec![home.as_str(), "--kubeconfig=/dev/null"];
    all.extend(server.as_deref());
    all.extend(arguments);
    run(
        &provided("GOTRACE_KUBECTL", "kubernetes/kubectl"),
        &all,
        input,
    )
}

#[track_caller]
fn run(program: &Path, arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    said(command, input)
}

#[track_caller]
fn said(mut command: Command, input: Option<&str>) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdin = child.stdin.take().expect("its input is a pipe");
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may have ended without reading all; what it says tells.
            let _ = { stdin }.write_all(input.unwrap_or_default().as_bytes());
        });
        child.wait_with_output().expect("it is our child")
    })
}

/// What a program wrote, which must have ended well.
#[track_caller]
pub fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).expect("it writes text")
}

/// A document of YAML.
#[derive(Clone, Debug)]
pub struct Document {
    /// All of it.
    pub value: Value,
    /// Whether Kubernetes itself has such a kind.
    pub known: bool,
    /// What of it the kind's schema does not admit.
    pub problem: Option<String>,
}

impl Document {
    /// What it is.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }
}

/// Reads YAML; each document is compared with the schema of its kind, in which what is not named is not admitted.
#[track_caller]
pub fn documents(yaml: &str) -> Vec<Document> {
    let mut python = Command::new("python3");
    if let Some(schemas) = std::env::var_os("GOTRACE_KUBERNETES_SCHEMAS") {
        python.env("PYTHONPATH", schemas);
    }
    let script = root().join("tests/readers/kubernetes_documents.py");
    python.arg(script).arg("1.37");
    let told = text(&said(python, Some(yaml)));
    let document = |line: &str| {
        let told: Value = serde_json::from_str(line).expect("the script tells JSON");
        Document {
            value: told["document"].clone(),
            known: told["known"] == true,
            problem: told["problem"].as_str().map(str::to_owned),
        }
    };
    told.lines().map(document).collect()
}

/// Starts an API that has the kinds of these documents and nothing else. It answers as long as the test's process
/// lives.
#[track_caller]
pub fn empty_api(documents: &[Document]) -> SocketAddr {
    let answers = discovery(documents);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who asks may go away; then nobody waits for an answer.
            let _ = answer(stream, &answers);
        }
    });
    address
}

/// Answers one question. Everything that can be asked for is not there.
fn answer(mut stream: TcpStream, answers: &BTreeMap<String, Value>) -> std::io::Result<()> {
    let mut request = Vec::new();
    for line in BufReader::new(&stream).lines() {
        match line? {
            line if line.is_empty() => break,
            line => request.push(line),
        }
    }
    let target = request
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let nothing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": "NotFound", "code": 404});
    let (status, body) = match answers.get(path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", &nothing),
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What an API says of which kinds it has, by path.
fn discovery(documents: &[Document]) -> BTreeMap<String, Value> {
    let mut resources: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in documents {
        let (kind, version) = (document.kind(), &document.value["apiVersion"]);
        let version = version.as_str().unwrap_or_default().to_owned();
        let resource = json!({
            "name": plural(kind),
            "singularName": "",
            "namespaced": !["ClusterRole", "ClusterRoleBinding", "Namespace"].contains(&kind),
            "kind": kind,
            "verbs": ["create", "get", "patch"],
        });
        let known = resources.entry(version).or_default();
        if !known.contains(&resource) {
            known.push(resource);
        }
    }
    let mut answers = BTreeMap::from([(
        "/api".to_owned(),
        json!({"kind": "APIVersions", "versions": ["v1"]}),
    )]);
    let mut groups = Vec::new();
    for (version, resources) in resources {
        let path = match version.split_once('/') {
            Some((group, name)) => {
                let one = json!({"groupVersion": version, "version": name});
                groups.push(json!({"name": group, "versions": [one], "preferredVersion": one}));
                format!("/apis/{version}")
            }
            None => format!("/api/{version}"),
        };
        let list = json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": version, "resources": resources});
        answers.insert(path, list);
    }
    let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
    answers.insert("/apis".to_owned(), groups);
    answers
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}
