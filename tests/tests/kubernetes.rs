//! `gotrace agent` on a node of a cluster, whose API a stand-in plays: names, selection, events.

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
