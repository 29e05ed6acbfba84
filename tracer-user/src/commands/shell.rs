//! `gotrace completions SHELL` and `gotrace man`.

use std::io::Write as _;

use clap_mangen::Man;

use super::Verdict;
use crate::cli::{CompletionsArgs, ManArgs};
use crate::config;
use crate::failure::Failure;

/// Writes a script that completes what can be typed.
pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<Verdict> {
    // The generator panics where it cannot write: it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut config::command(), "gotrace", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Verdict::Clean)
}

/// Writes manual pages.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<Verdict> {
    match &args.dir {
        None => Man::new(config::command()).render(&mut std::io::stdout().lock())?,
        Some(directory) => {
            clap_mangen::generate_to(config::command(), directory).map_err(|error| {
                Failure::new(format!("cannot write into {}", directory.display()))
                    .because(error)
                    .next("give a directory that exists")
            })?;
        }
    }
    Ok(Verdict::Clean)
}
