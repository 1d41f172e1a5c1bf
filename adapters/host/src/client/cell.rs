//! One operation, as its caller and the engine both see it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use peerhold_core::{Entry, FileInfo, OpId, Outcome, PutId};

use super::ClientError;
use crate::lock;

/// The place where caller and engine meet. Neither holds its lock while it
/// takes another.
#[derive(Default)]
pub(crate) struct Cell {
    /// It is in the engine's list of touched cells.
    touched: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// The operation, once the node has taken the command.
    pub(crate) op: Option<OpId>,
    /// A put's bytes for the node, or a get's for the caller.
    pub(crate) data: VecDeque<Bytes>,
    /// Bytes in `data`.
    pub(crate) buffered: usize,
    /// A listing's entries for the caller.
    pub(crate) entries: VecDeque<Entry>,
    /// What the node calls a put, once it has begun.
    pub(crate) put: Option<PutId>,
    /// A put's caller waits until `buffered` is less.
    pub(crate) wants_room: bool,
    /// A put's caller has said that there is no more.
    pub(crate) finish: bool,
    /// What a get has found.
    pub(crate) info: Option<FileInfo>,
    /// How far it has come, as the node last said.
    pub(crate) progress: u64,
    /// The caller waits until `progress` is another than this.
    pub(crate) watches: Option<u64>,
    /// How it ended.
    pub(crate) end: Option<Result<Outcome, ClientError>>,
    /// All copies are there.
    pub(crate) settled: bool,
    /// The caller has dropped it: end it, and forget it.
    pub(crate) gone: bool,
    /// The engine has dropped it: there will be no more news.
    pub(crate) closed: bool,
    waker: Option<Waker>,
}

impl Cell {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// `true` if the engine has to be told; it has been already otherwise.
    pub(crate) fn touch(&self) -> bool {
        !self.touched.swap(true, Ordering::AcqRel)
    }

    /// The engine looks at it: what is done to it from now on has to be told
    /// again.
    pub(crate) fn untouch(&self) {
        self.touched.store(false, Ordering::Release);
    }

    /// Changes the state and wakes the caller.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It has ended. The first end holds.
    pub(crate) fn end(&self, result: Result<Outcome, ClientError>) {
        self.tell(|state| {
            state.end.get_or_insert(result);
        });
    }

    /// The engine will have no more news of it. If it has not ended, nobody
    /// knows how it does.
    pub(crate) fn close(&self) {
        self.tell(|state| {
            state.closed = true;
            state.end.get_or_insert(Err(ClientError::Closed));
        });
    }
}

impl State {
    /// Wakes this caller at the next change.
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// Nothing is here for the caller: `None` if nothing more comes.
    pub(crate) fn poll_no_more<T>(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<T>, ClientError>> {
        match &self.end {
            Some(Ok(_)) => Poll::Ready(Ok(None)),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                self.wait(cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        self.buffered += data.len();
        self.data.push_back(data);
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let data = self.data.pop_front()?;
        self.buffered -= data.len();
        Some(data)
    }

    pub(crate) fn unpop(&mut self, data: Bytes) {
        self.buffered += data.len();
        self.data.push_front(data);
    }

    pub(crate) fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
        self.buffered = 0;
    }
}

/// Without the bytes and names in it: they are the caller's.
impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Cell")
            .field("op", &state.op)
            .field("buffered", &state.buffered)
            .field("progress", &state.progress)
            .field("ended", &state.end.is_some())
            .finish_non_exhaustive()
    }
}
