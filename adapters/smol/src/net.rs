//! Sockets.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use peerhold_host::StartError;
use peerhold_host::peerhold_core::ConnId;

use peerhold_host::Engine;

/// Sockets that one listener hands over in one round.
const ACCEPT_MAX: usize = 64;

/// Listens on every address, or on none.
pub(crate) fn listen(addrs: &[SocketAddr]) -> Result<Vec<Async<TcpListener>>, StartError> {
    let bind = |addr: &SocketAddr| {
        Async::<TcpListener>::bind(*addr).map_err(|source| StartError::Listen {
            addr: *addr,
            source,
        })
    };
    addrs.iter().map(bind).collect()
}

/// The addresses that are listened on, ports included.
pub(crate) fn local_addrs(listeners: &[Async<TcpListener>]) -> Result<Vec<SocketAddr>, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = |listener: &Async<TcpListener>| {
        listener
            .get_ref()
            .local_addr()
            .map_err(|source| StartError::Listen {
                addr: unknown,
                source,
            })
    };
    listeners.iter().map(local).collect()
}

/// What became of a listener's turn.
pub(crate) enum Accepted {
    /// It wakes when somebody comes.
    Waiting,
    /// There may be more to accept at once.
    More,
    /// The system cannot accept now, for instance for want of descriptors.
    Failed(io::Error),
}

/// Accepts what there is to accept.
pub(crate) fn accept(
    listener: &Async<TcpListener>,
    cx: &mut Context<'_>,
    mut each: impl FnMut(TcpStream),
) -> Accepted {
    for _ in 0..ACCEPT_MAX {
        match listener.get_ref().accept() {
            Ok((stream, _)) => each(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match listener.poll_readable(cx) {
                    Poll::Pending => return Accepted::Waiting,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Accepted::Failed(error),
                }
            }
            // Who came has gone again: the next one.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                ) => {}
            Err(error) => return Accepted::Failed(error),
        }
    }
    Accepted::More
}

/// A connection's socket.
pub(crate) enum Socket {
    /// On its way.
    Dialling(Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>),
    /// It stands.
    Open(Async<TcpStream>),
    /// It came to nothing, and is about to be dropped.
    Failed,
}

impl Socket {
    /// Begins to dial.
    pub(crate) fn dial(addr: SocketAddr) -> Self {
        Self::Dialling(Box::pin(Async::<TcpStream>::connect(addr)))
    }

    /// A socket that was accepted.
    pub(crate) fn accepted(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Async::new(stream).map(Self::Open)
    }

    /// Nothing more is written.
    pub(crate) fn shut(&self) {
        if let Self::Open(stream) = self {
            // One that is gone already shows when it is read from.
            let _ = stream.get_ref().shutdown(Shutdown::Write);
        }
    }

    /// Moves bytes both ways until the socket would block, there is nothing
    /// to do, or `max` bytes have gone one way, which is `true`.
    pub(crate) fn serve(
        &mut self,
        engine: &mut Engine,
        conn: ConnId,
        cx: &mut Context<'_>,
        max: usize,
    ) -> bool {
        if let Self::Dialling(dial) = self {
            match dial.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(stream)) if stream.get_ref().set_nodelay(true).is_ok() => {
                    engine.dialled(conn);
                    *self = Self::Open(stream);
                }
                Poll::Ready(_) => {
                    engine.dial_failed(conn);
                    // A future that is done is not to be polled again.
                    *self = Self::Failed;
                    return false;
                }
            }
        }
        let Self::Open(stream) = self else {
            return false;
        };
        // What is read first may be answered in this round's turn.
        let read = read(stream, engine, conn, cx, max);
        write(stream, engine, conn, cx, max) || read
    }
}

fn read(
    stream: &Async<TcpStream>,
    engine: &mut Engine,
    conn: ConnId,
    cx: &mut Context<'_>,
    max: usize,
) -> bool {
    let mut left = max;
    while left > 0 {
        let space = engine.read_space(conn).min(left);
        if space == 0 {
            return false;
        }
        match engine.read_from(conn, &mut stream.get_ref(), space) {
            Ok(0) => return false,
            Ok(count) => left -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // An error of the reactor's shows at the next read.
                if stream.poll_readable(cx).is_pending() {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

fn write(
    stream: &Async<TcpStream>,
    engine: &mut Engine,
    conn: ConnId,
    cx: &mut Context<'_>,
    max: usize,
) -> bool {
    let mut left = max;
    while left > 0 {
        if !engine.wants_write(conn) {
            return false;
        }
        match engine.write_to(conn, &mut stream.get_ref()) {
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stream.poll_writable(cx).is_pending() {
                    return false;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}
