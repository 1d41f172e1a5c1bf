//! What fuzzing runs, like `peerhold_core::check`: whole nodes and clusters,
//! under inputs that are made of a fuzzer's bytes.
//!
//! They are no API: they are public for the fuzz targets, which are shims over
//! them, and for tests that run them over the committed corpus.

mod cluster;
mod node;
mod peers;

pub use cluster::cluster;
pub use node::node;
