//! CPU time of another process, and of a thread of this one.

use std::io;

/// The CPU clock of a process: what `utime` and `stime` of `/proc/PID/stat` add up to, all threads and
/// those that ended included, in nanoseconds in place of hundredths of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of this process.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn of(pid: u32) -> io::Result<CpuClock> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        let mut clock = 0;
        // SAFETY: `clock` is a valid place for the result.
        match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
            0 => Ok(CpuClock(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// The clock of whichever thread asks it.
    pub(crate) const THREAD: CpuClock = CpuClock(libc::CLOCK_THREAD_CPUTIME_ID);

    /// CPU time since the process began, in nanoseconds.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn nanos(self) -> io::Result<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is a valid place for the result.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
    }
}
