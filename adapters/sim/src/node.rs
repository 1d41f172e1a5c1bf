//! One simulated machine: a node, its store, and what outlives them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerhold_core::disk::DiskDone;
use peerhold_core::{Config, ConnId, Instant, OpId, Taped, UnixMillis};
use peerhold_store::{OpenError, Prepared, Store, StoreConfig};

use crate::disk::{Mount, SimDisk};
use crate::faults::Death;
use crate::liar::Liar;
use crate::task::Running;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) config: Config,
    pub(crate) store: StoreConfig,
    pub(crate) disk: SimDisk,
    /// `None` while it is off.
    pub(crate) live: Option<Live>,
    /// Operations of all its lives.
    pub(crate) tasks: BTreeMap<(u64, OpId), Running>,
    /// Its nodes are recorded..
    pub(crate) record: bool,
    /// ..one tape for each life.
    pub(crate) tapes: Vec<Vec<u8>>,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// Until when its wall clock shows this.
    pub(crate) frozen: (Instant, UnixMillis),
    /// How many times it was started.
    pub(crate) starts: u64,
    /// Until when nothing of it runs.
    pub(crate) paused: Instant,
    /// Until when it reads so few bytes of each connection at once.
    pub(crate) sips: (Instant, usize),
    /// Until when its disk takes this much longer for everything.
    pub(crate) slow: (Instant, Duration),
    /// Until when its disk fails.
    pub(crate) failing: Instant,
    /// How it dies if its disk stops in the middle of something, and after
    /// what time it starts again.
    pub(crate) stop: (Death, Duration),
    /// What it does to those who rely on it.
    pub(crate) liar: Option<Liar>,
}

/// A machine that runs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) node: Taped,
    pub(crate) store: Store<Mount>,
    /// Prepared writes for the next commit.
    pub(crate) prepared: Vec<Prepared>,
    /// A commit is on its way.
    pub(crate) committing: bool,
    /// Connections that want to send but had no room.
    pub(crate) blocked: BTreeSet<ConnId>,
    /// Connections to be closed once all was sent.
    pub(crate) closing: BTreeSet<ConnId>,
    /// Dials that the node has given up.
    pub(crate) undone: BTreeSet<ConnId>,
    /// Connections of nobody's, see [`crate::Cluster::storm`].
    pub(crate) ghosts: BTreeSet<ConnId>,
    /// The earliest deadline that is on the agenda.
    pub(crate) armed: Option<Instant>,
    /// It dies after so many more outputs of its node's.
    pub(crate) fuse: Option<u32>,
    /// Deadlines in a row at one moment.
    pub(crate) spins: (Instant, u32),
}

impl Machine {
    /// Opens its store and makes its node.
    pub(crate) fn start(
        &mut self,
        seed: [u8; 32],
        entropy: [u8; 32],
        now: Instant,
    ) -> Result<(), OpenError> {
        let mut config = self.store.clone();
        config.entropy = entropy;
        let store = Store::open(self.disk.mount(), config)?;
        store.claim(self.config.node)?;
        self.starts += 1;
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
            prepared: Vec::new(),
            committing: false,
            blocked: BTreeSet::new(),
            closing: BTreeSet::new(),
            undone: BTreeSet::new(),
            ghosts: BTreeSet::new(),
            armed: None,
            fuse: None,
            spins: (now, 0),
        });
        Ok(())
    }

    /// Takes what has been recorded of this life.
    pub(crate) fn keep_tape(&mut self) {
        if let (Some(live), Some(tape)) = (&mut self.live, self.tapes.last_mut()) {
            tape.extend_from_slice(&live.node.take());
        }
    }
}

impl Live {
    /// Commits what was prepared.
    pub(crate) fn commit(&mut self) -> Vec<DiskDone> {
        self.store.commit(std::mem::take(&mut self.prepared))
    }

    /// Whether the next output is the last one.
    pub(crate) fn burns(&mut self) -> bool {
        match &mut self.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}
