//! The language of the Go program (`foreverstore`) that this project grew from,
//! so that a node can stand among nodes of it (FOREVERSTORE.md).
//!
//! It is no part of the cluster: nothing here is authenticated, and whoever
//! connects may have anything kept and fetched. A driver speaks it on a port of
//! its own, if at all, and never mixes it with sessions or namespaces.
//!
//! A [`Connection`] is driven like a [`crate::Node`]: facts go in by
//! [`Connection::handle`] and [`Connection::handle_timeout`], commands are
//! [`Connection::store`] and [`Connection::get`], and what follows is drained by
//! `poll_transmit`, `poll_file`, `poll_event` and `poll_timeout`. What holds for
//! a node holds for it: deterministic, total, bounded, any order. In its own
//! words:
//!
//! 1. **Files.** It names no path of a peer's making: an id and a key are hex
//!    of a fixed length, and a [`FilePath`] is made of them and of hashes.
//!    Nothing that a peer says reads or changes this node's own files, but for
//!    the answer to a get, which takes the one place that it was asked for.
//! 2. **Bounded.** A file of any size goes through in a window of memory. It
//!    does not read what its files have no room for, so the peer is held back by
//!    its socket; it reads while it writes, so two such nodes never wait for each
//!    other.
//! 3. **Honest.** A store is [`Outcome::Sent`] at most, as the language has no
//!    acknowledgements; [`Outcome::Verified`] if the peer has sent back the same
//!    bytes. A get ends when its file is durable.
//! 4. **Never for ever.** Every wait for a peer has a deadline.
//!
//! Removing a file, in this language, is nobody's business but the owner's:
//! there is no message for it. A driver removes what lies at
//! [`FilePath::own`], and nothing beside it.

mod check;
mod config;
mod connection;
mod ctx;
mod file;
mod framing;
mod incoming;
mod message;
mod names;
mod outgoing;
mod output;
mod pace;
mod writing;

pub use check::{MemoryFiles, check_connection};
pub use config::{Config, Limits, Timing};
pub use connection::Connection;
pub use file::{FileData, FileDone, FileId, FileKind, FileOp};
pub use framing::{Framing, Reader, Unit};
pub use message::{Message, MessageError, NAMES, Rpc};
pub use names::{FileKey, FilePath, OwnerId, OwnerKey};
pub use output::{Event, Fault, Input, NotKept, OpError, Outcome, Store, Wake};
