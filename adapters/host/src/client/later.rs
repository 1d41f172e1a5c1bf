//! Calls that are looked at now and then: for the thread that turns the
//! engine, which can wait for none of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{
    Entry, FileInfo, Forget, Get, Name, Put, PutId, Reader, Remove, Restore, Status, Stored,
};

use super::blocking::look;
use super::{Blocking, BlockingGet, Client, ClientError, Forgotten};

/// A call that has begun. Dropped before its answer is there, it is cancelled
/// as its future would be.
#[must_use = "a call that is dropped is cancelled"]
pub struct Later<T> {
    state: State<T>,
}

enum State<T> {
    Runs(Pin<Box<dyn Future<Output = T> + Send>>),
    Answered(T),
    Taken,
}

impl<T> Later<T> {
    fn begin(future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut later = Self {
            state: State::Runs(Box::pin(future)),
        };
        // Only what is polled begins.
        later.advance();
        later
    }

    /// The answer, once. `Pending` until it is there, and after it was taken.
    /// It cannot come before the node has been turned.
    pub fn try_take(&mut self) -> Poll<T> {
        self.advance();
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Answered(answer) => Poll::Ready(answer),
            state => {
                self.state = state;
                Poll::Pending
            }
        }
    }

    fn advance(&mut self) {
        if let State::Runs(future) = &mut self.state
            && let Poll::Ready(answer) = look(|cx| future.as_mut().poll(cx))
        {
            self.state = State::Answered(answer);
        }
    }
}

/// Without the answer, which may hold names.
impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Runs(_) => "Runs",
            State::Answered(_) => "Answered",
            State::Taken => "Taken",
        };
        f.debug_tuple("Later").field(&state).finish()
    }
}

/// The same calls for the thread that turns the engine. None of them waits.
impl Blocking {
    /// Begins anything that futures of this node do.
    pub fn try_run<F: Future + Send + 'static>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> Later<F::Output> {
        Later::begin(call(self.client.clone()))
    }

    /// Begins [`Client::put_bytes`].
    pub fn try_put_bytes(&self, put: Put, data: Bytes) -> Later<Result<Stored, ClientError>> {
        self.try_run(|client| async move { client.put_bytes(put, data).await })
    }

    /// Begins [`Blocking::get`].
    pub fn try_get(&self, get: Get) -> Later<Result<BlockingGet, ClientError>> {
        let by = self.clone();
        self.try_run(|client| async move {
            let file = client.open(get).await?;
            Ok(BlockingGet { file, by })
        })
    }

    /// Begins [`Client::get_bytes`].
    pub fn try_get_bytes(
        &self,
        get: Get,
        max: usize,
    ) -> Later<Result<(FileInfo, Bytes), ClientError>> {
        self.try_run(|client| async move { client.get_bytes(get, max).await })
    }

    /// Begins [`Client::remove`].
    pub fn try_remove(&self, remove: Remove) -> Later<Result<Stored, ClientError>> {
        self.try_run(|client| async move { client.remove(remove)?.await })
    }

    /// Begins [`Client::restore`].
    pub fn try_restore(&self, restore: Restore) -> Later<Result<Stored, ClientError>> {
        self.try_run(|client| async move { client.restore(restore)?.await })
    }

    /// Begins [`Client::forget`].
    pub fn try_forget(&self, forget: Forget) -> Later<Result<Forgotten, ClientError>> {
        self.try_run(|client| async move { client.forget(forget)?.await })
    }

    /// Begins [`Client::outcome`].
    pub fn try_outcome(
        &self,
        reader: &Reader,
        name: &Name,
        put: PutId,
    ) -> Later<Result<Option<Entry>, ClientError>> {
        let (reader, name) = (reader.clone(), name.clone());
        self.try_run(|client| async move { client.outcome(&reader, &name, put).await })
    }

    /// Begins [`Client::status`].
    pub fn try_status(&self) -> Later<Result<Status, ClientError>> {
        self.try_run(|client| async move { client.status().await })
    }

    /// Begins [`Client::wait_until`].
    pub fn try_wait_until(
        &self,
        wanted: impl FnMut(&Status) -> bool + Send + 'static,
    ) -> Later<Result<Status, ClientError>> {
        self.try_run(|client| async move { client.wait_until(wanted).await })
    }

    /// Begins [`Client::shutdown`].
    pub fn try_shutdown(&self, limit: Duration) -> Later<()> {
        self.try_run(|client| client.shutdown(limit))
    }
}
