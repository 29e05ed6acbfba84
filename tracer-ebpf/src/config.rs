//! The configuration of the target that a hit belongs to.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{ABSENT, Cookie, FrameState, MAX_TARGETS, TargetConfig};

use crate::{
    diagnostics,
    memory::Memory,
    registers::{Registers, byte},
};

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

/// Where a goroutine comes from.
pub struct Origin {
    /// goid of its creator; `None` where the runtime does not record it (before Go 1.21).
    pub parent: Option<u64>,
    /// Return address in the function that ran the `go` statement.
    pub gopc: u64,
    /// Entry of its function.
    pub startpc: u64,
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

    /// goid and wait reason of the g at this address.
    #[inline(always)]
    pub fn goid_and_reason(self, memory: &mut Memory, g: u64) -> (u64, u8) {
        let (goid, reason) = (self.config.g_goid, self.config.g_waitreason);
        // So it is in Go 1.19 to 1.27: `schedlink` and `waitsince` lie between them.
        if reason == goid.wrapping_add(24) {
            let [goid, _, _, reason] = memory.four_words(g, goid);
            return (goid, byte(reason));
        }
        (memory.word(g, goid), memory.byte(g, reason))
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

    /// Where the new g at this address comes from, as itself says.
    #[inline(always)]
    pub fn origin(self, memory: &mut Memory, g: u64) -> Origin {
        let config = self.config;
        let (parent, gopc, startpc) = (config.g_parent_goid, config.g_gopc, config.g_startpc);
        if parent == ABSENT {
            return Origin {
                parent: None,
                gopc: memory.word(g, gopc),
                startpc: memory.word(g, startpc),
            };
        }
        // So it is in Go 1.21 to 1.27: `ancestors` lies between the last two.
        let [parent, gopc, startpc] =
            if gopc == parent.wrapping_add(8) && startpc == parent.wrapping_add(24) {
                let [parent, gopc, _, startpc] = memory.four_words(g, parent);
                [parent, gopc, startpc]
            } else {
                [parent, gopc, startpc].map(|offset| memory.word(g, offset))
            };
        Origin {
            parent: Some(parent),
            gopc,
            startpc,
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
