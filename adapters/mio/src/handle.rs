//! The handle, with files as [`Read`], [`BufRead`](std::io::BufRead) and
//! [`Write`](std::io::Write).

use std::io::Read;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::client::Blocking;
use peerhold_host::foreverstore::BlockingForeverstore;
use peerhold_host::peerhold_core::seal::{Name, Reader, Writer};
use peerhold_host::peerhold_core::{
    Forget, Get, History, List, NodeId, Put, RecordId, Remove, Restore, Status, Stored,
};
use peerhold_host::{Client, ClientError, PutError};

use crate::{Events, Forgotten, GetReader, Later, Listing, PutWriter};

/// A running node, for any number of threads. When the last clone and the
/// last operation are dropped, the node ends.
///
/// Calls wait, except `try_*` ones. On the thread that turns the driver they
/// answer [`ClientError::WouldDeadlock`] instead, and do nothing.
#[derive(Clone, Debug)]
pub struct Handle {
    by: Blocking,
    addrs: Arc<[SocketAddr]>,
}

impl Handle {
    pub(crate) fn new(client: Client, addrs: Vec<SocketAddr>) -> Self {
        Self {
            by: client.blocking(),
            addrs: addrs.into(),
        }
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.client().node()
    }

    /// The addresses that it listens on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The handle that is the same for every driver: `poll_*` functions and
    /// futures, for any executor.
    pub fn client(&self) -> &Client {
        self.by.client()
    }

    /// The handle of the second port, if the node has one. Its futures are begun
    /// with [`Blocking::try_run`], where this thread turns the driver.
    pub fn foreverstore(&self) -> Option<BlockingForeverstore> {
        let port = self.client().foreverstore()?;
        Some(port.blocking())
    }

    /// The same calls in their full forms, and more of them, both those that
    /// wait and `try_*` ones.
    pub fn blocking(&self) -> &Blocking {
        &self.by
    }

    /// Stores what `source` holds under a name.
    ///
    /// # Errors
    /// [`PutError`].
    pub fn put(&self, writer: &Writer, name: &Name, source: impl Read) -> Result<Stored, PutError> {
        self.by.put_from(put(writer, name), source)
    }

    /// Starts a put to be written to.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::ShuttingDown`] or
    /// [`ClientError::Closed`], before anything was done.
    pub fn put_writer(&self, put: Put) -> Result<PutWriter, ClientError> {
        self.by.put(put)
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ClientError`], for instance that there is no such file.
    pub fn get(&self, reader: &Reader, name: &Name) -> Result<GetReader, ClientError> {
        self.get_with(Get::newest(reader, name))
    }

    /// Opens a part of a file for reading; a range that reaches past the end
    /// is cut there.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub fn get_range(
        &self,
        reader: &Reader,
        name: &Name,
        range: Range<u64>,
    ) -> Result<GetReader, ClientError> {
        self.get_with(Get {
            range: Some(range),
            ..Get::newest(reader, name)
        })
    }

    /// Opens a file as told.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub fn get_with(&self, get: Get) -> Result<GetReader, ClientError> {
        self.by.get(get)
    }

    /// Opens an older version of a file for reading: one that
    /// [`Handle::history`] tells of.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub fn get_version(
        &self,
        reader: &Reader,
        name: &Name,
        version: RecordId,
    ) -> Result<GetReader, ClientError> {
        self.get_with(Get::version(reader, name, version))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove(&self, writer: &Writer, name: &Name) -> Result<Stored, ClientError> {
        self.by.remove(Remove {
            writer: writer.clone(),
            name: name.clone(),
        })
    }

    /// Makes the content of an older version the newest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn restore(
        &self,
        writer: &Writer,
        name: &Name,
        version: RecordId,
    ) -> Result<Stored, ClientError> {
        self.by.restore(Restore {
            writer: writer.clone(),
            name: name.clone(),
            id: version,
        })
    }

    /// Starts listing a namespace's files whose names begin with `prefix`, in
    /// no order that a person would see.
    ///
    /// # Errors
    /// As for [`Handle::put_writer`].
    pub fn list(&self, reader: &Reader, prefix: &str) -> Result<Listing, ClientError> {
        self.by.list(List {
            reader: reader.clone(),
            prefix: (!prefix.is_empty()).then(|| prefix.into()),
            after: None,
            removed: false,
        })
    }

    /// Starts listing a file's versions, the newest first.
    ///
    /// # Errors
    /// As for [`Handle::put_writer`].
    pub fn history(&self, reader: &Reader, name: &Name) -> Result<Listing, ClientError> {
        self.by.history(History {
            reader: reader.clone(),
            name: name.clone(),
            below: None,
        })
    }

    /// Drops this node's local copies of a file.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn forget(&self, reader: &Reader, name: &Name) -> Result<Forgotten, ClientError> {
        self.by.forget(Forget {
            reader: reader.clone(),
            name: name.clone(),
        })
    }

    /// A look at the node.
    ///
    /// # Errors
    /// [`ClientError::Closed`], or [`ClientError::Busy`] if too many look.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.by.status()
    }

    /// What happens to the node from now on.
    pub fn events(&self) -> Events {
        self.by.events()
    }

    /// Waits until so many members are active and so many peers are admitted.
    ///
    /// # Errors
    /// As for [`Handle::status`].
    pub fn wait_for(&self, members: usize, peers: usize) -> Result<Status, ClientError> {
        self.by.wait_until(has(members, peers))
    }

    /// Ends the node: no new operations; those that run finish, or are
    /// cancelled after `limit`; sessions close, threads are joined, the data
    /// directory is released. Returns when all that is done, for which another
    /// thread has to turn the driver.
    ///
    /// # Errors
    /// [`ClientError::WouldDeadlock`]; nothing was done.
    pub fn shutdown(&self, limit: Duration) -> Result<(), ClientError> {
        self.by.shutdown(limit)
    }

    /// Begins to store these bytes under a name.
    pub fn try_put(
        &self,
        writer: &Writer,
        name: &Name,
        data: Bytes,
    ) -> Later<Result<Stored, ClientError>> {
        self.by.try_put_bytes(put(writer, name), data)
    }

    /// Begins [`Handle::get`].
    pub fn try_get(&self, reader: &Reader, name: &Name) -> Later<Result<GetReader, ClientError>> {
        self.by.try_get(Get::newest(reader, name))
    }

    /// Begins [`Handle::wait_for`].
    pub fn try_wait_for(&self, members: usize, peers: usize) -> Later<Result<Status, ClientError>> {
        self.by.try_wait_until(has(members, peers))
    }

    /// Begins [`Handle::shutdown`], which takes effect even if what this
    /// returns is dropped.
    pub fn try_shutdown(&self, limit: Duration) -> Later<()> {
        self.by.try_shutdown(limit)
    }
}

fn put(writer: &Writer, name: &Name) -> Put {
    Put {
        writer: writer.clone(),
        name: name.clone(),
        modified: None,
    }
}

fn has(members: usize, peers: usize) -> impl FnMut(&Status) -> bool {
    move |status| status.active() >= members && status.peers.len() >= peers
}
