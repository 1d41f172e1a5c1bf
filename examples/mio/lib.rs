//! The examples of this package are in its other files:
//! `cargo run --example mio_cluster` and `cargo run --example mio_loop`.
