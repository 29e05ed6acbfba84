//! The thread against a stand-in for the API.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use kubernetes_stand_in::{Request, StandIn};
use serde_json::{Value, json};
use tracer_model::detect::{FindingKind, Verdict};
use tracer_model::ids::Goid;

use super::*;
use crate::cli::KubernetesArgs;

/// Generous, since machines of CI stall.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn config(url: &str) -> Config {
    let args = KubernetesArgs {
        node: Some("node-1".to_owned()),
        kube_api: Some(url.to_owned()),
        ..KubernetesArgs::default()
    };
    let config = Config::new(&args).expect("an address").expect("a node");
    Config {
        pause: Duration::from_millis(2),
        ..config
    }
}

fn pod(uid: &str) -> Value {
    on("node-1", uid)
}

fn on(node: &str, uid: &str) -> Value {
    json!({
        "metadata": {"name": format!("pod-{uid}"), "namespace": "shop", "uid": uid, "labels": {"app": "cart"}},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "cart:1"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "containerID": format!("containerd://id-{uid}"), "ready": true},
        ]},
    })
}

fn finding(id: &str, verdict: Verdict) -> Entry {
    Entry {
        id: id.to_owned(),
        kind: FindingKind::Leak,
        verdict,
        goroutines: vec![Goid(7)],
        unconfirmed: Vec::new(),
        caused_by: None,
        chain: Vec::new(),
        reason: "goroutine 7 waits\u{1b}[2J forever".to_owned(),
        evidence: Vec::new(),
        advice: Some("x".repeat(2000)),
        created_at: None,
        at: None,
        trend: None,
        seen: None,
    }
}

#[track_caller]
fn known(kubernetes: &Kubernetes, uid: &str) -> Arc<Pod> {
    eventually(uid, || kubernetes.pod(uid))
}

fn watches(api: &StandIn) -> Vec<Request> {
    let requests = api.requests().into_iter();
    requests.filter(Request::is_watch).collect()
}

#[test]
fn pods_of_this_node_are_listed_in_pages_and_followed() {
    let api = StandIn::start();
    for number in 0..120 {
        api.put_pod(pod(&format!("u{number}")));
    }
    api.put_pod(on("node-2", "elsewhere"));
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    eventually("all pods", || {
        (kubernetes.health().pods == 120).then_some(())
    });
    let first = known(&kubernetes, "u119");
    assert_eq!((&*first.namespace, &*first.name), ("shop", "pod-u119"));
    assert_eq!(first.container("id-u119"), Some("app"));

    api.put_pod(on("node-2", "elsewhere-too"));
    api.put_pod(pod("new"));
    known(&kubernetes, "new");
    let mut changed = pod("new");
    changed["metadata"]["labels"]["app"] = "other".into();
    api.put_pod(changed);
    eventually("the change", || {
        (*kubernetes.pod("new")?.labels["app"] == *"other").then_some(())
    });
    api.delete_pod("u0");
    eventually("the end", || {
        (kubernetes.health().pods == 120).then_some(())
    });
    assert!(kubernetes.pod("u0").is_some(), "a finding may come late");
    for uid in ["elsewhere", "elsewhere-too"] {
        assert_eq!(kubernetes.pod(uid), None);
    }
    let health = kubernetes.health();
    assert!(health.connected);
    assert_eq!((health.last_error, health.left_out), (None, 0));
    let asked = api.requests();
    let targets: Vec<&str> = asked.iter().map(|request| &*request.target).collect();
    assert_eq!(targets.len(), 3, "two pages and a watch: {targets:?}");
    assert!(targets[0].contains("resourceVersion=0"), "{targets:?}");
    assert!(targets[1].contains("continue=100"), "{targets:?}");
    assert!(asked.iter().all(|request| request.method == "GET"));
}

#[test]
fn a_watch_that_breaks_goes_on_from_the_last_version() {
    let api = StandIn::start();
    api.put_pod(pod("a"));
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    eventually("a watch", || watches(&api).first().cloned());
    api.put_pod(pod("b"));
    known(&kubernetes, "b");
    api.bookmark();
    // What comes after the bookmark was heard, so the bookmark was.
    api.put_pod(pod("c"));
    known(&kubernetes, "c");
    api.bookmark();
    api.cut();
    api.put_pod(pod("d"));
    known(&kubernetes, "d");
    let lists = |api: &StandIn| {
        api.requests()
            .iter()
            .filter(|request| !request.is_watch())
            .count()
    };
    assert_eq!(lists(&api), 1, "nothing was missed");

    // Now the version is one that is forgotten: all are listed anew, and what is not there any more is gone.
    api.lose_pod("a");
    eventually("a new list", || (lists(&api) >= 2).then_some(()));
    eventually("the lost pod", || {
        (kubernetes.health().pods == 3).then_some(())
    });
    api.put_pod(pod("e"));
    known(&kubernetes, "e");
    let again = api
        .requests()
        .into_iter()
        .rfind(|request| !request.is_watch());
    let again = again.expect("it was listed").target;
    assert!(
        !again.contains("resourceVersion"),
        "not what the server remembers: {again}"
    );
}

#[test]
fn a_forgotten_version_is_noticed_when_it_is_asked_for() {
    let api = StandIn::start();
    api.put_pod(pod("a"));
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    eventually("a watch", || watches(&api).first().cloned());
    api.refuse(Some((503, None)));
    api.cut();
    eventually("a failure", || {
        (!kubernetes.health().connected).then_some(())
    });
    api.put_pod(pod("b"));
    api.lose_pod("a");
    api.refuse(None);
    known(&kubernetes, "b");
    assert_eq!(kubernetes.health().pods, 1);
}

#[test]
fn what_is_known_stays_and_it_is_said_that_it_is_old() {
    let api = StandIn::start();
    api.ask_for("right");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "wrong\n").expect("the file is ours");
    let mut config = config(&api.url());
    config.api.token_file = Some(file.path().to_owned());
    api.put_pod(pod("a"));
    let kubernetes = Kubernetes::start(&config).expect("a thread");
    let error = eventually("a refusal", || kubernetes.health().last_error);
    assert!(error.contains("401") && error.contains("token"), "{error}");
    assert!(!kubernetes.health().connected);
    // It is replaced, as that of a service account is.
    std::fs::write(file.path(), "right\n").expect("the file is ours");
    known(&kubernetes, "a");
    assert!(kubernetes.health().connected);

    let since = kubernetes.health().since;
    api.refuse(Some((403, None)));
    api.cut();
    let health = eventually("a failure", || {
        Some(kubernetes.health()).filter(|health| !health.connected)
    });
    assert!(health.since >= since);
    assert!(kubernetes.pod("a").is_some());
    let error = eventually("the reason", || {
        kubernetes
            .health()
            .last_error
            .filter(|error| error.contains("403"))
    });
    assert!(error.contains("refused by a test"), "{error}");
    std::fs::remove_file(file.path()).expect("the file is ours");
    eventually("a missing token", || {
        kubernetes
            .health()
            .last_error
            .filter(|error| error.contains("no token"))
    });
}

#[test]
fn a_finding_becomes_one_event_of_its_pod() {
    let api = StandIn::start();
    api.put_pod(pod("a"));
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    let a = known(&kubernetes, "a");
    let report =
        |id, verdict| kubernetes.report(Arc::clone(&a), Some("app"), 4711, &finding(id, verdict));
    report("leak-1", Verdict::Likely);
    report("leak-1", Verdict::Proven);
    let event = eventually("an event", || api.events().pop());
    assert_eq!(event["involvedObject"]["name"], "pod-a");
    assert_eq!(event["involvedObject"]["uid"], "a");
    assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{app}");
    assert_eq!(event["reportingComponent"], "gotrace.dev/agent");
    assert_eq!(
        event["source"],
        json!({"component": "gotrace", "host": "node-1"})
    );
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("GoroutineLeak"), &json!("Warning"))
    );
    let note = event["message"].as_str().expect("a text");
    assert!(note.len() <= 1024, "{}", note.len());
    assert!(
        note.starts_with("Proven: goroutine 7 waits\\u{1b}[2J forever; xxx"),
        "{note}"
    );
    assert!(note.ends_with("… (process 4711, finding leak-1)"), "{note}");

    report("leak-1", Verdict::Proven);
    eventually("the count", || {
        (api.events()[0]["count"] == 2).then_some(())
    });
    report("leak-2", Verdict::Proven);
    eventually("another event", || (api.events().len() == 2).then_some(()));
    // An agent that was started anew goes on with the events that are there.
    kubernetes.finish();
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    for _ in 0..2 {
        let before = kubernetes.health().events_sent;
        kubernetes.report(
            Arc::clone(&a),
            Some("app"),
            4712,
            &finding("leak-1", Verdict::Proven),
        );
        eventually("it is sent", || {
            (kubernetes.health().events_sent > before).then_some(())
        });
    }
    let events = api.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["count"], 3);
    assert!(
        events[0]["message"]
            .as_str()
            .is_some_and(|note| note.contains("4712"))
    );
    // The cluster has forgotten them.
    api.forget_events();
    kubernetes.report(a, Some("app"), 4712, &finding("leak-1", Verdict::Proven));
    eventually("a new event", || (api.events().len() == 1).then_some(()));
    let asked = api.requests();
    let patch = asked
        .iter()
        .find(|request| request.method == "PATCH")
        .expect("a change");
    assert_eq!(
        patch.content_type.as_deref(),
        Some("application/merge-patch+json")
    );
    assert_eq!(kubernetes.health().events_dropped, 0);
}

#[test]
fn what_an_api_does_not_take_waits_or_is_counted() {
    let api = StandIn::start();
    api.put_pod(pod("a"));
    let kubernetes = Kubernetes::start(&config(&api.url())).expect("a thread");
    let a = known(&kubernetes, "a");
    let report =
        |id: &str| kubernetes.report(Arc::clone(&a), None, 1, &finding(id, Verdict::Proven));
    let posts = || {
        api.requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    };
    api.refuse(Some((500, None)));
    report("late");
    eventually("attempts", || (posts() >= 2).then_some(()));
    api.refuse(None);
    eventually("the event", || (api.events().len() == 1).then_some(()));

    api.refuse(Some((403, None)));
    report("forbidden");
    eventually("a loss", || {
        (kubernetes.health().events_dropped == 1).then_some(())
    });
    // Nobody is kept waiting by an API that is not there.
    api.refuse(Some((429, Some(60))));
    let before = posts();
    report("too many");
    eventually("an attempt", || (posts() > before).then_some(()));
    for number in 0..3 * REPORTS {
        report(&number.to_string());
    }
    eventually("losses", || {
        (kubernetes.health().events_dropped > 1).then_some(())
    });
    kubernetes.finish();
    assert_eq!(api.events().len(), 1);
    let health = kubernetes.health();
    assert_eq!(health.events_sent, 1);
    assert_eq!(
        health.events_dropped as usize,
        2 + 3 * REPORTS,
        "each is accounted for"
    );
    report("after the end");
    assert_eq!(
        kubernetes.health().events_dropped,
        health.events_dropped + 1
    );
}

#[test]
fn what_is_no_kubernetes_api_does_no_harm() {
    let cases: [&[u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"metadata\":{},\"items\":null}   ",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 4\r\n\r\n<\x1b[a",
        b"",
    ];
    for said in cases {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 1024];
                // Whether it goes or stays does not matter here.
                let _ = stream.read(&mut head).and_then(|_| stream.write_all(said));
            }
        });
        let kubernetes =
            Kubernetes::start(&config(&format!("http://{address}"))).expect("a thread");
        let error = eventually("an error", || kubernetes.health().last_error);
        assert!(!error.contains('\x1b'), "{error}");
        assert!(!kubernetes.health().connected, "{error}");
        kubernetes.finish();
    }
}

/// What speaks TLS with a certificate for a name and hands all on; where, and the certificate's authority.
pub(super) fn with_tls(to: std::net::SocketAddr, name: &str) -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("they belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    listener
        .set_nonblocking(true)
        .expect("a socket can do that");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who does not trust the certificate goes.
                    let Ok(mut near) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut far = tokio::net::TcpStream::connect(to)
                        .await
                        .expect("it listens");
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    });
    (format!("https://{address}"), authority.pem())
}

#[test]
fn only_a_server_with_the_cluster_s_certificate_is_asked() {
    let api = StandIn::start();
    api.ask_for("secret");
    api.put_pod(pod("a"));
    let (url, authority) = with_tls(api.address(), "127.0.0.1");
    let (_, other) = with_tls(api.address(), "127.0.0.1");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (token, ca) = (
        directory.path().join("token"),
        directory.path().join("ca.crt"),
    );
    std::fs::write(&token, "secret").expect("the directory is ours");
    std::fs::write(&ca, other).expect("the directory is ours");
    let args = KubernetesArgs {
        node: Some("node-1".to_owned()),
        kube_api: Some(url),
        kube_token_file: Some(token),
        kube_ca: Some(ca.clone()),
        ..KubernetesArgs::default()
    };
    let mut config = Config::new(&args).expect("an address").expect("a node");
    config.pause = Duration::from_millis(2);
    let kubernetes = Kubernetes::start(&config).expect("a thread");
    let error = eventually("a refusal", || kubernetes.health().last_error);
    assert!(error.contains("certificate"), "{error}");
    assert!(
        api.requests().is_empty(),
        "the token was sent to a stranger"
    );
    std::fs::write(&ca, authority).expect("the directory is ours");
    known(&kubernetes, "a");
}

#[test]
fn what_the_api_allows_is_asked_once() {
    let api = StandIn::start();
    api.put_pod(pod("a"));
    api.put_pod(on("node-2", "b"));
    let config = config(&api.url());
    let rights = Rights::ask(&config).expect("a runtime");
    assert_eq!(rights.pods, Ok(1));
    let allowed = |rights: &Rights| -> Vec<_> {
        let reviews = rights.reviews.iter();
        reviews
            .map(|review| (review.verb, review.resource, review.allowed.clone()))
            .collect()
    };
    let all = [
        ("list", "pods"),
        ("watch", "pods"),
        ("create", "events"),
        ("patch", "events"),
    ];
    assert_eq!(
        allowed(&rights),
        all.map(|(verb, resource)| (verb, resource, Ok(true)))
    );

    api.deny("patch", "events");
    let rights = Rights::ask(&config).expect("a runtime");
    assert_eq!(
        allowed(&rights),
        all.map(|(verb, resource)| (verb, resource, Ok(verb != "patch")))
    );

    // Who is refused all is refused the questions as well, and who is not reached is not asked again.
    api.refuse(Some((403, None)));
    let rights = Rights::ask(&config).expect("a runtime");
    assert!(rights.pods.is_err_and(|error| error.contains("403")));
    assert_eq!(rights.reviews.len(), all.len());
    assert!(rights.reviews.iter().all(|review| review.allowed.is_err()));
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port was free");
    let rights = Rights::ask(&self::config(&format!("http://{nobody}"))).expect("a runtime");
    assert!(rights.pods.is_err());
    assert_eq!(rights.reviews, []);
}
