//! See `gotrace_fuzz::targets::pclntab`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::pclntab(data));
