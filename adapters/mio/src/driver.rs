//! The driver: a loop around one poll that turns the engine, moves bytes
//! between it and the sockets, and sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use peerhold_host::{Engine, SocketId, StartError};

use crate::net::{Listener, Socket};

/// What the system tells in one poll at most.
const EVENTS: usize = 256;
/// The poll's name of the waker. Listeners have the first ones, in their
/// order, and connections all others.
const WAKER: Token = Token(usize::MAX);

/// Does a node's work while it is turned: by [`Driver::run`], which gives it a
/// thread, or by [`Driver::turn`] in a loop of the caller's.
///
/// Dropping it ends the node abruptly: calls on handles end with
/// [`ClientError::Closed`](crate::ClientError::Closed), threads are joined,
/// the data directory is released.
///
/// # Inside another poll
///
/// On Unix a driver has a file descriptor, which becomes readable when there
/// is something to do. Whoever waits for it, until [`Driver::deadline`] at the
/// latest, and then turns the driver without waiting,
/// `turn(Some(Duration::ZERO))`, can do without a thread for it.
#[must_use = "a node does nothing unless its driver is turned"]
pub struct Driver {
    engine: Engine,
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    sockets: BTreeMap<SocketId, Socket>,
    /// The poll's names of them.
    conns: BTreeMap<Token, SocketId>,
    /// The name that was given last.
    last: usize,
    /// What is to be served in the next round.
    ready: BTreeSet<Token>,
    deadline: Option<Instant>,
    state: Turned,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a driver whose node has ended is not to be turned any more"]
pub enum Turned {
    /// The node runs, or is on its way to its end.
    Running,
    /// The node has ended: there is nothing left to drive.
    Ended,
}

impl Driver {
    pub(crate) fn new(
        engine: Engine,
        poll: Poll,
        listeners: Vec<Listener>,
    ) -> Result<Self, StartError> {
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(StartError::Poll)?;
        // It stays the same, so once is enough.
        engine.register(&Arc::new(Awake(waker)).into());
        Ok(Self {
            engine,
            poll,
            events: Events::with_capacity(EVENTS),
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            last: listeners.len(),
            ready: (0..listeners.len()).map(Token).collect(),
            listeners,
            deadline: Some(Instant::now()),
            state: Turned::Running,
        })
    }

    /// Turns the driver until the node has ended (see
    /// [`Handle::shutdown`](crate::Handle::shutdown)).
    ///
    /// # Errors
    /// As for [`Driver::turn`]. The node has ended abruptly then.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn(None)? == Turned::Running {}
        Ok(())
    }

    /// Waits until there is something to do, for `timeout` at most, and does a
    /// bounded piece of it. It may return early, for instance when a signal
    /// has interrupted the wait.
    ///
    /// While this thread turns the driver, blocking calls of the node's handle
    /// answer [`ClientError::WouldDeadlock`](crate::ClientError::WouldDeadlock)
    /// on it; the handle's `try_*` calls are for that.
    ///
    /// # Errors
    /// The operating system's, from its poll. The node stands as it did.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turned> {
        if self.state == Turned::Ended {
            return Ok(Turned::Ended);
        }
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let timeout = timeout.into_iter().chain(self.deadline.map(until)).min();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => self.events.clear(),
            Ok(()) => {}
        }
        // The system may have more to tell.
        let full = self.note_events() >= EVENTS;
        self.serve_ready();
        let turn = self.engine.turn();
        if turn.done {
            self.end();
            return Ok(Turned::Ended);
        }
        self.obey();
        let again = full || turn.more || self.engine.restless() || !self.ready.is_empty();
        self.deadline = match again {
            true => Some(Instant::now()),
            false => turn.deadline,
        };
        Ok(Turned::Running)
    }

    /// When it has to be turned at the latest, even if its poll has nothing to
    /// tell. `None`: not until that has.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Remembers what the poll has told; how much that was.
    fn note_events(&mut self) -> usize {
        let mut count = 0;
        for event in &self.events {
            count += 1;
            let token = event.token();
            if let Some(listener) = self.listeners.get_mut(token.0) {
                listener.note();
            } else if let Some(conn) = self.conns.get(&token)
                && let Some(socket) = self.sockets.get_mut(conn)
            {
                socket.note(event);
            } else {
                // The waker, or a socket that has gone.
                continue;
            }
            self.ready.insert(token);
        }
        count
    }

    /// Serves the sockets that are ready at its start.
    fn serve_ready(&mut self) {
        for token in std::mem::take(&mut self.ready) {
            if token.0 < self.listeners.len() {
                self.accept(token);
            } else if let Some(conn) = self.conns.get(&token) {
                self.serve(*conn);
            }
        }
    }

    fn accept(&mut self, token: Token) {
        let first = self.listeners.len();
        let Some(listener) = self.listeners.get_mut(token.0) else {
            return;
        };
        let (registry, conns, last) = (self.poll.registry(), &self.conns, &mut self.last);
        let tuning = self.engine.tuning();
        let next = || listener.poll_accept(registry, tuning, || fresh(last, first, conns));
        let mut accepted = Vec::new();
        let more = self.engine.accept_some(token.0, next, |conn, socket| {
            accepted.push((conn, socket));
        });
        if more {
            self.ready.insert(token);
        }
        for (conn, socket) in accepted {
            self.ready.insert(socket.token());
            self.insert(conn, socket);
        }
    }

    fn dial(&mut self, conn: SocketId, addr: std::net::SocketAddr) {
        let token = fresh(&mut self.last, self.listeners.len(), &self.conns);
        match Socket::dial(addr, self.poll.registry(), token) {
            Ok(socket) => self.insert(conn, socket),
            Err(error) => self.engine.dial_failed(conn, &error),
        }
    }

    fn insert(&mut self, conn: SocketId, socket: Socket) {
        self.conns.insert(socket.token(), conn);
        self.sockets.insert(conn, socket);
    }

    fn serve(&mut self, conn: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&conn)
            && socket.serve(&mut self.engine, conn)
        {
            self.ready.insert(socket.token());
        }
    }

    /// Does with sockets what the last turn asked for.
    fn obey(&mut self) {
        while let Some(dial) = self.engine.poll_dial() {
            self.dial(dial.conn, dial.addr);
        }
        while let Some(index) = self.engine.poll_listener() {
            self.ready.insert(Token(index));
        }
        while let Some(conn) = self.engine.poll_changed() {
            self.serve(conn);
        }
        while let Some(conn) = self.engine.poll_shut() {
            if let Some(socket) = self.sockets.get(&conn) {
                socket.shut();
            }
            // The end may have come already.
            self.serve(conn);
        }
        while let Some(conn) = self.engine.poll_close() {
            if let Some(mut socket) = self.sockets.remove(&conn) {
                socket.deregister(self.poll.registry());
                self.conns.remove(&socket.token());
                self.ready.remove(&socket.token());
            }
        }
    }

    /// The node has ended: its addresses and connections are free again.
    fn end(&mut self) {
        self.state = Turned::Ended;
        self.deadline = None;
        self.ready.clear();
        self.conns.clear();
        self.sockets.clear();
        self.listeners.clear();
    }
}

/// A name that no listener, the waker and no other connection has.
fn fresh(last: &mut usize, first: usize, conns: &BTreeMap<Token, SocketId>) -> Token {
    loop {
        *last = last.wrapping_add(1);
        let token = Token(*last);
        if *last >= first && token != WAKER && !conns.contains_key(&token) {
            return token;
        }
    }
}

/// Wakes the thread that waits in the poll.
struct Awake(mio::Waker);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails only if the poll does too.
        let _ = self.0.wake();
    }
}

/// Readable when there is something to do: for another poll.
#[cfg(unix)]
impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

/// As its [`AsFd`].
#[cfg(unix)]
impl AsRawFd for Driver {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
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

#[cfg(all(test, unix))]
mod tests;
