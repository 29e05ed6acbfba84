//! What the probes said, decoded: the addresses are the target's, the reasons are named.

use serde::{Deserialize, Serialize};

use crate::ids::{ChanAddr, GAddr, Goid, Ktime, Pc};
use crate::wait::{Direction, WaitObject, WaitReason};

/// Something that happened in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the probe fired.
    pub at: Ktime,
    /// Who acted; `Goid(0)` when the runtime did on nobody's behalf.
    pub actor: Goid,
    /// What happened.
    pub kind: EventKind,
}

/// Fill of a channel's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Buffered elements.
    pub len: u32,
    /// Capacity.
    pub cap: u32,
}

/// Where a case of a select, as the runtime counts them, is among those that are not nil; `None` if it
/// is nil itself, which ends no select.
pub fn case_index(case: u32, nils: u32) -> Option<usize> {
    let before = 1_u32.checked_shl(case).map_or(u32::MAX, |bit| bit - 1);
    let is_nil = nils.checked_shr(case).is_some_and(|bits| bits & 1 == 1);
    let left_out = (nils & before).count_ones();
    (!is_nil).then(|| (case - left_out) as usize)
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A send begins.
    SendBegin(ChanOp),
    /// A receive begins.
    ReceiveBegin(ChanOp),
    /// A channel is closed.
    Close(ChanOp),
    /// A select with two or more cases begins.
    SelectBegin {
        /// Its cases: sends first, then receives. Nil channels are left out.
        cases: Box<[WaitObject]>,
        /// Which cases are left out, a bit each: the runtime counts them, as [`EventKind::SelectEnd`] does.
        nils: u32,
        /// Whether it has no default case.
        blocking: bool,
        /// Whether there were more cases than the record could carry.
        truncated: bool,
        /// Where.
        site: Option<Pc>,
    },
    /// A select of the actor, with two or more cases, has ended.
    SelectEnd {
        /// With which case, as the runtime counts them: sends first, nil channels included. `None` is
        /// the default case.
        case: Option<u32>,
    },
    /// The actor is about to wait for a lock, a wait group or the like. It may still get it without
    /// parking. What it takes without waiting makes no event.
    Acquire {
        /// What it wants.
        object: WaitObject,
    },
    /// The actor enters a system call, or C.
    SyscallEnter,
    /// The actor comes out of a system call, or C. Before it runs on, it may have to wait for a
    /// processor of the runtime: then a [`EventKind::Run`] follows.
    SyscallExit,
    /// The actor is about to park. It may still not park: the runtime can refuse.
    Park {
        /// Why.
        reason: WaitReason,
        /// On what, if the event tells: a select's objects are those of its `SelectBegin`, a
        /// semaphore's address is that of its `Acquire`.
        object: Option<WaitObject>,
    },
    /// The actor made `woken` runnable.
    Ready {
        /// Who was made runnable.
        woken: Goid,
        /// From which wait.
        reason: WaitReason,
        /// On what it waited, if the event tells: the channel of a plain operation.
        object: Option<WaitObject>,
    },
    /// The actor created `child`.
    Create {
        /// The new goroutine.
        child: Goid,
        /// Its g.
        gaddr: GAddr,
        /// Entry of its function.
        start: Pc,
        /// The `go` statement.
        site: Option<Pc>,
    },
    /// The actor starts to run on a thread.
    Run,
    /// The actor made a channel, which nobody else knows yet.
    Make {
        /// The channel.
        chan: ChanAddr,
        /// Where.
        site: Option<Pc>,
    },
    /// An operation of the actor, in a select or not, completes at once with a goroutine that waits
    /// on the other side. Where the channel has a buffer, that is so for a receiver only as the
    /// buffer is full: it takes the oldest value, and the waiting sender's takes its place.
    Direct {
        /// The channel.
        chan: ChanAddr,
        /// What the actor does.
        direction: Direction,
        /// The goroutine that waits; the actor wakes it next.
        partner: Goid,
        /// Whether that one waits in a select.
        partner_selects: bool,
    },
    /// The actor exits.
    Exit,
    /// `count` records between the one before and `at` never arrived. `actor` means nothing. A
    /// count of 0 is a gap of unknown size: the probes were off until `at`.
    Lost {
        /// How many.
        count: u64,
    },
}

impl EventKind {
    /// What it is called in every output.
    pub const fn name(&self) -> &'static str {
        match self {
            EventKind::SendBegin(_) => "send",
            EventKind::ReceiveBegin(_) => "receive",
            EventKind::Close(_) => "close",
            EventKind::SelectBegin { .. } => "select",
            EventKind::SelectEnd { .. } => "select_end",
            EventKind::Acquire { .. } => "acquire",
            EventKind::SyscallEnter => "syscall_enter",
            EventKind::SyscallExit => "syscall_exit",
            EventKind::Park { .. } => "park",
            EventKind::Ready { .. } => "ready",
            EventKind::Create { .. } => "create",
            EventKind::Run => "run",
            EventKind::Make { .. } => "make",
            EventKind::Direct { .. } => "direct",
            EventKind::Exit => "exit",
            EventKind::Lost { .. } => "lost",
        }
    }
}

/// A send, receive or close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChanOp {
    /// The channel; `None` for a nil channel.
    pub chan: Option<ChanAddr>,
    /// Whether it may block. A select with one case and a default does not.
    pub blocking: bool,
    /// Where it was asked for.
    pub site: Option<Pc>,
    /// The buffer's fill as the operation began, not read under the lock. `None` if unreadable.
    pub fill: Option<Fill>,
}
