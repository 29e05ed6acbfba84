//! What builds for arm64 on amd64 beside a Rust compiler: a C compiler, which Go programs with C code in them need as well,
//! and Rust's library.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::cmd;

use crate::apt::Apt;
use crate::compiler::{Compiler, DEBIAN_RUSTC};
use crate::portable::Arch;
use crate::{debian, workspace};

/// Its command.
pub(crate) const COMPILER: &str = "aarch64-linux-gnu-gcc";

/// Finds it on PATH, or installs it by apt-get.
pub(crate) fn install() -> Result<()> {
    let shell = workspace::shell()?;
    let links = || -> Result<()> {
        // Its library is a package of its own.
        let directory = shell.create_temp_dir()?;
        let program = directory.path().join("program");
        cmd!(shell, "{COMPILER} -x c - -o {program}")
            .stdin("int main(void) { return 0; }")
            .quiet()
            .ignore_stderr()
            .run()?;
        Ok(())
    };
    if links().is_ok() {
        return Ok(());
    }
    let apt = || -> Result<()> {
        debian::install(&shell, &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"])?;
        links()
    };
    apt().with_context(|| {
        format!(
            "there is no C compiler for arm64\n\
             next: put {COMPILER} and its C library on PATH \
             (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
        )
    })
}

/// A sysroot with Rust's library for arm64, which Debian has built for its own compiler: unpacked, not installed.
/// Nothing for any other compiler, or if Debian has another version by now; then the library is to be built, too.
pub(crate) fn library(compiler: &Compiler) -> Result<Option<PathBuf>> {
    const PACKAGE: &str = "libstd-rust-web-dev";
    if compiler.rustc != Path::new(DEBIAN_RUSTC) {
        return Ok(None);
    }
    let shell = workspace::shell()?;
    let format = "--showformat=${Version}";
    let version = cmd!(shell, "dpkg-query --show {format} {PACKAGE}:amd64")
        .quiet()
        .ignore_stderr()
        .read();
    let Ok(version) = version else {
        return Ok(None);
    };
    let home = workspace::cache()?
        .join("vm")
        .join(format!("{PACKAGE}-{version}-arm64"));
    if !home.exists() {
        let unpacked = Apt::of(Arch::Aarch64)?.unpack(&format!("{PACKAGE}={version}"), &home);
        if let Err(error) = unpacked {
            println!("arm64: Rust's library is built as well: {error:#}");
            return Ok(None);
        }
    }
    Ok(Some(home.join("usr")))
}
