//! The kernel side as the program sees it: load, attach, drain, detach. The only module that knows
//! aya.
//!
//! The life cycle is prepare (sites are known), [`Kernel::load`], [`Kernel::attach`] for a target,
//! and [`Kernel::detach`]: a probe fires only once its target's configuration is in place.
//!
//! Where the kernel can, all probes of a target are one link ([`multi`]); elsewhere each is one of
//! its own, placed and removed side by side, since each waits for the kernel.

pub(crate) mod features;
mod multi;
pub(crate) mod watch;

use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use aya::{Ebpf, EbpfLoader};
use tracer_common::{
    Cookie, CpuCounters, FrameState, GLOBAL_WAKEUP_BYTES, GLOBAL_WAKEUP_MASK, HOOK_COUNT, Hook,
    MAP_COUNTERS, MAP_EVENTS, MAP_TARGETS, PROGRAM, TargetConfig,
};
use tracer_golang::binary::FileOffset;

use multi::Multi;

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/x86_64.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/aarch64.o");

/// Why the kernel side could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// The object could not be loaded.
    #[error("the kernel did not load the BPF object: {0}")]
    Load(String),
    /// The program could not be loaded.
    #[error("the kernel refused the BPF program: {0}")]
    Program(String),
    /// A probe could not be attached.
    #[error("the kernel did not attach a uprobe for `{hook}` at file offset {offset:#x}: {cause}")]
    Attach {
        hook: &'static str,
        offset: u64,
        cause: String,
    },
    /// The probes could not be attached.
    #[error("the kernel did not attach {count} uprobes at once: {cause}")]
    AttachAll { count: usize, cause: String },
    /// A map could not be used.
    #[error("the BPF map `{map}` could not be used: {cause}")]
    Map { map: &'static str, cause: String },
}

/// Threads that remove the probes of many targets.
const REMOVERS: usize = 32;
/// What a ring of this size holds before the reader is woken early: half of it.
const WAKEUP_SHARE: u64 = 2;

/// A CPU looks at the ring's fill once in 64 records.
const FILL_CHECK_MASK: u64 = 63;

/// How to load the kernel side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Size of the ring, a power of two.
    pub(crate) ring_bytes: u32,
    /// Targets that there can be at a time: so many slots, from 0.
    pub(crate) slots: u32,
    /// Whether the programs log what an event cannot say.
    pub(crate) log: bool,
    /// Whether every record wakes the reader, which costs the target several microseconds.
    pub(crate) wake_always: bool,
    /// Whether each probe is a link of its own, as on a kernel without uprobe-multi.
    pub(crate) single_links: bool,
}

/// What the kernel side's log level is set to: the verifier removes what it excludes.
const LOG_NOTHING: u8 = 0;
const LOG_EVERYTHING: u8 = u8::MAX;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodConfig(TargetConfig);
// SAFETY: `TargetConfig` is `repr(C)`, made of integers alone and without padding.
unsafe impl aya::Pod for PodConfig {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCounters(CpuCounters);
// SAFETY: `CpuCounters` is `repr(C)`, made of integers alone and without padding.
unsafe impl aya::Pod for PodCounters {}

/// One probe to place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Which program serves it.
    pub(crate) hook: Hook,
    /// Where, as the kernel counts: bytes from the start of the file.
    pub(crate) offset: FileOffset,
    /// What the frame pointer means there.
    pub(crate) frame: FrameState,
    /// Which argument register holds the function's result there, if its hook reads that.
    pub(crate) result: Option<u8>,
    /// Whether the program returns at once: to tell what a trap alone costs.
    pub(crate) empty: bool,
}

impl Probe {
    /// The cookie as the kernel keeps it.
    const fn wire(self, slot: u32) -> u64 {
        match self.empty {
            // No hook has that number.
            true => u64::MAX,
            false => self.cookie(slot).to_wire(),
        }
    }

    const fn cookie(self, slot: u32) -> Cookie {
        Cookie {
            slot,
            hook: self.hook,
            frame: self.frame,
            // No register has that number, so none is read.
            result: match self.result {
                Some(register) => register,
                None => u8::MAX,
            },
        }
    }
}

/// The loaded kernel side.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    /// The program in the form for one link of all probes, if this kernel has that; else it is in
    /// `ebpf`.
    multi: Option<Multi>,
    targets: Array<MapData, PodConfig>,
    counters: PerCpuArray<MapData, PodCounters>,
    ring: Option<Ring>,
}

/// The probes of one target; dropping it removes them.
pub(crate) struct Attachment {
    slot: u32,
    config: TargetConfig,
    probes: usize,
    links: Links,
}

/// What holds probes in place.
enum Links {
    /// Dropped for its effect alone.
    One {
        #[expect(dead_code, reason = "closing it removes the probes")]
        link: OwnedFd,
    },
    Each(Vec<UProbeLink>),
}

impl Links {
    /// Removes the probes: each takes the kernel about 0.1 s if it is a link of its own.
    fn remove(self) {
        match self {
            Links::One { link: _ } => {}
            Links::Each(links) => thread::scope(|scope| {
                for link in links {
                    // Without a thread it is dropped here.
                    let _ = thread::Builder::new().spawn_scoped(scope, move || drop(link));
                }
            }),
        }
    }
}

impl Kernel {
    /// Loads the BPF object. Nothing fires yet.
    ///
    /// # Errors
    /// What the kernel refused, with the verifier's or the system call's own words.
    pub(crate) fn load(settings: Settings) -> Result<Kernel, KernelError> {
        let Settings {
            ring_bytes,
            slots,
            log,
            wake_always,
            single_links,
        } = settings;
        let (fill, mask) = if wake_always {
            (0, 0)
        } else {
            (u64::from(ring_bytes) / WAKEUP_SHARE, FILL_CHECK_MASK)
        };
        let log_level = if log { LOG_EVERYTHING } else { LOG_NOTHING };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(MAP_EVENTS, ring_bytes)
            .map_max_entries(MAP_TARGETS, slots)
            .map_max_entries(MAP_COUNTERS, slots)
            .override_global(GLOBAL_WAKEUP_BYTES, &fill, true)
            .override_global(GLOBAL_WAKEUP_MASK, &mask, true)
            .override_global(aya_log::LEVEL, &log_level, true)
            .load(OBJECT)
            .map_err(|error| KernelError::Load(with_sources(&error)))?;
        let multi = match single_links {
            true => None,
            false => Multi::load(OBJECT, &ebpf)?,
        };
        if multi.is_none() {
            program(&mut ebpf)?
                .load()
                .map_err(|error| KernelError::Program(with_sources(&error)))?;
        }
        let targets = take_map(&mut ebpf, MAP_TARGETS)?;
        let counters = take_map(&mut ebpf, MAP_COUNTERS)?;
        let ring = take_map(&mut ebpf, MAP_EVENTS)?;
        Ok(Kernel {
            ebpf,
            multi,
            targets,
            counters,
            ring: Some(Ring { ring }),
        })
    }

    /// Whether all probes of a target are one link, which comes and goes at once.
    pub(crate) const fn places_at_once(&self) -> bool {
        self.multi.is_some()
    }

    /// The reading end of the ring; it can be taken once.
    pub(crate) fn take_ring(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// Starts to show what the kernel side logs, through `tracing`. The returned value is to be
    /// flushed now and then.
    ///
    /// # Errors
    /// The object was built without diagnostics, or its log map cannot be used.
    pub(crate) fn logger(&mut self) -> Result<KernelLog, KernelError> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
            .map(KernelLog)
            .map_err(|error| KernelError::Map {
                map: "AYA_LOGS",
                cause: error.to_string(),
            })
    }

    /// Writes the configuration of the target in `slot`, then places its probes, all at once.
    ///
    /// # Errors
    /// The first probe that the kernel refused; those already placed are removed again.
    pub(crate) fn attach(
        &mut self,
        slot: u32,
        config: TargetConfig,
        file: &Path,
        pid: NonZeroU32,
        probes: &[Probe],
    ) -> Result<Attachment, KernelError> {
        self.configure(slot, config)?;
        let links = match &self.multi {
            Some(multi) if !probes.is_empty() => multi
                .attach(file, pid.get(), slot, probes)
                .map(|link| Links::One { link })
                .map_err(|error| KernelError::AttachAll {
                    count: probes.len(),
                    cause: error.to_string(),
                })?,
            _ => Links::Each(attach_each(&mut self.ebpf, probes, slot, file, pid)?),
        };
        Ok(Attachment {
            slot,
            config,
            probes: probes.len(),
            links,
        })
    }

    /// Writes the configuration of the target in `slot`; see [`silent`].
    ///
    /// # Errors
    /// The map cannot be written.
    pub(crate) fn configure(&mut self, slot: u32, config: TargetConfig) -> Result<(), KernelError> {
        self.targets
            .set(slot, PodConfig(config), 0)
            .map_err(|error| KernelError::Map {
                map: MAP_TARGETS,
                cause: error.to_string(),
            })
    }

    /// Stops the records of a target at once, then removes its probes and returns how many there were.
    ///
    /// Removing takes the kernel a while, one after the other, so without the first step what one
    /// probe says would miss its counterpart of another one.
    pub(crate) fn detach(&mut self, attachment: Attachment) -> usize {
        self.silence(&attachment);
        attachment.links.remove();
        attachment.probes
    }

    /// The same for many targets, at the same time: the kernel waits for each link until no CPU runs its programs any
    /// more (some 40 ms), and can do that for several at once.
    pub(crate) fn detach_all(&mut self, mut attachments: Vec<Attachment>) {
        for attachment in &attachments {
            self.silence(attachment);
        }
        let each = attachments.len().div_ceil(REMOVERS).max(1);
        thread::scope(|scope| {
            while !attachments.is_empty() {
                let some = attachments.split_off(attachments.len().saturating_sub(each));
                let remove = move || some.into_iter().for_each(|it| it.links.remove());
                // What a thread that cannot be had was to remove is removed as it is dropped.
                let _ = thread::Builder::new().spawn_scoped(scope, remove);
            }
        });
    }

    /// Nothing that the probes of a target meet is told any more.
    fn silence(&mut self, attachment: &Attachment) {
        if let Err(error) = self.configure(attachment.slot, silent(attachment.config)) {
            tracing::warn!("the probes go on until they are removed: {error}");
        }
    }

    /// The counters of a slot on every CPU.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn counters(&self, slot: u32) -> Result<Vec<CpuCounters>, KernelError> {
        let values = self
            .counters
            .get(&slot, 0)
            .map_err(|error| no_counters(&error))?;
        Ok(values.iter().map(|value| value.0).collect())
    }

    /// Lets the counters of a slot begin anew, for another target. To be called while it has no probe and
    /// the ring was read to its end.
    ///
    /// # Errors
    /// The map cannot be written.
    pub(crate) fn clear(&mut self, slot: u32) -> Result<(), KernelError> {
        let cpus = aya::util::nr_cpus()
            .map_err(|(file, error)| no_counters(&format!("{file}: {error}")))?;
        let zero = PodCounters(CpuCounters {
            attempted: 0,
            lost: 0,
            hits: [0; HOOK_COUNT],
        });
        PerCpuValues::try_from(vec![zero; cpus])
            .map_err(|error| no_counters(&error))
            .and_then(|zeros| {
                let set = self.counters.set(slot, zeros, 0);
                set.map_err(|error| no_counters(&error))
            })
    }

    /// Records of a slot that found no room in the ring, over all CPUs.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn lost(&self, slot: u32) -> Result<u64, KernelError> {
        Ok(self.counters(slot)?.iter().map(|cpu| cpu.lost).sum())
    }

    /// Hits of each hook of a slot, over all CPUs, in the order of [`Hook::ALL`].
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn hits(&self, slot: u32) -> Result<[u64; HOOK_COUNT], KernelError> {
        let mut hits = [0; HOOK_COUNT];
        for cpu in self.counters(slot)? {
            for (sum, hit) in hits.iter_mut().zip(cpu.hits) {
                *sum += hit;
            }
        }
        Ok(hits)
    }
}

/// The same configuration for a slot not in use: its probes count their hits and write no record. The
/// offsets stay, since a probe that is being hit may have seen the slot in use already.
pub(crate) const fn silent(config: TargetConfig) -> TargetConfig {
    TargetConfig { tgid: 0, ..config }
}

/// The reading end of the ring buffer.
pub(crate) struct Ring {
    ring: RingBuf<MapData>,
}

impl Ring {
    /// Hands the records that are there to `each`, but no more than `limit`: a target can write them
    /// faster than they are read. Tells whether the ring was found empty.
    pub(crate) fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> bool {
        for _ in 0..limit {
            match self.ring.next() {
                Some(record) => each(&record),
                None => return true,
            }
        }
        false
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.ring`, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

/// What the kernel side logs.
pub(crate) struct KernelLog(aya_log::EbpfLogger<&'static dyn log::Log>);

impl KernelLog {
    /// Passes on what has been logged since the last call.
    pub(crate) fn flush(&mut self) {
        self.0.flush();
    }
}

/// Attaches each probe as a link of its own. The kernel takes tens of milliseconds for one, mostly
/// waiting, but aya attaches a program's links one after the other.
fn attach_each(
    ebpf: &mut Ebpf,
    probes: &[Probe],
    slot: u32,
    file: &Path,
    pid: NonZeroU32,
) -> Result<Vec<UProbeLink>, KernelError> {
    let program = program(ebpf)?;
    let mut links = Vec::with_capacity(probes.len());
    for probe in probes {
        let refused = |cause: &dyn std::error::Error| KernelError::Attach {
            hook: probe.hook.program(),
            offset: probe.offset.0,
            cause: with_sources(cause),
        };
        let point = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(probe.offset.0),
            cookie: Some(probe.wire(slot)),
        };
        let link = program
            .attach(point, file, UProbeScope::OneProcess(pid))
            .and_then(|id| program.take_link(id));
        links.push(link.map_err(|error| refused(&error))?);
    }
    Ok(links)
}

fn no_counters(error: &dyn std::fmt::Display) -> KernelError {
    KernelError::Map {
        map: MAP_COUNTERS,
        cause: error.to_string(),
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut UProbe, KernelError> {
    let failed = |cause: String| KernelError::Program(cause);
    ebpf.program_mut(PROGRAM)
        .ok_or_else(|| failed("the object does not have it".to_owned()))?
        .try_into()
        .map_err(|error: ProgramError| failed(error.to_string()))
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let failed = |cause: String| KernelError::Map { map: name, cause };
    ebpf.take_map(name)
        .ok_or_else(|| failed("the object does not have it".to_owned()))?
        .try_into()
        .map_err(|error: aya::maps::MapError| failed(error.to_string()))
}

/// An error with the errors below it: aya keeps the system call's own words there.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
