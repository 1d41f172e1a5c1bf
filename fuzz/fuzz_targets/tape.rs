//! Any tape, replayed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::tape(data));
