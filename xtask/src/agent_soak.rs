//! `gotrace agent` among many processes: what it takes while they run, and what is left of those that ended.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use procfs::process::Process;
use serde_json::Value;

use crate::fixtures;
use crate::go::{DEFAULT_VERSION, Toolchain};
use crate::{privilege, workspace};

/// How many, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Go processes that run all the time.
    #[arg(long, value_name = "N", default_value_t = 200)]
    long: usize,
    /// Of these, so many work: five times a second one goroutine has another one compute for 4 ms.
    #[arg(long, value_name = "N", default_value_t = 20)]
    working: usize,
    /// Go processes that begin and end.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    short: usize,
    /// Seconds for which nothing begins or ends while the agent is measured.
    #[arg(long, value_name = "N", default_value_t = 120)]
    seconds: u64,
    /// How closely all are traced; what is beyond the agent's slots is observed.
    #[arg(long, value_name = "LEVEL", default_value = OBSERVE)]
    level: String,
    /// Write the numbers into docs/agent.md.
    #[arg(long)]
    write: bool,
}

/// Short processes at a time.
const AT_ONCE: usize = 16;
/// Of so many short processes one lives long enough to be followed, the others are over at once.
const FOLLOWED_OF: usize = 10;
/// For how long that one lives.
const LIVES: Duration = Duration::from_millis(400);
/// How long the agent may take to notice what happened.
const PATIENCE: Duration = Duration::from_secs(120);
/// After the agent noticed, until it is measured: what it plans for a moment is over by then.
const REST: Duration = Duration::from_secs(20);
/// What those that work are started with.
const WORK: [&str; 6] = ["-mode", "pingpong", "-n=1", "-rate=20", "-work", "4ms"];
/// The share of a process' CPU time that its probes may take, if nothing else is said (docs/agent.md), in percent.
const BUDGET: f64 = 1.0;
/// The level without probes.
const OBSERVE: &str = "observe";

/// What a process holds.
#[derive(Clone, Debug)]
struct Holds {
    resident_kib: u64,
    threads: u64,
    descriptors: usize,
    links: usize,
    programs: usize,
    maps: usize,
}

impl Holds {
    fn of(pid: u32) -> Result<Holds> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            Ok(word.context("the kernel says so")?.parse()?)
        };
        let mut kinds = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // It may be closed by now.
            if let Ok(kind) = fs::read_link(entry?.path()) {
                kinds.push(kind.to_string_lossy().into_owned());
            }
        }
        let count = |kind: &str| kinds.iter().filter(|found| found.contains(kind)).count();
        Ok(Holds {
            resident_kib: number("VmRSS:")?,
            threads: number("Threads:")?,
            descriptors: kinds.len(),
            links: count("bpf_link") + count("bpf-raw-tracepoint") + count("bpf-link"),
            programs: count("bpf-prog"),
            maps: count("bpf-map"),
        })
    }
}

/// The running agent.
struct Agent {
    child: Child,
    address: String,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    fn start(gotrace: &Path, level: &str) -> Result<Agent> {
        let mut child = Command::new(gotrace)
            .args(["agent", "--listen", "127.0.0.1:0", "--level", level])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        let started: Value = serde_json::from_str(&first).context("it did not start")?;
        let address = started["listening"].as_str().context("it listens")?;
        let address = format!("http://{address}");
        // Taken, so that nothing waits for it.
        thread::spawn(move || for _ in lines.lines() {});
        Ok(Agent { child, address })
    }

    /// A metric of the agent's own, without labels or with just these.
    fn metric(&self, series: &str) -> Result<f64> {
        let url = format!("{}/metrics", self.address);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {series}"))?.parse()?)
    }

    /// Waits until a metric is what it should be.
    fn until(&self, series: &str, wanted: impl Fn(f64) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(series)?;
            if wanted(value) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{series} stays at {value}");
            thread::sleep(Duration::from_millis(250));
        }
    }

    /// CPU time, seconds.
    fn cpu(&self) -> Result<f64> {
        self.metric("process_cpu_seconds_total")
    }

    fn holds(&self) -> Result<Holds> {
        Holds::of(self.child.id())
    }
}

/// Processes that end with their input; killed when dropped.
struct Programs(Vec<Child>);

impl Programs {
    /// The CPU time that all have taken, seconds.
    fn cpu(&self) -> Result<f64> {
        let mut ticks = 0;
        for child in &self.0 {
            let stat = Process::new(i32::try_from(child.id())?)?.stat()?;
            ticks += stat.utime + stat.stime;
        }
        Ok(ticks as f64 / procfs::ticks_per_second() as f64)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn begin(program: &Path, arguments: &[&str]) -> Result<Child> {
    Ok(Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?)
}

/// Lets short processes begin and end, several at a time.
fn churn(program: &Path, count: usize) -> Result<()> {
    let each = |worker: usize| -> Result<()> {
        for number in (worker..count).step_by(AT_ONCE) {
            let mut child = begin(program, &[])?;
            if number.is_multiple_of(FOLLOWED_OF) {
                thread::sleep(LIVES);
            }
            drop(child.stdin.take());
            child.wait()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| scope.spawn(move || each(worker)))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread that starts processes failed"),
            }
        }
        Ok(())
    })
}

/// Measures, prints, and fails where something grew that must not.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = workspace::shell()?;
    privilege::require_root(&shell, "agent-soak")?;
    let gotrace = workspace::build_gotrace(&shell)?;
    let programs: PathBuf = fixtures::build(&Toolchain::install(DEFAULT_VERSION)?)?;
    let mut agent = Agent::start(&gotrace, &options.level)?;
    let before = agent.metric("gotrace_agent_processes")? as usize;
    let mut long = Programs(Vec::new());
    ensure!(options.working <= options.long, "more work than there are");
    for _ in options.working..options.long {
        long.0.push(begin(&programs.join("hello"), &[])?);
    }
    let mut working = Programs(Vec::new());
    for _ in 0..options.working {
        let mut child = begin(&programs.join("load"), &WORK)?;
        let commands = child.stdin.as_mut().context("a pipe")?;
        commands.write_all(b"START\n")?;
        working.0.push(child);
    }
    let all = (before + options.long) as f64;
    agent.until("gotrace_agent_processes", |count| count >= all)?;
    agent.until("gotrace_agent_reads_total", |reads| reads >= 2.0 * all)?;
    let at_level = format!(
        "gotrace_agent_processes_at_level{{level=\"{}\"}}",
        options.level
    );
    agent.until(&at_level, |count| count >= options.long as f64)?;
    thread::sleep(REST);
    let (cpu, reads, began) = (
        agent.cpu()?,
        agent.metric("gotrace_agent_reads_total")?,
        Instant::now(),
    );
    let (worked, probed) = (working.cpu()?, probes(&agent)?);
    thread::sleep(Duration::from_secs(options.seconds));
    let elapsed = began.elapsed().as_secs_f64();
    let share = 100.0 * (agent.cpu()? - cpu) / elapsed;
    let reads = (agent.metric("gotrace_agent_reads_total")? - reads) / elapsed;
    let steady = agent.holds()?;
    let worked = working.cpu()? - worked;
    let probed = Probes::between(probed, probes(&agent)?);
    let at_level = agent.metric(&at_level)?;
    let (cpu, began) = (agent.cpu()?, Instant::now());
    churn(&programs.join("hello"), options.short)?;
    let busy_seconds = began.elapsed().as_secs_f64();
    let busy = 100.0 * (agent.cpu()? - cpu) / busy_seconds;
    let followed = agent.metric("gotrace_agent_processes_looked_at_total{outcome=\"followed\"}")?;
    agent.until("gotrace_agent_processes", |count| count <= all)?;
    thread::sleep(REST);
    let after = agent.holds()?;
    let lost = agent.metric("gotrace_agent_events_lost_total")?;
    let walks = agent.metric("gotrace_agent_walks_total")?;
    drop((long, working));
    let ended = Instant::now();
    let pid = agent.child.id().to_string();
    xshell::cmd!(shell, "kill -TERM {pid}").quiet().run()?;
    let status = agent.child.wait()?;
    let end = ended.elapsed();
    ensure!(status.success(), "the agent ended with {status}");
    let row = |what: &str, holds: &Holds| {
        format!(
            "| {what} | {:.1} | {} | {} | {} | {} | {} |\n",
            holds.resident_kib as f64 / 1024.0,
            holds.threads,
            holds.descriptors,
            holds.links,
            holds.programs,
            holds.maps
        )
    };
    let text = format!(
        "Written by `cargo xtask agent-soak{} --write`: {long} Go processes, of which {working} work (five times a second one goroutine has another one compute for 4 ms) and the others \
         wait, then {short} that begin and end, {AT_ONCE} at a time, of which every {FOLLOWED_OF}th lives for {} ms and the others are over at once. {}\n\n\
         | | resident MiB | threads | descriptors | BPF links | programs | maps |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         {}{}\n\
         - At rest it took **{share:.2} % of one CPU** for {reads:.1} reads a second.\n\
         - While {:.0} processes a second began and ended, it took {busy:.1} % of one CPU; {:.0} of them were followed, {lost} begins or ends \
         were lost, and all processes were listed {walks} times.\n\
         - It ended within {:.1} s of SIGTERM.\n",
        match options.level.as_str() {
            OBSERVE => String::new(),
            level => format!(" --level {level}"),
        },
        LIVES.as_millis(),
        machine(),
        row("before", &steady),
        row("after", &after),
        options.short as f64 / busy_seconds,
        followed - all,
        end.as_secs_f64(),
        long = options.long,
        working = options.working,
        short = options.short,
    );
    let (text, heading) = match options.level.as_str() {
        OBSERVE => (text, "## Numbers\n".to_owned()),
        level => {
            let text = format!(
                "{text}- All were asked for at `{level}`, and {at_level:.0} were at it in the end. At rest probes told {:.0} events a second, \
                 {:.0} events were lost; they took {:.2} % of the CPU time of those that work. Promise: at most {BUDGET} %.\n",
                probed.events / elapsed,
                probed.lost,
                100.0 * probed.seconds / worked,
            );
            (text, format!("## Numbers at `{level}`\n"))
        }
    };
    println!("{text}");
    if options.write {
        let path = workspace::root().join("docs/agent.md");
        let old = fs::read_to_string(&path)?;
        let (head, rest) = old.split_once(&heading).context("no place for numbers")?;
        let next = rest.find("\n## ").map_or("", |at| &rest[at..]);
        fs::write(&path, format!("{head}{heading}\n{text}{next}"))?;
    }
    for (what, was, is) in [
        ("threads", steady.threads, after.threads),
        (
            "descriptors",
            steady.descriptors as u64,
            after.descriptors as u64,
        ),
        ("links", steady.links as u64, after.links as u64),
        ("programs", steady.programs as u64, after.programs as u64),
        ("maps", steady.maps as u64, after.maps as u64),
    ] {
        ensure!(is <= was, "{what} grew from {was} to {is}");
    }
    ensure!(
        100.0 * probed.seconds <= BUDGET * worked,
        "probes took more than {BUDGET} %"
    );
    Ok(())
}

/// What probes did.
struct Probes {
    /// Events that they told.
    events: f64,
    /// Those that were lost.
    lost: f64,
    /// The CPU time that they took from processes.
    seconds: f64,
}

impl Probes {
    fn between(before: Probes, after: Probes) -> Probes {
        Probes {
            events: after.events - before.events,
            lost: after.lost - before.lost,
            seconds: after.seconds - before.seconds,
        }
    }
}

fn probes(agent: &Agent) -> Result<Probes> {
    Ok(Probes {
        events: agent.metric("gotrace_agent_probe_events_total")?,
        lost: agent.metric("gotrace_agent_probe_events_lost_total")?,
        seconds: agent.metric("gotrace_agent_probe_seconds_total")?,
    })
}

/// When and where it was measured.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed CPU", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{}, {cpus} CPUs ({model}), Linux {}.",
        date.unwrap_or_default(),
        kernel.trim()
    )
}
