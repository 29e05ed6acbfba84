//! `gotrace agent` with probes: several processes at a time, built by different versions of Go, each at a level of its
//! own, beside others that are observed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use integration_tests::target::{fixture, oldest_fixture};
use integration_tests::text::{assert_no_probe, patched};
use integration_tests::{Gotrace, Target, eventually, http, require_root};
use rustix::process::Signal;
use serde_json::Value;

/// Often enough that nothing waits for the next read, and as much CPU time as that takes.
const OFTEN: [&str; 4] = ["--interval", "200ms", "--cpu", "100%"];
/// Nothing is too much.
const UNBOUNDED: [&str; 4] = ["--budget", "100%", "--node-budget", "100%"];
/// Processes that begin and end while they are traced.
const BRIEF: usize = 24;

fn is_of(pid: u32) -> impl Fn(&Value) -> bool {
    move |line| line["process"]["pid"] == pid
}

/// An agent that listens, of processes that go by these names alone: whatever else runs on this machine is left out.
struct Agent {
    gotrace: Gotrace,
    address: String,
}

impl Agent {
    fn start(names: &[&str], arguments: &[&str]) -> Agent {
        let names = names.iter().flat_map(|name| ["--name", name]);
        let all = ["agent", "--listen", "127.0.0.1:0"].into_iter();
        let all = all.chain(names).chain(arguments.iter().copied());
        let all: Vec<&str> = all.chain(OFTEN).collect();
        let mut gotrace = Gotrace::start(&all);
        let started = gotrace.until("started", |_| true);
        let address = started["listening"].as_str().expect("it listens");
        Agent {
            address: format!("http://{address}"),
            gotrace,
        }
    }

    /// Waits until a process is traced at a level; takes the line that says so.
    #[track_caller]
    fn until_level(&mut self, target: &Target, level: &str) -> Value {
        let is_it = is_of(target.pid());
        self.gotrace.until("level", |line| {
            is_it(line) && line["process"]["level"] == level
        })
    }

    /// A process, as the list has it.
    fn listed(&self, target: &Target) -> Value {
        let (status, list) = http::get(&format!("{}/api/v1/processes", self.address));
        assert_eq!(status, 200, "{list}");
        let list: Value = serde_json::from_str(&list).expect("a document");
        let processes = list["processes"].as_array().expect("a list");
        let found = processes
            .iter()
            .find(|process| process["pid"] == target.pid());
        found.cloned().unwrap_or_default()
    }

    /// The series of a metric, by its labels as they are written.
    fn series(&self, metric: &str) -> BTreeMap<String, f64> {
        let (status, text) = http::get(&format!("{}/metrics", self.address));
        assert_eq!(status, 200, "{text}");
        let series = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(metric)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{'))
                .then(|| (labels.to_owned(), value.parse().expect("a number")))
        });
        series.collect()
    }

    /// The sum of the series whose labels have all of these.
    fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let series = self.series(metric);
        let matching = series
            .iter()
            .filter(|(have, _)| labels.iter().all(|label| have.contains(label)));
        matching.map(|(_, value)| value).sum()
    }

    /// How many links and how many descriptors it has.
    fn holds(&self) -> (usize, usize) {
        let descriptors = format!("/proc/{}/fd", self.gotrace.pid());
        let kinds: Vec<PathBuf> = fs::read_dir(descriptors)
            .expect("it runs")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .collect();
        let links = kinds.iter().filter(|kind| {
            let kind = kind.to_string_lossy();
            // A probe of its own is a link and the event that it is of.
            kind.contains("bpf") && kind.contains("link") || kind.contains("perf_event")
        });
        (links.count(), kinds.len())
    }

    fn end(self) {
        self.gotrace.signal(Signal::TERM);
        let finished = self.gotrace.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
}

/// A program under a name of its own.
fn named(program: &Path, directory: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::copy(program, &path).expect("room");
    path
}

/// What a program counted itself is what the metrics come to.
#[track_caller]
fn check_counts(agent: &Agent, name: &str, truth: &Value, is_full: bool) {
    let process = format!("process=\"{name}\"");
    let of = |metric: &str, label: &str| agent.sum(metric, &[&process, label]) as u64;
    let parks = truth["parks"].as_object().expect("parks by reason");
    let mut expected = vec![
        (
            "gotrace_goroutines_created_total",
            String::new(),
            &truth["created"],
        ),
        (
            "gotrace_goroutines_exited_total",
            String::new(),
            &truth["exited"],
        ),
    ];
    for (reason, count) in parks {
        expected.push(("gotrace_parks_total", format!("reason=\"{reason}\""), count));
    }
    for (operation, counts) in [
        ("send", "sends"),
        ("receive", "receives"),
        ("close", "closes"),
        ("select", "selects"),
    ] {
        let operation = format!("operation=\"{operation}\"");
        expected.push((
            "gotrace_channel_operations_total",
            operation,
            &truth[counts],
        ));
    }
    for (metric, label, count) in expected {
        let traced = is_full || metric != "gotrace_channel_operations_total";
        let count = if traced {
            count.as_u64().expect("a count")
        } else {
            0
        };
        eventually(
            &format!("{metric} of {name} with {label} is {count}"),
            || (of(metric, &label) == count).then_some(()),
        );
    }
    assert_eq!(of("gotrace_events_lost_total", ""), 0, "{name}");
    assert!(of("gotrace_events_total", "") > 0, "{name}");
}

#[test]
fn processes_of_different_versions_are_traced_at_once_each_at_its_level() {
    require_root();
    let directory = tempfile::tempdir().expect("room");
    let older = named(&oldest_fixture("counts"), &directory, "older");
    let newer = named(&fixture("counts"), &directory, "newer");
    let few = ["-operations", "200"];
    let mut older = Target::start_file(&older, &few);
    let mut newer = Target::start_file(&newer, &few);
    let many = Target::start("many", &["-n", "10"]);
    let levels = [
        "--level",
        "observe",
        "--level",
        "older=park",
        "--level",
        "newer=full",
    ];
    let mut agent = Agent::start(
        &["older", "newer", "many", "hello"],
        &[&levels[..], &["--level", "hello=park"], &UNBOUNDED].concat(),
    );
    let mut placed = Vec::new();
    for _ in 0..2 {
        placed.push(agent.gotrace.until("level", |_| true));
    }
    for (target, level) in [(&older, "park"), (&newer, "full")] {
        let line = placed.iter().find(|line| is_of(target.pid())(line));
        let line = line.unwrap_or_else(|| panic!("nothing of {level} in {placed:?}"));
        assert_eq!(line["before"], "observe", "{line}");
        assert_eq!(line["process"]["level"], level, "{line}");
        assert_eq!(line["process"]["asked"], level, "{line}");
    }

    // Both at once, and nothing of one is counted for the other.
    older.say("GO");
    newer.say("GO");
    let of_older = older.hear();
    let of_newer = newer.hear();
    check_counts(&agent, "older", &of_older, false);
    check_counts(&agent, "newer", &of_newer, true);
    assert_eq!(agent.listed(&many)["level"], "observe");
    assert_eq!(agent.listed(&many)["asked"], Value::Null);
    assert_no_probe(many.pid());
    let at_level = |agent: &Agent, level: &str| {
        let level = format!("level=\"{level}\"");
        agent.sum("gotrace_agent_processes_at_level", &[&level])
    };
    let levels = ["observe", "wake", "park", "full", "syscalls"];
    assert_eq!(
        levels.map(|level| at_level(&agent, level)),
        [1.0, 0.0, 1.0, 1.0, 0.0]
    );
    // Whatever changed meanwhile, a read of memory knows every goroutine.
    eventually("all states are known", || {
        (agent.sum("gotrace_goroutines_unknown", &[]) == 0.0).then_some(())
    });

    // The end of one leaves the other, and its sums.
    let pid = older.pid();
    older.end_unharmed();
    agent.gotrace.until("gone", is_of(pid));
    eventually("its series are gone", || {
        (agent.sum("gotrace_events_total", &["process=\"older\""]) == 0.0).then_some(())
    });
    assert_eq!(agent.listed(&newer)["level"], "full");
    assert!(patched(newer.pid()).len() > 8, "its probes are there");
    check_counts(&agent, "newer", &of_newer, true);

    // What comes and goes leaves nothing.
    let before = agent.holds();
    for _ in 0..BRIEF {
        let hello = Target::start("hello", &[]);
        let pid = hello.pid();
        agent.until_level(&hello, "park");
        assert!(agent.holds().0 > before.0, "a link holds its probes");
        hello.end_unharmed();
        agent.gotrace.until("gone", is_of(pid));
    }
    eventually("what it held for them is gone", || {
        // Those of an HTTP connection come and go as well.
        let now = agent.holds();
        (now.0 == before.0 && now.1 <= before.1).then_some(())
    });
    assert_eq!(agent.sum("gotrace_agent_probe_events_lost_total", &[]), 0.0);
    assert_eq!(
        agent.sum("gotrace_agent_processes_unprobed_total", &[]),
        0.0
    );

    agent.end();
    assert_no_probe(newer.pid());
    newer.end_unharmed();
    many.end_unharmed();
}

#[test]
fn a_level_that_costs_too_much_is_lowered_and_it_is_said_why() {
    require_root();
    let mut busy = Target::start("load", &["-mode", "pingpong"]);
    busy.ask("START");
    let quiet = Target::start("many", &["-n", "10"]);
    // What one may take, the node may not.
    let budgets = ["--budget", "100%", "--node-budget", "0.1%"];
    let mut agent = Agent::start(
        &["load", "many"],
        &[&["--level", "park"][..], &budgets].concat(),
    );
    agent.until_level(&quiet, "park");
    let lowered = agent.until_level(&busy, "observe");
    let why = lowered["process"]["why"].as_str().expect("it is said");
    assert!(why.contains("node"), "{lowered}");
    assert_eq!(lowered["process"]["asked"], "park");
    assert_no_probe(busy.pid());
    // The one that costs little stays.
    assert_eq!(agent.listed(&quiet)["level"], "park");
    assert!(agent.sum("gotrace_agent_levels_lowered_total", &[]) >= 2.0);
    assert_eq!(agent.sum("gotrace_agent_processes_below_level", &[]), 1.0);
    agent.end();

    // A process' own budget.
    let mut agent = Agent::start(
        &["load", "many"],
        &[
            "--level",
            "park",
            "--budget",
            "0.5%",
            "--node-budget",
            "100%",
        ],
    );
    let is_busy = is_of(busy.pid());
    let lowered = agent.gotrace.until("level", |line| {
        is_busy(line) && line["process"]["level"] == "wake"
    });
    let why = lowered["process"]["why"].as_str().expect("it is said");
    assert!(why.contains("more than 0.5 %"), "{lowered}");
    agent.end();
    for target in [busy, quiet] {
        assert_no_probe(target.pid());
        target.end_unharmed();
    }
}
