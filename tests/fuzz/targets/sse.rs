//! libFuzzer on [`clsess_fuzz::sse`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clsess_fuzz::sse(data));
