//! Operations as their callers hold them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use peerhold_core::{FileInfo, Outcome, PutId, Stored};

use super::cell::{Cell, State};
use super::{Client, ClientError};

/// The node is given a put's bytes in pieces of at most this many.
const PIECE: usize = 64 << 10;

/// An operation's place in the engine. Dropping it ends the operation, if that
/// has not ended.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) client: Client,
    pub(super) cell: Arc<Cell>,
}

impl Held {
    pub(super) fn touch(&self) {
        self.client.shared.touch(&self.cell);
    }

    fn progress(&self) -> u64 {
        self.cell.state().progress
    }

    /// Ready when it has come further than `seen`, or has ended.
    fn poll_progress(&self, seen: u64, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.cell.state();
        if state.progress != seen || state.end.is_some() {
            state.watches = None;
            return Poll::Ready(state.progress);
        }
        state.watches = Some(seen);
        state.wait(cx);
        Poll::Pending
    }

    /// What the node calls this put, removal or restoring.
    fn poll_id(&self, cx: &Context<'_>) -> Poll<Result<PutId, ClientError>> {
        let mut state = self.cell.state();
        match (state.put, &state.end) {
            (Some(put), _) => Poll::Ready(Ok(put)),
            (None, Some(Err(error))) => Poll::Ready(Err(error.clone())),
            (None, Some(Ok(_))) => Poll::Ready(Err(ClientError::Closed)),
            (None, None) => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// How it ended, once it has. Asking again answers the same.
    fn poll_end(&self, cx: &Context<'_>) -> Poll<Result<Outcome, ClientError>> {
        let mut state = self.cell.state();
        match &state.end {
            Some(end) => Poll::Ready(end.clone()),
            None => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.client.shared.withdraw(&self.cell) {
            return;
        }
        {
            let mut state = self.cell.state();
            state.gone = true;
            state.clear();
        }
        self.touch();
    }
}

/// A put that runs. Its bytes are given with [`PutOp::write`], and
/// [`PutOp::finish`] says that these were all. Dropped before it has
/// finished, it is cancelled: the name keeps its old content, unless
/// `finish` had been asked for, when nobody can say.
pub struct PutOp {
    held: Held,
    /// Small writes gather here.
    tail: BytesMut,
}

/// Without the bytes in it.
impl fmt::Debug for PutOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutOp")
            .field("held", &self.held)
            .field("tail", &self.tail.len())
            .finish()
    }
}

impl PutOp {
    pub(super) fn new(held: Held) -> Self {
        Self {
            held,
            tail: BytesMut::new(),
        }
    }

    /// Ready when the next bytes may be given.
    ///
    /// # Errors
    /// How the put ended, if it has: it takes no more.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let mut state = self.held.cell.state();
        match &state.end {
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            Some(Ok(_)) => Poll::Ready(Err(ClientError::Finished)),
            None if state.finish => Poll::Ready(Err(ClientError::Finished)),
            None if state.buffered < self.held.client.shared.sizes.put_buffer => {
                Poll::Ready(Ok(()))
            }
            None => {
                state.wants_room = true;
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Gives the next bytes without copying them. They wait in memory until
    /// the node takes them, so [`PutOp::poll_ready`] is to be asked before.
    pub fn push(&mut self, mut data: Bytes) {
        self.flush();
        let mut state = self.held.cell.state();
        while data.has_remaining() {
            let piece = data.split_to(data.len().min(PIECE));
            state.push(piece);
        }
        drop(state);
        self.held.touch();
    }

    /// Gives some of these bytes, and says how many; small writes gather
    /// until there are 64 KiB, or until [`PutOp::flush`].
    ///
    /// # Errors
    /// As for [`PutOp::poll_ready`].
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, ClientError>> {
        ready!(self.poll_ready(cx))?;
        if self.tail.capacity() == 0 {
            self.tail.reserve(PIECE.min(data.len().next_power_of_two()));
        }
        let count = data.len().min(PIECE - self.tail.len());
        self.tail.extend_from_slice(&data[..count]);
        if self.tail.len() == PIECE {
            self.flush();
        }
        Poll::Ready(Ok(count))
    }

    /// Hands on what small writes have gathered.
    pub fn flush(&mut self) {
        if !self.tail.is_empty() {
            let piece = std::mem::take(&mut self.tail).freeze();
            self.held.cell.state().push(piece);
            self.held.touch();
        }
    }

    /// Says that these were all bytes. Ready when the file is durable at W
    /// members.
    ///
    /// # Errors
    /// Why it is not, or that nobody can say: see [`ClientError`].
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stored, ClientError>> {
        self.flush();
        let first = !std::mem::replace(&mut self.held.cell.state().finish, true);
        if first {
            self.held.touch();
        }
        stored(ready!(self.held.poll_end(cx)))
    }

    /// Ready when all R members have everything: perhaps long after the put
    /// has finished, perhaps never.
    ///
    /// # Errors
    /// How the put failed, or [`ClientError::Closed`].
    pub fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        poll_settled(&mut self.held.cell.state(), cx)
    }

    /// Plaintext bytes that are durable at W members.
    pub fn progress(&self) -> u64 {
        self.held.progress()
    }

    /// Ready, with [`PutOp::progress`], when that is another than `seen` or
    /// the put has ended.
    pub fn poll_progress(&mut self, seen: u64, cx: &mut Context<'_>) -> Poll<u64> {
        self.held.poll_progress(seen, cx)
    }

    /// What this put is called in the history of its name, by which an outcome
    /// that nobody could tell is found again: see
    /// [`Client::outcome`](super::Client::outcome). Ready when the node has
    /// begun it.
    ///
    /// # Errors
    /// How it ended, if it never began.
    pub fn poll_id(&mut self, cx: &mut Context<'_>) -> Poll<Result<PutId, ClientError>> {
        self.held.poll_id(cx)
    }

    /// The future of [`PutOp::poll_id`].
    ///
    /// # Errors
    /// As there.
    pub async fn id(&mut self) -> Result<PutId, ClientError> {
        poll_fn(|cx| self.poll_id(cx)).await
    }

    /// Gives the next bytes, waiting for room.
    ///
    /// # Errors
    /// As for [`PutOp::poll_ready`].
    pub async fn write(&mut self, data: Bytes) -> Result<(), ClientError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.push(data);
        Ok(())
    }

    /// The future of [`PutOp::poll_finish`].
    ///
    /// # Errors
    /// As there.
    pub async fn finish(&mut self) -> Result<Stored, ClientError> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// The future of [`PutOp::poll_settled`].
    ///
    /// # Errors
    /// As there.
    pub async fn settled(&mut self) -> Result<(), ClientError> {
        poll_fn(|cx| self.poll_settled(cx)).await
    }
}

/// A get that runs. Dropping it ends it.
#[derive(Debug)]
pub struct GetOp {
    held: Held,
}

impl GetOp {
    pub(super) fn new(held: Held) -> Self {
        Self { held }
    }

    /// Ready when the file is found.
    ///
    /// # Errors
    /// Why there is none: see [`ClientError`].
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<FileInfo, ClientError>> {
        let mut state = self.held.cell.state();
        match (&state.info, &state.end) {
            (Some(info), _) => Poll::Ready(Ok(info.clone())),
            (None, Some(Err(error))) => Poll::Ready(Err(error.clone())),
            (None, Some(Ok(Outcome::Read(info)))) => Poll::Ready(Ok(info.clone())),
            (None, Some(Ok(_))) => Poll::Ready(Err(ClientError::Closed)),
            (None, None) => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    /// The next bytes; `None` after the last. Not taking them holds the get
    /// up, and nothing else.
    ///
    /// # Errors
    /// Why there are no more, though there should be. What was handed over
    /// before is right.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ClientError>> {
        let low = self.held.client.shared.sizes.get_buffer / 2;
        let mut state = self.held.cell.state();
        if let Some(data) = state.pop() {
            // Not for every piece: half a buffer of room is worth a wake-up.
            let low_now = state.end.is_none() && state.buffered <= low;
            drop(state);
            if low_now {
                self.held.touch();
            }
            return Poll::Ready(Ok(Some(data)));
        }
        state.poll_no_more(cx)
    }

    /// Plaintext bytes that the node has handed over.
    pub fn progress(&self) -> u64 {
        self.held.progress()
    }

    /// Ready, with [`GetOp::progress`], when that is another than `seen` or
    /// the get has ended.
    pub fn poll_progress(&mut self, seen: u64, cx: &mut Context<'_>) -> Poll<u64> {
        self.held.poll_progress(seen, cx)
    }

    /// The future of [`GetOp::poll_open`].
    ///
    /// # Errors
    /// As there.
    pub async fn open(&mut self) -> Result<FileInfo, ClientError> {
        poll_fn(|cx| self.poll_open(cx)).await
    }

    /// The future of [`GetOp::poll_read`].
    ///
    /// # Errors
    /// As there.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ClientError> {
        poll_fn(|cx| self.poll_read(cx)).await
    }
}

/// A remove or a restore that runs: a future of its end. Dropping it before
/// that cancels it; whether it took hold is not known then.
#[derive(Debug)]
#[must_use = "a remove or restore that is dropped is cancelled"]
pub struct WriteOp {
    held: Held,
}

impl WriteOp {
    pub(super) fn new(held: Held) -> Self {
        Self { held }
    }

    /// Ready when all R members have everything.
    ///
    /// # Errors
    /// How it failed, or [`ClientError::Closed`].
    pub fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        poll_settled(&mut self.held.cell.state(), cx)
    }

    /// The future of [`WriteOp::poll_settled`].
    ///
    /// # Errors
    /// As there.
    pub async fn settled(&mut self) -> Result<(), ClientError> {
        poll_fn(|cx| self.poll_settled(cx)).await
    }

    /// As [`PutOp::poll_id`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_id(&mut self, cx: &mut Context<'_>) -> Poll<Result<PutId, ClientError>> {
        self.held.poll_id(cx)
    }

    /// The future of [`WriteOp::poll_id`].
    ///
    /// # Errors
    /// As there.
    pub async fn id(&mut self) -> Result<PutId, ClientError> {
        poll_fn(|cx| self.poll_id(cx)).await
    }

    /// A restore's plaintext bytes that are durable at W members.
    pub fn progress(&self) -> u64 {
        self.held.progress()
    }

    /// As [`PutOp::poll_progress`].
    pub fn poll_progress(&mut self, seen: u64, cx: &mut Context<'_>) -> Poll<u64> {
        self.held.poll_progress(seen, cx)
    }
}

impl Future for WriteOp {
    type Output = Result<Stored, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        stored(ready!(self.held.poll_end(cx)))
    }
}

/// What a forget came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Blobs dropped here.
    pub blobs: u64,
    /// Blobs kept, as too few other replicas have them.
    pub kept: u64,
}

/// A forget that runs: a future of its end. Dropping it before that ends it
/// where it is.
#[derive(Debug)]
#[must_use = "a forget that is dropped is cancelled"]
pub struct ForgetOp {
    held: Held,
}

impl ForgetOp {
    pub(super) fn new(held: Held) -> Self {
        Self { held }
    }
}

impl Future for ForgetOp {
    type Output = Result<Forgotten, ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.held.poll_end(cx)) {
            Ok(Outcome::Forgotten { blobs, kept }) => Ok(Forgotten { blobs, kept }),
            Ok(_) => Err(ClientError::Closed),
            Err(error) => Err(error),
        })
    }
}

fn stored(end: Result<Outcome, ClientError>) -> Poll<Result<Stored, ClientError>> {
    Poll::Ready(match end {
        Ok(Outcome::Stored(stored) | Outcome::Removed(stored)) => Ok(stored),
        Ok(_) => Err(ClientError::Closed),
        Err(error) => Err(error),
    })
}

fn poll_settled(state: &mut State, cx: &Context<'_>) -> Poll<Result<(), ClientError>> {
    match &state.end {
        _ if state.settled => Poll::Ready(Ok(())),
        Some(Err(error)) => Poll::Ready(Err(error.clone())),
        Some(Ok(_)) if state.closed => Poll::Ready(Err(ClientError::Closed)),
        _ => {
            state.wait(cx);
            Poll::Pending
        }
    }
}
