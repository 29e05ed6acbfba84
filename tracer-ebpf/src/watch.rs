//! Which processes of a node begin to run another program, and which end: what `gotrace agent` finds
//! programs by. An object of its own, so that it costs nothing where nobody watches.
//!
//! Raw tracepoints need neither tracefs nor an offset of any structure: who it is, the kernel tells by a
//! helper, since both tracepoints are hit by the process itself.

#![no_std]
#![no_main]

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint},
    maps::{PerCpuArray, RingBuf},
    programs::RawTracePointContext,
};
use tracer_common::Occurrence;

/// Room for 4096 occurrences, each with the ring's own header.
const RING_BYTES: u32 = 4096 * 16;

#[map]
static OCCURRENCES: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Occurrences that found no room in the ring, by CPU.
#[map]
static UNSEEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// A process executes another program. Its other threads are gone by then, and the one that is left has
/// the process' id.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(_: RawTracePointContext) -> i32 {
    tell(Occurrence::EXEC)
}

/// A thread ends: of all threads of a process the first one says so for it.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit(_: RawTracePointContext) -> i32 {
    tell(Occurrence::EXIT)
}

#[inline(always)]
fn tell(what: u32) -> i32 {
    let both = bpf_get_current_pid_tgid();
    let (tgid, thread) = ((both >> 32) as u32, both as u32);
    if thread != tgid {
        return 0;
    }
    match OCCURRENCES.reserve::<Occurrence>(0) {
        Some(mut entry) => {
            entry.write(Occurrence { tgid, what });
            entry.submit(0);
        }
        None => {
            if let Some(unseen) = UNSEEN.get_ptr_mut(0) {
                // SAFETY: the map's value is alive as long as the program. The kernel runs programs of raw
                // tracepoints with preemption off, and no interrupt executes a program or ends a process.
                unsafe { *unseen += 1 };
            }
        }
    }
    0
}

/// The kernel gives the ring's helpers only to programs under a license compatible with the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never runs: the verifier rejects a program that could reach it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
