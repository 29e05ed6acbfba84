//! See `gotrace_fuzz::recording::recording`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gotrace_fuzz::recording::recording(data));
