//! What one read of the target's memory saw, without stopping it. Every entity carries the time
//! before which its fields were read, so that it can be joined with events.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Addr, ChanAddr, GAddr, Goid, Ktime, Pc};
use crate::maybe::Maybe;
use crate::wait::{Wait, WaitObject};

/// A goroutine's state, by the runtime's own names (`runtime._Gidle` and so on).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Just allocated.
    Idle,
    /// On a run queue.
    Runnable,
    /// On a thread, executing.
    Running,
    /// In a system or cgo call.
    Syscall,
    /// Parked.
    Waiting,
    /// Ended. Snapshots leave such a g out.
    Dead,
    /// Its stack is being moved.
    Copystack,
    /// Stopped itself for a scan.
    Preempted,
    /// Waiting, and found leaked by the runtime itself (Go 1.26 and later).
    Leaked,
}

impl State {
    /// Every state.
    pub const ALL: [State; 9] = [
        State::Idle,
        State::Runnable,
        State::Running,
        State::Syscall,
        State::Waiting,
        State::Dead,
        State::Copystack,
        State::Preempted,
        State::Leaked,
    ];

    /// The runtime's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Runnable => "runnable",
            State::Running => "running",
            State::Syscall => "syscall",
            State::Waiting => "waiting",
            State::Dead => "dead",
            State::Copystack => "copystack",
            State::Preempted => "preempted",
            State::Leaked => "leaked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Index into [`Snapshot::stacks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StackId(pub u32);

/// Everything that one read saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Kernel time before the first read.
    pub started: Ktime,
    /// Kernel time after the last read.
    pub finished: Ktime,
    /// Every live goroutine, the runtime's own included, by address of its g in `allgs`' order.
    pub goroutines: Vec<Goroutine>,
    /// Every channel that a goroutine waits on, or that the read was asked to look for.
    pub channels: Vec<Channel>,
    /// File descriptors that goroutines wait for in the network poller, by slot.
    #[serde(default)]
    pub descriptors: Vec<Descriptor>,
    /// Distinct stacks, innermost frame first.
    pub stacks: Vec<Box<[Pc]>>,
    /// Goroutines or channels that were read more than once, since they changed meanwhile.
    pub reread: u64,
    /// Goroutines and channels that still changed after the last attempt.
    pub moving: u64,
    /// Items that could not be read, each with what failed.
    pub errors: Vec<String>,
    /// Channels that cannot be as they are, where the read was asked to look for them.
    #[serde(default)]
    pub corrupt: Vec<CorruptChannel>,
    /// Who can reach what, where the read was asked to find out.
    pub reachability: Option<Reachability>,
}

/// A channel whose fields the runtime never writes so; read twice, with nobody at work on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorruptChannel {
    /// The hchan.
    pub addr: ChanAddr,
    /// Type of its elements, as far as that can be read.
    pub elem_type: Box<str>,
    /// Length as read.
    pub len: u64,
    /// Capacity as read.
    pub cap: u64,
    /// What is wrong, in the runtime's words.
    pub field: Box<str>,
    /// The value, and why it cannot be.
    pub reason: String,
    /// Who waits on it, ascending.
    pub waiting: Vec<Goid>,
}

/// A file descriptor that a goroutine waits for in the network poller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the goroutine waits on: the address of [`WaitObject::Netpoll`].
    pub slot: Addr,
    /// Its number in the process.
    pub fd: u32,
    /// Whether it waits until it can write, rather than read or accept.
    pub write: bool,
    /// What the number stands for, if the kernel was asked.
    pub file: Option<OpenFile>,
}

/// An open file of the process, as the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenFile {
    /// `tcp`, `udp`, `unix`, `pipe`, `file`, or what else the kernel calls it.
    pub kind: Box<str>,
    /// The socket's own address, or the path of a file.
    pub local: Option<Box<str>>,
    /// Address of the socket's other end, if it is connected.
    pub peer: Option<Box<str>>,
}

/// A goroutine's pprof labels, names and values: few goroutines have some, and then many the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<Vec<Label>>>);

/// A name and its value.
type Label = (Box<str>, Box<str>);

impl Deref for Labels {
    type Target = [Label];

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().map_or(&[], |labels| labels.as_slice())
    }
}

impl<'l> IntoIterator for &'l Labels {
    type Item = &'l Label;
    type IntoIter = std::slice::Iter<'l, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Vec<Label>> for Labels {
    fn from(labels: Vec<Label>) -> Labels {
        Labels((!labels.is_empty()).then(|| Arc::new(labels)))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        Vec::deserialize(deserializer).map(Labels::from)
    }
}

/// One goroutine as read. There may be very many: each takes as little as it can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goroutine {
    /// Kernel time before its fields were read for the last time.
    pub at: Ktime,
    /// Its id.
    pub goid: Goid,
    /// Its g.
    pub gaddr: GAddr,
    /// Its state, scan bit removed.
    pub state: State,
    /// Why and on what it waits, if it does.
    pub wait: Option<Wait>,
    /// When `time.Sleep` ends, if it is in that.
    #[serde(default)]
    pub sleeps_until: Maybe<Ktime>,
    /// Whether it is the runtime's own, as the runtime itself decides.
    pub system: bool,
    /// Who created it (Go 1.21 and later).
    pub parent: Maybe<Goid>,
    /// The `go` statement.
    pub created_at: Maybe<Pc>,
    /// Entry of its function.
    pub start: Maybe<Pc>,
    /// Its stack: exact if it waits or is in a system call and did not move, else the last known.
    pub stack: Option<StackId>,
    /// How often it stopped running, modulo 256: equal in two reads if it did not run in between. `None`
    /// if it was not read.
    #[serde(default)]
    pub stops: Option<u8>,
    /// Bytes of its stack in use; `None` while it runs, or if it was not read.
    #[serde(default)]
    pub stack_bytes: Maybe<u64>,
    /// Its pprof labels.
    pub labels: Labels,
    /// It changed under every read: the fields may not belong together.
    pub moving: bool,
}

/// A value in a channel's buffer, or the one that a blocked sender holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// Decoded by the runtime's type data.
    Decoded(serde_json::Value),
    /// Not shown on request; the size in bytes.
    Redacted(u64),
    /// Why it could not be read.
    Unreadable(String),
}

/// A goroutine in a channel's wait queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who waits.
    pub goid: Goid,
    /// Whether it does so in a select.
    pub select: bool,
    /// The value that a sender holds out; `None` for a receiver or when values were not asked for.
    pub value: Option<Box<Value>>,
}

/// One channel as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Kernel time before its fields were read for the last time.
    pub at: Ktime,
    /// The hchan.
    pub addr: ChanAddr,
    /// Type of its elements as Go spells it, e.g. `*main.Job`; empty if not known.
    pub elem_type: Box<str>,
    /// Size of an element in bytes.
    pub elem_size: u16,
    /// Buffered elements.
    pub len: u64,
    /// Capacity.
    pub cap: u64,
    /// Whether it is closed.
    pub closed: bool,
    /// Where it was made, if an event told: memory does not.
    #[serde(default)]
    pub made_at: Option<Pc>,
    /// The timer that sends to it, if one does (Go 1.23 and later: before, nothing in a channel tells).
    #[serde(default)]
    pub timer: Option<ChannelTimer>,
    /// The oldest buffered values, in the order in which they will be received.
    pub values: Vec<Value>,
    /// Goroutines that wait to send, in order.
    pub send_waiting: Vec<Waiter>,
    /// Goroutines that wait to receive, in order.
    pub recv_waiting: Vec<Waiter>,
    /// Goroutines that do not wait on it but hold it; only where the read was asked to look for
    /// channels beyond those waited on.
    #[serde(default)]
    pub users: Vec<User>,
    /// It changed under every read: the fields may not belong together.
    pub moving: bool,
}

impl Channel {
    /// Whether a goroutine waits on it, or holds it on its stack or one step from there. Others are
    /// known from a walk of the heap alone.
    pub fn is_in_use(&self) -> bool {
        !(self.send_waiting.is_empty() && self.recv_waiting.is_empty() && self.users.is_empty())
    }
}

/// The timer or ticker of a channel that package time made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelTimer {
    /// When it fires next; `None` if it is stopped or has fired.
    pub when: Option<Ktime>,
    /// Nanoseconds between two ticks; 0 for one that fires once.
    pub period: u64,
}

/// A goroutine that holds a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct User {
    /// Which.
    pub goid: Goid,
    /// Index of the frame in its stack (physical frames, innermost is 0) that holds it, if known.
    pub frame: Option<u32>,
    /// The heap object that the frame refers to and that holds the channel; `None` if the frame
    /// itself does.
    pub through: Option<Addr>,
}

/// Which waiting goroutines nothing that can still act refers to, found by a conservative mark from
/// the roots: globals, and the stacks of goroutines that can still run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reachability {
    /// Kernel time before the mark's first read.
    pub started: Ktime,
    /// Kernel time after its last read.
    pub finished: Ktime,
    /// Waiting goroutines that no root reaches: nothing that can still run can end their wait.
    pub unreached: Vec<Goid>,
    /// Which of the unreached goroutines can get at what the others wait on.
    pub holders: Vec<Holder>,
    /// Waiting goroutines of which all that could end their wait, beside others of `unused` and
    /// `unreached`, is a global variable that no code uses that can still run. `None` if that could
    /// not be told.
    #[serde(default)]
    pub unused: Option<Vec<Unused>>,
    /// User goroutines whose stacks could not be read at rest, since they were running: their
    /// registers are not in memory, so what they hold is not known for sure.
    pub running: Vec<Goid>,
    /// Further user goroutines that ran meanwhile, be it for a moment: they may have moved a reference
    /// from where the mark had yet to look to where it had looked. If there are none, and none of
    /// `running`, the mark saw memory as at one moment.
    #[serde(default)]
    pub ran: Vec<Goid>,
    /// What could not be read; if not empty, nothing is proven.
    pub errors: Vec<String>,
}

/// A goroutine that waits for what an unused global variable alone leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unused {
    /// Who waits.
    pub goid: Goid,
    /// What is waited on.
    pub object: WaitTarget,
    /// The variable, as Go spells it with its package; empty if it has no name.
    pub variable: Box<str>,
    /// How it leads there: the address of a word in it, then each heap object on the way, then the
    /// object. Only the object, if that is part of the variable.
    pub path: Vec<Addr>,
}

/// A goroutine that refers to an object on which another one waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// What is waited on.
    pub object: WaitTarget,
    /// Who refers to it.
    pub goid: Goid,
    /// How: the address of the slot in its stack, then each heap object on the way, then the object.
    pub path: Vec<Addr>,
    /// Index of the frame in the goroutine's stack (physical frames, innermost is 0) that holds the
    /// slot, if known.
    pub frame: Option<u32>,
}

/// The identity of what is waited on, whichever side waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitTarget(pub Addr);

impl From<WaitObject> for WaitTarget {
    fn from(object: WaitObject) -> WaitTarget {
        WaitTarget(match object {
            WaitObject::Chan { chan, .. } => Addr(chan.0),
            WaitObject::Semaphore(addr) | WaitObject::Cond(addr) | WaitObject::Netpoll(addr) => {
                addr
            }
        })
    }
}

impl From<ChanAddr> for WaitTarget {
    fn from(chan: ChanAddr) -> WaitTarget {
        WaitTarget(Addr(chan.0))
    }
}

impl Snapshot {
    /// The file descriptor that a wait for the network poller is about, if known.
    pub fn descriptor(&self, slot: Addr) -> Option<&Descriptor> {
        let found = self.descriptors.binary_search_by_key(&slot, |of| of.slot);
        self.descriptors.get(found.ok()?)
    }

    /// A goroutine's stack, innermost frame first; empty if it is not known.
    pub fn stack(&self, goroutine: &Goroutine) -> &[Pc] {
        goroutine
            .stack
            .and_then(|StackId(index)| self.stacks.get(index as usize))
            .map_or(&[], |stack| stack)
    }
}
