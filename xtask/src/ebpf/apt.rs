//! Debian packages, installed when this process may.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// Whether packages can be installed: Debian or a child of it, as root.
pub(super) fn available(shell: &Shell) -> bool {
    Path::new("/etc/debian_version").exists()
        && cmd!(shell, "id -u")
            .quiet()
            .read()
            .is_ok_and(|id| id == "0")
}

/// Installs packages, which must be named in full.
pub(super) fn install(shell: &Shell, packages: &[&str]) -> Result<()> {
    println!("ebpf: installing {} by apt-get", packages.join(" "));
    cmd!(shell, "apt-get update --quiet --quiet").run()?;
    cmd!(
        shell,
        "apt-get install --yes --quiet --quiet --no-install-recommends"
    )
    .args(packages)
    .env("DEBIAN_FRONTEND", "noninteractive")
    .run()
    .with_context(|| format!("cannot install {}", packages.join(" ")))
}
