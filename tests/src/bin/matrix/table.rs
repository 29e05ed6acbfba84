//! docs/matrix.md.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::cells::{Cell, Figures, Outcome};
use crate::file::HOOKS;

/// The whole document.
pub(crate) fn render(cells: &[Cell], outcomes: &[Outcome]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for cell in cells {
        if !columns.contains(&&*cell.column) {
            columns.push(&cell.column);
        }
        if !rows.contains(&(&cell.go, &cell.arch)) {
            rows.push((&cell.go, &cell.arch));
        }
    }
    let mut table = format!(
        "| Go | | {} |\n| --- | --- |{}\n",
        columns.join(" | "),
        " --- |".repeat(columns.len())
    );
    for (go, arch) in rows {
        let _ = write!(table, "| {go} | {arch} |");
        for column in &columns {
            let outcome = cells
                .iter()
                .zip(outcomes)
                .find(|(cell, _)| (&*cell.go, &*cell.arch, &*cell.column) == (go, arch, column))
                .map(|(_, outcome)| outcome);
            let text = match outcome {
                None => String::new(),
                Some(Outcome::Passed(figures)) => passed(figures),
                Some(Outcome::Failed(_)) => "**failed**".to_owned(),
            };
            let _ = write!(table, " {text} |");
        }
        table.push('\n');
    }
    let mut document = introduction();
    document.push_str(&table);
    document
}

fn passed(figures: &Figures) -> String {
    match figures.live {
        None => "file".to_owned(),
        Some(live) => format!("live: {} g, {} ch", live.goroutines, live.channels),
    }
}

/// When and where, and what a cell means.
fn introduction() -> String {
    let say = |program: &str, arguments: &[&str]| -> String {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").expect("/proc is there");
    let cpu = cpu
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1))
        .unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let gcc = say("gcc", &["-dumpfullversion"]);
    format!(
        "\
# Go versions and ways to build

Written by `cargo xtask matrix --write` (as root): it installs the toolchains, builds every cell and checks it, and
fails if one cell does. `cargo xtask matrix --go 1.23.9,1.24.11` makes these rows alone; `cargo xtask test` makes
the oldest and the newest.

| | |
| --- | --- |
| date | {} |
| machine | {cpu}, {cores} cores, {} |
| kernel | {} |
| C compiler | gcc {gcc} |

Columns: `symbols` is a plain `go build`; `stripped` has `-ldflags '-s -w'`; `PIE` has `-buildmode=pie`; `cgo` has
C code in it, and one goroutine inside a C function; `race` is that with `-race`; `static` is that with
`-ldflags '-linkmode external -extldflags -static'`.

`file` (all cells) compares what gotrace finds out from the binary alone:

- the runtime's ten variables with the toolchain's `nm`;
- the sites of all {HOOKS} hooks with the toolchain's `objdump`: each the beginning of an instruction that kernels
  emulate, behind the stack check, with a known frame; no hook is missing;
- layouts, variables, sites and wait reasons with those of the same file without any section, symbol or DWARF, whose
  layouts come from gotrace's table. The stripped columns are compared with the column that has symbols.

`live` (amd64) adds the running programs `truth` and `counts` of `tests/programs`, which know what they made:

- every goroutine (g) by its id: state or wait reason, the function and line it waits at, and that its stack is
  whole; no other goroutine is shown;
- every channel (ch): type, length, capacity, the decoded values in their order, what each waiting sender holds, in
  the order of the queue, and how many receive;
- goroutines that can never run again (on a channel that nobody else has, on a nil channel, in an empty select) are
  proven leaks, and no other one is;
- `run --level full` attaches, is removed again, and the program checks itself afterwards;
- the tests of `tests/tests/counts.rs` that every send, receive, close, select, park, wake-up, start and exit is
  counted, to the one (138,016 operations on channels), pass with the cell's `counts`.

arm64 was not run live: the machine is amd64.

",
        say("date", &["--utc", "+%F"]),
        say("uname", &["-m"]),
        say("uname", &["-r"]),
    )
}
