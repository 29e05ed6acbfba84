//! Why and on what a goroutine waits.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::ids::{Addr, ChanAddr, Ktime};
use crate::maybe::Maybe;

/// What kind of thing a wait is about; `kind` of `waiting_on` in the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    /// A send or receive on one channel, nil channels included.
    Chan,
    /// A select, `select {}` included.
    Select,
    /// A `sync.Mutex`.
    Mutex,
    /// A `sync.RWMutex`.
    RwMutex,
    /// A `sync.WaitGroup`.
    WaitGroup,
    /// A `sync.Cond`.
    Cond,
    /// A semaphore of the runtime that is none of the above by its reason alone.
    Semaphore,
    /// The network poller.
    Netpoll,
    /// A timer of the runtime.
    Timer,
    /// `time.Sleep`.
    Sleep,
    /// The garbage collector.
    Gc,
    /// Any other business of the runtime.
    Runtime,
}

impl WaitKind {
    /// Every kind.
    pub const ALL: [WaitKind; 12] = [
        WaitKind::Chan,
        WaitKind::Select,
        WaitKind::Mutex,
        WaitKind::RwMutex,
        WaitKind::WaitGroup,
        WaitKind::Cond,
        WaitKind::Semaphore,
        WaitKind::Netpoll,
        WaitKind::Timer,
        WaitKind::Sleep,
        WaitKind::Gc,
        WaitKind::Runtime,
    ];

    /// Whether only another goroutine's action can end such a wait. Sleeping, the network, timers
    /// and the runtime's own business end by themselves or from outside the process.
    pub const fn ends_only_by_goroutine(self) -> bool {
        matches!(
            self,
            WaitKind::Chan
                | WaitKind::Select
                | WaitKind::Mutex
                | WaitKind::RwMutex
                | WaitKind::WaitGroup
                | WaitKind::Cond
                | WaitKind::Semaphore
        )
    }
}

impl WaitKind {
    /// Whether it is for a lock or the like: what the runtime's semaphores and notify lists make.
    pub const fn is_sync(self) -> bool {
        matches!(
            self,
            WaitKind::Mutex
                | WaitKind::RwMutex
                | WaitKind::WaitGroup
                | WaitKind::Cond
                | WaitKind::Semaphore
        )
    }
}

macro_rules! wait_reasons {
    ($($variant:ident, $text:literal, $kind:ident;)*) => {
        /// The runtime's wait reason (`runtime.waitReason`), named by the text that the runtime
        /// prints. Indices differ by Go version: `tracer-golang` maps them by the binary's own table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum WaitReason {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// A reason whose text this version of gotrace does not know; the index in the
            /// runtime's table.
            Unknown(u8),
        }

        impl WaitReason {
            /// Every reason that has a name here.
            pub const KNOWN: &'static [WaitReason] = &[$(WaitReason::$variant),*];

            /// The reason with the runtime's text, `None` if it is not known.
            pub fn from_text(text: &str) -> Option<WaitReason> {
                match text {
                    $($text => Some(WaitReason::$variant),)*
                    _ => None,
                }
            }

            /// The runtime's text.
            pub const fn text(self) -> &'static str {
                match self {
                    $(WaitReason::$variant => $text,)*
                    WaitReason::Unknown(_) => "unknown wait reason",
                }
            }

            /// What the wait is about. A reason that is not known counts as the runtime's own
            /// business: no verdict is ever built on it.
            pub const fn kind(self) -> WaitKind {
                match self {
                    $(WaitReason::$variant => WaitKind::$kind,)*
                    WaitReason::Unknown(_) => WaitKind::Runtime,
                }
            }
        }
    };
}

// All texts of Go 1.19 to 1.27 (runtime/runtime2.go, waitReasonStrings). The empty text is index 0.
wait_reasons! {
    None, "", Runtime;
    GcAssistMarking, "GC assist marking", Gc;
    IoWait, "IO wait", Netpoll;
    ChanReceiveNil, "chan receive (nil chan)", Chan;
    ChanSendNil, "chan send (nil chan)", Chan;
    DumpingHeap, "dumping heap", Runtime;
    GarbageCollection, "garbage collection", Gc;
    GarbageCollectionScan, "garbage collection scan", Gc;
    PanicWait, "panicwait", Runtime;
    Select, "select", Select;
    SelectNoCases, "select (no cases)", Select;
    GcAssistWait, "GC assist wait", Gc;
    GcSweepWait, "GC sweep wait", Gc;
    GcScavengeWait, "GC scavenge wait", Gc;
    ChanReceive, "chan receive", Chan;
    ChanSend, "chan send", Chan;
    FinalizerWait, "finalizer wait", Runtime;
    ForceGcIdle, "force gc (idle)", Gc;
    Semacquire, "semacquire", Semaphore;
    Sleep, "sleep", Sleep;
    CondWait, "sync.Cond.Wait", Cond;
    MutexLock, "sync.Mutex.Lock", Mutex;
    RwMutexRLock, "sync.RWMutex.RLock", RwMutex;
    RwMutexLock, "sync.RWMutex.Lock", RwMutex;
    WaitGroupWait, "sync.WaitGroup.Wait", WaitGroup;
    TimerGoroutineIdle, "timer goroutine (idle)", Timer;
    TraceReaderBlocked, "trace reader (blocked)", Runtime;
    TraceGoroutineStatus, "trace goroutine status", Runtime;
    TraceProcStatus, "trace proc status", Runtime;
    PageTraceFlush, "page trace flush", Runtime;
    WaitForGcCycle, "wait for GC cycle", Gc;
    GcWorkerIdle, "GC worker (idle)", Gc;
    GcWorkerActive, "GC worker (active)", Gc;
    Preempted, "preempted", Runtime;
    DebugCall, "debug call", Runtime;
    GcMarkTermination, "GC mark termination", Gc;
    StoppingTheWorld, "stopping the world", Runtime;
    FlushingProcCaches, "flushing proc caches", Runtime;
    CoroutineSwitch, "coroutine", Runtime;
    GcWeakToStrongWait, "GC weak to strong wait", Gc;
    SynctestRun, "synctest.Run", Runtime;
    SynctestWait, "synctest.Wait", Runtime;
    ChanReceiveSynctest, "chan receive (synctest)", Chan;
    ChanSendSynctest, "chan send (synctest)", Chan;
    SelectSynctest, "select (synctest)", Select;
    ChanReceiveDurable, "chan receive (durable)", Chan;
    ChanSendDurable, "chan send (durable)", Chan;
    SelectDurable, "select (durable)", Select;
    GomaxprocsUpdaterIdle, "GOMAXPROCS updater (idle)", Runtime;
    WaitGroupWaitDurable, "sync.WaitGroup.Wait (durable)", WaitGroup;
    CleanupWait, "cleanup wait", Runtime;
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::Unknown(index) => write!(f, "wait reason {index} (unknown)"),
            known => f.write_str(known.text()),
        }
    }
}

/// Which side of a channel a goroutine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It sends.
    Send,
    /// It receives.
    Receive,
}

impl Direction {
    /// The other side's.
    #[must_use]
    pub const fn opposite(self) -> Direction {
        match self {
            Direction::Send => Direction::Receive,
            Direction::Receive => Direction::Send,
        }
    }
}

/// One thing that can end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitObject {
    /// A channel and the side that the goroutine waits on.
    Chan {
        /// The hchan.
        chan: ChanAddr,
        /// The side.
        direction: Direction,
    },
    /// The address of a semaphore word: inside a mutex, RW mutex or wait group, or one of its own.
    Semaphore(Addr),
    /// A `sync.Cond`'s notifyList.
    Cond(Addr),
    /// A pollDesc of the network poller.
    Netpoll(Addr),
}

/// The objects of a wait: a slice that takes no memory of its own for a single one, as nearly all are.
#[derive(Clone, Default)]
pub struct Objects(Held);

#[derive(Clone, Default)]
enum Held {
    #[default]
    Nothing,
    One(WaitObject),
    Several(Box<Box<[WaitObject]>>),
}

impl Deref for Objects {
    type Target = [WaitObject];

    fn deref(&self) -> &[WaitObject] {
        match &self.0 {
            Held::Nothing => &[],
            Held::One(object) => std::slice::from_ref(object),
            Held::Several(objects) => objects,
        }
    }
}

impl<'o> IntoIterator for &'o Objects {
    type Item = &'o WaitObject;
    type IntoIter = std::slice::Iter<'o, WaitObject>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<&[WaitObject]> for Objects {
    fn from(objects: &[WaitObject]) -> Objects {
        Objects(match objects {
            [] => Held::Nothing,
            [object] => Held::One(*object),
            several => Held::Several(Box::new(several.into())),
        })
    }
}

impl<const N: usize> From<[WaitObject; N]> for Objects {
    fn from(objects: [WaitObject; N]) -> Objects {
        Objects::from(objects.as_slice())
    }
}

impl From<Vec<WaitObject>> for Objects {
    fn from(objects: Vec<WaitObject>) -> Objects {
        match objects.len() {
            0 | 1 => Objects::from(objects.as_slice()),
            _ => Objects(Held::Several(Box::new(objects.into()))),
        }
    }
}

impl FromIterator<WaitObject> for Objects {
    fn from_iter<I: IntoIterator<Item = WaitObject>>(objects: I) -> Objects {
        let objects: SmallVec<[WaitObject; 1]> = objects.into_iter().collect();
        Objects::from(objects.as_slice())
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Objects {
    fn eq(&self, other: &Objects) -> bool {
        **self == **other
    }
}

impl Eq for Objects {}

impl Hash for Objects {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Serialize for Objects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Objects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Objects, D::Error> {
        Vec::deserialize(deserializer).map(Objects::from)
    }
}

/// A goroutine's wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The runtime's reason.
    pub reason: WaitReason,
    /// What can end it: one object, several in a select, none where nothing or only the runtime can
    /// (nil channels, `select {}`, sleep) or where it is not known.
    pub objects: Objects,
    /// Since when, if known: from an event, or from `g.waitsince`, which only the garbage collector
    /// fills in (so it can be later than the truth, never earlier).
    pub since: Maybe<Ktime>,
}
