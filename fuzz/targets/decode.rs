//! The invariant stands in `src/decode.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::decode::body(data));
