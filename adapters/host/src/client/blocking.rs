//! The handle for threads that can wait.

use std::future::{Future, poll_fn};
use std::io::{self, BufRead, Read, Write};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{
    ClusterKey, Entry, FileInfo, Forget, Get, History, List, Listed, Name, NodeId, PeerStatus, Put,
    PutId, Reader, Remove, Restore, Status, Stored, Ticket,
};

use super::mail::Shared;
use super::{Client, ClientError, Events, FileReader, Forgotten, Listing, Notice, PutError, PutOp};

/// [`Client`]'s calls, each of which parks the calling thread until it is
/// done. On the thread that turned the engine last they answer
/// [`ClientError::WouldDeadlock`] instead and do nothing: what that thread
/// wants it begins with a `try_*` call, turns on, and looks again.
#[derive(Clone, Debug)]
pub struct Blocking {
    pub(super) client: Client,
}

impl Blocking {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The handle whose calls these are.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for any future of this node.
    ///
    /// # Errors
    /// [`ClientError::WouldDeadlock`].
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, ClientError> {
        if self.client.shared.turned_here() {
            return Err(ClientError::WouldDeadlock);
        }
        Ok(park_on(future))
    }

    /// Starts a put, to be written and then finished.
    ///
    /// # Errors
    /// As for [`Client::put`].
    pub fn put(&self, put: Put) -> Result<BlockingPut, ClientError> {
        Ok(BlockingPut {
            op: self.client.put(put)?,
            by: self.clone(),
        })
    }

    /// Starts a get and waits until the file is found.
    ///
    /// # Errors
    /// As for [`Client::open`].
    pub fn get(&self, get: Get) -> Result<BlockingGet, ClientError> {
        self.refuse_here()?;
        Ok(BlockingGet {
            file: self.wait(self.client.open(get))??,
            by: self.clone(),
        })
    }

    /// Puts what `source` reads, as [`Client::put_from`].
    ///
    /// # Errors
    /// As there.
    pub fn put_from(&self, put: Put, mut source: impl Read) -> Result<Stored, PutError> {
        let source = |_: &mut Context<'_>, buf: &mut [u8]| Poll::Ready(source.read(buf));
        self.wait(self.client.put_from(put, source))?
    }

    /// As [`Client::put_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn put_bytes(&self, put: Put, data: Bytes) -> Result<Stored, ClientError> {
        self.wait(self.client.put_bytes(put, data))?
    }

    /// As [`Client::get_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn get_bytes(&self, get: Get, max: usize) -> Result<(FileInfo, Bytes), ClientError> {
        self.wait(self.client.get_bytes(get, max))?
    }

    /// As [`Client::remove`], waiting for its end.
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self, remove: Remove) -> Result<Stored, ClientError> {
        self.refuse_here()?;
        self.wait(self.client.remove(remove)?)?
    }

    /// As [`Client::restore`], waiting for its end.
    ///
    /// # Errors
    /// As there.
    pub fn restore(&self, restore: Restore) -> Result<Stored, ClientError> {
        self.refuse_here()?;
        self.wait(self.client.restore(restore)?)?
    }

    /// As [`Client::list`]: an iterator that waits.
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, list: List) -> Result<BlockingListing, ClientError> {
        Ok(BlockingListing {
            listing: self.client.list(list)?,
            failed: false,
            by: self.clone(),
        })
    }

    /// As [`Client::history`]: an iterator that waits.
    ///
    /// # Errors
    /// As there.
    pub fn history(&self, history: History) -> Result<BlockingListing, ClientError> {
        Ok(BlockingListing {
            listing: self.client.history(history)?,
            failed: false,
            by: self.clone(),
        })
    }

    /// As [`Client::outcome`].
    ///
    /// # Errors
    /// As there.
    pub fn outcome(
        &self,
        reader: &Reader,
        name: &Name,
        put: PutId,
    ) -> Result<Option<Entry>, ClientError> {
        self.wait(self.client.outcome(reader, name, put))?
    }

    /// As [`Client::forget`], waiting for its end.
    ///
    /// # Errors
    /// As there.
    pub fn forget(&self, forget: Forget) -> Result<Forgotten, ClientError> {
        self.refuse_here()?;
        self.wait(self.client.forget(forget)?)?
    }

    /// As [`Client::status`].
    ///
    /// # Errors
    /// As there.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.wait(self.client.status())?
    }

    /// As [`Client::deny`].
    ///
    /// # Errors
    /// As there.
    pub fn deny(&self, peer: NodeId) -> Result<bool, ClientError> {
        self.wait(self.client.deny(peer))?
    }

    /// As [`Client::pardon`].
    ///
    /// # Errors
    /// As there.
    pub fn pardon(&self, peer: NodeId) -> Result<bool, ClientError> {
        self.wait(self.client.pardon(peer))?
    }

    /// As [`Client::set_cluster_keys`].
    ///
    /// # Errors
    /// As there.
    pub fn set_cluster_keys(&self, keys: Vec<ClusterKey>) -> Result<(), ClientError> {
        self.wait(self.client.set_cluster_keys(keys))?
    }

    /// As [`Client::ticket`].
    ///
    /// # Errors
    /// As there.
    pub fn ticket(&self) -> Result<Ticket, ClientError> {
        self.wait(self.client.ticket())?
    }

    /// As [`Client::peers`].
    ///
    /// # Errors
    /// As there.
    pub fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        self.wait(self.client.peers())?
    }

    /// As [`Client::wait_until`].
    ///
    /// # Errors
    /// As there.
    pub fn wait_until(&self, wanted: impl FnMut(&Status) -> bool) -> Result<Status, ClientError> {
        self.wait(self.client.wait_until(wanted))?
    }

    /// What happens to the node from now on: an iterator that waits.
    pub fn events(&self) -> BlockingEvents {
        BlockingEvents {
            events: self.client.events(),
            shared: Arc::downgrade(&self.client.shared),
            failed: false,
        }
    }

    /// As [`Client::shutdown`].
    ///
    /// # Errors
    /// [`ClientError::WouldDeadlock`].
    pub fn shutdown(&self, limit: Duration) -> Result<(), ClientError> {
        self.refuse_here()?;
        self.wait(self.client.shutdown(limit))
    }

    /// For calls that would start something before they wait.
    fn refuse_here(&self) -> Result<(), ClientError> {
        if self.client.shared.turned_here() {
            return Err(ClientError::WouldDeadlock);
        }
        Ok(())
    }
}

/// A put that threads can write to. Dropped before it has finished, it is
/// cancelled.
#[derive(Debug)]
pub struct BlockingPut {
    op: PutOp,
    by: Blocking,
}

impl BlockingPut {
    /// Gives the next bytes without copying them, waiting for room.
    ///
    /// # Errors
    /// As for [`PutOp::poll_ready`].
    pub fn push(&mut self, data: Bytes) -> Result<(), ClientError> {
        self.by.wait(self.op.write(data))?
    }

    /// As [`PutOp::poll_finish`], waiting for the end.
    ///
    /// # Errors
    /// As there.
    pub fn finish(&mut self) -> Result<Stored, ClientError> {
        self.by.wait(self.op.finish())?
    }

    /// As [`PutOp::poll_settled`], waiting for it.
    ///
    /// # Errors
    /// As there.
    pub fn settled(&mut self) -> Result<(), ClientError> {
        self.by.wait(self.op.settled())?
    }

    /// As [`PutOp::progress`].
    pub fn progress(&self) -> u64 {
        self.op.progress()
    }

    /// Gives the next bytes without copying them, if there is room; else they
    /// come back.
    ///
    /// # Errors
    /// As for [`PutOp::poll_ready`].
    pub fn try_push(&mut self, data: Bytes) -> Result<Option<Bytes>, ClientError> {
        match look(|cx| self.op.poll_ready(cx))? {
            Poll::Ready(()) => self.op.push(data),
            Poll::Pending => return Ok(Some(data)),
        }
        Ok(None)
    }

    /// Gives some of these bytes, as [`Write::write`].
    ///
    /// # Errors
    /// Of kind [`io::ErrorKind::WouldBlock`] if there is no room; else as for
    /// [`PutOp::poll_ready`].
    pub fn try_write(&mut self, data: &[u8]) -> io::Result<usize> {
        or_would_block(look(|cx| self.op.poll_write(cx, data)))
    }

    /// As [`PutOp::poll_finish`]: asks for the end, and tells of it once it is
    /// there.
    ///
    /// # Errors
    /// As there.
    pub fn try_finish(&mut self) -> Poll<Result<Stored, ClientError>> {
        look(|cx| self.op.poll_finish(cx))
    }

    /// As [`PutOp::poll_settled`].
    ///
    /// # Errors
    /// As there.
    pub fn try_settled(&mut self) -> Poll<Result<(), ClientError>> {
        look(|cx| self.op.poll_settled(cx))
    }
}

/// A listing that threads can iterate over. After an error nothing more comes.
#[derive(Debug)]
pub struct BlockingListing {
    listing: Listing,
    failed: bool,
    by: Blocking,
}

impl BlockingListing {
    /// As [`Listing::end`].
    pub fn end(&self) -> Option<Listed> {
        self.listing.end()
    }

    /// As [`Listing::poll_next`].
    ///
    /// # Errors
    /// As there.
    pub fn try_next(&mut self) -> Poll<Result<Option<Entry>, ClientError>> {
        look(|cx| self.listing.poll_next(cx))
    }
}

impl Iterator for BlockingListing {
    type Item = Result<Entry, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.by.wait(self.listing.next()).flatten();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// What happens to a node, for threads that can wait. It does not keep the
/// node alive. After an error nothing more comes.
#[derive(Debug)]
pub struct BlockingEvents {
    events: Events,
    shared: Weak<Shared>,
    failed: bool,
}

impl BlockingEvents {
    /// As [`Events::poll_next`].
    pub fn try_next(&mut self) -> Poll<Option<Notice>> {
        look(|cx| self.events.poll_next(cx))
    }
}

/// The only error is [`ClientError::WouldDeadlock`].
impl Iterator for BlockingEvents {
    type Item = Result<Notice, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.failed = self.shared.upgrade().is_some_and(|it| it.turned_here());
        if self.failed {
            return Some(Err(ClientError::WouldDeadlock));
        }
        park_on(self.events.next()).map(Ok)
    }
}

impl Write for BlockingPut {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let op = &mut self.op;
        self.by
            .wait(poll_fn(|cx| op.poll_write(cx, data)))
            .and_then(|n| n)
            .map_err(io::Error::from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.op.flush();
        Ok(())
    }
}

/// A get that threads can read from. Dropping it ends it.
#[derive(Debug)]
pub struct BlockingGet {
    pub(super) file: FileReader,
    pub(super) by: Blocking,
}

impl BlockingGet {
    /// What is being read.
    pub fn info(&self) -> &FileInfo {
        self.file.info()
    }

    /// The next bytes without copying them; `None` after the last.
    ///
    /// # Errors
    /// As for [`FileReader::poll_next`].
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.by.wait(self.file.next_bytes())?
    }

    /// As [`FileReader::poll_next`].
    ///
    /// # Errors
    /// As there.
    pub fn try_next_bytes(&mut self) -> Poll<Result<Option<Bytes>, ClientError>> {
        look(|cx| self.file.poll_next(cx))
    }

    /// Copies the next bytes, as [`Read::read`].
    ///
    /// # Errors
    /// Of kind [`io::ErrorKind::WouldBlock`] if there are none now; else as
    /// for [`FileReader::poll_read`].
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        or_would_block(look(|cx| self.file.poll_read(cx, buf)))
    }
}

impl Read for BlockingGet {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let file = &mut self.file;
        Ok(self.by.wait(poll_fn(|cx| file.poll_read(cx, buf)))??)
    }
}

impl BufRead for BlockingGet {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let file = &mut self.file;
        self.by
            .wait(poll_fn(|cx| file.poll_fill(cx).map_ok(drop)))??;
        Ok(self.file.filled())
    }

    fn consume(&mut self, count: usize) {
        self.file.consume(count);
    }
}

/// Asks once, and leaves nobody to be woken.
pub(super) fn look<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

fn or_would_block<T>(poll: Poll<Result<T, ClientError>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result.map_err(io::Error::from),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Parks this thread until the future is done.
fn park_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            // A token left by an earlier wake-up only polls once more.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
