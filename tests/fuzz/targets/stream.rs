//! libFuzzer on [`clsess_fuzz::stream`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::stream(data));
