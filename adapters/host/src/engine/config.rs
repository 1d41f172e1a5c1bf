//! What a node and its driver are started with, and why they cannot be.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use peerhold_core::{ClusterKey, Config, ConfigError, NodeId, PeerAddr, Ticket};
use peerhold_store::{OpenError, StoreConfig};
use peerhold_tls::Limits;

use crate::foreverstore::ForeverstoreConfig;
use crate::os::KeyError;

/// The least of every buffer, in bytes: with less, waking those who wait for
/// it takes longer than the work.
pub const BUFFER_MIN: usize = 4 << 10;

/// Everything that a driver needs to start a node. [`HostConfig::new`] has
/// the defaults; every field may be changed.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where the node keeps its store and its identity. Made if need be.
    pub data_dir: PathBuf,
    /// The node's own configuration. Its `node` is set from the identity, and
    /// its `advertise`, if empty, to the addresses that are listened on.
    ///
    /// Addresses in its `bootstrap` and `advertise` have to be literal, as
    /// `192.0.2.7:4100` or `[2001:db8::7]:4100`: names of hosts are not looked
    /// up. One that cannot be dialled is told of as
    /// [`Notice::Address`](crate::Notice::Address) whenever its turn comes.
    pub node: Config,
    /// The store's configuration.
    pub store: StoreConfig,
    /// Addresses to listen on; port 0 lets the system choose. None: this node
    /// only dials.
    pub listen: Vec<SocketAddr>,
    /// Speaks to peers without TLS. That proves and hides nothing: every
    /// program on this machine can pose as any node. So it is for tests, and
    /// this node then neither listens beyond loopback nor dials there. All of
    /// a cluster's nodes have it, or none.
    pub insecure: bool,
    /// What a secure channel takes from its peer before it knows who that is,
    /// and of what is of no use after that.
    pub channel: Limits,
    /// Threads for large jobs and for the disk. 0: the thread that turns the
    /// engine does it all, and waits for the disk.
    pub workers: usize,
    /// Jobs over this many bytes are left to the workers. Waking one costs
    /// about as much as sealing this much.
    pub inline_bytes: usize,
    /// Operations that wait until the node takes them, beyond those that run.
    pub mailbox: usize,
    /// Bytes of one put that wait in memory for the node.
    pub put_buffer: usize,
    /// Bytes of one get that wait in memory for the caller.
    pub get_buffer: usize,
    /// Notices that wait for one slow subscriber before some are dropped.
    pub events: usize,
    /// The size of the buffers that sockets are read into.
    pub read_buffer: usize,
    /// A connection's outbox is filled when it holds less than this..
    pub outbox_low: usize,
    /// ..until it holds this much.
    pub outbox_high: usize,
    /// Bytes read from, and bytes written to, one connection in one round, so
    /// that no peer holds up the others.
    pub round_bytes: usize,
    /// How long a dial may take until the peer's channel has opened, and an
    /// accepted connection until the same.
    pub open_timeout: Duration,
    /// How long a connection that is being closed may take to be rid of what
    /// is left to send, and its peer to end its side too.
    pub close_timeout: Duration,
    /// How long no connection is accepted after the system could not, for
    /// instance because it has no more file descriptors.
    pub accept_pause: Duration,
    /// How often the node is told the wall clock.
    pub wall_interval: Duration,
    /// Records everything that the node is told and does in this file, which
    /// must not exist: every start has a tape of its own. It serves to find
    /// faults, with `peerhold-replay`; the thread that turns the engine waits
    /// for it to be written.
    ///
    /// **It holds the cluster's keys, the keys of every namespace that is
    /// written or read, and the plaintext of every file that is put**, see
    /// [`peerhold_core::tape`]. It is made readable by its owner only.
    pub tape: Option<PathBuf>,
    /// Speaks the Go program's language too, on addresses of its own: **in the
    /// clear, with whoever comes**. See [`crate::foreverstore`] before setting it.
    pub foreverstore: Option<ForeverstoreConfig>,
}

impl HostConfig {
    /// A node of this cluster with its data in `data_dir` and defaults for
    /// everything else. It listens nowhere.
    ///
    /// # Errors
    /// [`StartError::Entropy`].
    pub fn new(data_dir: impl Into<PathBuf>, cluster_key: ClusterKey) -> Result<Self, StartError> {
        let entropy = crate::os::seed().map_err(StartError::Entropy)?;
        Ok(Self {
            data_dir: data_dir.into(),
            node: Config::new(NodeId([0; 32]), cluster_key),
            store: StoreConfig::new(*entropy),
            listen: Vec::new(),
            insecure: false,
            channel: Limits::default(),
            workers: 4,
            inline_bytes: 32 << 10,
            mailbox: 1024,
            put_buffer: 1 << 20,
            get_buffer: 1 << 20,
            events: 1024,
            read_buffer: 256 << 10,
            outbox_low: 128 << 10,
            outbox_high: 256 << 10,
            round_bytes: 1 << 20,
            open_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            accept_pause: Duration::from_millis(100),
            wall_interval: Duration::from_secs(5),
            tape: None,
            foreverstore: None,
        })
    }

    /// A node that joins with a ticket, with its data in `data_dir` and
    /// defaults for everything else. It listens nowhere.
    ///
    /// # Errors
    /// [`StartError::Entropy`].
    pub fn from_ticket(data_dir: impl Into<PathBuf>, ticket: &Ticket) -> Result<Self, StartError> {
        let mut config = Self::new(data_dir, ticket.cluster_key().clone())?;
        config.node = Config::join(config.node.node, ticket);
        Ok(config)
    }

    /// All addresses to listen on, in the order in which a driver numbers its
    /// listeners: the node's, and then those of the second port.
    pub fn listens(&self) -> Vec<SocketAddr> {
        let second = self.foreverstore.iter();
        let second = second.flat_map(|port| &port.listen);
        self.listen.iter().chain(second).copied().collect()
    }

    /// Checks the values against each other; the node's own are checked when
    /// it is made.
    ///
    /// # Errors
    /// [`StartError::Value`] or [`StartError::NotLoopback`].
    pub fn check(&self) -> Result<(), StartError> {
        let counts = [("mailbox", self.mailbox), ("events", self.events)];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(StartError::Value {
                name,
                rule: "must be at least 1",
            });
        }
        let sizes = [
            ("put_buffer", self.put_buffer),
            ("get_buffer", self.get_buffer),
            ("read_buffer", self.read_buffer),
            ("outbox_low", self.outbox_low),
            ("round_bytes", self.round_bytes),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size < BUFFER_MIN) {
            return Err(StartError::Value {
                name,
                rule: "must be at least 4 KiB",
            });
        }
        if self.outbox_high < self.outbox_low {
            return Err(StartError::Value {
                name: "outbox_high",
                rule: "must be at least `outbox_low`",
            });
        }
        let times = [
            ("open_timeout", self.open_timeout),
            ("accept_pause", self.accept_pause),
            ("wall_interval", self.wall_interval),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(StartError::Value {
                name,
                rule: "must be longer than nothing",
            });
        }
        if let Some(foreverstore) = &self.foreverstore {
            foreverstore.check()?;
        }
        match self.listen.iter().find(|addr| !is_loopback(addr)) {
            Some(addr) if self.insecure => Err(StartError::NotLoopback(*addr)),
            _ => Ok(()),
        }
    }
}

/// Why a node was not started. Nothing runs, and what was stored is as it
/// was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A value makes no sense.
    #[error("the setting `{name}` {rule}")]
    Value {
        /// Which.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The node's own configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A channel that proves nothing is not offered to other machines.
    #[error(
        "{0} can be reached from other machines, and `insecure` is set: unset it, or listen on loopback"
    )]
    NotLoopback(SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {}", listening(source))]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// The operating system's words.
        source: io::Error,
    },
    /// The data directory cannot be made.
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The store cannot be opened: most often another process has it, or it is
    /// another node's.
    #[error("cannot open the store in {}: {source}", path.display())]
    Store {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The second port has no place for its files.
    #[error("cannot keep files for the Go program's language in {}: {source}", path.display())]
    Root {
        /// Its root.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// There is no place for the tape.
    #[error("cannot record to {}: {}", path.display(), recording(source))]
    Tape {
        /// Which.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The identity cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Secure channels cannot be made.
    #[error(transparent)]
    Channel(#[from] peerhold_tls::ChannelError),
    /// The operating system has no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Entropy(io::Error),
    /// The driver was not polled where it can run.
    #[error("{0}")]
    Runtime(&'static str),
    /// The operating system does not tell of sockets.
    #[error("cannot wait for sockets: {0}")]
    Poll(io::Error),
    /// The operating system has no more threads.
    #[error("cannot start the worker threads: {0}")]
    Workers(io::Error),
}

/// The addresses that a node which listens on these tells its peers: not "any
/// address", which leads nowhere.
pub fn reachable(listens: &[SocketAddr]) -> Vec<PeerAddr> {
    let reachable = listens.iter().filter(|addr| !addr.ip().is_unspecified());
    reachable
        .map(|addr| PeerAddr::from(addr.to_string()))
        .collect()
}

/// Whether an address is this machine's alone.
pub(super) fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

fn listening(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another program".into(),
        _ => error.to_string(),
    }
}

fn recording(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => "there is such a file, and every tape is a new one".into(),
        _ => error.to_string(),
    }
}
