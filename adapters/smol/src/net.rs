//! Sockets.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use peerhold_host::os::Tuning;
use peerhold_host::{Engine, SocketId, StartError};

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

/// The next connection of a listener. `Pending`: the listener wakes when there
/// is one.
pub(crate) fn poll_accept(
    listener: &Async<TcpListener>,
    tuning: Tuning,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Socket>> {
    loop {
        match listener.get_ref().accept() {
            Ok((stream, _)) => {
                return Poll::Ready(Async::new(stream).map(|stream| Socket::open(stream, tuning)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(listener.poll_readable(cx))?;
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
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

    /// One that stands.
    fn open(stream: Async<TcpStream>, tuning: Tuning) -> Self {
        tuning.apply(&stream);
        Self::Open(stream)
    }

    /// Nothing more is written.
    pub(crate) fn shut(&self) {
        if let Self::Open(stream) = self {
            // One that is gone already shows when it is read from.
            let _ = stream.get_ref().shutdown(Shutdown::Write);
        }
    }

    /// Moves bytes both ways until the socket would block, there is nothing
    /// to do, or its share of the round is used up, which is `true`.
    pub(crate) fn serve(
        &mut self,
        engine: &mut Engine,
        conn: SocketId,
        cx: &mut Context<'_>,
    ) -> bool {
        if let Self::Dialling(dial) = self {
            match dial.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(stream)) => {
                    engine.dialled(conn);
                    *self = Self::open(stream, engine.tuning());
                }
                Poll::Ready(Err(error)) => {
                    engine.dial_failed(conn, &error);
                    // A future that is done is not to be polled again.
                    *self = Self::Failed;
                }
            }
        }
        let Self::Open(stream) = self else {
            return false;
        };
        let mut socket = stream.get_ref();
        // What is read first may be answered in this round's turn.
        let read = engine.read_some(conn, &mut socket, || stream.poll_readable(cx));
        engine.write_some(conn, &mut socket, || stream.poll_writable(cx)) || read
    }
}
