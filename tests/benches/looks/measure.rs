//! Running a program to its end and seeing what it took.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use integration_tests::gotrace;

/// What a run of a program took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// From its start to its end.
    pub(crate) time: Duration,
    /// From its start to the first byte of its output.
    pub(crate) first: Duration,
    /// The most memory that it had at once, bytes.
    pub(crate) memory: u64,
}

/// Runs `gotrace goroutines --pid PID OPTIONS`.
pub(crate) fn look(pid: u32, options: &[&str]) -> Took {
    let pid = pid.to_string();
    let arguments = [&["goroutines", "--pid", &pid], options].concat();
    run(&gotrace::program(), &arguments)
}

/// Runs a program whose output is read and thrown away.
#[expect(
    clippy::zombie_processes,
    reason = "it is waited for by the call that also tells its memory"
)]
pub(crate) fn run(program: &Path, arguments: &[&str]) -> Took {
    let begin = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let mut output = child.stdout.take().expect("its output is a pipe");
    let mut buffer = vec![0; 1 << 20];
    let mut first = None;
    while output.read(&mut buffer).expect("its output can be read") > 0 {
        first.get_or_insert_with(|| begin.elapsed());
    }
    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to variables of ours that live until the call returns, and the pid
    // is that of a child which nobody has waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    let time = begin.elapsed();
    assert_eq!(waited, pid, "it is our child");
    assert_eq!(status, 0, "{} {arguments:?} failed", program.display());
    // SAFETY: the kernel filled it in, and it was zeroed before; any bytes are a valid `rusage`.
    let usage = unsafe { usage.assume_init() };
    Took {
        time,
        first: first.unwrap_or(time),
        memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}
