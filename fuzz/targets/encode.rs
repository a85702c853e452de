//! The invariant stands in `src/encode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::encode::body(data));
