//! Which hooks a level takes, and what the probes need to know of a target.

use std::sync::Arc;
use tracer_common::{ABSENT, Hook, TargetConfig};

use tracer_golang::binary::{GoBinary, HookSite, SiteError};
use tracer_golang::process::WaitDecoder;
use tracer_model::world::World;

use super::kernel::Probe;
use crate::cli::Level;
use crate::failure::Failure;

/// What one hit costs the target, in nanoseconds: the trap and the record, at a site that the kernel
/// emulates. Rounded from the least that docs/benchmarks.md has; a loaded machine takes twice that.
pub(crate) const HIT_COST_NANOS: u64 = 1_000;

/// The hooks of a level. Each level takes those of the one below as well.
pub(crate) const fn hooks(level: Level) -> &'static [Hook] {
    match level {
        Level::Observe => &[],
        Level::Wake => &[Hook::Ready],
        Level::Park => &[Hook::Park, Hook::Ready, Hook::Create, Hook::Exit],
        Level::Full => &Hook::ALL,
    }
}

/// The world that the events of a level make.
pub(crate) fn world(level: Level) -> World {
    match level {
        Level::Wake => World::new().without_parks(),
        Level::Observe | Level::Park | Level::Full => World::new(),
    }
}

/// Where the probes of a level go in this binary.
///
/// A program that never selects among several channels, or never closes one, does not contain the
/// function for it: the linker leaves out what nobody calls. Then there is nothing to probe.
///
/// # Errors
/// A function or instruction is not recognised: then no probe is placed at all.
pub(crate) fn sites(binary: &GoBinary, level: Level) -> Result<Vec<HookSite>, Failure> {
    let sites = hooks(level)
        .iter()
        .map(|hook| binary.hook_site(*hook))
        .filter(|site| {
            let unused = matches!(
                site,
                Err(SiteError::Absent {
                    hook: Hook::Select | Hook::ChanClose,
                    ..
                })
            );
            !unused
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            Failure::new("cannot place probes in this program")
                .because(error)
                .next("use `--level observe`, which places none, and please report this")
        })?;
    Ok(sites)
}

/// Moves the probes to their functions' first instruction, where that has the same arguments: worse
/// in every way (the kernel cannot emulate it, and a stack that grows runs it twice), which
/// `cargo xtask bench` measures.
pub(crate) fn move_to_entry(sites: &mut [HookSite]) {
    // The creation's site is a call in the middle of its function.
    for site in sites.iter_mut().filter(|site| site.hook != Hook::Create) {
        site.vaddr.0 -= site.offset_in_function;
        site.file_offset.0 -= site.offset_in_function;
        site.offset_in_function = 0;
        "the function's first instruction".clone_into(&mut site.instruction);
    }
}

/// The kernel's view of the sites.
pub(crate) fn probes(sites: &[HookSite]) -> Vec<Probe> {
    sites
        .iter()
        .map(|site| Probe {
            hook: site.hook,
            offset: site.file_offset,
            frame: site.frame,
        })
        .collect()
}

/// The offsets that the probes need.
pub(crate) fn config(binary: &Arc<GoBinary>, tgid: u32) -> TargetConfig {
    let layout = binary.layout();
    TargetConfig {
        tgid,
        g_m: layout.g.m,
        g_goid: layout.g.goid,
        g_parent_goid: layout.g.parent_goid.unwrap_or(ABSENT),
        g_gopc: layout.g.gopc,
        g_startpc: layout.g.startpc,
        g_waitreason: layout.g.waitreason,
        m_curg: layout.m.curg,
        g_waiting: layout.g.waiting,
        sudog_c: layout.sudog.c,
        hchan_qcount: layout.hchan.qcount,
        hchan_dataqsiz: layout.hchan.dataqsiz,
        chan_reasons: WaitDecoder::new(Arc::clone(binary)).channel_reasons(),
    }
}
