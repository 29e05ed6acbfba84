//! The system calls that the agent makes; the kernel refuses all others.
//!
//! It is a list of what is allowed, since what is to be refused grows with each kernel. What is refused fails with
//! EPERM and is written to the kernel's log of seccomp; nothing is killed, so that what the list should have had costs
//! a feature, and says so, but not the agent. Calls that a library tries and does without are told to be unknown to
//! this kernel (ENOSYS), as are those that are newer than this file: so libraries go the older way.
//!
//! What arguments point to no filter sees. Where that matters the call that has it in registers is allowed alone:
//! clone in place of clone3, openat in place of openat2.

use std::io;

use libc::{c_long, sock_filter, sock_fprog};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The newest call that the lists below know of.
const NEWEST: c_long = libc::SYS_mseal;

/// Which threads a filter holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// All of this process.
    All,
    /// This one, and those that it starts.
    #[cfg(test)]
    This,
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no filter can be made: {0}")]
    Rules(#[from] BackendError),
    #[error("the kernel takes no filter: {0}")]
    Kernel(#[from] io::Error),
    #[error("thread {0} has a filter of its own")]
    Thread(c_long),
}

/// Programs of the kernel's, made and not yet in place.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// Answers what is to be unknown, and leaves the rest to the other one.
    absent: BpfProgram,
    allowed: BpfProgram,
}

impl Filter {
    /// What the agent needs once it is started.
    ///
    /// # Errors
    /// The lists are no filter on this architecture.
    pub(super) fn of_agent() -> Result<Filter, Error> {
        let absent = number(libc::ENOSYS);
        let rules = ABSENT.iter().map(|call| (*call, Vec::new()));
        let rules = rules.collect();
        let rules = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            absent.clone(),
            std::env::consts::ARCH.try_into()?,
        )?;
        let absent = first_of_newer(absent, rules.try_into()?);

        let mut rules: std::collections::BTreeMap<c_long, Vec<SeccompRule>> = ALWAYS
            .iter()
            .chain(ABSENT)
            .map(|call| (*call, Vec::new()))
            .collect();
        rules.extend(with_arguments()?);
        let rules = SeccompFilter::new(
            rules,
            number(libc::EPERM),
            SeccompAction::Allow,
            std::env::consts::ARCH.try_into()?,
        )?;
        let allowed = first_of_newer(SeccompAction::Allow, rules.try_into()?);
        Ok(Filter { absent, allowed })
    }

    /// Puts it in place, for good. The thread must have no_new_privs.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub(super) fn install(&self, threads: Threads) -> Result<(), Error> {
        let all = match threads {
            Threads::All => libc::SECCOMP_FILTER_FLAG_TSYNC,
            #[cfg(test)]
            Threads::This => 0,
        };
        install(&self.absent, all)?;
        // Both say something of each call, and the stricter word counts.
        install(&self.allowed, all | libc::SECCOMP_FILTER_FLAG_LOG)
    }
}

fn number(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.cast_unsigned())
}

/// A program that says this of calls newer than [`NEWEST`], and of the others what `rest` says.
fn first_of_newer(action: SeccompAction, rest: BpfProgram) -> BpfProgram {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let newest = u32::try_from(NEWEST).unwrap_or(u32::MAX);
    let statement = |code: u32, k: u32| seccompiler::sock_filter {
        code: code as u16,
        jt: 0,
        // One statement on, unless it is greater.
        jf: u8::from(code == IF_GREATER),
        k,
    };
    // seccomp_data begins with the call's number.
    let mut program = vec![
        statement(LOAD, 0),
        statement(IF_GREATER, newest),
        statement(RETURN, action.into()),
    ];
    program.extend(rest);
    program
}

fn install(program: &BpfProgram, flags: libc::c_ulong) -> Result<(), Error> {
    let program = sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        // Both are the kernel's struct sock_filter.
        filter: program.as_ptr().cast::<sock_filter>().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives as long as the call, and changes no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error().into()),
        thread => Err(Error::Thread(thread)),
    }
}

/// What libraries try, and do without.
const ABSENT: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Allowed whatever their arguments are.
const ALWAYS: &[c_long] = &[
    // Files, which are open for reading alone.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    // Its own memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, and signals to itself.
    libc::SYS_capget,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    // Time, and what the machine is.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Sockets; none comes to listen any more.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Other processes, which it reads, and probes.
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_open,
    libc::SYS_process_vm_readv,
    // The same in the words of older libraries.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_eventfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// Commands of bpf(2) (include/uapi/linux/bpf.h): maps, programs, types and links of its own. None that outlives it
/// (pins), none that takes what is another's by its number.
const BPF_COMMANDS: &[u64] = &[
    0,  // BPF_MAP_CREATE
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    5,  // BPF_PROG_LOAD
    15, // BPF_OBJ_GET_INFO_BY_FD
    17, // BPF_RAW_TRACEPOINT_OPEN
    18, // BPF_BTF_LOAD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    22, // BPF_MAP_FREEZE
    24, // BPF_MAP_LOOKUP_BATCH
    28, // BPF_LINK_CREATE
    34, // BPF_LINK_DETACH
];

/// All requests to events of perf have this (`_IO('$', …)`, include/uapi/linux/perf_event.h) as their second byte.
const PERF_REQUESTS: u64 = 0x2400;
const KIND_OF_REQUEST: u64 = 0xff00;
/// Requests to a terminal and to any descriptor (asm-generic/ioctls.h): TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX,
/// TCGETS2. C libraries give them different types.
const REQUESTS: &[u64] = &[0x5401, 0x5413, 0x541b, 0x5421, 0x5451, 0x802c_542a];

/// What the kernel told the process at its start (include/uapi/linux/prctl.h).
const PR_GET_AUXV: i32 = 0x4155_5856;

/// How a file may be opened: to be read, not made anew.
const READ_ONLY: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;

type Rules = Vec<(c_long, Vec<SeccompRule>)>;

/// Allowed with such arguments alone.
fn with_arguments() -> Result<Rules, BackendError> {
    let is = |argument, values: &[u64]| -> Result<Vec<SeccompRule>, BackendError> {
        let rules = values
            .iter()
            .map(|value| rule(argument, SeccompCmpOp::Eq, *value));
        rules.collect()
    };
    let has = |argument, mask: u64, value: u64| rule(argument, SeccompCmpOp::MaskedEq(mask), value);
    let own = u64::from(std::process::id());
    let thread = libc::CLONE_THREAD as u64;

    let mut ioctl = is(1, REQUESTS)?;
    ioctl.push(has(1, KIND_OF_REQUEST, PERF_REQUESTS)?);
    let mut socket = is(
        0,
        &[
            libc::AF_UNIX as u64,
            libc::AF_INET as u64,
            libc::AF_INET6 as u64,
        ],
    )?;
    // Libraries ask for the addresses of this machine before they look up a name.
    socket.push(SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64)?,
        condition(2, SeccompCmpOp::Eq, libc::NETLINK_ROUTE as u64)?,
    ])?);
    let fcntl = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_GETFL,
        libc::F_SETFD,
        libc::F_SETFL,
    ];
    let prctl = [
        libc::PR_CAPBSET_READ,
        PR_GET_AUXV,
        libc::PR_GET_NAME,
        libc::PR_SET_NAME,
        libc::PR_SET_VMA,
    ];
    Ok(vec![
        (libc::SYS_bpf, is(0, BPF_COMMANDS)?),
        // A thread, no process.
        (libc::SYS_clone, vec![has(0, thread, thread)?]),
        (libc::SYS_fcntl, is(1, &fcntl.map(|it| it as u64))?),
        (libc::SYS_ioctl, ioctl),
        (libc::SYS_openat, vec![has(2, READ_ONLY, 0)?]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![has(1, READ_ONLY, 0)?]),
        (libc::SYS_prctl, is(0, &prctl.map(|it| it as u64))?),
        // Limits of its own.
        (libc::SYS_prlimit64, is(0, &[0, own])?),
        (libc::SYS_socket, socket),
        (libc::SYS_socketpair, is(0, &[libc::AF_UNIX as u64])?),
        (libc::SYS_tgkill, is(0, &[own])?),
    ])
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, operator, value)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(argument, operator, value)?])
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::{self, File, OpenOptions};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::process::Command;
    use std::ptr;
    use std::thread;

    use rustix::thread::set_no_new_privs;

    use super::*;

    /// What `work` says in a thread that has the filter.
    fn filtered<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                set_no_new_privs(true).expect("the kernel has it");
                let filter = Filter::of_agent().expect("a filter");
                filter.install(Threads::This).expect("the kernel takes it");
                work()
            });
            thread.join().expect("it ends")
        })
    }

    fn errno(result: c_long) -> Option<i32> {
        match result {
            -1 => io::Error::last_os_error().raw_os_error(),
            _ => None,
        }
    }

    #[test]
    fn what_harms_others_is_refused() {
        let program = CString::new("/bin/true").expect("no zero in it");
        let own = std::process::id();
        let refused = filtered(|| {
            let none = ptr::null::<libc::c_void>();
            let calls: Vec<(&str, c_long)> = vec![
                ("execve", libc::SYS_execve),
                ("execveat", libc::SYS_execveat),
                ("ptrace", libc::SYS_ptrace),
                ("process_vm_writev", libc::SYS_process_vm_writev),
                ("kill", libc::SYS_kill),
                ("kexec_load", libc::SYS_kexec_load),
                ("finit_module", libc::SYS_finit_module),
                ("mount", libc::SYS_mount),
                ("setns", libc::SYS_setns),
                ("unshare", libc::SYS_unshare),
                ("keyctl", libc::SYS_keyctl),
                ("reboot", libc::SYS_reboot),
                ("io_uring_setup", libc::SYS_io_uring_setup),
                ("open_by_handle_at", libc::SYS_open_by_handle_at),
                ("seccomp", libc::SYS_seccomp),
                ("listen", libc::SYS_listen),
                ("unlinkat", libc::SYS_unlinkat),
            ];
            calls
                .into_iter()
                .map(|(name, call)| {
                    // SAFETY: arguments are such that even a call that is let through does nothing but fail: no such
                    // file, process, descriptor or pointer.
                    let result =
                        unsafe { libc::syscall(call, -1_i64, none, none, none, none, none) };
                    (name, errno(result))
                })
                .collect::<Vec<_>>()
        });
        for (name, errno) in refused {
            assert_eq!(errno, Some(libc::EPERM), "{name}");
        }
        let (started, executed, signal) = filtered(|| {
            let arguments = [program.as_ptr(), ptr::null()];
            // SAFETY: the path and the list of arguments end as they must; if the call is let through the test's
            // process is replaced, which the test's runner sees.
            let executed = errno(c_long::from(unsafe {
                libc::execve(program.as_ptr(), arguments.as_ptr(), ptr::null())
            }));
            let started = Command::new("/bin/true").spawn().map(|_| ());
            // SAFETY: signal 0 is none, it asks.
            let signal = errno(unsafe { libc::syscall(libc::SYS_tgkill, 1, 1, 0) });
            (started, executed, signal)
        });
        let started = started.expect_err("no program can be started");
        assert_eq!(started.raw_os_error(), Some(libc::EPERM), "{started}");
        assert_eq!(executed, Some(libc::EPERM));
        assert_eq!(signal, Some(libc::EPERM), "own: {own}");
    }

    #[test]
    fn arguments_are_looked_at() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (written, read, made, packet, pin, terminal) = filtered(|| {
            let written = OpenOptions::new().write(true).open(file.path());
            let memory = OpenOptions::new()
                .read(true)
                .write(true)
                .open("/proc/self/mem");
            assert_eq!(
                memory.map(drop).map_err(|error| error.raw_os_error()),
                Err(Some(libc::EPERM))
            );
            let read = File::open(file.path());
            let made = File::create(file.path().with_extension("new"));
            // SAFETY: no pointers; a descriptor that comes of it lives to the end of the test.
            let packet = errno(unsafe {
                libc::syscall(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0)
            });
            // SAFETY: the kernel looks at the command alone, or at the null pointer and refuses it.
            let pin =
                errno(unsafe { libc::syscall(libc::SYS_bpf, 6, ptr::null::<libc::c_void>(), 0) });
            // SAFETY: the request's argument is a null pointer, or none.
            let terminal = errno(unsafe {
                libc::syscall(
                    libc::SYS_ioctl,
                    0,
                    libc::TIOCSTI,
                    ptr::null::<libc::c_void>(),
                )
            });
            (written, read, made, packet, pin, terminal)
        });
        for error in [
            written.map(drop).map_err(|error| error.raw_os_error()),
            made.map(drop).map_err(|error| error.raw_os_error()),
            packet.map_or(Ok(()), |errno| Err(Some(errno))),
            pin.map_or(Ok(()), |errno| Err(Some(errno))),
            terminal.map_or(Ok(()), |errno| Err(Some(errno))),
        ] {
            assert_eq!(error, Err(Some(libc::EPERM)));
        }
        assert!(read.is_ok(), "{read:?}");
    }

    #[test]
    fn what_libraries_try_is_unknown() {
        let results = filtered(|| {
            [libc::SYS_clone3, libc::SYS_openat2, NEWEST + 1, 0x7fff_fffe].map(|call| {
                // SAFETY: no pointer is one that the kernel takes.
                errno(unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) })
            })
        });
        assert_eq!(results, [Some(libc::ENOSYS); 4]);
    }

    #[test]
    fn what_an_agent_does_is_let_through() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        filtered(|| {
            let status = fs::read_to_string("/proc/thread-self/status").expect("files are read");
            assert!(status.contains("Seccomp:\t2"), "{status}");
            assert!(fs::read_dir("/proc/self/task").is_ok_and(|it| it.count() > 0));
            assert!(fs::read_link("/proc/self/exe").is_ok());
            let two = thread::spawn(|| 2).join().expect("threads are started");
            assert_eq!(two, 2);
            TcpStream::connect(address).expect("connections are made");
            listener.accept().expect("and taken");
            UdpSocket::bind("127.0.0.1:0").expect("names are looked up so");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let looked_up = runtime.block_on(tokio::net::lookup_host("localhost:1"));
            assert!(looked_up.is_ok_and(|mut it| it.next().is_some()));
        });
    }
}
