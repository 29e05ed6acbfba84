//! See `gotrace_fuzz::targets::build_info`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::build_info(data));
