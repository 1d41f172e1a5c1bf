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

/// What one connection's secure channel keeps: an unfinished record, and keys.
const CHANNEL_BYTES: usize = 64 << 10;
/// What one operation that waits for the node takes.
const MAIL_BYTES: usize = 2 << 10;
/// What a runtime waits with: its poll, its timer, its waker, and as many again
/// for one that runs beside it.
const RUNTIME_DESCRIPTORS: usize = 8;

/// Everything that a driver needs to start a node. [`HostConfig::new`] has
/// the defaults; every field may be changed.
///
/// # Ceilings
///
/// What a node may use at most, whoever asks for more. `node.limits` is a
/// [`Limits`](peerhold_core::Limits), `store` a [`StoreConfig`].
///
/// | of | set by | by default | at the ceiling |
/// | --- | --- | --- | --- |
/// | memory for files | `node.limits.memory` | 64 MiB | puts and gets wait, peers' claims and fetches wait or are refused |
/// | memory beside it | what else is set, see [`HostConfig::memory_max`] | | as each |
/// | connections | `node.limits.connections` | 256 | who is not admitted gives way to who comes, [`Notice::Crowded`](crate::Notice::Crowded) |
/// | file descriptors | `descriptors` | 512 | the node does not start if its other limits come to more; where the process has none left, [`Notice::Accept`](crate::Notice::Accept), [`Notice::Dial`](crate::Notice::Dial) and [`Notice::Trouble`](crate::Notice::Trouble), and it is tried again |
/// | bytes on disk | `store.capacity_bytes`, for one namespace `store.namespace_bytes`, for the second port `foreverstore.capacity_bytes` | the disk's | what would be more is refused, with `NoSpace` or the quota; [`Notice::Trouble`](crate::Notice::Trouble), of the second port [`Notice::Foreverstore`](crate::Notice::Foreverstore) |
/// | bandwidth | `node.limits.upload`, `node.limits.download`, for the second port `foreverstore.upload`, `foreverstore.download` | none | peers wait, in equal parts |
/// | operations | `node.limits.operations`, and those that wait for them, `mailbox` | 32, 1024 | calls wait, or answer [`ClientError::Busy`](crate::ClientError::Busy) |
/// | requests of one peer | `node.limits.requests` | 512 | its session ends |
/// | operations on the disk | `node.limits.disk_operations` | 64 | nothing is read from peers |
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
    /// How long is read from, and written to, one connection in one round at most,
    /// but for what has begun: small requests take longer than as much of a file.
    pub round_time: Duration,
    /// Bytes that a connection's socket takes before it has begun to send them,
    /// where the system lets that be set (Linux); 0: as many as the system likes,
    /// which are megabytes for a peer that does not read. What is on its way comes
    /// on top, as much as the path to the peer takes.
    pub unsent: u32,
    /// How long a dial may take until the peer's channel has opened, and an
    /// accepted connection until the same.
    pub open_timeout: Duration,
    /// How long a connection that is being closed may take to be rid of what
    /// is left to send, and its peer to end its side too.
    pub close_timeout: Duration,
    /// How long no connection is accepted after the system could not, for
    /// instance because it has no more file descriptors.
    pub accept_pause: Duration,
    /// File descriptors that this node may have at once: sockets, and files.
    /// What the other limits come to ([`HostConfig::descriptors_needed`]) must fit
    /// into it, and it into what the process may have.
    pub descriptors: u64,
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
            round_time: Duration::from_micros(500),
            unsent: 128 << 10,
            open_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            accept_pause: Duration::from_millis(100),
            descriptors: 512,
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

    /// How many file descriptors the node may have at once by its other limits:
    /// its connections and one that is turned away, its listeners, what a
    /// runtime waits with, the tape, the second port's, and the store's.
    pub fn descriptors_needed(&self) -> u64 {
        let connections = self.node.limits.connections as usize;
        let listens = self.listens().len();
        let own = RUNTIME_DESCRIPTORS + 1 + usize::from(self.tape.is_some());
        let port = self.foreverstore.as_ref();
        let port = port.map_or(0, ForeverstoreConfig::descriptors);
        let store = self.store.descriptors(self.workers.max(1));
        sum([connections, listens, own, port, store]) as u64
    }

    /// The most bytes of memory that the node's buffers come to by its limits,
    /// which is more than it uses in practice: files, what is read from and
    /// written to each connection, the state of its channel, what waits in the
    /// session, the store's index and groups, and the second port's connections. What
    /// the allocator, the program itself and its threads' stacks take comes on top.
    pub fn memory_max(&self) -> usize {
        let limits = &self.node.limits;
        let session = sum([
            self.read_buffer / 4,
            self.outbox_high,
            2 * peerhold_core::wire::frame::BODY_MAX as usize,
            CHANNEL_BYTES,
        ]);
        let port = self.foreverstore.as_ref();
        let port = port.map_or(0, |port| {
            let one = [port.connection_bytes(), self.read_buffer, self.outbox_high];
            sum(one).saturating_mul(port.connections.saturating_add(port.bootstrap.len()))
        });
        sum([
            limits.memory,
            session.saturating_mul(limits.connections as usize),
            limits.answers_max(),
            limits.spares_max(),
            self.mailbox.saturating_mul(MAIL_BYTES),
            sum([self.put_buffer, self.get_buffer]).saturating_mul(limits.operations as usize),
            self.store.cache_bytes,
            self.store.group_bytes.saturating_mul(4),
            self.read_buffer,
            port,
        ])
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
    /// [`StartError::Value`], [`StartError::Descriptors`],
    /// [`StartError::ProcessDescriptors`] or [`StartError::NotLoopback`].
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
            ("round_time", self.round_time),
            ("open_timeout", self.open_timeout),
            ("close_timeout", self.close_timeout),
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
        let needed = self.descriptors_needed();
        if needed > self.descriptors {
            let allowed = self.descriptors;
            return Err(StartError::Descriptors { needed, allowed });
        }
        if let Some(allowed) = crate::os::descriptors_max().filter(|allowed| needed > *allowed) {
            return Err(StartError::ProcessDescriptors { needed, allowed });
        }
        match self.listen.iter().find(|addr| !is_loopback(addr)) {
            Some(addr) if self.insecure => Err(StartError::NotLoopback(*addr)),
            _ => Ok(()),
        }
    }
}

/// What cannot be had anyway is not exact.
pub(crate) fn sum<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
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
    /// The other limits come to more file descriptors than the configuration
    /// allows.
    #[error(
        "these limits need {needed} file descriptors, and `descriptors` is {allowed}: raise it, or lower `connections` or `open_segments`"
    )]
    Descriptors {
        /// What the other limits come to.
        needed: u64,
        /// The setting.
        allowed: u64,
    },
    /// The limits come to more file descriptors than this process may have.
    #[error(
        "these limits need {needed} file descriptors, and this process may have {allowed}: let it have more (`ulimit -n`), or lower `connections` or `open_segments`"
    )]
    ProcessDescriptors {
        /// What the limits come to.
        needed: u64,
        /// What the system allows the process.
        allowed: u64,
    },
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
    /// The data directory, or the root of the second port, cannot be made or is no
    /// place for a node's files.
    #[error("cannot keep files in {}: {source}", path.display())]
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
