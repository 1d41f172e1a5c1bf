//! A driver on nothing but `std::net`, threads and `peerhold-host`: a lesson
//! for people with a runtime of their own. `own_driver` runs it.
//!
//! The engine decides everything: whom to dial, what to send, who is too slow.
//! It knows no socket. A driver is the hands that it lacks; what they do is
//! written down in [`peerhold_host::engine`]. Here one thread owns the engine.
//! Every socket has a thread that reads and one that writes. They may block as
//! they like: the engine's thread waits for none of them, it sleeps on one
//! queue in which all that happens is told.
//!
//! **Bounds** come for nothing. The queue has a length, and a helper does one
//! thing at a time, when it is told to. A reader is told how much the engine
//! has room for: the rest stays in the socket, where TCP slows the peer down.

mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Wake;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_host::engine::reachable;
use peerhold_host::peerhold_core::CloseReason;
use peerhold_host::{Client, Engine, HostConfig, SocketId, StartError};

use socket::Conn;

/// What the engine's thread is told.
enum News {
    /// A handle or a worker wants the engine to be turned.
    Wake,
    Accepted(TcpStream),
    Dialled(SocketId, io::Result<TcpStream>),
    /// No bytes: the stream has ended.
    Read(SocketId, io::Result<Bytes>),
    /// So many bytes.
    Wrote(SocketId, io::Result<usize>),
}

/// News that wait for the engine's thread.
const WAITING: usize = 64;

/// Drives one node.
#[expect(missing_debug_implementations, reason = "the lesson is short")]
#[must_use = "a node does nothing unless its driver runs"]
pub struct Driver {
    engine: Engine,
    news: Receiver<News>,
    /// For those who have something to tell.
    tell: SyncSender<News>,
    conns: BTreeMap<SocketId, Conn>,
    addr: SocketAddr,
    dial_timeout: Duration,
}

/// Opens a node that listens on the first of its configuration's addresses,
/// or on some port of this machine alone.
///
/// # Errors
/// [`StartError`].
pub fn open(config: HostConfig) -> Result<(Client, SocketAddr, Driver), StartError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let addr = config.listen.first().copied().unwrap_or(any);
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (dial_timeout, pause) = (config.open_timeout, config.accept_pause);
    let (client, engine) = Engine::open(config, reachable(&[addr]))?;
    let (tell, news) = sync_channel(WAITING);
    // All that a driver has to give: somebody to wake.
    engine.register(&Arc::new(Waker(tell.clone())).into());
    let visitors = tell.clone();
    let accept = move || {
        loop {
            let told = match listener.accept() {
                Ok((stream, _)) => visitors.send(News::Accepted(stream)),
                // Perhaps there are no descriptors left: there will be.
                Err(_) => {
                    sleep(pause);
                    Ok(())
                }
            };
            if told.is_err() {
                return;
            }
        }
    };
    Builder::new().spawn(accept).map_err(StartError::Workers)?;
    let driver = Driver {
        engine,
        news,
        tell,
        conns: BTreeMap::new(),
        addr,
        dial_timeout,
    };
    Ok((client, addr, driver))
}

impl Driver {
    /// Turns the engine until the node has ended.
    pub fn run(mut self) {
        loop {
            let turn = self.engine.turn();
            if turn.done {
                return;
            }
            self.obey();
            let now = Instant::now();
            let again = turn.more || self.engine.restless();
            let until = if again { Some(now) } else { turn.deadline };
            let wait = until.map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            // No wake-up is lost: what has come since the turn is in the queue.
            let first = self.news.recv_timeout(wait).ok();
            // And what else is there by now: one turn does for all.
            let rest = self.news.try_iter().take(WAITING);
            let all: Vec<News> = first.into_iter().chain(rest).collect();
            all.into_iter().for_each(|news| self.hear(news));
        }
    }

    /// Tells the engine what has happened.
    fn hear(&mut self, news: News) {
        match news {
            News::Wake => {}
            News::Accepted(stream) => {
                // One that is too many is dropped, which closes it.
                if let Some(conn) = self.engine.accept() {
                    self.insert(conn, stream);
                }
            }
            News::Dialled(conn, Ok(stream)) => {
                // It may have been given up meanwhile.
                if self.engine.dialled(conn) {
                    self.insert(conn, stream);
                }
            }
            News::Dialled(conn, Err(error)) => self.engine.dial_failed(conn, &error),
            News::Read(conn, Ok(data)) if data.is_empty() => {
                self.engine.closed(conn, CloseReason::Eof);
            }
            News::Read(conn, Ok(data)) => {
                self.engine.received(conn, data);
                self.serve(conn, |it| it.reader.busy = false);
            }
            News::Wrote(conn, Ok(count)) => {
                self.engine.wrote(conn, count);
                self.serve(conn, |it| it.writer.busy = false);
            }
            News::Read(conn, Err(_)) | News::Wrote(conn, Err(_)) => {
                self.engine.closed(conn, CloseReason::Reset);
            }
        }
    }

    /// Does with sockets what the engine's last turn asked for.
    fn obey(&mut self) {
        while let Some(dial) = self.engine.poll_dial() {
            let (conn, limit, tell) = (dial.conn, self.dial_timeout, self.tell.clone());
            let connect = move || TcpStream::connect_timeout(&dial.addr, limit);
            let dialler = move || tell.send(News::Dialled(conn, connect()));
            if let Err(error) = Builder::new().spawn(dialler) {
                self.engine.dial_failed(conn, &error);
            }
        }
        while let Some(conn) = self.engine.poll_changed() {
            self.serve(conn, |_| {});
        }
        while let Some(conn) = self.engine.poll_shut() {
            // All was written. The peer sees the end, and we read on to its.
            let conn = self.conns.get(&conn);
            let _ = conn.map(|it| it.stream.shutdown(Shutdown::Write));
        }
        while let Some(conn) = self.engine.poll_close() {
            self.conns.remove(&conn);
        }
    }

    /// Gives a connection's threads what there is to do.
    fn serve(&mut self, id: SocketId, done: impl FnOnce(&mut Conn)) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        done(conn);
        if !conn.writer.busy && self.engine.wants_write(id) {
            let data: Vec<&[u8]> = self.engine.to_write(id).collect();
            conn.writer.give(data.concat());
        }
        let space = self.engine.read_space(id);
        if !conn.reader.busy && space > 0 {
            conn.reader.give(space);
        }
    }

    fn insert(&mut self, id: SocketId, stream: TcpStream) {
        self.engine.tuning().apply(&stream);
        match Conn::start(id, stream, &self.tell) {
            Ok(conn) => _ = self.conns.insert(id, conn),
            Err(_) => self.engine.closed(id, CloseReason::Reset),
        }
        self.serve(id, |_| {});
    }
}

/// Ends what blocks in `accept`, by a visit of which nobody can be told.
impl Drop for Driver {
    fn drop(&mut self) {
        (_, self.news) = sync_channel(0);
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
    }
}

/// Whom handles and workers wake.
struct Waker(SyncSender<News>);

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        // Where the queue is full, the engine's thread is awake.
        let _ = self.0.try_send(News::Wake);
    }
}
