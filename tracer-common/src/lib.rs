//! The wire ABI between the kernel side (`tracer-ebpf`) and the user side (`tracer-user`).
//!
//! Everything here is plain old data with a fixed layout: event records as they lie in the ring
//! buffer, the per-target configuration that a probe reads, per-CPU counters, and the names that
//! both sides must agree on. No logic, no allocation, no knowledge of any Go version: offsets into
//! the Go runtime's structures are *data* in [`TargetConfig`].
//!
//! Compatibility: the two sides are always built from one commit (the BPF object is embedded in the
//! program), so there is no version negotiation. The `const` assertions keep the layout honest.

#![no_std]

use core::mem::{offset_of, size_of};

/// Name of the ring buffer map that carries every record.
pub const MAP_EVENTS: &str = "EVENTS";
/// Name of the one BPF program, which serves every [`Hook`].
pub const PROGRAM: &str = "probe";
/// Name of the array map of [`TargetConfig`], indexed by [`Cookie::slot`].
pub const MAP_TARGETS: &str = "TARGETS";
/// Name of the per-CPU array map of [`CpuCounters`], indexed by [`Cookie::slot`].
pub const MAP_COUNTERS: &str = "COUNTERS";
/// Name of the read-only global: ring fill in bytes from which the reader is woken.
pub const GLOBAL_WAKEUP_BYTES: &str = "WAKEUP_BYTES";
/// Name of the read-only global: a CPU looks at the fill as a record's sequence number has none of
/// these bits.
pub const GLOBAL_WAKEUP_MASK: &str = "WAKEUP_MASK";

/// Name of the ring buffer map of the watch object, which carries an [`Occurrence`] a record.
pub const MAP_OCCURRENCES: &str = "OCCURRENCES";
/// Name of the watch object's per-CPU array map (one entry): occurrences that found no room, a `u64`.
pub const MAP_UNSEEN: &str = "UNSEEN";
/// Name of the watch object's program for processes that execute another program.
pub const PROGRAM_EXEC: &str = "process_exec";
/// Name of the watch object's program for processes that end.
pub const PROGRAM_EXIT: &str = "process_exit";

/// What happened to a process of the node, as it lies in the ring of the watch object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Occurrence {
    /// The process, as the first pid namespace numbers it.
    pub tgid: u32,
    /// [`Occurrence::EXEC`] or [`Occurrence::EXIT`].
    pub what: u32,
}

impl Occurrence {
    /// It runs another program from now on.
    pub const EXEC: u32 = 1;
    /// It is about to end.
    pub const EXIT: u32 = 2;
}

const _: () = assert!(size_of::<Occurrence>() == 8);

/// How many targets one loaded object can serve at once (entries of [`MAP_TARGETS`]).
pub const MAX_TARGETS: u32 = 1024;

/// Value of an offset in [`TargetConfig`] that this target's runtime does not have.
pub const ABSENT: u32 = u32::MAX;

/// One place in the Go runtime that a probe sits on. Which function carries it is
/// `tracer-golang`'s knowledge. One BPF program serves all of them: the [`Cookie`] tells which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// A send begins.
    ChanSend = 0,
    /// A receive begins.
    ChanRecv = 1,
    /// A channel is closed.
    ChanClose = 2,
    /// A select with two or more cases begins.
    Select = 3,
    /// A goroutine is about to park.
    Park = 4,
    /// A goroutine is made runnable by another one or by the runtime.
    Ready = 5,
    /// A goroutine was created.
    Create = 6,
    /// A goroutine exits.
    Exit = 7,
    /// A channel was made.
    ChanMake = 8,
    /// A goroutine starts to run on a thread.
    Run = 9,
    /// A sender hands its value to a goroutine that waits to receive.
    DirectSend = 10,
    /// A receiver takes the turn of a goroutine that waits to send.
    DirectRecv = 11,
    /// A select with two or more cases has ended with one of them.
    SelectEnd = 12,
    /// A goroutine is about to wait for a semaphore: that of a mutex, a wait group and the like.
    SemAcquire = 13,
    /// A goroutine enters a system call.
    SyscallEnter = 14,
    /// A goroutine comes out of a system call.
    SyscallExit = 15,
}

/// Number of [`Hook`]s.
pub const HOOK_COUNT: usize = 16;

impl Hook {
    /// All hooks, in the order of their ids.
    pub const ALL: [Hook; HOOK_COUNT] = [
        Hook::ChanSend,
        Hook::ChanRecv,
        Hook::ChanClose,
        Hook::Select,
        Hook::Park,
        Hook::Ready,
        Hook::Create,
        Hook::Exit,
        Hook::ChanMake,
        Hook::Run,
        Hook::DirectSend,
        Hook::DirectRecv,
        Hook::SelectEnd,
        Hook::SemAcquire,
        Hook::SyscallEnter,
        Hook::SyscallExit,
    ];

    /// The hook with this wire value.
    #[inline(always)]
    pub const fn from_wire(value: u8) -> Option<Hook> {
        Some(match value {
            0 => Hook::ChanSend,
            1 => Hook::ChanRecv,
            2 => Hook::ChanClose,
            3 => Hook::Select,
            4 => Hook::Park,
            5 => Hook::Ready,
            6 => Hook::Create,
            7 => Hook::Exit,
            8 => Hook::ChanMake,
            9 => Hook::Run,
            10 => Hook::DirectSend,
            11 => Hook::DirectRecv,
            12 => Hook::SelectEnd,
            13 => Hook::SemAcquire,
            14 => Hook::SyscallEnter,
            15 => Hook::SyscallExit,
            _ => return None,
        })
    }

    /// Name of what serves this hook, to users as well.
    pub const fn program(self) -> &'static str {
        match self {
            Hook::ChanSend => "chan_send",
            Hook::ChanRecv => "chan_recv",
            Hook::ChanClose => "chan_close",
            Hook::Select => "select",
            Hook::Park => "park",
            Hook::Ready => "ready",
            Hook::Create => "goroutine_create",
            Hook::Exit => "goroutine_exit",
            Hook::ChanMake => "chan_make",
            Hook::Run => "goroutine_run",
            Hook::DirectSend => "direct_send",
            Hook::DirectRecv => "direct_recv",
            Hook::SelectEnd => "select_end",
            Hook::SemAcquire => "sem_acquire",
            Hook::SyscallEnter => "syscall_enter",
            Hook::SyscallExit => "syscall_exit",
        }
    }
}

/// What the frame pointer register means at the probe sites of a target, so that a probe can find
/// the caller's return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FrameState {
    /// Do not read frames: sites are reported as 0.
    Unknown = 0,
    /// The probe sits on the `push` of the frame pointer: the register still holds the caller's
    /// frame, the return address is on top of the stack (amd64, Go 1.21 and later).
    AtPush = 1,
    /// The function's own frame is built: `[fp]` is the caller's frame pointer, `[fp + 8]` the
    /// return address (arm64, and amd64 of Go 1.19).
    Built = 2,
}

/// What a probe is attached with, and its program asks for at each hit: which hook of which target
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Index into [`MAP_TARGETS`].
    pub slot: u32,
    /// Whose probe it is.
    pub hook: Hook,
    /// What the frame pointer means at its site.
    pub frame: FrameState,
    /// Which argument register, from 0, holds the result of the function there; only
    /// [`Hook::ChanMake`] and [`Hook::SelectEnd`] ask.
    pub result: u8,
}

impl Cookie {
    /// As the kernel keeps it.
    pub const fn to_wire(self) -> u64 {
        self.slot as u64
            | (self.hook as u64) << 32
            | (self.frame as u64) << 40
            | (self.result as u64) << 48
    }

    /// What the kernel kept; `None` if it is none of ours.
    #[inline(always)]
    pub const fn from_wire(wire: u64) -> Option<Cookie> {
        let Some(hook) = Hook::from_wire((wire >> 32) as u8) else {
            return None;
        };
        let frame = match (wire >> 40) as u8 {
            1 => FrameState::AtPush,
            2 => FrameState::Built,
            _ => FrameState::Unknown,
        };
        Some(Cookie {
            slot: wire as u32,
            hook,
            frame,
            result: (wire >> 48) as u8,
        })
    }
}

/// Offsets (bytes) and switches of one target, read by every probe.
///
/// An offset that the target's runtime does not have is [`ABSENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TargetConfig {
    /// Thread group id as the kernel's initial pid namespace numbers it; 0 is an unused slot.
    pub tgid: u32,
    /// `g.m`.
    pub g_m: u32,
    /// `g.goid`.
    pub g_goid: u32,
    /// `g.parentGoid` (Go 1.21 and later).
    pub g_parent_goid: u32,
    /// `g.gopc`: return address in the function that ran the `go` statement.
    pub g_gopc: u32,
    /// `g.startpc`: entry of the goroutine's function.
    pub g_startpc: u32,
    /// `g.waitreason` (one byte).
    pub g_waitreason: u32,
    /// `m.curg`.
    pub m_curg: u32,
    /// `g.waiting`: the sudogs of the channel operation that the goroutine waits in.
    pub g_waiting: u32,
    /// `sudog.c`: the channel.
    pub sudog_c: u32,
    /// `sudog.g`.
    pub sudog_g: u32,
    /// `sudog.isSelect` (one byte).
    pub sudog_is_select: u32,
    /// `hchan.qcount` (8 bytes).
    pub hchan_qcount: u32,
    /// `hchan.dataqsiz` (8 bytes).
    pub hchan_dataqsiz: u32,
    /// Wait reasons, a bit each by index, of operations on one channel: send and receive, no select.
    pub chan_reasons: u64,
}

/// Counters of one slot on one CPU, all monotonic until the user side gives the slot to another target.
///
/// Updated with atomic additions: uprobe programs can be preempted by another one on the same CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CpuCounters {
    /// Records attempted: the `seq` that the next record of this slot on this CPU gets.
    pub attempted: u64,
    /// Records that could not be reserved. Their `seq` never appears in the ring.
    pub lost: u64,
    /// Hits of each hook, indexed by [`Hook`].
    pub hits: [u64; HOOK_COUNT],
}

/// The kind of a record, which tells its size and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`ChanRecord`]: a send begins.
    ChanSend = 1,
    /// [`ChanRecord`]: a receive begins.
    ChanRecv = 2,
    /// [`ChanRecord`]: a close.
    ChanClose = 3,
    /// [`SelectRecord`]: a select begins.
    Select = 4,
    /// [`SelectMoreRecord`]: further cases of the select of the same goroutine just before.
    SelectMore = 5,
    /// [`ParkRecord`].
    Park = 6,
    /// [`ReadyRecord`].
    Ready = 7,
    /// [`CreateRecord`].
    Create = 8,
    /// [`PlainRecord`].
    Exit = 9,
    /// [`MakeRecord`].
    ChanMake = 10,
    /// [`PlainRecord`].
    Run = 11,
    /// [`DirectRecord`]: the acting goroutine sends.
    DirectSend = 12,
    /// [`DirectRecord`]: the acting goroutine receives.
    DirectRecv = 13,
    /// [`PlainRecord`]; `aux` is the index of the case as the runtime counts them (sends first), as an
    /// `i32`: below 0 is the default case.
    SelectEnd = 14,
    /// [`SemRecord`].
    SemAcquire = 15,
    /// [`PlainRecord`].
    SyscallEnter = 16,
    /// [`PlainRecord`].
    SyscallExit = 17,
}

impl Kind {
    /// The kind with this wire value.
    pub const fn from_wire(value: u8) -> Option<Kind> {
        Some(match value {
            1 => Kind::ChanSend,
            2 => Kind::ChanRecv,
            3 => Kind::ChanClose,
            4 => Kind::Select,
            5 => Kind::SelectMore,
            6 => Kind::Park,
            7 => Kind::Ready,
            8 => Kind::Create,
            9 => Kind::Exit,
            10 => Kind::ChanMake,
            11 => Kind::Run,
            12 => Kind::DirectSend,
            13 => Kind::DirectRecv,
            14 => Kind::SelectEnd,
            15 => Kind::SemAcquire,
            16 => Kind::SyscallEnter,
            17 => Kind::SyscallExit,
            _ => return None,
        })
    }

    /// Size of a record of this kind in bytes, header included.
    pub const fn size(self) -> usize {
        match self {
            Kind::ChanSend | Kind::ChanRecv | Kind::ChanClose => size_of::<ChanRecord>(),
            Kind::Select => size_of::<SelectRecord>(),
            Kind::SelectMore => size_of::<SelectMoreRecord>(),
            Kind::Park => size_of::<ParkRecord>(),
            Kind::Ready => size_of::<ReadyRecord>(),
            Kind::Create => size_of::<CreateRecord>(),
            Kind::Exit | Kind::Run | Kind::SelectEnd | Kind::SyscallEnter | Kind::SyscallExit => {
                size_of::<PlainRecord>()
            }
            Kind::ChanMake => size_of::<MakeRecord>(),
            Kind::SemAcquire => size_of::<SemRecord>(),
            Kind::DirectSend | Kind::DirectRecv => size_of::<DirectRecord>(),
        }
    }
}

/// [`Header::flags`]: the operation may block (the runtime's `block` argument).
pub const FLAG_BLOCK: u8 = 1;
/// [`Header::flags`]: a read of the target's memory failed; the fields that depend on it are 0.
pub const FLAG_FAULT: u8 = 2;
/// [`Header::flags`] of a select: it has more cases than its records carry.
pub const FLAG_TRUNCATED: u8 = 4;

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// `bpf_ktime_get_ns`: CLOCK_MONOTONIC, nanoseconds. Go's `nanotime` is the same clock.
    pub ktime: u64,
    /// goid of the acting goroutine; 0 when the runtime itself acts (timers, netpoll).
    pub goid: u64,
    /// Low 32 bits of the sequence number, by slot and CPU, wrapping.
    pub seq: u32,
    /// The CPU whose sequence this is.
    pub cpu: u16,
    /// A [`Kind`].
    pub kind: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// Index into the target map.
    pub slot: u32,
    /// By kind: wait reason index of [`ParkRecord`] and [`ReadyRecord`]; `nsends | nrecvs << 16` of
    /// [`SelectRecord`]; index of the first case of [`SelectMoreRecord`]; whether the other one of
    /// [`DirectRecord`] selects; index of the case of [`Kind::SelectEnd`].
    pub aux: u32,
}

/// A channel operation begins, or a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChanRecord {
    /// The common part.
    pub header: Header,
    /// Address of the hchan; 0 for a nil channel.
    pub chan: u64,
    /// Return address in the code that asked for the operation, 0 if not known.
    pub pc: u64,
    /// `hchan.qcount` when the operation began, saturated; not read under the channel's lock.
    pub qcount: u32,
    /// `hchan.dataqsiz`, saturated.
    pub dataqsiz: u32,
}

/// Channels that a [`SelectRecord`] carries.
pub const SELECT_CASES: usize = 3;
/// Channels that a [`SelectMoreRecord`] carries.
pub const SELECT_MORE_CASES: usize = 4;
/// Cases that one select reports at most; beyond it is [`FLAG_TRUNCATED`].
pub const SELECT_MAX_CASES: usize = SELECT_CASES + 5 * SELECT_MORE_CASES;

/// A select begins. Send cases come first, then receive cases, as the runtime holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SelectRecord {
    /// The common part.
    pub header: Header,
    /// Return address in the code that selects, 0 if not known.
    pub pc: u64,
    /// Addresses of the first channels (0 for nil channels and unused entries).
    pub chans: [u64; SELECT_CASES],
}

/// Further cases of a select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SelectMoreRecord {
    /// The common part.
    pub header: Header,
    /// Addresses of the channels (0 for nil channels and unused entries).
    pub chans: [u64; SELECT_MORE_CASES],
}

/// The acting goroutine is about to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ParkRecord {
    /// The common part; `aux` is the wait reason's index.
    pub header: Header,
    /// The `lock` argument: its meaning depends on the reason.
    pub lock: u64,
}

/// The acting goroutine makes another one runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ReadyRecord {
    /// The common part; `aux` is the woken goroutine's wait reason index.
    pub header: Header,
    /// goid of the goroutine that was made runnable.
    pub woken: u64,
    /// Address of the hchan that it waited on; 0 unless it waited in an operation on one channel.
    pub chan: u64,
}

/// The acting goroutine created another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CreateRecord {
    /// The common part.
    pub header: Header,
    /// goid of the new goroutine.
    pub child: u64,
    /// Address of its g.
    pub g: u64,
    /// Entry of its function.
    pub startpc: u64,
    /// Return address of the `go` statement.
    pub gopc: u64,
}

/// What the acting goroutine does needs no more to be said: it exits, starts to run on a thread,
/// enters or leaves a system call, has left a select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PlainRecord {
    /// The common part.
    pub header: Header,
}

/// The acting goroutine is about to wait for a semaphore: that of a lock, a wait group and the like.
/// It may still get it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SemRecord {
    /// The common part.
    pub header: Header,
    /// Address of the semaphore's word.
    pub address: u64,
}

/// The acting goroutine made a channel, which nobody else knows yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MakeRecord {
    /// The common part.
    pub header: Header,
    /// Address of the hchan.
    pub chan: u64,
    /// Return address in the code that made it, 0 if not known.
    pub pc: u64,
}

/// The acting goroutine's operation completes with a goroutine that waits on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DirectRecord {
    /// The common part; `aux` is 1 if the other goroutine waits in a select.
    pub header: Header,
    /// Address of the hchan.
    pub chan: u64,
    /// goid of the other goroutine.
    pub partner: u64,
}

const _: () = {
    assert!(size_of::<Header>() == 32);
    assert!(size_of::<ChanRecord>() == 56);
    assert!(size_of::<SelectRecord>() == 64);
    assert!(size_of::<SelectMoreRecord>() == 64);
    assert!(size_of::<ParkRecord>() == 40);
    assert!(size_of::<ReadyRecord>() == 48);
    assert!(size_of::<CreateRecord>() == 64);
    assert!(size_of::<PlainRecord>() == 32);
    assert!(size_of::<SemRecord>() == 40);
    assert!(size_of::<MakeRecord>() == 48);
    assert!(size_of::<DirectRecord>() == 48);
    assert!(size_of::<TargetConfig>() == 64);
    assert!(size_of::<CpuCounters>() == 16 + 8 * HOOK_COUNT);
    assert!(offset_of!(Header, kind) == 22);
    let mut index = 0;
    while index < HOOK_COUNT {
        assert!(Hook::ALL[index] as usize == index);
        assert!(matches!(Hook::from_wire(index as u8), Some(hook) if hook as usize == index));
        index += 1;
    }
    assert!(Hook::from_wire(HOOK_COUNT as u8).is_none());
};

impl TargetConfig {
    /// A slot that no target uses: its probes count their hits and write no record.
    pub const UNUSED: TargetConfig = TargetConfig {
        tgid: 0,
        g_m: 0,
        g_goid: 0,
        g_parent_goid: ABSENT,
        g_gopc: 0,
        g_startpc: 0,
        g_waitreason: 0,
        m_curg: 0,
        g_waiting: 0,
        sudog_c: 0,
        sudog_g: 0,
        sudog_is_select: 0,
        hchan_qcount: 0,
        hchan_dataqsiz: 0,
        chan_reasons: 0,
    };
}
