//! Runs a Peerhold node with [`tokio`], on a multi-thread or a current-thread
//! runtime.
//!
//! [`open`] gives a [`Handle`], by which files are put and got, and a
//! [`Driver`], a future that does the node's work for as long as it is polled.
//! Nothing is spawned and no runtime is started: whoever embeds the node
//! spawns the driver on the runtime that they have.
//!
//! ```
//! use peerhold_tokio::HostConfig;
//! use peerhold_tokio::peerhold_core::{ClusterKey, Name, NamespaceSecret};
//! use std::time::Duration;
//! use tokio::io::AsyncReadExt;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (dir, key, secret) = (dir.path(), [1; 32], [2; 32]);
//! let runtime = tokio::runtime::Builder::new_current_thread()
//!     .enable_all()
//!     .build()?;
//! let mut config = HostConfig::new(dir, ClusterKey::from_bytes(key))?;
//! // A cluster of one: each record and blob has one copy.
//! (config.node.replicas, config.node.durable) = (1, 1);
//! let (node, driver) = peerhold_tokio::open(config)?;
//! let driver = runtime.spawn(driver);
//! runtime.block_on(async {
//!     let writer = NamespaceSecret::from_bytes(secret).writer();
//!     let name = Name::new("greeting.txt")?;
//!     node.put(&writer, &name, &b"hello"[..]).await?;
//!     let mut text = String::new();
//!     let mut file = node.get(writer.reader(), &name).await?;
//!     file.read_to_string(&mut text).await?;
//!     assert_eq!(text, "hello");
//!     node.shutdown(Duration::from_secs(5)).await;
//!     Ok(driver.await??)
//! })
//! # }
//! ```
//!
//! # What the runtime has to have
//! The driver needs IO and timers: `enable_all` on the runtime's builder, or
//! `enable_io` and `enable_time`. A runtime without them makes its first poll
//! panic, as tokio's own types do: there is no way to ask. Without any runtime
//! it ends with [`StartError::Runtime`]. It is to be polled on one runtime for
//! all its life.
//!
//! [`open`] itself, the handle and all that comes from it work on any thread,
//! in a runtime or out of it. `open` reads the data directory, and waits for
//! the disk while it does.
//!
//! The node's worker threads are its own and are joined when it ends: no job
//! and no file of it is in tokio's pool of blocking threads. Its clock is the
//! operating system's, so time that was paused for tests does not stop it.

mod driver;
mod handle;
mod net;

pub use driver::Driver;
pub use handle::{GetReader, Handle, PutWriter};
pub use peerhold_host::client::{Events, ForgetOp, Forgotten, Listing, NodeHandle, WriteOp};
pub use peerhold_host::foreverstore;
pub use peerhold_host::{
    BUFFER_MIN, ChannelError, ClientError, HostConfig, Notice, PutError, StartError, peerhold_core,
    peerhold_tls,
};

use peerhold_host::Engine;
use peerhold_host::engine::reachable;

/// Listens, opens the data directory, and makes a node of it. It may be called
/// anywhere; it is the [`Driver`] that needs a runtime.
///
/// The node tells its peers the addresses that it listens on, unless the
/// configuration names others, or they are "any address", which leads
/// nowhere.
///
/// # Errors
/// [`StartError`]; nothing runs then, and no socket is left open.
pub fn open(config: HostConfig) -> Result<(Handle, Driver), StartError> {
    config.check()?;
    let listeners = net::listen(&config.listens())?;
    let mut addrs = net::local_addrs(&listeners)?;
    let second = addrs.split_off(config.listen.len());
    let (client, engine) = Engine::open(config, reachable(&addrs))?;
    engine.listens_for_foreverstore(second);
    let handle = Handle::new(NodeHandle::new(client, addrs));
    Ok((handle, Driver::new(engine, listeners)))
}
