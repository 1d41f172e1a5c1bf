//! The driver: one future that turns the engine, moves bytes between it and
//! the sockets, and sleeps.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use peerhold_host::{Engine, ReadySet, SocketId, StartError};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::coop;
use tokio::time::{self, Sleep};

use crate::net::{self, Socket};

/// Rounds before other tasks of the runtime have their turn.
const ROUNDS: usize = 16;

/// Does a node's work while it is polled, and is done when the node has ended
/// (see [`NodeHandle::shutdown`](crate::NodeHandle::shutdown)).
///
/// It may be spawned on any runtime of tokio's or be blocked on there, and is
/// then polled on that one for as long as it lives. Dropping it ends the node
/// abruptly: calls on handles end with
/// [`ClientError::Closed`](crate::ClientError::Closed), threads are joined,
/// the data directory is released.
///
/// # Errors
/// Its first poll ends with [`StartError::Runtime`] if it is outside of a
/// runtime, and with [`StartError::Listen`] if the runtime cannot take the
/// listeners; later ones do not fail. The node has then done nothing, and ends
/// when the driver is dropped.
///
/// # Panics
/// Polling it panics, as tokio's own types do, on a runtime without timers, at
/// once, or without IO, when it is to listen or to dial.
#[must_use = "a node does nothing unless its driver is polled"]
pub struct Driver {
    engine: Engine,
    /// Those that no runtime knows yet.
    unregistered: Vec<StdListener>,
    listeners: Vec<TcpListener>,
    sockets: BTreeMap<SocketId, Socket>,
    ready: ReadySet<Key>,
    /// Made where the runtime is: by the first poll.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the timer was last set to, unless that has come.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Listener(usize),
    Conn(SocketId),
}

impl Driver {
    pub(crate) fn new(engine: Engine, listeners: Vec<StdListener>) -> Self {
        let mut ready = ReadySet::new();
        (0..listeners.len()).for_each(|index| ready.insert(Key::Listener(index)));
        Self {
            engine,
            unregistered: listeners,
            listeners: Vec::new(),
            sockets: BTreeMap::new(),
            ready,
            timer: None,
            deadline: None,
        }
    }

    /// Makes the runtime know what needs it.
    fn begin(&mut self) -> Result<(), StartError> {
        if Handle::try_current().is_err() {
            return Err(StartError::Runtime(
                "the node's driver was polled outside of a tokio runtime: spawn it on one",
            ));
        }
        self.listeners = net::register(std::mem::take(&mut self.unregistered))?;
        self.timer = Some(Box::pin(time::sleep(Duration::ZERO)));
        Ok(())
    }

    /// Serves the sockets that are ready at its start.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            match self.ready.pop() {
                Some(Key::Listener(index)) => self.accept(index),
                Some(Key::Conn(conn)) => self.serve(conn),
                None => return,
            }
        }
    }

    fn accept(&mut self, index: usize) {
        let key = Key::Listener(index);
        let (Some(listener), Some(waker)) =
            (self.listeners.get(index), self.ready.waker(key).cloned())
        else {
            return;
        };
        let mut cx = Context::from_waker(&waker);
        let (sockets, ready) = (&mut self.sockets, &mut self.ready);
        let tuning = self.engine.tuning();
        let accept = || net::poll_accept(listener, tuning, &mut cx);
        let more = self.engine.accept_some(index, accept, |conn, socket| {
            sockets.insert(conn, socket);
            ready.insert(Key::Conn(conn));
        });
        if more {
            self.ready.mark(key);
        }
    }

    fn serve(&mut self, conn: SocketId) {
        let key = Key::Conn(conn);
        let (Some(socket), Some(waker)) =
            (self.sockets.get_mut(&conn), self.ready.waker(key).cloned())
        else {
            return;
        };
        if socket.serve(&mut self.engine, conn, &mut Context::from_waker(&waker)) {
            self.ready.mark(key);
        }
    }

    /// Does with sockets what the last turn asked for.
    fn obey(&mut self) {
        while let Some(dial) = self.engine.poll_dial() {
            self.sockets.insert(dial.conn, Socket::dial(dial.addr));
            self.ready.insert(Key::Conn(dial.conn));
        }
        while let Some(index) = self.engine.poll_listener() {
            self.ready.mark(Key::Listener(index));
        }
        while let Some(conn) = self.engine.poll_changed() {
            self.serve(conn);
        }
        while let Some(conn) = self.engine.poll_shut() {
            if let Some(socket) = self.sockets.get_mut(&conn) {
                socket.shut();
            }
            // The end may have come already.
            self.serve(conn);
        }
        while let Some(conn) = self.engine.poll_close() {
            self.ready.remove(Key::Conn(conn));
            self.sockets.remove(&conn);
        }
    }

    /// Sets the timer. `false`: its time has come already.
    fn sleep(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        // Without a deadline one that was set may wake once for nothing.
        let (Some(timer), Some(at)) = (&mut self.timer, deadline) else {
            return true;
        };
        if deadline != self.deadline {
            self.deadline = deadline;
            timer.as_mut().reset(time::Instant::from_std(at));
        }
        if timer.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.deadline = None;
        false
    }
}

impl Future for Driver {
    type Output = Result<(), StartError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.timer.is_none() {
            this.begin()?;
        }
        for _ in 0..ROUNDS {
            this.engine.register(cx.waker());
            this.ready.register(cx.waker());
            this.serve_ready();
            let turn = this.engine.turn();
            if turn.done {
                this.sockets.clear();
                this.listeners.clear();
                return Poll::Ready(Ok(()));
            }
            this.obey();
            // From a task that has had its share tokio withholds readiness.
            if !coop::has_budget_remaining() {
                break;
            }
            if turn.more || this.engine.restless() || !this.ready.is_empty() {
                continue;
            }
            if this.sleep(turn.deadline, cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("engine", &self.engine)
            .field("sockets", &self.sockets.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
