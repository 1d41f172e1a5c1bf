//! One simulated machine: a node, its store, and what outlives them.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::disk::DiskDone;
use peerhold_core::{Config, ConnId, DiskOp, Instant, OpId, Taped};
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
    /// Its nodes are recorded..
    pub(crate) record: bool,
    /// ..one tape for each life.
    pub(crate) tapes: Vec<Vec<u8>>,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// How many times it was started.
    pub(crate) starts: u64,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) node: Taped,
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
        let make = match self.record {
            true => Taped::recorded,
            false => Taped::new,
        };
        let node = make(self.config.clone(), seed, now).expect("the plan's configuration is sound");
        if self.record {
            self.tapes.push(Vec::new());
        }
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

impl Machine {
    /// Takes what has been recorded of this life.
    pub(crate) fn keep_tape(&mut self) {
        if let (Some(live), Some(tape)) = (&mut self.live, self.tapes.last_mut()) {
            tape.extend_from_slice(&live.node.take());
        }
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
