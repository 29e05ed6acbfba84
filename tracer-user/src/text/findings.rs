//! Findings, each with its chain and its evidence.

use std::fmt::Write as _;

use tracer_model::detect::{FindingKind, Verdict};
use tracer_model::wait::Direction;

use super::{ALARM, BOLD, DIM, NOTICE, count, goids, safe, styled};
use crate::document::findings::{ChainLink, Entry};
use crate::document::{WaitedDescriptor, WaitingOn};

/// How many ids a line shows.
const GOIDS: usize = 8;

/// Renders a finding, with a line break at the end.
pub(crate) fn render(entry: &Entry) -> String {
    let mut text = String::new();
    let kind = match entry.kind {
        FindingKind::Deadlock => "DEADLOCK",
        FindingKind::Leak => "LEAK",
        FindingKind::Stall => "STALL",
        FindingKind::Growth => "GROWTH",
        FindingKind::Backlog => "BACKLOG",
        FindingKind::Convoy => "CONVOY",
        FindingKind::Recursion => "RECURSION",
        FindingKind::Panic => "PANIC",
        FindingKind::Corrupt => "CORRUPT",
    };
    let style = if entry.verdict == Verdict::Proven {
        ALARM
    } else {
        NOTICE
    };
    let _ = writeln!(
        text,
        "{} {}: {} ({})",
        styled(style, format!("{kind} ({})", entry.verdict.name())),
        count(entry.goroutines.len(), "goroutine"),
        goids(&entry.goroutines, GOIDS),
        styled(DIM, &entry.id),
    );
    let _ = writeln!(text, "  {}", safe(&entry.reason));
    for (label, site) in [("created at", &entry.created_at), ("at", &entry.at)] {
        if let Some(site) = site {
            let _ = writeln!(
                text,
                "  {label} {}  {}:{}",
                safe(&site.function),
                safe(&site.file),
                site.line
            );
        }
    }
    for link in &entry.chain {
        render_link(&mut text, link);
    }
    for evidence in &entry.evidence {
        let _ = writeln!(
            text,
            "  {}",
            styled(DIM, format!("evidence: {}", safe(evidence)))
        );
    }
    if let Some(advice) = &entry.advice {
        let _ = writeln!(text, "  usual fix: {}", safe(advice));
    }
    text
}

fn render_link(text: &mut String, link: &ChainLink) {
    let _ = writeln!(
        text,
        "  {} {}",
        styled(BOLD, format!("goroutine {}", link.goid)),
        waits(&link.waits_on)
    );
    if let Some(site) = &link.site {
        let _ = writeln!(
            text,
            "      at {}  {}:{}",
            safe(&site.function),
            safe(&site.file),
            site.line
        );
    }
    if !link.held_by.is_empty() {
        let _ = writeln!(
            text,
            "      which only goroutine {} can end",
            goids(&link.held_by, GOIDS)
        );
    }
}

/// What somebody waits on, as a clause.
pub(crate) fn waits(on: &WaitingOn) -> String {
    let object = on.address().unwrap_or("nothing that can come");
    match (on.direction(), on.cases()) {
        (_, cases @ [_, ..]) => {
            let list: Vec<String> = cases.iter().map(waits).collect();
            format!("selects: {}", list.join("; "))
        }
        (Some(Direction::Send), _) => format!("waits to send on channel {object}"),
        (Some(Direction::Receive), _) => format!("waits to receive from channel {object}"),
        (None, _) => match on.descriptor() {
            Some(descriptor) => descriptor_text(descriptor),
            None => format!("waits on {} {object}", on.kind_name()),
        },
    }
}

fn descriptor_text(descriptor: &WaitedDescriptor) -> String {
    let mut text = format!("waits to {} descriptor {}", descriptor.mode, descriptor.fd);
    if let Some(file) = &descriptor.file {
        let _ = write!(text, ", {}", safe(&file.kind));
        if let Some(local) = &file.local {
            let _ = write!(text, " {}", safe(local));
        }
        if let Some(peer) = &file.peer {
            let _ = write!(text, " connected to {}", safe(peer));
        }
    }
    text
}
