//! A select with two or more cases, at its beginning and its end.
//!
//! Selects with fewer cases do not get here: the compiler turns them into a plain operation, a
//! non-blocking one, or an endless block.

use tracer_common::{
    FLAG_BLOCK, FLAG_TRUNCATED, Kind, PlainRecord, SELECT_CASES, SELECT_MAX_CASES,
    SELECT_MORE_CASES, SelectMoreRecord, SelectRecord,
};

use crate::{hit::Hit, memory::Memory, registers::byte, ring::Event};

/// Size of one `runtime.scase` in bytes: the channel, then the element's address.
const SCASE_BYTES: u32 = 16;

/// `runtime.selectgo(cas0 *scase, order0 *uint16, pc0 *uintptr, nsends, nrecvs int, block bool)`,
/// on the selecting goroutine. `cas0` is an array of `nsends` and then `nrecvs` cases.
#[inline(always)]
pub fn select(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let cases = registers.arg0();
    let (sends, receives) = (half(registers.arg3()), half(registers.arg4()));
    let count = (sends + receives) as usize;
    let goid = target.goid(&mut memory, registers.g());
    let pc = target.return_address(&mut memory, registers);
    let chans = channels(&mut memory, cases, 0, count);
    let mut flags = 0;
    if byte(registers.arg5()) != 0 {
        flags |= FLAG_BLOCK;
    }
    if count > SELECT_MAX_CASES {
        flags |= FLAG_TRUNCATED;
    }
    // A goid that could not be read is missing from the further records as well.
    flags |= memory.flags(Kind::Select);
    let event = Event {
        kind: Kind::Select,
        goid,
        flags,
        aux: sends | receives << 16,
    };
    hit.emit(event, |header| SelectRecord { header, pc, chans });

    let mut first = SELECT_CASES;
    while first < SELECT_MAX_CASES && first < count {
        let mut memory = Memory::new();
        let chans = channels(&mut memory, cases, first, count);
        let event = Event {
            kind: Kind::SelectMore,
            goid,
            flags: flags | memory.flags(Kind::SelectMore),
            aux: first as u32,
        };
        hit.emit(event, |header| SelectMoreRecord { header, chans });
        first += SELECT_MORE_CASES;
    }
}

/// A branch near the end of `runtime.selectgo`, on the selecting goroutine: the index of the case that
/// it ends with is in a register that the cookie names; below 0 is the default case.
#[inline(always)]
pub fn select_end(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let event = Event {
        kind: Kind::SelectEnd,
        goid,
        flags: memory.flags(Kind::SelectEnd),
        aux: registers.argument(target.result) as u32,
    };
    hit.emit(event, |header| PlainRecord { header });
}

/// The channels of `N` cases from `first` on; 0 beyond the last of `count`.
#[inline(always)]
fn channels<const N: usize>(
    memory: &mut Memory,
    cases: u64,
    first: usize,
    count: usize,
) -> [u64; N] {
    let mut chans = [0; N];
    for (index, chans) in chans.chunks_mut(2).enumerate() {
        let index = first + 2 * index;
        let offset = SCASE_BYTES * index as u32;
        match chans {
            [chan, next] if index + 1 < count => {
                let [first, _, second] = memory.three_words(cases, offset);
                (*chan, *next) = (first, second);
            }
            [chan, ..] if index < count => *chan = memory.word(cases, offset),
            _ => {}
        }
    }
    chans
}

/// A number of cases as it fits into half of the header's `aux`. The compiler allows 65536 cases.
#[inline(always)]
fn half(count: u64) -> u32 {
    count.min(0xffff) as u32
}
