//! The Go program's language on a port of its own (`core/FOREVERSTORE.md`).
//!
//! With [`HostConfig::foreverstore`](crate::HostConfig::foreverstore) set, a node
//! beside its own work stands among nodes of the Go program: it listens for them,
//! dials those that it is told of, keeps and serves what they send, and by
//! [`Foreverstore`] stores, gets and removes files as one of them.
//!
//! **There is no TLS here, and no proof of anything.** Whoever can connect can
//! fill [`ForeverstoreConfig::capacity_bytes`], fetch what is kept there for
//! others, and answer with whatever they like. Nothing of it touches the node's
//! sessions, members, namespaces or store: it has a root, connections, limits and
//! operations of its own, and shares the node's threads alone.

mod bandwidth;
mod client;
mod config;
mod import;
mod peer;
mod port;
mod tasks;

pub(crate) use client::Desk;
pub use client::{BlockingForeverstore, Foreverstore, ForeverstoreError, OwnFile, Spread};
pub use config::ForeverstoreConfig;
pub use import::{Found, Import, Imported, Survey, Unreadable};
pub use peer::PeerId;
pub(crate) use port::Port;
pub use port::Told;
pub(crate) use tasks::Request;
