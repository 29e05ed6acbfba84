//! Which words of a parked goroutine's stack are pointers that are still of use, by the stack maps
//! that the compiler made for the garbage collector. A word that a function is done with may hold
//! anything for as long as the frame stands; it would keep alive, in our eyes, what is long lost.
//!
//! Where the maps do not say (assembly, an interrupted function, the end of a walk), every word
//! counts.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::Pc;

use super::bytes::u64_at;
use super::stack::Extent;
use crate::binary::{Arch, GoBinary, LiveSlots, Vaddr};

const WORD: u64 = 8;

/// What is known about program counters, kept for a whole pass.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    known: FxHashMap<Pc, Option<Arc<LiveSlots>>>,
}

/// One frame, with what is live in it if its maps say.
struct Frame {
    sp: u64,
    caller_sp: u64,
    /// End of the locals.
    varp: u64,
    /// Begin of the arguments.
    argp: u64,
    slots: Option<Arc<LiveSlots>>,
}

impl Liveness {
    /// For each word of `bytes`, the stack from `start` on, whether it counts; and of those that are
    /// a function's arguments, which its caller's frame holds, by address the function's frame.
    pub(super) fn words(
        &mut self,
        binary: &GoBinary,
        bias: u64,
        extents: &[Extent],
        start: u64,
        bytes: &[u8],
    ) -> (Vec<bool>, FxHashMap<u64, u32>) {
        let mut arguments = FxHashMap::default();
        let mut live = vec![true; bytes.len() / WORD as usize];
        let frames: Vec<Frame> = extents
            .iter()
            .map(|extent| self.frame(binary, bias, extent))
            .collect();
        let mut set = |range: Range<u64>, value: bool| {
            for at in range.step_by(WORD as usize) {
                let index = at.checked_sub(start).map(|offset| offset / WORD);
                if let Some(word) = index.and_then(|index| live.get_mut(index as usize)) {
                    *word = value;
                }
            }
        };
        // Where maps say, nothing else counts.
        for frame in frames.iter().filter(|frame| frame.slots.is_some()) {
            set(frame.sp..frame.caller_sp, false);
        }
        let mut objects: Vec<Range<u64>> = Vec::new();
        let mut caller_known = frames.iter().skip(1).map(|frame| frame.slots.is_some());
        for (number, frame) in (0..).zip(&frames) {
            let caller_known = caller_known.next().unwrap_or(false);
            let Some(slots) = &frame.slots else {
                // Its arguments are in the caller's frame: how many is not known, at most up to
                // the caller's locals.
                if caller_known {
                    let caller = frames.iter().find(|caller| caller.sp == frame.caller_sp);
                    if let Some(caller) = caller {
                        set(caller.sp..caller.locals(), true);
                    }
                }
                continue;
            };
            let bits = |begin: u64, bits: &[bool], set: &mut dyn FnMut(Range<u64>, bool)| {
                for (index, _) in bits.iter().enumerate().filter(|(_, live)| **live) {
                    let at = begin.wrapping_add(index as u64 * WORD);
                    set(at..at.saturating_add(WORD), true);
                }
            };
            bits(frame.locals(), &slots.locals, &mut set);
            bits(frame.argp, &slots.arguments, &mut |range, value| {
                arguments.insert(range.start, number);
                set(range, value);
            });
            objects.extend(slots.objects.iter().map(|&(offset, size)| {
                let from = if offset < 0 { frame.varp } else { frame.argp };
                let at = from.wrapping_add_signed(i64::from(offset));
                at..at.saturating_add(u64::from(size))
            }));
        }
        follow(&mut live, objects, start, bytes);
        (live, arguments)
    }

    fn frame(&mut self, binary: &GoBinary, bias: u64, extent: &Extent) -> Frame {
        let slots = match extent.irregular {
            true => None,
            false => (self.known)
                .entry(extent.pc)
                .or_insert_with(|| {
                    let vaddr = Vaddr(extent.pc.0.wrapping_sub(bias));
                    let slots = binary.pclntab().function(vaddr)?.live_slots(vaddr)?;
                    Some(Arc::new(slots))
                })
                .clone(),
        };
        // As runtime.unwinder has it. On amd64 the return address lies between the frames; below
        // it, in a function that has a frame, the frame pointer is saved. So it is on arm64, where
        // the arguments begin behind the link register's place.
        let (end, argp) = match binary.arch() {
            Arch::Amd64 => (extent.caller_sp.wrapping_sub(WORD), extent.caller_sp),
            Arch::Arm64 => (extent.caller_sp, extent.caller_sp.wrapping_add(WORD)),
        };
        let varp = match end > extent.sp {
            true => end - WORD,
            false => end,
        };
        let mut frame = Frame {
            sp: extent.sp,
            caller_sp: extent.caller_sp,
            varp,
            argp,
            slots,
        };
        // Maps that do not fit the frame are not its own.
        if frame.slots.is_some() && frame.locals() < frame.sp {
            frame.slots = None;
        }
        frame
    }
}

impl Frame {
    /// Where the locals that the map tells about begin: below are arguments of calls.
    fn locals(&self) -> u64 {
        let words = self.slots.as_ref().map_or(0, |slots| slots.locals.len());
        self.varp.wrapping_sub(words as u64 * WORD)
    }
}

/// Makes all words of an object count that a word which counts points to.
fn follow(live: &mut [bool], mut objects: Vec<Range<u64>>, start: u64, bytes: &[u8]) {
    if objects.is_empty() {
        return;
    }
    let mut next: Vec<usize> = (0..live.len()).filter(|&index| live[index]).collect();
    while let Some(index) = next.pop() {
        let word = u64_at(bytes, (index * WORD as usize) as u32);
        let (hit, rest): (Vec<_>, Vec<_>) =
            (objects.into_iter()).partition(|object| object.contains(&word));
        objects = rest;
        for object in hit {
            let first = object.start.saturating_sub(start) / WORD;
            let last = object.end.saturating_sub(start).div_ceil(WORD);
            for index in first as usize..(last as usize).min(live.len()) {
                if !live[index] {
                    live[index] = true;
                    next.push(index);
                }
            }
        }
        if objects.is_empty() {
            return;
        }
    }
}
