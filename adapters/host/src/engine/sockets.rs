//! What drivers do with their sockets, as far as it names none: loops that are
//! the same for all.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::task::Poll;
use std::time::Duration;

use peerhold_core::{CloseReason, ConnId, Instant};

use super::Engine;
use crate::client::events::Notice;
use crate::foreverstore::PeerId;

/// Sockets that one listener hands over in one round.
const ACCEPT_MAX: usize = 16;

/// Bytes that are read from a connection first in a round, and then twice as
/// many each time: of small requests these take long enough.
const FIRST_STEP: usize = 16 << 10;

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

/// A connection's name between engine and driver, whichever language is spoken
/// on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketId {
    /// It carries, or is to carry, a session.
    Session(ConnId),
    /// The Go program's language is spoken on it.
    Foreverstore(PeerId),
}

impl From<PeerId> for SocketId {
    fn from(peer: PeerId) -> Self {
        Self::Foreverstore(peer)
    }
}

impl From<ConnId> for SocketId {
    fn from(conn: ConnId) -> Self {
        Self::Session(conn)
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
        mut each: impl FnMut(SocketId, S),
    ) -> bool {
        if self.pauses.until.contains_key(&listener) {
            return false;
        }
        for _ in 0..ACCEPT_MAX {
            match next() {
                Poll::Pending => return false,
                Poll::Ready(Ok(socket)) => {
                    if let Some(conn) = self.accept_at(listener) {
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

    /// Listeners behind those of [`HostConfig::listen`](super::HostConfig::listen)
    /// are the other port's.
    fn accept_at(&mut self, listener: usize) -> Option<SocketId> {
        if listener < self.settings.listeners || self.port.is_none() {
            return self.accept();
        }
        let now = self.tell_time();
        self.port.as_mut()?.accept(now).map(SocketId::from)
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
        conn: SocketId,
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
        conn: SocketId,
        socket: &mut impl Write,
        ready: impl FnMut() -> Poll<io::Result<()>>,
    ) -> bool {
        self.some(conn, ready, |engine, _| engine.write_to(conn, socket))
    }

    /// Does `step`, which says how many bytes it has moved, until it moves
    /// none or a round's share, of bytes or of time, is used up, which is `true`.
    fn some(
        &mut self,
        conn: SocketId,
        mut ready: impl FnMut() -> Poll<io::Result<()>>,
        mut step: impl FnMut(&mut Self, usize) -> io::Result<usize>,
    ) -> bool {
        let mut left = self.settings.round_bytes;
        let mut most = FIRST_STEP;
        let end = self.clock.now().saturating_add(self.settings.round_time);
        while left > 0 {
            match step(self, left.min(most)) {
                Ok(0) => return false,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    most = most.saturating_mul(2);
                    if self.clock.now() >= end {
                        return true;
                    }
                }
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

#[cfg(test)]
mod tests {
    use peerhold_core::ClusterKey;
    use peerhold_store::vfs::MemVfs;
    use peerhold_store::{Store, StoreConfig};

    use super::*;
    use crate::client::Client;
    use crate::engine::HostConfig;
    use crate::os::Identity;

    /// A node by itself without threads.
    fn open(pause: Duration) -> (Client, Engine) {
        let mut config = HostConfig::new("unused", ClusterKey::from_bytes([1; 32])).unwrap();
        config.accept_pause = pause;
        config.insecure = true;
        config.workers = 0;
        let store = Store::open(MemVfs::new(), StoreConfig::new([2; 32])).unwrap();
        Engine::with_store(config, Vec::new(), &Identity::from_seed(&[3; 32]), store).unwrap()
    }

    fn failing() -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("no more descriptors")))
    }

    #[test]
    fn a_listener_that_fails_is_left_alone_until_it_is_named_again() {
        let pause = Duration::from_millis(100);
        let (_client, mut engine) = open(pause);
        let begin = std::time::Instant::now();
        assert!(!engine.accept_some(7, failing, |_, ()| {}));
        let mut asked = 0;
        let mut next = || {
            asked += 1;
            Poll::<io::Result<()>>::Pending
        };
        assert!(!engine.accept_some(7, &mut next, |_, ()| {}));
        assert!(!engine.accept_some(8, &mut next, |_, ()| {}));
        assert_eq!(asked, 1, "only the other one is asked");
        let named = loop {
            let turn = engine.turn();
            if let Some(listener) = engine.poll_listener() {
                break listener;
            }
            assert!(turn.deadline.is_some_and(|at| at <= begin + 2 * pause));
            std::thread::yield_now();
        };
        assert!(begin.elapsed() >= pause);
        assert_eq!((named, engine.poll_listener()), (7, None));
        let mut asked = false;
        engine.accept_some(
            7,
            || {
                asked = true;
                Poll::<io::Result<()>>::Pending
            },
            |_, ()| {},
        );
        assert!(asked, "it is tried again");
    }

    #[test]
    fn one_listener_has_its_share_of_a_round_and_bad_luck_is_no_failure() {
        let (_client, mut engine) = open(Duration::from_secs(60));
        let (mut asked, mut taken) = (0, 0);
        let next = || {
            asked += 1;
            Poll::Ready(match asked {
                1 => Err(io::ErrorKind::ConnectionAborted.into()),
                2 => Err(io::ErrorKind::Interrupted.into()),
                _ => Ok(()),
            })
        };
        assert!(engine.accept_some(0, next, |_, ()| taken += 1));
        assert_eq!(asked, ACCEPT_MAX);
        assert!(taken > 0 && taken <= ACCEPT_MAX - 2);
    }

    #[test]
    fn a_connection_has_its_share_of_a_round_in_bytes_and_in_time() {
        let (_client, mut engine) = open(Duration::from_secs(60));
        let conn = engine.accept().unwrap();
        let moved = |engine: &mut Engine, bytes: usize, time: Duration| {
            (engine.settings.round_bytes, engine.settings.round_time) = (bytes, time);
            let mut steps = Vec::new();
            let more = engine.some(
                conn,
                || Poll::Pending,
                |_, most| {
                    steps.push(most);
                    Ok(most)
                },
            );
            assert!(more, "there may be more");
            steps
        };
        let long = Duration::from_secs(60);
        let steps = moved(&mut engine, 100 << 10, long);
        assert_eq!(steps, [16 << 10, 32 << 10, 52 << 10]);
        assert_eq!(moved(&mut engine, 100 << 10, Duration::ZERO), [16 << 10]);
        assert_eq!(moved(&mut engine, 5000, long), [5000]);
    }

    /// A socket on which a byte of a handshake has come, whenever it is read.
    struct Dribbling;

    impl Read for Dribbling {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            buf[0] = b'P';
            Ok(1)
        }
    }

    #[test]
    fn of_many_who_open_a_few_are_read_from_in_a_turn_and_all_have_theirs() {
        let (_client, mut engine) = open(Duration::from_secs(60));
        let conns: Vec<SocketId> = (0..9).map(|_| engine.accept().unwrap()).collect();
        while engine.poll_changed().is_some() {}
        let read = |engine: &mut Engine, conn| {
            let one = engine.read_from(conn, &mut Dribbling, 1).unwrap();
            one == 1
        };
        let all = conns.iter().filter(|conn| read(&mut engine, **conn));
        assert_eq!(all.count(), 2);
        let mut had = 2;
        while had < conns.len() {
            let more = engine.turn().more;
            let listed: Vec<SocketId> = std::iter::from_fn(|| engine.poll_changed()).collect();
            assert!((1..=2).contains(&listed.len()), "{listed:?}");
            assert!(listed.iter().all(|conn| read(&mut engine, *conn)));
            had += listed.len();
            assert_eq!(more, had < conns.len());
        }
        engine.turn();
        assert_eq!(engine.poll_changed(), None);
    }

    struct Blocking;

    impl Read for Blocking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn a_socket_that_can_never_be_ready_again_ends_its_connection() {
        let (_client, mut engine) = open(Duration::from_secs(60));
        let conn = engine.accept().unwrap();
        assert!(!engine.read_some(conn, &mut Blocking, || Poll::Pending));
        assert_eq!(engine.poll_close(), None);
        assert!(!engine.read_some(conn, &mut Blocking, failing));
        assert_eq!(engine.poll_close(), Some(conn));
    }
}
