//! See `gotrace_fuzz::targets::code`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::targets::code(data));
