//! A whole node whose peers, disk and callers do anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_sim::fuzz::node(data));
