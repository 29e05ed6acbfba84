//! What each command does.

mod agent;
mod cluster;
mod config;
mod dap;
mod diff;
mod doctor;
mod exec;
mod export;
mod findings;
mod frames;
mod oneshot;
mod record;
mod replay;
mod run;
mod screen;
mod shell;
mod source;
mod top;
mod why;

use crate::cli::Command;
use crate::document::findings::Entry;
use crate::document::run::Report;

/// What a command found, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing that needs a person.
    Clean,
    /// A deadlock or a proven leak, or whatever else was asked for.
    Findings,
    /// Nothing, and this is the code of the command that was run.
    Command(u8),
}

impl Verdict {
    /// Of a trace: whether something certain was found.
    fn of_report(report: &Report) -> Verdict {
        match report.findings.iter().any(Entry::is_certain) {
            true => Verdict::Findings,
            false => Verdict::Clean,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What the user is to be told.
pub(crate) fn dispatch(command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::top(&args),
        Command::Record(args) => record::record(args),
        Command::Replay(args) => replay::replay(&args),
        Command::Agent(args) => agent::agent(&args),
        Command::Goroutines(args) => oneshot::goroutines(&args),
        Command::Stack(args) => oneshot::stack(&args),
        Command::Channels(args) => oneshot::channels(&args),
        Command::Channel(args) => oneshot::channel(&args),
        Command::Snapshot(args) => oneshot::snapshot(&args),
        Command::Deadlocks(args) => findings::deadlocks(&args),
        Command::Leaks(args) => match args.source.command() {
            Some(command) => exec::leaks(&args, command),
            None => findings::leaks(&args),
        },
        Command::Why(args) => why::why(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Cluster(args) => cluster::cluster(&args),
        Command::Export(args) => export::export(&args),
        Command::Dap(args) => dap::dap(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Config(args) => config::config(args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}
