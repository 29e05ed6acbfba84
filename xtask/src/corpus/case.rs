//! One case: the process, gotrace's verdicts, and then the opinion of the process' own runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::field;

/// Nothing that a case does takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of the corpus.
pub(super) struct Case {
    pub(super) name: String,
    /// The class of bug, or of what looks like one.
    pub(super) class: String,
}

/// A goroutine's verdict, as gotrace spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Suspect,
    Likely,
    Proven,
}

/// What is true of a goroutine, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// What it does, for people.
    pub(super) role: String,
    /// Whether it can never run again.
    pub(super) stuck: bool,
    /// Why the runtime's profile cannot see that.
    pub(super) blind: Option<String>,
    pub(super) verdict: Option<Verdict>,
    /// Whether the runtime's profile has it; `None` where there is no such profile.
    pub(super) profile: Option<bool>,
}

/// One run of a case.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) goroutines: Vec<Judged>,
    /// What `gotrace leaks` took.
    pub(super) time: Duration,
}

/// The cases that a program has.
pub(super) fn list(program: &Path) -> Result<Vec<Case>> {
    let output = Command::new(program).arg("-list").output()?;
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line)?;
            Ok(Case {
                name: text_of(&value, "name")?,
                class: text_of(&value, "class")?,
            })
        })
        .collect()
}

/// Runs a case once.
pub(super) fn run(gotrace: &Path, program: &Path, name: &str) -> Result<Run> {
    let mut process = Process::start(program, name)?;
    let line = process.line()?;
    let ready = line.strip_prefix("READY ").context("it is not ready")?;
    let ready: Value = serde_json::from_str(ready)?;

    let started = Instant::now();
    let output = Command::new(gotrace)
        .args(["leaks", "--format", "json", "--pid"])
        .arg(process.child.id().to_string())
        .output()?;
    let time = started.elapsed();
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "gotrace failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let verdicts = verdicts(&serde_json::from_slice(&output.stdout)?)?;

    // Only now: the runtime marks the goroutines that it found.
    process.say("profile")?;
    let profile: Value = serde_json::from_str(&process.line()?)?;
    let profile: Option<BTreeSet<u64>> = profile
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_u64).collect());
    let goroutines = field(&ready, "goroutines")?
        .as_array()
        .context("goroutines is a list")?;
    let goroutines = goroutines
        .iter()
        .map(|goroutine| {
            let goid = field(goroutine, "goid")?.as_u64().context("no number")?;
            Ok(Judged {
                role: text_of(goroutine, "role")?,
                stuck: field(goroutine, "stuck")?.as_bool().context("no truth")?,
                blind: Some(text_of(goroutine, "blind")?).filter(|why| !why.is_empty()),
                verdict: verdicts.get(&goid).copied(),
                profile: profile.as_ref().map(|profile| profile.contains(&goid)),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Run { goroutines, time })
}

/// The verdicts of a document of `gotrace leaks`, by goid.
fn verdicts(document: &Value) -> Result<BTreeMap<u64, Verdict>> {
    let mut verdicts = BTreeMap::new();
    let findings = field(document, "findings")?.as_array();
    for finding in findings.context("findings is a list")? {
        let verdict = match text_of(finding, "verdict")?.as_str() {
            "proven" => Verdict::Proven,
            "likely" => Verdict::Likely,
            "suspect" => Verdict::Suspect,
            other => bail!("there is no verdict {other:?}"),
        };
        let less = match verdict {
            Verdict::Proven => Verdict::Likely,
            Verdict::Likely | Verdict::Suspect => Verdict::Suspect,
        };
        for (list, verdict) in [("goroutines", verdict), ("unconfirmed", less)] {
            let goids = finding.get(list).and_then(Value::as_array);
            for goid in goids.into_iter().flatten().filter_map(Value::as_u64) {
                let known = verdicts.entry(goid).or_insert(verdict);
                *known = verdict.max(*known);
            }
        }
    }
    Ok(verdicts)
}

fn text_of(value: &Value, name: &str) -> Result<String> {
    let text = field(value, name)?.as_str();
    Ok(text
        .with_context(|| format!("{name} is no text"))?
        .to_owned())
}

/// The process of a case; it ends with this value.
struct Process {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
}

impl Process {
    fn start(program: &Path, name: &str) -> Result<Process> {
        let mut child = Command::new(program)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output is a pipe")?;
        Ok(Process {
            lines: lines(output),
            child,
        })
    }

    fn line(&mut self) -> Result<String> {
        let line = self.lines.recv_timeout(PATIENCE);
        Ok(line.context("it says nothing more")??)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its input is a pipe")?;
        Ok(writeln!(input, "{line}")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, for one who does not wait for ever.
fn lines(output: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdicts};
    use serde_json::json;

    #[test]
    fn the_unconfirmed_are_less_sure() {
        let document = json!({"findings": [
            {"verdict": "proven", "goroutines": [7, 8], "unconfirmed": [9]},
            {"verdict": "suspect", "goroutines": [1], "unconfirmed": []},
        ]});
        let found: Vec<_> = verdicts(&document).unwrap().into_iter().collect();
        assert_eq!(
            found,
            [
                (1, Verdict::Suspect),
                (7, Verdict::Proven),
                (8, Verdict::Proven),
                (9, Verdict::Likely),
            ]
        );
    }
}
