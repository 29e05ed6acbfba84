//! See `gotrace_fuzz::targets::dwarf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::dwarf(data));
