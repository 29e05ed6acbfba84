//! One virtual machine: a kernel, a root file system, and what it says on its serial line.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::guest::Guest;
use super::packages::{self, Emulator};
use crate::portable::Arch;

/// MiB of memory: the archive is there twice while it is unpacked.
const MEMORY: &str = "2048";

pub(super) struct Machine<'a> {
    arch: Arch,
    emulator: Emulator,
    kernel: PathBuf,
    guest: &'a Guest,
}

impl Machine<'_> {
    pub(super) fn new<'a>(arch: Arch, kernel: &Path, guest: &'a Guest) -> Result<Machine<'a>> {
        Ok(Machine {
            arch,
            emulator: packages::emulator(arch)?,
            kernel: kernel.to_owned(),
            guest,
        })
    }

    /// Boots it and waits until it turns itself off; what it said, which is shown as it comes.
    ///
    /// # Errors
    /// It does not within so many seconds.
    pub(super) fn run(&self, seconds: u64) -> Result<Vec<String>> {
        let mut child = self
            .command(seconds)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the emulator")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let mut said = Vec::new();
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            println!("  {line}");
            said.push(line);
        }
        let status = child.wait()?;
        ensure!(
            status.success(),
            "the machine did not end within {seconds} s: {status}"
        );
        Ok(said)
    }

    fn command(&self, seconds: u64) -> Command {
        let (machine, console) = match self.arch {
            Arch::X86_64 => (&["-cpu", "max"][..], "ttyS0"),
            Arch::Aarch64 => (
                &["-M", "virt", "-cpu", "max,pauth-impdef=on"][..],
                "ttyAMA0",
            ),
        };
        // While the kernel makes a huge page out of small ones, a probe cannot read them; that is counted, but what is
        // tested here is that nothing is missing.
        let boot = format!("console={console} quiet panic=-1 transparent_hugepage=never");
        // One that hangs is killed.
        let mut command = Command::new("timeout");
        command
            .arg(seconds.to_string())
            .arg(&self.emulator.program)
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", MEMORY])
            .args(machine)
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.guest.archive)
            .args(["-append", &boot])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio", "-monitor", "none"]);
        if let Some(home) = &self.emulator.home {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
            let libraries = libraries.map(|part| home.join(part).display().to_string());
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(home.join(data));
            }
        }
        command
    }
}
