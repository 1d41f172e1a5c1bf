//! Whole nodes over real sockets on loopback.

mod cluster;
mod damage;
mod ends;
mod files;
mod full;
