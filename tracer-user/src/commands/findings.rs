//! `gotrace deadlocks` and `gotrace leaks` of a process or a saved snapshot.

use std::io::Write as _;

use tracer_golang::process::ReadOptions;
use tracer_model::detect::{Detector, Finding, Verdict as Sureness, Waiting};
use tracer_model::snapshot::Snapshot;

use super::Verdict;
use super::oneshot::{print_errors, print_json};
use super::source::Source;
use crate::cli::{DeadlocksArgs, GraphFormat, LeaksArgs, ReportArgs, SourceArgs};
use crate::document::graph::Graph;
use crate::document::{self, SnapshotInfo, leaks};
use crate::failure::Failure;
use crate::passes::{PATIENCE, passes};
use crate::progress::Busy;
use crate::text;
use crate::trace::story::Story;

/// What one look, or the last of several, saw.
#[derive(Default)]
pub(super) struct Look {
    pub(super) snapshot: Snapshot,
    pub(super) findings: Vec<Finding>,
    /// The waits in the chains of the findings.
    pub(super) waits: Vec<Waiting>,
}

impl Look {
    /// Reads the source and asks the detector.
    ///
    /// # Errors
    /// The process cannot be read.
    pub(super) fn take(source: &mut Source, detector: &mut Detector) -> Result<Look, Failure> {
        let mut snapshot = source.snapshot(&ReadOptions::default())?;
        source.find_reachable(&mut snapshot)?;
        let (findings, waits) = detector.pass_with_waits(&snapshot, None, source.symbols());
        Ok(Look {
            snapshot,
            findings,
            waits,
        })
    }

    /// Makes as many passes as it takes, or gives what a recording says.
    ///
    /// # Errors
    /// The process cannot be read, or the recording does not know.
    pub(super) fn of(source: &mut Source) -> Result<Look, Failure> {
        if let Some(story) = source.story() {
            return Look::told(story);
        }
        let mut detector = Detector::new();
        let live = source.is_live();
        let _busy = live.then(searching);
        let (look, _) = passes(live, PATIENCE, || {
            let look = Look::take(source, &mut detector)?;
            let settled = is_settled(&detector, &look);
            Ok((look, settled))
        })?;
        Ok(look)
    }

    /// What a recording says of its last search of memory.
    fn told(story: &Story) -> Result<Look, Failure> {
        let snapshot = story.marked().cloned().ok_or_else(never_searched)?;
        let findings = story.findings();
        Ok(Look {
            snapshot,
            findings: findings.map(|tracked| tracked.finding.clone()).collect(),
            waits: story.waits().to_vec(),
        })
    }

    /// Whether a finding is as sure as that, or surer.
    pub(super) fn has(&self, least: Sureness) -> bool {
        self.findings.iter().any(|finding| finding.verdict >= least)
    }
}

/// Whether no further pass can make anything surer.
pub(super) fn is_settled(detector: &Detector, look: &Look) -> bool {
    detector.is_settled() && look.findings.iter().all(Finding::is_settled)
}

/// Until then memory was not searched for what is reachable.
pub(super) fn never_searched() -> Failure {
    Failure::new("the recording cannot tell who is stuck")
        .because("by that time memory had not been searched for what is reachable")
        .next("give a later time with --at")
}

/// Says that memory is searched, if that takes long.
pub(super) fn searching() -> Busy {
    Busy::with("searching memory for who is stuck")
}

/// `gotrace deadlocks`.
pub(super) fn deadlocks(args: &DeadlocksArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open_searched(&args.source)?;
    let look = Look::of(&mut source)?;
    let entries = entries(&look, &source);
    match args.report.format {
        GraphFormat::Json => print_json(&document(&look, &source, &entries))?,
        GraphFormat::Text => {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}\n", source.heading(&look.snapshot))?;
            print_findings(&mut out, &entries)?;
            print_errors(&mut out, &look.snapshot)?;
        }
        graph => print_graph(graph, &graph_of(&look, &source))?,
    }
    Ok(verdict(&look, args.report))
}

/// `gotrace leaks` without a command.
pub(super) fn leaks(args: &LeaksArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open_searched(&SourceArgs {
        pid: args.source.pid,
        name: args.source.name.clone(),
        from: args.source.from.clone(),
        url: args.source.url.clone(),
        remote: args.source.remote.clone(),
        moment: args.source.moment.clone(),
    })?;
    let look = Look::of(&mut source)?;
    print_leaks(&look, &source, args.report, None)?;
    Ok(verdict(&look, args.report))
}

/// Shows where goroutines are stuck and why, and how a command went that was started.
pub(super) fn print_leaks(
    look: &Look,
    source: &Source,
    report: ReportArgs,
    command: Option<&leaks::Command>,
) -> anyhow::Result<()> {
    let entries = entries(look, source);
    let places = leaks::places(&look.findings, &look.snapshot, source.symbols());
    match report.format {
        GraphFormat::Json => print_json(&leaks::Document {
            findings: document(look, source, &entries),
            sites: &places,
            command,
        })?,
        GraphFormat::Text => {
            let mut out = anstream::stdout().lock();
            if command.is_none_or(|command| command.looks > 0) {
                writeln!(out, "{}", source.heading(&look.snapshot))?;
            }
            if let Some(command) = command {
                write!(out, "{}", text::leaks::command(command))?;
            }
            writeln!(out)?;
            if !places.is_empty() {
                writeln!(out, "{}", text::leaks::places(&places))?;
            }
            print_findings(&mut out, &entries)?;
            print_errors(&mut out, &look.snapshot)?;
            let least = report.fail_on.into();
            writeln!(out, "{}", text::leaks::outcome(look.has(least), least))?;
        }
        graph => print_graph(graph, &graph_of(look, source))?,
    }
    Ok(())
}

fn verdict(look: &Look, report: ReportArgs) -> Verdict {
    match look.has(report.fail_on.into()) {
        true => Verdict::Findings,
        false => Verdict::Clean,
    }
}

fn entries(look: &Look, source: &Source) -> Vec<document::findings::Entry> {
    look.findings
        .iter()
        .map(|finding| document::findings::Entry::new(finding, source.symbols()))
        .collect()
}

fn document<'a>(
    look: &'a Look,
    source: &'a Source,
    entries: &'a [document::findings::Entry],
) -> document::findings::Document<'a> {
    document::findings::Document {
        schema: document::findings::SCHEMA,
        target: source.info(),
        snapshot: Some(SnapshotInfo::new(&look.snapshot, source.clock())),
        findings: entries,
        errors: &look.snapshot.errors,
    }
}

/// The wait-for graph of what was found.
pub(super) fn graph_of(look: &Look, source: &Source) -> Graph {
    Graph::of_waits(&look.waits, &look.snapshot, source.symbols())
}

/// Writes a graph in the language that was asked for.
///
/// # Errors
/// Standard output cannot be written to.
pub(super) fn print_graph(format: GraphFormat, graph: &Graph) -> std::io::Result<()> {
    let text = match format {
        GraphFormat::Mermaid => text::graph::mermaid(graph),
        GraphFormat::Dot | GraphFormat::Text | GraphFormat::Json => text::graph::dot(graph),
    };
    std::io::stdout().lock().write_all(text.as_bytes())
}

fn print_findings(
    out: &mut impl std::io::Write,
    entries: &[document::findings::Entry],
) -> std::io::Result<()> {
    if entries.is_empty() {
        writeln!(
            out,
            "No goroutine is deadlocked or leaked, as far as memory tells."
        )?;
    }
    for entry in entries {
        writeln!(out, "{}", text::findings::render(entry))?;
    }
    Ok(())
}
