//! What handles ask for, from all peers together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use peerhold_core::disk::DiskError;
use peerhold_core::foreverstore::{Event, OpError, Outcome, Store};
use peerhold_core::{Instant, OpId};
use peerhold_store::foreverstore::Files;
use peerhold_store::vfs::OsVfs;

use crate::client::ClientError;
use crate::client::mail::Slot;

use super::client::Spread;
use super::peer::{PeerId, Stage};
use super::port::Port;

/// Something for the second port to do.
pub(crate) enum Request {
    /// With files alone.
    Errand {
        /// It may wait until the disk has written something.
        writes: bool,
        work: OwnErrand,
    },
    /// To send a file of this node's own to all peers.
    Spread(String, Arc<Slot<Spread>>),
    /// To have a file of this node's own from a peer.
    Fetch(String, Arc<Slot<Fetched>>),
}

/// Tells its caller by itself, also when it is dropped undone.
pub(crate) type OwnErrand = Box<dyn FnOnce(&Files<OsVfs>) + Send>;

/// How a fetch ended: with what every peer that was asked came to.
pub(crate) type Fetched = Result<(), Vec<(Option<SocketAddr>, OpError)>>;

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names are their callers'.
        f.write_str("Request(..)")
    }
}

impl Request {
    /// There is nobody any more who could do it.
    pub(crate) fn close(self) {
        match self {
            Self::Errand { .. } => {}
            Self::Spread(_, slot) => slot.set(Err(ClientError::Closed)),
            Self::Fetch(_, slot) => slot.set(Err(ClientError::Closed)),
        }
    }
}

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<u64, Task>,
    /// Whose operations of connections are.
    ops: BTreeMap<(PeerId, OpId), u64>,
    last: u64,
}

#[derive(Debug)]
struct Task {
    name: String,
    kind: Kind,
    /// Where the first dial has not come to anything yet: they are waited for.
    waits: BTreeSet<SocketAddr>,
    /// Peers that have not been asked, or are to be asked again.
    due: VecDeque<PeerId>,
    /// Operations of it that run.
    asked: BTreeMap<PeerId, OpId>,
    failed: Vec<(Option<SocketAddr>, OpError)>,
}

#[derive(Debug)]
enum Kind {
    Spread {
        slot: Arc<Slot<Spread>>,
        /// How often each peer was tried: at an address, or on a connection.
        tries: BTreeMap<Place, u32>,
        /// Peers that have been dialled anew, and what was wrong before.
        renewed: BTreeMap<SocketAddr, OpError>,
        confirmed: usize,
    },
    Fetch {
        slot: Arc<Slot<Fetched>>,
        /// When the next peer is asked too.
        next: Option<Instant>,
        found: bool,
    },
}

impl Task {
    /// Whether nobody waits for it any more.
    fn is_gone(&self) -> bool {
        match &self.kind {
            Kind::Spread { slot, .. } => Arc::strong_count(slot) == 1,
            Kind::Fetch { slot, .. } => Arc::strong_count(slot) == 1,
        }
    }
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = self.running.values().filter_map(|task| match &task.kind {
            Kind::Fetch { next, .. } => *next,
            Kind::Spread { .. } => None,
        });
        next.min()
    }

    pub(super) fn clear(&mut self) {
        self.ops.clear();
        for task in std::mem::take(&mut self.running).into_values() {
            match task.kind {
                Kind::Spread { slot, .. } => slot.set(Err(ClientError::Closed)),
                Kind::Fetch { slot, .. } => slot.set(Err(ClientError::Closed)),
            }
        }
    }

    pub(super) fn start(&mut self, port: &mut Port, request: Request) {
        let (name, kind) = match request {
            Request::Errand { writes, work } => return port.errand(writes, work),
            Request::Spread(name, slot) => {
                let kind = Kind::Spread {
                    slot,
                    tries: BTreeMap::new(),
                    renewed: BTreeMap::new(),
                    confirmed: 0,
                };
                (name, kind)
            }
            Request::Fetch(name, slot) => {
                let (next, found) = (None, false);
                (name, Kind::Fetch { slot, next, found })
            }
        };
        let open = port.peers.iter();
        let open = open.filter(|(_, peer)| peer.hears());
        let waits = port.addresses.iter().filter(|address| !address.tried);
        self.last += 1;
        self.running.insert(
            self.last,
            Task {
                name,
                kind,
                waits: waits.map(|address| address.addr).collect(),
                due: open.map(|(peer, _)| *peer).collect(),
                asked: BTreeMap::new(),
                failed: Vec::new(),
            },
        );
    }

    /// Takes in what connections have brought, and takes every task as far as it
    /// goes.
    pub(super) fn advance(&mut self, port: &mut Port, now: Instant) {
        for peer in std::mem::take(&mut port.news.up) {
            let addr = port.peers.get(&peer).and_then(|peer| peer.addr);
            for task in self.running.values_mut() {
                if let Some(addr) = addr
                    && task.waits.remove(&addr)
                {
                    task.due.push_back(peer);
                    if let Kind::Spread { renewed, .. } = &mut task.kind {
                        renewed.remove(&addr);
                    }
                }
            }
        }
        for address in port.addresses.iter().filter(|address| address.tried) {
            let tasks = self.running.values_mut();
            tasks.for_each(|task| _ = task.waits.remove(&address.addr));
        }
        while let Some((peer, event)) = port.news.finished.pop_front() {
            if let Event::Finished { op, result } = event
                && let Some(id) = self.ops.remove(&(peer, op))
                && let Some(task) = self.running.get_mut(&id)
            {
                task.asked.remove(&peer);
                task.ended(port, now, peer, result);
            }
        }
        let ids: Vec<u64> = self.running.keys().copied().collect();
        for id in ids {
            self.step(port, now, id);
        }
    }

    fn step(&mut self, port: &mut Port, now: Instant, id: u64) {
        let Some(task) = self.running.get_mut(&id) else {
            return;
        };
        let over = task.is_gone() || task.is_done();
        if !over {
            let ops = &mut self.ops;
            task.ask(port, now, |peer, op| {
                ops.insert((peer, op), id);
            });
        }
        if !(over || task.is_done()) {
            return;
        }
        let Some(task) = self.running.remove(&id) else {
            return;
        };
        for (peer, op) in &task.asked {
            self.ops.remove(&(*peer, *op));
            port.cancel_op(now, *peer, *op);
        }
        task.tell(port);
    }
}

impl Task {
    /// An operation has ended on a connection.
    fn ended(
        &mut self,
        port: &mut Port,
        now: Instant,
        peer: PeerId,
        result: Result<Outcome, OpError>,
    ) {
        let addr = port.peers.get(&peer).and_then(|peer| peer.addr);
        let error = match result {
            Ok(_) => {
                match &mut self.kind {
                    Kind::Spread { confirmed, .. } => *confirmed += 1,
                    Kind::Fetch { found, .. } => *found = true,
                }
                return;
            }
            Err(error) => error,
        };
        match &mut self.kind {
            // Nothing on its own disk becomes better by another try.
            Kind::Spread { tries, renewed, .. }
                if tries.get(&place(addr, peer)).copied() < Some(port.config.attempts)
                    && matches!(
                        error,
                        OpError::Silent | OpError::Differs | OpError::NotSealed(_)
                    ) =>
            {
                // Perhaps it is the connection alone that is of no use any more.
                let silent = error == OpError::Silent;
                match silent.then(|| port.renew(now, peer)).flatten() {
                    Some(addr) => {
                        self.waits.insert(addr);
                        renewed.insert(addr, error);
                    }
                    None => self.due.push_back(peer),
                }
            }
            Kind::Spread { .. } => self.failed.push((addr, error)),
            Kind::Fetch { next, .. } => {
                // The next one is asked at once.
                *next = None;
                self.failed.push((addr, error));
            }
        }
    }

    /// Whether there is nothing left to wait for.
    fn is_done(&self) -> bool {
        if matches!(self.kind, Kind::Fetch { found: true, .. }) {
            return true;
        }
        self.due.is_empty() && self.asked.is_empty() && self.waits.is_empty()
    }

    /// Asks those that it is time to ask.
    fn ask(&mut self, port: &mut Port, now: Instant, mut asked: impl FnMut(PeerId, OpId)) {
        let mut busy = VecDeque::new();
        while let Some(peer) = self.due.pop_front() {
            if let Kind::Fetch {
                next: Some(next), ..
            } = &self.kind
                && *next > now
            {
                busy.push_back(peer);
                break;
            }
            if self.is_answered(port) {
                // It has to come to an end first, good or bad.
                busy.push_back(peer);
                self.wait(port, now);
                break;
            }
            let Some(it) = port.peers.get_mut(&peer) else {
                self.failed.push((None, OpError::Closed { unknown: false }));
                continue;
            };
            if it.stage != Stage::Open {
                let error = OpError::Closed { unknown: false };
                self.failed.push((it.addr, error));
                continue;
            }
            let op = match &mut self.kind {
                Kind::Fetch { .. } => it.conn.get(now, self.name.clone()).ok(),
                Kind::Spread { tries, .. } => match iv() {
                    Ok(iv) => {
                        let (name, verify) = (self.name.clone(), true);
                        let op = it.conn.store(now, Store { name, iv, verify }).ok();
                        if op.is_some() {
                            *tries.entry(place(it.addr, peer)).or_default() += 1;
                        }
                        op
                    }
                    Err(error) => {
                        self.failed.push((it.addr, OpError::Disk(error)));
                        continue;
                    }
                },
            };
            let Some(op) = op else {
                // It has as much to do as it may: in a later round.
                busy.push_back(peer);
                self.wait(port, now);
                continue;
            };
            self.asked.insert(peer, op);
            asked(peer, op);
            self.wait(port, now);
            port.serve(now, peer);
            port.change(peer);
        }
        busy.append(&mut self.due);
        self.due = busy;
        if self.due.is_empty()
            && let Kind::Fetch { next, .. } = &mut self.kind
        {
            *next = None;
        }
    }

    /// Whether a fetch is being answered.
    fn is_answered(&self, port: &Port) -> bool {
        let begun = |(peer, op): (&PeerId, &OpId)| {
            let it = port.peers.get(peer);
            it.is_some_and(|it| !it.conn.awaits(*op))
        };
        matches!(self.kind, Kind::Fetch { .. }) && self.asked.iter().any(begun)
    }

    /// The next peer is asked some time after this one.
    fn wait(&mut self, port: &Port, now: Instant) {
        if let Kind::Fetch { next, .. } = &mut self.kind {
            *next = Some(now.saturating_add(port.config.next_peer));
        }
    }

    /// Says how it ended.
    fn tell(mut self, port: &Port) {
        match self.kind {
            Kind::Spread {
                slot,
                confirmed,
                renewed,
                ..
            } => {
                let again = renewed.into_iter();
                let again = again.map(|(addr, error)| (Some(addr), error));
                self.failed.extend(again);
                let away = |address: &&super::port::Address| {
                    let it = address.peer().and_then(|peer| port.peers.get(&peer));
                    it.is_none_or(|it| it.stage != Stage::Open)
                };
                let unreached = port.addresses.iter().filter(away);
                slot.set(Ok(Spread {
                    confirmed,
                    failed: self.failed,
                    unreached: unreached.map(|address| address.addr).collect(),
                }));
            }
            Kind::Fetch { slot, found, .. } => slot.set(Ok(match found {
                true => Ok(()),
                false => Err(self.failed),
            })),
        }
    }
}

/// A peer, as far as it can be told from others.
type Place = Result<SocketAddr, PeerId>;

fn place(addr: Option<SocketAddr>, peer: PeerId) -> Place {
    addr.ok_or(peer)
}

/// What a file's keystream begins with: never the same again.
fn iv() -> Result<[u8; 16], DiskError> {
    let seed = crate::os::seed();
    let seed = seed.map_err(|error| DiskError::Io(format!("no randomness: {error}")))?;
    let (iv, _) = seed.split_first_chunk().ok_or(DiskError::Corrupt)?;
    Ok(*iv)
}
