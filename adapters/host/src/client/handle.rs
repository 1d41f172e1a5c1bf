//! The short forms of [`Client`]'s calls, for drivers' handles.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerhold_core::seal::{Name, Reader, Writer};
use peerhold_core::{
    Entry, Forget, History, List, NodeId, PeerStatus, PutId, RecordId, Remove, Restore, Status,
};

use crate::foreverstore::Foreverstore;

use super::{Blocking, Client, ClientError, Events, ForgetOp, Listing, WriteOp};

/// A running node: what the handles of drivers with futures have in common,
/// and dereference to. They add how files are read and written.
///
/// When the last clone and the last operation are dropped, the node ends.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    client: Client,
    addrs: Arc<[SocketAddr]>,
}

impl NodeHandle {
    /// The handle of a node that listens on these addresses.
    pub fn new(client: Client, addrs: Vec<SocketAddr>) -> Self {
        Self {
            client,
            addrs: addrs.into(),
        }
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.client.node()
    }

    /// The addresses that it listens on.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The handle that is the same for every driver.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The handle of the second port, if the node has one.
    pub fn foreverstore(&self) -> Option<Foreverstore> {
        self.client.foreverstore()
    }

    /// The same calls for threads that can wait.
    pub fn blocking(&self) -> Blocking {
        self.client.blocking()
    }

    /// Starts a remove: a future of its end.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn remove(&self, writer: &Writer, name: &Name) -> Result<WriteOp, ClientError> {
        self.client.remove(Remove {
            writer: writer.clone(),
            name: name.clone(),
        })
    }

    /// Starts making the content of an older version the newest: a future of
    /// its end.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn restore(
        &self,
        writer: &Writer,
        name: &Name,
        version: RecordId,
    ) -> Result<WriteOp, ClientError> {
        self.client.restore(Restore {
            writer: writer.clone(),
            name: name.clone(),
            id: version,
        })
    }

    /// Starts listing a namespace's files whose names begin with `prefix`, in
    /// no order that a person would see.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn list(&self, reader: &Reader, prefix: &str) -> Result<Listing, ClientError> {
        self.client.list(List {
            reader: reader.clone(),
            prefix: Some(prefix.into()).filter(|prefix: &String| !prefix.is_empty()),
            after: None,
            removed: false,
        })
    }

    /// Starts listing a file's versions, the newest first.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn history(&self, reader: &Reader, name: &Name) -> Result<Listing, ClientError> {
        self.client.history(History {
            reader: reader.clone(),
            name: name.clone(),
            below: None,
        })
    }

    /// What became of a put whose end was not told: see
    /// [`Client::outcome`].
    ///
    /// # Errors
    /// As there.
    pub async fn outcome(
        &self,
        reader: &Reader,
        name: &Name,
        put: PutId,
    ) -> Result<Option<Entry>, ClientError> {
        self.client.outcome(reader, name, put).await
    }

    /// Starts dropping this node's local copies of a file: a future of its
    /// end.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn forget(&self, reader: &Reader, name: &Name) -> Result<ForgetOp, ClientError> {
        self.client.forget(Forget {
            reader: reader.clone(),
            name: name.clone(),
        })
    }

    /// A look at the node.
    ///
    /// # Errors
    /// [`ClientError::Closed`], or [`ClientError::Busy`] if too many look.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.client.status().await
    }

    /// The admitted sessions.
    ///
    /// # Errors
    /// As for [`NodeHandle::status`].
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        self.client.peers().await
    }

    /// What happens to the node from now on.
    pub fn events(&self) -> Events {
        self.client.events()
    }

    /// Waits until so many members are active and so many peers are admitted.
    ///
    /// # Errors
    /// As for [`NodeHandle::status`].
    pub async fn wait_for(&self, members: usize, peers: usize) -> Result<Status, ClientError> {
        self.client
            .wait_until(|status| status.active() >= members && status.peers.len() >= peers)
            .await
    }

    /// Ends the node: no new operations; those that run finish, or are
    /// cancelled after `limit`; sessions close, threads are joined, the data
    /// directory is released. Ready when all that is done, for which the
    /// driver has to be polled.
    pub fn shutdown(&self, limit: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.client.shutdown(limit)
    }
}
