//! A node in a loop of one's own: one thread and one poll serve a port to which
//! anybody may send a file, and turn the node that keeps the files:
//! `cargo run --example mio_loop`.

#[cfg(unix)]
use std::error::Error;

#[cfg(not(unix))]
fn main() {
    println!("on this system one poll cannot wait for another: see Driver::turn for a thread");
}

#[cfg(unix)]
fn main() -> Result<(), Box<dyn Error>> {
    own_loop::main()
}

#[cfg(unix)]
mod own_loop {
    use std::error::Error;
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use mio::net::{TcpListener, TcpStream};
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use peerhold_mio::peerhold_core::{ClusterKey, Name, NamespaceSecret, Put, Stored};
    use peerhold_mio::{Driver, HostConfig, Later, PutWriter, open};

    /// Whom the poll tells of. The visitors need no names: all are looked at
    /// in every round.
    const NODE: Token = Token(0);
    const PORT: Token = Token(1);
    const VISITOR: Token = Token(2);
    /// So many files come, of so many bytes.
    const FILES: usize = 3;
    const SIZE: usize = 5_000_000;

    pub(super) fn main() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let (mut key, mut secret) = ([0; 32], [0; 32]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut secret)?;
        let writer = NamespaceSecret::from_bytes(secret).writer();
        let mut config = HostConfig::new(dir.path(), ClusterKey::from_bytes(key))?;
        // A cluster of one: each record and blob has one copy.
        (config.node.replicas, config.node.durable) = (1, 1);
        let (node, mut driver) = open(config)?;

        let mut poll = Poll::new()?;
        let registry = poll.registry();
        let fd = driver.as_raw_fd();
        registry.register(&mut SourceFd(&fd), NODE, Interest::READABLE)?;
        let mut port = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        registry.register(&mut port, PORT, Interest::READABLE)?;
        let senders = senders(port.local_addr()?);

        let mut events = Events::with_capacity(64);
        let mut visitors: Vec<Visitor> = Vec::new();
        let (mut came, mut kept) = (0, 0);
        while kept < FILES {
            // Whatever is first: a socket of ours, the node's poll, its timer.
            let until = |at: Instant| at.saturating_duration_since(Instant::now());
            match poll.poll(&mut events, driver.deadline().map(until)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            // The node's share. It never waits here, and never does too much.
            let _ = driver.turn(Some(Duration::ZERO))?;
            // Ours. A blocking call would be refused on this thread.
            while let Some(mut stream) = accept(&port)? {
                let registry = poll.registry();
                registry.register(&mut stream, VISITOR, Interest::READABLE)?;
                let put = node.put_writer(Put {
                    writer: writer.clone(),
                    name: Name::new(&format!("upload-{came}"))?,
                    modified: None,
                })?;
                visitors.push(Visitor::new(stream, put));
                came += 1;
            }
            for mut visitor in std::mem::take(&mut visitors) {
                match visitor.advance()? {
                    Some(stored) => {
                        kept += 1;
                        println!("kept {} bytes from a visitor", stored.size);
                    }
                    None => visitors.push(visitor),
                }
            }
        }
        for sender in senders {
            sender.join().map_err(|_| "a sender panicked")??;
        }

        // With nothing else to do, the driver waits by itself.
        let name = Name::new("upload-0")?;
        let mut file = wait(&mut driver, node.try_get(writer.reader(), &name))??;
        let mut read = 0;
        loop {
            match file.try_read(&mut [0; 1 << 16]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = driver.turn(None)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("read {read} bytes of it back");
        wait(&mut driver, node.try_shutdown(Duration::from_secs(5)))?;
        Ok(())
    }

    /// Turns the node until the answer is there.
    fn wait<T>(driver: &mut Driver, mut later: Later<T>) -> io::Result<T> {
        loop {
            if let std::task::Poll::Ready(answer) = later.try_take() {
                return Ok(answer);
            }
            let _ = driver.turn(None)?;
        }
    }

    /// Somebody who sends a file.
    struct Visitor {
        stream: TcpStream,
        put: PutWriter,
        /// What the node had no room for yet. Until it has, nothing more is
        /// read, and so the sender is slowed down.
        piece: Option<Bytes>,
        all: bool,
    }

    impl Visitor {
        fn new(stream: TcpStream, put: PutWriter) -> Self {
            Self {
                stream,
                put,
                piece: None,
                all: false,
            }
        }

        /// Takes what can be had now; once the file is durable, what it is.
        fn advance(&mut self) -> Result<Option<Stored>, Box<dyn Error>> {
            loop {
                if let Some(piece) = self.piece.take() {
                    self.piece = self.put.try_push(piece)?;
                    if self.piece.is_some() {
                        return Ok(None);
                    }
                }
                if self.all {
                    return match self.put.try_finish() {
                        std::task::Poll::Ready(stored) => Ok(Some(stored?)),
                        std::task::Poll::Pending => Ok(None),
                    };
                }
                let mut piece = vec![0; 64 << 10];
                match self.stream.read(&mut piece) {
                    Ok(0) => self.all = true,
                    Ok(count) => {
                        piece.truncate(count);
                        self.piece = Some(piece.into());
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn accept(port: &TcpListener) -> io::Result<Option<TcpStream>> {
        match port.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The visitors of this example: other programs, as it were.
    fn senders(port: SocketAddr) -> Vec<thread::JoinHandle<io::Result<()>>> {
        let send = move || std::net::TcpStream::connect(port)?.write_all(&vec![7; SIZE]);
        (0..FILES).map(|_| thread::spawn(send)).collect()
    }
}
