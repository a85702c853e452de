//! The invariant stands in `src/band.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::band::body(data));
