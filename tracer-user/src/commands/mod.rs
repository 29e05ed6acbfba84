//! What each command does.

mod exec;
mod findings;
mod oneshot;
mod run;
mod source;
mod why;

use crate::cli::Command;

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

/// Runs the command.
///
/// # Errors
/// What the user is to be told.
pub(crate) fn dispatch(command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Run(args) => run::run(args),
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
    }
}
