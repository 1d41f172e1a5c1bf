//! Getting blobs that are claimed of this node: each once, however many claim
//! it; fetched from whoever claimed it or from another replica, checked, and
//! only then written.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::ctx::Ctx;
use super::task::{Answer, Asker, DiskTask, JobTask, No, Waiter, Wanted, refusal};
use crate::bug::{self, Bug};
use crate::disk::{Claim, DiskData, DiskError, DiskKind};
use crate::id::NodeId;
use crate::job::Work;
use crate::wire::message::{Quota, Refusal};

/// One blob on its way here.
#[derive(Debug)]
struct Acquire {
    /// Claims to be answered when it is durable. The first is written with it.
    claims: Vec<(Asker, Claim)>,
    /// Where to look next.
    sources: VecDeque<NodeId>,
    state: State,
    /// Whose claim began it, and counts its bytes.
    of: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For memory.
    Waiting,
    /// From this peer.
    Fetching(NodeId),
    /// What this peer sent.
    Checking(NodeId),
    Writing,
}

#[derive(Debug, Default)]
pub(super) struct Acquires {
    blobs: BTreeMap<Wanted, Acquire>,
    waiting: VecDeque<Wanted>,
    /// Bytes on their way here for each peer.
    peers: BTreeMap<NodeId, u64>,
}

impl Acquires {
    /// Wants the blob of a claim that is not held. Refused if its peer has as
    /// much on its way here as it may.
    pub(super) fn want(&mut self, ctx: &mut Ctx, asker: Asker, claim: Claim) -> Result<(), Quota> {
        let from = match asker {
            Asker::Peer((conn, ..)) => ctx.sessions.get(&conn).map(|session| session.peer),
            Asker::Own(_) => None,
        };
        let wanted = (claim.blob, claim.len);
        if let Some(acquire) = self.blobs.get_mut(&wanted) {
            acquire.claims.push((asker, claim));
            acquire
                .sources
                .extend(from.filter(|from| !acquire.sources.contains(from)));
            return Ok(());
        }
        if let Some(peer) = from {
            self.charge(ctx, peer, claim.len)?;
        }
        //# CLAIM-3: A replica that lacks a claimed blob SHOULD fetch it: from the
        //# claimer first, then from members in the order of the blob's slot. It asks
        //# for a blob only when it has room for all of it.
        let (me, mut sources) = (ctx.me(), ctx.blob_sources(&claim.blob));
        sources.retain(|node| *node != me && Some(*node) != from);
        from.into_iter().for_each(|from| sources.push_front(from));
        let acquire = Acquire {
            claims: [(asker, claim)].into(),
            sources,
            state: State::Waiting,
            of: from,
        };
        self.blobs.insert(wanted, acquire);
        self.waiting.push_back(wanted);
        self.start(ctx);
        Ok(())
    }

    /// Counts bytes that are to come for a peer.
    fn charge(&mut self, ctx: &Ctx, peer: NodeId, len: u32) -> Result<(), Quota> {
        let used = self.peers.get(&peer).copied().unwrap_or(0);
        let more = used.saturating_add(u64::from(len));
        match ctx.config.limits.peer_bytes {
            //# QUOTA-2: A replica that limits the bytes on their way there for one peer MUST
            //# refuse, as over that quota, a claim by which they would be more.
            Some(limit) if more > limit => Err(Quota { limit, used }),
            _ => {
                self.peers.insert(peer, more);
                Ok(())
            }
        }
    }

    /// Fetches what waits, as far as there is memory.
    fn start(&mut self, ctx: &mut Ctx) {
        while let Some(wanted) = self.waiting.front().copied() {
            if !ctx.receive_pool.take(wanted.1 as usize) {
                return;
            }
            self.waiting.pop_front();
            if !self.fetch_next(ctx, wanted) {
                let me = ctx.me();
                ctx.answers
                    .push_back((Waiter::Acquire(wanted), me, Answer::No(No::Unreachable)));
            }
        }
    }

    /// Asks the next source. False if there is none left.
    fn fetch_next(&mut self, ctx: &mut Ctx, wanted: Wanted) -> bool {
        let Some(acquire) = self.blobs.get_mut(&wanted) else {
            return false;
        };
        while let Some(source) = acquire.sources.pop_front() {
            if ctx.is_reachable(&source) {
                acquire.state = State::Fetching(source);
                let (id, len) = wanted;
                ctx.fetch(source, id, len as usize, Waiter::Acquire(wanted));
                return true;
            }
        }
        false
    }

    /// Forgets one, with its memory given back.
    fn end(&mut self, ctx: &mut Ctx, wanted: Wanted) -> Vec<(Asker, Claim)> {
        let Some(acquire) = self.blobs.remove(&wanted) else {
            return Vec::new();
        };
        let room = bug::or(Bug::ReceiveRoomLeaked, 0, wanted.1 as usize);
        ctx.receive_pool.give(room);
        if let Some(peer) = acquire.of
            && let Some(used) = self.peers.get_mut(&peer)
        {
            *used = used.saturating_sub(u64::from(wanted.1));
            if *used == 0 {
                self.peers.remove(&peer);
            }
        }
        acquire.claims
    }
}

impl Node {
    /// A claim that this node made of itself: what it does not hold it gets
    /// from others.
    pub(super) fn own_claimed(
        &mut self,
        waiter: Waiter,
        claim: Claim,
        result: Result<DiskData, DiskError>,
    ) {
        match result {
            Ok(DiskData::Claimed { held: false }) => {
                // Quotas are for peers.
                let _ = self.acquires.want(&mut self.ctx, Asker::Own(waiter), claim);
            }
            result => self.ctx.local_answer(waiter, result),
        }
    }

    pub(super) fn acquire_answer(&mut self, wanted: Wanted, from: NodeId, answer: Answer) {
        let Some(acquire) = self.acquires.blobs.get_mut(&wanted) else {
            return;
        };
        // This node itself says that there is no source left.
        if acquire.state != State::Fetching(from) && from != self.ctx.config.node {
            return;
        }
        match answer {
            Answer::Blob { bytes, .. } => {
                //# CLAIM-4: A replica MUST check a fetched blob against its id
                //# before it keeps it, and ask elsewhere if it is another.
                acquire.state = State::Checking(from);
                self.ctx.job(
                    Work::CheckBlob {
                        id: wanted.0,
                        bytes,
                    },
                    JobTask::Acquire(wanted),
                );
            }
            _ => self.acquire_failed(wanted),
        }
    }

    pub(super) fn acquire_checked(&mut self, wanted: Wanted, checked: Option<Bytes>) {
        let Some(acquire) = self.acquires.blobs.get_mut(&wanted) else {
            return;
        };
        let State::Checking(from) = acquire.state else {
            return;
        };
        match (checked, acquire.claims.first()) {
            (Some(bytes), Some((_, claim))) => {
                acquire.state = State::Writing;
                // The length that is kept is the blob's own.
                let claim = Claim {
                    len: bytes.len() as u32,
                    ..*claim
                };
                self.ctx.holding = true;
                self.ctx.spares.keep(&bytes);
                self.ctx.submit(
                    DiskKind::PutBlob { claim, bytes },
                    DiskTask::Acquired(wanted),
                );
                if bug::on(Bug::AcquiredEarly) {
                    self.acquired(wanted, Ok(DiskData::Done));
                }
            }
            _ => {
                self.ctx.lied(from);
                self.acquire_failed(wanted);
            }
        }
    }

    /// One source failed: the next, or nobody.
    fn acquire_failed(&mut self, wanted: Wanted) {
        if !self.acquires.fetch_next(&mut self.ctx, wanted) {
            for (asker, claim) in self.acquires.end(&mut self.ctx, wanted) {
                self.acquire_ended(asker, &claim, Some(Refusal::Missing));
            }
            self.acquires.start(&mut self.ctx);
        }
    }

    pub(super) fn acquired(&mut self, wanted: Wanted, result: Result<DiskData, DiskError>) {
        let claims = self.acquires.end(&mut self.ctx, wanted);
        let refused = result.err().map(|error| refusal(&error));
        for (at, (asker, claim)) in claims.into_iter().enumerate() {
            match (asker, refused) {
                // The first claim was written with the blob; the others follow.
                (Asker::Peer(asker), None) if at > 0 => {
                    self.ctx
                        .submit(DiskKind::Claim(claim), DiskTask::Claim(asker, claim, None));
                }
                (Asker::Own(waiter), None) if at > 0 => {
                    self.ctx
                        .submit(DiskKind::Claim(claim), DiskTask::Hold(waiter, claim));
                }
                (asker, refused) => self.acquire_ended(asker, &claim, refused),
            }
        }
        self.acquires.start(&mut self.ctx);
    }

    fn acquire_ended(&mut self, asker: Asker, claim: &Claim, refused: Option<Refusal>) {
        match asker {
            Asker::Peer(asker) => match refused {
                Some(refused) => self.claim_refused(asker, claim, refused),
                None => self.claim_answered(asker, None),
            },
            Asker::Own(waiter) => {
                let answer =
                    refused.map_or(Answer::Held, |refused| Answer::No(No::Refused(refused)));
                let me = self.ctx.me();
                self.ctx.answers.push_back((waiter, me, answer));
            }
        }
    }
}
