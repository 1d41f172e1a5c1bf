//! Placeholder docs.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
pub mod ctr;
pub mod disk;
pub mod id;
pub mod path;
pub mod time;
pub mod version;
pub mod wire;
