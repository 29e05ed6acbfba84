//! What a machine said, and what that means.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Begins a line that is for us; a word and a text follow.
pub(super) const SAYS: &str = "@@vm ";

/// What came of one machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// What `uname -r` said there.
    pub(super) kernel: String,
    /// What `gotrace doctor` said there: name, status, what was found.
    pub(super) checks: Vec<(String, String, String)>,
    /// Files of tests, in the order in which they ran.
    pub(super) files: Vec<File>,
}

/// What came of a file of tests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) passed: usize,
    /// Names of tests.
    pub(super) failed: Vec<String>,
}

impl Cell {
    /// Understands it.
    ///
    /// # Errors
    /// It said nothing of its kernel, or a file of `tests` did not come to its end, or ended otherwise than its tests.
    pub(super) fn read(said: &[String], tests: &[&str]) -> Result<Cell> {
        let of_machine = |word: &str| {
            let mut words = said.iter().filter_map(|line| line.strip_prefix(SAYS));
            words.find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        };
        let kernel = of_machine("kernel").context("the machine did not come to its init")?;
        let doctor = of_machine("doctor").context("gotrace doctor said nothing there")?;
        let files: Result<Vec<File>> = tests.iter().map(|name| file(said, name)).collect();
        Ok(Cell {
            kernel: kernel.to_owned(),
            checks: checks(doctor)?,
            files: files?,
        })
    }
}

/// The files of tests that came to their end.
pub(super) fn files(said: &[String]) -> Vec<&str> {
    let ended = said
        .iter()
        .filter_map(|line| line.strip_prefix(SAYS)?.strip_prefix("exit "));
    ended.filter_map(|ended| ended.split(' ').next()).collect()
}

fn checks(doctor: &str) -> Result<Vec<(String, String, String)>> {
    let document: Value = serde_json::from_str(doctor)
        .with_context(|| format!("gotrace doctor said no document there: {doctor}"))?;
    let checks = document["host"].as_array().context("it has no checks")?;
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = checks.iter().map(|check| {
        (
            text(check, "name"),
            text(check, "status"),
            text(check, "found"),
        )
    });
    Ok(checks.collect())
}

/// What was said between the end of the file before and the end of this one.
fn file(said: &[String], name: &str) -> Result<File> {
    let end = |line: &&String| line.starts_with(&format!("{SAYS}exit "));
    let code = |line: &str| {
        let of_it = line.strip_prefix(SAYS)?.strip_prefix("exit ")?;
        of_it
            .strip_prefix(name)?
            .strip_prefix(' ')
            .map(str::to_owned)
    };
    let last = said.iter().position(|line| code(line).is_some());
    let last = last.with_context(|| format!("{name} did not come to its end"))?;
    let first = said[..last].iter().rposition(|line| end(&line));
    let lines = &said[first.map_or(0, |before| before + 1)..last];
    // What the kernel prints may stand between a test's name and what came of it, so the names of those that failed
    // are taken from the list at the end, and the numbers from the last line.
    let result = lines
        .iter()
        .find_map(|line| line.strip_prefix("test result: ")?.split_once(". "));
    let (_, numbers) = result.with_context(|| format!("{name} told no result"))?;
    let number = |what: &str| {
        let part = numbers.split("; ").find_map(|part| part.strip_suffix(what));
        part.and_then(|number| number.trim().parse::<usize>().ok())
            .with_context(|| format!("{name}: not understood: {numbers}"))
    };
    let (passed, failed) = (number("passed")?, number("failed")?);
    let names = lines
        .iter()
        .rev()
        .skip_while(|line| !line.starts_with("    "))
        .map_while(|line| line.strip_prefix("    "))
        .map(str::to_owned);
    let names: Vec<String> = names.take(failed).collect();
    ensure!(
        names.len() == failed,
        "{name}: {failed} failed, not {names:?}"
    );
    let code = code(&said[last]).unwrap_or_default();
    ensure!(passed + failed > 0, "{name}: no test ran");
    ensure!(
        (code == "0") == (failed == 0),
        "{name} ended with {code}, and {failed} tests failed"
    );
    Ok(File {
        name: name.to_owned(),
        passed,
        failed: names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const GOOD: &str = r#"[    0.1] some words of the kernel
@@vm kernel 6.1.0-56-cloud-arm64
@@vm doctor {"schema":"gotrace.doctor/1","host":[{"name":"kernel","status":"ok","found":"Linux 6.1.0"}]}
running 2 tests
test a ... [   12.3] something comes between
ok
test b ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
@@vm exit main_job 0
running 2 tests
test c ... FAILED
test d ... ok

failures:

failures:
    c

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

@@vm exit exact 101
"#;

    #[test]
    fn what_a_machine_said_is_understood() {
        let cell = Cell::read(&said(GOOD), &["main_job", "exact"]).unwrap();
        assert_eq!(cell.kernel, "6.1.0-56-cloud-arm64");
        let [check] = &cell.checks[..] else {
            panic!("{cell:?}");
        };
        assert_eq!(
            (&*check.0, &*check.1, &*check.2),
            ("kernel", "ok", "Linux 6.1.0")
        );
        assert_eq!(files(&said(GOOD)), ["main_job", "exact"]);
        let [main_job, exact] = &cell.files[..] else {
            panic!("{cell:?}");
        };
        assert_eq!((main_job.passed, &main_job.failed[..]), (2, &[][..]));
        assert_eq!((exact.passed, &*exact.failed[0]), (1, "c"));
    }

    #[test]
    fn who_did_not_come_to_the_end_has_no_result() {
        for (from, to) in [
            ("@@vm kernel", "@@v"),
            ("@@vm doctor", "@@v"),
            ("\"host\"", "\"hos"),
            ("@@vm exit main_job 0", ""),
            ("@@vm exit main_job 0", "@@vm exit main_job 139"),
            ("test result: ok. 2 passed", ""),
            ("    c\n", ""),
            ("exit exact 101", "exit exact 0"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let told = Cell::read(&said(&GOOD.replacen(from, to, 1)), &["main_job", "exact"]);
            assert!(told.is_err(), "without {from}: {told:?}");
        }
    }
}
