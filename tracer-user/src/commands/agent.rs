//! `gotrace agent`: all Go processes of a node, until it is told to end.

use std::sync::Arc;

use tracer_golang::process::{ReadOptions, ktime_now};

use super::Verdict;
use super::run::Signals;
use crate::agent::cluster::Cluster;
use crate::agent::names;
use crate::agent::{Agent, Discovery, Levels, Opened, Selection, Settings};
use crate::cli::AgentArgs;
use crate::document::WallClock;
use crate::document::agent::Started;
use crate::failure::Failure;
use crate::kubernetes;
use crate::malloc;
use crate::otel::{self, NodeExporter};
use crate::sandbox;
use crate::serve::{self, Door};
use crate::trace::preflight::Host;

/// The first pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO): the kernel tells pids as they are there.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Follows until a signal comes.
pub(super) fn agent(args: &AgentArgs) -> anyhow::Result<Verdict> {
    malloc::give_large_pieces_back();
    let (runtime, mut signals) = Signals::listen()?;
    let selection = Selection::new(&args.name, &args.deny)?;
    let cluster = kubernetes::Config::new(&args.kubernetes)?;
    let otel = {
        let _inside = runtime.enter();
        otel::Config::from_environment()?
    };
    let door = Door::open(&args.serve)?;
    let host = Host::look();
    let discovery = match args.scan {
        Some(every) => {
            host.check_memory()?;
            Discovery::Scan(every)
        }
        None => {
            host.check_watch()?;
            check_namespace()?;
            Discovery::Kernel
        }
    };
    let opened = Opened::open(discovery)?;
    // All that needs more than the agent keeps is open, and no thread was started that would keep it.
    let sandbox = (!args.no_sandbox).then(sandbox::enter).transpose()?;
    let cluster = cluster.map(Cluster::start).transpose()?;
    let clock = WallClock::new(ktime_now());
    let node = args.kubernetes.node.clone();
    let otel = otel.map(|config| NodeExporter::start(config, clock, node.clone()));
    let otel = otel.transpose()?.flatten();
    let settings = Settings {
        discovery,
        interval: args.interval,
        trend_window: u64::try_from(args.trend_window.as_nanos()).unwrap_or(u64::MAX),
        cpu_share: args.cpu,
        options: ReadOptions {
            values: args.serve.values,
            redact: !args.serve.expose_values,
            ..ReadOptions::default()
        },
        selection,
        levels: Levels(args.level.clone()),
        budget: args.budget,
        node_budget: args.node_budget,
        names: match cluster.clone() {
            // The cluster knows better than the process.
            Some(cluster) => Arc::new(move |identity| {
                let names = cluster.names(identity);
                names.or_else(|| names::from_environment(identity))
            }),
            None => Arc::new(names::from_environment),
        },
        cluster: cluster.clone(),
        otel: otel.as_ref().map(NodeExporter::outlet),
        clock,
    };
    let started = Started {
        discovery: match discovery {
            Discovery::Kernel => "bpf",
            Discovery::Scan(_) => "scan",
        },
        interval_seconds: args.interval.as_secs_f64(),
        cpu_share: args.cpu,
        budget: args.budget,
        node_budget: args.node_budget,
        listening: door
            .as_ref()
            .and_then(Door::address)
            .map(|address| address.to_string()),
        tls: door.as_ref().is_some_and(Door::has_tls),
        node,
        sandbox,
    };
    let agent = Agent::start(settings, opened, &started)?;
    let server = door
        .map(|door| serve::start_agent(door, agent.pool()))
        .transpose();
    if server.is_ok() {
        runtime.block_on(signals.next());
    }
    // The threads are to end also if nothing can be served.
    let server = server.map(drop);
    agent.finish();
    if let Some(cluster) = cluster {
        cluster.finish();
    }
    if let Some(otel) = otel {
        otel.finish();
    }
    server?;
    Ok(Verdict::Clean)
}

/// Refuses where the kernel's pids are not those that /proc shows.
fn check_namespace() -> Result<(), Failure> {
    let own = std::fs::read_link("/proc/self/ns/pid");
    match own {
        Ok(own) if own.as_os_str() != FIRST_PID_NAMESPACE => {
            Err(Failure::new("the processes of this node cannot be seen from here")
                .because("gotrace runs in a pid namespace of its own")
                .next("run it in the host's (hostPID: true, --pid=host), or with --scan 10s to follow those of its own"))
        }
        _ => Ok(()),
    }
}
