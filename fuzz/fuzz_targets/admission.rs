//! Any peer before it is admitted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::admission(data));
