//! This node as a replica: it answers look-ups and fetches, keeps records, and
//! holds the blobs that are claimed of it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;

use super::Node;
use super::ctx::Ctx;
use super::pages::{Order, Place, Query};
use super::reach::stored;
use super::session::Session;
use super::task::{Asker, ClaimRef, DiskTask, JobTask, refusal};
use crate::bug::{self, Bug};
use crate::disk::{Claim, DiskData, DiskError, DiskKind, RecordKey, StoredRecord};
use crate::error::PeerFault;
use crate::id::{BlobId, ConnId};
use crate::job::Work;
use crate::seal::{Allowance, BLOB_HEADER, BLOB_MAX, RecordError};
use crate::wire::frame::{BODY_MAX, Flags, Frame};
use crate::wire::message::{
    self, ClaimAnswer, ClaimBlobs, Claimed, Fetch, Found, Keep, Lookup, PAGE_MAX, RecordParts,
    Refusal, Refused, Rows, kind,
};

/// Answers that are being made.
#[derive(Debug, Default)]
pub(super) struct Serves {
    /// Requests for whose blobs memory is held until they have gone out.
    reserved: BTreeSet<(ConnId, u32)>,
    /// Requests to which a blob goes out that a put holds in memory anyway.
    lent: BTreeMap<(ConnId, u32), BlobId>,
    /// The same by blob.
    lent_by: BTreeMap<BlobId, BTreeSet<(ConnId, u32)>>,
    /// Fetches that wait for memory.
    waiting: BTreeMap<ConnId, VecDeque<(u32, BlobId)>>,
    /// Whose turn it was last.
    turn: Option<ConnId>,
    /// The longest blob that each fetch allows.
    limits: BTreeMap<(ConnId, u32), u32>,
    /// Claims of which some blobs are not answered yet: how many.
    claims: BTreeMap<(ConnId, u32), usize>,
}

impl Serves {
    /// A connection has ended: nothing of it is answered any more.
    pub(super) fn forget(&mut self, ctx: &mut Ctx, conn: ConnId) {
        // Or who comes again and again would have ever more read for nobody.
        ctx.disk.forget(Some(conn));
        let range = (conn, 0)..=(conn, u32::MAX);
        let reserved = self.reserved.range(range.clone()).copied();
        let lent = self.lent.range(range).map(|(key, _)| *key);
        let gone: Vec<_> = reserved.chain(lent).collect();
        for key in gone {
            self.release(ctx, key);
        }
        self.waiting.remove(&conn);
        self.limits.retain(|(of, _), _| *of != conn);
        self.claims.retain(|(of, _), _| *of != conn);
        self.start(ctx);
    }

    /// A blob has gone out, or will not.
    pub(super) fn release(&mut self, ctx: &mut Ctx, key: (ConnId, u32)) {
        if self.reserved.remove(&key) {
            ctx.serve_pool
                .give(bug::or(Bug::ServeRoomLeaked, 0, BLOB_MAX));
        }
        if let Some(blob) = self.lent.remove(&key)
            && let Some(keys) = self.lent_by.get_mut(&blob)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.lent_by.remove(&blob);
            }
        }
    }

    fn lend(&mut self, key: (ConnId, u32), blob: BlobId) {
        self.lent.insert(key, blob);
        self.lent_by.entry(blob).or_default().insert(key);
    }

    /// A fetch that waits is no longer wanted. False if it does not wait.
    fn call_off(&mut self, conn: ConnId, request: u32) -> bool {
        let Some(waiting) = self.waiting.get_mut(&conn) else {
            return false;
        };
        let before = waiting.len();
        waiting.retain(|(of, _)| *of != request);
        let found = waiting.len() < before;
        if waiting.is_empty() {
            self.waiting.remove(&conn);
        }
        found && self.limits.remove(&(conn, request)).is_some()
    }

    /// Reads what waits, as far as there is memory.
    pub(super) fn start(&mut self, ctx: &mut Ctx) {
        while let Some(conn) = self.next_turn(ctx) {
            let Some(waiting) = self.waiting.get_mut(&conn) else {
                return;
            };
            let next = waiting.pop_front();
            if waiting.is_empty() {
                self.waiting.remove(&conn);
            }
            let Some((request, id)) = next.filter(|_| ctx.serve_pool.take(BLOB_MAX)) else {
                return;
            };
            self.turn = Some(conn);
            self.reserved.insert((conn, request));
            ctx.submit(DiskKind::GetBlob(id), DiskTask::Serve { conn, request });
        }
    }

    /// Who is served next, if there is memory for it: everyone in turn, and
    /// nobody who holds half of it already, or a slow reader would hold all.
    fn next_turn(&self, ctx: &Ctx) -> Option<ConnId> {
        if !ctx.serve_pool.fits(BLOB_MAX) {
            return None;
        }
        let most = (ctx.config.limits.share() / BLOB_MAX / 2).max(1);
        let has_room = |conn: &ConnId| {
            let range = (*conn, 0)..=(*conn, u32::MAX);
            self.reserved.range(range).take(most).count() < most
        };
        let after = |conn: &ConnId| self.turn.is_some_and(|turn| *conn > turn);
        let conns = || self.waiting.keys().copied();
        let later = conns().filter(after).find(has_room);
        later.or_else(|| conns().find(has_room))
    }
}

impl Node {
    pub(super) fn on_request(&mut self, conn: ConnId, frame: &Frame) -> Result<(), PeerFault> {
        let ctx = &mut self.ctx;
        let Some(session) = ctx.sessions.get_mut(&conn) else {
            return Ok(());
        };
        //# MSG-2: A request beyond the number told in HELLO, or under a number that is
        //# still being served, is a fault.
        if session.serving.len() >= ctx.config.limits.requests as usize {
            return Err(PeerFault::TooManyRequests);
        }
        if !session.serving.insert(frame.request) {
            return Err(PeerFault::OutOfTurn);
        }
        let request = frame.request;
        let bad = |_| PeerFault::BadMessage;
        match frame.kind {
            kind::LOOKUP => {
                let Lookup { key, part, at } = message::decode(&frame.body).map_err(bad)?;
                if self.is_serving(conn, request) {
                    self.ctx.submit(
                        DiskKind::GetRecord { key, at, part },
                        DiskTask::Lookup { conn, request },
                    );
                }
            }
            kind::LIST => {
                let message::List {
                    namespace,
                    after,
                    max,
                } = message::decode(&frame.body).map_err(bad)?;
                let (order, behind) = (Order::Names(namespace), after.map(Place::Name));
                self.on_listing(conn, request, Query { order, behind, max });
            }
            kind::HISTORY => {
                let message::History { key, below, max } =
                    message::decode(&frame.body).map_err(bad)?;
                let behind = below.map(|id| Place::Version(Reverse(id)));
                let order = Order::Versions(key);
                self.on_listing(conn, request, Query { order, behind, max });
            }
            kind::KEEP => {
                let Keep { record, repair } = message::decode(&frame.body).map_err(bad)?;
                if self.is_serving(conn, request) {
                    self.on_keep(conn, request, record, repair);
                }
            }
            kind::FETCH => {
                let fetch = message::decode(&frame.body).map_err(bad)?;
                self.on_fetch(conn, request, fetch);
            }
            kind::CLAIM => {
                let claim = ClaimBlobs::decode_checked(&frame.body).map_err(bad)?;
                if self.is_serving(conn, request) {
                    self.on_claim(conn, request, claim);
                }
            }
            //# MSG-11: A kind without RESPONSE that is no update and no request is
            //# a fault.
            _ => return Err(PeerFault::BadMessage),
        }
        Ok(())
    }

    /// Whether this node holds data and is ready; otherwise the request is
    /// refused.
    fn is_serving(&mut self, conn: ConnId, request: u32) -> bool {
        //# KEEP-6: A node of weight 0 MUST refuse LOOKUP, LIST, HISTORY, KEEP and CLAIM
        //# as not storing, and one whose store is not loaded yet as busy.
        let reason = match (self.ctx.config.weight, self.ctx.ready) {
            (0, _) => Refusal::NotStoring,
            (_, false) => Refusal::Busy,
            _ => return true,
        };
        self.refuse(conn, request, reason);
        false
    }

    pub(super) fn refuse(&mut self, conn: ConnId, request: u32, reason: Refusal) {
        self.respond(
            conn,
            kind::REFUSED,
            Flags::NONE,
            request,
            &message::encode(&Refused { reason }),
        );
    }

    fn respond(&mut self, conn: ConnId, kind: u8, flags: Flags, request: u32, body: &[u8]) {
        if let Some(session) = self.ctx.sessions.get_mut(&conn)
            && session.is_admitted()
            && session.serving.contains(&request)
        {
            session.answer(kind, flags, request, body);
            self.ctx.dirty.insert(conn);
        }
    }

    pub(super) fn on_cancel(&mut self, conn: ConnId, request: u32) {
        let Some(session) = self.ctx.sessions.get_mut(&conn) else {
            return;
        };
        //# MSG-9: Who is told CANCEL SHOULD cut short what it is sending as the answer,
        //# and then MUST answer REFUSED, cancelled; otherwise the answer goes on as if
        //# nothing had been said. CANCEL of a request that is not being served MUST be
        //# ignored. Who sends CANCEL drops what still comes.
        if session.cut(request) {
            self.refuse(conn, request, Refusal::Cancelled);
            self.after_sent(conn);
        } else if self.serves.call_off(conn, request) {
            self.refuse(conn, request, Refusal::Cancelled);
        }
    }

    /// Gives back the memory of blobs that have gone out on `conn`.
    pub(super) fn after_sent(&mut self, conn: ConnId) {
        let Some(session) = self.ctx.sessions.get_mut(&conn) else {
            return;
        };
        let sent = core::mem::take(&mut session.sent);
        if !sent.is_empty() {
            for request in sent {
                self.serves.release(&mut self.ctx, (conn, request));
            }
            self.serves.start(&mut self.ctx);
        }
    }

    /// A put no longer holds a blob that goes out to others: it counts as
    /// theirs, or they must do without.
    pub(super) fn cooled(&mut self, blob: BlobId) {
        if self.ctx.hot(&blob).is_some() {
            return;
        }
        for (conn, request) in self.serves.lent_by.get(&blob).cloned().unwrap_or_default() {
            self.serves.release(&mut self.ctx, (conn, request));
            if self.ctx.serve_pool.take(BLOB_MAX) {
                self.serves.reserved.insert((conn, request));
            } else if let Some(session) = self.ctx.sessions.get_mut(&conn)
                && session.cut(request)
            {
                self.refuse(conn, request, Refusal::Busy);
                self.after_sent(conn);
            }
        }
    }

    // Look-ups and records.

    fn is_full(&self, conn: ConnId) -> bool {
        self.is_full_beside(conn, &mut None)
    }

    /// The same, where sessions together have `all` bytes queued if that is
    /// known, and it is known then.
    fn is_full_beside(&self, conn: ConnId, all: &mut Option<usize>) -> bool {
        let limits = &self.ctx.config.limits;
        let sessions = &self.ctx.sessions;
        let sum = || sessions.values().map(Session::queued).sum();
        let session = sessions.get(&conn);
        session.is_some_and(|session| session.is_full(|| *all.get_or_insert_with(sum), limits))
    }

    /// Refuses the pages whose turn to be read it is and for which there is no
    /// room: reading them would be for nothing. Of each session there are no more in
    /// line than may be outstanding at the disk.
    pub(super) fn refuse_pages(&mut self) {
        let mut all = None;
        while let Some(&DiskTask::Page { conn, request, .. }) = self.ctx.disk.next_page()
            && self.is_full_beside(conn, &mut all)
        {
            self.ctx.disk.drop_page();
            self.ctx.asks_less(conn);
            self.refuse(conn, request, Refusal::Busy);
        }
    }

    pub(super) fn looked_up(
        &mut self,
        conn: ConnId,
        request: u32,
        result: Result<DiskData, DiskError>,
    ) {
        match result {
            //# KEEP-5: LOOKUP MUST be answered with the record that it names, or else
            //# the newest, if it is held of the name, durable there, or with none. If
            //# that record is damaged, LOOKUP MUST be refused, as failed.
            Ok(DiskData::Record(_)) if self.is_full(conn) => {
                self.refuse(conn, request, Refusal::Busy);
            }
            Ok(DiskData::Record(record)) => {
                let found = Found {
                    record: record.as_ref().map(RecordParts::from),
                };
                self.respond(
                    conn,
                    kind::LOOKUP,
                    Flags::NONE,
                    request,
                    &message::encode(&found),
                );
            }
            _ => self.refuse(conn, request, Refusal::Failed),
        }
    }

    fn on_listing(&mut self, conn: ConnId, request: u32, query: Query) {
        if self.is_serving(conn, request) {
            //# LIST-2: A page MUST NOT be longer than 65,472 bytes, nor than was asked
            //# for, unless it is one row. A row of a record counts as its head, its meta
            //# and 96 bytes, one of a damaged record as 96.
            let max = query.max.min(PAGE_MAX);
            let query = Query { max, ..query };
            let kind = query.kind();
            self.ctx.submit(
                query.disk(),
                DiskTask::Page {
                    conn,
                    request,
                    kind,
                },
            );
        }
    }

    pub(super) fn listed(
        &mut self,
        conn: ConnId,
        request: u32,
        kind: u8,
        result: Result<DiskData, DiskError>,
    ) {
        match result {
            Ok(DiskData::Page(_)) if self.is_full(conn) => {
                self.refuse(conn, request, Refusal::Busy);
            }
            //# LIST-1: LIST MUST be answered with the newest record of each name of the
            //# namespace, in rising order of the tags, HISTORY with the records of the
            //# name, in falling order; from where the request says, as they are durable
            //# there; with whether there are more. In the place of a record that is
            //# damaged MUST stand that it is.
            Ok(DiskData::Page(page)) => {
                let body = message::encode(&Rows::from(&page));
                if body.len() <= BODY_MAX as usize {
                    self.respond(conn, kind, Flags::NONE, request, &body);
                } else {
                    self.refuse(conn, request, Refusal::Failed);
                }
            }
            _ => self.refuse(conn, request, Refusal::Failed),
        }
    }

    fn on_keep(&mut self, conn: ConnId, request: u32, record: RecordParts, repair: bool) {
        match stored(record) {
            //# KEEP-1: A replica MUST check a record's head, signature and the
            //# hashes of its meta and content before it keeps it.
            Some(record) if self.is_misplaced_record(conn, &record.key) => {
                self.refuse(conn, request, Refusal::NotReplica);
            }
            Some(record) => {
                self.ctx.job(
                    Work::CheckRecord(Box::new(record)),
                    JobTask::Keep {
                        conn,
                        request,
                        repair,
                    },
                );
            }
            None => self.refuse(conn, request, Refusal::Invalid),
        }
    }

    pub(super) fn keep_checked(
        &mut self,
        conn: ConnId,
        request: u32,
        repair: bool,
        result: Result<StoredRecord, RecordError>,
    ) {
        let Ok(record) = result else {
            if let Some(peer) = self.ctx.sessions.get(&conn).map(|session| session.peer) {
                self.ctx.lied(peer);
            }
            return self.refuse(conn, request, Refusal::Invalid);
        };
        //# KEEP-2: A replica MUST refuse a record that is new from its writer and whose
        //# version is more than ten minutes ahead of its own clock.
        if !repair && self.ctx.is_far_ahead(record.version) {
            return self.refuse(conn, request, Refusal::TooFarAhead);
        }
        self.ctx.holding = true;
        self.ctx.submit(
            DiskKind::PutRecord(record),
            DiskTask::Keep { conn, request },
        );
        if bug::on(Bug::KeptEarly) {
            self.kept(conn, request, Ok(DiskData::Done));
        }
    }

    pub(super) fn kept(&mut self, conn: ConnId, request: u32, result: Result<DiskData, DiskError>) {
        match result {
            //# KEEP-3: A replica MUST answer KEEP only when the record is durable
            //# there.
            Ok(_) => self.respond(conn, kind::KEEP, Flags::NONE, request, &[]),
            Err(error) => self.refuse(conn, request, refusal(&error)),
        }
    }

    // Fetches.

    fn on_fetch(&mut self, conn: ConnId, request: u32, Fetch { id, max }: Fetch) {
        if let Some(blob) = self.ctx.hot(&id) {
            self.serves.lend((conn, request), id);
            return self.send(conn, request, max, blob);
        }
        if self.ctx.config.weight == 0 {
            return self.refuse(conn, request, Refusal::Missing);
        }
        if !self.ctx.ready {
            return self.refuse(conn, request, Refusal::Busy);
        }
        let waiting = self.serves.waiting.entry(conn).or_default();
        waiting.push_back((request, id));
        self.serves.limits.insert((conn, request), max);
        self.serves.start(&mut self.ctx);
    }

    /// A blob is here for a fetch.
    pub(super) fn fetched(
        &mut self,
        conn: ConnId,
        request: u32,
        result: Result<DiskData, DiskError>,
    ) {
        let max = self.serves.limits.remove(&(conn, request)).unwrap_or(0);
        match result {
            Ok(DiskData::Blob(blob)) => return self.send(conn, request, max, blob),
            Ok(_) => self.refuse(conn, request, Refusal::Failed),
            Err(error) => self.refuse(conn, request, refusal(&error)),
        }
        self.serves.release(&mut self.ctx, (conn, request));
        self.serves.start(&mut self.ctx);
    }

    fn send(&mut self, conn: ConnId, request: u32, max: u32, blob: Bytes) {
        //# CLAIM-7: FETCH MUST be answered with the whole blob, as DATA of at most
        //# 65,536 bytes each, or refused: as too long if it has more bytes than the
        //# asker has room for, as missing if it is not there or damaged.
        if blob.len() > max as usize {
            self.serves.release(&mut self.ctx, (conn, request));
            return self.refuse(conn, request, Refusal::TooLong);
        }
        if let Some(session) = self.ctx.sessions.get_mut(&conn)
            && session.is_admitted()
        {
            session.stream(request, blob);
            self.ctx.dirty.insert(conn);
        } else {
            self.serves.release(&mut self.ctx, (conn, request));
        }
    }

    // Claims.

    /// Whether, by a map that both sides have, this node is no replica of the
    /// name.
    fn is_misplaced_record(&mut self, conn: ConnId, key: &RecordKey) -> bool {
        //# CLAIM-10: A replica MUST refuse, as no replica, the claim of a blob and the KEEP
        //# of a record that its own member map does not place there, if the last MEMBERS of
        //# the peer named the same candidates; otherwise it MUST NOT refuse for placement.
        let me = self.ctx.me();
        self.ctx.is_map_shared(conn) && !self.ctx.record_replicas(key).contains(&me)
    }

    /// The same of a blob.
    fn is_misplaced_blob(&mut self, conn: ConnId, id: &BlobId) -> bool {
        let me = self.ctx.me();
        self.ctx.is_map_shared(conn) && !self.ctx.blob_replicas(id).contains(&me)
    }

    fn on_claim(&mut self, conn: ConnId, request: u32, claim: ClaimBlobs) {
        let open = self.serves.claims.range((conn, 0)..=(conn, u32::MAX));
        let open: usize = open.map(|(_, left)| left).sum();
        let most = 4 * self.ctx.config.limits.requests as usize;
        if open + claim.blobs.len() > most.max(2 * message::CLAIMS_MAX) {
            return self.refuse(conn, request, Refusal::Busy);
        }
        self.serves
            .claims
            .insert((conn, request), claim.blobs.len());
        self.authorize(conn, request, claim);
    }

    /// Refuses a claim whole.
    pub(super) fn refuse_claim(&mut self, conn: ConnId, request: u32, reason: Refusal) {
        if self.serves.claims.remove(&(conn, request)).is_some() {
            self.refuse(conn, request, reason);
        }
    }

    /// A claim that only asks.
    pub(super) fn on_ask(&mut self, conn: ConnId, request: u32, claim: &ClaimBlobs) {
        for (blob, index) in claim.blobs.iter().zip(0_u8..) {
            self.ctx.is_counted_on(&blob.id);
            let task = DiskTask::Asked((conn, request, index));
            self.ctx.submit(DiskKind::HasBlob(blob.id), task);
        }
    }

    pub(super) fn asked(&mut self, asker: ClaimRef, result: Result<DiskData, DiskError>) {
        //# CLAIM-11: A claim that only asks MUST be answered, without fetching or writing
        //# anything, by whether the blob is durable there: without a reason, or as missing.
        let refusal = match result {
            Ok(DiskData::Claimed { held: true }) => None,
            Ok(_) => Some(Refusal::Missing),
            Err(error) => Some(refusal(&error)),
        };
        self.claim_answered(asker, refusal);
    }

    /// A claim has the authority that it shows: `allowance`.
    pub(super) fn take_claim(
        &mut self,
        conn: ConnId,
        request: u32,
        claim: &ClaimBlobs,
        allowance: &Allowance,
    ) {
        for (blob, index) in claim.blobs.iter().zip(0_u8..) {
            let len = blob.len as usize;
            //# CLAIM-5: A claim whose length is below 9 or above 1,048,584 bytes
            //# MUST be refused as too long. A replica asks for no more bytes than
            //# the claim's length.
            if !(BLOB_HEADER + 1..=BLOB_MAX).contains(&len) {
                self.claim_answered((conn, request, index), Some(Refusal::TooLong));
                continue;
            }
            let claim = Claim {
                blob: blob.id,
                len: blob.len,
                namespace: claim.namespace,
                tag: claim.tag,
                put: claim.put,
            };
            if self.is_misplaced_blob(conn, &claim.blob) {
                self.claim_answered((conn, request, index), Some(Refusal::NotReplica));
                continue;
            }
            if allowance.only.is_some_and(|only| only != claim.blob) {
                self.claim_answered((conn, request, index), Some(Refusal::Unauthorized));
                continue;
            }
            self.ctx.is_counted_on(&claim.blob);
            self.ctx.submit(
                DiskKind::Claim(claim),
                DiskTask::Claim((conn, request, index), claim, Some(allowance.bytes)),
            );
        }
    }

    /// The disk was told of a claim. `allowed` is how many bytes its put may
    /// have kept here, unless this one's are counted already.
    pub(super) fn claimed(
        &mut self,
        asker: ClaimRef,
        claim: Claim,
        allowed: Option<u64>,
        result: Result<DiskData, DiskError>,
    ) {
        let refused = match result {
            //# CLAIM-1: A replica MUST answer a claim without a reason only when
            //# both the blob and the claim are durable there.
            Ok(DiskData::Claimed { held }) if held || bug::on(Bug::ClaimedUnheld) => None,
            Ok(_) => match self.acquire_for(asker, claim, allowed) {
                Ok(()) => return,
                Err(refused) => Some(refused),
            },
            Err(error) => Some(refusal(&error)),
        };
        if allowed.is_none() {
            self.authorities.give(&claim);
        }
        self.claim_answered(asker, refused);
    }

    /// Gets a blob that is claimed and not held.
    fn acquire_for(
        &mut self,
        asker: ClaimRef,
        claim: Claim,
        allowed: Option<u64>,
    ) -> Result<(), Refusal> {
        if !self.serves.claims.contains_key(&(asker.0, asker.1)) {
            return Err(Refusal::Cancelled);
        }
        //# GRANT-5: A replica MUST NOT let the blobs that it fetches for a put, by the
        //# lengths of their claims, come to more bytes than the grant's limit. A head
        //# gives leave to the blobs of a tree of its depth; where that is 0, to its root.
        if allowed.is_some_and(|allowed| !self.authorities.take(&claim, allowed)) {
            return Err(Refusal::Unauthorized);
        }
        let wanted = self.acquires.want(&mut self.ctx, Asker::Peer(asker), claim);
        wanted.map_err(|over| {
            if allowed.is_some() {
                self.authorities.give(&claim);
            }
            Refusal::PeerQuota(over)
        })
    }

    /// Nothing was kept for a claim.
    pub(super) fn claim_refused(&mut self, asker: ClaimRef, claim: &Claim, refusal: Refusal) {
        self.authorities.give(claim);
        self.claim_answered(asker, Some(refusal));
    }

    pub(super) fn claim_answered(
        &mut self,
        (conn, request, index): ClaimRef,
        refusal: Option<Refusal>,
    ) {
        let Some(left) = self.serves.claims.get_mut(&(conn, request)) else {
            return;
        };
        *left -= 1;
        //# CLAIM-2: Each blob of a CLAIM MUST be answered once, in whatever order they
        //# are done; every frame but the one that completes the answers has MORE.
        let flags = if *left == 0 { Flags::NONE } else { Flags::MORE };
        if *left == 0 {
            self.serves.claims.remove(&(conn, request));
        }
        let body = message::encode(&Claimed {
            answers: [ClaimAnswer { index, refusal }].into(),
        });
        self.respond(conn, kind::CLAIM, flags, request, &body);
    }
}
