//! One simulated machine: a node, its store, and what outlives them.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::disk::DiskDone;
use peerhold_core::{Config, ConnId, DiskOp, Instant, Node, OpId};
use peerhold_store::vfs::MemVfs;
use peerhold_store::{Store, StoreConfig};

use crate::task::Running;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) config: Config,
    /// Most bytes that its store holds of one namespace.
    pub(crate) namespace_bytes: Option<u64>,
    pub(crate) disk: MemVfs,
    /// `None` while it is off.
    pub(crate) live: Option<Live>,
    /// Operations of all its lives.
    pub(crate) tasks: BTreeMap<OpId, Running>,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// How many times it was started.
    pub(crate) starts: u64,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) node: Node,
    pub(crate) store: Store<MemVfs>,
    /// Disk operations for the next batch.
    pub(crate) batch: Vec<DiskOp>,
    /// A batch is being executed.
    pub(crate) disk_busy: bool,
    /// Connections that want to send but had no room.
    pub(crate) blocked: BTreeSet<ConnId>,
    /// Connections to be closed once all was sent.
    pub(crate) closing: BTreeSet<ConnId>,
    /// The deadline that is armed.
    pub(crate) armed: Option<Instant>,
}

impl Machine {
    pub(crate) fn start(&mut self, seed: [u8; 32], entropy: [u8; 32], now: Instant) {
        self.starts += 1;
        let mut config = StoreConfig::new(entropy);
        config.cache_bytes = 1 << 20;
        config.namespace_bytes = self.namespace_bytes;
        let store = Store::open(self.disk.clone(), config).expect("a disk without faults opens");
        let node =
            Node::new(self.config.clone(), seed, now).expect("the plan's configuration is sound");
        self.live = Some(Live {
            node,
            store,
            batch: Vec::new(),
            disk_busy: false,
            blocked: BTreeSet::new(),
            closing: BTreeSet::new(),
            armed: None,
        });
    }
}

impl Live {
    /// Executes what has gathered, reads and writes together.
    pub(crate) fn execute(&mut self) -> Vec<DiskDone> {
        let batch = std::mem::take(&mut self.batch);
        let prepared = batch.into_iter().map(|op| self.store.prepare(op)).collect();
        self.store.commit(prepared)
    }
}
