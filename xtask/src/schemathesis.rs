//! schemathesis, which asks an API all that its description admits, and what it does not.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::workspace;

/// The version that is used: another one may look for more.
const VERSION: &str = "4.32.5";

/// Finds it in the cache, or installs it there from Python's package index, in an environment of its own.
/// Returns the program.
pub(crate) fn install() -> Result<PathBuf> {
    let home = workspace::cache()?.join(format!("schemathesis-{VERSION}"));
    let (program, whole) = (home.join("bin/schemathesis"), home.join("whole"));
    if whole.exists() {
        return Ok(program);
    }
    let shell = workspace::shell()?;
    println!("setup: installing schemathesis into {}", home.display());
    let make = || -> Result<()> {
        shell.remove_path(&home)?;
        cmd!(shell, "python3 -m venv {home}").quiet().run()?;
        let pip = home.join("bin/pip");
        cmd!(
            shell,
            "{pip} install --quiet --disable-pip-version-check schemathesis=={VERSION}"
        )
        .quiet()
        .run()?;
        // The last step, so that an interrupted installation is none.
        fs::write(&whole, "")?;
        Ok(())
    };
    make().context(
        "there is no schemathesis\n\
         next: install Python 3 with venv and pip (Debian: python3-venv), and try again",
    )?;
    Ok(program)
}
