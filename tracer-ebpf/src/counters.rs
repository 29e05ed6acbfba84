//! Counters of a target, on the CPU that a program runs on.
//!
//! The kernel lets a uprobe program be preempted, though not migrated, so another one may run on
//! the same CPU in between: every update is one atomic instruction.

use core::arch::asm;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::{CpuCounters, Hook, MAX_TARGETS};

/// By slot; the loader makes it as large as there are slots in use.
#[map]
static COUNTERS: PerCpuArray<CpuCounters> = PerCpuArray::with_max_entries(MAX_TARGETS, 0);

/// The counters of a target, of the CPU that the program runs on.
#[derive(Clone, Copy)]
pub struct Counters(*mut CpuCounters);

impl Counters {
    /// `None` if there is no such slot.
    #[inline(always)]
    pub fn of(slot: u32) -> Option<Counters> {
        COUNTERS.get_ptr_mut(slot).map(Counters)
    }

    /// Counts a hit of `hook`.
    #[inline(always)]
    pub fn hit(self, hook: Hook) {
        // SAFETY: the map's value is alive as long as the program.
        increment(unsafe { &raw mut (*self.0).hits[hook as usize] });
    }

    /// Takes the next sequence number.
    #[inline(always)]
    pub fn next(self) -> u64 {
        // SAFETY: as in `hit`.
        fetch_increment(unsafe { &raw mut (*self.0).attempted })
    }

    /// Counts a record that found no room.
    #[inline(always)]
    pub fn lose(self) {
        // SAFETY: as in `hit`.
        increment(unsafe { &raw mut (*self.0).lost });
    }
}

// `core`'s atomics have no addition on this target: it declares no compare-and-swap, since CPUs
// before v3 have none.

/// `*counter += 1`, atomically.
#[inline(always)]
fn increment(counter: *mut u64) {
    // SAFETY: the callers pass a field of a map value; the verifier checks the access.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {one}",
            counter = in(reg) counter,
            one = in(reg) 1u64,
        );
    }
}

/// The value of `*counter` before it was increased by 1, atomically.
#[inline(always)]
fn fetch_increment(counter: *mut u64) -> u64 {
    let mut value = 1u64;
    // SAFETY: as in `increment`.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({counter} + 0), {value})",
            counter = in(reg) counter,
            value = inout(reg) value,
        );
    }
    value
}
