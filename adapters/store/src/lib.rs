//! Durable storage for Peerhold.
//!
//! [`Store`] executes the core's [`DiskOp`](peerhold_core::disk::DiskOp)s over
//! a small [`Vfs`](vfs::Vfs), in two steps: [`Store::prepare`] may run on any
//! number of threads, [`Store::commit`] is serial, makes a group of writes
//! durable with one sync, and alone completes them. The store starts no thread,
//! owns no timer and waits for nobody.
//!
//! Small things are entries of a log of segment files, large blobs are files of
//! their own, and an index says where each is. `FORMAT.md` beside this crate
//! describes all of it. What always holds:
//!
//! 1. A completed write survives a crash at any later moment.
//! 2. A blob file under its final name is whole.
//! 3. Bytes that are not what their id or check says are never handed out.
//! 4. Only an unfinished end is ever cut off the log; damage elsewhere is
//!    counted and stepped over.
//! 5. The index can be lost at any time: the log alone is enough.
//!
//! [`foreverstore`] keeps files in the Go program's layout, beside a store and
//! apart from it.
//!
//! Non-goals: encryption (the core's), deciding what to keep (the core's),
//! several processes on one store (refused).

mod bug;
#[doc(hidden)]
pub mod check;
mod commit;
mod compact;
mod config;
mod entry;
pub mod foreverstore;
mod index;
mod list;
mod log;
mod open;
mod owner;
mod read;
mod replay;
mod segment;
mod state;
mod store;
pub mod vfs;

pub use crate::config::{OpenError, StoreConfig};
pub use crate::replay::Recovery;
pub use crate::store::{Health, Prepared, Stats, Store, Write};
