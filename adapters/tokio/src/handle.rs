//! The handle, with files as [`AsyncRead`] and [`AsyncWrite`].

use std::io;
use std::ops::{Deref, Range};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use peerhold_host::client::{FileReader, NodeHandle, PutOp};
use peerhold_host::peerhold_core::seal::{Name, Reader, Writer};
use peerhold_host::peerhold_core::{FileInfo, Get, Put, PutId, RecordId, Stored};
use peerhold_host::{ClientError, PutError};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// A running node, for any number of tasks. When the last clone and the last
/// operation are dropped, the node ends.
///
/// What has nothing to do with a runtime is in [`NodeHandle`], to which this
/// dereferences.
#[derive(Clone, Debug)]
pub struct Handle {
    node: NodeHandle,
}

impl Deref for Handle {
    type Target = NodeHandle;

    fn deref(&self) -> &NodeHandle {
        &self.node
    }
}

impl Handle {
    pub(crate) fn new(node: NodeHandle) -> Self {
        Self { node }
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
        let mut source = pin!(source);
        self.client()
            .put_from(put, |cx, buf| {
                let mut buf = ReadBuf::new(buf);
                ready!(source.as_mut().poll_read(cx, &mut buf))?;
                Poll::Ready(Ok(buf.filled().len()))
            })
            .await
    }

    /// Starts a put to be written to.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::ShuttingDown`] or
    /// [`ClientError::Closed`], before anything was done.
    pub fn put_writer(&self, put: Put) -> Result<PutWriter, ClientError> {
        Ok(PutWriter {
            op: self.client().put(put)?,
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
        Ok(GetReader {
            file: self.client().open(get).await?,
        })
    }

    /// Opens an older version of a file for reading: one that
    /// [`NodeHandle::history`] tells of.
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
}

/// A put to be written to. [`PutWriter::finish`], or shutting it down, makes the
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
        self.op.poll_write(cx, data).map_err(io::Error::from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.op.flush();
        Poll::Ready(Ok(()))
    }

    /// As [`PutWriter::finish`], which still tells what was stored.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.op
            .poll_finish(cx)
            .map_ok(drop)
            .map_err(io::Error::from)
    }
}

/// A file being read. Not reading on holds up this get and nothing else;
/// dropping it ends the get.
#[derive(Debug)]
pub struct GetReader {
    file: FileReader,
}

impl GetReader {
    /// What is being read.
    pub fn info(&self) -> &FileInfo {
        self.file.info()
    }

    /// The next bytes without copying them; `None` after the last.
    ///
    /// # Errors
    /// Why there are no more, though there should be.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.file.next_bytes().await
    }
}

impl AsyncRead for GetReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let data = ready!(self.file.poll_fill(cx)).map_err(io::Error::from)?;
        let count = data.len().min(buf.remaining());
        buf.put_slice(&data[..count]);
        self.file.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for GetReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let file = &mut self.get_mut().file;
        file.poll_fill(cx).map_err(io::Error::from)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.file.consume(count);
    }
}
