//! Which hooks a level takes, and what the probes need to know of a target.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use tracer_common::{ABSENT, HOOK_COUNT, Hook, TargetConfig};

use tracer_golang::binary::{GoBinary, HookSite, SiteError};
use tracer_golang::process::WaitDecoder;

use super::kernel::{Attachment, Kernel, KernelError, Probe, silent};
use crate::cli::Level;
use crate::failure::Failure;
use crate::target::Target;

/// What one hit costs the target, in nanoseconds: the trap and the record, at a site that the kernel
/// emulates. Rounded from the least that docs/benchmarks.md has; a loaded machine takes twice that.
pub(crate) const HIT_COST_NANOS: u64 = 1_000;

/// What one hit is taken to cost where it could not be measured: more than on any host so far.
pub(crate) const CAUTIOUS_HIT_COST_NANOS: u64 = 3_000;

/// The slot of the kernel side's table of targets, of who traces one alone.
pub(crate) const SLOT: u32 = 0;

/// How many hooks there are of system calls, the last ones.
const SYSCALL_HOOKS: usize = 2;

/// The hooks of a level; of `auto`, those that it may take. Each level takes those of the one below as well.
pub(crate) const fn hooks(level: Level) -> &'static [Hook] {
    match level {
        Level::Observe => &[],
        Level::Wake => &[Hook::Ready],
        Level::Park => &[Hook::Park, Hook::Ready, Hook::Create, Hook::Exit],
        Level::Auto | Level::Full => Hook::ALL.split_at(HOOK_COUNT - SYSCALL_HOOKS).0,
        Level::Syscalls => &Hook::ALL,
    }
}

/// Whether goroutines park with an event, at a level's beginning.
pub(crate) const fn parks_are_seen(level: Level) -> bool {
    match level {
        Level::Auto | Level::Wake => false,
        Level::Observe | Level::Park | Level::Full | Level::Syscalls => true,
    }
}

/// Where the probes of a level go in a binary.
pub(crate) struct Sites {
    /// Those that can be placed.
    pub(crate) found: Vec<HookSite>,
    /// Hooks that the level would have as well, each with the reason why it has no site.
    pub(crate) left_out: Vec<(Hook, SiteError)>,
}

/// Whether what the other hooks say stays true without this one: it adds detail.
const fn adds_detail(hook: Hook) -> bool {
    matches!(
        hook,
        Hook::ChanMake
            | Hook::Run
            | Hook::DirectSend
            | Hook::DirectRecv
            | Hook::SelectEnd
            | Hook::SemAcquire
            | Hook::SyscallEnter
            | Hook::SyscallExit
    )
}

/// Where the probes of a level go in this binary.
///
/// A program that never selects among several channels, or never closes or makes one, does not
/// contain the function for it: the linker leaves out what nobody calls. Then there is nothing to
/// probe.
///
/// # Errors
/// A function or instruction is not recognised without which the rest would not be true: then no
/// probe is placed at all.
pub(crate) fn sites(binary: &GoBinary, level: Level) -> Result<Sites, Failure> {
    let mut sites = Sites {
        found: Vec::new(),
        left_out: Vec::new(),
    };
    for &hook in hooks(level) {
        match binary.hook_site(hook) {
            Ok(site) => sites.found.push(site),
            Err(SiteError::Absent {
                hook: Hook::Select | Hook::SelectEnd | Hook::ChanClose | Hook::ChanMake,
                ..
            }) => {}
            Err(error) if adds_detail(hook) => sites.left_out.push((hook, error)),
            Err(error) => {
                return Err(Failure::new("cannot place probes in this program")
                    .because(error)
                    .next("use `--level observe`, which places none, and please report this"));
            }
        }
    }
    Ok(sites)
}

/// Moves the probes to their functions' first instruction, where that has the same arguments: worse
/// in every way (the kernel cannot emulate it, and a stack that grows runs it twice), which
/// `cargo xtask bench` measures.
pub(crate) fn move_to_entry(sites: &mut [HookSite]) {
    // Some sites are in the middle of their functions: what they read is not there before.
    let begins = |site: &&mut HookSite| site.result.is_none() && site.hook != Hook::Create;
    for site in sites.iter_mut().filter(begins) {
        site.vaddr.0 -= site.offset_in_function;
        site.file_offset.0 -= site.offset_in_function;
        site.offset_in_function = 0;
        "the function's first instruction".clone_into(&mut site.instruction);
    }
}

/// The kernel's view of the sites; `empty` probes do nothing.
fn probes(sites: &[HookSite], empty: bool) -> Vec<Probe> {
    sites
        .iter()
        .map(|site| Probe {
            hook: site.hook,
            offset: site.file_offset,
            frame: site.frame,
            result: site.result,
            empty,
        })
        .collect()
}

/// The offsets that the probes need.
fn config(binary: &Arc<GoBinary>, tgid: u32) -> TargetConfig {
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
        sudog_g: layout.sudog.g,
        sudog_is_select: layout.sudog.is_select,
        hchan_qcount: layout.hchan.qcount,
        hchan_dataqsiz: layout.hchan.dataqsiz,
        chan_reasons: WaitDecoder::new(Arc::clone(binary)).channel_reasons(),
    }
}

/// Where probes can be placed, and what that takes.
pub(crate) struct Placing {
    slot: u32,
    pid: NonZeroU32,
    file: PathBuf,
    /// Keeps that path the one of this very file.
    opened: Option<File>,
    config: TargetConfig,
    probes: Vec<Probe>,
}

impl Placing {
    /// These sites of a target, which has this slot to itself; `empty` probes do nothing.
    ///
    /// # Errors
    /// Its pid is 0.
    pub(crate) fn new(
        slot: u32,
        target: &Target,
        sites: &[HookSite],
        empty: bool,
    ) -> Result<Placing, Failure> {
        Ok(Placing {
            slot,
            pid: NonZeroU32::new(target.pid).ok_or_else(|| Failure::new("0 is no pid"))?,
            file: target.file.clone(),
            opened: None,
            config: config(&target.binary, target.pid),
            probes: probes(sites, empty),
        })
    }

    /// Places them in this file, whatever the target may be running by then: a probe in the file of another program
    /// would be anywhere.
    pub(crate) fn in_file(mut self, file: File) -> Placing {
        self.file = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        self.opened = Some(file);
        self
    }

    /// The target's slot.
    pub(crate) const fn slot(&self) -> u32 {
        self.slot
    }

    /// The target's process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid.get()
    }

    /// The configuration with which the probes write records.
    pub(crate) const fn config(&self) -> TargetConfig {
        self.config
    }

    /// Those of the hooks that have a site.
    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.probes.iter().any(|probe| probe.hook == hook)
    }

    /// Places all probes; they write records from the first one on.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn place(&self, kernel: &mut Kernel) -> Result<Attachment, KernelError> {
        kernel.attach(self.slot, self.config, &self.file, self.pid, &self.probes)
    }

    /// Places the probes of these hooks; they write no record until the slot is configured.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn place_silent(
        &self,
        kernel: &mut Kernel,
        hooks: &[Hook],
    ) -> Result<Attachment, KernelError> {
        let probes: Vec<Probe> = self
            .probes
            .iter()
            .filter(|probe| hooks.contains(&probe.hook))
            .copied()
            .collect();
        kernel.attach(
            self.slot,
            silent(self.config),
            &self.file,
            self.pid,
            &probes,
        )
    }
}
