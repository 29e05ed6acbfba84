//! The kernel side: one uprobe program that serves every [`Hook`], each by a function of its own.
//!
//! One program, since all probes of a target can then be one link, which the kernel places and
//! removes at once; the probe's [`Cookie`] says which hook of which target was hit ([`hit`]).
//!
//! A hook's function reads the goroutine and the arguments of the runtime function that it sits on,
//! puts one record (a select: up to six) into the ring and counts. It keeps no state of the target
//! and knows no Go version: offsets come from the target's configuration ([`config`]), registers
//! from Go's calling convention ([`registers`]). What a hook's function is, and where in it the
//! probe sits, is decided by the user side; each states what it expects there.
//!
//! - [`chan`]: a channel is made; send, receive and close; direct hand-offs
//! - [`select`]: a select with two or more cases
//! - [`park`]: a goroutine wants a semaphore, parks, is made runnable
//! - [`goroutine`]: a goroutine is created, starts to run, enters and leaves a system call, exits
//!
//! # Diagnostics of the programs themselves
//!
//! Programs say by `aya-log` what an event cannot say: a probe without a configuration, an address
//! that could not be read. The user side decides at load: it sets the read-only global
//! `AYA_LOG_LEVEL` (a byte; `aya_log::LEVEL` is its name) to 0 for off, which it does by default,
//! or to an `aya_log::Level`, and then reads what is said with `aya_log::EbpfLogger`. The verifier
//! knows read-only globals and removes code that they exclude, so that a program that logs nothing
//! has no instruction for it. Left alone the level is 255, everything.

#![no_std]
#![no_main]
// The counters need atomic additions, which this target has in assembly alone.
#![feature(asm_experimental_arch)]

mod chan;
mod config;
mod counters;
mod diagnostics;
mod goroutine;
mod hit;
mod memory;
mod park;
mod registers;
mod ring;
mod select;

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_attach_cookie, macros::uprobe,
    programs::ProbeContext,
};
use tracer_common::{Cookie, Hook};

use hit::Hit;

/// Every probe of every target; [`tracer_common::PROGRAM`] is its name.
#[uprobe]
fn probe(ctx: ProbeContext) {
    // SAFETY: the context is the one that the kernel passed.
    let wire = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let Some(cookie) = Cookie::from_wire(wire) else {
        return;
    };
    macro_rules! serve {
        ($($hook:ident => $serve:path,)+) => {
            match cookie.hook {
                $(Hook::$hook => {
                    if let Some(hit) = Hit::of(&ctx, cookie, Hook::$hook) {
                        $serve(hit);
                    }
                })+
            }
        };
    }
    serve! {
        ChanSend => chan::chan_send,
        ChanRecv => chan::chan_recv,
        ChanClose => chan::chan_close,
        Select => select::select,
        Park => park::park,
        Ready => park::ready,
        Create => goroutine::goroutine_create,
        Exit => goroutine::goroutine_exit,
        ChanMake => chan::chan_make,
        Run => goroutine::goroutine_run,
        DirectSend => chan::direct_send,
        DirectRecv => chan::direct_recv,
        SelectEnd => select::select_end,
        SemAcquire => park::sem_acquire,
        SyscallEnter => goroutine::syscall_enter,
        SyscallExit => goroutine::syscall_exit,
    }
}

/// The kernel gives the memory and ring helpers only to programs under a license compatible with
/// the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never runs: the verifier rejects a program that could reach it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
