//! Where what a trace says is shown.

use std::io::Write as _;

use crate::cli::Format;
use crate::document::run::{Attached, Line, Stamped};
use crate::text;
use crate::trace::story::Output;

/// Where what the pipeline says is written: text for people or one JSON object a line.
pub(super) struct Screen {
    format: Format,
    voice: Voice,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// All of it.
    Full,
    /// Text has no summaries and no report.
    Quiet,
    /// What the user should know alone, to standard error: standard output is somebody else's.
    Warnings,
}

impl Screen {
    pub(super) const fn new(format: Format, voice: Voice) -> Self {
        Self { format, voice }
    }

    pub(super) fn attached(&mut self, attached: &Attached) -> anyhow::Result<()> {
        if self.voice == Voice::Warnings {
            return Ok(());
        }
        match self.format {
            Format::Json => self.line(Line::Attached(attached)),
            Format::Text => self.text(&text::run::attached(attached)),
        }
    }

    pub(super) fn show(&mut self, output: &Output) -> anyhow::Result<()> {
        if self.voice == Voice::Warnings {
            if let Output::Warning(message) = output {
                tracing::warn!("{message}");
            }
            return Ok(());
        }
        match (self.format, output) {
            (Format::Json, Output::Summary(summary)) => self.line(Line::Summary(summary)),
            (Format::Json, Output::Finding(finding)) => self.line(Line::Finding { finding }),
            (Format::Json, Output::Resolved(id)) => self.line(Line::Resolved { id }),
            (
                Format::Json,
                Output::Governor {
                    time,
                    reason,
                    governor,
                },
            ) => self.line(Line::Governor {
                time,
                reason,
                governor,
            }),
            (
                Format::Text,
                Output::Governor {
                    reason, governor, ..
                },
            ) => self.text(&text::run::governor(governor, reason)),
            (Format::Json, Output::Warning(message)) => self.line(Line::Warning { message }),
            (Format::Json, Output::Report(report)) => self.line(Line::Report(report)),
            (Format::Text, Output::Summary(_) | Output::Report(_))
                if self.voice == Voice::Quiet =>
            {
                Ok(())
            }
            (Format::Text, Output::Summary(summary)) => self.text(&text::run::summary(summary)),
            (Format::Text, Output::Finding(finding)) => self.text(&text::findings::render(finding)),
            (Format::Text, Output::Resolved(id)) => self.text(&text::run::resolved(id)),
            (Format::Text, Output::Warning(message)) => self.note(message),
            (Format::Text, Output::Report(report)) => self.text(&text::run::report(report)),
        }
    }

    /// A remark that belongs to no document.
    pub(super) fn note(&mut self, message: &str) -> anyhow::Result<()> {
        if self.voice == Voice::Warnings {
            tracing::warn!("{message}");
            return Ok(());
        }
        match self.format {
            Format::Json => self.line(Line::Warning { message }),
            Format::Text => self.text(&text::run::note(message)),
        }
    }

    fn line(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let mut bytes = serde_json::to_vec(&Stamped::from(line))?;
        bytes.push(b'\n');
        out.write_all(&bytes)?;
        out.flush()?;
        Ok(())
    }

    fn text(&mut self, text: &str) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}", text.trim_end_matches('\n'))?;
        out.flush()?;
        Ok(())
    }
}
