//! Any text of a key, an id or a ticket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerhold_core::check::text(data));
