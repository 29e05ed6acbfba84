//! What a goroutine is for.

use tracer_model::wait::WaitReason;

use super::header::Header;
use crate::binary::{GoBinary, Vaddr};

/// What a goroutine is for, by its start function: the rule of `runtime.isSystemGoroutine`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    User,
    System,
    /// Runs finalizers: the runtime's own unless it is doing so.
    Finalizers,
    /// Runs cleanups (Go 1.25 and later): likewise.
    Cleanups,
}

impl Role {
    pub(super) fn of(binary: &GoBinary, bias: u64, startpc: u64) -> Role {
        let vaddr = Vaddr(startpc.wrapping_sub(bias));
        match binary.pclntab().function(vaddr).map(|found| found.name) {
            Some("runtime.main" | "runtime.corostart" | "runtime.handleAsyncEvent") => Role::User,
            Some("runtime.runfinq" | "runtime.runFinalizers") => Role::Finalizers,
            Some("runtime.runCleanups") => Role::Cleanups,
            Some(name) if name.starts_with("runtime.") => Role::System,
            _ => Role::User,
        }
    }

    pub(super) fn is_system(self, header: &Header, reason: WaitReason) -> bool {
        match self {
            Role::User => false,
            Role::System => true,
            // The runtime keeps a flag for this; waiting for work is when it is not set.
            Role::Finalizers => header.parked() && reason == WaitReason::FinalizerWait,
            Role::Cleanups => !header.running_cleanups,
        }
    }
}
