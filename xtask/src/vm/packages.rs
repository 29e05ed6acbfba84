//! What the virtual machines are made of, unpacked out of Debian's packages: kernels, a shell, the emulator. Nothing is
//! installed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::apt::Apt;
use crate::portable::Arch;
use crate::{debian, workspace};

/// Series of kernels, oldest first.
pub(super) const SERIES: &[&str] = &["6.1", "6.12"];

/// The newest kernel of a series; `None` if Debian has none for this architecture.
pub(super) fn kernel(arch: Arch, series: &str) -> Result<Option<PathBuf>> {
    let apt = Apt::of(arch)?;
    let Some(package) = newest_kernel(&apt, series)? else {
        return Ok(None);
    };
    let home = workspace::cache()?.join("vm").join(&package);
    if !home.join("boot").exists() {
        apt.unpack(&package, &home)?;
    }
    let boot = fs::read_dir(home.join("boot"))?;
    let image = boot
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        });
    Ok(Some(
        image.with_context(|| format!("{package} has no kernel"))?,
    ))
}

/// A static shell with the tools that an init needs.
pub(super) fn busybox(arch: Arch) -> Result<PathBuf> {
    let home = workspace::cache()?
        .join("vm")
        .join(format!("busybox-{}", arch.short()));
    let program = home.join("bin/busybox");
    if !program.exists() {
        Apt::of(arch)?.unpack("busybox-static", &home)?;
    }
    Ok(program)
}

/// The emulator, and the directories of its libraries and of its data, if it is not the system's own.
pub(super) struct Emulator {
    pub(super) program: PathBuf,
    pub(super) home: Option<PathBuf>,
}

/// Finds the emulator on PATH, or unpacks it with all that it needs and the system does not have.
pub(super) fn emulator(arch: Arch) -> Result<Emulator> {
    let shell = workspace::shell()?;
    let name = format!("qemu-system-{}", arch.name());
    if let Ok(path) = cmd!(shell, "which {name}").quiet().ignore_stderr().read() {
        return Ok(Emulator {
            program: path.into(),
            home: None,
        });
    }
    let package = match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
    };
    let home = workspace::cache()?.join("vm").join(package);
    let program = home.join("usr/bin").join(&name);
    if !program.exists() {
        println!("setup: unpacking {package} into {}", home.display());
        let would = cmd!(
            shell,
            "apt-get --simulate --no-install-recommends install {package}"
        )
        .quiet()
        .ignore_stderr()
        .read()?;
        // Such as `Inst libfdt1 (1.6.1-4+b1 Debian:12.11/stable [amd64])`.
        let needed = would
            .lines()
            .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
        for needed in needed {
            debian::unpack(needed, &home)?;
        }
    }
    Ok(Emulator {
        program,
        home: Some(home),
    })
}

/// The newest package of a kernel of this series, made for virtual machines.
fn newest_kernel(apt: &Apt, series: &str) -> Result<Option<String>> {
    let names = apt.names("linux-image-")?.into_iter();
    let newest = names
        .filter_map(|name| Some((version(&name, series)?, name)))
        .max();
    Ok(newest.map(|(_, name)| name))
}

/// The numbers in the name of an unsigned cloud kernel of a series, by which the newest is found.
fn version(name: &str, series: &str) -> Option<Vec<u32>> {
    let rest = name.strip_prefix("linux-image-")?.strip_prefix(series)?;
    let rest = rest.strip_prefix(['.', '-'])?;
    let (numbers, _) = rest.split_once("-cloud-")?;
    if !name.ends_with("-unsigned") {
        return None;
    }
    let numbers = numbers.split(|c: char| !c.is_ascii_digit());
    Some(numbers.filter_map(|number| number.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_newest_kernel_of_a_series_is_found_by_its_numbers() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-57-rt-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.1.0-58-cloud-amd64",
        ];
        let newest = |series| {
            names
                .iter()
                .filter_map(|name| Some((version(name, series)?, *name)))
                .max()
        };
        assert_eq!(newest("6.1").map(|(_, name)| name), Some(names[1]));
        assert_eq!(newest("6.12").map(|(_, name)| name), Some(names[3]));
        assert_eq!(newest("5.10"), None);
    }
}
