//! A goroutine is created, starts to run, enters and leaves a system call, exits.

use tracer_common::{CreateRecord, Kind, PlainRecord};

use crate::{config::Origin, hit::Hit, memory::Memory, ring::Event};

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
    let Origin {
        parent,
        gopc,
        startpc,
    } = target.origin(&mut memory, g);
    let goid = match parent {
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
    plain(hit, Kind::Exit, hit.registers.arg0());
}

/// `runtime.execute(gp *g, inheritTime bool)`, on the g0 of the thread that `gp` will run on, at
/// once. A coroutine that another one switches to (`iter.Pull`) does not come by here.
#[inline(always)]
pub fn goroutine_run(hit: Hit<'_>) {
    plain(hit, Kind::Run, hit.registers.arg0());
}

/// `runtime.reentersyscall`, on the goroutine that is about to enter the kernel, or C.
#[inline(always)]
pub fn syscall_enter(hit: Hit<'_>) {
    plain(hit, Kind::SyscallEnter, hit.registers.g());
}

/// `runtime.exitsyscall()`, on the goroutine that came back. It may have to wait for a P before it
/// runs on: then [`goroutine_run`] follows.
#[inline(always)]
pub fn syscall_exit(hit: Hit<'_>) {
    plain(hit, Kind::SyscallExit, hit.registers.g());
}

/// Emits a [`PlainRecord`] of the goroutine whose g is at this address.
#[inline(always)]
fn plain(hit: Hit<'_>, kind: Kind, g: u64) {
    let mut memory = Memory::new();
    let goid = hit.target.goid(&mut memory, g);
    let event = Event {
        kind,
        goid,
        flags: memory.flags(kind),
        aux: 0,
    };
    hit.emit(event, |header| PlainRecord { header });
}
