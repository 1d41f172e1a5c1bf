//! Peers that mean no good, by what they do to a node's connections. They are
//! made of sockets and this project's formats, and of no node.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerhold_host::os::Identity;
use peerhold_host::peerhold_core::admission::Admission;
use peerhold_host::peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_host::peerhold_core::wire::message::{self, List, PAGE_MAX, kind};
use peerhold_host::peerhold_core::{ClusterKey, NamespaceId, NodeId, Role};
use peerhold_host::peerhold_tls::{Channel, Limits};

/// How long a node may take to answer during admission.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a frame that is said to have a body of 64 KiB, of which these
/// are the first: what is dribbled. The first ten are its header.
pub fn long_frame() -> Bytes {
    let mut out = BytesMut::new();
    let body = [0; BODY_MAX as usize];
    // A body of the greatest length fits into a frame.
    let _ = message::append(&mut out, kind::PEERS, Flags::NONE, 0, &body);
    out.freeze()
}

/// The first bytes that a client of a secure channel says.
///
/// # Errors
/// If secure channels cannot be made here.
pub fn client_hello(seed: u8) -> io::Result<Vec<u8>> {
    let mut hello = BytesMut::new();
    channel(seed)?.0.flush(&mut hello);
    Ok(hello.to_vec())
}

/// So many requests for a page of this namespace each, to be sent at once.
pub fn list_requests(namespace: NamespaceId, count: u32) -> Bytes {
    let body = message::encode(&List {
        namespace,
        after: None,
        max: PAGE_MAX,
    });
    let mut out = BytesMut::new();
    for request in 0..count {
        // The body is a few dozen bytes.
        let _ = message::append(&mut out, kind::LIST, Flags::NONE, request, &body);
    }
    out.freeze()
}

/// One frame that keeps a session alive.
pub fn ping() -> Bytes {
    let mut out = BytesMut::new();
    let _ = message::append(&mut out, kind::PING, Flags::NONE, 0, &[]);
    out.freeze()
}

/// Somebody with the cluster's key, who has been admitted, and reads nothing
/// from then on unless told to.
pub struct Insider {
    socket: TcpStream,
    channel: Channel,
}

impl fmt::Debug for Insider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insider").finish_non_exhaustive()
    }
}

impl Insider {
    /// Is admitted by the node at this address, as the node whose secret is
    /// `seed`, repeated.
    ///
    /// # Errors
    /// The socket's, or that the node does not admit it.
    pub fn enter(addr: SocketAddr, key: &ClusterKey, seed: [u8; 32]) -> io::Result<Self> {
        let (channel, id) = channel_of(seed)?;
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut insider = Self { socket, channel };
        let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
        let mut heard = BytesMut::new();
        let node = loop {
            if let Some(node) = insider.channel.peer() {
                break node;
            }
            insider.hear(&mut heard)?;
        };
        let mut admission = Admission::new(id, Role::Dialer, node, seed, 64);
        let mut hello = BytesMut::new();
        let _ = message::append(&mut hello, kind::HELLO, Flags::NONE, 0, admission.hello());
        insider.say(&hello)?;
        loop {
            let mut bytes = heard.split().freeze();
            while let Some(frame) = decoder.decode(&mut bytes).map_err(broken)? {
                if insider.admit(&mut admission, &frame, key)? {
                    return Ok(insider);
                }
            }
            insider.hear(&mut heard)?;
        }
    }

    /// Takes part in admission; `true` when the node has proven itself too.
    fn admit(
        &mut self,
        admission: &mut Admission,
        frame: &Frame,
        key: &ClusterKey,
    ) -> io::Result<bool> {
        if frame.kind != kind::HELLO {
            let keys = std::slice::from_ref(key);
            return admission
                .take_proof(&frame.body, keys)
                .map(|_| true)
                .map_err(broken);
        }
        let proof = admission.take_hello(&frame.body, key).map_err(broken)?;
        let mut out = BytesMut::new();
        let _ = message::append(&mut out, kind::PROOF, Flags::NONE, 0, &proof);
        self.say(&out).map(|()| false)
    }

    /// Says what its channel has to say, and hears what comes next.
    fn hear(&mut self, plaintext: &mut BytesMut) -> io::Result<()> {
        self.flush()?;
        let mut buffer = [0; 16 << 10];
        let count = self.socket.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = self.channel.receive(&buffer[..count], plaintext);
        self.flush()?;
        taken.map_err(broken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut wire = BytesMut::new();
        self.channel.flush(&mut wire);
        self.socket.write_all(&wire)
    }

    /// Sends these bytes, whatever they are.
    ///
    /// # Errors
    /// The socket's: most often that the node has closed it.
    pub fn say(&mut self, data: &[u8]) -> io::Result<()> {
        let mut wire = BytesMut::new();
        let sent = self.channel.send(&mut [IoSlice::new(data)], &mut wire);
        sent.map_err(broken)?;
        self.socket.write_all(&wire)
    }

    /// Says that it says nothing more. It still hears.
    ///
    /// # Errors
    /// The socket's.
    pub fn end(&mut self) -> io::Result<()> {
        self.channel.close();
        self.flush()
    }

    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// Takes what the node has sent until its end. `false` if that does not come in
/// time.
pub fn drain(mut socket: &TcpStream, patience: Duration) -> bool {
    let _ = socket.set_read_timeout(Some(patience));
    let mut buffer = vec![0; 256 << 10];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                return !late.contains(&error.kind());
            }
        }
    }
}

fn channel(seed: u8) -> io::Result<(Channel, NodeId)> {
    channel_of([seed; 32])
}

fn channel_of(seed: [u8; 32]) -> io::Result<(Channel, NodeId)> {
    let identity = Identity::from_seed(&seed);
    let endpoint = identity.endpoint(Limits::default()).map_err(broken)?;
    let channel = endpoint.client(None).map_err(broken)?;
    Ok((channel, identity.id()))
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
