//! Any peer of a secure channel, and anybody between two.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_tls::check::channel(data));
