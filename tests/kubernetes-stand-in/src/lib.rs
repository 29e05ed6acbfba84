//! Stands in for a Kubernetes API in tests. It is none: it knows pods and events, and of them only what gotrace asks:
//! lists in pages, watches with bookmarks, events that are made and changed, and whether one may do such things. It
//! checks no object, has no TLS, does not end a watch by itself, and knows of label selectors only `a=b,c=d`, of lists
//! alone.
//!
//! What it does, the real one does: versions that grow with each change, a watch from a version on, 410 for one that is
//! forgotten (in the stream or as a status), bookmarks only for who asks, 409 for a name that is taken, 404 for one that
//! is not. A test makes it forget, refuse, cut connections.

use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

/// A request's body at most, bytes.
const MOST_BODY: usize = 1 << 20;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// With the query, as it was sent.
    pub target: String,
    /// The token, if one was sent.
    pub token: Option<String>,
    /// The kind of the body.
    pub content_type: Option<String>,
    /// The body; `null` if there was none.
    pub body: Value,
}

impl Request {
    /// Whether it is a watch.
    pub fn is_watch(&self) -> bool {
        query(&self.target, "watch").as_deref() == Some("true")
    }
}

/// The server. It ends with the process: its threads wait for connections.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    pods: Vec<Value>,
    /// What a watch tells, with the version that it made.
    history: Vec<(u64, Value)>,
    /// Versions before this one are forgotten.
    oldest: u64,
    events: Vec<Value>,
    requests: Vec<Request>,
    refuse: Option<(u16, Option<u32>)>,
    /// Verbs and resources that are said not to be allowed.
    denied: Vec<(String, String)>,
    token: Option<String>,
    /// Connections of watches; a cut ends all.
    watches: Vec<TcpStream>,
}

impl State {
    fn change(&mut self, kind: &str, mut pod: Value) {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = self.version.to_string().into();
        let same = |other: &Value| other["metadata"]["uid"] == pod["metadata"]["uid"];
        self.pods.retain(|other| !same(other));
        if kind != "DELETED" {
            self.pods.push(pod.clone());
        }
        let change = json!({"type": kind, "object": pod});
        self.history.push((self.version, change));
    }
}

impl StandIn {
    /// Starts one on this machine.
    ///
    /// # Panics
    ///
    /// When there is no port to be had.
    pub fn start() -> StandIn {
        StandIn::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts one at an address of this machine.
    ///
    /// # Panics
    ///
    /// When there is no port to be had, or no such address.
    pub fn start_at(address: Ipv4Addr) -> StandIn {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&server);
                // Who asks has gone, or asks what nobody knows: the test sees that it has no answer.
                thread::spawn(move || drop(shared.converse(stream)));
            }
        });
        StandIn { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for `--kube-api`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a pod, or changes the one with its uid, and tells those who watch.
    pub fn put_pod(&self, pod: Value) {
        self.change(|state| {
            let uid = &pod["metadata"]["uid"];
            let known = state
                .pods
                .iter()
                .any(|other| other["metadata"]["uid"] == *uid);
            state.change(if known { "MODIFIED" } else { "ADDED" }, pod);
        });
    }

    /// Deletes the pod with this uid.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn delete_pod(&self, uid: &str) {
        self.change(|state| {
            let pod = state.pods.iter().find(|pod| pod["metadata"]["uid"] == uid);
            let pod = pod.expect("there is such a pod").clone();
            state.change("DELETED", pod);
        });
    }

    /// Tells those who watch, and asked for it, of the version, which grew meanwhile.
    pub fn bookmark(&self) {
        self.change(|state| {
            state.version += 1;
            let metadata = json!({"resourceVersion": state.version.to_string()});
            let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata});
            state
                .history
                .push((state.version, json!({"type": "BOOKMARK", "object": object})));
        });
    }

    /// Forgets what came before now: who watches from an older version is told so.
    pub fn forget(&self) {
        self.change(|state| {
            state.version += 1;
            state.oldest = state.version;
            state.history.clear();
        });
    }

    /// Deletes a pod without a word, and forgets: only a new list shows that it is gone.
    pub fn lose_pod(&self, uid: &str) {
        self.change(|state| state.pods.retain(|pod| pod["metadata"]["uid"] != uid));
        self.forget();
    }

    /// Ends every watch's connection, in the middle of it.
    pub fn cut(&self) {
        self.change(|state| {
            for stream in state.watches.drain(..) {
                // It may have ended by itself.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Answers everything with this status, and seconds to wait; with `None` as usual again. Watches go on.
    pub fn refuse(&self, status: Option<(u16, Option<u32>)>) {
        self.change(|state| state.refuse = status);
    }

    /// Says, to who asks for it, that this may not be done.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.change(|state| state.denied.push((verb.to_owned(), resource.to_owned())));
    }

    /// Answers only to this token.
    pub fn ask_for(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_owned()));
    }

    /// Forgets all events, as a cluster does after an hour.
    pub fn forget_events(&self) {
        self.change(|state| state.events.clear());
    }

    /// The events that there are.
    pub fn events(&self) -> Vec<Value> {
        self.shared.state().events.clone()
    }

    /// All that was asked.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request, and closes.
    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = read(&stream)?;
        let refused = {
            let mut state = self.state();
            state.requests.push(request.clone());
            if state.token.is_some() && state.token != request.token {
                Some((401, None))
            } else {
                state.refuse
            }
        };
        if let Some((status, wait)) = refused {
            return answer(
                &mut stream,
                status,
                wait,
                &status_object(status, "refused by a test"),
            );
        }
        let path = request.target.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (status, body) = match (&*request.method, &parts[..]) {
            ("GET", ["api", "v1", "pods"]) if request.is_watch() => {
                return self.watch(&mut stream, &request.target);
            }
            ("GET", ["api", "v1", "pods"]) => self.list(None, &request.target),
            ("GET", ["api", "v1", "namespaces", namespace, "pods"]) => {
                self.list(Some(namespace), &request.target)
            }
            (
                "POST",
                [
                    "apis",
                    "authorization.k8s.io",
                    "v1",
                    "selfsubjectaccessreviews",
                ],
            ) => (201, self.review(request.body)),
            ("POST", ["api", "v1", "namespaces", namespace, "events"]) => {
                self.create(namespace, request.body)
            }
            ("PATCH", ["api", "v1", "namespaces", namespace, "events", name]) => {
                self.patch(namespace, name, &request.body)
            }
            _ => (404, status_object(404, "a stand-in does not know this")),
        };
        answer(&mut stream, status, None, &body)
    }

    fn list(&self, namespace: Option<&str>, target: &str) -> (u16, Value) {
        let state = self.state();
        let number = |name| query(target, name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit")
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        let begin = number("continue").unwrap_or(0);
        let node = node(target);
        let labels = query(target, "labelSelector").unwrap_or_default();
        let is_in = |pod: &Value| {
            namespace.is_none_or(|namespace| pod["metadata"]["namespace"] == namespace)
        };
        let chosen: Vec<&Value> = state
            .pods
            .iter()
            .filter(|pod| is_in(pod) && is_on(pod, node.as_deref()) && has(pod, &labels))
            .collect();
        let page: Vec<&&Value> = chosen.iter().skip(begin).take(limit).collect();
        let end = begin + page.len();
        let mut metadata = json!({"resourceVersion": state.version.to_string()});
        if end < chosen.len() {
            metadata["continue"] = end.to_string().into();
        }
        (
            200,
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": page}),
        )
    }

    fn watch(&self, stream: &mut TcpStream, target: &str) -> io::Result<()> {
        let since = query(target, "resourceVersion").and_then(|text| text.parse::<u64>().ok());
        let mut since = since.unwrap_or(0);
        let bookmarks = query(target, "allowWatchBookmarks").as_deref() == Some("true");
        let node = node(target);
        let mut state = self.state();
        if since < state.oldest {
            drop(state);
            return answer(
                stream,
                410,
                None,
                &status_object(410, "too old resource version"),
            );
        }
        state.watches.push(stream.try_clone()?);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        loop {
            if since < state.oldest {
                let status = status_object(410, "too old resource version");
                chunk(stream, &json!({"type": "ERROR", "object": status}))?;
                return stream.write_all(b"0\r\n\r\n");
            }
            for (version, change) in &state.history {
                if *version <= since {
                    continue;
                }
                since = *version;
                let told = match change["type"].as_str() {
                    Some("BOOKMARK") => bookmarks,
                    _ => is_on(&change["object"], node.as_deref()),
                };
                if told {
                    chunk(stream, change)?;
                }
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn review(&self, mut review: Value) -> Value {
        let asked = &review["spec"]["resourceAttributes"];
        let denied = self
            .state()
            .denied
            .iter()
            .any(|(verb, resource)| asked["verb"] == **verb && asked["resource"] == **resource);
        review["status"] = json!({"allowed": !denied});
        review
    }

    fn create(&self, namespace: &str, event: Value) -> (u16, Value) {
        let mut state = self.state();
        let name = &event["metadata"]["name"];
        if event["involvedObject"]["namespace"] != namespace {
            return (
                422,
                status_object(
                    422,
                    "involvedObject.namespace: does not match event.namespace",
                ),
            );
        }
        if state
            .events
            .iter()
            .any(|other| other["metadata"]["name"] == *name)
        {
            return (409, status_object(409, "events already exists"));
        }
        state.events.push(event.clone());
        (201, event)
    }

    fn patch(&self, namespace: &str, name: &str, fields: &Value) -> (u16, Value) {
        let mut state = self.state();
        let found = state.events.iter_mut().find(|event| {
            event["metadata"]["name"] == name && event["metadata"]["namespace"] == namespace
        });
        let Some(event) = found else {
            return (404, status_object(404, "events not found"));
        };
        for (key, value) in fields.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        (200, event.clone())
    }
}

/// Reads one request.
fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        token: None,
        content_type: None,
        body: Value::Null,
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        let value = value.trim();
        match &*name.to_ascii_lowercase() {
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "content-type" => request.content_type = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length.min(MOST_BODY)];
    reader.read_exact(&mut body)?;
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(request)
}

fn answer(stream: &mut impl Write, status: u16, wait: Option<u32>, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let wait = wait.map(|seconds| format!("Retry-After: {seconds}\r\n"));
    write!(
        stream,
        "HTTP/1.1 {status} As told\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}Connection: close\r\n\r\n{body}",
        body.len(),
        wait.unwrap_or_default(),
    )
}

fn chunk(stream: &mut impl Write, line: &Value) -> io::Result<()> {
    let line = format!("{line}\n");
    write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
    stream.flush()
}

fn status_object(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
}

/// The value of a name in a query, with `%XX` as what it stands for.
fn query(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The node to which a list or watch is confined.
fn node(target: &str) -> Option<String> {
    let selector = query(target, "fieldSelector")?;
    selector.strip_prefix("spec.nodeName=").map(str::to_owned)
}

fn is_on(pod: &Value, node: Option<&str>) -> bool {
    node.is_none_or(|node| pod["spec"]["nodeName"] == node)
}

/// Whether a pod has all of these labels, `a=b,c=d`.
fn has(pod: &Value, labels: &str) -> bool {
    let mut labels = labels.split(',').filter(|label| !label.is_empty());
    labels.all(|label| match label.split_once('=') {
        Some((key, value)) => pod["metadata"]["labels"][key] == value,
        None => false,
    })
}
