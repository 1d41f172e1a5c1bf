//! What every part of the node works with: the world as it knows it, and the
//! queues to it. Parts never call each other; an answer for one of them waits
//! in [`Ctx::answers`] until the node hands it over.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::Rng;

use super::book::Book;
use super::events::Events;
use super::given::{Given, is_far_ahead};
use super::membership::Heard;
use super::promises::Promises;
use super::queues::{Budget, DiskQueue, JobQueue};
use super::roll::{Roll, fingerprint};
use super::seen::Seen;
use super::session::Session;
use super::spares::Spares;
use super::task::{Answer, DiskTask, JobTask, Waiter};
use crate::bug::{self, Bug};
use crate::config::Config;
use crate::disk::{Debt, DiskKind, RecordKey};
use crate::id::{BlobId, ConnId, Mint, NodeId, OpId};
use crate::job::Work;
use crate::output::Wake;
use crate::pace::Pace;
use crate::placement::{Placement, Slot};
use crate::time::{Instant, UnixMillis};
use crate::timers::Timers;
use crate::version::Version;
use crate::wire::frame::Flags;
use crate::wire::message::kind;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Admission(ConnId),
    Alive(ConnId),
    Request(ConnId, u32),
    /// Requests that have not gone out.
    Queue(ConnId),
    /// The rest of an operation's answers.
    Answer(OpId),
    /// Another try at what failed.
    Retry(OpId),
    /// An operation's lack of progress.
    Progress(OpId),
    Dial,
    Debts,
    /// A peer that places by other members.
    Map(NodeId),
    /// Another try at loading the store.
    Load,
    /// Another try at writing down what the node keeps for itself.
    Books,
    /// The next turn of what goes out.
    Upload,
    /// The next turn of what comes in.
    Download,
}

impl Timer {
    pub(super) const fn wake(self) -> Wake {
        match self {
            Self::Admission(_) => Wake::Admission,
            Self::Alive(_) => Wake::KeepAlive,
            Self::Request(..) | Self::Queue(_) => Wake::Request,
            Self::Answer(_) => Wake::Answer,
            Self::Retry(_) | Self::Progress(_) | Self::Debts | Self::Load | Self::Books => {
                Wake::Operation
            }
            Self::Dial => Wake::Dial,
            Self::Map(_) => Wake::Members,
            Self::Upload | Self::Download => Wake::Bandwidth,
        }
    }
}

/// A blob that a put holds in memory, for its replicas to fetch.
#[derive(Debug)]
struct Hot {
    bytes: Bytes,
    holders: u32,
}

#[derive(Debug)]
pub(super) struct Ctx {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) wall: UnixMillis,
    pub(super) rng: ChaCha20Rng,
    pub(super) mint: Mint,
    pub(super) ready: bool,
    /// Records or blobs are held here.
    pub(super) holding: bool,
    /// How versions name this start of this node.
    pub(super) writer: [u8; 8],
    given: Given,
    pub(super) members: Roll,
    placement: Placement,
    /// What it chooses from, in short.
    pub(super) candidates: [u8; 32],
    pub(super) sessions: BTreeMap<ConnId, Session>,
    /// Connections named by [`crate::Node::accept`] and not opened yet.
    pub(super) accepted: BTreeSet<ConnId>,
    /// Those of them, and of the sessions, whose peer has come and is not
    /// admitted yet.
    pub(super) coming: BTreeSet<ConnId>,
    /// Connections that the driver is dialling.
    pub(super) dialling: BTreeSet<ConnId>,
    /// What peers with a session have told of members.
    pub(super) heard: BTreeMap<NodeId, Heard>,
    /// Nodes that get no session.
    pub(super) denied: BTreeSet<NodeId>,
    /// The one session by which each peer is reached.
    pub(super) peers: BTreeMap<NodeId, ConnId>,
    pub(super) book: Book,
    pub(super) dirty: BTreeSet<ConnId>,
    pub(super) timers: Timers<Timer>,
    pub(super) disk: DiskQueue<DiskTask>,
    pub(super) jobs: JobQueue<JobTask>,
    pub(super) events: Events,
    pub(super) answers: VecDeque<(Waiter, NodeId, Answer)>,
    /// Peers that can be reached again since their operations were last told.
    pub(super) ups: Vec<NodeId>,
    /// Connections of sessions that have ended and may still be served.
    pub(super) parted: Vec<ConnId>,
    hot: BTreeMap<BlobId, Hot>,
    /// Blobs that are no longer kept in memory, for those that they go to.
    pub(super) cooled: Vec<BlobId>,
    /// Blobs that operations are about to drop here, while nobody else comes to
    /// count on them.
    forgetting: BTreeMap<BlobId, Vec<OpId>>,
    /// Copies owed, each with the operation that will settle when it is paid.
    pub(super) debts: BTreeMap<Debt, Option<OpId>>,
    /// How many more operations will owe when their records are sealed.
    pub(super) owing: usize,
    /// Copies of records that writes under way may come to owe.
    pub(super) may_come: usize,
    /// Operations whose records are not durable enough yet: what they owe is
    /// not to be paid before.
    pub(super) unwritten: BTreeSet<OpId>,
    /// What was seen of names.
    pub(super) seen: Seen,
    /// What replicas have acknowledged.
    pub(super) promises: Promises,
    /// How many copies each operation owes.
    pub(super) settling: BTreeMap<OpId, u32>,
    /// Those of them that have nothing else left to do.
    pub(super) settling_alone: BTreeSet<OpId>,
    /// Puts that wait for room.
    put_waiting: BTreeSet<OpId>,
    /// Gets that wait for room.
    pub(super) get_waiting: BTreeSet<OpId>,
    /// There is room for one of them.
    pub(super) get_room: bool,
    put_pool: Budget,
    pub(super) get_pool: Budget,
    pub(super) receive_pool: Budget,
    pub(super) serve_pool: Budget,
    pub(super) spares: Spares,
    pub(super) upload: Pace<ConnId>,
    pub(super) download: Pace<ConnId>,
    /// When it was last told that those who come are too many.
    pub(super) crowded: Option<Instant>,
    /// When it was last told that the store fails peers.
    pub(super) troubled: Option<Instant>,
}

/// Slots whose order is kept in memory.
const PLACEMENT_CACHE: usize = 4096;

impl Ctx {
    pub(super) fn new(config: Config, rng: ChaCha20Rng, now: Instant) -> Self {
        let share = Budget::new(config.limits.share());
        let replicas = config.replicas;
        let book = Book::new(&config.bootstrap, config.limits.addresses as usize);
        let seen = Seen::new(config.limits.seen as usize);
        let promises = Promises::new(config.limits.seen as usize);
        let disk = DiskQueue::new(config.limits.disk_operations as usize);
        let members = Roll::new(&config);
        let denied = config.deny.iter().copied().collect();
        let (upload, download) = (config.limits.upload, config.limits.download);
        let (upload, download) = (Pace::new(upload), Pace::new(download));
        Self {
            config,
            now,
            wall: UnixMillis(0),
            rng,
            mint: Mint::new(),
            ready: false,
            holding: false,
            writer: [0; 8],
            given: Given::default(),
            members,
            placement: Placement::new(&[], usize::from(replicas), PLACEMENT_CACHE),
            candidates: fingerprint(&[]),
            sessions: BTreeMap::new(),
            accepted: BTreeSet::new(),
            coming: BTreeSet::new(),
            dialling: BTreeSet::new(),
            heard: BTreeMap::new(),
            denied,
            peers: BTreeMap::new(),
            book,
            dirty: BTreeSet::new(),
            timers: Timers::new(),
            disk,
            jobs: JobQueue::new(),
            events: Events::new(),
            answers: VecDeque::new(),
            ups: Vec::new(),
            parted: Vec::new(),
            hot: BTreeMap::new(),
            cooled: Vec::new(),
            forgetting: BTreeMap::new(),
            debts: BTreeMap::new(),
            owing: 0,
            may_come: 0,
            unwritten: BTreeSet::new(),
            seen,
            promises,
            settling: BTreeMap::new(),
            settling_alone: BTreeSet::new(),
            put_waiting: BTreeSet::new(),
            get_waiting: BTreeSet::new(),
            get_room: false,
            put_pool: share,
            get_pool: share,
            receive_pool: share,
            serve_pool: share,
            spares: Spares::default(),
            upload,
            download,
            crowded: None,
            troubled: None,
        }
    }

    pub(super) fn me(&self) -> NodeId {
        self.config.node
    }

    pub(super) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    pub(super) fn submit(&mut self, kind: DiskKind, task: DiskTask) {
        let owner = task.owner();
        self.disk.submit(kind, task, owner);
    }

    /// Whether so much of what a connection's peer has asked for waits for the
    /// disk that no more is read from it.
    pub(super) fn asks_much(&self, conn: ConnId) -> bool {
        self.disk.len_of(Some(conn)) >= self.config.limits.disk_operations as usize
    }

    /// The disk has done one thing of those that a connection's peer has asked
    /// for: if it was not read before, it is now.
    pub(super) fn asks_less(&mut self, conn: ConnId) {
        let left = self.disk.len_of(Some(conn));
        let read_on = left + 1 == self.config.limits.disk_operations as usize;
        if read_on && self.sessions.contains_key(&conn) {
            self.dirty.insert(conn);
        }
    }

    pub(super) fn job(&mut self, work: Work, task: JobTask) {
        self.jobs.submit(&mut self.mint, work, task);
    }

    pub(super) fn arm(&mut self, timer: Timer, after: core::time::Duration) {
        self.timers.set(timer, self.now.saturating_add(after));
    }

    /// The map has changed: placement follows.
    pub(super) fn replace_placement(&mut self) {
        let replicas = usize::from(self.config.replicas);
        let candidates = self.members.candidates();
        self.candidates = fingerprint(&candidates);
        self.placement = Placement::new(&candidates, replicas, PLACEMENT_CACHE);
    }

    /// The replicas of a blob: R of them, or fewer where there are fewer
    /// members.
    pub(super) fn blob_replicas(&mut self, id: &BlobId) -> Vec<NodeId> {
        self.placement.replicas(Slot::of_blob(id)).to_vec()
    }

    /// Every member in the order in which a blob is looked for, itself first
    /// if it is one.
    pub(super) fn blob_sources(&mut self, id: &BlobId) -> VecDeque<NodeId> {
        let mut sources: VecDeque<NodeId> = self.placement.order(Slot::of_blob(id)).nodes.into();
        if let Some(at) = sources.iter().position(|node| *node == self.config.node) {
            sources.remove(at);
            sources.push_front(self.config.node);
        }
        sources
    }

    /// The replicas of a name's records.
    pub(super) fn record_replicas(&mut self, key: &RecordKey) -> Vec<NodeId> {
        self.placement
            .replicas(Slot::of_record(&key.namespace, &key.tag))
            .to_vec()
    }

    /// Whether there are members enough for R copies: before that, nothing is
    /// written.
    pub(super) fn is_founded(&self) -> bool {
        self.placement.replica_count() >= usize::from(self.config.replicas)
    }

    /// Whether a version is further ahead of this node's clock than a new
    /// record's may be.
    pub(super) fn is_far_ahead(&self, version: Version) -> bool {
        is_far_ahead(version, self.wall)
    }

    /// The version for a record that is to follow `seen`.
    pub(super) fn next_version(&mut self, seen: Version) -> Option<Version> {
        let mut given = self.given.clone();
        let version = given.next(self.wall, seen, self.writer)?;
        if !bug::on(Bug::VersionTwice) {
            self.given = given;
        }
        Some(version)
    }

    /// Keeps a blob in memory for those who fetch it, until as many
    /// [`Ctx::cool`] have come.
    pub(super) fn heat(&mut self, id: BlobId, bytes: &Bytes) {
        self.hot
            .entry(id)
            .or_insert_with(|| Hot {
                bytes: bytes.clone(),
                holders: 0,
            })
            .holders += 1;
    }

    pub(super) fn cool(&mut self, id: &BlobId) {
        if let Some(hot) = self.hot.get_mut(id) {
            hot.holders -= 1;
            if hot.holders == 0 {
                self.hot.remove(id);
                self.cooled.push(*id);
            }
        }
    }

    pub(super) fn hot(&self, id: &BlobId) -> Option<Bytes> {
        self.hot.get(id).map(|hot| hot.bytes.clone())
    }

    /// `op` is about to drop a blob here.
    pub(super) fn will_forget(&mut self, id: BlobId, op: OpId) {
        self.forgetting.entry(id).or_default().push(op);
    }

    /// Someone is told that a blob is held here, and counts on it: whoever was
    /// about to drop it keeps it. Two nodes that count on each other would
    /// otherwise both drop theirs.
    pub(super) fn is_counted_on(&mut self, id: &BlobId) {
        //# CLAIM-9: A copy that someone has been told is durable here, since it was decided to
        //# drop it, MUST stay.
        self.forgetting.remove(id);
    }

    /// Whether `op` may still drop a blob.
    pub(super) fn may_forget(&self, id: &BlobId, op: OpId) -> bool {
        self.forgetting.get(id).is_some_and(|ops| ops.contains(&op))
    }

    /// The session by which `peer` is reached.
    pub(super) fn session(&mut self, peer: &NodeId) -> Option<&mut Session> {
        let conn = self.peers.get(peer)?;
        self.sessions.get_mut(conn)
    }

    /// Takes room for one more chunk of a put's that has `held` already. Each
    /// operation is sure of one; what is beyond comes from a common pool, and
    /// where that is used up the put is told when to try again.
    pub(super) fn take_put_room(&mut self, op: OpId, held: &mut usize) -> bool {
        let room = *held == 0 || self.put_pool.take(self.config.chunk_bytes as usize);
        if room {
            *held += 1;
        } else {
            self.put_waiting.insert(op);
        }
        room
    }

    pub(super) fn give_put_room(&mut self, op: OpId, held: &mut usize) {
        *held -= 1;
        if *held > 0 {
            self.put_pool.give(self.config.chunk_bytes as usize);
            for op in core::mem::take(&mut self.put_waiting) {
                self.events.writable(op);
            }
        } else if self.put_waiting.remove(&op) {
            self.events.writable(op);
        }
    }

    /// An operation is over: it waits for nothing.
    pub(super) fn forget_op(&mut self, op: OpId) {
        self.unwritten.remove(&op);
        self.put_waiting.remove(&op);
        self.get_waiting.remove(&op);
        self.forgetting.retain(|_, ops| {
            ops.retain(|of| *of != op);
            !ops.is_empty()
        });
        for timer in [Timer::Answer(op), Timer::Retry(op), Timer::Progress(op)] {
            self.timers.cancel(timer);
        }
    }

    /// Peers need not send what `op` has asked them for.
    pub(super) fn call_off(&mut self, op: OpId) {
        for session in self.sessions.values_mut() {
            // Their deadlines stand: a peer that does not even answer that it
            // has stopped is counted as stuck.
            for request in session.call_off(op) {
                session.control(kind::CANCEL, Flags::NONE, request, &[]);
                self.dirty.insert(session.conn);
            }
        }
    }

    /// Bytes of files in memory that a budget counts.
    pub(super) fn memory(&self) -> usize {
        [
            self.put_pool,
            self.get_pool,
            self.receive_pool,
            self.serve_pool,
        ]
        .iter()
        .map(Budget::used)
        .sum()
    }

    /// Whether asking `node` can lead to an answer now.
    pub(super) fn is_reachable(&self, node: &NodeId) -> bool {
        *node == self.config.node || self.peers.contains_key(node)
    }
}
