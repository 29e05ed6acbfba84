//! A channel is made; send, receive and close, at their beginning; the direct hand-offs that complete
//! them.

use tracer_common::{ChanRecord, DirectRecord, FLAG_BLOCK, Kind, MakeRecord};

use crate::{
    config::Target,
    hit::Hit,
    memory::Memory,
    registers::{Registers, byte},
    ring::Event,
};

/// `runtime.chansend(c *hchan, ep unsafe.Pointer, block bool, callerpc uintptr)`, on the sender's
/// own goroutine.
#[inline(always)]
pub fn chan_send(hit: Hit<'_>) {
    operation(hit, Kind::ChanSend, |_, _, registers| {
        (registers.arg3(), block(registers))
    });
}

/// `runtime.chanrecv(c *hchan, ep unsafe.Pointer, block bool)`, on the receiver's own goroutine.
/// Its caller is a wrapper (`chanrecv1`, `chanrecv2`, `selectnbrecv`), so that the code that
/// receives is one frame further.
#[inline(always)]
pub fn chan_recv(hit: Hit<'_>) {
    operation(hit, Kind::ChanRecv, |target, memory, registers| {
        (
            target.caller_return_address(memory, registers),
            block(registers),
        )
    });
}

/// `runtime.closechan(c *hchan)`, on the closer's own goroutine, called directly.
#[inline(always)]
pub fn chan_close(hit: Hit<'_>) {
    operation(hit, Kind::ChanClose, |target, memory, registers| {
        (target.return_address(memory, registers), 0)
    });
}

/// A branch near the end of `runtime.makechan(t *chantype, size int) *hchan`, on the maker's own
/// goroutine: the hchan is there, in a register that the cookie names.
#[inline(always)]
pub fn chan_make(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let chan = registers.argument(target.result);
    let pc = target.return_address(&mut memory, registers);
    let event = Event {
        kind: Kind::ChanMake,
        goid,
        flags: memory.flags(Kind::ChanMake),
        aux: 0,
    };
    hit.emit(event, |header| MakeRecord { header, chan, pc });
}

/// `runtime.send(c *hchan, sg *sudog, ep unsafe.Pointer, unlockf func(), skip int)`, on the sender's
/// own goroutine: `sg` waits to receive from the empty `c`, and gets the value.
#[inline(always)]
pub fn direct_send(hit: Hit<'_>) {
    direct(hit, Kind::DirectSend);
}

/// `runtime.recv(c *hchan, sg *sudog, ep unsafe.Pointer, unlockf func(), skip int)`, on the
/// receiver's own goroutine: `sg` waits to send to the full `c`. The receiver gets its value, or that
/// at the head of the buffer, whose place at the tail the sender's takes.
#[inline(always)]
pub fn direct_recv(hit: Hit<'_>) {
    direct(hit, Kind::DirectRecv);
}

#[inline(always)]
fn direct(hit: Hit<'_>, kind: Kind) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let (chan, sudog) = (registers.arg0(), registers.arg1());
    let other = memory.word(sudog, target.config.sudog_g);
    let partner = target.goid(&mut memory, other);
    let selects = memory.byte(sudog, target.config.sudog_is_select);
    let event = Event {
        kind,
        goid,
        flags: memory.flags(kind),
        aux: u32::from(selects != 0),
    };
    hit.emit(event, |header| DirectRecord {
        header,
        chan,
        partner,
    });
}

/// [`FLAG_BLOCK`] by the third argument of send and receive.
#[inline(always)]
fn block(registers: Registers<'_>) -> u8 {
    if byte(registers.arg2()) != 0 {
        FLAG_BLOCK
    } else {
        0
    }
}

/// Emits a [`ChanRecord`] for the channel in the first argument; `site` gives pc and flags.
#[inline(always)]
fn operation(
    hit: Hit<'_>,
    kind: Kind,
    site: impl FnOnce(Target, &mut Memory, Registers<'_>) -> (u64, u8),
) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let chan = registers.arg0();
    let (qcount, dataqsiz) = fill(target, &mut memory, chan);
    let (pc, flags) = site(target, &mut memory, registers);
    let event = Event {
        kind,
        goid,
        flags: flags | memory.flags(kind),
        aux: 0,
    };
    hit.emit(event, |header| ChanRecord {
        header,
        chan,
        pc,
        qcount,
        dataqsiz,
    });
}

/// `qcount` and `dataqsiz` of the hchan at this address; zeros for a nil channel.
#[inline(always)]
fn fill(target: Target, memory: &mut Memory, chan: u64) -> (u32, u32) {
    if chan == 0 {
        return (0, 0);
    }
    let (first, second) = (target.config.hchan_qcount, target.config.hchan_dataqsiz);
    let [qcount, dataqsiz] = if second == first.wrapping_add(8) {
        memory.two_words(chan, first)
    } else {
        [memory.word(chan, first), memory.word(chan, second)]
    };
    (saturated(qcount), saturated(dataqsiz))
}

/// The value, or the largest that fits.
#[inline(always)]
fn saturated(value: u64) -> u32 {
    if value > u64::from(u32::MAX) {
        u32::MAX
    } else {
        value as u32
    }
}
