//! What is so of a node for `gotrace agent`, looked at or tried. Nothing is judged here.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use libc::c_long;

use super::facts::Facts;
use crate::agent::container::Place;
use crate::failure::Failure;
use crate::kubernetes::{Config, Rights};
use crate::trace::kernel::watch::Watch;
use crate::trace::preflight::Host;

/// The kernel numbers its first control group namespace so (include/linux/proc_ns.h).
const FIRST_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";
/// Processes that are looked at for their control groups.
const MOST: usize = 4096;
/// Who answers a call that does not exist so was asked: no such flag, command or number of pieces.
const BOGUS: c_long = 0x7fff_0000;

/// What is so. `None` of what could not be found out.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) first_pid_namespace: Option<bool>,
    pub(crate) first_cgroup_namespace: Option<bool>,
    /// 0: no filter, 2: one.
    pub(crate) seccomp: Option<u32>,
    /// System calls that an agent makes, with whether the kernel was reached.
    pub(crate) calls: Vec<(&'static str, bool)>,
    /// Whether the kernel tells which processes begin and end.
    pub(crate) watch: Result<(), String>,
    pub(crate) others: Others,
    /// The label that AppArmor or SELinux gave this process.
    pub(crate) label: Option<String>,
    pub(crate) api: Result<Api, Failure>,
}

/// The other processes that are seen, the kernel's threads left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Those whose memory may be read,
    pub(crate) readable: usize,
    /// and those whose memory may not.
    pub(crate) refused: usize,
    /// One of the latter, with why.
    pub(crate) example: Option<String>,
    /// How many of all are in a container of a pod.
    pub(crate) in_pods: usize,
}

impl Others {
    pub(crate) const fn seen(&self) -> usize {
        self.readable + self.refused
    }
}

/// How it stands with the API.
#[derive(Clone, Debug)]
pub(crate) enum Api {
    /// No node is named, so an agent asks none.
    NoNode,
    Asked {
        node: String,
        rights: Rights,
    },
}

impl Node {
    /// Looks and tries. Nothing stays behind.
    pub(crate) fn gather(facts: &Facts, config: Result<Option<Config>, Failure>) -> Node {
        Node {
            host: facts.host.clone(),
            first_pid_namespace: facts.first_pid_namespace,
            first_cgroup_namespace: fs::read_link("/proc/self/ns/cgroup")
                .ok()
                .map(|link| link == Path::new(FIRST_CGROUP_NAMESPACE)),
            seccomp: facts.seccomp,
            calls: vec![
                ("bpf", reaches(libc::SYS_bpf)),
                ("perf_event_open", reaches(libc::SYS_perf_event_open)),
                ("process_vm_readv", reaches(libc::SYS_process_vm_readv)),
            ],
            watch: Watch::load().map(drop).map_err(|error| error.to_string()),
            others: others(),
            label: label(),
            api: config.and_then(ask),
        }
    }
}

fn ask(config: Option<Config>) -> Result<Api, Failure> {
    let Some(config) = config else {
        return Ok(Api::NoNode);
    };
    let rights = Rights::ask(&config)
        .map_err(|error| Failure::new("the Kubernetes API cannot be asked").because(error))?;
    Ok(Api::Asked {
        node: config.node().to_owned(),
        rights,
    })
}

/// Whether the kernel looks at what this call is told, which is nonsense. A filter of system calls refuses it before.
fn reaches(call: c_long) -> bool {
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: bpf has no such command and no bytes to read; perf_event_open and process_vm_readv have no such flags,
    // at which both look first.
    let result = unsafe {
        match call {
            libc::SYS_bpf => libc::syscall(call, BOGUS, none, 0_u32),
            libc::SYS_perf_event_open => libc::syscall(call, none, 0, -1, -1, BOGUS),
            _ => libc::syscall(call, std::process::id(), none, 0_u64, none, 0_u64, BOGUS),
        }
    };
    let error = io::Error::last_os_error().raw_os_error();
    result != -1 || !matches!(error, Some(libc::EPERM | libc::EACCES | libc::ENOSYS))
}

/// Looks at other processes.
fn others() -> Others {
    let own = std::process::id();
    let mut others = Others::default();
    let Ok(all) = fs::read_dir("/proc") else {
        return others;
    };
    let pids = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| *pid != own) {
        if others.seen() == MOST {
            break;
        }
        let process = Path::new("/proc").join(pid.to_string());
        let program = fs::read_link(process.join("exe"));
        // Of the kernel's threads, and of who is gone, there is none.
        if program.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        // To open it is to ask for the right to read it; nothing is read.
        match File::open(process.join("mem")) {
            Ok(_) => others.readable += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                others.refused += 1;
                others.example.get_or_insert_with(|| {
                    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
                    format!("{pid} ({}): {error}", name.trim_end())
                });
            }
        }
        let text = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let place = Place::of(&text);
        others.in_pods += usize::from(place.pod.is_some() && place.container.is_some());
    }
    others
}

/// What AppArmor or SELinux calls this process.
fn label() -> Option<String> {
    let text = fs::read_to_string("/proc/self/attr/current").ok()?;
    let label = text.trim_end_matches(['\0', '\n']);
    (!label.is_empty()).then(|| label.to_owned())
}
