//! What the second port is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use peerhold_core::foreverstore::{Config, Framing, Limits, OwnerId, OwnerKey, Timing};

use crate::StartError;

/// How a node speaks the Go program's language. [`ForeverstoreConfig::new`] has
/// the defaults; every field may be changed.
#[derive(Clone, Debug)]
pub struct ForeverstoreConfig {
    /// Where files lie, in that program's layout; made if need be. A directory of
    /// its own, not the node's: what peers send is kept here, as much of it as
    /// they send and the disk takes.
    pub root: PathBuf,
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
    /// Connections that others may have with it; more are dropped at once. Each
    /// takes up to twice [`Limits::window`] of memory, and the `outbox_high` of the
    /// node's configuration. Those to `bootstrap` come on top.
    pub connections: usize,
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
            id,
            key,
            framing: Framing::default(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            connections: 64,
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
    pub(crate) const fn descriptors(&self) -> usize {
        2 * (self.connections + self.bootstrap.len())
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        let wrong = |name, rule| Err(StartError::Value { name, rule });
        if self.attempts == 0 {
            return wrong("foreverstore.attempts", "must be at least 1");
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
