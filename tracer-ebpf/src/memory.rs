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
        let [word] = self.read(read_word, base, offset);
        word
    }

    /// Reads two words that lie one after the other: hardly dearer than one, as are more.
    #[inline(always)]
    pub fn two_words(&mut self, base: u64, offset: u32) -> [u64; 2] {
        self.read(read_two_words, base, offset)
    }

    /// Reads three words that lie one after the other.
    #[inline(always)]
    pub fn three_words(&mut self, base: u64, offset: u32) -> [u64; 3] {
        self.read(read_three_words, base, offset)
    }

    /// Reads four words that lie one after the other.
    #[inline(always)]
    pub fn four_words(&mut self, base: u64, offset: u32) -> [u64; 4] {
        self.read(read_four_words, base, offset)
    }

    /// Reads the byte at `base + offset`.
    #[inline(always)]
    pub fn byte(&mut self, base: u64, offset: u32) -> u8 {
        let [byte] = self.read(read_byte, base, offset);
        byte
    }

    #[inline(always)]
    fn read<T: Copy + Default, const N: usize>(
        &mut self,
        reader: Reader<T, N>,
        base: u64,
        offset: u32,
    ) -> [T; N] {
        let mut values = MaybeUninit::<[T; N]>::uninit();
        // Verifiers before Linux 6.3 want it initialised; volatile, since the compiler sees that it needs not be.
        // SAFETY: it is a local variable.
        unsafe { values.as_mut_ptr().write_volatile([T::default(); N]) };
        self.errors |= reader(base.wrapping_add(u64::from(offset)), values.as_mut_ptr());
        // SAFETY: see above.
        unsafe { values.assume_init() }
    }
}

/// Reads what is at an address of the target, zeros if it cannot; gives the helper's error code, 0 for none.
type Reader<T, const N: usize> = extern "C" fn(u64, *mut [T; N]) -> i64;

/// A [`Reader`] each, which is a function of its own in the object, too. Where usercopy is hardened
/// (`CONFIG_HARDENED_USERCOPY`, all distributions) the kernel looks at where each read goes to. On its own
/// stack that is soon done, but since Linux 6.13 there is none of a frame of 64 bytes or more
/// (`BPF_PRIV_STACK_MIN_SIZE`), and a hook's is larger: 285 ns for the reads of an event became 225.
macro_rules! readers {
    ($($name:ident: $type:ty, $count:literal;)+) => {$(
        // The name would differ between machines if it were mangled.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(address: u64, values: *mut [$type; $count]) -> i64 {
            // It never is, but verifiers look at the function by itself.
            if values.is_null() {
                return 0;
            }
            // The size is a constant always: verifiers of old kernels lose the bounds of a variable one.
            let mut read = MaybeUninit::<[$type; $count]>::uninit();
            // SAFETY: the source is checked by the helper, which clears the destination when it fails, so that
            // it is initialised in any case; `values` is a caller's variable.
            unsafe {
                let error = bpf_probe_read_user(
                    read.as_mut_ptr().cast(),
                    size_of::<[$type; $count]>() as u32,
                    address as *const _,
                );
                values.write(read.assume_init());
                error
            }
        }
    )+};
}

readers! {
    read_byte: u8, 1;
    read_word: u64, 1;
    read_two_words: u64, 2;
    read_three_words: u64, 3;
    read_four_words: u64, 4;
}
