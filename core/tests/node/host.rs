//! What drives a node in these tests: a clock that stands until it is moved,
//! a store in memory, jobs done at once, and events kept for later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, Loaded, Page, Part, RecordKey, Row, Seen,
    StoredRecord,
};
use peerhold_core::members::{Member, Members, State};
use peerhold_core::{
    BlobId, ClusterKey, Config, ConnId, Event, Get, Input, Instant, Name, NamespaceSecret, NodeId,
    OpError, OpId, Outcome, Put, RecordId, Taped, UnixMillis, Wake, Writer, tape,
};

/// The node under test.
pub(crate) const ME: NodeId = NodeId([0x50; 32]);
/// Wall time at the start.
pub(crate) const WALL: u64 = 1_700_000_000_000;
/// More rounds than any exchange here takes: beyond it something spins.
const ROUNDS_MAX: usize = 100_000;

pub(crate) fn key() -> ClusterKey {
    ClusterKey::from_bytes([9; 32])
}

/// A configuration with little memory, so that limits are near.
pub(crate) fn config(node: NodeId) -> Config {
    let mut config = Config::new(node, key());
    config.limits.operations = 4;
    config.limits.memory = 12 * (1 << 20) + (1 << 16);
    config.chunk_bytes = 64 << 10;
    config.pad_bytes = 1;
    config
}

pub(crate) fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

pub(crate) fn put_of(name: &str) -> Put {
    Put {
        writer: writer(),
        name: Name::new(name).unwrap(),
        modified: None,
    }
}

pub(crate) fn get_of(name: &str) -> Get {
    Get::newest(writer().reader(), &self::name(name))
}

pub(crate) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// An entry of the member map.
pub(crate) fn member(state: State) -> Member {
    Member {
        counter: 1,
        state,
        weight: 1,
        zone: 0,
    }
}

/// A member map in which these are active.
pub(crate) fn active(nodes: &[NodeId]) -> Bytes {
    let active = nodes.iter().map(|node| (*node, member(State::Active)));
    active.collect::<Members>().encode()
}

/// A store that keeps everything in memory and answers at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) starts: u64,
    pub(crate) members: Option<Bytes>,
    pub(crate) blobs: BTreeMap<BlobId, Bytes>,
    pub(crate) claims: BTreeSet<Claim>,
    pub(crate) records: BTreeMap<RecordKey, Vec<StoredRecord>>,
    pub(crate) debts: BTreeSet<Debt>,
    pub(crate) seen: BTreeMap<RecordKey, Seen>,
    /// Records of which only the ids can be read.
    pub(crate) damaged: BTreeSet<RecordId>,
    /// What a load answers beside the above.
    pub(crate) loaded: Loaded,
}

/// So much of a record.
fn part_of(record: &StoredRecord, part: Part) -> StoredRecord {
    let mut record = record.clone();
    if part != Part::All {
        record.content = Bytes::new();
    }
    if part == Part::Head {
        record.meta = Bytes::new();
    }
    record
}

/// The first of these rows, as many as `max` allows.
fn page<'a>(
    records: impl Iterator<Item = &'a StoredRecord>,
    damaged: &BTreeSet<RecordId>,
    max: u32,
) -> Page {
    let (mut page, mut cost) = (Page::default(), 0);
    for record in records {
        let (tag, id) = (record.key.tag, record.id());
        let row = if damaged.contains(&id) {
            Row::Damaged { tag, id }
        } else {
            Row::Record(part_of(record, Part::Meta))
        };
        cost += row.cost();
        if cost > max as usize && !page.rows.is_empty() {
            page.more = true;
            break;
        }
        page.rows.push(row);
    }
    page
}

impl Disk {
    pub(crate) fn run(&mut self, kind: &DiskKind) -> Result<DiskData, DiskError> {
        match kind {
            DiskKind::Load => {
                self.starts += 1;
                return Ok(DiskData::Loaded(Loaded {
                    starts: self.starts,
                    members: self.members.clone(),
                    debts: self.debts.iter().copied().collect(),
                    seen: self.seen.values().copied().collect(),
                    records: self.records.len() as u64,
                    blobs: self.blobs.len() as u64,
                    ..self.loaded.clone()
                }));
            }
            DiskKind::PutBlob { claim, bytes } => {
                assert_eq!(claim.blob, BlobId::of(bytes), "unchecked bytes to the disk");
                assert_eq!(claim.len as usize, bytes.len());
                self.blobs.insert(claim.blob, bytes.clone());
                self.claims.insert(*claim);
            }
            DiskKind::Claim(claim) => {
                let held = self.blobs.contains_key(&claim.blob);
                if held {
                    self.claims.insert(*claim);
                }
                return Ok(DiskData::Claimed { held });
            }
            DiskKind::HasBlob(id) => {
                let held = self.blobs.contains_key(id);
                return Ok(DiskData::Claimed { held });
            }
            DiskKind::GetBlob(id) => {
                let blob = self.blobs.get(id).cloned();
                return blob.map(DiskData::Blob).ok_or(DiskError::NotFound);
            }
            DiskKind::ForgetBlob(id) => {
                self.blobs.remove(id);
                self.claims.retain(|claim| claim.blob != *id);
            }
            DiskKind::PutRecord(record) => {
                let records = self.records.entry(record.key).or_default();
                if records.iter().all(|of| of.id() != record.id()) {
                    records.push(record.clone());
                }
                records.sort_by_key(StoredRecord::id);
            }
            DiskKind::GetRecord { key, at, part } => {
                let records = self.records.get(key).map_or(&[][..], Vec::as_slice);
                let found = match at {
                    None => records.last(),
                    Some(id) => records.iter().find(|record| record.id() == *id),
                };
                if found.is_some_and(|record| self.damaged.contains(&record.id())) {
                    return Err(DiskError::Corrupt);
                }
                return Ok(DiskData::Record(found.map(|record| part_of(record, *part))));
            }
            DiskKind::ListNames {
                namespace,
                after,
                max,
            } => {
                let newest = self.records.iter().filter_map(|(key, of)| {
                    let listed =
                        key.namespace == *namespace && after.is_none_or(|tag| key.tag > tag);
                    of.last().filter(|_| listed)
                });
                return Ok(DiskData::Page(page(newest, &self.damaged, *max)));
            }
            DiskKind::ListVersions { key, below, max } => {
                let records = self.records.get(key).map_or(&[][..], Vec::as_slice);
                let listed = |record: &&StoredRecord| below.is_none_or(|id| record.id() < id);
                let newest_first = records.iter().rev().filter(listed);
                return Ok(DiskData::Page(page(newest_first, &self.damaged, *max)));
            }
            DiskKind::PutMembers(members) => self.members = Some(members.clone()),
            DiskKind::PutDebts(debts) => self.debts.extend(debts),
            DiskKind::ClearDebts(debts) => self.debts.retain(|debt| !debts.contains(debt)),
            DiskKind::NoteSeen { seen, forget } => {
                assert!(seen.iter().all(|seen| !forget.contains(&seen.key)));
                self.seen.retain(|key, _| !forget.contains(key));
                self.seen.extend(seen.iter().map(|seen| (seen.key, *seen)));
            }
            other => panic!("an unknown operation: {other:?}"),
        }
        Ok(DiskData::Done)
    }
}

/// Decides whether a disk operation fails.
type Fault = Box<dyn FnMut(&DiskKind) -> Option<DiskError>>;

/// A node and all that it needs but peers.
pub(crate) struct Host {
    pub(crate) node: Recorded,
    pub(crate) now: Instant,
    pub(crate) disk: Disk,
    /// Operations that the disk is not to answer yet stay here.
    pub(crate) held_back: Vec<peerhold_core::DiskOp>,
    pub(crate) hold_back: Option<fn(&DiskKind) -> bool>,
    pub(crate) fault: Option<Fault>,
    pub(crate) events: Vec<Event>,
    /// Everything that came out, in order, for comparing runs.
    pub(crate) trace: Vec<String>,
}

impl Host {
    pub(crate) fn new(config: Config) -> Self {
        Self::with_disk(config, Disk::default())
    }

    pub(crate) fn with_disk(config: Config, disk: Disk) -> Self {
        let mut host = Self::started(config, disk);
        host.run();
        host
    }

    /// A node whose store keeps this map and answers nothing yet.
    pub(crate) fn loading(config: Config, members: Option<Bytes>) -> Self {
        let disk = Disk {
            members,
            ..Disk::default()
        };
        let mut host = Self::started(config, disk);
        host.hold_back = Some(|_| true);
        host.run();
        host
    }

    fn started(config: Config, disk: Disk) -> Self {
        let seed = *config.node.as_bytes();
        let mut host = Self {
            node: Recorded::start(config, seed),
            now: Instant::ZERO,
            disk,
            held_back: Vec::new(),
            hold_back: None,
            fault: None,
            events: Vec::new(),
            trace: Vec::new(),
        };
        host.handle(Input::Wall(UnixMillis(WALL)));
        host
    }

    /// A node of a cluster that has been founded already.
    pub(crate) fn founded(config: Config, with: &[NodeId]) -> Self {
        let members: Vec<NodeId> = [&[config.node], with].concat();
        let disk = Disk {
            members: Some(active(&members)),
            ..Disk::default()
        };
        Self::with_disk(config, disk)
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
    }

    /// Does all that the node asks of its driver, connections left out.
    pub(crate) fn run(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut idle = true;
            while let Some(op) = self.node.poll_disk() {
                idle = false;
                self.trace.push(format!("{:?}", op.kind()));
                if self.hold_back.is_some_and(|hold| hold(op.kind())) {
                    self.held_back.push(op);
                } else {
                    self.complete(op);
                }
            }
            while let Some(job) = self.node.poll_job() {
                idle = false;
                self.handle(Input::Job(job.run()));
            }
            while let Some(event) = self.node.poll_event() {
                self.trace.push(format!("{event:?}"));
                self.events.push(event);
            }
            if idle {
                return;
            }
        }
        panic!("the node never comes to rest");
    }

    pub(crate) fn complete(&mut self, op: peerhold_core::DiskOp) {
        let fault = self.fault.as_mut().and_then(|fault| fault(op.kind()));
        let result = fault.map_or_else(|| self.disk.run(op.kind()), Err);
        self.handle(Input::Disk(op.complete(result)));
    }

    /// Lets held back operations go.
    pub(crate) fn release(&mut self) {
        self.hold_back = None;
        for op in std::mem::take(&mut self.held_back) {
            self.complete(op);
        }
        self.run();
    }

    /// The next deadline, all else being drained.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.run();
        while self.node.poll_dirty().is_some() {}
        match self.node.poll_timeout() {
            Some((_, Wake::Undrained)) => panic!("something is left undrained"),
            deadline => deadline.map(|(at, _)| at),
        }
    }

    /// Lets time pass, deadline by deadline. What it has for its connections
    /// stays undrained.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        for _ in 0..ROUNDS_MAX {
            match self.deadline().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.node.handle_timeout(self.now);
                }
                None => {
                    self.now = end;
                    self.node.handle_timeout(self.now);
                    return self.run();
                }
            }
        }
        panic!("deadlines come for ever and time stands still");
    }

    /// Takes the events that have come.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        self.run();
        std::mem::take(&mut self.events)
    }

    /// Whether the node has asked to close a connection.
    pub(crate) fn has_closed(&mut self, conn: ConnId) -> bool {
        self.run();
        self.events.contains(&Event::Close { conn })
    }

    /// How an operation ended, if it has.
    pub(crate) fn result(&mut self, of: OpId) -> Option<Result<Outcome, OpError>> {
        self.run();
        let mut results = self.events.iter().filter_map(|event| match event {
            Event::Finished { op, result } if *op == of => Some(result.clone()),
            _ => None,
        });
        let result = results.next();
        assert!(results.next().is_none(), "an operation ends once");
        result
    }

    pub(crate) fn memory(&self) -> usize {
        self.node.status().memory
    }

    /// Starts a put of all these bytes.
    pub(crate) fn put(&mut self, name: &str, data: &[u8]) -> OpId {
        let op = self.node.put(self.now, put_of(name)).unwrap();
        let data = Bytes::copy_from_slice(data);
        self.node.push(self.now, op, data).unwrap();
        self.node.finish(self.now, op);
        self.run();
        op
    }

    /// Starts a get.
    pub(crate) fn get(&mut self, name: &str) -> OpId {
        let op = self.node.get(self.now, get_of(name)).unwrap();
        self.run();
        op
    }

    /// What a get has for its caller.
    pub(crate) fn read(&mut self, op: OpId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(data) = self.node.poll_data(op, usize::MAX) {
            all.extend_from_slice(&data);
        }
        self.run();
        all
    }
}

/// A node whose tape, when it is dropped, must replay without a difference.
/// So every test here is one of replaying too.
pub(crate) struct Recorded {
    node: Taped,
    tape: Vec<u8>,
}

impl Recorded {
    fn start(config: Config, seed: [u8; 32]) -> Self {
        Self {
            node: Taped::recorded(config, seed, Instant::ZERO).unwrap(),
            tape: Vec::new(),
        }
    }

    /// What has been recorded so far.
    pub(crate) fn tape(&mut self) -> &[u8] {
        self.tape.extend_from_slice(&self.node.take());
        &self.tape
    }
}

impl Deref for Recorded {
    type Target = Taped;

    fn deref(&self) -> &Taped {
        &self.node
    }
}

impl DerefMut for Recorded {
    fn deref_mut(&mut self) -> &mut Taped {
        &mut self.node
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end_tape();
            let replayed = tape::replay(self.tape()).unwrap();
            assert_eq!(replayed.end, tape::End::Whole);
        }
    }
}

/// Bytes that differ everywhere.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}
