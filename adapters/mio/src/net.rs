//! Sockets.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::Poll;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use peerhold_host::os::Tuning;
use peerhold_host::{Engine, SocketId, StartError};

/// Listens on every address, or on none.
pub(crate) fn listen(addrs: &[SocketAddr]) -> Result<Vec<Listener>, StartError> {
    let bind = |addr: &SocketAddr| {
        let failed = |source| StartError::Listen {
            addr: *addr,
            source,
        };
        TcpListener::bind(*addr).map(Listener::new).map_err(failed)
    };
    addrs.iter().map(bind).collect()
}

/// The addresses that are listened on, ports included.
pub(crate) fn local_addrs(listeners: &[Listener]) -> Result<Vec<SocketAddr>, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = |listener: &Listener| {
        let failed = |source| StartError::Listen {
            addr: unknown,
            source,
        };
        listener.socket.local_addr().map_err(failed)
    };
    listeners.iter().map(local).collect()
}

/// A socket that others connect to.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Nothing has said that nobody waits: an edge is told once.
    readable: bool,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener) -> Self {
        Self {
            socket,
            readable: true,
        }
    }

    /// Has the poll tell of it by this name.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The poll has told of it.
    pub(crate) fn note(&mut self) {
        self.readable = true;
    }

    /// The next connection, which the poll then tells of by the name that
    /// `token` gives. `Pending`: the poll tells when there is one.
    pub(crate) fn poll_accept(
        &mut self,
        registry: &Registry,
        tuning: Tuning,
        token: impl FnOnce() -> Token,
    ) -> Poll<io::Result<Socket>> {
        if !self.readable {
            return Poll::Pending;
        }
        match self.socket.accept() {
            Ok((stream, _)) => {
                tuning.apply(&stream);
                Poll::Ready(Socket::register(stream, registry, token(), false))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// A connection's socket.
pub(crate) struct Socket {
    stream: TcpStream,
    token: Token,
    /// It does not stand yet.
    dialling: bool,
    /// The poll tells of an edge once; what it has told holds until the socket
    /// would block.
    readable: bool,
    writable: bool,
}

impl Socket {
    /// Begins to dial. The poll tells when that has come to something.
    pub(crate) fn dial(addr: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        Self::register(TcpStream::connect(addr)?, registry, token, true)
    }

    fn register(
        mut stream: TcpStream,
        registry: &Registry,
        token: Token,
        dialling: bool,
    ) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            token,
            dialling,
            // One that stands is tried before the poll tells of it.
            readable: !dialling,
            writable: !dialling,
        })
    }

    /// The poll's name of it.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The poll has told of it. What is wrong with a socket shows when it is
    /// read from, or written to.
    pub(crate) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Nothing more is written.
    pub(crate) fn shut(&self) {
        // One that is gone already shows when it is read from.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The poll tells of it no more.
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // Closing it does the same where this fails.
        let _ = registry.deregister(&mut self.stream);
    }

    /// Moves bytes both ways until the socket would block, there is nothing
    /// to do, or its share of the round is used up, which is `true`.
    pub(crate) fn serve(&mut self, engine: &mut Engine, conn: SocketId) -> bool {
        if self.dialling && !self.stands(engine, conn) {
            return false;
        }
        let mut stream = &self.stream;
        // What is read first may be answered in this round's turn.
        let read = self.readable
            && engine.read_some(conn, &mut stream, || {
                self.readable = false;
                Poll::Pending
            });
        let write = self.writable
            && engine.write_some(conn, &mut stream, || {
                self.writable = false;
                Poll::Pending
            });
        read || write
    }

    /// Whether a dial has come to a connection; the engine is told what became
    /// of it.
    fn stands(&mut self, engine: &mut Engine, conn: SocketId) -> bool {
        if !self.writable {
            return false;
        }
        let came_to = match self.stream.take_error() {
            Ok(None) => self.stream.peer_addr(),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match came_to {
            Ok(_) => {
                self.dialling = false;
                self.readable = true;
                engine.tuning().apply(&self.stream);
                engine.dialled(conn)
            }
            // An event that meant nothing.
            Err(error) if on_its_way(&error) => {
                self.writable = false;
                false
            }
            Err(error) => {
                engine.dial_failed(conn, &error);
                false
            }
        }
    }
}

/// What a socket without a peer says of it while it is being dialled.
fn on_its_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::NotConnected
}
