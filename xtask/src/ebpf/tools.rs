//! The linker for BPF and the program that strips debug information.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::compiler::Compiler;
use crate::{debian, workspace};

/// The linker's version, from crates.io.
const LINKER_VERSION: &str = "0.13.0";

/// The LLVM that the linker is built with, and Debian's package and directory of it.
pub(crate) const LLVM: u32 = 22;
const LLVM_PACKAGE: &str = "llvm-22-dev";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What turns compiled programs into a small object.
pub(super) struct Tools {
    /// bpf-linker.
    pub(super) linker: PathBuf,
    /// What it says of itself, one line.
    pub(super) version: String,
    /// llvm-strip.
    pub(super) strip: PathBuf,
    /// Its version, one line.
    pub(super) strip_version: String,
}

impl Tools {
    /// Finds the tools that fit the compiler. On a machine with LLVM's development files (on
    /// Debian as root they are installed) the linker is built once and kept in the cache; elsewhere
    /// it must be on PATH.
    pub(super) fn find(shell: &Shell, compiler: &Compiler) -> Result<Tools> {
        let linker = linker(shell, compiler)?;
        let version = first_line(shell, &linker)?;
        let strip = [
            Path::new(LLVM_PREFIX).join("bin/llvm-strip"),
            compiler.llvm_tool("llvm-strip"),
            "llvm-strip".into(),
        ];
        let Some((strip, strip_version)) = strip
            .into_iter()
            .find_map(|strip| Some((strip.clone(), strip_version(shell, &strip)?)))
        else {
            bail!(
                "there is no llvm-strip\n\
                 next, with rustup: rustup component add llvm-tools --toolchain nightly\n\
                 next, on Debian: apt-get install llvm"
            );
        };
        Ok(Tools {
            linker,
            version,
            strip,
            strip_version,
        })
    }

    /// PATH with the linker's directory first: the compiler calls it by its name.
    pub(super) fn path(&self) -> Result<OsString> {
        let path = env::var_os("PATH").unwrap_or_default();
        let directory = self.linker.parent().map(Path::to_owned);
        let directories = directory.into_iter().chain(env::split_paths(&path));
        env::join_paths(directories).context("PATH cannot be extended")
    }
}

fn linker(shell: &Shell, compiler: &Compiler) -> Result<PathBuf> {
    // The linker reads what the compiler's LLVM wrote, so its own must not be older.
    if compiler.llvm <= LLVM {
        let home = workspace::cache()?.join(format!("bpf-linker-{LINKER_VERSION}-llvm-{LLVM}"));
        let linker = home.join("bin/bpf-linker");
        if first_line(shell, &linker).is_ok() {
            return Ok(linker);
        }
        let development = Path::new(LLVM_PREFIX).join("bin/llvm-config");
        let on_path = env::var_os("PATH").is_some_and(|path| {
            env::split_paths(&path).any(|directory| directory.join("bpf-linker").exists())
        });
        if !development.exists() && !on_path && debian::can_install(shell) {
            debian::install(shell, &[LLVM_PACKAGE])?;
        }
        if development.exists() {
            println!(
                "ebpf: building bpf-linker {LINKER_VERSION} into {} (one to two minutes)",
                home.display()
            );
            workspace::bare_cargo(shell)
                .args([
                    "install",
                    "--quiet",
                    // Nearly all that it does, LLVM does.
                    "--debug",
                    "bpf-linker",
                    "--version",
                    LINKER_VERSION,
                ])
                .args(["--locked", "--no-default-features"])
                .args(["--features", &format!("llvm-{LLVM}"), "--root"])
                .arg(&home)
                .env("LLVM_PREFIX", LLVM_PREFIX)
                .run()?;
            return Ok(linker);
        }
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join("bpf-linker"))
        .find(|linker| first_line(shell, linker).is_ok())
        .with_context(|| {
            format!(
                "there is no bpf-linker on PATH, and none can be built here for LLVM {}\n\
                 next: cargo binstall bpf-linker, or take it from the releases of \
                 https://github.com/aya-rs/bpf-linker\n\
                 next, on Debian as root: apt-get install {LLVM_PACKAGE}",
                compiler.llvm
            )
        })
}

/// The first line of what a program says to `--version`.
fn first_line(shell: &Shell, program: &Path) -> Result<String> {
    let answer = cmd!(shell, "{program} --version")
        .quiet()
        .ignore_stderr()
        .read()?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// `llvm-strip 22.1.8`; the version is on a line of its own in LLVM's answer.
fn strip_version(shell: &Shell, strip: &Path) -> Option<String> {
    let answer = cmd!(shell, "{strip} --version")
        .quiet()
        .ignore_stderr()
        .read()
        .ok()?;
    let version = answer
        .split("LLVM version ")
        .nth(1)?
        .split_whitespace()
        .next()?;
    Some(format!("llvm-strip {version}"))
}
