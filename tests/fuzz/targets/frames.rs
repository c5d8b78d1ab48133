//! libFuzzer on [`clsess_fuzz::frames`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::frames(data));
