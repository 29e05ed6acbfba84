//! A goroutine parks; a goroutine is made runnable.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use tracer_common::{Hook, Kind, ParkRecord, ReadyRecord};

use crate::{
    config::Target,
    counters::Counters,
    memory::Memory,
    registers::{Registers, byte},
    ring::{Event, emit},
};

/// `runtime.gopark(unlockf, lock unsafe.Pointer, reason waitReason, traceReason, traceskip)`, on
/// the goroutine that is about to park. It may yet not park: `unlockf` can refuse.
#[uprobe]
fn park(ctx: ProbeContext) {
    let Some(counters) = Counters::of_this_cpu() else {
        return;
    };
    counters.hit(Hook::Park);
    let Some(target) = Target::of(&ctx) else {
        return;
    };
    let registers = Registers::new(&ctx);
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.g());
    let lock = registers.arg1();
    let event = Event {
        kind: Kind::Park,
        goid,
        flags: memory.flags(Kind::Park),
        aux: u32::from(byte(registers.arg2())),
    };
    emit(counters, target, event, |header| ParkRecord {
        header,
        lock,
    });
}

/// `runtime.ready(gp *g, traceskip int, next bool)`, on the g0 of the thread whose goroutine wakes
/// `gp`, or of one that runs the scheduler.
#[uprobe]
fn ready(ctx: ProbeContext) {
    let Some(counters) = Counters::of_this_cpu() else {
        return;
    };
    counters.hit(Hook::Ready);
    let Some(target) = Target::of(&ctx) else {
        return;
    };
    let registers = Registers::new(&ctx);
    let mut memory = Memory::new();
    let gp = registers.arg0();
    let woken = target.goid(&mut memory, gp);
    let reason = memory.byte(gp, target.config.g_waitreason);
    let goid = target.current_goid(&mut memory, registers.g());
    let event = Event {
        kind: Kind::Ready,
        goid,
        flags: memory.flags(Kind::Ready),
        aux: u32::from(reason),
    };
    emit(counters, target, event, |header| ReadyRecord {
        header,
        woken,
    });
}
