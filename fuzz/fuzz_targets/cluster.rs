//! Two nodes that do anything while it goes wrong, against a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_sim::fuzz::cluster(data));
