//! What the second port is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use peerhold_core::ConfigError;
use peerhold_core::config::BANDWIDTH_MIN;
use peerhold_core::foreverstore::{Config, Framing, Limits, OwnerId, OwnerKey, Timing};

use crate::StartError;
use crate::engine::sum;

/// Of a file, a request or an operation: names, paths, and where they are kept.
const TASK_BYTES: usize = 512;

/// How a node speaks the Go program's language. [`ForeverstoreConfig::new`] has
/// the defaults; every field may be changed.
#[derive(Clone, Debug)]
pub struct ForeverstoreConfig {
    /// Where files lie, in that program's layout; made if need be. A directory of
    /// its own, not the node's: what peers send is kept here.
    pub root: PathBuf,
    /// Bytes that may lie there, this node's own files and what was there before
    /// included; `None`: as many as the disk takes. What would be more is not
    /// kept, and [`Event::NotKept`] says so. A start looks at every file then.
    ///
    /// [`Event::NotKept`]: peerhold_core::foreverstore::Event::NotKept
    pub capacity_bytes: Option<u64>,
    /// Who this node is among them. It cannot prove it, and nobody asks.
    pub id: OwnerId,
    /// What it seals its own files with before they go to peers.
    pub key: OwnerKey,
    /// How messages are told from raw bytes.
    pub framing: Framing,
    /// Addresses to listen on, **in the clear, for whoever comes**; port 0 lets
    /// the system choose. None: it only dials.
    pub listen: Vec<SocketAddr>,
    /// Peers to dial, and to dial again when they are lost.
    pub bootstrap: Vec<SocketAddr>,
    /// Connections that others may have with it; more are dropped at once. Those to
    /// `bootstrap` come on top. What each may take of memory,
    /// [`HostConfig::memory_max`](crate::HostConfig::memory_max) counts.
    pub connections: usize,
    /// Bytes per second that may go out on all connections together, at least
    /// [`BANDWIDTH_MIN`]; `None`: as many as there are.
    pub upload: Option<u64>,
    /// Bytes per second that are read from all connections together, as `upload`.
    pub download: Option<u64>,
    /// The ceilings of one connection.
    pub limits: Limits,
    /// The deadlines of one connection.
    pub timing: Timing,
    /// How often a file is sent to a peer that then turns out not to have it: the
    /// Go program loses some.
    pub attempts: u32,
    /// How long a get waits for one peer before it asks the next one too.
    pub next_peer: Duration,
    /// How long a dial may take.
    pub dial_timeout: Duration,
    /// How long after a peer was lost, or could not be reached, it is dialled
    /// again.
    pub redial: Duration,
}

impl ForeverstoreConfig {
    /// Files in `root`, the shipped program's framing, and defaults for everything
    /// else. It listens nowhere and knows nobody.
    pub fn new(root: impl Into<PathBuf>, id: OwnerId, key: OwnerKey) -> Self {
        Self {
            root: root.into(),
            capacity_bytes: None,
            id,
            key,
            framing: Framing::default(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            connections: 64,
            upload: None,
            download: None,
            limits: Limits::default(),
            timing: Timing::default(),
            attempts: 3,
            next_peer: Duration::from_millis(500),
            dial_timeout: Duration::from_secs(5),
            redial: Duration::from_secs(2),
        }
    }

    /// The most file descriptors that the port's connections have open at once: each
    /// a socket and the file that goes through it.
    pub(crate) fn descriptors(&self) -> usize {
        sum([self.connections, self.bootstrap.len()]).saturating_mul(2)
    }

    /// The most bytes of memory that one of its connections takes, but for what
    /// waits for its socket: files on their way in and out, a message, and what its
    /// operations are about.
    pub(crate) fn connection_bytes(&self) -> usize {
        let Limits {
            window,
            chunk,
            files,
            requests,
            operations,
            gob,
            ..
        } = self.limits;
        let buffers = [window, window, chunk, chunk, gob.bytes, gob.bytes];
        let tasks = sum([files, requests, operations]).saturating_mul(TASK_BYTES);
        sum(buffers).saturating_add(tasks)
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        let wrong = |name, rule| Err(StartError::Value { name, rule });
        if self.attempts == 0 {
            return wrong("foreverstore.attempts", "must be at least 1");
        }
        let mut rates = [self.upload, self.download].into_iter().flatten();
        if let Some(rate) = rates.find(|rate| *rate < BANDWIDTH_MIN) {
            return Err(ConfigError::LittleBandwidth(rate).into());
        }
        let times = [
            ("foreverstore.next_peer", self.next_peer),
            ("foreverstore.dial_timeout", self.dial_timeout),
            ("foreverstore.redial", self.redial),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return wrong(name, "must be longer than nothing");
        }
        Ok(self.of_connections().check()?)
    }

    /// What each connection is made from.
    pub(super) fn of_connections(&self) -> Config {
        Config {
            framing: self.framing,
            limits: self.limits,
            timing: self.timing,
            ..Config::new(self.id, self.key.clone())
        }
    }
}
