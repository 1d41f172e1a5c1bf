//! The blobs of a put: each is offered to its replicas, done at W durable
//! copies, and what the others did not take is written down.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::copies::Copies;
use super::super::ctx::{Ctx, Timer};
use super::super::task::{JobTask, No, Step, Waiter};
use super::record::Record;
use super::{PutOp, again};
use crate::bug::{self, Bug};
use crate::disk::{Claim, DiskError, RecordKey};
use crate::error::{OpError, QuotaOf};
use crate::id::{BlobId, NodeId};
use crate::job::Work;
use crate::seal::{BLOB_MAX, SealedBlob};
use crate::wire::message::{Authority, Quota, Refusal};

/// A chunk or manifest node on its way.
#[derive(Debug)]
pub(super) struct Blob {
    place: Place,
    /// What replicas are asked to hold, once that is known.
    claim: Option<Claim>,
    /// The blob itself, for those who lack it. Where it is not here, they get
    /// it from each other.
    bytes: Option<Bytes>,
    pub(super) copies: Copies,
    /// Bytes of the file that it alone carries.
    len: u64,
    /// It has copies enough.
    pub(super) counted: bool,
}

/// Where in the file's tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Chunk(u64),
    Node(u8, u64),
    /// In a tree that is there already.
    Older,
}

impl Blob {
    /// Whether it has copies enough and there is no room for what is owed.
    fn is_held_up(&self) -> bool {
        self.counted && self.copies.is_settled()
    }

    /// It is not kept in memory for others any more.
    fn cool(&self, ctx: &mut Ctx) {
        if let (Some(claim), Some(_)) = (&self.claim, &self.bytes) {
            ctx.cool(&claim.blob);
        }
    }

    /// Whether nobody who was asked has it, or could get it from anyone.
    pub(super) fn is_missing(&self) -> bool {
        let missing = |no: &No| *no == No::Refused(Refusal::Missing);
        self.bytes.is_none()
            && self.copies.is_settled()
            && self.copies.durable() == 0
            && self.copies.failed().any(|(_, no)| missing(no))
    }
}

impl PutOp {
    pub(super) fn seal(&mut self, ctx: &mut Ctx, place: Place, len: u64, work: Work) {
        let number = self.add_blob(ctx, place, None, len);
        ctx.job(work, JobTask::Op(self.id, Step::Blob(number)));
    }

    /// Claims a blob of an older version for this put. Its number.
    pub(super) fn claim_anew(&mut self, ctx: &mut Ctx, blob: BlobId, len: u64) -> u64 {
        //# RESTORE-2: Who restores MUST claim every blob of the version at its replicas,
        //# under the new put id; it need not be able to send them.
        let claim = self.claim_of(blob, BLOB_MAX);
        let number = self.add_blob(ctx, Place::Older, Some(claim), len);
        self.place(ctx, number);
        number
    }

    fn add_blob(&mut self, ctx: &mut Ctx, place: Place, claim: Option<Claim>, len: u64) -> u64 {
        self.renew_grant(ctx);
        let number = self.next_blob;
        self.next_blob += 1;
        let blob = Blob {
            place,
            claim,
            bytes: None,
            copies: Copies::default(),
            len,
            counted: false,
        };
        self.blobs.insert(number, blob);
        number
    }

    fn claim_of(&self, blob: BlobId, len: usize) -> Claim {
        let RecordKey { namespace, tag } = self.key;
        Claim {
            blob,
            len: len as u32,
            namespace,
            tag,
            put: self.put,
        }
    }

    pub(super) fn sealed(&mut self, ctx: &mut Ctx, number: u64, sealed: SealedBlob) {
        let claim = self.claim_of(sealed.id, sealed.bytes.len());
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let added = match blob.place {
            Place::Chunk(index) => self.tree.push(index, sealed.entry()),
            Place::Node(level, index) => self.tree.node_sealed(level, index, sealed.entry()),
            Place::Older => Ok(()),
        };
        //# CLAIM-6: A put MUST be ready to send a blob that it claims until every
        //# replica has answered or the put has ended.
        ctx.heat(sealed.id, &sealed.bytes);
        (blob.claim, blob.bytes) = (Some(claim), Some(sealed.bytes));
        if added.is_err() {
            return self.fail(ctx, OpError::TooLarge);
        }
        self.place(ctx, number);
        self.seal_nodes(ctx);
    }

    /// Offers a blob to its replicas, once there are members enough and a
    /// grant.
    fn place(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(blob) = self.blobs.get(&number) else {
            return;
        };
        let Some(claim) = blob.claim else {
            return;
        };
        //# WRITE-1: A writer MUST NOT write anything before its member map names R replicas.
        if !ctx.is_founded() || blob.copies.is_placed() {
            return;
        }
        let Some(authority) = self.authority(ctx, u64::from(claim.len)) else {
            return;
        };
        let replicas = ctx.blob_replicas(&claim.blob);
        if let Some(blob) = self.blobs.get_mut(&number) {
            blob.copies = Copies::asked(&replicas);
        }
        self.offer(ctx, number, &replicas, &authority);
    }

    fn offer(&self, ctx: &mut Ctx, number: u64, to: &[NodeId], authority: &Authority) {
        let Some(blob) = self.blobs.get(&number) else {
            return;
        };
        let Some(claim) = &blob.claim else {
            return;
        };
        for node in to {
            let waiter = Waiter::Op(self.id, Step::Blob(number));
            ctx.claim(*node, claim, authority, blob.bytes.as_ref(), waiter);
        }
    }

    /// A member that was offered a blob is none of its replicas: this node's
    /// map was older when it chose it. The members that are take its place;
    /// where the map names it still it does not keep what it should.
    pub(super) fn replace_blob(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(authority) = self.authority(ctx, 0) else {
            return;
        };
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let Some(claim) = &blob.claim else {
            return;
        };
        let replicas = ctx.blob_replicas(&claim.blob);
        let new = blob.copies.replace(&replicas);
        self.offer(ctx, number, &new, &authority);
    }

    pub(super) fn check_blob(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let needed = usize::from(ctx.config.durable) - usize::from(bug::on(Bug::BlobQuorumShort));
        let enough = blob.copies.durable() >= needed;
        if enough && !blob.counted {
            blob.counted = true;
            self.durable += blob.len;
            if blob.len > 0 {
                ctx.events.progress(self.id, self.durable);
            }
            ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
        }
        if !blob.copies.is_settled() {
            return;
        }
        if !enough {
            let needed = usize::from(ctx.config.durable);
            let full = lack_space(&blob.copies, needed);
            if over_quota(&blob.copies, needed)
                && let Some(over) = self.over_quota()
            {
                return self.fail(ctx, over);
            }
            if full {
                return self.give_up(ctx);
            }
            if self.is_nowhere(ctx, number) {
                return self.fail(ctx, OpError::Missing);
            }
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        if !ctx.may_owe(blob.copies.failed().count()) {
            // It waits until others are paid.
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        let Some(blob) = self.blobs.remove(&number) else {
            return;
        };
        if let Some(claim) = blob.claim {
            // A file with equal chunks owes one copy for all of them.
            for (target, _) in blob.copies.failed() {
                if bug::on(Bug::BlobNotOwed) {
                    break;
                }
                ctx.owing += usize::from(self.owed.insert((target, claim)));
            }
        }
        blob.cool(ctx);
        if matches!(blob.place, Place::Chunk(_)) {
            ctx.give_put_room(self.id, &mut self.held);
        }
        self.claim_on(ctx);
        self.advance(ctx);
    }

    /// A quota that keeps this put from its copies, if one was met.
    pub(super) fn over_quota(&self) -> Option<OpError> {
        let blobs = self.blobs.values().flat_map(|blob| blob.copies.failed());
        let record = self.record.iter().flat_map(|record| record.copies.failed());
        let mut met = blobs.chain(record).filter_map(|(member, no)| match no {
            No::Refused(Refusal::NamespaceQuota(quota)) => {
                Some((member, QuotaOf::Namespace, *quota))
            }
            No::Refused(Refusal::PeerQuota(quota)) => Some((member, QuotaOf::Peer, *quota)),
            _ => None,
        });
        let (member, of, Quota { limit, used }) = met.next()?;
        // Where all replicas of the record have said so, none keeps it.
        let sent = |record: &Record| over_quota(&record.copies, 1);
        let kept_by_none = self.record.as_ref().is_none_or(sent);
        Some(OpError::OverQuota {
            member,
            of,
            limit,
            used,
            unknown: !kept_by_none,
        })
    }

    /// Whether no member has a blob that is to come from one.
    fn is_nowhere(&self, ctx: &mut Ctx, number: u64) -> bool {
        //# RESTORE-4: Where no member has a blob of the version, the restoration MUST fail
        //# without a record.
        let Some((blob, claim)) = self
            .blobs
            .get(&number)
            .and_then(|blob| Some((blob, blob.claim?)))
        else {
            return false;
        };
        // Who cannot be reached may have it.
        let members = ctx.blob_sources(&claim.blob);
        blob.is_missing() && members.iter().all(|node| ctx.is_reachable(node))
    }

    /// Offers every blob to those who can take it now, `peer` of them or all.
    pub(super) fn retry_blobs(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        let numbers: Vec<u64> = self.blobs.keys().copied().collect();
        for number in numbers {
            self.place(ctx, number);
            let failed = |blob: &Blob| blob.copies.failed().next().is_some();
            let held_up = self.blobs.get(&number).is_some_and(Blob::is_held_up);
            // What is claimed again was counted the first time.
            if self.blobs.get(&number).is_some_and(failed)
                && let Some(authority) = self.authority(ctx, 0)
                && let Some(blob) = self.blobs.get_mut(&number)
            {
                let nodes = again(ctx, &mut blob.copies, peer);
                self.offer(ctx, number, &nodes, &authority);
            }
            if held_up {
                self.check_blob(ctx, number);
            }
        }
    }

    /// Holds no blob any more.
    pub(super) fn drop_blobs(&mut self, ctx: &mut Ctx) {
        for (_, blob) in core::mem::take(&mut self.blobs) {
            blob.cool(ctx);
        }
        while self.held > 0 {
            ctx.give_put_room(self.id, &mut self.held);
        }
    }
}

/// Whether so many members have no room for a namespace's bytes that fewer
/// than `needed` are left.
pub(super) fn over_quota(copies: &Copies, needed: usize) -> bool {
    lack(copies, needed, |no| {
        matches!(no, No::Refused(Refusal::NamespaceQuota(_)))
    })
}

/// The same of space on their disks.
pub(super) fn lack_space(copies: &Copies, needed: usize) -> bool {
    lack(copies, needed, |no| {
        matches!(
            no,
            No::Disk(DiskError::NoSpace) | No::Refused(Refusal::NoSpace)
        )
    })
}

fn lack(copies: &Copies, needed: usize, full: impl Fn(&No) -> bool) -> bool {
    let full = copies.failed().filter(|(_, no)| full(no)).count();
    full > 0 && copies.len() - full < needed
}
