//! See `gotrace_fuzz::targets::values`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::values(data));
