//! What the programs say about themselves; see the crate's documentation for the switch.
//!
//! The messages are functions of their own, called off the usual path only, so that their code is
//! in the object once. They are global functions to the verifier, which wants those to return a
//! number. Their names are not mangled: a mangled name holds a hash of where the workspace lies, and
//! the object must be the same everywhere.

use aya_log_ebpf::{debug, warn};

/// A probe was hit whose slot has no configuration.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_unconfigured(slot: u32) -> u32 {
    warn!((), "probe hit for slot {} without a configuration", slot);
    0
}

/// Memory of the target could not be read for a record of this [`Kind`](tracer_common::Kind).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_unreadable(kind: u32) -> u32 {
    debug!(
        (),
        "cannot read the target's memory for a record of kind {}", kind
    );
    0
}
