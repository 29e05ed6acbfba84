//! Debian's packages: installed when this process may, or files out of them.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// Downloads a package and unpacks it into a directory, beside what is there. Nothing is installed: to install
/// a server would start it.
pub(crate) fn unpack(package: &str, into: &Path) -> Result<()> {
    let shell = Shell::new()?;
    let partial = shell.create_temp_dir()?;
    shell.change_dir(partial.path());
    let download = || {
        cmd!(
            shell,
            "apt-get -qq -o APT::Sandbox::User=root download {package}"
        )
        .quiet()
        .run()
    };
    if download().is_err() {
        // A fresh machine has no package lists yet.
        cmd!(shell, "apt-get -qq update").quiet().run()?;
        download()?;
    }
    let file = shell
        .read_dir(partial.path())?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get downloaded no package {package}"))?;
    shell.create_dir(into)?;
    cmd!(shell, "dpkg-deb --extract {file} {into}")
        .quiet()
        .run()?;
    Ok(())
}

/// Whether packages can be installed: Debian or a child of it, as root.
pub(crate) fn can_install(shell: &Shell) -> bool {
    Path::new("/etc/debian_version").exists()
        && cmd!(shell, "id -u")
            .quiet()
            .read()
            .is_ok_and(|id| id == "0")
}

/// Installs packages, which must be named in full.
pub(crate) fn install(shell: &Shell, packages: &[&str]) -> Result<()> {
    println!("setup: installing {} by apt-get", packages.join(" "));
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
