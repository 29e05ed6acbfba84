//! gotrace on what each Go version builds in each way, run by `cargo xtask matrix`, which builds the
//! programs and lists them: `matrix CELLS [TABLE]`. The table of the results is written to the
//! second file. The exit code is 1 if a cell failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cells::{Cell, Outcome};

mod cells;
mod file;
mod live;
mod table;

fn main() -> ExitCode {
    integration_tests::require_root();
    let mut arguments = std::env::args_os().skip(1);
    let cells = Cell::list(arguments.next().expect("a list of cells").as_ref());
    let outcomes: Vec<Outcome> = cells.iter().map(check).collect();
    if let Some(path) = arguments.next() {
        std::fs::write(&path, table::render(&cells, &outcomes))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Failed(_)))
        .count();
    println!("matrix: {} cells, {failed} failed", cells.len());
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Checks a cell. A check that fails panics; that is the outcome of this cell alone.
fn check(cell: &Cell) -> Outcome {
    let begun = Instant::now();
    let said = Arc::new(Mutex::new(String::new()));
    let hook = {
        let said = Arc::clone(&said);
        move |info: &std::panic::PanicHookInfo<'_>| {
            if let Ok(mut said) = said.lock()
                && said.is_empty()
            {
                *said = info.to_string();
            }
        }
    };
    std::panic::set_hook(Box::new(hook));
    let outcome = catch_unwind(AssertUnwindSafe(|| cell.check()));
    drop(std::panic::take_hook());
    let outcome = outcome.unwrap_or_else(|_| {
        let said = said.lock().map(|said| said.clone());
        Outcome::Failed(said.unwrap_or_else(|_| "panicked".to_owned()))
    });
    println!("{cell}: {outcome} ({:.1} s)", begun.elapsed().as_secs_f64());
    outcome
}
