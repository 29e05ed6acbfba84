//! `gotrace dap`: what a session of the debug adapter asks, answered as the one-shot commands do.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::detect::Detector;
use tracer_model::ids::Goid;
use tracer_model::snapshot::Snapshot;
use tracer_model::symbol::Symbolizer;

use super::Verdict;
use super::findings::{Look as Pass, is_settled, never_searched};
use super::source::Source;
use super::why::explain;
use crate::cli::{DapArgs, SourceArgs};
use crate::dap::config::{Config, Policy};
use crate::dap::look::{Attacher, Look, Target};
use crate::dap::{peer, serve};
use crate::document::WallClock;
use crate::failure::Failure;
use crate::passes::passes;
use crate::text;
use crate::trace::story::Story;

/// How long a snapshot may look again and again for a proof of who is stuck: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves the client on standard input and output, or whoever connects.
pub(super) fn dap(args: &DapArgs) -> anyhow::Result<Verdict> {
    let policy = Policy {
        exposed: args.insecure_listen,
        redact: args.redact || args.insecure_listen && !args.expose_values,
    };
    let Some(address) = args.listen else {
        serve::on_stdio(&Opener, policy).map_err(|error| {
            Failure::new("the client on standard input cannot be understood")
                .because(error)
                .next(
                    "let an editor start `gotrace dap`, or give --listen ADDR to serve connections",
                )
        })?;
        return Ok(Verdict::Clean);
    };
    if !address.ip().is_loopback() && !args.insecure_listen {
        return Err(Failure::new(format!("refused to listen on {address}"))
            .because("others can reach it, and the protocol has neither a token nor TLS")
            .next(
                "listen on 127.0.0.1 and come by `ssh -L`, or give --insecure-listen if something else keeps others away",
            )
            .into());
    }
    let listener = TcpListener::bind(address).map_err(|error| {
        Failure::new(format!("cannot listen on {address}"))
            .because(error)
            .next("give another address with --listen (port 0 takes a free one)")
    })?;
    let mut out = anstream::stdout().lock();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    drop(out);
    let everybody = args.insecure_listen;
    serve::on_connections(&listener, &Opener, policy, |stream| match everybody {
        true => Ok(()),
        false => peer::check(stream),
    });
    Ok(Verdict::Clean)
}

/// Opens whatever the one-shot commands can look at.
struct Opener;

impl Attacher for Opener {
    fn attach(&self, config: &Config) -> anyhow::Result<Box<dyn Target>> {
        let args = &config.source;
        let source = SourceArgs {
            pid: args.pid,
            name: args.name.clone(),
            from: args.from.clone(),
            url: args.url.clone(),
            remote: args.remote.clone(),
            moment: args.moment.clone(),
        };
        Ok(Box::new(Program {
            opened: Source::open(&source)?,
            source,
            options: config.options.clone(),
            findings: config.findings,
        }))
    }
}

/// What a session is attached to.
struct Program {
    opened: Source,
    source: SourceArgs,
    options: ReadOptions,
    /// Whether a snapshot searches for who is stuck.
    findings: bool,
}

impl Program {
    /// Another gotrace sends a snapshot of now whenever it is asked.
    fn ask_again(&mut self) -> anyhow::Result<()> {
        if self.source.url.is_some() {
            self.opened = Source::open(&self.source)?;
        }
        Ok(())
    }

    /// Reads memory until nothing is left to be proven, or it has been long enough; then once with all that
    /// is to be shown, so that findings, stacks and values are of the same moment.
    fn look_live(&mut self) -> Result<Look, Failure> {
        let mut detector = Detector::new();
        if self.findings {
            passes(true, PATIENCE, || {
                let pass = Pass::take(&mut self.opened, &mut detector)?;
                let settled = is_settled(&detector, &pass);
                Ok((pass, settled))
            })?;
        }
        let mut snapshot = self.opened.snapshot(&self.options)?;
        let findings = match self.findings {
            true => {
                self.opened.find_reachable(&mut snapshot)?;
                Ok(detector.pass(&snapshot, None, self.opened.symbols()))
            }
            false => Err("the launch configuration says not to search (`findings`)".to_owned()),
        };
        Ok(Look {
            snapshot,
            findings,
            unsure: Vec::new(),
        })
    }
}

/// What a recording says of its moment.
fn told(story: &Story) -> Look {
    let findings = match story.marked() {
        Some(_) => Ok(story.findings().map(|it| it.finding.clone()).collect()),
        None => Err(never_searched().to_string()),
    };
    Look {
        snapshot: story.snapshot(),
        findings,
        unsure: story.unsure(),
    }
}

impl Target for Program {
    fn process(&self) -> (u32, String) {
        let info = self.opened.info();
        let name = info.exe.file_name().unwrap_or_default();
        let name = text::safe(&name.to_string_lossy()).into_owned();
        (info.pid, name)
    }

    fn is_live(&self) -> bool {
        self.opened.is_live()
    }

    fn has_ended(&self) -> bool {
        self.opened.has_ended()
    }

    fn glance(&mut self) -> anyhow::Result<Snapshot> {
        self.ask_again()?;
        Ok(self.opened.snapshot(&ReadOptions {
            max_frames: self.options.max_frames,
            channels: ChannelScope::None,
            ..ReadOptions::default()
        })?)
    }

    fn look(&mut self) -> anyhow::Result<Look> {
        self.ask_again()?;
        match self.opened.story() {
            Some(story) => Ok(told(story)),
            None => Ok(self.look_live()?),
        }
    }

    fn why(&mut self, goid: Goid) -> anyhow::Result<String> {
        self.ask_again()?;
        let explained = explain(&mut self.opened, goid, PATIENCE)?;
        let heading = self.opened.heading(&explained.snapshot);
        let document = explained.document(&self.opened);
        Ok(format!("{heading}\n\n{}", text::why::render(&document)))
    }

    fn heading(&self, snapshot: &Snapshot) -> String {
        self.opened.heading(snapshot)
    }

    fn symbols(&self) -> &dyn Symbolizer {
        self.opened.symbols()
    }

    fn clock(&self) -> WallClock {
        self.opened.clock()
    }
}
