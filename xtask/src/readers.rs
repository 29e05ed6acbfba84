//! The readers of what gotrace exports, which tests let read it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{debian, workspace};

/// Perfetto's official schema, as Python classes, and what they are built on.
const PERFETTO: &str = "perfetto==0.59.1";
const PROTOBUF: &str = "protobuf==7.36.2";

/// Where the readers are.
pub(crate) struct Readers {
    /// A directory of Python packages: Perfetto's schema.
    pub(crate) perfetto: PathBuf,
    /// Graphviz.
    pub(crate) dot: PathBuf,
}

/// Finds the readers, or installs them.
pub(crate) fn install() -> Result<Readers> {
    let shell = workspace::shell()?;
    Ok(Readers {
        perfetto: perfetto(&shell)?,
        dot: graphviz(&shell)?,
    })
}

/// Its package has the schema; its trace processor is a program that it would download when it is used.
fn perfetto(shell: &Shell) -> Result<PathBuf> {
    let cache = workspace::cache()?;
    let home = cache.join(PERFETTO.replace("==", "-"));
    if home.exists() {
        return Ok(home);
    }
    println!(
        "setup: installing Perfetto's schema into {}",
        home.display()
    );
    // Into a directory of its own first, so that an interrupted installation is none.
    let partial = cache.join(".perfetto.partial");
    shell.remove_path(&partial)?;
    shell.create_dir(&partial)?;
    cmd!(
        shell,
        "python3 -m pip install --quiet --no-deps --disable-pip-version-check
         --root-user-action ignore --target {partial} {PERFETTO} {PROTOBUF}"
    )
    .quiet()
    .run()
    .with_context(|| format!("`pip install {PERFETTO}` failed\nnext: install Python 3 with pip"))?;
    fs::rename(&partial, &home)?;
    Ok(home)
}

/// Graphviz on PATH, or Debian's package, which is a program alone.
fn graphviz(shell: &Shell) -> Result<PathBuf> {
    let find = || cmd!(shell, "which dot").quiet().ignore_stderr().read();
    if find().is_err() {
        debian::install(shell, &["graphviz"])?;
    }
    let dot = find().context("there is no `dot`\nnext: install Graphviz")?;
    Ok(dot.into())
}
