//! What the process says: its memory is read while it runs and turned into a
//! [`Snapshot`](tracer_model::snapshot::Snapshot). Nothing is written, nothing is stopped.
//!
//! [`GoProcess`] is the way in. What follows from reading a process that moves on meanwhile:
//!
//! - Nothing read is believed because it is there. A goroutine is its header, then what the header
//!   leads to, then the header again; what changed in between is read anew, a bounded number of
//!   times, and is called moving after that, with nothing that may not be true. Channels likewise.
//! - Nothing is believed before the self-check passed: that the runtime's structures are where
//!   this binary's layouts say. It names what failed.
//! - An item that cannot be read is an error in the snapshot, not the end of it.
//!
//! Speed comes from reading in bulk: many ranges in one system call, neighbours as one range
//! (`memory::Bulk`). Goroutines are read in groups, which keeps short the time in which they may
//! change.

mod bytes;
mod candidates;
mod channel_search;
mod channels;
mod check;
mod corruption;
mod goroutines;
mod header;
mod heap;
mod hidden;
mod holders;
mod labels;
mod landmarks;
mod liveness;
mod lives;
mod load;
mod mark;
pub mod memory;
mod plugins;
mod reachability;
mod role;
mod roots;
mod semaphores;
mod snapshot;
mod stack;
mod stack_words;
mod sudog;
mod symbols;
mod timers;
pub mod types;
mod unused;
mod uses;
pub mod value;
mod waits;

use std::sync::Arc;

use tracer_model::ids::{Addr, ChanAddr, Ktime};

use crate::binary::{GoBinary, Vaddr};
use crate::layout::RuntimeLayout;
use memory::{LiveMemory, MemoryError, TargetMemory};
use plugins::Plugins;
use stack::PcCache;
use types::Types;
use value::Limits;

pub use load::Module;
pub use symbols::Symbols;
pub use waits::WaitDecoder;

/// Why a process cannot be read as a Go process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// Its memory cannot be read at all.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// It does not run this binary, or is not mapped as this binary must be.
    #[error("cannot tell where the program is loaded: {0}")]
    Load(String),
    /// Its memory does not look as this binary's layouts say.
    #[error(
        "{field} is not as expected ({reason}): the process does not run this binary, or the layout of its runtime is not known"
    )]
    SelfCheck {
        /// The variable or field that failed.
        field: &'static str,
        /// How.
        reason: String,
    },
}

impl ProcessError {
    /// Whether the process has ended.
    pub const fn is_gone(&self) -> bool {
        matches!(self, ProcessError::Memory(MemoryError::Gone))
    }

    /// Whether a right to read the process is missing.
    pub const fn is_denied(&self) -> bool {
        matches!(self, ProcessError::Memory(MemoryError::Denied(_)))
    }

    fn check(field: &'static str, reason: impl Into<String>) -> ProcessError {
        ProcessError::SelfCheck {
            field,
            reason: reason.into(),
        }
    }
}

/// What to read beyond goroutines and the channels they wait on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Read stacks.
    pub stacks: bool,
    /// Physical frames per stack at most.
    pub max_frames: usize,
    /// Values to decode per channel, in its buffer and among its waiting senders each.
    pub values: usize,
    /// Say only the size of values.
    pub redact: bool,
    /// How much of one value is read and shown.
    pub limits: Limits,
    /// Read pprof labels.
    pub labels: bool,
    /// Which channels to look for.
    pub channels: ChannelScope,
    /// Channels to read besides those.
    pub extra_channels: Vec<ChanAddr>,
}

/// Which channels a read looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelScope {
    /// None: of selects only what is needed to tell the sides of their cases.
    None,
    /// Those that goroutines wait on.
    #[default]
    Waited,
    /// Also those that a stack refers to, or an object that a stack refers to.
    Stacks,
    /// Also all others in the heap. Those that nothing refers to any more are there until the
    /// garbage collector has swept them.
    Heap,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            stacks: true,
            max_frames: 64,
            values: 0,
            redact: false,
            limits: Limits::default(),
            labels: true,
            channels: ChannelScope::default(),
            extra_channels: Vec::new(),
        }
    }
}

/// A Go process whose memory is read.
#[derive(Debug)]
pub struct GoProcess<M = LiveMemory> {
    memory: M,
    binary: Arc<GoBinary>,
    bias: u64,
    modules: Vec<Module>,
    symbols: Symbols,
    pcs: PcCache,
    types: Types,
    code: uses::Known,
    /// How often it was searched for what is reachable.
    searches: u32,
}

impl GoProcess<LiveMemory> {
    /// Opens a live process that runs `binary`.
    ///
    /// # Errors
    /// If it is gone, may not be read, does not run this binary, or the self-check fails.
    pub fn attach(pid: u32, binary: Arc<GoBinary>) -> Result<GoProcess, ProcessError> {
        let memory = LiveMemory::open(pid)?;
        let bias = load::bias(pid, &binary)?;
        let mut process = GoProcess::new(memory, binary, bias)?;
        let plugins = Plugins::of(pid, &process.binary, &process.modules);
        process.symbols = process.symbols.with_plugins(plugins.clone());
        process.pcs = PcCache::new(plugins);
        Ok(process)
    }
}

impl<M: TargetMemory> GoProcess<M> {
    /// A process by its memory and load bias: runtime address minus link-time address.
    ///
    /// # Errors
    /// If the memory cannot be read or the self-check fails.
    pub fn new(memory: M, binary: Arc<GoBinary>, bias: u64) -> Result<GoProcess<M>, ProcessError> {
        let modules = load::modules(&memory, &binary, bias)?;
        let process = GoProcess {
            symbols: Symbols::new(Arc::clone(&binary), bias),
            pcs: PcCache::default(),
            types: Types::new(
                binary.layout().types,
                modules.iter().map(|module| module.types.clone()),
            ),
            code: uses::Known::default(),
            searches: 0,
            memory,
            binary,
            bias,
            modules,
        };
        check::run(&process)?;
        Ok(process)
    }

    /// The memory it is read through.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Its file.
    pub fn binary(&self) -> &Arc<GoBinary> {
        &self.binary
    }

    /// Runtime address minus link-time address.
    pub fn bias(&self) -> u64 {
        self.bias
    }

    /// Where its runtime keeps what.
    pub fn layout(&self) -> &RuntimeLayout {
        self.binary.layout()
    }

    /// Its modules, as its memory says: the program, then plugins.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Where in memory a link-time address is.
    pub fn address(&self, vaddr: Vaddr) -> Addr {
        Addr(vaddr.0.wrapping_add(self.bias))
    }

    /// What its program counters mean. Cheap to clone, may be kept and shared between threads.
    pub fn symbols(&self) -> Symbols {
        self.symbols.clone()
    }
}

/// Kernel time now: CLOCK_MONOTONIC, which the kernel's and Go's own clocks are.
pub fn ktime_now() -> Ktime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Ktime(
        u64::try_from(now.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0)),
    )
}
