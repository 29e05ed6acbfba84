//! `gotrace why GOID`.

use std::io::Write as _;

use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::detect::{Detector, Why};
use tracer_model::ids::Goid;

use super::Verdict;
use super::findings::{never_searched, passes, print_graph};
use super::oneshot::print_json;
use super::source::Source;
use crate::cli::{GraphFormat, WhyArgs};
use crate::document::graph::Graph;
use crate::document::why::Document;
use crate::failure::Failure;
use crate::text;

/// Explains one goroutine.
pub(super) fn why(args: &WhyArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open_searched(&args.source)?;
    let goid = Goid(args.goid);
    let options = ReadOptions {
        channels: ChannelScope::Stacks,
        ..ReadOptions::default()
    };
    let mut detector = Detector::new();
    let ((snapshot, why), made) = passes(source.is_live(), || {
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
    let Some(why) = why else {
        return Err(Failure::new(format!("there is no goroutine {goid}"))
            .because("it has ended, or never was")
            .next("list them with `gotrace goroutines`")
            .into());
    };
    match args.format {
        GraphFormat::Json | GraphFormat::Text => {
            let document = Document::new(
                source.info(),
                &why,
                &snapshot,
                made,
                source.symbols(),
                source.clock(),
            );
            if args.format == GraphFormat::Json {
                print_json(&document)?;
            } else {
                let mut out = anstream::stdout().lock();
                writeln!(out, "{}\n", source.heading(&snapshot))?;
                write!(out, "{}", text::why::render(&document))?;
            }
        }
        graph => print_graph(graph, &Graph::of_why(&why, &snapshot, source.symbols()))?,
    }
    Ok(Verdict::Clean)
}
