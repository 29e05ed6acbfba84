//! The header of a goroutine: the fields of its `g` that are read.

use tracer_model::snapshot::State;

use super::bytes::{u8_at, u32_at, u64_at};
use crate::layout::G;

/// Or-ed into the status while the garbage collector scans the stack (`runtime._Gscan`).
const SCAN: u32 = 0x1000;

/// A `g` as it was at one moment, or nearly so: the fields may be torn, which reading it twice and
/// [`Header::unchanged`] find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) stack_lo: u64,
    pub(crate) stack_hi: u64,
    pub(crate) sched_g: u64,
    pub(crate) sched_pc: u64,
    pub(crate) sched_sp: u64,
    pub(crate) sched_lr: u64,
    pub(crate) syscall_pc: u64,
    pub(crate) syscall_sp: u64,
    pub(crate) status: u32,
    pub(crate) goid: u64,
    pub(crate) wait_since: u64,
    pub(crate) wait_reason: u8,
    pub(crate) parent: u64,
    pub(crate) gopc: u64,
    pub(crate) startpc: u64,
    pub(crate) waiting: u64,
    pub(crate) labels: u64,
    pub(crate) running_cleanups: bool,
    pub(crate) defers: u64,
    pub(crate) panics: u64,
    pub(crate) timer: u64,
    /// Counts how often the goroutine stopped running, modulo 256.
    pub(crate) tracking_seq: u8,
}

impl Header {
    pub(crate) fn parse(layout: &G, bytes: &[u8]) -> Header {
        Header {
            stack_lo: u64_at(bytes, layout.stack_lo),
            stack_hi: u64_at(bytes, layout.stack_hi),
            sched_g: u64_at(bytes, layout.sched_g),
            sched_pc: u64_at(bytes, layout.sched_pc),
            sched_sp: u64_at(bytes, layout.sched_sp),
            sched_lr: u64_at(bytes, layout.sched_lr),
            syscall_pc: u64_at(bytes, layout.syscallpc),
            syscall_sp: u64_at(bytes, layout.syscallsp),
            status: u32_at(bytes, layout.atomicstatus) & !SCAN,
            goid: u64_at(bytes, layout.goid),
            wait_since: u64_at(bytes, layout.waitsince),
            wait_reason: u8_at(bytes, layout.waitreason),
            parent: layout.parent_goid.map_or(0, |at| u64_at(bytes, at)),
            gopc: u64_at(bytes, layout.gopc),
            startpc: u64_at(bytes, layout.startpc),
            waiting: u64_at(bytes, layout.waiting),
            labels: u64_at(bytes, layout.labels),
            running_cleanups: layout
                .running_cleanups
                .is_some_and(|at| u8_at(bytes, at) != 0),
            defers: u64_at(bytes, layout.defers),
            panics: u64_at(bytes, layout.panics),
            timer: u64_at(bytes, layout.timer),
            tracking_seq: u8_at(bytes, layout.tracking_seq),
        }
    }

    /// The state; `None` if the runtime has no such status.
    pub(crate) fn state(&self) -> Option<State> {
        // runtime/runtime2.go, the same numbers in Go 1.19 to 1.27; 10 and 11 since 1.26.
        Some(match self.status {
            0 => State::Idle,
            1 => State::Runnable,
            2 => State::Running,
            3 => State::Syscall,
            4 => State::Waiting,
            6 | 11 => State::Dead,
            8 => State::Copystack,
            9 => State::Preempted,
            10 => State::Leaked,
            _ => return None,
        })
    }

    /// Whether it is parked, by its state.
    pub(crate) fn parked(&self) -> bool {
        matches!(self.state(), Some(State::Waiting | State::Leaked))
    }

    /// Where a walk of its stack begins: pc, sp and link register. `None` if it runs, or its stack
    /// is being moved: then memory does not say.
    pub(crate) fn stack_top(&self) -> Option<(u64, u64, u64)> {
        match self.state()? {
            State::Syscall if self.syscall_sp != 0 => Some((self.syscall_pc, self.syscall_sp, 0)),
            State::Waiting | State::Leaked | State::Runnable | State::Preempted
                if self.sched_sp != 0 =>
            {
                Some((self.sched_pc, self.sched_sp, self.sched_lr))
            }
            _ => None,
        }
    }

    /// Whether the goroutine did not run or move between this read and a `later` one, so that what
    /// was read in between belongs to both.
    pub(crate) fn unchanged(&self, later: &Header) -> bool {
        self.goid == later.goid
            && self.status == later.status
            && self.labels == later.labels
            && match self.state() {
                // These fields belong to the thread while it runs.
                Some(State::Running) => true,
                Some(State::Syscall) => {
                    self.syscall_pc == later.syscall_pc
                        && self.syscall_sp == later.syscall_sp
                        && self.stack_lo == later.stack_lo
                }
                _ => {
                    self.tracking_seq == later.tracking_seq
                        && self.wait_reason == later.wait_reason
                        && self.sched_pc == later.sched_pc
                        && self.sched_sp == later.sched_sp
                        && self.waiting == later.waiting
                        && self.stack_lo == later.stack_lo
                        && self.stack_hi == later.stack_hi
                }
            }
    }

    /// Whether the goroutine neither ended, nor changed its state, nor stopped running between this
    /// read and a `later` one.
    pub(crate) fn same_spell(&self, later: &Header) -> bool {
        self.goid == later.goid
            && self.status == later.status
            && self.tracking_seq == later.tracking_seq
    }

    /// Whether the goroutine did not run at all between this read and a `later` one, its system calls
    /// aside, so that nothing was done by it.
    pub(crate) fn rested(&self, later: &Header) -> bool {
        let running = matches!(self.state(), Some(State::Running) | None);
        !running && self.same_spell(later) && self.unchanged(later)
    }

    /// What is wrong with it as the header of the goroutine at `gaddr` that is not dead; names the
    /// field.
    pub(crate) fn implausible(&self, gaddr: u64) -> Option<(&'static str, String)> {
        if self.state().is_none() {
            Some(("g.atomicstatus", format!("{} is no status", self.status)))
        } else if self.sched_g != gaddr {
            Some((
                "g.sched.g",
                format!("{:#x} in the g at {gaddr:#x}", self.sched_g),
            ))
        } else if self.goid == 0 || self.goid > 1 << 60 {
            Some(("g.goid", format!("{} in the g at {gaddr:#x}", self.goid)))
        } else if self.stack_lo >= self.stack_hi {
            let Header {
                stack_lo: lo,
                stack_hi: hi,
                ..
            } = self;
            Some((
                "g.stack",
                format!("{lo:#x} to {hi:#x} in the g at {gaddr:#x}"),
            ))
        } else {
            None
        }
    }
}
