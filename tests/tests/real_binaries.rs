//! Programs that others built, as package registries have them: stripped, of Go versions from 1.19 on,
//! one of them position independent, one without build information. Each runs on loopback, idle, with
//! an empty directory; gotrace looks at it, traces it, and it answers as before.
//!
//! Where such a program serves its own goroutine profile, that is the truth to agree with.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use integration_tests::json::{list, number};
use integration_tests::target::real;
use integration_tests::text::assert_no_probe;
use integration_tests::{Gotrace, eventually, http, profile, require_root};
use serde_json::Value;
use tempfile::TempDir;

/// What must be there for a look to mean something.
struct Least {
    goroutines: usize,
    channels: usize,
}

/// A running program; killed when dropped.
struct Program {
    child: Child,
    /// An address that it answers, if it serves HTTP.
    url: Option<String>,
    /// Its own goroutine profile, if it serves that.
    profile: Option<String>,
    directory: TempDir,
}

impl Program {
    /// Starts one with arguments that may lie in a directory of its own.
    #[track_caller]
    fn start(name: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Program {
        require_root();
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments(directory.path());
        let output = File::create(directory.path().join("output")).expect("it is writable");
        let mut command = Command::new(real(name));
        command
            .args(arguments)
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path())
            // Open until the program is dropped: some end with their input.
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a file"))
            .stderr(output);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Program {
            child,
            url: None,
            profile: None,
            directory,
        }
    }

    /// Waits until it answers, as it must ever after.
    #[track_caller]
    fn serving(mut self, address: SocketAddr, path: &str) -> Program {
        let url = format!("http://{address}{path}");
        eventually("the program answers", || {
            assert!(self.is_alive(), "it ended: {}", self.output());
            let answer = http::try_get(&url, Duration::from_secs(1)).ok()?;
            (answer.0 == 200).then_some(())
        });
        self.url = Some(url);
        self
    }

    /// Says that it serves its profile at this address.
    fn profiled(mut self, address: SocketAddr) -> Program {
        self.profile = Some(format!("http://{address}/debug/pprof/goroutine?debug=2"));
        self
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }

    #[track_caller]
    fn document(&self, command: &str, schema: &str) -> Value {
        let pid = self.pid().to_string();
        let finished = Gotrace::run(&[command, "--pid", &pid, "--format", "json"]);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let document = finished.document(schema);
        assert_eq!(document["errors"], Value::Array(Vec::new()), "{document:#}");
        document
    }

    #[track_caller]
    fn profile(&self) -> Option<BTreeMap<u64, profile::Goroutine>> {
        let (status, text) = http::get(self.profile.as_ref()?);
        assert_eq!(status, 200, "{text}");
        Some(profile::parse(&text))
    }

    /// All that gotrace does with a program that it has never seen.
    #[track_caller]
    fn check(mut self, version: &str, least: &Least) {
        let goroutines = self.goroutines();
        let about = &goroutines["target"];
        assert_eq!(about["go_version"], version, "{about:#}");
        let found = list(&goroutines, "goroutines");
        let user = found
            .iter()
            .filter(|goroutine| goroutine["system"] == false);
        assert!(user.count() >= least.goroutines, "{goroutines:#}");
        found.iter().for_each(has_a_whole_stack);

        let channels = self.document("channels", "gotrace.channels/1");
        let found = list(&channels, "channels");
        assert!(found.len() >= least.channels, "{channels:#}");
        found.iter().for_each(is_a_channel);

        let findings = self.document("deadlocks", "gotrace.findings/1");
        let proven = |finding: &&Value| finding["verdict"] == "proven";
        let accused = list(&findings, "findings").iter().find(proven);
        assert_eq!(accused, None, "it is idle and well: {findings:#}");

        for level in ["park", "full"] {
            let arguments = ["--level", level, "--duration", "1s"];
            let (gotrace, attached) = Gotrace::attach(self.pid(), &arguments);
            let probes = list(&attached, "probes").len();
            assert!(probes >= 4, "{attached:#}");
            // Something to see, where it can be asked.
            if let Some(url) = &self.url {
                assert_eq!(http::get(url).0, 200);
            }
            let finished = gotrace.finish();
            assert_eq!(finished.code, Some(0), "{finished:#?}");
            let report = finished.report();
            assert_eq!(report["ended"], "duration", "{report:#}");
            assert_eq!(number(&report["probes_removed"]), probes as u64);
            let events = number(&report["totals"]["events"]);
            assert!(self.url.is_none() || events > 0, "{report:#}");
            assert_no_probe(self.pid());
        }

        assert!(self.is_alive(), "it ended: {}", self.output());
        if let Some(url) = &self.url {
            assert_eq!(http::get(url).0, 200);
        }
    }

    /// The goroutines, which agree with the profile if there is one.
    ///
    /// A profile before and one after the look: what both have, and in the same state, gotrace has as
    /// well; what gotrace has, one of them has. The goroutines that serve a profile are in that one
    /// alone. A program that is idle still does something now and then, so another look may be
    /// needed.
    #[track_caller]
    fn goroutines(&self) -> Value {
        let look = || self.document("goroutines", "gotrace.goroutines/1");
        let Some(mut before) = self.profile() else {
            return look();
        };
        let mut last = String::new();
        for _ in 0..20 {
            let document = look();
            let after = self.profile().expect("it has one");
            match disagreement(&before, list(&document, "goroutines"), &after) {
                None => return document,
                Some(why) => last = why,
            }
            before = after;
        }
        panic!("never did a look agree with the program's profile: {last}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the program said: {}", self.output());
        }
    }
}

/// What does not agree between a look and the profiles before and after.
fn disagreement(
    before: &BTreeMap<u64, profile::Goroutine>,
    found: &[Value],
    after: &BTreeMap<u64, profile::Goroutine>,
) -> Option<String> {
    let found: BTreeMap<u64, &Value> = found
        .iter()
        .filter(|goroutine| goroutine["system"] == false)
        .map(|goroutine| (number(&goroutine["goid"]), goroutine))
        .collect();
    for (goid, goroutine) in before {
        let Some(again) = after.get(goid) else {
            continue;
        };
        let Some(found) = found.get(goid) else {
            return Some(format!("{goid}, {goroutine:?}, was not found"));
        };
        let state = match found["state"].as_str() {
            Some("waiting") => &found["wait_reason"],
            _ => &found["state"],
        };
        if goroutine.state == again.state && *state != *goroutine.state {
            return Some(format!("{goroutine:?} was found as {found:#}"));
        }
    }
    found
        .iter()
        .find(|(goid, _)| !before.contains_key(goid) && !after.contains_key(goid))
        .map(|(_, extra)| format!("the program has no {extra:#}"))
}

/// The stack of a goroutine that waits ends where the goroutine began.
#[track_caller]
fn has_a_whole_stack(goroutine: &Value) {
    if goroutine["state"] != "waiting" || goroutine["moving"] == true {
        return;
    }
    let stack = list(goroutine, "stack");
    let last = stack
        .last()
        .unwrap_or_else(|| panic!("no stack: {goroutine:#}"));
    assert_eq!(
        last["function"], goroutine["start"]["function"],
        "{goroutine:#}"
    );
}

#[track_caller]
fn is_a_channel(channel: &Value) {
    assert!(
        number(&channel["len"]) <= number(&channel["cap"]),
        "{channel:#}"
    );
    assert!(
        !channel["type"].as_str().expect("text").is_empty(),
        "{channel:#}"
    );
    // It was found by a goroutine that waits on it, or that holds it on its stack.
    let found_by = ["send_waiting", "recv_waiting", "used_by"]
        .map(|field| list(channel, field).len())
        .iter()
        .sum::<usize>();
    assert!(found_by > 0 || channel["moving"] == true, "{channel:#}");
    let text = channel.to_string();
    assert!(!text.contains("$error"), "{channel:#}");
}

#[track_caller]
fn etcd() -> Program {
    let [client, peer] = [http::free_address(), http::free_address()];
    Program::start("etcd", |directory| {
        let [client, peer] = [client, peer].map(|address| format!("http://{address}"));
        let data = directory.join("data").display().to_string();
        vec![
            "--enable-pprof".to_owned(),
            format!("--data-dir={data}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]
    })
    .serving(client, "/health")
    .profiled(client)
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

#[test]
fn etcd_of_debian() {
    let least = Least {
        goroutines: 30,
        channels: 50,
    };
    etcd().check("go1.19.8", &least);
}

#[test]
fn prometheus_of_debian() {
    let address = http::free_address();
    let program = Program::start("prometheus", |directory| {
        let configuration = directory.join("prometheus.yml");
        std::fs::write(&configuration, "global: {}\n").expect("it is writable");
        vec![
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            format!("--web.listen-address={address}"),
        ]
    });
    let least = Least {
        goroutines: 15,
        channels: 20,
    };
    program
        .serving(address, "/-/ready")
        .profiled(address)
        .check("go1.19.8", &least);
}

#[test]
fn node_exporter_of_debian() {
    let address = http::free_address();
    let program = Program::start("node-exporter", |_| {
        vec![format!("--web.listen-address={address}")]
    });
    let least = Least {
        goroutines: 2,
        channels: 0,
    };
    program
        .serving(address, "/")
        .profiled(address)
        .check("go1.19.8", &least);
}

/// The administration's address of caddy, which serves its profile, without any site.
#[track_caller]
fn caddy(name: &str) -> Program {
    let address = http::free_address();
    Program::start(name, |directory| {
        let configuration = directory.join("caddy.json");
        let text = format!(r#"{{"admin": {{"listen": "{address}"}}}}"#);
        std::fs::write(&configuration, text).expect("it is writable");
        let path = configuration.display().to_string();
        texts(["run", "--config", &path])
    })
    .serving(address, "/config/")
    .profiled(address)
}

const CADDY: Least = Least {
    goroutines: 3,
    channels: 2,
};

#[test]
fn caddy_of_debian() {
    caddy("caddy-2.6").check("go1.19.8", &CADDY);
}

#[test]
fn caddy_of_the_python_package_index() {
    // A patch release that gotrace has no layouts of.
    caddy("caddy-2.11").check("go1.26.8", &CADDY);
}

#[test]
fn docker_of_debian_waits_for_an_answer() {
    // A daemon that never says anything.
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("docker.sock");
    let daemon = UnixListener::bind(&socket).expect("a socket");
    let host = format!("unix://{}", socket.display());
    let program = Program::start("docker", |_| texts(["--host", &host, "events"]));
    let question = daemon.accept().expect("the client asks");
    let least = Least {
        goroutines: 3,
        channels: 2,
    };
    program.check("go1.19.8", &least);
    drop(question);
}

#[track_caller]
fn nats(name: &str) -> Program {
    let [clients, monitor, profile] = [
        http::free_address(),
        http::free_address(),
        http::free_address(),
    ];
    Program::start(name, |_| {
        let [clients, monitor, profile] =
            [clients, monitor, profile].map(|address| address.port().to_string());
        texts([
            "--addr",
            "127.0.0.1",
            "--port",
            &clients,
            "--http_port",
            &monitor,
            "--profile",
            &profile,
        ])
    })
    .serving(monitor, "/healthz")
    .serving(profile, "/debug/pprof/cmdline")
    .profiled(profile)
}

const NATS: Least = Least {
    goroutines: 8,
    channels: 8,
};

#[test]
fn the_oldest_nats_of_the_python_package_index() {
    // Gotrace has layouts of other patch releases of Go 1.24, which differ.
    nats("nats-2.10").check("go1.24.0", &NATS);
}

#[test]
fn the_newest_nats_of_the_python_package_index() {
    nats("nats-2.15").check("go1.27.2", &NATS);
}

#[track_caller]
fn esbuild(name: &str, version: &str) {
    let address = http::free_address();
    let program = Program::start(name, |directory| {
        vec![
            format!("--servedir={}", directory.display()),
            format!("--serve={address}"),
        ]
    });
    let least = Least {
        goroutines: 2,
        channels: 0,
    };
    program.serving(address, "/").check(version, &least);
}

#[test]
fn esbuild_of_go_1_19() {
    esbuild("esbuild-0.16", "go1.19.4");
}

#[test]
fn esbuild_of_go_1_20() {
    esbuild("esbuild-0.19", "go1.20.12");
}

#[test]
fn esbuild_without_build_information() {
    esbuild("esbuild-0.28", "go1.26.5");
}
