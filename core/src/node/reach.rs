//! Reaching replicas: the same five questions to a peer, by a message, or to
//! this node itself, by its disk. The answer comes by [`Ctx::answers`] to
//! whoever asked, always, once.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::ctx::{Ctx, Timer};
use super::pages::Query;
use super::session::Pending;
use super::task::{Answer, DiskTask, No, Waiter, refusal};

use crate::disk::{Claim, DiskData, DiskError, DiskKind, Part, RecordKey, StoredRecord};
use crate::id::{BlobId, ConnId, NodeId};
use crate::output::Event;
use crate::seal::Head;
use crate::version::RecordId;
use crate::wire::message::{self, Authority, RecordParts, Refusal, kind};

impl Ctx {
    /// Asks `node` for a record of a name, its newest unless `at` names one.
    /// Answers `Record`.
    pub(super) fn lookup(
        &mut self,
        node: NodeId,
        key: RecordKey,
        at: Option<RecordId>,
        part: Part,
        waiter: Waiter,
    ) {
        if node == self.me() {
            let kind = DiskKind::GetRecord { key, at, part };
            return self.submit(kind, DiskTask::Reach(waiter));
        }
        let body = message::encode(&message::Lookup { key, part, at });
        let least = match at {
            None => self.promise_of(node, key),
            Some(_) => None,
        };
        let pending = Pending::Lookup { waiter, least };
        self.ask(node, kind::LOOKUP, body, pending, waiter);
    }

    /// Asks `node` for a page of rows. Answers `Page`.
    pub(super) fn page(&mut self, node: NodeId, query: Query, waiter: Waiter) {
        if node == self.me() {
            return self.submit(query.disk(), DiskTask::Reach(waiter));
        }
        let pending = Pending::Page { waiter, query };
        self.ask(node, query.kind(), query.body(), pending, waiter);
    }

    /// Has `node` keep a record. Answers `Held`.
    pub(super) fn keep(
        &mut self,
        node: NodeId,
        record: &StoredRecord,
        repair: bool,
        waiter: Waiter,
    ) {
        if node == self.me() {
            self.holding = true;
            return self.submit(DiskKind::PutRecord(record.clone()), DiskTask::Reach(waiter));
        }
        let body = message::encode(&message::Keep {
            record: record.into(),
            repair,
        });
        let (key, id) = (record.key, record.id());
        let pending = Pending::Keep { waiter, key, id };
        self.ask(node, kind::KEEP, body, pending, waiter);
    }

    /// Has `node` hold a blob, which it fetches from here or from others if it
    /// has to; this node itself is handed the bytes, or like any other gets
    /// them from others. Where `authority` is to ask, it only says whether it
    /// holds it. Answers `Held`.
    pub(super) fn claim(
        &mut self,
        node: NodeId,
        claim: &Claim,
        authority: &Authority,
        bytes: Option<&Bytes>,
        waiter: Waiter,
    ) {
        if node == self.me() {
            self.is_counted_on(&claim.blob);
            let claim = *claim;
            let Some(bytes) = bytes.cloned() else {
                return self.submit(DiskKind::Claim(claim), DiskTask::Hold(waiter, claim));
            };
            self.holding = true;
            return self.submit(DiskKind::PutBlob { claim, bytes }, DiskTask::Reach(waiter));
        }
        let now = self.now;
        match self.session(&node) {
            None => self
                .answers
                .push_back((waiter, node, Answer::No(No::Unreachable))),
            // A blob for every place in a put's window would wait for it in turn.
            Some(session) if session.lagging => {
                self.answers
                    .push_back((waiter, node, Answer::No(No::Silent)));
            }
            Some(session) => {
                session.claim(claim, authority, waiter, now);
                let conn = session.conn;
                self.queued(conn);
            }
        }
    }

    /// Asks whether this node holds a blob. Answers `Held`.
    pub(super) fn has_blob(&mut self, id: BlobId, waiter: Waiter) {
        self.submit(DiskKind::HasBlob(id), DiskTask::Reach(waiter));
    }

    /// Asks `node` for a blob of at most `max` bytes. Answers `Blob`.
    pub(super) fn fetch(&mut self, node: NodeId, id: BlobId, max: usize, waiter: Waiter) {
        if node == self.me() {
            return self.submit(DiskKind::GetBlob(id), DiskTask::Reach(waiter));
        }
        let body = message::encode(&message::Fetch {
            id,
            max: u32::try_from(max).unwrap_or(u32::MAX),
        });
        let pending = Pending::Fetch {
            waiter,
            max,
            data: BytesMut::new(),
        };
        self.ask(node, kind::FETCH, body, pending, waiter);
    }

    fn ask(&mut self, node: NodeId, kind: u8, body: Bytes, pending: Pending, waiter: Waiter) {
        let now = self.now;
        match self.session(&node) {
            None => self
                .answers
                .push_back((waiter, node, Answer::No(No::Unreachable))),
            Some(session) => {
                session.request(kind, body, pending, now);
                let conn = session.conn;
                self.queued(conn);
            }
        }
    }

    /// A request has been queued: it is to go out, and not to wait for ever.
    fn queued(&mut self, conn: ConnId) {
        self.dirty.insert(conn);
        if !self.timers.is_set(Timer::Queue(conn)) {
            self.arm(Timer::Queue(conn), self.config.timing.request);
        }
    }

    /// Sends what a session has queued, and sets the deadlines of its requests.
    pub(super) fn issue(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        let (members, holding, book, config) =
            (&self.members, self.holding, &self.book, &self.config);
        let requests = session.issue(
            || {
                let entries = members.entries();
                message::encode(&message::MembersUpdate { entries, holding })
            },
            || book.update(config),
        );
        for request in requests {
            self.arm(Timer::Request(conn, request), self.config.timing.request);
        }
    }

    /// What this node's own disk answers to [`Ctx::lookup`] and the others.
    pub(super) fn local_answer(&mut self, waiter: Waiter, result: Result<DiskData, DiskError>) {
        let answer = match result {
            Ok(DiskData::Record(record)) => Answer::Record(record.map(Box::new)),
            Ok(DiskData::Page(page)) => Answer::Page(page),
            Ok(DiskData::Blob(bytes)) => Answer::Blob {
                bytes,
                verified: true,
            },
            Ok(DiskData::Claimed { held: false }) | Err(DiskError::NotFound) => {
                Answer::No(No::Refused(Refusal::Missing))
            }
            Ok(_) => Answer::Held,
            Err(error @ DiskError::Quota { .. }) => Answer::No(No::Refused(refusal(&error))),
            Err(error) => Answer::No(No::Disk(error)),
        };
        let me = self.me();
        self.answers.push_back((waiter, me, answer));
    }

    /// Ends a request of this node's: whoever waits is told `no`.
    pub(super) fn give_up(&mut self, node: NodeId, pending: Pending, no: &No) {
        let waiters: Vec<Waiter> = match pending {
            Pending::Lookup { waiter, .. }
            | Pending::Page { waiter, .. }
            | Pending::Keep { waiter, .. }
            | Pending::Fetch { waiter, .. } => [waiter].into(),
            Pending::Claim { waiters, .. } => waiters.into_iter().flatten().collect(),
            Pending::Abandoned { .. } => Vec::new(),
        };
        self.answers.extend(
            waiters
                .into_iter()
                .map(|waiter| (waiter, node, Answer::No(no.clone()))),
        );
    }

    /// A peer proved wrong: it sent what its hash, signature or seal belies.
    pub(super) fn lied(&mut self, node: NodeId) {
        if node != self.me() {
            self.events.push(Event::Lied { peer: node });
        }
    }
}

/// A peer's record as a store would keep it, not verified: `None` if it does
/// not even parse.
pub(super) fn stored(parts: RecordParts) -> Option<StoredRecord> {
    let head_bytes = Bytes::from(Vec::from(parts.head));
    let (signed, _) = head_bytes.split_last_chunk::<64>()?;
    let head = Head::decode(signed).ok()?;
    Some(StoredRecord {
        key: RecordKey {
            namespace: head.namespace,
            tag: head.tag,
        },
        version: head.version,
        head_hash: *blake3::hash(signed).as_bytes(),
        head: head_bytes,
        meta: Vec::from(parts.meta).into(),
        content: Vec::from(parts.content).into(),
    })
}
