//! The invariant stands in `src/lifecycle.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::lifecycle::body(data));
