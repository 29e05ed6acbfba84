//! What can be typed for the shell and the manual.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `--help` of `completions`.
const COMPLETIONS: &str = "Examples:\n  \
    gotrace completions bash > /etc/bash_completion.d/gotrace\n  \
    gotrace completions zsh > \"${fpath[1]}/_gotrace\"\n  \
    gotrace completions fish > ~/.config/fish/completions/gotrace.fish";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

/// `--help` of `man`.
const MAN: &str = "Examples:\n  \
    gotrace man | man -l -                               read the first page\n  \
    gotrace man --dir /usr/local/share/man/man1          install all of them: man gotrace-goroutines";

#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct ManArgs {
    /// Write the pages of gotrace and of each command into this directory, which must exist
    /// [default: the page of gotrace alone, to standard output]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
