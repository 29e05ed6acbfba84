//! Long text on a terminal goes through a pager, as git does it.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Child, Command, Stdio};

use anstream::{AutoStream, ColorChoice};

/// Which pager, the first that is set; empty or `cat` means none.
const VARIABLES: [&str; 2] = ["GOTRACE_PAGER", "PAGER"];
/// If none is.
const DEFAULT: &str = "less";
/// How less behaves unless the user says otherwise: it ends at once if all fits (F), keeps colours (R) and leaves
/// the text on the screen (X).
const LESS: &str = "FRX";

/// A pager between standard output and the terminal, which is waited for when this is dropped.
pub(crate) struct Pager(Child);

impl Pager {
    /// Puts a pager before standard output, if that is a terminal and there is a pager.
    pub(crate) fn start() -> Option<Pager> {
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let mut pager = match VARIABLES.iter().find_map(|name| std::env::var(name).ok()) {
            Some(none) if ["", "cat"].contains(&none.trim()) => return None,
            // As git does: it may have arguments, and be anything that a shell understands.
            Some(named) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &named]);
                shell
            }
            // Not by a shell, which would be there where this one is not.
            None => Command::new(DEFAULT),
        };
        let colours = AutoStream::choice(&std::io::stdout());
        pager.stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            pager.env("LESS", LESS);
        }
        // Without one the text goes to the terminal as it is.
        let mut child = pager.spawn().ok()?;
        let input = child.stdin.take()?;
        rustix::stdio::dup2_stdout(&input).ok()?;
        // What the terminal shows, the pager shows.
        if colours != ColorChoice::Never {
            ColorChoice::Always.write_global();
        }
        Some(Pager(child))
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // Who reads may have left before the end.
        let _ = std::io::stdout().flush();
        // The pager sees the end of its input once nobody can write there any more.
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null");
        if nowhere.is_ok_and(|nowhere| rustix::stdio::dup2_stdout(&nowhere).is_ok()) {
            let _ = self.0.wait();
        }
    }
}
