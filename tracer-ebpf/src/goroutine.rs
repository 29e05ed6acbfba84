//! A goroutine is created; a goroutine exits.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use tracer_common::{CreateRecord, ExitRecord, Hook, Kind};

use crate::{
    config::Target,
    counters::Counters,
    memory::Memory,
    registers::Registers,
    ring::{Event, emit},
};

/// The call of `runtime.runqput(pp *p, gp *g, next bool)` in `runtime.newproc.func1`, on the g0 of
/// the creator's thread: the new g is complete and not yet visible to another thread.
#[uprobe]
fn goroutine_create(ctx: ProbeContext) {
    let Some(counters) = Counters::of_this_cpu() else {
        return;
    };
    counters.hit(Hook::Create);
    let Some(target) = Target::of(&ctx) else {
        return;
    };
    let registers = Registers::new(&ctx);
    let mut memory = Memory::new();
    let g = registers.arg1();
    let child = target.goid(&mut memory, g);
    let startpc = memory.word(g, target.config.g_startpc);
    let gopc = memory.word(g, target.config.g_gopc);
    let goid = match target.parent_goid(&mut memory, g) {
        Some(goid) => goid,
        None => target.current_goid(&mut memory, registers.g()),
    };
    let event = Event {
        kind: Kind::Create,
        goid,
        flags: memory.flags(Kind::Create),
        aux: 0,
    };
    emit(counters, target, event, |header| CreateRecord {
        header,
        child,
        g,
        startpc,
        gopc,
    });
}

/// `runtime.gdestroy(gp *g)` (Go 1.22 and later) or `runtime.goexit0(gp *g)` (before), on g0: `gp`
/// will run no more.
#[uprobe]
fn goroutine_exit(ctx: ProbeContext) {
    let Some(counters) = Counters::of_this_cpu() else {
        return;
    };
    counters.hit(Hook::Exit);
    let Some(target) = Target::of(&ctx) else {
        return;
    };
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, Registers::new(&ctx).arg0());
    let event = Event {
        kind: Kind::Exit,
        goid,
        flags: memory.flags(Kind::Exit),
        aux: 0,
    };
    emit(counters, target, event, |header| ExitRecord { header });
}
