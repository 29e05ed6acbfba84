//! `gotrace` for arm64, built on amd64, and the emulator that runs it here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use xshell::cmd;

use crate::portable::{self, Arch};
use crate::{debian, workspace};

/// What gotrace says of a recording or snapshot: its arguments but for the file.
const QUESTIONS: [&[&str]; 6] = [
    &["replay"],
    &["replay", "--events"],
    &["goroutines", "--from"],
    &["channels", "--from"],
    &["deadlocks", "--from"],
    &["leaks", "--from"],
];

/// What is done beside building.
#[derive(Args)]
pub(crate) struct Options {
    /// Let this machine's gotrace and that for arm64, emulated, tell a recording, and compare the bytes.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

/// Builds, and compares if asked.
pub(crate) fn run(options: &Options) -> Result<()> {
    let gotrace = portable::gotrace(Arch::Aarch64)?;
    println!("arm64: {}", gotrace.display());
    if let Some(file) = &options.replay {
        let file = std::path::absolute(file)?;
        compare(&gotrace, &file)?;
    }
    Ok(())
}

/// Asks both everything, in both formats.
fn compare(foreign: &Path, file: &Path) -> Result<()> {
    let emulator = emulator()?;
    let native = workspace::build_gotrace(&workspace::shell()?)?;
    for question in QUESTIONS {
        for format in ["text", "json"] {
            let told = |mut command: Command| -> Result<Vec<u8>> {
                command.args(question).arg(file).args(["--format", format]);
                let output = command.output()?;
                let code = output.status.code();
                // 1 says that there are findings.
                ensure!(
                    matches!(code, Some(0 | 1)),
                    "{command:?}: {}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                );
                Ok(output.stdout)
            };
            let mut emulated = Command::new(&emulator);
            emulated.arg(foreign);
            let (here, there) = (told(Command::new(&native))?, told(emulated)?);
            let question = question.join(" ");
            ensure!(!here.is_empty(), "{question}, {format}: nothing was said");
            ensure!(here == there, "{question}, {format}: arm64 says otherwise");
            println!("arm64: {question}, {format}: the same {} bytes", here.len());
        }
    }
    Ok(())
}

fn emulator() -> Result<PathBuf> {
    const NAME: &str = "qemu-aarch64-static";
    let shell = workspace::shell()?;
    if let Ok(path) = cmd!(shell, "which {NAME}").quiet().ignore_stderr().read() {
        return Ok(path.into());
    }
    let home = workspace::cache()?.join("qemu-user");
    let emulator = home.join("usr/bin").join(NAME);
    if !emulator.exists() {
        println!("setup: unpacking {NAME} into {}", home.display());
        debian::unpack("qemu-user-static", &home).with_context(|| {
            format!(
                "there is no {NAME}\n\
                 next: put it on PATH (Debian: the package qemu-user-static)"
            )
        })?;
    }
    Ok(emulator)
}
