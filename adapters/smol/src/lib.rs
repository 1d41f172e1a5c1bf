//! Runs a Peerhold node with [`async_io`]: under smol, or under any executor
//! that can poll a future, on one thread or on several.
//!
//! [`open`] gives a [`Handle`], by which files are put and got, and a
//! [`Driver`], a future that does the node's work for as long as it is polled.
//! Nothing is spawned: whoever embeds the node runs the driver where it suits
//! them.
//!
//! The node's worker threads are its own and are joined when it ends.
//! `async-io` beside that has one thread for the whole process, which it
//! starts at its first use and keeps.

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
    let listeners = net::listen(&config.listens())?;
    let mut addrs = net::local_addrs(&listeners)?;
    let second = addrs.split_off(config.listen.len());
    let (client, engine) = Engine::open(config, reachable(&addrs))?;
    engine.listens_for_foreverstore(second);
    let handle = Handle::new(NodeHandle::new(client, addrs));
    Ok((handle, Driver::new(engine, listeners)))
}
