//! Whole nodes over real sockets on loopback.

mod cluster;
mod cross;
mod ends;
mod files;
mod tape;
