//! Files out of Debian's packages, without installing these: installing a server would start it.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// Downloads a package and unpacks it into a directory, beside what is there.
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
