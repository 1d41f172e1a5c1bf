//! What goes over a connection: bytes to frames and back.

pub mod frame;
pub mod message;

/// The protocol's major version, told in the first frame.
pub const VERSION: u16 = 1;
