//! The JSON contract: versioned documents, built from the model's snapshot alone, so that a live
//! process and a recording give the same. Addresses are hex strings, durations seconds, times
//! RFC 3339. docs/json.md describes every field.

pub(crate) mod agent;
pub(crate) mod channels;
pub(crate) mod cluster;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod findings;
pub(crate) mod flow;
pub(crate) mod goroutines;
pub(crate) mod graph;
pub(crate) mod groups;
pub(crate) mod leaks;
pub(crate) mod moment;
pub(crate) mod run;
mod time;
pub(crate) mod why;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracer_model::ids::Pc;
use tracer_model::snapshot::{Descriptor, OpenFile, Snapshot};
use tracer_model::symbol::{Frame, Symbolizer, user_frame};
use tracer_model::wait::{Direction, Wait, WaitKind, WaitObject};

pub(crate) use time::{WallClock, seconds};

/// What is traced.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Target {
    pub(crate) pid: u32,
    /// The executable as `/proc/PID/exe` names it.
    pub(crate) exe: PathBuf,
    /// Whether that file is not on disk any more (the running one is read all the same).
    pub(crate) replaced: bool,
    pub(crate) build_id: String,
    pub(crate) go_version: String,
    pub(crate) arch: String,
    pub(crate) main: Option<String>,
    pub(crate) stripped: bool,
    pub(crate) pie: bool,
    /// Where the runtime's layouts come from: the binary's DWARF or gotrace's table.
    pub(crate) layout: String,
    /// Whether they are another Go version's, which this process was only found to agree with.
    #[serde(default)]
    pub(crate) layout_assumed: bool,
}

/// How a snapshot was taken.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct SnapshotInfo {
    started: String,
    duration_seconds: f64,
    goroutines: usize,
    reread: u64,
    moving: u64,
    unreadable: usize,
}

impl SnapshotInfo {
    pub(crate) fn new(snapshot: &Snapshot, clock: WallClock) -> Self {
        Self {
            started: clock.rfc3339(snapshot.started),
            duration_seconds: seconds(snapshot.finished.since(snapshot.started)),
            goroutines: snapshot.goroutines.len(),
            reread: snapshot.reread,
            moving: snapshot.moving,
            unreadable: snapshot.errors.len(),
        }
    }
}

/// A place in the source.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, JsonSchema)]
pub(crate) struct Site {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl From<&Frame> for Site {
    fn from(frame: &Frame) -> Site {
        Site {
            function: frame.function.to_string(),
            file: frame.file.to_string(),
            line: frame.line,
        }
    }
}

impl Site {
    /// The innermost frame at `pc`.
    pub(crate) fn of(pc: Pc, symbols: &dyn Symbolizer) -> Option<Site> {
        symbols.frames(pc).first().map(Site::from)
    }

    /// The innermost frame of a stack that is the user's code: where it waits.
    pub(crate) fn of_user(stack: &[Pc], symbols: &dyn Symbolizer) -> Option<Site> {
        user_frame(stack, symbols).as_ref().map(Site::from)
    }
}

/// What a goroutine waits on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct WaitingOn {
    kind: WaitKind,
    /// `null` where several objects can end the wait, none can, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    /// What the network poller waits for, if known.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    descriptor: Option<WaitedDescriptor>,
    /// The cases of a select.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cases: Vec<WaitingOn>,
}

/// A file descriptor and what for a goroutine waits for it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct WaitedDescriptor {
    pub(crate) fd: u32,
    /// `read` (or accept) or `write` (or connect).
    pub(crate) mode: &'static str,
    /// What it is, as the kernel tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<OpenFile>,
}

impl From<&Descriptor> for WaitedDescriptor {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            fd: descriptor.fd,
            mode: if descriptor.write { "write" } else { "read" },
            file: descriptor.file.clone(),
        }
    }
}

impl WaitingOn {
    pub(crate) fn object(kind: WaitKind, object: WaitObject) -> Self {
        let (address, direction) = match object {
            WaitObject::Chan { chan, direction } => (chan.to_string(), Some(direction)),
            WaitObject::Semaphore(addr) | WaitObject::Cond(addr) | WaitObject::Netpoll(addr) => {
                (addr.to_string(), None)
            }
        };
        Self {
            kind,
            address: Some(address),
            direction,
            descriptor: None,
            cases: Vec::new(),
        }
    }

    /// A wait on one object, or on none that is known.
    pub(crate) fn of(kind: WaitKind, object: Option<WaitObject>) -> Self {
        match object {
            Some(object) => Self::object(kind, object),
            None => Self {
                kind,
                address: None,
                direction: None,
                descriptor: None,
                cases: Vec::new(),
            },
        }
    }

    /// What a goroutine of this snapshot waits on.
    pub(crate) fn wait(wait: &Wait, snapshot: &Snapshot) -> Self {
        let kind = wait.reason.kind();
        match (&*wait.objects, kind) {
            ([WaitObject::Netpoll(slot)], _) => Self {
                descriptor: snapshot.descriptor(*slot).map(WaitedDescriptor::from),
                ..Self::object(kind, WaitObject::Netpoll(*slot))
            },
            ([object], kind) if kind != WaitKind::Select => Self::object(kind, *object),
            (objects, _) => Self {
                kind,
                address: None,
                direction: None,
                descriptor: None,
                cases: objects
                    .iter()
                    .map(|object| Self::object(WaitKind::Chan, *object))
                    .collect(),
            },
        }
    }

    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(crate) const fn direction(&self) -> Option<Direction> {
        self.direction
    }

    pub(crate) const fn descriptor(&self) -> Option<&WaitedDescriptor> {
        self.descriptor.as_ref()
    }

    pub(crate) fn cases(&self) -> &[WaitingOn] {
        &self.cases
    }

    /// The kind as people call it.
    pub(crate) const fn kind_name(&self) -> &'static str {
        match self.kind {
            WaitKind::Chan => "channel",
            WaitKind::Select => "select",
            WaitKind::Mutex => "mutex",
            WaitKind::RwMutex => "RW mutex",
            WaitKind::WaitGroup => "wait group",
            WaitKind::Cond => "condition",
            WaitKind::Semaphore => "semaphore",
            WaitKind::Netpoll => "network poller",
            WaitKind::Timer => "timer",
            WaitKind::Sleep => "sleep",
            WaitKind::Gc => "garbage collector",
            WaitKind::Runtime => "runtime",
        }
    }
}
