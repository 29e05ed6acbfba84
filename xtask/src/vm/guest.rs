//! What runs in a virtual machine: a root file system in its memory with gotrace, Go programs, tests and an init.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc;
use tempfile::TempDir;

use super::packages;
use crate::fixtures::{self, Fixture};
use crate::go::Toolchain;
use crate::portable::{self, Arch};
use crate::workspace;

/// Begins a line of what the machine says; a word and a text follow.
pub(super) const SAYS: &str = "@@vm ";

/// The root file system.
pub(super) struct Guest {
    /// An archive that the kernel unpacks.
    pub(super) archive: PathBuf,
    _directory: TempDir,
}

impl Guest {
    /// Builds everything for an architecture and packs it.
    pub(super) fn build(
        arch: Arch,
        toolchain: &Toolchain,
        programs: &'static [&'static str],
        tests: &[&str],
    ) -> Result<Guest> {
        let directory = tempfile::tempdir()?;
        let archive = directory.path().join("initramfs");
        let mut root = Root::create(&archive)?;
        for folder in ["bin", "dev", "proc", "sys", "tmp", "fixtures", "tests"] {
            root.folder(folder)?;
        }
        root.file("bin/busybox", &packages::busybox(arch)?)?;
        let mut program = |from: &Path, to: &str| -> Result<()> {
            let stripped = directory.path().join("stripped");
            portable::strip(arch, from, &stripped)?;
            root.file(to, &stripped)
        };
        program(&portable::gotrace(arch)?, "bin/gotrace")?;
        for (name, built) in tests.iter().zip(portable::tests(arch, tests)?) {
            program(&built, &format!("tests/{name}"))?;
        }
        let output = workspace::target().join("fixtures").join(arch.short());
        for name in programs {
            let fixture = Fixture::plain(name, arch.short());
            let built = fixtures::build_one(toolchain, &fixture, &output)?;
            // With its symbols, as programs have them.
            root.file(&format!("fixtures/{name}"), &built)?;
        }
        root.bytes("init", init(tests).as_bytes())?;
        root.finish()?;
        Ok(Guest {
            archive,
            _directory: directory,
        })
    }
}

/// The first and only program that the kernel starts: it runs the tests, says what came of them, and turns the
/// machine off.
fn init(tests: &[&str]) -> String {
    let mut script = format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp GOTRACE_BIN=/bin/gotrace GOTRACE_FIXTURES=/fixtures RUST_BACKTRACE=0
# Emulated, everything takes many times as long.
export GOTRACE_EMULATED=1 GOTRACE_OPERATIONS=100000
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /tmp
ip link set lo up
echo '{SAYS}kernel '$(uname -r)
"
    );
    for test in tests {
        script += &format!("/tests/{test} --test-threads=1 2>&1\necho '{SAYS}exit {test} '$?\n");
    }
    script + "sync\npoweroff -f\n"
}

/// An archive that is being written.
struct Root {
    out: BufWriter<File>,
    entries: u32,
}

impl Root {
    fn create(path: &Path) -> Result<Root> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Root {
            out: BufWriter::new(file),
            entries: 0,
        })
    }

    fn put(&mut self, name: &str, mode: newc::ModeFileType, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(bytes.len()).context("too large for this kind of archive")?;
        let builder = newc::Builder::new(name)
            .ino(self.entries)
            .nlink(1)
            .mode(0o755)
            .set_mode_file_type(mode);
        let mut entry = builder.write(&mut self.out, size);
        entry.write_all(bytes)?;
        entry.finish()?;
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        self.put(name, newc::ModeFileType::Directory, &[])
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(name, newc::ModeFileType::Regular, bytes)
    }

    fn file(&mut self, name: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.bytes(name, &bytes)
    }

    fn finish(mut self) -> Result<()> {
        newc::trailer(&mut self.out)?;
        Ok(self.out.flush()?)
    }
}
