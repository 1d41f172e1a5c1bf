//! Any peer of a connection in the Go program's language, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::goconn(data));
