//! Whole nodes over real sockets on loopback.

mod canary;
mod cluster;
mod damage;
mod ends;
mod full;
mod handle;
mod search;
mod secure;
mod tap;
mod tape;
