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
//! **Bounds** come for nothing. A helper does one thing at a time, when it is
//! told to, so it has at most one piece of news in the queue; and a reader is
//! told how much the engine has room for: the rest stays in the socket, where
//! TCP slows the peer down.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Poll, Wake};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_host::engine::reachable;
use peerhold_host::peerhold_core::CloseReason;
use peerhold_host::{Client, Engine, HostConfig, SocketId, StartError};

/// What the engine's thread is told.
enum News {
    /// A handle or a worker wants the engine to be turned.
    Wake,
    Accepted(io::Result<TcpStream>),
    Dialled(SocketId, io::Result<TcpStream>),
    /// No bytes: the stream has ended.
    Read(SocketId, Bytes),
    Wrote(SocketId, usize),
    /// Reading or writing has failed.
    Broken(SocketId),
}

/// A connection's socket, and what its two threads are busy with.
struct Conn {
    stream: Arc<TcpStream>,
    /// May be told to read so many bytes..
    reader: Sender<usize>,
    reading: bool,
    /// ..and to write these.
    writer: Sender<Vec<u8>>,
    writing: bool,
}

/// Drives one node.
#[expect(missing_debug_implementations, reason = "the lesson is short")]
#[must_use = "a node does nothing unless its driver runs"]
pub struct Driver {
    engine: Engine,
    news: Receiver<News>,
    /// For those who have something to tell.
    tell: Sender<News>,
    conns: BTreeMap<SocketId, Conn>,
    /// May be told to accept the next connection.
    acceptor: Sender<()>,
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
    let dial_timeout = config.open_timeout;
    let (client, engine) = Engine::open(config, reachable(&[addr]))?;
    let (tell, news) = channel();
    // All that a driver has to give: somebody to wake.
    engine.register(&Arc::new(Waker(tell.clone())).into());
    let accept = move |()| News::Accepted(listener.accept().map(|(stream, _)| stream));
    let acceptor = helper(&tell, accept).map_err(StartError::Workers)?;
    let driver = Driver {
        engine,
        news,
        tell,
        conns: BTreeMap::new(),
        acceptor,
        addr,
        dial_timeout,
    };
    Ok((client, addr, driver))
}

impl Driver {
    /// Turns the engine until the node has ended.
    pub fn run(mut self) {
        say(&self.acceptor, ());
        loop {
            let turn = self.engine.turn();
            if turn.done {
                return;
            }
            self.obey();
            // No wake-up is lost: what has come since the turn is in the queue.
            let first = if turn.more || self.engine.restless() {
                None
            } else if let Some(at) = turn.deadline {
                let wait = at.saturating_duration_since(Instant::now());
                self.news.recv_timeout(wait).ok()
            } else {
                self.news.recv().ok()
            };
            // And what else is there by now: one turn does for all.
            let rest = self.news.try_iter().take(64);
            let all: Vec<News> = first.into_iter().chain(rest).collect();
            all.into_iter().for_each(|news| self.hear(news));
        }
    }

    /// Tells the engine what has happened.
    fn hear(&mut self, news: News) {
        match news {
            News::Wake => {}
            News::Accepted(result) => self.accepted(result),
            News::Dialled(conn, Err(_)) => self.engine.dial_failed(conn),
            News::Dialled(conn, Ok(stream)) => {
                // It may have been given up meanwhile.
                if self.engine.dialled(conn) {
                    self.insert(conn, stream);
                }
            }
            News::Read(conn, data) => {
                self.conns.entry(conn).and_modify(|it| it.reading = false);
                match data.is_empty() {
                    true => self.engine.closed(conn, CloseReason::Eof),
                    false => self.engine.received(conn, data),
                }
                self.serve(conn);
            }
            News::Wrote(conn, count) => {
                self.conns.entry(conn).and_modify(|it| it.writing = false);
                self.engine.wrote(conn, count);
                self.serve(conn);
            }
            News::Broken(conn) => self.engine.closed(conn, CloseReason::Reset),
        }
    }

    fn accepted(&mut self, result: io::Result<TcpStream>) {
        // After an error the engine says when it is time to go on.
        let go_on = result.is_ok();
        let (mut next, mut taken) = (Some(result), None);
        let take = || next.take().map_or(Poll::Pending, Poll::Ready);
        self.engine
            .accept_some(0, take, |conn, it| taken = Some((conn, it)));
        if let Some((conn, stream)) = taken {
            self.insert(conn, stream);
        }
        if go_on {
            say(&self.acceptor, ());
        }
    }

    /// Does with sockets what the engine's last turn asked for.
    fn obey(&mut self) {
        while let Some(dial) = self.engine.poll_dial() {
            let (conn, addr, limit) = (dial.conn, dial.addr, self.dial_timeout);
            let connect = move |()| TcpStream::connect_timeout(&addr, limit);
            match helper(&self.tell, move |it| News::Dialled(conn, connect(it))) {
                // It is told once, and ends after that.
                Ok(dialler) => _ = say(&dialler, ()),
                Err(_) => self.engine.dial_failed(conn),
            }
        }
        while self.engine.poll_listener().is_some() {
            say(&self.acceptor, ());
        }
        while let Some(conn) = self.engine.poll_changed() {
            self.serve(conn);
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
    fn serve(&mut self, id: SocketId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if !conn.writing && self.engine.wants_write(id) {
            let data: Vec<&[u8]> = self.engine.to_write(id).collect();
            conn.writing = say(&conn.writer, data.concat());
        }
        let space = self.engine.read_space(id);
        if !conn.reading && space > 0 {
            conn.reading = say(&conn.reader, space);
        }
    }

    fn insert(&mut self, id: SocketId, stream: TcpStream) {
        // One that is gone already shows when it is read from.
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let (source, sink) = (Arc::clone(&stream), Arc::clone(&stream));
        let read = move |space| {
            let data = read(&source, space);
            data.map_or(News::Broken(id), |data| News::Read(id, data))
        };
        let write = move |data: Vec<u8>| match (&*sink).write_all(&data) {
            Ok(()) => News::Wrote(id, data.len()),
            Err(_) => News::Broken(id),
        };
        let threads = (helper(&self.tell, read), helper(&self.tell, write));
        let (Ok(reader), Ok(writer)) = threads else {
            return self.engine.closed(id, CloseReason::Reset);
        };
        let (reading, writing) = (false, false);
        self.conns.insert(
            id,
            Conn {
                stream,
                reader,
                reading,
                writer,
                writing,
            },
        );
        self.serve(id);
    }
}

/// Ends what blocks in a read or a write, and so its threads.
impl Drop for Conn {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Ends what blocks in `accept`, by a visit.
impl Drop for Driver {
    fn drop(&mut self) {
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
    }
}

/// Whom handles and workers wake.
struct Waker(Sender<News>);

impl Wake for Waker {
    fn wake(self: Arc<Self>) {
        say(&self.0, News::Wake);
    }
}

/// Reads once, at most so many bytes.
fn read(mut stream: &TcpStream, space: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; space.min(256 << 10)];
    loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => {
                buffer.truncate(result?);
                return Ok(buffer.into());
            }
        }
    }
}

/// A thread that may block: it does one thing whenever it is told to, and tells
/// what came of it. It ends by itself when nobody can tell it to go on.
fn helper<T: Send + 'static>(
    tell: &Sender<News>,
    mut work: impl FnMut(T) -> News + Send + 'static,
) -> io::Result<Sender<T>> {
    let (orders, todo) = channel();
    let tell = tell.clone();
    let run = move || while todo.recv().is_ok_and(|order| say(&tell, work(order))) {};
    std::thread::Builder::new().spawn(run)?;
    Ok(orders)
}

/// `false`: whom it is said to has ended.
fn say<T>(to: &Sender<T>, what: T) -> bool {
    to.send(what).is_ok()
}
