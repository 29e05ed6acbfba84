//! What a virtual machine boots into: a root file system in its memory, with an init that runs the tests.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc;
use tempfile::TempDir;

use super::packages;
use super::parts::Parts;
use super::said::SAYS;
use crate::portable;

/// The root file system.
pub(super) struct Guest {
    /// An archive that the kernel unpacks.
    pub(super) archive: PathBuf,
    _directory: TempDir,
}

impl Guest {
    /// Packs it.
    pub(super) fn pack(parts: &Parts) -> Result<Guest> {
        let directory = tempfile::tempdir()?;
        let archive = directory.path().join("initramfs");
        let mut root = Root::create(&archive)?;
        for folder in ["bin", "dev", "proc", "sys", "tmp", "fixtures", "tests"] {
            root.folder(folder)?;
        }
        // Where they are here: in lib, lib64 and the like.
        let of_libraries = parts
            .libraries
            .iter()
            .flat_map(|file| file.ancestors().skip(1));
        let folders: BTreeSet<&str> = of_libraries.filter_map(in_archive).collect();
        for folder in folders {
            root.folder(folder)?;
        }
        for library in &parts.libraries {
            root.file(in_archive(library).context("it has a name")?, library)?;
        }
        root.file("bin/busybox", &packages::busybox(parts.arch)?)?;
        let mut program = |from: &Path, to: &str| -> Result<()> {
            let stripped = directory.path().join("stripped");
            portable::strip(parts.arch, from, &stripped)?;
            root.file(to, &stripped)
        };
        program(&parts.gotrace, "bin/gotrace")?;
        for (name, built) in &parts.tests {
            program(built, &format!("tests/{name}"))?;
        }
        for name in &parts.programs {
            let built = parts.programs_home.join(name);
            root.file(&format!("fixtures/{name}"), &built)?;
        }
        root.bytes("init", init(parts).as_bytes())?;
        root.finish()?;
        Ok(Guest {
            archive,
            _directory: directory,
        })
    }
}

/// The name in an archive of what has this path in the system; none of the root itself.
fn in_archive(path: &Path) -> Option<&str> {
    let name = path.strip_prefix("/").ok()?.to_str()?;
    Some(name).filter(|name| !name.is_empty())
}

/// The first and only program that the kernel starts: it runs the tests, says what came of them, and turns the
/// machine off.
fn init(parts: &Parts) -> String {
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
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t tmpfs tmpfs /tmp
ip link set lo up
echo '{SAYS}kernel '$(uname -r)
printf '%s\\n' '{SAYS}doctor '\"$(gotrace doctor --format json | tr -d '\\n')\"
"
    );
    for (test, _) in &parts.tests {
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
