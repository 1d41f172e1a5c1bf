//! Any record, head and grant, signed or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::record(data));
