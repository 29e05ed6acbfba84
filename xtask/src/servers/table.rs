//! The results as Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Phase, Watched};

/// What the table in docs/servers.md stands between.
const BEGIN: &str = "<!-- written by cargo xtask servers -->\n";
const END: &str = "<!-- end -->\n";

/// A table of what was seen, and what each finding said.
pub(super) fn render(watched: &[Watched]) -> String {
    let mut text = String::from(
        "| server | from | Go | phase | goroutines | events | answers | looks | proven | likely | suspect | trends |\n\
         | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for of in watched {
        for phase in &of.phases {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} to {} | {} | {} | {} | {} | {} | {} | {} |",
                of.server.name,
                of.server.from,
                of.go_version,
                phase.name,
                phase.least,
                phase.most,
                phase.events,
                phase.requests,
                phase.looks,
                phase.count("proven"),
                phase.count("likely"),
                phase.count("suspect"),
                phase.trends(),
            );
        }
    }
    for of in watched {
        for phase in &of.phases {
            for finding in phase.findings.values() {
                let text_of = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
                let site = &finding["chain"][0]["site"];
                let _ = writeln!(
                    text,
                    "\n{}, {}: {} ({}), {}; at {} {}:{}",
                    of.server.name,
                    phase.name,
                    text_of("kind"),
                    text_of("verdict"),
                    text_of("reason"),
                    site["function"].as_str().unwrap_or("?"),
                    site["file"].as_str().unwrap_or("?"),
                    site["line"],
                );
            }
        }
    }
    text
}

/// Puts the tables into the document, in place of those before.
pub(super) fn write(path: &Path, tables: &str) -> Result<()> {
    let document = fs::read_to_string(path)?;
    let missing = || format!("{} has no place for the table", path.display());
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(fs::write(
        path,
        format!("{before}{BEGIN}\n{tables}\n{END}{after}"),
    )?)
}

impl Phase {
    /// Findings of a mark with this verdict.
    fn count(&self, verdict: &str) -> usize {
        let counts = |finding: &&serde_json::Value| {
            finding["verdict"] == verdict && finding["trend"].is_null()
        };
        self.findings.values().filter(counts).count()
    }

    fn trends(&self) -> usize {
        let trend = |finding: &&serde_json::Value| !finding["trend"].is_null();
        self.findings.values().filter(trend).count()
    }
}
