//! What a process' file descriptors stand for, as the kernel tells in `/proc`: for goroutines that wait
//! for the network, which peer that is.

use std::net::SocketAddr;
use std::path::Path;

use procfs::net::UnixNetEntry;
use procfs::process::{FDTarget, Process};
use rustc_hash::FxHashMap;
use tracer_model::snapshot::{Descriptor, OpenFile};

/// Says of each descriptor of process `pid` what it is, where the kernel knows. The process runs on,
/// so a number that was closed and opened again meanwhile is told as what it is now.
pub(crate) fn name(pid: u32, descriptors: &mut [Descriptor]) {
    if descriptors.is_empty() {
        return;
    }
    let Some(process) = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok())
    else {
        return;
    };
    let mut sockets = None;
    for descriptor in descriptors {
        let found = i32::try_from(descriptor.fd)
            .ok()
            .and_then(|fd| process.fd_from_fd(fd).ok());
        descriptor.file = found.and_then(|found| match found.target {
            FDTarget::Socket(inode) => {
                let sockets = sockets.get_or_insert_with(|| Sockets::of(&process));
                sockets.0.get(&inode).cloned()
            }
            FDTarget::Path(path) => Some(file("file", Some(path.to_string_lossy().as_ref()))),
            FDTarget::Pipe(_) => Some(file("pipe", None)),
            FDTarget::AnonInode(name) | FDTarget::MemFD(name) => Some(file(&name, None)),
            _ => None,
        });
    }
}

fn file(kind: &str, local: Option<&str>) -> OpenFile {
    OpenFile {
        kind: kind.into(),
        local: local.map(Box::from),
        peer: None,
    }
}

/// The sockets of a process' network namespace, by inode.
struct Sockets(FxHashMap<u64, OpenFile>);

impl Sockets {
    /// What cannot be read is missing: a protocol that the kernel lacks has no table.
    fn of(process: &Process) -> Sockets {
        let mut sockets = FxHashMap::default();
        let tcp = [process.tcp(), process.tcp6()];
        for entry in tcp.into_iter().flatten().flatten() {
            let socket = internet("tcp", entry.local_address, entry.remote_address);
            sockets.insert(entry.inode, socket);
        }
        let udp = [process.udp(), process.udp6()];
        for entry in udp.into_iter().flatten().flatten() {
            let socket = internet("udp", entry.local_address, entry.remote_address);
            sockets.insert(entry.inode, socket);
        }
        for UnixNetEntry { inode, path, .. } in process.unix().into_iter().flatten() {
            let path = path.as_deref().map(Path::to_string_lossy);
            sockets.insert(inode, file("unix", path.as_deref()));
        }
        Sockets(sockets)
    }
}

fn internet(kind: &str, local: SocketAddr, peer: SocketAddr) -> OpenFile {
    OpenFile {
        peer: (peer.port() != 0).then(|| peer.to_string().into()),
        ..file(kind, Some(&local.to_string()))
    }
}
