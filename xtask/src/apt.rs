//! Debian's packages of an architecture that need not be this machine's: their lists are kept apart from the system's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::portable::Arch;
use crate::workspace;

/// Debian's packages of one architecture.
pub(crate) struct Apt {
    shell: Shell,
    options: Vec<String>,
}

impl Apt {
    pub(crate) fn of(arch: Arch) -> Result<Apt> {
        let shell = workspace::shell()?;
        let state = workspace::cache()?
            .join("vm")
            .join(format!("apt-{}", arch.short()));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(part))?;
        }
        fs::write(state.join("status"), "")?;
        let at = |part: &str| state.join(part).display().to_string();
        let options = [
            "APT::Sandbox::User=root".to_owned(),
            format!("APT::Architecture={}", arch.short()),
            format!("APT::Architectures={}", arch.short()),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
        ];
        let options = options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option])
            .collect();
        let apt = Apt { shell, options };
        if fs::read_dir(state.join("lists"))?.count() <= 2 {
            apt.update()?;
        }
        Ok(apt)
    }

    fn update(&self) -> Result<()> {
        let (shell, options) = (&self.shell, &self.options);
        Ok(cmd!(shell, "apt-get {options...} --quiet --quiet update").run()?)
    }

    /// The names of all packages that begin so.
    pub(crate) fn names(&self, begin: &str) -> Result<Vec<String>> {
        let (shell, options) = (&self.shell, &self.options);
        let names = cmd!(shell, "apt-cache {options...} pkgnames {begin}")
            .quiet()
            .read()?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package, `NAME` or `NAME=VERSION`, and unpacks it into a directory. Nothing is installed.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        println!("setup: unpacking {package} into {}", into.display());
        let (shell, options) = (&self.shell, &self.options);
        let partial = shell.create_temp_dir()?;
        let _there = shell.push_dir(partial.path());
        let download = || {
            cmd!(
                shell,
                "apt-get {options...} --quiet --quiet download {package}"
            )
            .run()
        };
        if download().is_err() {
            // The lists are of another day.
            self.update()?;
            download()?;
        }
        let file = shell.read_dir(".")?.into_iter().next();
        let file = file.with_context(|| format!("apt-get downloaded no package {package}"))?;
        shell.create_dir(into)?;
        Ok(cmd!(shell, "dpkg-deb --extract {file} {into}")
            .quiet()
            .run()?)
    }
}
