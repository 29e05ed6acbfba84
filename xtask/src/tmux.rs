//! tmux, in which tests run what needs a terminal.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::{debian, workspace};

/// Finds it on PATH, or installs Debian's package, which is a program alone.
pub(crate) fn install() -> Result<PathBuf> {
    let shell = workspace::shell()?;
    let find = || cmd!(shell, "which tmux").quiet().ignore_stderr().read();
    if find().is_err() {
        debian::install(&shell, &["tmux"])?;
    }
    let tmux = find().context("there is no `tmux`\nnext: install tmux")?;
    Ok(tmux.into())
}
