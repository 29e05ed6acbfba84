//! This machine, with its own kernel and processor: the same programs say the same things here.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::parts::Parts;
use super::said::SAYS;

/// Runs all of it; what was said, which is shown as it comes.
pub(super) fn run(parts: &Parts, seconds: u64) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let mut say = |line: String| {
        println!("  {line}");
        said.push(line);
    };
    let answer = |command: &mut Command| -> Result<String> {
        let output = command.output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let kernel = answer(Command::new("uname").arg("-r"))?;
    say(format!("{SAYS}kernel {kernel}"));
    let doctor = answer(Command::new(&parts.gotrace).args(["doctor", "--format", "json"]))?;
    say(format!("{SAYS}doctor {}", doctor.replace('\n', "")));
    for (name, test) in &parts.tests {
        // One that hangs is killed.
        let mut child = Command::new("timeout")
            .arg(seconds.to_string())
            .arg(test)
            .arg("--test-threads=1")
            .env("GOTRACE_BIN", &parts.gotrace)
            .env("GOTRACE_FIXTURES", &parts.programs_home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", test.display()))?;
        let output = child.stdout.take().context("its output is a pipe")?;
        for line in BufReader::new(output).lines() {
            say(line?);
        }
        let code = child.wait()?.code().unwrap_or(-1);
        say(format!("{SAYS}exit {name} {code}"));
    }
    Ok(said)
}
