//! The memory of a live process, read with `process_vm_readv`: the target is never stopped.

use std::io::IoSliceMut;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use tracer_model::ids::Addr;

use super::{MemoryError, Request, TargetMemory};

/// Ranges in one system call: the kernel's `UIO_MAXIOV`.
const RANGES_PER_CALL: usize = 1024;

/// Bytes in one system call: far below the kernel's own limit (`MAX_RW_COUNT`, 2 GiB), so that a
/// short count always means an unreadable page.
const BYTES_PER_CALL: usize = 64 << 20;

/// What tells one process image from another one that got the same pid, or from what the same
/// process was before `execve`: start time, start of the code, start of the stack
/// (`/proc/PID/stat`, fields 22, 26 and 28; the last two are randomised at each `execve`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    start_time: u64,
    start_code: u64,
    start_stack: u64,
}

/// The memory of a live process.
#[derive(Debug)]
pub struct LiveMemory {
    pid: u32,
    identity: Identity,
}

impl LiveMemory {
    /// Opens the memory of a process and checks that it may be read.
    ///
    /// # Errors
    /// [`MemoryError::Gone`] if there is no such process, [`MemoryError::Denied`] if it may not be
    /// read.
    pub fn open(pid: u32) -> Result<LiveMemory, MemoryError> {
        let identity = identity(pid)?;
        let memory = LiveMemory { pid, identity };
        // Address 0 is never mapped: a refusal shows as such, anything else as a bad address.
        match memory.read(Addr(0), &mut [0; 1]) {
            Ok(()) | Err(MemoryError::Unreadable { .. }) => Ok(memory),
            Err(error) => Err(error),
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// One system call for at most [`RANGES_PER_CALL`] ranges. Returns how many of them, from the
    /// first on, were read whole; the one after those was not.
    fn read_some(&self, requests: &mut [Request<'_>]) -> Result<usize, MemoryError> {
        let remote: Vec<RemoteIoVec> = requests
            .iter()
            .map(|request| RemoteIoVec {
                base: usize::try_from(request.addr.0).unwrap_or(usize::MAX),
                len: request.into.len(),
            })
            .collect();
        let mut local: Vec<IoSliceMut<'_>> = requests
            .iter_mut()
            .map(|request| IoSliceMut::new(request.into))
            .collect();
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap_or(i32::MAX));
        let mut read: usize = match process_vm_readv(pid, &mut local, &remote) {
            Ok(read) => read,
            Err(Errno::ESRCH) => return Err(MemoryError::Gone),
            Err(error @ (Errno::EPERM | Errno::EACCES | Errno::ENOSYS)) => {
                return Err(MemoryError::Denied(format!(
                    "process_vm_readv of process {}: {}; it needs CAP_SYS_PTRACE (or root), and a \
                     security module or seccomp filter may forbid it",
                    self.pid,
                    error.desc()
                )));
            }
            Err(_) => 0,
        };
        let mut whole = 0;
        for range in &remote {
            match read.checked_sub(range.len) {
                Some(rest) => read = rest,
                None => break,
            }
            whole += 1;
        }
        Ok(whole)
    }
}

impl TargetMemory for LiveMemory {
    fn read(&self, addr: Addr, into: &mut [u8]) -> Result<(), MemoryError> {
        let len = into.len();
        match self.read_some(&mut [Request { addr, into }])? {
            1 => Ok(()),
            _ => Err(MemoryError::Unreadable { addr, len }),
        }
    }

    fn read_many(
        &self,
        requests: &mut [Request<'_>],
    ) -> Result<Vec<Result<(), MemoryError>>, MemoryError> {
        let mut results = Vec::with_capacity(requests.len());
        // The range at which the last call stopped: tried once more at the head of the next call
        // before it counts as unreadable.
        let mut stopped_at = None;
        while results.len() < requests.len() {
            let from = results.len();
            let mut bytes = 0usize;
            let mut count = 0;
            for request in &requests[from..] {
                bytes = bytes.saturating_add(request.into.len());
                if count == RANGES_PER_CALL || (count > 0 && bytes > BYTES_PER_CALL) {
                    break;
                }
                count += 1;
            }
            let whole = self.read_some(&mut requests[from..from + count])?;
            results.extend((0..whole).map(|_| Ok(())));
            if whole < count {
                let stopped = from + whole;
                if whole == 0 || stopped_at == Some(stopped) {
                    results.push(Err(MemoryError::Unreadable {
                        addr: requests[stopped].addr,
                        len: requests[stopped].into.len(),
                    }));
                }
                stopped_at = Some(stopped);
            }
        }
        Ok(results)
    }

    fn check_alive(&self) -> Result<(), MemoryError> {
        match identity(self.pid)? == self.identity {
            true => Ok(()),
            false => Err(MemoryError::Gone),
        }
    }
}

fn identity(pid: u32) -> Result<Identity, MemoryError> {
    let stat = i32::try_from(pid)
        .map_err(|_| MemoryError::Gone)
        .and_then(|pid| {
            procfs::process::Process::new(pid)
                .and_then(|process| process.stat())
                .map_err(|error| match error {
                    procfs::ProcError::PermissionDenied(_) => {
                        MemoryError::Denied(format!("/proc/{pid}/stat: {error}"))
                    }
                    _ => MemoryError::Gone,
                })
        })?;
    // A zombie has no memory any more.
    if matches!(stat.state, 'Z' | 'X' | 'x') {
        return Err(MemoryError::Gone);
    }
    Ok(Identity {
        start_time: stat.starttime,
        start_code: stat.startcode,
        start_stack: stat.startstack,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_own_memory_and_tells_bad_ranges_apart() {
        let memory = LiveMemory::open(std::process::id()).expect("own memory");
        let source: Vec<u64> = (0..4096).collect();
        let base = source.as_ptr() as u64;
        // More ranges than one call takes, every third one unreadable.
        let mut buffers = vec![[0u8; 8]; 4000];
        let mut requests: Vec<Request<'_>> = buffers
            .iter_mut()
            .enumerate()
            .map(|(i, into)| Request {
                addr: match i % 3 {
                    0 => Addr(8),
                    _ => Addr(base + 8 * i as u64),
                },
                into,
            })
            .collect();
        let results = memory.read_many(&mut requests).expect("no outer error");
        assert_eq!(results.len(), 4000);
        for (i, result) in results.iter().enumerate() {
            match i % 3 {
                0 => assert_eq!(
                    *result,
                    Err(MemoryError::Unreadable {
                        addr: Addr(8),
                        len: 8
                    })
                ),
                _ => {
                    assert_eq!(*result, Ok(()));
                    assert_eq!(u64::from_le_bytes(buffers[i]), i as u64);
                }
            }
        }
        memory.check_alive().expect("still this process");
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let memory = LiveMemory::open(child.id()).expect("a child may be read");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(memory.read_u64(Addr(4096)), Err(MemoryError::Gone));
        assert_eq!(memory.check_alive(), Err(MemoryError::Gone));
        assert_eq!(
            LiveMemory::open(child.id()).map(|m| m.pid()),
            Err(MemoryError::Gone)
        );
    }
}
