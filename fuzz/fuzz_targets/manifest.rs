//! Any blob: chunks and nodes of manifests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::manifest(data));
