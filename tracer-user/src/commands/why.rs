//! `gotrace why GOID`.

use std::io::Write as _;
use std::time::Duration;

use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::detect::{Detector, Why};
use tracer_model::ids::Goid;
use tracer_model::snapshot::Snapshot;

use super::Verdict;
use super::findings::{never_searched, print_graph, searching};
use super::oneshot::print_json;
use super::source::Source;
use crate::cli::{GraphFormat, WhyArgs};
use crate::document::graph::Graph;
use crate::document::why::Document;
use crate::failure::Failure;
use crate::passes::{PATIENCE, passes};
use crate::text;

/// One goroutine, explained.
pub(super) struct Explained {
    pub(super) snapshot: Snapshot,
    why: Why,
    /// How many passes were made.
    made: usize,
}

impl Explained {
    pub(super) fn document<'a>(&'a self, source: &'a Source) -> Document<'a> {
        Document::new(
            source.info(),
            &self.why,
            &self.snapshot,
            self.made,
            source.symbols(),
            source.clock(),
        )
    }
}

/// Looks as often as it takes, but no longer than `patience`, or asks a recording.
///
/// # Errors
/// The process cannot be read, the recording does not know, or there is no such goroutine.
pub(super) fn explain(
    source: &mut Source,
    goid: Goid,
    patience: Duration,
) -> Result<Explained, Failure> {
    let options = ReadOptions {
        channels: ChannelScope::Stacks,
        ..ReadOptions::default()
    };
    let mut detector = Detector::new();
    let live = source.is_live();
    let _busy = live.then(searching);
    let ((snapshot, why), made) = passes(live, patience, || {
        if let Some(story) = source.story() {
            let snapshot = story.marked().cloned().ok_or_else(never_searched)?;
            return Ok(((snapshot, story.why(goid)), true));
        }
        let mut snapshot = source.snapshot(&options)?;
        source.find_reachable(&mut snapshot)?;
        let why = detector.pass_with_why(&snapshot, None, source.symbols(), goid);
        let settled = detector.is_settled() || !why.as_ref().is_some_and(Why::is_unsettled);
        Ok(((snapshot, why), settled))
    })?;
    match why {
        Some(why) => Ok(Explained {
            snapshot,
            why,
            made,
        }),
        None => Err(Failure::new(format!("there is no goroutine {goid}"))
            .because("it has ended, or never was")
            .next("list them with `gotrace goroutines`")),
    }
}

/// Explains one goroutine.
pub(super) fn why(args: &WhyArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open_searched(&args.source)?;
    let explained = explain(&mut source, Goid(args.goid), PATIENCE)?;
    let Explained { snapshot, why, .. } = &explained;
    match args.format {
        GraphFormat::Json => print_json(&explained.document(&source))?,
        GraphFormat::Text => {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}\n", source.heading(snapshot))?;
            write!(out, "{}", text::why::render(&explained.document(&source)))?;
        }
        graph => print_graph(graph, &Graph::of_why(why, snapshot, source.symbols()))?,
    }
    Ok(Verdict::Clean)
}

/// The same as text, without styles.
///
/// # Errors
/// The source cannot be read, or there is no such goroutine.
pub(super) fn told(source: &mut Source, goid: Goid) -> Result<String, Failure> {
    let explained = explain(source, goid, PATIENCE)?;
    let text = text::why::render(&explained.document(source));
    Ok(anstream::adapter::strip_str(&text).to_string())
}
