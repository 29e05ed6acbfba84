//! The configuration of the target that a hit belongs to.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{ABSENT, Cookie, FrameState, MAX_TARGETS, TargetConfig};

use crate::{diagnostics, memory::Memory, registers::Registers};

#[map]
static TARGETS: Array<TargetConfig> = Array::with_max_entries(MAX_TARGETS, 0);

/// The target of one hit: its slot, its configuration, and what is special of the probe.
#[derive(Clone, Copy)]
pub struct Target {
    /// Index into the target map.
    pub slot: u32,
    /// Offsets of its runtime.
    pub config: &'static TargetConfig,
    frame: FrameState,
    /// Which argument register holds the result, where the hook reads that.
    pub result: u8,
}

impl Target {
    /// The target that the probe's cookie names, if its slot is in use.
    ///
    /// The process itself is not compared: the link's pid filter lets only one process in, and
    /// process ids mean little across pid namespaces.
    #[inline(always)]
    pub fn of(cookie: Cookie) -> Option<Target> {
        let Cookie {
            slot,
            frame,
            result,
            hook: _,
        } = cookie;
        match TARGETS.get(slot) {
            Some(config) if config.tgid != 0 => Some(Target {
                slot,
                config,
                frame,
                result,
            }),
            _ => {
                diagnostics::log_unconfigured(slot);
                None
            }
        }
    }

    /// goid of the g at this address.
    #[inline(always)]
    pub fn goid(self, memory: &mut Memory, g: u64) -> u64 {
        memory.word(g, self.config.g_goid)
    }

    /// goid of the user goroutine of the thread whose g (usually its g0) is at this address; 0 when
    /// the thread runs none.
    #[inline(always)]
    pub fn current_goid(self, memory: &mut Memory, g: u64) -> u64 {
        let m = memory.word(g, self.config.g_m);
        if m == 0 {
            return 0;
        }
        match memory.word(m, self.config.m_curg) {
            0 => 0,
            curg => self.goid(memory, curg),
        }
    }

    /// The channel that the g at this address waits on, for this reason: the one of its sudog. 0 for
    /// a select, which has several, and for whatever is no channel operation. To be asked before the
    /// goroutine runs again, which takes its sudogs away.
    #[inline(always)]
    pub fn waited_channel(self, memory: &mut Memory, g: u64, reason: u8) -> u64 {
        if reason >= 64 || self.config.chan_reasons >> reason & 1 == 0 {
            return 0;
        }
        match memory.word(g, self.config.g_waiting) {
            0 => 0,
            sudog => memory.word(sudog, self.config.sudog_c),
        }
    }

    /// goid of the goroutine that created the new g at this address, as the new g itself says (Go
    /// 1.21 and later); `None` where the runtime does not record it.
    #[inline(always)]
    pub fn parent_goid(self, memory: &mut Memory, g: u64) -> Option<u64> {
        match self.config.g_parent_goid {
            ABSENT => None,
            offset => Some(memory.word(g, offset)),
        }
    }

    /// Return address of the function that the probe sits in; 0 when frames are not known.
    #[inline(always)]
    pub fn return_address(self, memory: &mut Memory, registers: Registers<'_>) -> u64 {
        match self.frame {
            FrameState::AtPush => memory.word(registers.sp(), 0),
            FrameState::Built => memory.word(registers.fp(), 8),
            FrameState::Unknown => 0,
        }
    }

    /// Return address of the caller of the function that the probe sits in; 0 when frames are not
    /// known.
    #[inline(always)]
    pub fn caller_return_address(self, memory: &mut Memory, registers: Registers<'_>) -> u64 {
        let caller = match self.frame {
            FrameState::AtPush => registers.fp(),
            FrameState::Built => memory.word(registers.fp(), 0),
            FrameState::Unknown => return 0,
        };
        memory.word(caller, 8)
    }
}
