//! `gotrace`: a continuous, non-stop tracer for Go programs.

mod agent;
mod cli;
mod commands;
mod dap;
mod document;
mod failure;
mod listing;
mod malloc;
mod metrics;
mod open_files;
mod otel;
mod record;
mod rendered;
mod serve;
mod spawn;
mod target;
mod text;
mod trace;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::Cli;

/// Exit code: nothing was found.
const CLEAN: u8 = 0;
/// Exit code: there is a deadlock or a proven leak.
const FINDINGS: u8 = 1;
/// Exit code: the command could not do its work.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    malloc::use_one_arena();
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    match commands::dispatch(cli.command) {
        Ok(commands::Verdict::Clean) => ExitCode::from(CLEAN),
        Ok(commands::Verdict::Findings) => ExitCode::from(FINDINGS),
        Ok(commands::Verdict::Command(code)) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(CLEAN),
        Err(error) => {
            // Nothing is left to do if stderr is closed as well.
            let message = format!("{error:#}");
            let _ = writeln!(anstream::stderr(), "error: {}", text::safe_lines(&message));
            ExitCode::from(ERROR)
        }
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("GOTRACE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        .init();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
