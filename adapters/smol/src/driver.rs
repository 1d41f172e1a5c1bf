//! The driver: one future that turns the engine, moves bytes between it and
//! the sockets, and sleeps.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use peerhold_host::{Engine, ReadySet, SocketId};

use crate::net::{self, Socket};

/// Rounds before other tasks of the executor have their turn.
const ROUNDS: usize = 16;

/// Does a node's work while it is polled, and is done when the node has ended
/// (see [`NodeHandle::shutdown`](crate::NodeHandle::shutdown)).
///
/// It may be spawned on any executor or be blocked on. Dropping it ends the
/// node abruptly: calls on handles end with
/// [`ClientError::Closed`](crate::ClientError::Closed), threads are joined,
/// the data directory is released.
#[must_use = "a node does nothing unless its driver is polled"]
pub struct Driver {
    engine: Engine,
    listeners: Vec<Async<TcpListener>>,
    sockets: BTreeMap<SocketId, Socket>,
    ready: ReadySet<Key>,
    timer: Timer,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Listener(usize),
    Conn(SocketId),
}

impl Driver {
    pub(crate) fn new(engine: Engine, listeners: Vec<Async<TcpListener>>) -> Self {
        let mut ready = ReadySet::new();
        (0..listeners.len()).for_each(|index| ready.insert(Key::Listener(index)));
        Self {
            engine,
            listeners,
            sockets: BTreeMap::new(),
            ready,
            timer: Timer::never(),
            deadline: None,
        }
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
            if let Some(socket) = self.sockets.get(&conn) {
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
        if deadline != self.deadline {
            self.deadline = deadline;
            match deadline {
                Some(at) => self.timer.set_at(at),
                None => self.timer = Timer::never(),
            }
        }
        if Pin::new(&mut self.timer).poll(cx).is_pending() {
            return true;
        }
        self.deadline = None;
        false
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            this.engine.register(cx.waker());
            this.ready.register(cx.waker());
            this.serve_ready();
            let turn = this.engine.turn();
            if turn.done {
                this.sockets.clear();
                this.listeners.clear();
                return Poll::Ready(());
            }
            this.obey();
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use peerhold_host::peerhold_core::ClusterKey;
    use peerhold_host::{HostConfig, Notice};
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    #[test]
    fn a_listener_that_fails_pauses_and_keeps_no_other_from_accepting() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HostConfig::new(dir.path(), ClusterKey::from_bytes([7; 32])).unwrap();
        let pause = Duration::from_millis(50);
        config.accept_pause = pause;
        let (client, engine) = Engine::open(config, Vec::new()).unwrap();
        let local = [SocketAddr::from(([127, 0, 0, 1], 0))];
        let real = net::listen(&local).unwrap().pop().unwrap();
        let addr = real.get_ref().local_addr().unwrap();
        // A socket that does not listen cannot accept.
        let other = std::net::TcpListener::bind(local[0]).unwrap();
        let stream = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let broken = Async::new(TcpListener::from(OwnedFd::from(stream))).unwrap();
        let mut driver = Driver::new(engine, vec![broken, real]);
        let mut events = client.events();
        let begin = Instant::now();
        let _visitor = TcpStream::connect(addr).unwrap();
        smol::block_on(async {
            let mut failures = 0;
            while failures < 3 {
                let next = std::future::poll_fn(|cx| {
                    assert!(Pin::new(&mut driver).poll(cx).is_pending());
                    events.poll_next(cx)
                });
                failures += usize::from(matches!(next.await, Some(Notice::Accept(_))));
            }
        });
        assert!(begin.elapsed() >= 2 * pause);
        assert_eq!(driver.sockets.len(), 1);
    }
}
