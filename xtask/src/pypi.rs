//! Packages of Python's index, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::workspace;

/// A directory of the cache, made if it is not there: first under another name, so that what is interrupted is none.
///
/// # Errors
/// It cannot be made.
pub(crate) fn kept(
    shell: &Shell,
    name: &str,
    make: impl Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let home = cache.join(name);
    if home.exists() {
        return Ok(home);
    }
    println!("setup: installing {name} into {}", home.display());
    let partial = cache.join(format!(".{name}.partial"));
    shell.remove_path(&partial)?;
    shell.create_dir(&partial)?;
    make(&partial)
        .with_context(|| format!("there is no {name}\nnext: install Python 3 with pip"))?;
    fs::rename(&partial, &home)?;
    Ok(home)
}

/// A directory with a package, such as `name==1.0`, and all that it needs.
///
/// # Errors
/// There is no Python with pip, or no such package.
pub(crate) fn installed(shell: &Shell, package: &str) -> Result<PathBuf> {
    kept(shell, &package.replace("==", "-"), |partial| {
        Ok(cmd!(
            shell,
            "python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore
             --no-compile --target {partial} {package}"
        )
        .quiet()
        .run()?)
    })
}
