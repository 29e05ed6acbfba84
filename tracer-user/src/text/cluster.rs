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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tracer_model::diff::{About, Difference, Kind, Outlier, Place, Profile, Signal};

    use super::*;
    use crate::document::cluster::{Agent, Refused, Unseen};
    use crate::document::{Target, diff};

    fn name(pod: &str) -> PodName {
        PodName {
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
        }
    }

    fn process(pod: &str, pid: u32) -> Process {
        Process {
            node: format!("node-{pid}"),
            name: name(pod),
            container: "app".to_owned(),
            workload: "Deployment/cart".to_owned(),
            pid,
            process: "cart".to_owned(),
            build_id: "b1".to_owned(),
            goroutines: 1234,
            findings: 2,
            file: None,
            bytes: None,
            failed: None,
        }
    }

    fn side(pod: &str, goroutines: u64, growth: Option<f64>) -> diff::Side {
        diff::Side {
            name: pod.to_owned(),
            target: Target {
                pid: 1,
                exe: PathBuf::from("/cart"),
                replaced: false,
                build_id: "b1".to_owned(),
                go_version: "go1.27.3".to_owned(),
                arch: "amd64".to_owned(),
                main: None,
                stripped: false,
                pie: false,
                layout: "table".to_owned(),
                layout_assumed: false,
            },
            time: String::new(),
            profile: Profile {
                goroutines,
                growth,
                ..Profile::default()
            },
            searched: true,
        }
    }

    fn render(survey: &Survey, comparisons: Option<&[Comparison]>) -> String {
        let text = super::render(&Document {
            schema: Document::SCHEMA,
            survey,
            comparisons,
        });
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn who_is_unlike_the_others_is_said_with_what_and_where() {
        let place = |function: &str| Place {
            function: function.to_owned(),
            line: None,
        };
        let growth = Difference {
            signal: Signal::Growth,
            about: About::Goroutines(Kind {
                place: place("main.fetch"),
                doing: "chan send".to_owned(),
                created_at: place("main.quote"),
            }),
            usual: 0.0,
            here: 30.4,
        };
        let comparison = Comparison {
            namespace: "shop".to_owned(),
            workload: "Deployment/cart".to_owned(),
            container: "app".to_owned(),
            process: "cart".to_owned(),
            replicas: vec![0, 2, 1],
            growth_seconds: Some(2.5),
            diff: diff::Document {
                schema: diff::Document::SCHEMA,
                sides: vec![
                    side("cart-a", 20, Some(0.0)),
                    side("cart-c", 21, None),
                    side("cart-b", 1520, Some(30.4)),
                ],
                grown: Vec::new(),
                shrunk: Vec::new(),
                outliers: vec![Outlier {
                    side: 2,
                    differences: vec![growth],
                }],
            },
        };
        let survey = Survey {
            pods: 3,
            processes: vec![
                process("cart-a", 1),
                process("cart-b", 2),
                process("cart-c", 3),
            ],
            ..Survey::default()
        };
        insta::assert_snapshot!("compared", render(&survey, Some(&[comparison])));
    }

    #[test]
    fn what_was_not_seen_is_said() {
        let mut survey = Survey {
            pods: 5,
            agents: vec![Agent {
                node: "node-9".to_owned(),
                name: name("gotrace-x"),
                failed: Some("no answer in 5 s\x1b[2J".to_owned()),
            }],
            processes: vec![process("cart-a", 1), process("cart-b", 2)],
            unseen: vec![Unseen {
                name: name("cart-d"),
                node: None,
                why: "it is on no node yet".to_owned(),
            }],
            not_followed: vec![name("cart-e")],
            refused: vec![Refused {
                node: "node-1".to_owned(),
                name: name("cart-a"),
                container: "proxy".to_owned(),
                pid: 7,
                reason: "version".to_owned(),
                why: "built by Go 1.8".to_owned(),
            }],
        };
        survey.processes[0].file = Some(PathBuf::from("replicas/a.gosnap"));
        survey.processes[0].bytes = Some(1_000_000);
        survey.processes[1].failed = Some("status 404: it has ended".to_owned());
        insta::assert_snapshot!("unseen", render(&survey, None));
    }
}
