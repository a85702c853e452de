//! The invariant stands in `src/server.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::server::body(data));
