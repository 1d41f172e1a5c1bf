//! Connections that speak the Go program's language: its recorded session, two
//! of ours, its reader, and peers that lie or stall.

#[path = "../support/hex.rs"]
mod hex;
#[path = "../support/jsonl.rs"]
mod jsonl;
#[path = "../support/odd_paths.rs"]
mod odd_paths;

mod any_bytes;
mod files;
mod go_reader;
mod host;
mod names;
mod pair;
mod peers;
mod session;
mod waiting;
