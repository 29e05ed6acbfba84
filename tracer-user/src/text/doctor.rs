//! What a host can do, a line each.

use std::fmt::Write as _;

use super::{ALARM, BOLD, DIM, NOTICE, safe, styled};
use crate::doctor::{Check, Document, Status};

/// Renders all checks.
pub(crate) fn render(document: &Document) -> String {
    let mut text = String::new();
    section(&mut text, "this host", &document.host);
    if !document.target_checks.is_empty() {
        text.push('\n');
        section(&mut text, "the target", &document.target_checks);
    }
    if !document.kubernetes.is_empty() {
        text.push('\n');
        section(&mut text, "this node, in a pod", &document.kubernetes);
    }
    text.push('\n');
    verdict(&mut text, "run", document.can_run);
    if let Some(can) = document.can_run_agent {
        verdict(&mut text, "agent", can);
    }
    text
}

fn verdict(text: &mut String, command: &str, can: bool) {
    let _ = match can {
        true => writeln!(text, "`gotrace {command}` can work here"),
        false => {
            let line = format!("`gotrace {command}` cannot work here: see what is missing");
            writeln!(text, "{}", styled(ALARM, &line))
        }
    };
}

fn section(text: &mut String, name: &str, checks: &[Check]) {
    let _ = writeln!(text, "{}", styled(BOLD, name));
    for check in checks {
        let style = match check.status {
            Status::Ok => DIM,
            Status::Warning => NOTICE,
            Status::Missing => ALARM,
        };
        let status = format!("{:<7}", check.status.name());
        let _ = writeln!(
            text,
            "  {}  {:<26} {}",
            styled(style, status),
            check.name,
            safe(&check.found)
        );
        if let Some(next) = &check.next {
            let _ = writeln!(text, "  {:<7}  {:<26} next: {}", "", "", safe(next));
        }
    }
}
