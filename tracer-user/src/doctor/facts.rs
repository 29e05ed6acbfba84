//! What is so on this host, looked at or tried. Nothing is judged here.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use procfs::process::{LimitValue, Process};

use crate::trace::calibrate;
use crate::trace::kernel::features::Features;
use crate::trace::kernel::watch::Watch;
use crate::trace::kernel::{Kernel, Settings};
use crate::trace::preflight::Host;

/// The kernel numbers its first namespaces so (include/linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";
/// Files that container engines leave in what they start.
const CONTAINER_FILES: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// As small as the kernel side can be loaded.
const RING_BYTES: u32 = 1 << 16;

/// What is so. `None` of what could not be found out.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) host: Host,
    /// What /sys/kernel/security/lockdown has in brackets.
    pub(crate) lockdown: Option<String>,
    pub(crate) perf_event_paranoid: Option<i64>,
    pub(crate) unprivileged_bpf_disabled: Option<i64>,
    pub(crate) ptrace_scope: Option<i64>,
    /// 0: no filter, 2: one.
    pub(crate) seccomp: Option<u32>,
    /// Whether processes have the same numbers here as outside,
    pub(crate) first_pid_namespace: Option<bool>,
    /// and users the same rights.
    pub(crate) first_user_namespace: Option<bool>,
    /// What says that this is a container.
    pub(crate) container: Option<&'static str>,
    /// Bytes that may be locked; `u64::MAX`: any number.
    pub(crate) memlock: Option<u64>,
    /// Whether the kernel has uprobes as a source of events.
    pub(crate) uprobe_events: bool,
    /// What the kernel has of BPF.
    pub(crate) features: Features,
    /// Whether the kernel side was loaded, and then whether all its probes can be one link.
    pub(crate) loaded: Result<bool, String>,
    /// What a hit of a real probe on gotrace's own code took, in nanoseconds.
    pub(crate) hit: Result<f64, String>,
    /// Whether the kernel tells of processes that begin and end.
    pub(crate) watched: Result<(), String>,
}

impl Facts {
    /// Looks and tries. Nothing stays behind.
    pub(crate) fn gather() -> Facts {
        let own = Process::myself();
        let status = own.as_ref().ok().and_then(|own| own.status().ok());
        let memlock = own.as_ref().ok().and_then(|own| own.limits().ok());
        let memlock = memlock.map(|limits| match limits.max_locked_memory.soft_limit {
            LimitValue::Value(bytes) => bytes,
            LimitValue::Unlimited => u64::MAX,
        });
        let settings = Settings {
            ring_bytes: RING_BYTES,
            slots: 1,
            log: false,
            wake_always: false,
            single_links: false,
        };
        let loaded = match Kernel::load(settings) {
            Ok(kernel) => Ok(kernel.places_at_once()),
            Err(error) => Err(error.to_string()),
        };
        let hit = match &loaded {
            Ok(_) => calibrate::hit_cost().map_err(|error| format!("{error:#}")),
            Err(_) => Err("not tried: the kernel side is not there".to_owned()),
        };
        Facts {
            host: Host::look(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|text| in_brackets(&text)),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
            ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
            seccomp: status.and_then(|status| status.seccomp),
            first_pid_namespace: is_namespace("pid", FIRST_PID_NAMESPACE),
            first_user_namespace: is_namespace("user", FIRST_USER_NAMESPACE),
            container: CONTAINER_FILES
                .into_iter()
                .find(|file| Path::new(file).exists()),
            memlock,
            uprobe_events: Path::new("/sys/bus/event_source/devices/uprobe/type").exists(),
            features: Features::ask(),
            loaded,
            hit,
            watched: Watch::load().map(drop).map_err(|error| error.to_string()),
        }
    }
}

fn number<T: FromStr>(file: &str) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_namespace(kind: &str, first: &str) -> Option<bool> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    Some(link == Path::new(first))
}

/// The choice that is in brackets, as `b` in `a [b] c`.
fn in_brackets(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (chosen, _) = rest.split_once(']')?;
    Some(chosen.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_in_brackets() {
        for (text, chosen) in [
            ("none [integrity] confidentiality\n", Some("integrity")),
            ("[none] integrity confidentiality\n", Some("none")),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(in_brackets(text).as_deref(), chosen);
        }
    }
}
