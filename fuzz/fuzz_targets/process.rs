//! See `gotrace_fuzz::targets::process`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::process(data));
