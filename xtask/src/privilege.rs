//! Tasks that attach probes need root.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

/// Fails, naming the command to use instead, if this process is not root's.
pub(crate) fn require_root(shell: &Shell, task: &str) -> Result<()> {
    let uid = cmd!(shell, "id -u").quiet().read()?;
    if uid != "0" {
        bail!(
            "`cargo xtask {task}` attaches probes to another process, so it needs root.\n\
             next: sudo --preserve-env=HOME,PATH cargo xtask {task}"
        );
    }
    Ok(())
}
