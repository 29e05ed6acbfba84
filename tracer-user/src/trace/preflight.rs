//! Whether this host and these rights are enough, asked before anything is touched, so that the
//! answer names what is missing.

use std::path::Path;

use procfs::process::Process;

use crate::failure::Failure;

/// The oldest kernel that has all that the probes use: `bpf_get_attach_cookie` for uprobes came
/// with 5.15, the BPF ring buffer with 5.8.
pub(crate) const OLDEST_KERNEL: (u32, u32) = (5, 15);

/// The oldest kernel that has the BPF ring buffer.
const OLDEST_WATCH: (u32, u32) = (5, 8);

/// Bits of the kernel's capability sets (include/uapi/linux/capability.h).
pub(crate) const CAP_DAC_READ_SEARCH: u32 = 2;
pub(crate) const CAP_SYS_PTRACE: u32 = 19;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
pub(crate) const CAP_PERFMON: u32 = 38;
pub(crate) const CAP_BPF: u32 = 39;

/// What matters of a host and of this process' rights on it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Kernel release as `uname -r` prints it.
    release: String,
    /// Whether the kernel describes its types.
    btf: bool,
    /// Effective capabilities, a bit each.
    capabilities: u64,
}

impl Host {
    /// Looks at the host that this process runs on.
    pub(crate) fn look() -> Host {
        Host {
            release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            capabilities: Process::myself()
                .and_then(|process| process.status())
                .map_or(0, |status| status.capeff),
        }
    }

    /// A host that is so, whatever this one is.
    #[cfg(test)]
    pub(crate) fn of(release: &str, btf: bool, capabilities: u64) -> Host {
        Host {
            release: release.to_owned(),
            btf,
            capabilities,
        }
    }

    /// Kernel release as `uname -r` prints it.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// The kernel's version, if the release begins with one.
    pub(crate) fn kernel_version(&self) -> Option<(u32, u32)> {
        kernel_version(&self.release)
    }

    /// Whether the kernel describes its types.
    pub(crate) const fn has_btf(&self) -> bool {
        self.btf
    }

    /// Whether this process has a capability.
    pub(crate) const fn can(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }

    /// Checks that another process' memory may be read.
    ///
    /// # Errors
    /// The capability that is missing.
    pub(crate) fn check_memory(&self) -> Result<(), Failure> {
        self.check_capabilities(&[(
            CAP_SYS_PTRACE,
            "CAP_SYS_PTRACE",
            "to read the target's memory",
        )])
    }

    /// Checks that probes may be placed.
    ///
    /// # Errors
    /// The kernel feature or capability that is missing.
    pub(crate) fn check_probes(&self) -> Result<(), Failure> {
        if let Some(version) = self.kernel_version()
            && version < OLDEST_KERNEL
        {
            return Err(Failure::new(format!(
                "this kernel ({}) is too old for probes",
                self.release
            ))
            .because("the BPF cookie of uprobes needs Linux 5.15, the BPF ring buffer 5.8")
            .next("use `--level observe`, which reads memory alone, or a newer kernel"));
        }
        if !self.btf {
            return Err(
                Failure::new("this kernel does not describe its types (no BTF)")
                    .because("/sys/kernel/btf/vmlinux does not exist")
                    .next(
                        "use `--level observe`, which reads memory alone, or a kernel built with \
                     CONFIG_DEBUG_INFO_BTF=y",
                    ),
            );
        }
        self.check_capabilities(&[
            (CAP_BPF, "CAP_BPF", "to load BPF programs"),
            (CAP_PERFMON, "CAP_PERFMON", "to attach uprobes"),
            (
                CAP_SYS_PTRACE,
                "CAP_SYS_PTRACE",
                "to read the target's memory",
            ),
        ])
    }

    /// Checks that the processes of the node may be watched, and their memory read.
    ///
    /// # Errors
    /// The kernel feature or capability that is missing.
    pub(crate) fn check_watch(&self) -> Result<(), Failure> {
        if let Some(version) = self.kernel_version()
            && version < OLDEST_WATCH
        {
            return Err(Failure::new(format!(
                "this kernel ({}) is too old to say which processes begin and end",
                self.release
            ))
            .because("the BPF ring buffer needs Linux 5.8")
            .next("use --scan 10s, which lists all processes so often, or a newer kernel"));
        }
        self.check_capabilities(&[
            (CAP_BPF, "CAP_BPF", "to load BPF programs"),
            (
                CAP_PERFMON,
                "CAP_PERFMON",
                "to learn which processes begin and end; --scan does without",
            ),
            (
                CAP_SYS_PTRACE,
                "CAP_SYS_PTRACE",
                "to read the memory of processes",
            ),
        ])
    }

    fn check_capabilities(&self, needed: &[(u32, &str, &str)]) -> Result<(), Failure> {
        let implied =
            |capability| matches!(capability, CAP_BPF | CAP_PERFMON) && self.can(CAP_SYS_ADMIN);
        let missing: Vec<String> = needed
            .iter()
            .filter(|(capability, ..)| !self.can(*capability) && !implied(*capability))
            .map(|(_, name, purpose)| format!("{name} ({purpose})"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::new("rights are missing")
            .because(missing.join(", "))
            .next("run gotrace as root (sudo), or give it these capabilities"))
    }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << CAP_BPF) | (1 << CAP_PERFMON) | (1 << CAP_SYS_PTRACE);

    fn host(release: &str, btf: bool, capabilities: u64) -> Host {
        Host::of(release, btf, capabilities)
    }

    #[test]
    fn what_is_missing_is_named() {
        for (host, expected) in [
            (host("6.18.44-vm", true, ALL), None),
            (host("5.15.0", true, ALL), None),
            (
                host(
                    "6.1.0-cloud",
                    true,
                    (1 << CAP_SYS_ADMIN) | (1 << CAP_SYS_PTRACE),
                ),
                None,
            ),
            (host("5.10.0-23-amd64", true, ALL), Some("too old")),
            (host("4.19.0", true, ALL), Some("5.15")),
            (host("6.1.0", false, ALL), Some("BTF")),
            (
                host("6.1.0", true, 0),
                Some("CAP_BPF (to load BPF programs), CAP_PERFMON"),
            ),
            (
                host("6.1.0", true, ALL & !(1 << CAP_SYS_PTRACE)),
                Some("CAP_SYS_PTRACE"),
            ),
        ] {
            let result = host.check_probes();
            match expected {
                None => assert!(result.is_ok(), "{host:?}: {result:?}"),
                Some(text) => {
                    let message = result.expect_err(text).to_string();
                    assert!(message.contains(text), "{host:?}: {message}");
                    assert!(message.contains("next: "), "{message}");
                }
            }
        }
    }

    #[test]
    fn watching_needs_no_types_of_the_kernel() {
        assert!(host("5.8.0", false, ALL).check_watch().is_ok());
        for (host, missing) in [
            (host("5.7.0", false, ALL), "5.8"),
            (host("6.1.0", false, ALL & !(1 << CAP_PERFMON)), "--scan"),
            (host("6.1.0", false, ALL & !(1 << CAP_BPF)), "CAP_BPF"),
        ] {
            let message = host.check_watch().expect_err(missing).to_string();
            assert!(message.contains(missing), "{message}");
        }
    }

    #[test]
    fn reading_memory_needs_ptrace_alone() {
        assert!(
            host("4.19.0", false, 1 << CAP_SYS_PTRACE)
                .check_memory()
                .is_ok()
        );
        assert!(host("6.1.0", true, 0).check_memory().is_err());
    }
}
