//! A C compiler for arm64 on amd64, which Go programs with C code in them need.

use anyhow::{Context, Result};
use xshell::cmd;

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
