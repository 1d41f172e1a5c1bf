//! What every Peerhold driver shares, naming no socket, timer, executor or
//! runtime.
//!
//! The core is a state machine that decides everything and does nothing; a
//! driver has sockets and timers. Between them lies this:
//!
//! - [`engine`]: the node with its connections, its mailbox, its workers and
//!   its clock. [`Engine::turn`] does one budgeted round.
//! - `link`: one connection without its socket: bytes in, bytes out.
//! - [`client`]: the handle that embedders use, from any thread.
//! - [`foreverstore`]: the Go program's language on a port of its own.
//! - `workers`: threads for large jobs and for the disk.
//! - [`os`]: randomness, clocks and the file of the node's identity.
//!
//! All that a driver gives is a [`std::task::Waker`]. How one is written is
//! told in [`engine`].

pub mod client;
pub mod engine;
pub mod foreverstore;
mod link;
pub mod os;
mod workers;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use client::{Client, ClientError, Notice, PutError};
pub use engine::{BUFFER_MIN, Dial, Engine, HostConfig, ReadySet, SocketId, StartError, Turn};
pub use link::ChannelError;
pub use peerhold_core;
pub use peerhold_store;
pub use peerhold_tls;

/// Locks. What these locks guard is changed in steps that cannot panic half
/// way, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
