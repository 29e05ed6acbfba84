//! What is where on a goroutine's stack: which of its words are of use, and whose frame each is in.

use std::ops::Range;

use rustc_hash::FxHashMap;
use tracer_model::ids::Addr;
use tracer_model::snapshot::State;

use super::GoProcess;
use super::bytes::u64_at;
use super::header::Header;
use super::liveness::Liveness;
use super::memory::TargetMemory;
use super::stack::{Extent, PcCache, Start, Walker};

/// Frames of a stack at most.
const MAX_FRAMES: usize = 1 << 20;
/// Deferred calls of a goroutine that are looked at.
const MAX_DEFERRED: usize = 1 << 16;

/// What is known about the words of one stack.
pub(super) struct StackWords {
    /// Of each word from the stack pointer on, whether it may be a pointer that is of use.
    pub(super) of_use: Vec<bool>,
    /// The frames, innermost first.
    pub(super) extents: Vec<Extent>,
    /// The frames of words that are arguments, by address.
    pub(super) arguments: FxHashMap<u64, u32>,
}

impl StackWords {
    /// Index of the frame that the word at an address belongs to.
    pub(super) fn frame(&self, addr: u64) -> Option<u32> {
        let argument_of = self.arguments.get(&addr).copied();
        argument_of.or_else(|| {
            let frame = (self.extents).partition_point(|extent| extent.caller_sp <= addr);
            (frame < self.extents.len()).then_some(frame as u32)
        })
    }
}

/// Tells what is where on stacks.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    pcs: PcCache,
    liveness: Liveness,
}

impl Stacks {
    pub(super) fn new(pcs: PcCache) -> Stacks {
        Stacks {
            pcs,
            liveness: Liveness::default(),
        }
    }

    pub(super) fn into_pcs(self) -> PcCache {
        self.pcs
    }

    /// For each word of `bytes`, a goroutine's stack from its stack pointer on, whether it may be a
    /// pointer that is of use, and to which frame it belongs. `None` if nothing is known about it.
    pub(super) fn live_words<M: TargetMemory>(
        &mut self,
        process: &GoProcess<M>,
        header: &Header,
        bytes: &[u8],
    ) -> Option<StackWords> {
        let standing = matches!(
            header.state()?,
            State::Waiting | State::Leaked | State::Syscall | State::Runnable | State::Preempted
        );
        // A panic leaves frames at places that they do not return to.
        if !standing || header.panics != 0 {
            return None;
        }
        let extents = self.extents(process, header, bytes);
        let (binary, bias) = (process.binary(), process.bias());
        let start = stack(header).start;
        let (mut of_use, arguments) = (self.liveness).words(binary, bias, &extents, start, bytes);
        deferred(process, header, bytes, &mut of_use)?;
        Some(StackWords {
            of_use,
            extents,
            arguments,
        })
    }

    /// Where the frames of a stack are. `bytes` begin at its stack pointer.
    pub(super) fn extents<M: TargetMemory>(
        &mut self,
        process: &GoProcess<M>,
        header: &Header,
        bytes: &[u8],
    ) -> Vec<Extent> {
        let mut extents = Vec::new();
        if let Some((pc, sp, lr)) = header.stack_top()
            && sp == stack(header).start
        {
            let mut walker = Walker {
                memory: process.memory(),
                binary: process.binary(),
                bias: process.bias(),
                pcs: &mut self.pcs,
                max_frames: MAX_FRAMES,
            };
            let hi = header.stack_hi;
            let start = Start { pc, sp, lr, hi };
            walker.visit(start, bytes, &mut Vec::new(), &mut |extent| {
                extents.push(extent);
            });
        }
        extents
    }
}

/// Makes the words of deferred calls count that are recorded on the stack: no map tells of them.
/// `None` if they cannot be told.
fn deferred<M: TargetMemory>(
    process: &GoProcess<M>,
    header: &Header,
    bytes: &[u8],
    words: &mut [bool],
) -> Option<()> {
    let range = stack(header);
    let layout = process.layout().defer;
    let mut record = header.defers;
    let mut seen = 0;
    while record != 0 {
        let link = record.checked_add(u64::from(layout.link))?;
        record = match record.checked_sub(range.start) {
            Some(offset) if record < range.end => {
                let first = offset as usize / 8;
                words
                    .get_mut(first..first + (layout.size as usize).div_ceil(8))?
                    .fill(true);
                u64_at(bytes, u32::try_from(link - range.start).ok()?)
            }
            // In the heap, from where the next one may be on the stack again.
            _ => process.memory().read_u64(Addr(link)).ok()?,
        };
        seen += 1;
        if seen > MAX_DEFERRED {
            return None;
        }
    }
    Some(())
}

/// What of a goroutine's stack is in use: all of it where memory does not say.
pub(super) fn stack(header: &Header) -> Range<u64> {
    let (lo, hi) = (header.stack_lo, header.stack_hi);
    // Not yet started, or its stack was freed.
    if lo == 0 || lo >= hi {
        return 0..0;
    }
    let top = header.stack_top().map(|(_, sp, _)| sp);
    let start = top.filter(|sp| (lo..=hi).contains(sp)).unwrap_or(lo);
    start & !7..hi
}
