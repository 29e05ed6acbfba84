//! Prometheus' own checker of metrics, which a test lets read ours.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::{debian, workspace};

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
        debian::unpack("prometheus", &home).context(
            "there is no promtool\n\
             next: put Prometheus' promtool on PATH (Debian: the package prometheus)",
        )?;
    }
    Ok(promtool)
}
