//! Whole nodes over real sockets on loopback.

mod cluster;
mod cross;
mod damage;
mod ends;
mod files;
mod full;
mod secure;
mod tape;
mod versions;
