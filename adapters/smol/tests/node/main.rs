//! Whole nodes over real sockets on loopback.

mod admitting;
mod canary;
mod cluster;
mod cross;
mod damage;
mod ends;
mod files;
mod full;
mod search;
mod secure;
mod tap;
mod tape;
mod versions;
