//! Prometheus' own checker of metrics, which a test lets read ours.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::workspace;

/// Finds promtool on PATH or in the cache, or takes it out of Debian's package `prometheus`.
///
/// The package is unpacked, not installed: installing it would start a server.
pub(crate) fn install() -> Result<PathBuf> {
    let shell = workspace::shell()?;
    if let Ok(path) = cmd!(shell, "which promtool").quiet().ignore_stderr().read() {
        return Ok(path.into());
    }
    let home = workspace::cache()?.join("prometheus");
    let promtool = home.join("usr/bin/promtool");
    if !promtool.exists() {
        println!("setup: unpacking promtool into {}", home.display());
        unpack(&shell, &home).context(
            "there is no promtool\n\
             next: put Prometheus' promtool on PATH (Debian: the package prometheus)",
        )?;
    }
    Ok(promtool)
}

fn unpack(shell: &Shell, home: &PathBuf) -> Result<()> {
    let partial = shell.create_temp_dir()?;
    let _in_partial = shell.push_dir(partial.path());
    let download = || cmd!(shell, "apt-get -qq download prometheus").quiet().run();
    if download().is_err() {
        // A fresh machine has no package lists yet.
        cmd!(shell, "apt-get -qq update").quiet().run()?;
        download()?;
    }
    let package = shell
        .read_dir(partial.path())?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded no package")?;
    shell.create_dir(home)?;
    cmd!(shell, "dpkg-deb --extract {package} {home}")
        .quiet()
        .run()?;
    Ok(())
}
