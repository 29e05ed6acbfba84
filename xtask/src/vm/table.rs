//! The table of kernels and what each has: a column for each machine, made of what it said.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::said::{Cell, File};
use super::{Ran, TESTS};

const BEGIN: &str = "<!-- written by cargo xtask vm -->\n";
const END: &str = "<!-- end of vm -->";

/// Names of checks of `gotrace doctor` that are answered by yes or no, and what they are called here.
const FEATURES: [(&str, &str); 7] = [
    ("types (BTF)", "types (BTF)"),
    ("ring buffer", "BPF ring buffer"),
    ("attach cookie", "BPF cookie of uprobes"),
    ("BPF", "the programs pass the verifier"),
    (
        "uprobe-multi",
        "uprobe-multi; without it probes come one by one",
    ),
    ("uprobes", "a uprobe is hit and counted"),
    ("process events", "raw tracepoints tell of processes"),
];
/// Those of which a setting is told, and the settings' names.
const SETTINGS: [(&str, &str); 4] = [
    ("lockdown", "lockdown"),
    ("perf_event_paranoid", "`perf_event_paranoid`"),
    ("unprivileged_bpf_disabled", "`unprivileged_bpf_disabled`"),
    ("yama ptrace_scope", "Yama's `ptrace_scope`"),
];
const NOTHING: &str = "–";

/// The table of these machines.
pub(super) fn table(machines: &[Ran]) -> String {
    let mut table = String::new();
    let mut row = |name: &str, of: &dyn Fn(&Ran) -> String| {
        let cells: Vec<String> = machines.iter().map(of).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    };
    row("", &|ran| ran.cell.kernel.clone());
    row("---", &|_| "---".to_owned());
    row("processor", &|ran| match ran.emulated {
        true => format!("{}, emulated", ran.arch.short()),
        false => ran.arch.short().to_owned(),
    });
    for (check, name) in FEATURES {
        row(name, &|ran| feature(&ran.cell, check));
    }
    for (check, name) in SETTINGS {
        row(name, &|ran| setting(&ran.cell, check));
    }
    for (file, name) in TESTS {
        row(&format!("{name}: tests that pass (`{file}`)"), &|ran| {
            let of_it = ran.cell.files.iter().find(|it| it.name == *file);
            of_it.map_or_else(|| NOTHING.to_owned(), outcome)
        });
    }
    row("seconds, boot included", &|ran| {
        format!("{:.0}", ran.seconds)
    });
    row("run on", &|ran| ran.date.clone());
    table
}

fn outcome(file: &File) -> String {
    let mut told = format!("{} of {}", file.passed, file.passed + file.failed.len());
    for name in &file.failed {
        let _ = write!(told, "; not `{name}`");
    }
    told
}

fn feature(cell: &Cell, check: &str) -> String {
    match of(cell, check) {
        Some(("ok", _)) => "yes".to_owned(),
        Some((_, found)) if found.starts_with("not ") => NOTHING.to_owned(),
        Some(_) => "no".to_owned(),
        None => NOTHING.to_owned(),
    }
}

/// The first words of what was found.
fn setting(cell: &Cell, check: &str) -> String {
    let found = of(cell, check).map_or(NOTHING, |(_, found)| found);
    let first = found.split([',', ':']).next().unwrap_or(found);
    match first.starts_with("the kernel has n") {
        true => "absent".to_owned(),
        false => first.to_owned(),
    }
}

fn of<'c>(cell: &'c Cell, check: &str) -> Option<(&'c str, &'c str)> {
    let mut checks = cell.checks.iter();
    let (_, status, found) = checks.find(|(name, _, _)| name == check)?;
    Some((status, found))
}

/// Puts the table into a page.
pub(super) fn write(path: &Path, table: &str) -> Result<()> {
    let page = fs::read_to_string(path)?;
    let missing = || format!("{} has no place for the table of kernels", path.display());
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(fs::write(
        path,
        format!("{before}{BEGIN}\n{table}\n{END}{after}"),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable::Arch;

    #[test]
    fn a_column_says_what_its_machine_said() {
        let check = |name: &str, status: &str, found: &str| {
            (name.to_owned(), status.to_owned(), found.to_owned())
        };
        let cell = Cell {
            kernel: "6.1.0".to_owned(),
            checks: vec![
                check("types (BTF)", "ok", "is there"),
                check("uprobe-multi", "warning", "asked: the kernel has none"),
                check(
                    "uprobes",
                    "warning",
                    "not tried: the kernel side is not there",
                ),
                check("perf_event_paranoid", "ok", "2, which does not bind"),
                check("lockdown", "ok", "none: nothing is refused"),
                check("yama ptrace_scope", "ok", "the kernel has no Yama"),
            ],
            files: vec![
                File {
                    name: "main_job".to_owned(),
                    passed: 6,
                    failed: Vec::new(),
                },
                File {
                    name: "exact".to_owned(),
                    passed: 1,
                    failed: vec!["a_test".to_owned()],
                },
            ],
        };
        let ran = Ran {
            arch: Arch::Aarch64,
            emulated: true,
            cell,
            seconds: 71.4,
            date: "2026-11-27".to_owned(),
        };
        let table = table(&[ran]);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(
            rows[..3],
            [
                "|  | 6.1.0 |",
                "| --- | --- |",
                "| processor | arm64, emulated |"
            ]
        );
        for (begin, end) in [
            ("| types (BTF) ", " yes |"),
            ("| uprobe-multi", " no |"),
            ("| a uprobe is hit", " – |"),
            ("| BPF ring buffer", " – |"),
            ("| `perf_event_paranoid` ", "| 2 |"),
            ("| lockdown ", "| none |"),
            ("| Yama", "| absent |"),
            ("| a service that hangs", " 6 of 6 |"),
            ("| every event", " 1 of 2; not `a_test` |"),
            ("| `gotrace agent`", " – |"),
            ("| seconds", " 71 |"),
        ] {
            let of_it = rows.iter().find(|row| row.starts_with(begin));
            assert!(
                of_it.is_some_and(|row| row.ends_with(end)),
                "{begin}{end}: {table}"
            );
        }
    }
}
