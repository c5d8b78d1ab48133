//! libFuzzer on [`clsess_fuzz::tracker`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::tracker(data));
