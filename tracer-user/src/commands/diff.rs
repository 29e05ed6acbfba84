//! `gotrace diff A B [C…]`.

use std::io::Write as _;
use std::path::PathBuf;

use tracer_model::detect::Finding;
use tracer_model::diff::{Profile, Thresholds, grown, outliers};
use tracer_model::snapshot::Snapshot;

use super::Verdict;
use super::findings::Look;
use super::oneshot::print_json;
use super::source::Source;
use crate::cli::{DiffArgs, Format, MomentArgs, SourceArgs};
use crate::document::diff::{Document, Side};
use crate::failure::Failure;
use crate::record::replay::when;
use crate::remote;
use crate::text;

/// A side that was looked at.
pub(super) struct Looked {
    name: String,
    pub(super) source: Source,
    pub(super) snapshot: Snapshot,
    /// `None` if nobody searched for who is stuck.
    findings: Option<Vec<Finding>>,
    created_per_second: Option<f64>,
}

impl Looked {
    /// Looks.
    ///
    /// # Errors
    /// A process cannot be read.
    pub(super) fn at(name: String, mut source: Source) -> Result<Looked, Failure> {
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

    /// It as numbers. `lines`: whether lines are compared.
    pub(super) fn profile(&self, lines: bool) -> Profile {
        let symbols = self.source.symbols();
        Profile {
            created_per_second: self.created_per_second,
            ..Profile::new(&self.snapshot, self.findings.as_deref(), symbols, lines)
        }
    }

    /// It without all that its profile was made of.
    pub(super) fn side(self, profile: Profile) -> Side {
        Side {
            time: self.source.clock().rfc3339(self.snapshot.finished),
            target: self.source.info().clone(),
            searched: self.findings.is_some(),
            name: self.name,
            profile,
        }
    }
}

/// What is different between two sides, or which of several is unlike the others.
pub(super) fn compare(sides: Vec<Side>, thresholds: &Thresholds) -> Document {
    let (grown, shrunk, outliers) = match &*sides {
        [] | [_] => (Vec::new(), Vec::new(), Vec::new()),
        [before, after] => (
            grown(&before.profile, &after.profile, thresholds),
            grown(&after.profile, &before.profile, thresholds),
            Vec::new(),
        ),
        several => {
            let profiles: Vec<&Profile> = several.iter().map(|side| &side.profile).collect();
            (Vec::new(), Vec::new(), outliers(&profiles, thresholds))
        }
    };
    Document {
        schema: Document::SCHEMA,
        sides,
        grown,
        shrunk,
        outliers,
    }
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
    let sides = looked.into_iter().map(|side| {
        let profile = side.profile(lines);
        side.side(profile)
    });
    let document = compare(sides.collect(), &args.counts.thresholds());
    match args.format {
        Format::Json => print_json(&document)?,
        Format::Text => write!(
            anstream::stdout().lock(),
            "{}",
            text::diff::render(&document)
        )?,
    }
    let fails = document.signs().any(|it| args.counts.fails_on(it.signal));
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
    let source = Source::open_searched(&side)?;
    Ok(Looked::at(name.to_owned(), source)?)
}
