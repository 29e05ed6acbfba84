//! See `gotrace_fuzz::targets::types`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::types(data));
