//! Starting a command so that probes are in place before its first instruction.
//!
//! The child waits between fork and exec until it is released. A uprobe that is bound to the child's
//! pid is placed into its new memory as `exec` maps the program (the kernel compares the memory of
//! the task, not of the moment of attaching).

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::failure::Failure;

/// A child that has not executed its program yet.
pub(crate) struct Held {
    pid: u32,
    release: std::fs::File,
    child: mpsc::Receiver<std::io::Result<Child>>,
}

/// Where a command writes, and what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// It writes to standard error: what it prints must not mix with what gotrace prints.
    ToStderr,
    /// It writes nowhere and reads nothing: the terminal is a console's.
    Nowhere,
}

impl Held {
    /// Forks a child for `command` (program and arguments) that waits to be released.
    ///
    /// # Errors
    /// The fork or a pipe failed.
    pub(crate) fn start(command: &[String], streams: Streams) -> Result<Held, Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(format!("cannot start `{}`", command.join(" "))).because(cause)
        };
        let Some((program, arguments)) = command.split_first() else {
            return Err(failed(&"the command is empty"));
        };
        let (pid_read, pid_write) = pipe().map_err(|error| failed(&error))?;
        let (release_read, release_write) = pipe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.args(arguments);
        match streams {
            Streams::ToStderr => command.stdout(std::io::stderr()),
            Streams::Nowhere => command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        };
        let ends = ChildEnds {
            pid_write: pid_write.as_raw_fd(),
            release_read: release_read.as_raw_fd(),
            release_write: release_write.as_raw_fd(),
        };
        // SAFETY: between fork and exec the closure makes system calls on descriptors that the
        // parent keeps open until then, and allocates nothing.
        unsafe {
            command.pre_exec(move || ends.hold());
        }
        // `spawn` returns only once the child has executed its program, so another thread waits.
        let (sender, child) = mpsc::channel();
        std::thread::spawn(move || {
            let result = command.spawn();
            drop((pid_write, release_read));
            // The receiver is gone only if gotrace is ending: then the child was never released.
            let _ = sender.send(result);
        });
        let mut pid = [0; 4];
        std::fs::File::from(pid_read)
            .read_exact(&mut pid)
            .map_err(|error| failed(&error))?;
        Ok(Held {
            pid: u32::from_ne_bytes(pid),
            release: release_write.into(),
            child,
        })
    }

    /// The child's process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child execute its program, and waits until it does.
    ///
    /// # Errors
    /// The program could not be executed.
    pub(crate) fn release(mut self) -> Result<Child, Failure> {
        let failed =
            |cause: &dyn std::fmt::Display| Failure::new("cannot start the command").because(cause);
        self.release
            .write_all(&[1])
            .map_err(|error| failed(&error))?;
        match self.child.recv() {
            Ok(result) => result.map_err(|error| failed(&error)),
            Err(_) => Err(failed(&"the starting thread ended")),
        }
    }
}

/// Where the shell would find `program`: as it is with a slash in it, else the first match in PATH.
///
/// # Errors
/// There is no such file.
pub(crate) fn find_program(program: &str) -> Result<PathBuf, Failure> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .collect()
    };
    candidates
        .iter()
        .find(|candidate| is_executable(candidate))
        .and_then(|candidate| candidate.canonicalize().ok())
        .ok_or_else(|| {
            Failure::new(format!("cannot start `{program}`"))
                .because("no such executable file")
                .next("give the path of a Go program")
        })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// The pipes' ends as the child inherits them.
#[derive(Clone, Copy)]
struct ChildEnds {
    pid_write: RawFd,
    release_read: RawFd,
    release_write: RawFd,
}

impl ChildEnds {
    /// Runs in the child: tells its pid and waits for a byte. An end of file means that gotrace is
    /// gone: then the program is not executed.
    fn hold(self) -> std::io::Result<()> {
        // SAFETY: the descriptors are open in the child, inherited across the fork, and nothing else
        // in the child uses the writing end, without which an end of file could not be seen.
        let (pid_write, release_read) = unsafe {
            rustix::io::close(self.release_write);
            (
                BorrowedFd::borrow_raw(self.pid_write),
                BorrowedFd::borrow_raw(self.release_read),
            )
        };
        rustix::io::write(pid_write, &std::process::id().to_ne_bytes())?;
        let mut byte = [0; 1];
        loop {
            match rustix::io::read(release_read, &mut byte) {
                Ok(1..) => return Ok(()),
                Ok(0) => return Err(std::io::ErrorKind::Interrupted.into()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
