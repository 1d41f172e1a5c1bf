//! Sockets.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use peerhold_host::os::Tuning;
use peerhold_host::{Engine, SocketId, StartError};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};

/// Listens on every address, or on none. No runtime is needed for it.
pub(crate) fn listen(addrs: &[SocketAddr]) -> Result<Vec<StdListener>, StartError> {
    let bind = |addr: &SocketAddr| {
        let bound = StdListener::bind(addr).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        bound.map_err(|source| StartError::Listen {
            addr: *addr,
            source,
        })
    };
    addrs.iter().map(bind).collect()
}

/// The addresses that are listened on, ports included.
pub(crate) fn local_addrs(listeners: &[StdListener]) -> Result<Vec<SocketAddr>, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = |listener: &StdListener| {
        listener.local_addr().map_err(|source| StartError::Listen {
            addr: unknown,
            source,
        })
    };
    listeners.iter().map(local).collect()
}

/// Makes listeners known to the runtime in which this is called.
pub(crate) fn register(listeners: Vec<StdListener>) -> Result<Vec<TcpListener>, StartError> {
    let addrs = local_addrs(&listeners)?;
    let register = |(listener, addr)| {
        TcpListener::from_std(listener).map_err(|source| StartError::Listen { addr, source })
    };
    listeners.into_iter().zip(addrs).map(register).collect()
}

/// The next connection of a listener. `Pending`: the listener wakes when there
/// is one.
pub(crate) fn poll_accept(
    listener: &TcpListener,
    tuning: Tuning,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Socket>> {
    listener
        .poll_accept(cx)
        .map_ok(|(stream, _)| Socket::open(stream, tuning))
}

/// A connection's socket.
pub(crate) enum Socket {
    /// On its way.
    Dialling(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    /// It stands.
    Open(TcpStream),
    /// It came to nothing, and is about to be dropped.
    Failed,
}

impl Socket {
    /// Begins to dial.
    pub(crate) fn dial(addr: SocketAddr) -> Self {
        Self::Dialling(Box::pin(TcpStream::connect(addr)))
    }

    /// One that stands.
    fn open(stream: TcpStream, tuning: Tuning) -> Self {
        tuning.apply(&stream);
        Self::Open(stream)
    }

    /// Nothing more is written.
    pub(crate) fn shut(&mut self) {
        if let Self::Open(stream) = self {
            // A socket's own is done at once. One that is gone already shows
            // when it is read from.
            let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
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
        let mut socket = Trying(stream);
        // What is read first may be answered in this round's turn.
        let read = engine.read_some(conn, &mut socket, || stream.poll_read_ready(cx));
        engine.write_some(conn, &mut socket, || stream.poll_write_ready(cx)) || read
    }
}

/// A stream that is read and written at once or not at all. What would block
/// is so remembered by the runtime, which then waits for the next event.
struct Trying<'a>(&'a TcpStream);

impl Read for Trying<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Trying<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.try_write(data)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
