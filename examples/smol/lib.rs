//! The examples of this package are in its other files:
//! `cargo run --example smol_cluster`, `cargo run --example smol_embed`.
