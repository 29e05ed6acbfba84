//! What one hit costs on this host, measured on a function of gotrace's own: a real probe, a real
//! record, a kernel side and a ring of its own, so that no count of the target's is touched.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use procfs::process::Process;
use tracer_common::{FrameState, Hook, TargetConfig};
use tracer_golang::binary::FileOffset;

use super::kernel::{Kernel, Probe, Settings};
use super::probes::CAUTIOUS_HIT_COST_NANOS;
use crate::document::seconds;

const ROUNDS: usize = 9;
/// Few enough that all records find room in the ring.
const HITS: u32 = 500;
const RING_BYTES: u32 = 1 << 20;
/// Of the one target that there is.
const SLOT: u32 = 0;

/// What the probe takes for a g and for an m: zeros.
static NOTHING: [u64; 64] = [0; 64];

/// Runs into the probe `count` times, with the g register pointing to `g`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn run_into(g: *const u64, count: u64) {
    core::arch::naked_asm!(
        "push r14",
        "mov r14, rdi",
        "2:",
        "call {site}",
        "dec rsi",
        "jnz 2b",
        "pop r14",
        "ret",
        site = sym site,
    )
}

/// Begins with an instruction of the kind that probes of Go programs sit on.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn site() {
    core::arch::naked_asm!("push rbp", "pop rbp", "ret")
}

/// Runs into the probe `count` times, with the g register pointing to `g`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn run_into(g: *const u64, count: u64) {
    core::arch::naked_asm!(
        "stp x28, x30, [sp, #-16]!",
        "mov x28, x0",
        "2:",
        "bl {site}",
        "subs x1, x1, #1",
        "b.ne 2b",
        "ldp x28, x30, [sp], #16",
        "ret",
        site = sym site,
    )
}

/// Begins with an instruction that the kernel emulates.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn site() {
    core::arch::naked_asm!("nop", "ret")
}

/// Seconds that one hit takes; where that cannot be measured, more than it takes on any host so far.
pub(crate) fn hit_seconds() -> f64 {
    match hit_cost() {
        Ok(nanos) => nanos / 1e9,
        Err(error) => {
            let assumed = seconds(CAUTIOUS_HIT_COST_NANOS);
            tracing::warn!("the cost of a hit is not measured but taken as {assumed} s: {error:#}");
            assumed
        }
    }
}

/// Nanoseconds that one hit takes, its record included: the median of some rounds.
///
/// # Errors
/// The kernel side could not be loaded or attached to gotrace itself, or its probe was not hit.
pub(crate) fn hit_cost() -> anyhow::Result<f64> {
    let mut kernel = Kernel::load(Settings {
        ring_bytes: RING_BYTES,
        slots: 1,
        log: false,
        wake_always: false,
        single_links: false,
    })?;
    let mut ring = kernel.take_ring().context("the ring is gone")?;
    let pid = NonZeroU32::new(std::process::id()).context("no process id")?;
    let probe = Probe {
        hook: Hook::Park,
        offset: file_offset(site as *const () as u64)?,
        frame: FrameState::Unknown,
        result: None,
        empty: false,
    };
    let config = TargetConfig {
        tgid: pid.get(),
        ..TargetConfig::UNUSED
    };
    let attachment = kernel.attach(SLOT, config, Path::new("/proc/self/exe"), pid, &[probe])?;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            // SAFETY: the function keeps to the C convention, and `g` is only read by the probe.
            unsafe { run_into(NOTHING.as_ptr(), HITS.into()) };
            let nanos = started.elapsed().as_nanos() as f64 / f64::from(HITS);
            ring.drain(usize::MAX, |_| {});
            nanos
        })
        .collect();
    let hits: u64 = kernel.hits(SLOT)?.iter().sum();
    kernel.detach(attachment);
    anyhow::ensure!(
        hits == u64::from(HITS) * ROUNDS as u64,
        "its probe was hit {hits} times"
    );
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}

/// Where in the program's file this address of its code is.
fn file_offset(address: u64) -> anyhow::Result<FileOffset> {
    let maps = Process::myself()?.maps()?;
    let map = maps
        .iter()
        .find(|map| (map.address.0..map.address.1).contains(&address))
        .context("gotrace's own code is not mapped")?;
    Ok(FileOffset(address - map.address.0 + map.offset))
}
