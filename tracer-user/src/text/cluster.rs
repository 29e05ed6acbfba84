//! What `gotrace cluster` prints for people.

use std::fmt::Write as _;

use super::diff::{blocked, differences, stack};
use super::{BOLD, NOTICE, count, safe, styled, table, thousands};
use crate::document::cluster::{Comparison, Document, PodName, Process, Survey};

/// The whole of it.
pub(crate) fn render(document: &Document<'_>) -> String {
    let survey = document.survey;
    let mut text = String::new();
    match document.comparisons {
        Some(comparisons) => {
            for comparison in comparisons {
                compared(&mut text, comparison, survey);
            }
        }
        None => files(&mut text, survey),
    }
    notices(&mut text, survey);
    let unseen = match survey.unseen.len() {
        0 => String::new(),
        unseen => format!(", {unseen} not seen"),
    };
    let _ = writeln!(
        text,
        "{}{unseen}; {}",
        count(survey.pods, "pod"),
        processes(survey.processes.len())
    );
    text
}

fn processes(number: usize) -> String {
    match number {
        1 => "1 Go process".to_owned(),
        number => format!("{} Go processes", thousands(number as u64)),
    }
}

fn files(text: &mut String, survey: &Survey) {
    let saved: Vec<&Process> = survey
        .processes
        .iter()
        .filter(|process| process.file.is_some())
        .collect();
    if saved.is_empty() {
        return;
    }
    let mut rows = table(&["FILE", "NODE", "PROGRAM", "GOROUTINES", "FINDINGS", "BYTES"]);
    for process in saved {
        let file = process.file.clone().unwrap_or_default();
        rows.add_row([
            safe(&file.display().to_string()).into_owned(),
            safe(&process.node).into_owned(),
            safe(&process.process).into_owned(),
            thousands(process.goroutines),
            thousands(process.findings),
            thousands(process.bytes.unwrap_or(0)),
        ]);
    }
    let _ = writeln!(text, "{rows}\n");
}

fn compared(text: &mut String, comparison: &Comparison, survey: &Survey) {
    let sides = &comparison.diff.sides;
    let heading = format!(
        "{} {}, {} in container {}: {}",
        safe(&comparison.namespace),
        safe(&comparison.workload),
        safe(&comparison.process),
        match &*comparison.container {
            "" => "(not known)".into(),
            container => safe(container),
        },
        count(sides.len(), "replica"),
    );
    let _ = writeln!(text, "{}", styled(BOLD, heading));
    let mut header = vec![
        "REPLICA",
        "NODE",
        "PID",
        "GOROUTINES",
        "BLOCKED",
        "CHANNELS",
        "FINDINGS",
        "STACK",
    ];
    let grew = comparison
        .growth_seconds
        .map(|seconds| format!("MORE IN {seconds} S"));
    header.extend(grew.as_deref());
    let mut rows = table(&header);
    for (side, index) in sides.iter().zip(&comparison.replicas) {
        let Some(process) = survey.processes.get(*index) else {
            continue;
        };
        let channels: u64 = side.profile.channels.values().map(|it| it.count).sum();
        let mut row = vec![
            safe(&side.name).into_owned(),
            safe(&process.node).into_owned(),
            process.pid.to_string(),
            thousands(side.profile.goroutines),
            blocked(&side.profile),
            thousands(channels),
            thousands(process.findings),
            stack(&side.profile),
        ];
        if grew.is_some() {
            let growth = side.profile.growth;
            row.push(growth.map_or("-".to_owned(), |growth| format!("{growth:+.0}")));
        }
        rows.add_row(row);
    }
    let _ = writeln!(text, "{rows}\n");
    match sides.len() {
        1 => text.push_str("There is no other one to compare it with.\n"),
        _ => differences(text, &comparison.diff),
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// What was not seen, and why.
fn notices(text: &mut String, survey: &Survey) {
    let pod = |name: &PodName| format!("{}/{}", safe(&name.namespace), safe(&name.pod));
    let agents = survey.agents.iter().filter_map(|agent| {
        let why = agent.failed.as_deref()?;
        let (node, name) = (safe(&agent.node), pod(&agent.name));
        Some(format!(
            "the agent {name} of {node} did not answer: {}",
            safe(why)
        ))
    });
    let unseen = survey
        .unseen
        .iter()
        .map(|unseen| format!("{} is not seen: {}", pod(&unseen.name), safe(&unseen.why)));
    let failed = survey
        .failed()
        .map(|(process, why)| format!("{}: no snapshot: {}", safe(&process.title()), safe(why)));
    let refused = survey.refused.iter().map(|refused| {
        format!(
            "{} {} (pid {} on {}) is refused by its agent: {} ({})",
            pod(&refused.name),
            safe(&refused.container),
            refused.pid,
            safe(&refused.node),
            safe(&refused.why),
            safe(&refused.reason),
        )
    });
    let not_followed = survey.not_followed.iter().map(|name| {
        let name = pod(name);
        format!("{name}: its agent follows no Go process of it")
    });
    let all = agents.chain(unseen).chain(failed).chain(refused);
    for line in all.chain(not_followed) {
        let _ = writeln!(text, "{}", styled(NOTICE, line));
    }
}
