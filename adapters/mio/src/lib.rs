//! Runs a Peerhold node on one [`mio::Poll`]: without futures, without an
//! executor.
//!
//! [`open`] gives a [`Handle`], by which files are put and got, and a
//! [`Driver`], which does the node's work: [`Driver::run`] takes a thread for
//! it, [`Driver::turn`] fits into a loop of the caller's own, beside whatever
//! else that does.
//!
//! ```
//! use peerhold_mio::HostConfig;
//! use peerhold_mio::peerhold_core::{ClusterKey, Name, NamespaceSecret};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (dir, key, secret) = (dir.path(), [1; 32], [2; 32]);
//! let mut config = HostConfig::new(dir, ClusterKey::from_bytes(key))?;
//! // A cluster of one: each record and blob has one copy.
//! (config.node.replicas, config.node.durable) = (1, 1);
//! let (node, driver) = peerhold_mio::open(config)?;
//! let thread = std::thread::spawn(|| driver.run());
//! let writer = NamespaceSecret::from_bytes(secret).writer();
//! let name = Name::new("greeting.txt")?;
//! node.put(&writer, &name, &b"hello"[..])?;
//! let text = std::io::read_to_string(node.get(writer.reader(), &name)?)?;
//! assert_eq!(text, "hello");
//! node.shutdown(Duration::from_secs(5))?;
//! thread.join().expect("the driver does not panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! The handle's calls wait, and any other thread may make them. The thread
//! that turns the driver would wait for itself; there they answer
//! [`ClientError::WouldDeadlock`], and the `try_*` calls are for it. Who has
//! futures anyway finds the asynchronous ones in [`Handle::client`].
//!
//! The node's worker threads are its own and are joined when it ends. There
//! are no others.

mod driver;
mod handle;
mod net;

pub use driver::{Driver, Turned};
pub use handle::Handle;
pub use peerhold_host::client::{
    Blocking, BlockingEvents as Events, BlockingGet as GetReader, BlockingListing as Listing,
    BlockingPut as PutWriter, Forgotten, Later,
};
pub use peerhold_host::foreverstore;
pub use peerhold_host::{
    BUFFER_MIN, ChannelError, ClientError, HostConfig, Notice, PutError, StartError, peerhold_core,
    peerhold_tls,
};

use mio::{Poll, Token};
use peerhold_host::Engine;
use peerhold_host::engine::reachable;

/// Listens, opens the data directory, and makes a node of it.
///
/// The node tells its peers the addresses that it listens on, unless the
/// configuration names others, or they are "any address", which leads
/// nowhere.
///
/// # Errors
/// [`StartError`]; nothing runs then, and no socket is left open.
pub fn open(config: HostConfig) -> Result<(Handle, Driver), StartError> {
    config.check()?;
    let poll = Poll::new().map_err(StartError::Poll)?;
    let mut listeners = net::listen(&config.listens())?;
    for (index, listener) in listeners.iter_mut().enumerate() {
        let registered = listener.register(poll.registry(), Token(index));
        registered.map_err(StartError::Poll)?;
    }
    let mut addrs = net::local_addrs(&listeners)?;
    let second = addrs.split_off(config.listen.len());
    let (client, engine) = Engine::open(config, reachable(&addrs))?;
    engine.listens_for_foreverstore(second);
    let driver = Driver::new(engine, poll, listeners)?;
    Ok((Handle::new(client, addrs), driver))
}
