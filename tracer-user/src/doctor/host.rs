//! What the facts of a host mean for gotrace. Pure.

use super::Check;
use super::facts::Facts;
use crate::text::elapsed;
use crate::trace::preflight::{
    CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, Host, OLDEST_KERNEL,
};

/// A hit that takes longer than this, in nanoseconds, was hardly emulated: the kernel stepped through the
/// instruction, or something between it and the processor traps as well.
const SLOW_HIT: f64 = 10_000.0;

/// Every check, in the order in which one would look for a cause.
pub(crate) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![kernel(&facts.host), types(&facts.host)];
    checks.extend(capabilities(&facts.host));
    checks.extend([
        feature("ring buffer", &facts.features.ring_buffer, "5.8"),
        feature("attach cookie", &facts.features.attach_cookies, "5.15"),
        bpf(facts),
        at_once(facts),
        uprobes(facts),
        emulation(facts),
        watched(facts),
        lockdown(facts),
        paranoia(facts),
        unprivileged(facts),
        yama(facts),
        seccomp(facts),
        namespaces(facts),
        memlock(facts),
    ]);
    checks
}

const MEMORY_ALONE: &str = "use `--level observe`, which reads memory alone";

fn kernel(host: &Host) -> Check {
    let release = host.release();
    let (major, minor) = OLDEST_KERNEL;
    match host.kernel_version() {
        Some(version) if version < OLDEST_KERNEL => Check::missing(
            "kernel",
            format!("Linux {release}: probes need {major}.{minor} or newer"),
            format!("{MEMORY_ALONE}, or a newer kernel"),
        ),
        Some(_) => Check::ok("kernel", format!("Linux {release}")),
        None => Check::warning(
            "kernel",
            format!("Linux {release}, a version that is not understood"),
            format!("probes need Linux {major}.{minor} or newer"),
        ),
    }
}

fn types(host: &Host) -> Check {
    match host.has_btf() {
        true => Check::ok("types (BTF)", "/sys/kernel/btf/vmlinux is there"),
        false => Check::missing(
            "types (BTF)",
            "/sys/kernel/btf/vmlinux does not exist",
            format!("{MEMORY_ALONE}, or a kernel built with CONFIG_DEBUG_INFO_BTF=y"),
        ),
    }
}

fn capabilities(host: &Host) -> Vec<Check> {
    let all = host.can(CAP_SYS_ADMIN);
    [
        ("CAP_BPF", CAP_BPF, "to load BPF programs", all),
        ("CAP_PERFMON", CAP_PERFMON, "to attach uprobes", all),
        (
            "CAP_SYS_PTRACE",
            CAP_SYS_PTRACE,
            "to read the target's memory",
            false,
        ),
    ]
    .into_iter()
    .map(
        |(name, capability, purpose, implied)| match (host.can(capability), implied) {
            (true, _) => Check::ok(name, purpose),
            (false, true) => Check::ok(name, format!("{purpose}; CAP_SYS_ADMIN implies it")),
            (false, false) => Check::missing(
                name,
                format!("not there, {purpose}"),
                "run gotrace as root (sudo), or `setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep` its file",
            ),
        },
    )
    .collect()
}

/// What came with a version of Linux, and may be in an older one that a vendor mends.
fn feature(name: &'static str, asked: &Result<bool, String>, since: &str) -> Check {
    match asked {
        Ok(true) => Check::ok(name, "asked: the kernel has it"),
        Ok(false) => Check::missing(
            name,
            format!("asked: the kernel does not have it; Linux {since} and newer do"),
            MEMORY_ALONE,
        ),
        Err(error) => Check::warning(name, format!("not known: {error}"), "see CAP_BPF"),
    }
}

fn bpf(facts: &Facts) -> Check {
    match &facts.loaded {
        Ok(_) => Check::ok(
            "BPF",
            "tried: the programs were loaded, with ring buffer and attach cookies",
        ),
        Err(error) => Check::missing("BPF", format!("tried: {error}"), MEMORY_ALONE),
    }
}

fn at_once(facts: &Facts) -> Check {
    match facts.loaded {
        Ok(true) => Check::ok("uprobe-multi", "asked: all probes come and go at once"),
        Ok(false) => Check::warning(
            "uprobe-multi",
            "asked: the kernel has none, or one whose filter by process is wrong",
            "probes are placed one by one, which takes longer; Linux 6.10 and newer have it",
        ),
        Err(_) => Check::warning(
            "uprobe-multi",
            "not tried: the kernel side is not there",
            "see BPF",
        ),
    }
}

fn uprobes(facts: &Facts) -> Check {
    match (&facts.hit, &facts.loaded) {
        (Ok(_), _) => Check::ok(
            "uprobes",
            "tried: a probe on gotrace's own code was hit and counted",
        ),
        (Err(error), _) if !facts.uprobe_events => Check::missing(
            "uprobes",
            format!("the kernel has none (CONFIG_UPROBE_EVENTS): {error}"),
            MEMORY_ALONE,
        ),
        (Err(_), Err(_)) => Check::warning(
            "uprobes",
            "not tried: the kernel side is not there",
            "see BPF",
        ),
        (Err(error), Ok(_)) => Check::missing("uprobes", format!("tried: {error}"), MEMORY_ALONE),
    }
}

fn emulation(facts: &Facts) -> Check {
    match facts.hit {
        Ok(nanos) if nanos > SLOW_HIT => Check::warning(
            "single-step hazard",
            format!(
                "a hit takes {}: the kernel seems to step through what it could emulate",
                elapsed(nanos as u64)
            ),
            "`--level auto` takes that into account and traces less; `wake` costs least",
        ),
        Ok(nanos) => Check::ok(
            "single-step hazard",
            format!(
                "none: a hit takes {}, so its instruction is emulated, as are all that gotrace probes",
                elapsed(nanos as u64)
            ),
        ),
        Err(_) => Check::warning("single-step hazard", "not measured", "see uprobes"),
    }
}

fn watched(facts: &Facts) -> Check {
    match &facts.watched {
        Ok(()) => Check::ok(
            "process events",
            "tried: the kernel tells of processes that begin and end",
        ),
        Err(error) => Check::warning(
            "process events",
            format!("tried: {error}"),
            "`gotrace agent --scan 10s` lists all processes now and then instead",
        ),
    }
}

fn lockdown(facts: &Facts) -> Check {
    match facts.lockdown.as_deref() {
        Some("confidentiality") => Check::missing(
            "lockdown",
            "confidentiality: BPF programs may not read memory",
            format!("{MEMORY_ALONE}, or boot with lockdown=integrity"),
        ),
        Some(mode) => Check::ok(
            "lockdown",
            format!("{mode}: nothing that gotrace needs is refused"),
        ),
        None => Check::ok("lockdown", "the kernel has none, or does not say"),
    }
}

fn paranoia(facts: &Facts) -> Check {
    let name = "perf_event_paranoid";
    let privileged = facts.host.can(CAP_PERFMON) || facts.host.can(CAP_SYS_ADMIN);
    match facts.perf_event_paranoid {
        Some(level) if privileged => {
            Check::ok(name, format!("{level}, which does not bind CAP_PERFMON"))
        }
        Some(level) if level >= 0 => Check::warning(
            name,
            format!("{level}: without CAP_PERFMON there are no probes"),
            "see CAP_PERFMON",
        ),
        Some(level) => Check::ok(name, level.to_string()),
        None => Check::warning(
            name,
            "not known",
            "is /proc mounted, and perf built into the kernel?",
        ),
    }
}

fn unprivileged(facts: &Facts) -> Check {
    let name = "unprivileged_bpf_disabled";
    match facts.unprivileged_bpf_disabled {
        Some(0) => Check::warning(
            name,
            "0: any user may load BPF programs; gotrace does not need that",
            "set it to 1 or 2 unless something else does",
        ),
        Some(level) => Check::ok(name, format!("{level}, which does not bind CAP_BPF")),
        None => Check::ok(name, "the kernel does not say"),
    }
}

fn yama(facts: &Facts) -> Check {
    let name = "yama ptrace_scope";
    match facts.ptrace_scope {
        Some(3) => Check::missing(
            name,
            "3: nobody may read another process' memory, whatever the rights",
            "it can only be lowered by a reboot: kernel.yama.ptrace_scope=2 or less in /etc/sysctl.d",
        ),
        Some(scope @ 1..) if !facts.host.can(CAP_SYS_PTRACE) => Check::warning(
            name,
            format!("{scope}: without CAP_SYS_PTRACE not even one's own processes may be read"),
            "see CAP_SYS_PTRACE",
        ),
        Some(scope) => Check::ok(name, format!("{scope}, which does not bind CAP_SYS_PTRACE")),
        None => Check::ok(name, "the kernel has no Yama"),
    }
}

fn seccomp(facts: &Facts) -> Check {
    match (facts.seccomp, &facts.loaded) {
        (Some(0), _) => Check::ok("seccomp", "no filter"),
        (Some(_), Ok(_)) => Check::ok("seccomp", "a filter, which lets bpf(2) pass"),
        (Some(_), Err(_)) => Check::warning(
            "seccomp",
            "a filter, which may be what refuses bpf(2)",
            "in a container: allow bpf, perf_event_open and process_vm_readv, or use `--privileged`",
        ),
        (None, _) => Check::ok("seccomp", "the kernel does not say"),
    }
}

fn namespaces(facts: &Facts) -> Check {
    let name = "container";
    if facts.first_user_namespace == Some(false) {
        return Check::warning(
            name,
            "a user namespace of its own: rights in it are none outside",
            "run gotrace outside, or in a container that shares the host's user namespace",
        );
    }
    match (facts.container, facts.first_pid_namespace) {
        (_, Some(false)) => Check::warning(
            name,
            "a pid namespace of its own: processes outside are not seen, and events name them otherwise",
            "share the host's (`docker run --pid=host`, `hostPID: true`), or that of the target",
        ),
        (Some(file), _) => Check::ok(
            name,
            format!("one ({file}) that shares the host's processes"),
        ),
        (None, _) => Check::ok(name, "none: the host's own processes"),
    }
}

fn memlock(facts: &Facts) -> Check {
    // Linux 5.11 and newer charge the memory of BPF maps to the control group.
    let uncharged = "which BPF maps do not count against since Linux 5.11";
    match facts.memlock {
        Some(u64::MAX) => Check::ok("memlock", "unlimited"),
        Some(bytes) => Check::ok("memlock", format!("{} KiB, {uncharged}", bytes >> 10)),
        None => Check::ok("memlock", format!("not known, {uncharged}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::trace::kernel::features::Features;

    fn good() -> Facts {
        let rights = (1 << CAP_BPF) | (1 << CAP_PERFMON) | (1 << CAP_SYS_PTRACE);
        Facts {
            host: Host::of("6.12.1-amd64", true, rights),
            lockdown: Some("none".to_owned()),
            perf_event_paranoid: Some(3),
            unprivileged_bpf_disabled: Some(2),
            ptrace_scope: Some(1),
            seccomp: Some(0),
            first_pid_namespace: Some(true),
            first_user_namespace: Some(true),
            container: None,
            memlock: Some(8 << 20),
            uprobe_events: true,
            features: Features {
                ring_buffer: Ok(true),
                attach_cookies: Ok(true),
            },
            loaded: Ok(true),
            hit: Ok(1_100.0),
            watched: Ok(()),
        }
    }

    /// Names and statuses of checks that are not fine.
    fn wrong(facts: &Facts) -> Vec<(&'static str, Status)> {
        let checks = checks(facts).into_iter();
        let wrong = checks.filter(|check| check.status != Status::Ok);
        wrong
            .inspect(|check| assert!(check.next.is_some(), "{check:?} leaves one alone"))
            .map(|check| (check.name, check.status))
            .collect()
    }

    #[test]
    fn each_fact_is_judged_by_itself() {
        assert_eq!(wrong(&good()), []);
        type Change = fn(&mut Facts);
        let cases: [(&str, Status, Change); 16] = [
            ("kernel", Status::Missing, |it| {
                it.host = Host::of("5.10.0-23-amd64", true, u64::MAX);
            }),
            ("kernel", Status::Warning, |it| {
                it.host = Host::of("unknown", true, u64::MAX);
            }),
            ("types (BTF)", Status::Missing, |it| {
                it.host = Host::of("6.1.0", false, u64::MAX);
            }),
            ("CAP_SYS_PTRACE", Status::Missing, |it| {
                it.host = Host::of("6.1.0", true, !(1 << CAP_SYS_PTRACE));
                it.ptrace_scope = Some(0);
            }),
            ("ring buffer", Status::Missing, |it| {
                it.features.ring_buffer = Ok(false);
            }),
            ("attach cookie", Status::Missing, |it| {
                it.features.attach_cookies = Ok(false);
            }),
            ("attach cookie", Status::Warning, |it| {
                it.features.attach_cookies = Err("not permitted".to_owned());
            }),
            ("process events", Status::Warning, |it| {
                it.watched = Err("not permitted".to_owned());
            }),
            ("uprobe-multi", Status::Warning, |it| it.loaded = Ok(false)),
            ("single-step hazard", Status::Warning, |it| {
                it.hit = Ok(13_000.0)
            }),
            ("lockdown", Status::Missing, |it| {
                it.lockdown = Some("confidentiality".to_owned());
            }),
            ("unprivileged_bpf_disabled", Status::Warning, |it| {
                it.unprivileged_bpf_disabled = Some(0);
            }),
            ("yama ptrace_scope", Status::Missing, |it| {
                it.ptrace_scope = Some(3)
            }),
            ("container", Status::Warning, |it| {
                it.first_pid_namespace = Some(false)
            }),
            ("container", Status::Warning, |it| {
                it.first_user_namespace = Some(false)
            }),
            ("perf_event_paranoid", Status::Warning, |it| {
                it.perf_event_paranoid = None;
            }),
        ];
        for (name, status, change) in cases {
            let mut facts = good();
            change(&mut facts);
            assert_eq!(wrong(&facts), [(name, status)], "{facts:?}");
        }
    }

    #[test]
    fn who_may_do_nothing_is_told_each_right_that_is_missing() {
        let facts = Facts {
            host: Host::of("6.12.1", true, 0),
            loaded: Err("bpf: operation not permitted".to_owned()),
            hit: Err("not tried".to_owned()),
            seccomp: Some(2),
            ..good()
        };
        let names: Vec<&str> = wrong(&facts).into_iter().map(|(name, _)| name).collect();
        for name in [
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_SYS_PTRACE",
            "BPF",
            "uprobes",
            "seccomp",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
    }
}
