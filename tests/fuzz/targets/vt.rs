//! libFuzzer on [`clsess_fuzz::vt`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::vt(data));
