//! The invariant stands in `src/records.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| simple_ipc_fuzz::records::body(data));
