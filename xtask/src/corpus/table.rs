//! The tables, and docs/corpus.md.

use std::fmt::Write as _;
use std::fs;
use std::thread;

use super::tally::{Column, Verdicts};
use crate::workspace;

/// The cases, the totals, and where the runtime's profile and the cases disagree.
pub(super) fn render(columns: &[Column]) -> String {
    let mut text = cases(columns);
    text.push('\n');
    text.push_str(&totals(columns));
    for column in columns {
        let contradicted = column.totals().contradicted;
        if !contradicted.is_empty() {
            let _ = write!(
                text,
                "\nThe profile of Go {} says something else than the program of:\n\n- {}\n",
                column.version,
                contradicted.join("\n- ")
            );
        }
    }
    text
}

/// A row a case: what is true, and what was said.
fn cases(columns: &[Column]) -> String {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for column in columns {
        for case in &column.cases {
            if !names.iter().any(|(_, name)| *name == case.name) {
                names.push((&case.class, &case.name));
            }
        }
    }
    let mut rows = vec![vec![
        "class".to_owned(),
        "program".to_owned(),
        "truth".to_owned(),
    ]];
    for column in columns {
        if column.has_profile() {
            rows[0].push(format!("profile of {}", column.version));
        }
        rows[0].extend([format!("gotrace on {}", column.version), "ms".to_owned()]);
    }
    for (class, name) in names {
        let mut row = vec![class.to_owned(), name.to_owned(), String::new()];
        for column in columns {
            let Some(case) = column.cases.iter().position(|case| case.name == name) else {
                row.resize(
                    row.len() + 2 + usize::from(column.has_profile()),
                    String::new(),
                );
                continue;
            };
            if row[2].is_empty() {
                row[2] = truth(column, case);
            }
            if column.has_profile() {
                row.push(profile(column, case));
            }
            row.extend([
                said(
                    Verdicts::of(column.goroutines(case)),
                    column.runs[case].len(),
                ),
                column.time(case).as_millis().to_string(),
            ]);
        }
        rows.push(row);
    }
    table(&rows)
}

/// `2 stuck (global), 1 healthy`
fn truth(column: &Column, case: usize) -> String {
    let Some(run) = column.runs[case].first() else {
        return String::new();
    };
    let stuck: Vec<_> = run.goroutines.iter().filter(|it| it.stuck).collect();
    let healthy = run.goroutines.len() - stuck.len();
    let mut parts = Vec::new();
    if !stuck.is_empty() {
        let blind = stuck.iter().find_map(|it| it.blind.as_deref());
        let blind = blind.map_or_else(String::new, |why| format!(" ({why})"));
        parts.push(format!("{} stuck{blind}", stuck.len()));
    }
    if healthy > 0 {
        parts.push(format!("{healthy} healthy"));
    }
    parts.join(", ")
}

fn profile(column: &Column, case: usize) -> String {
    let leaked = column
        .goroutines(case)
        .filter(|it| it.profile == Some(true));
    match leaked.count() {
        0 => "–".to_owned(),
        some => format!("{} leaked", each(some, column.runs[case].len())),
    }
}

fn said(verdicts: Verdicts, runs: usize) -> String {
    let Verdicts {
        proven,
        likely,
        suspect,
        nothing: _,
    } = verdicts;
    let parts = [(proven, "proven"), (likely, "likely"), (suspect, "suspect")];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", each(count, runs)))
        .collect();
    match parts.is_empty() {
        true => "–".to_owned(),
        false => parts.join(", "),
    }
}

/// How many in one run: exactly, if it is the same in all.
fn each(count: usize, runs: usize) -> String {
    match count % runs.max(1) {
        0 => (count / runs.max(1)).to_string(),
        _ => format!("{:.2}", count as f64 / runs as f64),
    }
}

fn totals(columns: &[Column]) -> String {
    let mut rows = vec![
        vec!["".to_owned()],
        vec!["healthy goroutines".to_owned()],
        vec!["called proven".to_owned()],
        vec!["called likely".to_owned()],
        vec!["called suspect".to_owned()],
        vec!["stuck, seen by the profile".to_owned()],
        vec!["proven of these".to_owned()],
        vec!["stuck, not seen by it".to_owned()],
        vec!["proven of these".to_owned()],
        vec!["proven or likely of these".to_owned()],
    ];
    for column in columns {
        let totals = column.totals();
        let cells = [
            format!("Go {}", column.version),
            totals.healthy.all().to_string(),
            totals.healthy.proven.to_string(),
            totals.healthy.likely.to_string(),
            totals.healthy.suspect.to_string(),
            totals.seen.all().to_string(),
            format!("{} ({})", totals.seen.proven, totals.seen_share()),
            totals.unseen.all().to_string(),
            totals.unseen.proven.to_string(),
            format!(
                "{} ({})",
                totals.unseen.proven + totals.unseen.likely,
                totals.unseen_share()
            ),
        ];
        for (row, cell) in rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }
    table(&rows)
}

/// Markdown that is also legible as text.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column));
        widths
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "| {} ", "-".repeat(*width));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The whole of docs/corpus.md.
pub(super) fn document(columns: &[Column], runs: usize, load: bool, tables: &str) -> String {
    let versions: Vec<&str> = columns.iter().map(|column| &*column.version).collect();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1))
        .unwrap_or("unknown processor");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let healthy = columns.last().map_or(0, |column| {
        let is_healthy = |case: &usize| column.goroutines(*case).all(|it| !it.stuck);
        (0..column.cases.len()).filter(is_healthy).count()
    });
    let cases = columns.last().map_or(0, |column| column.cases.len());
    let text = INTRODUCTION
        .replace("{cases}", &cases.to_string())
        .replace("{healthy}", &healthy.to_string())
        .replace("{runs}", &runs.to_string())
        .replace(
            "{load}",
            if load {
                "all processors busy beside"
            } else {
                "no load beside"
            },
        )
        .replace("{versions}", &versions.join(", "))
        .replace("{machine}", &format!("{cpu}, {cores} cores"))
        .replace("{date}", &today());
    format!("{text}{tables}")
}

fn today() -> String {
    let shell = workspace::shell().ok();
    shell
        .and_then(|shell| xshell::cmd!(shell, "date --utc +%F").quiet().read().ok())
        .unwrap_or_default()
}

const INTRODUCTION: &str = include_str!("introduction.md");

#[cfg(test)]
mod tests {
    use super::{Verdicts, said, table};

    #[test]
    fn what_differs_between_runs_is_a_mean() {
        let verdicts = |proven, likely| Verdicts {
            proven,
            likely,
            ..Verdicts::default()
        };
        assert_eq!(said(verdicts(0, 0), 2), "–");
        assert_eq!(said(verdicts(4, 0), 2), "2 proven");
        assert_eq!(said(verdicts(3, 1), 2), "1.50 proven, 0.50 likely");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["a", "program"]), row(["long", "x"])]),
            "| a    | program |\n| ---- | ------- |\n| long | x       |\n"
        );
    }
}
