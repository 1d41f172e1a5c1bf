//! Files on their way between an operation and a caller who reads or is read
//! from: what drivers' readers and puts share.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use peerhold_core::{FileInfo, Get, Put, Stored};

use super::{Client, ClientError, GetOp, PutError};

/// A source is read in pieces of this size..
const PIECE: usize = 256 << 10;
/// ..of which the first is smaller, as most files are.
const PIECE_FIRST: usize = 16 << 10;

/// A get whose file was found, with the bytes that its caller has not taken.
/// Not reading on holds up this get and nothing else; dropping it ends the
/// get.
pub struct FileReader {
    op: GetOp,
    info: FileInfo,
    rest: Bytes,
}

/// Without the bytes in it.
impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl FileReader {
    /// What is being read.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// The next bytes without copying them; `None` after the last.
    ///
    /// # Errors
    /// As for [`GetOp::poll_read`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        self.op.poll_read(cx)
    }

    /// The future of [`FileReader::poll_next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next bytes, left where they are until [`FileReader::consume`];
    /// none after the last.
    ///
    /// # Errors
    /// As for [`GetOp::poll_read`].
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], ClientError>> {
        while self.rest.is_empty() {
            match ready!(self.op.poll_read(cx))? {
                Some(data) => self.rest = data,
                None => break,
            }
        }
        Poll::Ready(Ok(&self.rest))
    }

    /// What [`FileReader::poll_fill`] has shown last, and is not taken yet.
    pub(super) fn filled(&self) -> &[u8] {
        &self.rest
    }

    /// Takes so many bytes of those that [`FileReader::poll_fill`] has shown.
    pub fn consume(&mut self, count: usize) {
        self.rest.advance(count.min(self.rest.len()));
    }

    /// Copies the next bytes, and says how many; none after the last.
    ///
    /// # Errors
    /// As for [`GetOp::poll_read`].
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, ClientError>> {
        let data = ready!(self.poll_fill(cx))?;
        let count = data.len().min(buf.len());
        buf[..count].copy_from_slice(&data[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl Client {
    /// Starts a get and waits until the file is found.
    ///
    /// # Errors
    /// As for [`Client::get`] and [`GetOp::poll_open`].
    pub async fn open(&self, get: Get) -> Result<FileReader, ClientError> {
        let mut op = self.get(get)?;
        let info = op.open().await?;
        Ok(FileReader {
            op,
            info,
            rest: Bytes::new(),
        })
    }

    /// Puts what `source` reads: it is polled as a reader is, into the slice
    /// given, and says how many bytes it has read; none at the end. Dropping
    /// the future before it is done cancels the put.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put_from(
        &self,
        put: Put,
        mut source: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Result<Stored, PutError> {
        let mut op = self.put(put)?;
        let mut size = PIECE_FIRST;
        loop {
            let data = piece(size, &mut source).await.map_err(PutError::Source)?;
            let last = data.len() < size;
            op.write(data).await?;
            if last {
                return Ok(op.finish().await?);
            }
            size = PIECE;
        }
    }
}

/// Reads until there are so many bytes or the source has ended.
async fn piece(
    size: usize,
    mut source: impl FnMut(&mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(size);
    let mut len = 0;
    while len < size {
        match poll_fn(|cx| source(cx, &mut buffer[len..])).await {
            Ok(0) => break,
            // A source that says more than there was room for is as good as any
            // that lies.
            Ok(count) => len = size.min(len + count),
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
