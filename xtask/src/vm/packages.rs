//! What the virtual machines are made of, unpacked out of Debian's packages: kernels, a shell, the emulator. Nothing is
//! installed, and the lists of the other architecture are kept apart from the system's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::portable::Arch;
use crate::{debian, workspace};

/// Series of kernels, oldest first.
pub(super) const SERIES: &[&str] = &["6.1", "6.12"];

/// The newest kernel of a series; `None` if Debian has none for this architecture.
pub(super) fn kernel(arch: Arch, series: &str) -> Result<Option<PathBuf>> {
    let apt = Apt::of(arch)?;
    let Some(package) = apt.newest_kernel(series)? else {
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

/// Debian's packages of one architecture.
struct Apt {
    shell: Shell,
    options: Vec<String>,
}

impl Apt {
    fn of(arch: Arch) -> Result<Apt> {
        let shell = workspace::shell()?;
        let state = workspace::cache()?
            .join("vm")
            .join(format!("apt-{}", arch.short()));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(part))?;
        }
        fs::write(state.join("status"), "")?;
        let at = |part: &str| state.join(part).display().to_string();
        let options = [
            "APT::Sandbox::User=root".to_owned(),
            format!("APT::Architecture={}", arch.short()),
            format!("APT::Architectures={}", arch.short()),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
        ];
        let options = options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option])
            .collect();
        let apt = Apt { shell, options };
        if fs::read_dir(state.join("lists"))?.count() <= 2 {
            apt.update()?;
        }
        Ok(apt)
    }

    fn update(&self) -> Result<()> {
        let (shell, options) = (&self.shell, &self.options);
        Ok(cmd!(shell, "apt-get {options...} --quiet --quiet update").run()?)
    }

    /// The newest package of a kernel of this series, made for virtual machines.
    fn newest_kernel(&self, series: &str) -> Result<Option<String>> {
        let (shell, options) = (&self.shell, &self.options);
        let names = cmd!(shell, "apt-cache {options...} pkgnames linux-image-")
            .quiet()
            .read()?;
        let newest = names
            .lines()
            .filter_map(|name| Some((version(name, series)?, name)))
            .max();
        Ok(newest.map(|(_, name)| name.to_owned()))
    }

    fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        println!("setup: unpacking {package} into {}", into.display());
        let (shell, options) = (&self.shell, &self.options);
        let partial = shell.create_temp_dir()?;
        let _there = shell.push_dir(partial.path());
        let download = || {
            cmd!(
                shell,
                "apt-get {options...} --quiet --quiet download {package}"
            )
            .run()
        };
        if download().is_err() {
            // The lists are of another day.
            self.update()?;
            download()?;
        }
        let file = shell.read_dir(".")?.into_iter().next();
        let file = file.with_context(|| format!("apt-get downloaded no package {package}"))?;
        shell.create_dir(into)?;
        Ok(cmd!(shell, "dpkg-deb --extract {file} {into}")
            .quiet()
            .run()?)
    }
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
