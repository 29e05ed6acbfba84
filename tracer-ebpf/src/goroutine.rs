//! A goroutine is created, starts to run, exits.

use tracer_common::{CreateRecord, ExitRecord, Kind, RunRecord};

use crate::{hit::Hit, memory::Memory, ring::Event};

/// The call of `runtime.runqput(pp *p, gp *g, next bool)` in `runtime.newproc.func1`, on the g0 of
/// the creator's thread: the new g is complete and not yet visible to another thread.
#[inline(always)]
pub fn goroutine_create(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
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
    hit.emit(event, |header| CreateRecord {
        header,
        child,
        g,
        startpc,
        gopc,
    });
}

/// `runtime.gdestroy(gp *g)` (Go 1.22 and later) or `runtime.goexit0(gp *g)` (before), on g0: `gp`
/// will run no more.
#[inline(always)]
pub fn goroutine_exit(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.arg0());
    let event = Event {
        kind: Kind::Exit,
        goid,
        flags: memory.flags(Kind::Exit),
        aux: 0,
    };
    hit.emit(event, |header| ExitRecord { header });
}

/// `runtime.execute(gp *g, inheritTime bool)`, on the g0 of the thread that `gp` will run on, at
/// once. A coroutine that another one switches to (`iter.Pull`) does not come by here.
#[inline(always)]
pub fn goroutine_run(hit: Hit<'_>) {
    let Hit {
        target, registers, ..
    } = hit;
    let mut memory = Memory::new();
    let goid = target.goid(&mut memory, registers.arg0());
    let event = Event {
        kind: Kind::Run,
        goid,
        flags: memory.flags(Kind::Run),
        aux: 0,
    };
    hit.emit(event, |header| RunRecord { header });
}
