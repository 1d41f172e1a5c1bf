//! The protocol core of Peerhold, a peer-to-peer file store, as state machines
//! without sockets, files, threads or a clock.
//!
//! # The contract of [`Node`]
//!
//! A driver reports facts with [`Node::handle`], [`Node::accept`] and
//! [`Node::handle_timeout`]; an embedder gives commands ([`Node::put`],
//! [`Node::get`], ..); the driver drains what follows: `poll_dirty` and
//! `poll_transmit` (bytes to send), `poll_disk` (for a store), `poll_job` (for
//! any thread), `poll_event`, `poll_data`, `poll_entry`, and arms a timer by `poll_timeout`.
//!
//! - **Deterministic.** Same seed, same inputs, same commands: same outputs.
//! - **Any order.** There is no rule to drain before the next input.
//! - **Bounded.** Every queue, map and buffer has a limit that derives from
//!   [`Config`]. Exceeding one is [`Busy`] or a closed session, never growth.
//! - **Linear tickets.** [`DiskOp`] and [`Job`] complete once.
//! - **Total.** No bytes from a peer or a disk can panic it. A peer's fault
//!   closes that session, with a typed reason.
//! - **Honest.** A finished operation happened; a failed one did not; anything
//!   else is said to be unknown.
//! - **Time** is an [`Instant`] from the driver. Wall time is an input and
//!   never decides alone.
//!
//! # The layers
//!
//! Each is usable, testable and fuzzable by itself: [`wire::frame`],
//! [`wire::message`], [`ctr`], [`seal`], [`path`], [`placement`], [`members`],
//! [`policy`], [`admission`], [`version`], [`text`], [`ticket`], and [`Node`]
//! above them. Beside them [`gob`] and [`foreverstore`] speak the language of the Go
//! program that this one grew from (`FOREVERSTORE.md`). [`Taped`] is a [`Node`] that can be recorded. `PROTOCOL.md` beside
//! this crate states the formats as numbered rules, which the code quotes as
//! `//# FRAME-1: ..`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "memo"))]
extern crate std;

pub mod admission;
#[doc(hidden)]
pub mod bug;
#[doc(hidden)]
pub mod check;
pub mod config;
pub mod ctr;
pub mod disk;
pub mod error;
pub mod foreverstore;
pub mod gob;
pub mod id;
pub mod input;
pub mod job;
pub mod members;
mod node;
pub mod output;
pub mod pace;
pub mod path;
pub mod placement;
pub mod policy;
pub mod seal;
pub mod tape;
pub mod text;
pub mod ticket;
pub mod time;
pub mod timers;
pub mod version;
pub mod wire;

pub use config::{Bootstrap, ClusterKey, Config, Limits, Timing};
pub use disk::{DiskDone, DiskOp};
pub use error::{Busy, ConfigError, OpError, PeerFault, PushError, QuotaOf};
pub use id::{BlobId, ConnId, NameTag, NamespaceId, NodeId, OpId, PutId};
pub use input::{CloseReason, Input, PeerAddr, Role};
pub use job::{Job, JobDone};
pub use members::{Member, Members};
pub use node::Node;
pub use output::{
    Access, Damage, Entry, Event, FileInfo, Forget, Fork, Get, History, List, Listed, Outcome,
    PeerStatus, Put, Remove, Restore, Status, Stored, Told, Unconfirmed, Wake,
};
pub use policy::{Policy, Storing, Terms};
pub use seal::{FileCapability, Name, NamespaceSecret, ReadKey, Reader, Writer};
pub use tape::Taped;
pub use text::TextError;
pub use ticket::{Ticket, TicketError};
pub use time::{Instant, UnixMillis};
pub use version::{RecordId, Version};
