//! Reads of the target's memory that remember whether one of them failed.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{FLAG_FAULT, Kind};

use crate::diagnostics;

/// The target's memory, seen from one hit.
///
/// A read that fails gives zeros, and [`Memory::flags`] then says so. A page that is not resident is
/// a failure too: a probe may not sleep.
pub struct Memory {
    /// The error codes of all reads, by OR: 0 if none failed. No branch for each read.
    errors: i64,
}

impl Memory {
    /// No read has failed yet.
    #[inline(always)]
    pub fn new() -> Memory {
        Memory { errors: 0 }
    }

    /// [`FLAG_FAULT`] if a read failed, else 0. Ends the reads for a record of `kind`.
    #[inline(always)]
    pub fn flags(self, kind: Kind) -> u8 {
        if self.errors == 0 {
            return 0;
        }
        diagnostics::log_unreadable(kind as u32);
        FLAG_FAULT
    }

    /// Reads the 8 bytes at `base + offset`.
    #[inline(always)]
    pub fn word(&mut self, base: u64, offset: u32) -> u64 {
        self.read(base, offset)
    }

    /// Reads two words that lie one after the other.
    #[inline(always)]
    pub fn pair(&mut self, base: u64, offset: u32) -> [u64; 2] {
        self.read(base, offset)
    }

    /// Reads the byte at `base + offset`.
    #[inline(always)]
    pub fn byte(&mut self, base: u64, offset: u32) -> u8 {
        self.read(base, offset)
    }

    /// The size is a constant always: verifiers of old kernels lose the bounds of a variable one.
    #[inline(always)]
    fn read<T: Copy>(&mut self, base: u64, offset: u32) -> T {
        let address = base.wrapping_add(u64::from(offset));
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination has the size of T. The helper checks the user's address, and
        // clears the destination when it fails, so that it is initialised in any case; every T that
        // is read is an integer or an array of them.
        unsafe {
            self.errors |= bpf_probe_read_user(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                address as *const _,
            );
            value.assume_init()
        }
    }
}
