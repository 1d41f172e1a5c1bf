//! Any bytes, cut anywhere, through the gob decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::gob(data));
