//! Whole nodes over real sockets on loopback.

mod cluster;
mod cross;
mod damage;
mod ends;
mod files;
mod full;
mod tape;
mod versions;
