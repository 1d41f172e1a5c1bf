//! A start with any log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_store::check::segment(data));
