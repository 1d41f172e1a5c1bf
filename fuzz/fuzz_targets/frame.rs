//! Any bytes, cut anywhere, through the frame decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::frame(data));
