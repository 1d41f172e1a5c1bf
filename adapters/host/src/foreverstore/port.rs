//! The second port: its connections, the peers that it dials, and what they and
//! their files have to do with each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use peerhold_core::foreverstore::{Event, Fault, FileDone, FileKind, FileOp, Input};
use peerhold_core::{ConfigError, Instant, OpId};
use peerhold_store::foreverstore::Files;
use peerhold_store::vfs::OsVfs;

use crate::client::events::Notice;
use crate::engine::{Dial, SocketId};
use crate::link::Water;
use crate::link::outbox::Outbox;
use crate::workers::{Errand, Filed};

use super::bandwidth::Bandwidth;
use super::peer::{Peer, PeerId, Stage};
use super::tasks::{OwnErrand, Tasks};
use super::{ForeverstoreConfig, Request};

/// Something that happened at the second port.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// A connection stands.
    Up {
        /// Where it was dialled; `None` if it came from there.
        addr: Option<SocketAddr>,
    },
    /// A connection has ended.
    Down {
        /// Where it was dialled; `None` if it came from there.
        addr: Option<SocketAddr>,
        /// What the peer did wrong, if that was why.
        fault: Option<Fault>,
    },
    /// A peer could not be reached. It is dialled again.
    Unreachable {
        /// Where it should be.
        addr: SocketAddr,
    },
    /// What a peer had kept, or fetched, or wanted to.
    Peer(Event),
}

/// A peer that is dialled, and dialled again.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) addr: SocketAddr,
    /// The connection there, or the dial.
    peer: Option<PeerId>,
    /// One that did not hear, and stays.
    deaf: Option<PeerId>,
    /// When it is dialled next.
    due: Option<Instant>,
    /// Its first dial has come to something, or to nothing.
    pub(super) tried: bool,
}

impl Address {
    /// The connection there, or the dial.
    pub(super) fn peer(&self) -> Option<PeerId> {
        self.peer
    }
}

/// What connections have brought since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Ended operations, and of whom they were.
    pub(super) finished: VecDeque<(PeerId, Event)>,
    /// Connections that stand now.
    pub(super) up: Vec<PeerId>,
}

/// See the [module](self).
pub(crate) struct Port {
    pub(super) config: ForeverstoreConfig,
    files: Arc<Files<OsVfs>>,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) addresses: Vec<Address>,
    tasks: Tasks,
    pub(super) news: News,
    deadlines: BTreeSet<(Instant, PeerId)>,
    bandwidth: Bandwidth,
    now: Instant,
    changed: VecDeque<PeerId>,
    dials: VecDeque<Dial>,
    closes: VecDeque<PeerId>,
    errands: Vec<Errand>,
    told: Vec<Told>,
    water: Water,
    /// The name that was given last.
    last: u64,
    /// No connection is made any more.
    parting: bool,
}

// For the engine.
impl Port {
    pub(crate) fn new(config: ForeverstoreConfig, files: Arc<Files<OsVfs>>, water: Water) -> Self {
        let addresses = config.bootstrap.iter().map(|addr| Address {
            addr: *addr,
            peer: None,
            deaf: None,
            due: Some(Instant::ZERO),
            tried: false,
        });
        Self {
            addresses: addresses.collect(),
            bandwidth: Bandwidth::new(&config),
            now: Instant::ZERO,
            config,
            files,
            peers: BTreeMap::new(),
            tasks: Tasks::default(),
            news: News::default(),
            deadlines: BTreeSet::new(),
            changed: VecDeque::new(),
            dials: VecDeque::new(),
            closes: VecDeque::new(),
            errands: Vec::new(),
            told: Vec::new(),
            water,
            last: 0,
            parting: false,
        }
    }

    /// One round: acts on what is due, and on what handles ask for.
    pub(crate) fn turn(&mut self, now: Instant, requests: Vec<Request>) {
        self.now = now;
        for peer in self.bandwidth.next(now) {
            self.serve(now, peer);
            self.change(peer);
        }
        self.expire(now);
        self.dial_due(now);
        let mut tasks = std::mem::take(&mut self.tasks);
        for request in requests {
            tasks.start(self, request);
        }
        tasks.advance(self, now);
        self.tasks = tasks;
    }

    /// When it is to be turned at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let peers = self.deadlines.first().map(|(at, _)| *at);
        let dials = self.addresses.iter().filter_map(|address| address.due);
        let dials = dials.filter(|_| !self.parting);
        let tasks = self.tasks.deadline();
        // Without threads a turn brings what only the next one looks at.
        let news = self.has_news().then_some(Instant::ZERO);
        let waits = dials.chain(peers).chain(tasks).chain(news);
        waits.chain(self.bandwidth.deadline()).min()
    }

    fn has_news(&self) -> bool {
        let News { finished, up } = &self.news;
        !(finished.is_empty() && up.is_empty() && self.told.is_empty() && self.errands.is_empty())
    }

    /// What its files are to do.
    pub(crate) fn take_errands(&mut self) -> Vec<Errand> {
        std::mem::take(&mut self.errands)
    }

    /// What subscribers are to be told.
    pub(crate) fn take_notices(&mut self) -> impl Iterator<Item = Notice> {
        let told = std::mem::take(&mut self.told);
        told.into_iter().map(Notice::Foreverstore)
    }

    /// Whether something runs that a handle has asked for.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Nothing that runs is waited for any more.
    pub(crate) fn cancel(&mut self) {
        self.tasks.clear();
    }

    /// Closes every connection.
    pub(crate) fn part(&mut self, now: Instant) {
        self.parting = true;
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|peer| self.closed(now, peer));
    }

    /// Whether no connection is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A file operation is done.
    pub(crate) fn filed(&mut self, now: Instant, peer: PeerId, done: FileDone) {
        if let Some(it) = self.peers.get_mut(&peer) {
            it.conn.handle(now, Input::File(done));
            self.serve(now, peer);
            self.change(peer);
        }
    }
}

// For the driver, through the engine.
impl Port {
    pub(crate) fn accept(&mut self, now: Instant) -> Option<PeerId> {
        let theirs = self.peers.values().filter(|peer| peer.addr.is_none());
        if self.parting || theirs.count() >= self.config.connections {
            return None;
        }
        let peer = self.insert(now, None).ok()?;
        self.stands(now, peer);
        Some(peer)
    }

    pub(crate) fn poll_dial(&mut self) -> Option<Dial> {
        self.dials.pop_front()
    }

    pub(crate) fn dialled(&mut self, now: Instant, peer: PeerId) -> bool {
        let it = self.peers.get(&peer);
        let wanted = it.is_some_and(|it| it.stage == Stage::Dialling);
        if wanted {
            self.stands(now, peer);
        }
        wanted
    }

    pub(crate) fn poll_changed(&mut self) -> Option<PeerId> {
        loop {
            let peer = self.changed.pop_front()?;
            if let Some(it) = self.peers.get_mut(&peer) {
                it.listed = false;
                return Some(peer);
            }
        }
    }

    pub(crate) fn poll_close(&mut self) -> Option<PeerId> {
        self.closes.pop_front()
    }

    pub(crate) fn read_space(&self, peer: PeerId) -> usize {
        let space = self.peers.get(&peer).map_or(0, Peer::read_space);
        space.min(self.bandwidth.download.room(peer, self.now))
    }

    pub(crate) fn outbox(&self, peer: PeerId) -> Option<&Outbox> {
        self.peers.get(&peer).map(Peer::outbox)
    }

    pub(crate) fn received(&mut self, now: Instant, peer: PeerId, data: Bytes) {
        if let Some(it) = self.peers.get_mut(&peer) {
            self.now = now;
            self.bandwidth.download.moved(peer, data.len(), now);
            it.received(now, data);
            self.serve(now, peer);
        }
    }

    pub(crate) fn wrote(&mut self, now: Instant, peer: PeerId, count: usize) {
        if let Some(it) = self.peers.get_mut(&peer) {
            it.wrote(now, count);
            self.serve(now, peer);
        }
    }

    /// A connection's socket has ended, or a dial has come to nothing.
    pub(crate) fn closed(&mut self, now: Instant, peer: PeerId) {
        self.lose(now, peer, None);
        self.serve(now, peer);
    }
}

// Within.
impl Port {
    fn insert(&mut self, now: Instant, addr: Option<SocketAddr>) -> Result<PeerId, ConfigError> {
        self.last += 1;
        let peer = PeerId(self.last);
        let it = Peer::new(&self.config, addr, now)?;
        self.peers.insert(peer, it);
        Ok(peer)
    }

    fn stands(&mut self, now: Instant, peer: PeerId) {
        let Some(it) = self.peers.get_mut(&peer) else {
            return;
        };
        it.stage = Stage::Open;
        self.told.push(Told::Up { addr: it.addr });
        self.news.up.push(peer);
        self.tried(peer);
        self.serve(now, peer);
        self.change(peer);
    }

    fn tried(&mut self, peer: PeerId) {
        let mut all = self.addresses.iter_mut();
        if let Some(address) = all.find(|address| address.peer == Some(peer)) {
            address.tried = true;
        }
    }

    /// Dials whom it is time to dial.
    fn dial_due(&mut self, now: Instant) {
        if self.parting {
            return;
        }
        for at in 0..self.addresses.len() {
            let addr = match &self.addresses[at] {
                Address {
                    addr,
                    due: Some(due),
                    ..
                } if *due <= now => *addr,
                _ => continue,
            };
            // The configuration was checked when the engine was made.
            let peer = self.insert(now, Some(addr)).ok();
            self.addresses[at].due = None;
            self.addresses[at].peer = peer;
            if let Some(peer) = peer {
                self.arm(peer, Some(now.saturating_add(self.config.dial_timeout)));
                let conn = SocketId::Foreverstore(peer);
                self.dials.push_back(Dial { conn, addr });
            }
        }
    }

    /// A connection is over: its socket is to be closed, and what it has begun
    /// ends.
    fn lose(&mut self, now: Instant, peer: PeerId, fault: Option<Fault>) {
        let Some(it) = self.peers.get_mut(&peer) else {
            return;
        };
        let addr = it.addr;
        match (it.stage, addr) {
            (Stage::Over, _) => return,
            (Stage::Dialling, Some(addr)) => self.told.push(Told::Unreachable { addr }),
            _ => self.told.push(Told::Down { addr, fault }),
        }
        it.end(now);
        self.closes.push_back(peer);
        self.tried(peer);
        let due = now.saturating_add(self.config.redial);
        for address in &mut self.addresses {
            address.deaf.take_if(|deaf| *deaf == peer);
        }
        let mut all = self.addresses.iter_mut();
        if let Some(address) = all.find(|address| address.peer == Some(peer)) {
            (address.peer, address.due) = (None, Some(due));
        }
    }

    /// Dials in place of a connection on which nothing is answered any more: two
    /// goroutines of the Go program may be at odds over it for good. It stays; a
    /// second one beside it is not dialled as long as it does. Where that was
    /// dialled, if it is.
    pub(super) fn renew(&mut self, now: Instant, peer: PeerId) -> Option<SocketAddr> {
        let mut all = self.addresses.iter_mut();
        let address = all.find(|address| address.peer == Some(peer))?;
        let it = self.peers.get_mut(&peer)?;
        if address.deaf.is_some() || self.parting {
            return None;
        }
        it.deaf = true;
        address.deaf = address.peer.take();
        (address.due, address.tried) = (Some(now), false);
        Some(address.addr)
    }

    pub(super) fn errand(&mut self, writes: bool, work: OwnErrand) {
        let files = Arc::clone(&self.files);
        let work = Box::new(move || {
            work(&files);
            Filed::Told
        });
        self.errands.push(Errand { writes, work });
    }

    /// Nobody waits for an operation any more.
    pub(super) fn cancel_op(&mut self, now: Instant, peer: PeerId, op: OpId) {
        if let Some(it) = self.peers.get_mut(&peer) {
            it.conn.cancel(now, op);
            self.serve(now, peer);
            self.change(peer);
        }
    }

    /// Takes what a connection has to say, and gives it what it can have.
    pub(super) fn serve(&mut self, now: Instant, peer: PeerId) {
        let mut closing = None;
        loop {
            let Some(it) = self.peers.get_mut(&peer) else {
                return;
            };
            let upload = &mut self.bandwidth.upload;
            let filled = it.fill(self.water, upload.room(peer, now));
            if filled > 0 {
                upload.moved(peer, filled, now);
            }
            if let Some(op) = it.poll_file() {
                let files = Arc::clone(&self.files);
                self.errands.push(Errand {
                    writes: writes(&op),
                    work: Box::new(move || Filed::Of(peer, files.execute(peer.0, op))),
                });
            } else if let Some(event) = it.poll_event() {
                match event {
                    Event::Finished { .. } => self.news.finished.push_back((peer, event)),
                    Event::Close { fault } => closing = Some(fault),
                    event => self.told.push(Told::Peer(event)),
                }
            } else if let Some(fault) = closing.take() {
                self.lose(now, peer, Some(fault));
            } else {
                break;
            }
        }
        let Some(it) = self.peers.get_mut(&peer) else {
            return;
        };
        if it.stage == Stage::Over && it.conn.is_over() {
            self.arm(peer, None);
            self.bandwidth.forget(peer);
            self.peers.remove(&peer);
            return;
        }
        if it.stage != Stage::Dialling {
            let deadline = it.conn.deadline().map(|(at, _)| at);
            self.arm(peer, deadline);
        }
    }

    /// The driver is to look at this connection: something else than its socket
    /// has changed it. What its socket brings changes it while the driver looks.
    pub(super) fn change(&mut self, peer: PeerId) {
        if let Some(it) = self.peers.get_mut(&peer)
            && !std::mem::replace(&mut it.listed, true)
        {
            self.changed.push_back(peer);
        }
    }

    fn arm(&mut self, peer: PeerId, deadline: Option<Instant>) {
        let Some(it) = self.peers.get_mut(&peer) else {
            return;
        };
        if let Some(old) = it.deadline {
            self.deadlines.remove(&(old, peer));
        }
        it.deadline = deadline;
        self.deadlines.extend(deadline.map(|at| (at, peer)));
    }

    /// Lets connections act on deadlines that have passed, and gives up dials.
    fn expire(&mut self, now: Instant) {
        while let Some((at, peer)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.arm(peer, None);
            match self.peers.get_mut(&peer) {
                Some(it) if it.stage == Stage::Dialling => self.lose(now, peer, None),
                Some(it) => it.conn.handle_timeout(now),
                None => {}
            }
            self.serve(now, peer);
            self.change(peer);
        }
    }
}

/// Whether an operation may wait for the disk to be written to.
fn writes(op: &FileOp) -> bool {
    !matches!(
        op.kind(),
        FileKind::Open { .. } | FileKind::Read { .. } | FileKind::Close { .. }
    )
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
