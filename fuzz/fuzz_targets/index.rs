//! A start with any index.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_store::check::index(data));
