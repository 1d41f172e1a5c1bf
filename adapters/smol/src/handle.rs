//! The handle, with files as [`AsyncRead`] and [`AsyncWrite`].

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite};
use peerhold_host::client::{Blocking, Events, ForgetOp, GetOp, Listing, PutOp, WriteOp};
use peerhold_host::peerhold_core::seal::{Name, Reader, Writer};
use peerhold_host::peerhold_core::{
    Entry, FileInfo, Forget, Get, History, List, NodeId, PeerStatus, Put, PutId, RecordId, Remove,
    Restore, Status, Stored,
};
use peerhold_host::{Client, ClientError, PutError};

use crate::io_error;

/// A source is read in pieces of this size; the first is smaller, as most
/// files are.
const READ: [usize; 2] = [16 << 10, 256 << 10];

/// A running node, for any number of tasks. When the last clone and the last
/// operation are dropped, the node ends.
#[derive(Clone, Debug)]
pub struct Handle {
    client: Client,
    addrs: Arc<[SocketAddr]>,
}

impl Handle {
    pub(crate) fn new(client: Client, addrs: Vec<SocketAddr>) -> Self {
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

    /// The same calls for threads that can wait.
    pub fn blocking(&self) -> Blocking {
        self.client.blocking()
    }

    /// Stores what `source` holds under a name. Dropping the future before
    /// it is done cancels the put.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put(
        &self,
        writer: &Writer,
        name: &Name,
        source: impl AsyncRead,
    ) -> Result<Stored, PutError> {
        let put = Put {
            writer: writer.clone(),
            name: name.clone(),
            modified: None,
        };
        let mut op = self.client.put(put)?;
        let mut source = pin!(source);
        let mut sizes = READ.iter().copied();
        let mut size = READ[0];
        loop {
            size = sizes.next().unwrap_or(size);
            let data = fill(source.as_mut(), size)
                .await
                .map_err(PutError::Source)?;
            let last = data.len() < size;
            op.write(data).await?;
            if last {
                return Ok(op.finish().await?);
            }
        }
    }

    /// Starts a put to be written to.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::ShuttingDown`] or
    /// [`ClientError::Closed`], before anything was done.
    pub fn put_writer(&self, put: Put) -> Result<PutWriter, ClientError> {
        Ok(PutWriter {
            op: self.client.put(put)?,
        })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ClientError`], for instance that there is no such file.
    pub async fn get(&self, reader: &Reader, name: &Name) -> Result<GetReader, ClientError> {
        let get = Get::newest(reader, name);
        self.get_with(get).await
    }

    /// Opens a part of a file for reading; a range that reaches past the end
    /// is cut there.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub async fn get_range(
        &self,
        reader: &Reader,
        name: &Name,
        range: Range<u64>,
    ) -> Result<GetReader, ClientError> {
        let get = Get {
            range: Some(range),
            ..Get::newest(reader, name)
        };
        self.get_with(get).await
    }

    /// Opens a file as told.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub async fn get_with(&self, get: Get) -> Result<GetReader, ClientError> {
        let mut op = self.client.get(get)?;
        let info = op.open().await?;
        Ok(GetReader {
            op,
            info,
            rest: Bytes::new(),
        })
    }

    /// Starts a remove: a future of its end.
    ///
    /// # Errors
    /// As for [`Handle::put_writer`].
    pub fn remove(&self, writer: &Writer, name: &Name) -> Result<WriteOp, ClientError> {
        self.client.remove(Remove {
            writer: writer.clone(),
            name: name.clone(),
        })
    }

    /// Opens an older version of a file for reading: one that
    /// [`Handle::history`] tells of.
    ///
    /// # Errors
    /// As for [`Handle::get`].
    pub async fn get_version(
        &self,
        reader: &Reader,
        name: &Name,
        version: RecordId,
    ) -> Result<GetReader, ClientError> {
        let get = Get::version(reader, name, version);
        self.get_with(get).await
    }

    /// Starts making the content of an older version the newest: a future of
    /// its end.
    ///
    /// # Errors
    /// As for [`Handle::put_writer`].
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
    /// As for [`Handle::put_writer`].
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
    /// As for [`Handle::put_writer`].
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
    /// As for [`Handle::put_writer`].
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
    /// As for [`Handle::status`].
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
    /// As for [`Handle::status`].
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

/// Reads until the buffer is full or the source has ended.
async fn fill(mut source: Pin<&mut impl AsyncRead>, size: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(size);
    let mut len = 0;
    while len < size {
        match source.read(&mut buffer[len..]).await {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if len < size / 2 {
        // A small end does not keep a large buffer.
        return Ok(Bytes::copy_from_slice(&buffer[..len]));
    }
    buffer.truncate(len);
    Ok(buffer.freeze())
}

/// A put to be written to. [`PutWriter::finish`], or closing it, makes the
/// file durable; dropped before that, the put is cancelled.
#[derive(Debug)]
pub struct PutWriter {
    op: PutOp,
}

impl PutWriter {
    /// Says that these were all bytes, and waits until the file is durable.
    ///
    /// # Errors
    /// Why it is not, or that nobody can say: see [`ClientError`].
    pub async fn finish(&mut self) -> Result<Stored, ClientError> {
        self.op.finish().await
    }

    /// Waits until all R members have everything: perhaps long after
    /// [`PutWriter::finish`], perhaps for ever.
    ///
    /// # Errors
    /// How the put failed, or [`ClientError::Closed`].
    pub async fn settled(&mut self) -> Result<(), ClientError> {
        self.op.settled().await
    }

    /// What this put is called in the history of its name: see
    /// [`PutOp::poll_id`].
    ///
    /// # Errors
    /// How it ended, if it never began.
    pub async fn id(&mut self) -> Result<PutId, ClientError> {
        self.op.id().await
    }

    /// Plaintext bytes that are durable at W members.
    pub fn progress(&self) -> u64 {
        self.op.progress()
    }

    /// Gives the next bytes without copying them, waiting for room.
    ///
    /// # Errors
    /// How the put ended, if it has.
    pub async fn push(&mut self, data: Bytes) -> Result<(), ClientError> {
        self.op.write(data).await
    }
}

impl AsyncWrite for PutWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.op.poll_write(cx, data).map_err(io_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.op.flush();
        Poll::Ready(Ok(()))
    }

    /// As [`PutWriter::finish`], which still tells what was stored.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.op.poll_finish(cx).map_ok(drop).map_err(io_error)
    }
}

/// A file being read. Not reading on holds up this get and nothing else;
/// dropping it ends the get.
pub struct GetReader {
    op: GetOp,
    info: FileInfo,
    rest: Bytes,
}

/// Without the bytes in it.
impl fmt::Debug for GetReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetReader")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl GetReader {
    /// What is being read.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The next bytes without copying them; `None` after the last.
    ///
    /// # Errors
    /// Why there are no more, though there should be.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        self.op.read().await
    }
}

impl AsyncRead for GetReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let data = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = data.len().min(buf.len());
        buf[..count].copy_from_slice(&data[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncBufRead for GetReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(this.op.poll_read(cx)).map_err(io_error)? {
                Some(data) => this.rest = data,
                None => return Poll::Ready(Ok(&[])),
            }
        }
        Poll::Ready(Ok(&this.rest))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        let count = count.min(self.rest.len());
        self.rest.advance(count);
    }
}
