//! Prometheus itself and its checker, which tests let read our metrics and rules.

use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::{debian, workspace};

/// The programs.
pub(crate) struct Prometheus {
    /// The checker.
    pub(crate) promtool: PathBuf,
    /// The server.
    pub(crate) server: PathBuf,
}

/// Finds both on PATH or in the cache, or takes them out of Debian's package `prometheus`.
///
/// The package is unpacked, not installed: installing it would start a server.
pub(crate) fn install() -> Result<Prometheus> {
    let shell = workspace::shell()?;
    let find = |name: &str| -> Option<PathBuf> {
        let path = cmd!(shell, "which {name}").quiet().ignore_stderr().read();
        path.ok().map(PathBuf::from)
    };
    if let (Some(promtool), Some(server)) = (find("promtool"), find("prometheus")) {
        return Ok(Prometheus { promtool, server });
    }
    let home = workspace::cache()?.join("prometheus");
    let found = Prometheus {
        promtool: home.join("usr/bin/promtool"),
        server: home.join("usr/bin/prometheus"),
    };
    if !found.promtool.exists() || !found.server.exists() {
        println!("setup: unpacking Prometheus into {}", home.display());
        debian::unpack("prometheus", &home).context(
            "there is no Prometheus\n\
             next: put prometheus and promtool on PATH (Debian: the package prometheus)",
        )?;
    }
    Ok(found)
}
