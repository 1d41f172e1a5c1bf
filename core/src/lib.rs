//! Placeholder docs.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
pub mod disk;
pub mod id;
pub mod seal;
pub mod time;
pub mod version;
