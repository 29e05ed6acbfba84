//! A goroutine wants a semaphore; a goroutine parks; a goroutine is made runnable.

use tracer_common::{Kind, ParkRecord, ReadyRecord, SemRecord};

use crate::{hit::Hit, memory::Memory, registers::byte, ring::Event};

/// `runtime.gopark(unlockf, lock unsafe.Pointer, reason waitReason, traceReason, traceskip)`, on
/// the goroutine that is about to park. It may yet not park: `unlockf` can refuse.
#[inline(always)]
pub fn park(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let lock = registers.arg1();
    let event = Event {
        kind: Kind::Park,
        goid,
        flags: memory.flags(Kind::Park),
        aux: u32::from(byte(registers.arg2())),
    };
    hit.emit(event, |header| ParkRecord { header, lock });
}

/// `runtime.ready(gp *g, traceskip int, next bool)`, on the g0 of the thread whose goroutine wakes
/// `gp`, or of one that runs the scheduler.
#[inline(always)]
pub fn ready(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let gp = registers.arg0();
    let (woken, reason) = target.goid_and_reason(&mut memory, gp);
    let chan = target.waited_channel(&mut memory, gp, reason);
    let goid = target.current_goid(&mut memory, registers.g());
    let event = Event {
        kind: Kind::Ready,
        goid,
        flags: memory.flags(Kind::Ready),
        aux: u32::from(reason),
    };
    hit.emit(event, |header| ReadyRecord {
        header,
        woken,
        chan,
    });
}

/// `runtime.semacquire1(addr *uint32, lifo bool, profile semaProfileFlags, skipframes int, reason
/// waitReason)`, on the goroutine that wants the semaphore. Only what may block comes by here: taking a
/// free mutex is inlined into the code that takes it.
#[inline(always)]
pub fn sem_acquire(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let address = registers.arg0();
    let event = Event {
        kind: Kind::SemAcquire,
        goid,
        flags: memory.flags(Kind::SemAcquire),
        aux: 0,
    };
    hit.emit(event, |header| SemRecord { header, address });
}
