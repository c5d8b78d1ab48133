//! libFuzzer on [`clsess_fuzz::lines`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::lines(data));
