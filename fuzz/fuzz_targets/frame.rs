//! Any bytes, cut anywhere, through the frame decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::wire::frame::check_decoding(data));
