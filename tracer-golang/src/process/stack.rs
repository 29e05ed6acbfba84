//! Stacks of goroutines that do not run, by the same tables and rules that the runtime's own
//! traceback follows (`runtime/traceback.go`, unwinder). A walk ends where it is not sure: at an
//! unknown function, at one that switches stacks, outside the stack, after so many frames.

use rustc_hash::FxHashMap;
use tracer_model::ids::{Addr, Pc};
use tracer_model::snapshot::StackId;

use super::memory::TargetMemory;
use super::plugins::Plugins;
use crate::binary::{Arch, GoBinary, Vaddr};

/// Bytes that are read at once where a stack goes on beyond what was read in bulk.
const MORE: u64 = 4096;

/// Functions that the runtime puts on a stack as if the interrupted instruction had called them.
const INJECTED: [&str; 3] = [
    "runtime.asyncPreempt",
    "runtime.sigpanic",
    "runtime.debugCallV2",
];

/// arm64: what an injected call pushes (`alignUp(sys.MinFrameSize, sys.StackAlign)`), bytes.
const ARM64_INJECTED: u64 = 16;

/// What walking needs to know about one program counter.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The stack ends here, e.g. in `runtime.goexit`. Not a frame that anyone wants to see.
    Top,
    /// The function is in a module whose file cannot be read: how large its frame is, nobody says.
    Unread,
    Frame {
        /// See [`crate::binary::Pclntab::sp_delta`].
        sp_delta: u64,
        /// The pc is the function's first instruction: it was not called from there.
        at_entry: bool,
        /// The caller was interrupted, it did not call.
        injected: bool,
        /// It switches stacks in ways that no table says.
        writes_sp: bool,
    },
}

/// What is known about program counters, kept from snapshot to snapshot.
#[derive(Debug, Default)]
pub(super) struct PcCache {
    known: FxHashMap<u64, Step>,
    plugins: Plugins,
}

impl PcCache {
    pub(super) fn new(plugins: Plugins) -> PcCache {
        PcCache {
            known: FxHashMap::default(),
            plugins,
        }
    }

    fn step(&mut self, binary: &GoBinary, bias: u64, pc: u64) -> Option<Step> {
        if let Some(step) = self.known.get(&pc) {
            return Some(*step);
        }
        let vaddr = Vaddr(pc.wrapping_sub(bias));
        let (function, vaddr) = match binary.pclntab().function(vaddr) {
            Some(function) => (function, vaddr),
            None if self.plugins.is_unread(pc) => return Some(Step::Unread),
            None => self.plugins.function(pc)?,
        };
        let step = match function.is_top_frame() {
            true => Step::Top,
            false => Step::Frame {
                sp_delta: u64::from(function.sp_delta(vaddr)?),
                at_entry: function.entry == vaddr,
                injected: INJECTED.contains(&function.name),
                // It leaves a frame on both stacks that can be walked through.
                writes_sp: function.writes_sp() && function.name != "runtime.cgocallback",
            },
        };
        // Unknown pcs are not kept: there is no end of them.
        self.known.insert(pc, step);
        Some(step)
    }
}

/// Where a walk begins, and the bounds of the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) pc: u64,
    pub(super) sp: u64,
    /// arm64's link register, 0 if not known.
    pub(super) lr: u64,
    /// End of the stack.
    pub(super) hi: u64,
}

/// A frame of a stack whose extent is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// An address inside the call that it waits in.
    pub(super) pc: Pc,
    /// The stack pointer in it.
    pub(super) sp: u64,
    /// The caller's stack pointer.
    pub(super) caller_sp: u64,
    /// It did not call what is below it in the ordinary way: it was interrupted, or interrupts, or
    /// has not begun, or switches stacks.
    pub(super) irregular: bool,
}

/// Walks stacks of one process.
pub(super) struct Walker<'a, M> {
    pub(super) memory: &'a M,
    pub(super) binary: &'a GoBinary,
    pub(super) bias: u64,
    pub(super) pcs: &'a mut PcCache,
    pub(super) max_frames: usize,
}

impl<M: TargetMemory> Walker<'_, M> {
    /// Appends the program counters of one stack, innermost first. `bytes` are those at `start.sp`,
    /// as many as were read. Whether the walk came to the stack's end, or stopped after so many
    /// frames, or where stacks are switched; not so where something was not recognised.
    pub(super) fn walk(&mut self, start: Start, bytes: &[u8], out: &mut Vec<Pc>) -> bool {
        self.visit(start, bytes, out, &mut |_| {})
    }

    /// As [`Walker::walk`]; tells as well where the frames lie, as far as that is known.
    pub(super) fn visit(
        &mut self,
        start: Start,
        bytes: &[u8],
        out: &mut Vec<Pc>,
        each: &mut dyn FnMut(Extent),
    ) -> bool {
        let mut words = Words {
            memory: self.memory,
            at: start.sp,
            bytes,
            more: Vec::new(),
            more_at: 0,
            hi: start.hi,
        };
        let link_register = self.binary.arch() == Arch::Arm64;
        let Start {
            mut pc,
            mut sp,
            mut lr,
            hi,
        } = start;
        let mut interrupted = false;
        for depth in 0..self.max_frames {
            let (sp_delta, at_entry, injected, writes_sp) =
                match self.pcs.step(self.binary, self.bias, pc) {
                    Some(Step::Frame {
                        sp_delta,
                        at_entry,
                        injected,
                        writes_sp,
                    }) => (sp_delta, at_entry, injected, writes_sp),
                    Some(Step::Top) => return true,
                    Some(Step::Unread) => {
                        out.push(Pc(pc.saturating_sub(1)));
                        return false;
                    }
                    None => return false,
                };
            let inside = Pc(match interrupted || at_entry {
                true => pc,
                false => pc - 1,
            });
            out.push(inside);
            if writes_sp && depth > 0 {
                return true;
            }
            let Some(frame_end) = sp.checked_add(sp_delta) else {
                return false;
            };
            let (return_address, caller_sp) = match link_register {
                false => (words.get(frame_end), frame_end.checked_add(8)),
                true if lr != 0 && sp_delta == 0 => (Some(lr), Some(frame_end)),
                true => (words.get(sp), Some(frame_end)),
            };
            let (Some(return_address), Some(caller_sp)) = (return_address, caller_sp) else {
                return false;
            };
            if caller_sp > hi || (caller_sp == sp && return_address == pc) {
                return false;
            }
            each(Extent {
                pc: inside,
                sp,
                caller_sp,
                irregular: interrupted || at_entry || injected || writes_sp,
            });
            (pc, sp, lr) = (return_address, caller_sp, 0);
            interrupted = injected;
            if injected && link_register {
                // The interrupted function's own link register was pushed.
                let Some(pushed) = words.get(sp) else {
                    return false;
                };
                sp = sp.saturating_add(ARM64_INJECTED);
                if let Some(Step::Frame { sp_delta: 0, .. }) =
                    self.pcs.step(self.binary, self.bias, pc)
                {
                    lr = pushed;
                }
            }
        }
        true
    }
}

/// Words of one stack: from what was read in bulk, else from memory.
struct Words<'a, M> {
    memory: &'a M,
    at: u64,
    bytes: &'a [u8],
    more: Vec<u8>,
    more_at: u64,
    hi: u64,
}

impl<M: TargetMemory> Words<'_, M> {
    fn get(&mut self, addr: u64) -> Option<u64> {
        let end = addr.checked_add(8)?;
        if end > self.hi {
            return None;
        }
        if let Some(word) = word(self.bytes, self.at, addr) {
            return Some(word);
        }
        if let Some(word) = word(&self.more, self.more_at, addr) {
            return Some(word);
        }
        self.more.resize((self.hi - addr).min(MORE) as usize, 0);
        self.more_at = addr;
        if self.memory.read(Addr(addr), &mut self.more).is_err() {
            self.more.clear();
        }
        word(&self.more, self.more_at, addr)
    }
}

fn word(bytes: &[u8], at: u64, addr: u64) -> Option<u64> {
    let offset = usize::try_from(addr.checked_sub(at)?).ok()?;
    let word = bytes.get(offset..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

/// Distinct stacks.
#[derive(Debug, Default)]
pub(super) struct Stacks(FxHashMap<Box<[Pc]>, StackId>);

impl Stacks {
    /// The id of a stack; `None` for an empty one.
    pub(super) fn id(&mut self, pcs: &[Pc]) -> Option<StackId> {
        if pcs.is_empty() {
            return None;
        }
        if let Some(&id) = self.0.get(pcs) {
            return Some(id);
        }
        let id = StackId(u32::try_from(self.0.len()).ok()?);
        self.0.insert(pcs.into(), id);
        Some(id)
    }

    /// The stacks, by id.
    pub(super) fn into_vec(self) -> Vec<Box<[Pc]>> {
        let mut stacks: Vec<_> = self.0.into_iter().collect();
        stacks.sort_unstable_by_key(|(_, id)| *id);
        stacks.into_iter().map(|(pcs, _)| pcs).collect()
    }
}
