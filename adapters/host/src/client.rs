//! The handle: how embedders ask a node for something, from any thread and
//! under any runtime.
//!
//! Every wait exists in three forms: `poll_*` functions that take a
//! [`std::task::Context`], plain futures over them, and
//! [`Client::blocking`], which parks the calling thread, and has `try_*` calls
//! for the one that turns the engine.

mod blocking;
pub(crate) mod cell;
pub(crate) mod events;
mod handle;
mod later;
pub(crate) mod listing;
pub(crate) mod mail;
mod ops;
mod reading;

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerhold_core::tape::Taped;
use peerhold_core::{
    ClusterKey, ConfigError, Entry, FileInfo, Forget, Get, History, Instant, List, Name, NodeId,
    OpError, PeerStatus, Put, PutId, Reader, Remove, Restore, Status, Stored, Ticket, TicketError,
};

pub use blocking::{Blocking, BlockingEvents, BlockingGet, BlockingListing, BlockingPut};
pub use events::{Events, Notice};
pub use handle::NodeHandle;
pub use later::Later;
pub use listing::Listing;
pub use ops::{ForgetOp, Forgotten, GetOp, PutOp, WriteOp};
pub use reading::FileReader;

use crate::foreverstore::Foreverstore;
use cell::Cell;
use mail::{Command, Shared};
use ops::Held;

/// A handle of a running node. Clones are handles of the same node; when the
/// last of them and the last of its operations are dropped, the node ends.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

/// Why a call on a handle did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node ended before the operation did. What became of a put or a
    /// remove is not known.
    #[error("the node was closed; what became of the operation is not known")]
    Closed,
    /// The node takes no new operations. Nothing was done.
    #[error("the node is shutting down and takes no new operations; nothing was done")]
    ShuttingDown,
    /// As many operations wait as may. Nothing was done.
    #[error("{limit} operations are waiting already; nothing was done")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// The put had been finished: it took no more. Nothing of it has changed.
    #[error("the put takes no more bytes: it has been finished")]
    Finished,
    /// The operation failed; its own error says what became of it.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The node refused a change of its configuration. Nothing was changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to make a ticket of.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The file is larger than the caller wanted to hold.
    #[error("the file's {size} bytes are more than the {max} asked for")]
    TooLarge {
        /// How much would have been read.
        size: u64,
        /// The most that was asked for.
        max: usize,
    },
    /// The thread that turns the engine would wait for itself. Nothing was
    /// done.
    #[error("this thread runs the node and cannot wait for it; nothing was done")]
    WouldDeadlock,
}

/// For the readers and writers of drivers: `NotFound` keeps its kind, the
/// error itself is inside.
impl From<ClientError> for io::Error {
    fn from(error: ClientError) -> Self {
        let kind = match &error {
            ClientError::Op(OpError::NotFound) => io::ErrorKind::NotFound,
            ClientError::Op(OpError::Range { .. }) => io::ErrorKind::InvalidInput,
            ClientError::Closed | ClientError::ShuttingDown => io::ErrorKind::BrokenPipe,
            ClientError::WouldDeadlock => io::ErrorKind::Deadlock,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Why a file was not put from where it was read.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Reading it failed. The put was cancelled; the name is unchanged.
    #[error("reading the file failed, and nothing was stored: {0}")]
    Source(io::Error),
    /// Storing it failed.
    #[error(transparent)]
    Node(#[from] ClientError),
}

impl Client {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Self { shared }
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// The handle of the second port, if the node has one
    /// ([`HostConfig::foreverstore`](crate::HostConfig::foreverstore)).
    pub fn foreverstore(&self) -> Option<Foreverstore> {
        Foreverstore::of(self)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Starts a put; its bytes are given to what this returns. Many may run
    /// at once; those beyond the node's limit wait in order.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::ShuttingDown`] or
    /// [`ClientError::Closed`], before anything was done.
    pub fn put(&self, put: Put) -> Result<PutOp, ClientError> {
        self.start(Command::Put(put)).map(PutOp::new)
    }

    /// Starts a get.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn get(&self, get: Get) -> Result<GetOp, ClientError> {
        self.start(Command::Get(get)).map(GetOp::new)
    }

    /// Starts a remove.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn remove(&self, remove: Remove) -> Result<WriteOp, ClientError> {
        self.start(Command::Remove(remove)).map(WriteOp::new)
    }

    /// Starts making the content of an older version the newest.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn restore(&self, restore: Restore) -> Result<WriteOp, ClientError> {
        self.start(Command::Restore(restore)).map(WriteOp::new)
    }

    /// Starts listing a namespace's files, in the order of their tags.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn list(&self, list: List) -> Result<Listing, ClientError> {
        self.start(Command::List(list)).map(Listing::new)
    }

    /// Starts listing a file's versions, the newest first.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn history(&self, history: History) -> Result<Listing, ClientError> {
        self.start(Command::History(history)).map(Listing::new)
    }

    /// What became of a put, remove or restore whose end was not told: its
    /// entry in the history of its name, if it took hold. One that is there
    /// with less than W copies has not ended well, and still may.
    ///
    /// # Errors
    /// As for [`Client::history`] and [`Listing::poll_next`];
    /// [`OpError::Unconfirmed`] or [`OpError::Unreadable`] if it was not found,
    /// and too few members answered, or some version is too damaged, to say
    /// that it is not there.
    pub async fn outcome(
        &self,
        reader: &Reader,
        name: &Name,
        put: PutId,
    ) -> Result<Option<Entry>, ClientError> {
        let mut versions = self.history(History {
            reader: reader.clone(),
            name: name.clone(),
            below: None,
        })?;
        while let Some(entry) = versions.next().await? {
            if entry.put == put {
                return Ok(Some(entry));
            }
        }
        match versions.end() {
            Some(listed) if listed.unread > 0 => Err(ClientError::Op(OpError::Unconfirmed {
                answered: u8::try_from(listed.answered).unwrap_or(u8::MAX),
                needed: listed.needed,
            })),
            Some(listed) if listed.unreadable > 0 => Err(ClientError::Op(OpError::Unreadable(
                "a version of it is damaged wherever it is held",
            ))),
            Some(_) => Ok(None),
            None => Err(ClientError::Closed),
        }
    }

    /// Starts dropping this node's local copies of a file.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn forget(&self, forget: Forget) -> Result<ForgetOp, ClientError> {
        self.start(Command::Forget(forget)).map(ForgetOp::new)
    }

    /// A look at the node.
    ///
    /// # Errors
    /// [`ClientError::Closed`], or [`ClientError::Busy`] if too many look.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(|node, _| node.status()).await
    }

    /// Denies a node: its session ends, and none is opened with it until it is
    /// pardoned. What it holds is as if it were away. Whether that is news.
    ///
    /// The list is not kept: who wants it to outlast this run puts it into
    /// the configuration.
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn deny(&self, peer: NodeId) -> Result<bool, ClientError> {
        self.ask(move |node, now| node.deny(now, peer)).await
    }

    /// The reverse of [`Client::deny`].
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn pardon(&self, peer: NodeId) -> Result<bool, ClientError> {
        self.ask(move |node, now| node.pardon(now, peer)).await
    }

    /// Replaces the cluster keys, the first of which this node proves and all
    /// of which it accepts. To rotate one, every node is first given the new
    /// one as its second, then as its first, then alone. Sessions that were
    /// admitted by a key that is dropped end.
    ///
    /// # Errors
    /// [`ClientError::Config`] if there is no key; else as for
    /// [`Client::status`].
    pub async fn set_cluster_keys(&self, keys: Vec<ClusterKey>) -> Result<(), ClientError> {
        let set = self.ask(move |node, now| node.set_cluster_keys(now, keys));
        Ok(set.await??)
    }

    /// All that another node needs to join: the cluster key, and addresses of
    /// this node and of peers that are there, each with who is to be expected.
    /// It is a secret.
    ///
    /// # Errors
    /// [`ClientError::Ticket`] if none of the addresses goes into one; else as
    /// for [`Client::status`].
    pub async fn ticket(&self) -> Result<Ticket, ClientError> {
        Ok(self.ask(|node, _| node.ticket()).await??)
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Taped, Instant) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        let slot = self.shared.ask(ask)?;
        poll_fn(|cx| slot.poll(cx)).await
    }

    /// The admitted sessions.
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        Ok(self.status().await?.peers)
    }

    /// What happens to the node from now on.
    pub fn events(&self) -> Events {
        let (events, queue) = Events::new(self.shared.sizes.events);
        self.shared.subscribe(&queue);
        events
    }

    /// Waits until the node's status is as wanted: looks at it now, and
    /// whenever operations have started or ended or something has happened
    /// that [`Client::events`] tells.
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn wait_until(
        &self,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> Result<Status, ClientError> {
        loop {
            // Before the look, so that no change between the two is missed.
            let change = self.shared.watch()?;
            let status = self.status().await?;
            if wanted(&status) {
                return Ok(status);
            }
            poll_fn(|cx| change.poll(cx)).await?;
        }
    }

    /// Puts a file that is in memory.
    ///
    /// # Errors
    /// As for [`PutOp::poll_finish`].
    pub async fn put_bytes(&self, put: Put, data: Bytes) -> Result<Stored, ClientError> {
        let mut op = self.put(put)?;
        op.write(data).await?;
        op.finish().await
    }

    /// Gets a file of at most `max` bytes into memory.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`] before any of it is read; else as for
    /// [`GetOp::poll_open`] and [`GetOp::poll_read`].
    pub async fn get_bytes(&self, get: Get, max: usize) -> Result<(FileInfo, Bytes), ClientError> {
        let mut file = self.open(get).await?;
        let info = file.info().clone();
        let size = info.range.end.saturating_sub(info.range.start);
        if size > max as u64 {
            return Err(ClientError::TooLarge { size, max });
        }
        let mut all = BytesMut::with_capacity(size as usize);
        while let Some(data) = file.next_bytes().await? {
            all.extend_from_slice(&data);
        }
        Ok((info, all.freeze()))
    }

    /// Ends the node: no new operations; those that run finish, or are
    /// cancelled after `limit`; sessions close, threads are joined, the
    /// store's lock is released. Ready when all that is done. Asked for more
    /// than once, the shortest limit counts.
    ///
    /// It takes effect at once, even if the future is not waited for.
    pub fn shutdown(&self, limit: Duration) -> impl Future<Output = ()> + Send + use<> {
        let slot = self.shared.shutdown(limit);
        async move {
            // It is only ever set to `Ok`.
            let _ = poll_fn(|cx| slot.poll(cx)).await;
        }
    }

    /// The same calls for threads that can wait.
    pub fn blocking(&self) -> Blocking {
        Blocking::new(self.clone())
    }

    fn start(&self, command: Command) -> Result<Held, ClientError> {
        let cell = Arc::new(Cell::default());
        self.shared.command(command, Arc::clone(&cell))?;
        Ok(Held {
            client: self.clone(),
            cell,
        })
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

#[cfg(test)]
mod tests;
