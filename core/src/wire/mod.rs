//! What goes over a connection: bytes to frames and back.

pub mod frame;
