//! `gotrace diff A B [C…]`.

use std::io::Write as _;
use std::path::PathBuf;

use tracer_model::detect::Finding;
use tracer_model::diff::{Profile, grown, outliers};
use tracer_model::snapshot::Snapshot;

use super::Verdict;
use super::findings::Look;
use super::oneshot::print_json;
use super::source::Source;
use crate::cli::{DiffArgs, Format, MomentArgs, SourceArgs};
use crate::document::diff::{Document, Side};
use crate::record::replay::when;
use crate::remote;
use crate::text;

/// A side that was looked at.
struct Looked {
    name: String,
    source: Source,
    snapshot: Snapshot,
    /// `None` if nobody searched for who is stuck.
    findings: Option<Vec<Finding>>,
    created_per_second: Option<f64>,
}

/// Compares two sides, or names the one of several that is unlike the others.
pub(super) fn diff(args: &DiffArgs) -> anyhow::Result<Verdict> {
    let looked = args
        .sides
        .iter()
        .map(|name| look(name, args))
        .collect::<anyhow::Result<Vec<Looked>>>()?;
    // Other builds have other lines.
    let mut builds = looked.iter().map(|side| &side.source.info().build_id);
    let first = builds.next();
    let lines = builds.all(|build| Some(build) == first);
    let profiles: Vec<Profile> = looked
        .iter()
        .map(|side| Profile {
            created_per_second: side.created_per_second,
            ..Profile::new(
                &side.snapshot,
                side.findings.as_deref(),
                side.source.symbols(),
                lines,
            )
        })
        .collect();
    let thresholds = args.thresholds();
    let (grown, shrunk, outliers) = match &*profiles {
        [before, after] => (
            grown(before, after, &thresholds),
            grown(after, before, &thresholds),
            Vec::new(),
        ),
        several => (Vec::new(), Vec::new(), outliers(several, &thresholds)),
    };
    let sides = looked
        .into_iter()
        .zip(profiles)
        .map(|(side, profile)| Side {
            time: side.source.clock().rfc3339(side.snapshot.finished),
            target: side.source.info().clone(),
            searched: side.findings.is_some(),
            name: side.name,
            profile,
        });
    let document = Document {
        schema: Document::SCHEMA,
        sides: sides.collect(),
        grown,
        shrunk,
        outliers,
    };
    match args.format {
        Format::Json => print_json(&document)?,
        Format::Text => write!(
            anstream::stdout().lock(),
            "{}",
            text::diff::render(&document)
        )?,
    }
    let fails = document.signs().any(|it| args.fails_on(it.signal));
    Ok(if fails {
        Verdict::Findings
    } else {
        Verdict::Clean
    })
}

/// Looks at what a name stands for: another gotrace, a pid, a file, or a moment of one (`FILE@-5s`).
fn look(name: &str, args: &DiffArgs) -> anyhow::Result<Looked> {
    let identity = args.identity.clone();
    let of_file = |file: &str, at| SourceArgs {
        from: Some(PathBuf::from(file)),
        moment: MomentArgs { at, identity },
        ..SourceArgs::default()
    };
    let side = match (name.parse().ok(), name.rsplit_once('@')) {
        (Some(pid), _) => SourceArgs {
            pid: Some(pid),
            ..SourceArgs::default()
        },
        _ if remote::is_url(name) => SourceArgs {
            url: Some(name.to_owned()),
            remote: args.remote.clone(),
            ..SourceArgs::default()
        },
        (None, Some((file, moment))) if let Ok(at) = when(moment) => of_file(file, Some(at)),
        _ => of_file(name, None),
    };
    let mut source = Source::open_searched(&side)?;
    let name = name.to_owned();
    if let Some(story) = source.story() {
        let searched = story.marked().is_some();
        let findings = story.findings().map(|tracked| tracked.finding.clone());
        return Ok(Looked {
            name,
            snapshot: story.snapshot(),
            findings: searched.then(|| findings.collect()),
            created_per_second: story.created_per_second(),
            source,
        });
    }
    let look = Look::of(&mut source)?;
    Ok(Looked {
        name,
        source,
        snapshot: look.snapshot,
        findings: Some(look.findings),
        created_per_second: None,
    })
}
