//! Whole nodes over real sockets on loopback.

mod cluster;
mod ends;
mod files;
mod tape;
