//! libFuzzer on [`clsess_fuzz::holder`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::holder(data));
