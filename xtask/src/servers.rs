//! Servers that others built, as package registries have them, idle and under load for a long time: what
//! gotrace finds wrong with programs that are well.

mod load;
mod server;
mod table;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::{privilege, real, workspace};

use load::Load;
use server::{Running, SERVERS, Server};

/// Between two runs of `gotrace leaks`.
const PAUSE: Duration = Duration::from_secs(10);

/// How long and which.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes for which each server is idle, and again for which it has work.
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Only servers with this in their name.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Servers that are watched at the same time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    at_once: usize,
    /// Write the table into docs/servers.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

/// What was found during one phase.
struct Phase {
    name: &'static str,
    /// User goroutines at any summary.
    least: u64,
    most: u64,
    /// Events that `gotrace run` counted.
    events: u64,
    /// How often `gotrace leaks` looked.
    looks: usize,
    /// By id, the surest of each.
    findings: BTreeMap<String, Value>,
    requests: u64,
}

/// A server with what was found.
struct Watched {
    server: &'static Server,
    go_version: String,
    phases: Vec<Phase>,
}

/// Watches the servers and prints a table; an error if anything was called proven.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "servers")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let programs = real::install()?;
    let home = workspace::target().join("servers");
    fs::create_dir_all(&home)?;
    let wanted = |server: &&Server| {
        let only = options.only.as_deref().unwrap_or_default();
        server.name.contains(only)
    };
    let servers: Vec<&'static Server> = SERVERS.iter().filter(wanted).collect();
    ensure!(!servers.is_empty(), "there is no such server");
    let time = Duration::from_secs(60 * options.minutes);
    let (mut watched, mut failures) = (Vec::new(), Vec::new());
    for group in servers.chunks(options.at_once.max(1)) {
        let results: Vec<Result<Watched>> = thread::scope(|scope| {
            let (gotrace, programs, home) = (&gotrace, &programs, &home);
            let threads: Vec<_> = group
                .iter()
                .map(|server| scope.spawn(move || watch(gotrace, programs, home, server, time)))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
            threads.into_iter().map(join).collect()
        });
        for (server, result) in group.iter().zip(results) {
            match result {
                Ok(result) => watched.push(result),
                Err(error) => failures.push(format!("server {}: {error:#}", server.name)),
            }
        }
    }
    let tables = table::render(&watched);
    println!("{tables}");
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    if options.write {
        table::write(&workspace::root().join("docs/servers.md"), &tables)?;
    }
    let proven = (watched.iter())
        .flat_map(|watched| &watched.phases)
        .flat_map(|phase| phase.findings.values())
        .find(|finding| finding["verdict"] == "proven");
    ensure!(proven.is_none(), "called proven: {proven:#?}");
    Ok(())
}

fn watch(
    gotrace: &Path,
    programs: &Path,
    home: &Path,
    server: &'static Server,
    time: Duration,
) -> Result<Watched> {
    let directory = home.join(server.name);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let mut running = Running::start(server, &programs.join(server.program), &directory)?;
    let mut phases = Vec::new();
    let mut go_version = String::new();
    for (name, with_load) in [("idle", false), ("load", true)] {
        println!("servers: {} {name}", server.name);
        let load = with_load.then(|| Load::start(server, running.address));
        let log = directory.join(format!("{name}.jsonl"));
        let (mut phase, version) = phase(gotrace, &running, &log, name, time)?;
        phase.requests = load.map_or(0, Load::stop);
        ensure!(running.is_alive(), "it ended: see {}", directory.display());
        phases.push(phase);
        go_version = version;
    }
    Ok(Watched {
        server,
        go_version,
        phases,
    })
}

/// Looks at a server for some time, in both ways.
fn phase(
    gotrace: &Path,
    running: &Running,
    log: &Path,
    name: &'static str,
    time: Duration,
) -> Result<(Phase, String)> {
    let pid = running.pid().to_string();
    // Five windows, which a trend of a new program takes, are a third of the phase.
    let window = format!("{}s", (time.as_secs() / 15).max(1));
    let mut tracer: Child = Command::new(gotrace)
        .args([
            "run", "--level", "park", "--format", "json", "--listen", "off",
        ])
        .args(["--duration", &format!("{}s", time.as_secs()), "--pid", &pid])
        .args(["--trend-window", &window])
        .stdout(File::create(log)?)
        .spawn()?;
    let mut phase = Phase {
        name,
        least: u64::MAX,
        most: 0,
        events: 0,
        looks: 0,
        findings: BTreeMap::new(),
        requests: 0,
    };
    let end = Instant::now() + time;
    while Instant::now() < end {
        let output = Command::new(gotrace)
            .args(["leaks", "--format", "json", "--pid", &pid])
            .output()?;
        ensure!(
            matches!(output.status.code(), Some(0 | 1)),
            "gotrace leaks failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let document: Value = serde_json::from_slice(&output.stdout)?;
        phase.looks += 1;
        for finding in document["findings"].as_array().into_iter().flatten() {
            phase.found(finding);
        }
        thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
    }
    let status = tracer.wait()?;
    ensure!(
        matches!(status.code(), Some(0 | 1)),
        "gotrace run failed: {status}"
    );
    let mut version = String::new();
    for line in BufReader::new(File::open(log)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        match line["type"].as_str() {
            Some("attached") => {
                version = line["target"]["go_version"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
            }
            Some("summary") => {
                let total = line["goroutines"]["total"].as_u64().unwrap_or_default();
                phase.least = phase.least.min(total);
                phase.most = phase.most.max(total);
            }
            Some("finding") => phase.found(&line["finding"]),
            Some("report") => {
                phase.events = line["totals"]["events"].as_u64().unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok((phase, version))
}

impl Phase {
    /// Takes in a finding; the surest of an id is kept, and how often it was seen.
    fn found(&mut self, finding: &Value) {
        let sureness = |finding: &Value| match finding["verdict"].as_str() {
            Some("proven") => 2,
            Some("likely") => 1,
            _ => 0,
        };
        let id = finding["id"].as_str().unwrap_or_default().to_owned();
        let known = self.findings.entry(id).or_insert_with(|| finding.clone());
        if sureness(finding) > sureness(known) {
            *known = finding.clone();
        }
    }
}
