//! `gotrace`: a continuous, non-stop tracer for Go programs.

mod agent;
mod cli;
mod commands;
mod config;
mod dap;
mod doctor;
mod document;
mod failure;
mod kubernetes;
mod listing;
mod log;
mod malloc;
mod metrics;
mod open_files;
mod otel;
mod pager;
mod passes;
mod progress;
mod record;
mod remote;
mod rendered;
mod sandbox;
mod serve;
mod spawn;
mod target;
mod text;
mod top;
mod trace;

use std::io::Write as _;
use std::process::ExitCode;

use crate::pager::Pager;

/// Exit code: nothing was found.
const CLEAN: u8 = 0;
/// Exit code: there is a deadlock or a proven leak.
const FINDINGS: u8 = 1;
/// Exit code: the command could not do its work.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    malloc::use_one_arena();
    let cli = match config::parse() {
        Ok(cli) => cli,
        Err(failure) => return failed(&failure.into()),
    };
    log::begin(cli.verbose);
    let pager = (!cli.no_pager && cli.command.is_read())
        .then(Pager::start)
        .flatten();
    let outcome = commands::dispatch(cli.command);
    // Before anything is said of how it went.
    drop(pager);
    match outcome {
        Ok(commands::Verdict::Clean) => ExitCode::from(CLEAN),
        Ok(commands::Verdict::Findings) => ExitCode::from(FINDINGS),
        Ok(commands::Verdict::Command(code)) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(CLEAN),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to do if stderr is closed as well.
    let message = format!("{error:#}");
    let _ = writeln!(anstream::stderr(), "error: {}", text::safe_lines(&message));
    ExitCode::from(ERROR)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
