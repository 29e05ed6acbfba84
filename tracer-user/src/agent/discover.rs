//! Which processes there are, which begin to run another program, and which end.
//!
//! The kernel tells ([`Watch`]); /proc is walked through once at the beginning, when the kernel is listened to
//! already, and again only after the kernel had no room for what it wanted to tell. Where BPF is not allowed
//! all of /proc can be walked through now and then instead.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pool::Pool;
use crate::trace::kernel::watch::{Happened, Watch};

/// How new processes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// The kernel tells of them.
    Kernel,
    /// All processes are listed so often.
    Scan(Duration),
}

/// What comes within this time is taken at once: on a busy node thousands of programs are started a second. The
/// ring has room for what happens meanwhile, 80,000 times a second.
const GATHER: Duration = Duration::from_millis(50);

/// Tells the pool what happens until `stop` is closed.
pub(super) fn discover(watch: Option<Watch>, discovery: Discovery, pool: &Pool, stop: &OwnedFd) {
    pool.walked(&listed());
    match (watch, discovery) {
        (Some(watch), _) => hear(watch, pool, stop),
        (None, Discovery::Scan(every)) => scan(every, pool, stop),
        // Nothing is loaded where nothing is to be heard.
        (None, Discovery::Kernel) => {}
    }
}

fn hear(mut watch: Watch, pool: &Pool, stop: &OwnedFd) {
    let mut unseen = 0;
    let mut exits = Vec::new();
    loop {
        let deadline = (!exits.is_empty()).then(Instant::now);
        let waited = [PollFd::new(&watch, PollFlags::IN), end(stop)];
        if is_stopped(&waited, deadline) {
            return;
        }
        let mut happened = Vec::new();
        watch.drain(|what| happened.push(what));
        pool.happened(&settled(&mut exits, happened));
        match watch.unseen() {
            Ok(now) if now > unseen => {
                pool.lost(now - unseen);
                unseen = now;
                pool.walked(&listed());
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("how many processes were missed is not known: {error}"),
        }
        thread::sleep(GATHER);
    }
}

/// What is to be told of `happened`, in order, after the `exits` of the last time. An exit is told a time later, and not at
/// all if its process executes a program until then: a thread that does so takes the place of the first one of its
/// process, which exits for it (Linux, `fs/exec.c`, de_thread).
fn settled(exits: &mut Vec<u32>, happened: Vec<Happened>) -> Vec<Happened> {
    let mut due = std::mem::take(exits);
    let mut executed = Vec::new();
    for what in happened {
        match what {
            Happened::Exit(pid) => exits.push(pid),
            Happened::Exec(pid) => {
                due.retain(|&exited| exited != pid);
                exits.retain(|&exited| exited != pid);
                executed.push(what);
            }
        }
    }
    let due = due.into_iter().map(Happened::Exit);
    due.chain(executed).collect()
}

fn scan(every: Duration, pool: &Pool, stop: &OwnedFd) {
    loop {
        let deadline = Instant::now() + every;
        if is_stopped(&[end(stop)], Some(deadline)) {
            return;
        }
        pool.walked(&listed());
    }
}

fn end(stop: &OwnedFd) -> PollFd<'_> {
    PollFd::new(stop, PollFlags::IN)
}

/// Waits for one of these, the last of which is the one that tells of the end; tells whether it is that.
fn is_stopped(waited: &[PollFd<'_>], deadline: Option<Instant>) -> bool {
    let mut waited = waited.to_vec();
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            })
        });
        match poll(&mut waited, left.as_ref()) {
            Ok(_) => return waited.last().is_some_and(|end| !end.revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!("processes are not watched any more: {error}");
                return true;
            }
        }
    }
}

/// All processes that there are.
fn listed() -> Vec<u32> {
    let entries = match std::fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!("processes cannot be listed: {error}");
            return Vec::new();
        }
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_listed() {
        assert!(listed().contains(&std::process::id()));
    }

    #[test]
    fn who_executes_a_program_did_not_exit() {
        let (exec, exit) = (Happened::Exec, Happened::Exit);
        let mut exits = Vec::new();
        assert_eq!(settled(&mut exits, vec![exit(1), exit(2)]), []);
        // Of the first nothing more comes; the second, and a third one, are their processes' first threads alone.
        let told = settled(
            &mut exits,
            vec![exec(2), exit(3), exec(3), exec(4), exit(4)],
        );
        assert_eq!(told, [exit(1), exec(2), exec(3), exec(4)]);
        assert_eq!(settled(&mut exits, Vec::new()), [exit(4)]);
        assert!(exits.is_empty());
    }

    #[test]
    fn the_end_is_heard() {
        let (stopped, stop) = rustix::pipe::pipe().expect("a pipe");
        let soon = Some(Instant::now());
        assert!(!is_stopped(&[end(&stopped)], soon));
        drop(stop);
        assert!(is_stopped(&[end(&stopped)], None));
    }
}
