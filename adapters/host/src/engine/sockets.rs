//! What drivers do with their sockets, as far as it names none: loops that are
//! the same for all.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::task::Poll;
use std::time::Duration;

use peerhold_core::{CloseReason, ConnId, Instant};

use super::Engine;
use crate::client::events::Notice;

/// Sockets that one listener hands over in one round.
const ACCEPT_MAX: usize = 64;

/// Listeners that the system has failed, and when they are tried again. Each
/// has its own time, so that one that always fails does not keep others from
/// being tried.
#[derive(Debug)]
pub(super) struct Pauses {
    length: Duration,
    until: BTreeMap<usize, Instant>,
    over: VecDeque<usize>,
}

impl Pauses {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            until: BTreeMap::new(),
            over: VecDeque::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let over = self.until.extract_if(.., |_, until| *until <= now);
        self.over.extend(over.map(|(listener, _)| listener));
    }
}

impl Engine {
    /// Takes what connections a listener has: calls `next` until it is
    /// `Pending`, and then it has to see to it that the listener is listed
    /// when there are more; and `each` with what was accepted and is wanted.
    /// What is not wanted is dropped, which closes it. `true`: the listener's
    /// share of a round is used up, and there may be more.
    ///
    /// A listener that fails is left alone for
    /// [`HostConfig::accept_pause`](super::HostConfig::accept_pause), which
    /// subscribers are told, and then named by [`Engine::poll_listener`].
    pub fn accept_some<S>(
        &mut self,
        listener: usize,
        mut next: impl FnMut() -> Poll<io::Result<S>>,
        mut each: impl FnMut(ConnId, S),
    ) -> bool {
        if self.pauses.until.contains_key(&listener) {
            return false;
        }
        for _ in 0..ACCEPT_MAX {
            match next() {
                Poll::Pending => return false,
                Poll::Ready(Ok(socket)) => {
                    if let Some(conn) = self.accept() {
                        each(conn, socket);
                    }
                }
                // Who came has gone again: the next one.
                Poll::Ready(Err(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Poll::Ready(Err(error)) => {
                    self.notice(&Notice::Accept(error.to_string()));
                    let until = self.tell_time().saturating_add(self.pauses.length);
                    self.pauses.until.insert(listener, until);
                    return false;
                }
            }
        }
        true
    }

    /// The next listener whose pause is over: it is to be tried again.
    pub fn poll_listener(&mut self) -> Option<usize> {
        self.pauses.over.pop_front()
    }

    /// Reads from a connection's socket until there is no more, no room for
    /// it, or the connection's share of a round is used up, which is `true`.
    ///
    /// Whenever the socket would block, `ready` is asked whether it has become
    /// readable meanwhile. If it says `Pending`, it has to see to it that the
    /// connection is listed when it is; if it fails, the connection is over.
    pub fn read_some(
        &mut self,
        conn: ConnId,
        socket: &mut impl Read,
        ready: impl FnMut() -> Poll<io::Result<()>>,
    ) -> bool {
        self.some(conn, ready, |engine, left| {
            let space = engine.read_space(conn).min(left);
            match space {
                0 => Ok(0),
                _ => engine.read_from(conn, socket, space),
            }
        })
    }

    /// Writes to a connection's socket what there is to write, until the
    /// socket takes no more or the connection's share of a round is used up,
    /// which is `true`. `ready` is as for [`Engine::read_some`].
    pub fn write_some(
        &mut self,
        conn: ConnId,
        socket: &mut impl Write,
        ready: impl FnMut() -> Poll<io::Result<()>>,
    ) -> bool {
        self.some(conn, ready, |engine, _| engine.write_to(conn, socket))
    }

    /// Does `step`, which says how many bytes it has moved, until it moves
    /// none or a round's share is moved, which is `true`.
    fn some(
        &mut self,
        conn: ConnId,
        mut ready: impl FnMut() -> Poll<io::Result<()>>,
        mut step: impl FnMut(&mut Self, usize) -> io::Result<usize>,
    ) -> bool {
        let mut left = self.settings.round_bytes;
        while left > 0 {
            match step(self, left) {
                Ok(0) => return false,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match ready() {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.closed(conn, CloseReason::Reset);
                        return false;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}
