//! Static programs for a machine of either architecture, built here: what another root file system or an emulated
//! machine runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::compiler::Compiler;
use crate::{cross, ebpf, workspace};

/// An architecture, as Rust and the kernel call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Arch {
    /// That of this machine.
    pub(crate) const HOST: Arch = match cfg!(target_arch = "aarch64") {
        true => Arch::Aarch64,
        false => Arch::X86_64,
    };

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// As Go and Debian call it.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// As Rust calls the target.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    fn strip(self) -> &'static str {
        match self {
            Arch::X86_64 => "strip",
            Arch::Aarch64 => "aarch64-linux-gnu-strip",
        }
    }
}

/// Builds `gotrace`, static.
///
/// # Errors
/// It does not build, or there is no compiler for it.
pub(crate) fn gotrace(arch: Arch) -> Result<PathBuf> {
    let shell = workspace::shell()?;
    cargo(
        &shell,
        arch,
        &["build", "--release", "--package", "tracer-user"],
    )?
    .run()
    .with_context(|| format!("gotrace does not build for {}", arch.short()))?;
    Ok(directory(arch).join("release/gotrace"))
}

/// Builds `gotrace` and files of integration tests, static, for a machine that is emulated here: quickly, so with little
/// optimisation, and all at once, so that what they share is built once.
///
/// # Errors
/// They do not build, or there is no compiler for them.
pub(crate) fn tests(arch: Arch, files: &[&str]) -> Result<(PathBuf, Vec<PathBuf>)> {
    let shell = workspace::shell()?;
    let package = ["--package", "integration-tests"];
    let package = package.into_iter().filter(|_| !files.is_empty());
    let chosen = files.iter().flat_map(|file| ["--test", file]);
    let said = cargo(&shell, arch, &["build", "--quiet", "--profile", "foreign"])?
        .args(["--package", "tracer-user", "--bin", "gotrace"])
        .args(package)
        .args(chosen)
        .args(["--message-format", "json-render-diagnostics"])
        .read()
        .with_context(|| format!("the tests do not build for {}", arch.short()))?;
    Ok((built(&said, "gotrace")?, built_tests(&said, files)?))
}

/// Where the files of tests are, of which cargo says in JSON that it built them.
pub(crate) fn built_tests(said: &str, files: &[&str]) -> Result<Vec<PathBuf>> {
    files.iter().map(|file| built(said, file)).collect()
}

fn built(said: &str, name: &str) -> Result<PathBuf> {
    let program = said.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name;
        Some(PathBuf::from(
            message["executable"].as_str().filter(|_| is_it)?,
        ))
    });
    program.with_context(|| format!("cargo built no {name}"))
}

/// Copies a program without what only a debugger needs.
pub(crate) fn strip(arch: Arch, program: &Path, to: &Path) -> Result<()> {
    let shell = workspace::shell()?;
    let strip = arch.strip();
    Ok(cmd!(shell, "{strip} -o {to} {program}").quiet().run()?)
}

fn directory(arch: Arch) -> PathBuf {
    workspace::target().join("static").join(arch.target())
}

/// Installs or finds what builds for that architecture.
///
/// # Errors
/// There is no compiler for it.
pub(crate) fn install(arch: Arch) -> Result<()> {
    let shell = workspace::shell()?;
    cargo(&shell, arch, &["build"]).map(drop)
}

/// A cargo for that architecture. Whoever has the source of Rust's library for the BPF objects needs nothing more.
fn cargo<'s>(shell: &'s Shell, arch: Arch, task: &[&str]) -> Result<Cmd<'s>> {
    const STATIC: &str = "-Ctarget-feature=+crt-static";
    let command = workspace::bare_cargo(shell)
        .args(task)
        .args(["--locked", "--target", arch.target()])
        .arg("--target-dir")
        .arg(workspace::target().join("static"));
    Ok(match arch {
        // Named, since rustup's `rustc` is another one for a crate that has a file with a toolchain of its own.
        Arch::X86_64 => {
            let sysroot = cmd!(shell, "rustc --print sysroot").quiet().read()?;
            command
                .env("RUSTC", Path::new(&sysroot).join("bin/rustc"))
                .env("RUSTFLAGS", STATIC)
        }
        Arch::Aarch64 => {
            cross::install()?;
            let compiler = Compiler::find(shell, ebpf::LLVM)?;
            println!("arm64: {} ({})", compiler.version, compiler.reason);
            let command = match cross::library(&compiler)? {
                Some(sysroot) => {
                    let sysroot = format!("--sysroot={}", sysroot.display());
                    // Separated so, a path may have a blank in it.
                    command.env(
                        "CARGO_ENCODED_RUSTFLAGS",
                        format!("{STATIC}\u{1f}{sysroot}"),
                    )
                }
                None => command
                    .args(["-Z", "build-std=std,panic_unwind,test"])
                    .env("RUSTFLAGS", STATIC),
            };
            command
                .env("RUSTC", &compiler.rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env(
                    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                    cross::COMPILER,
                )
        }
    })
}
