//! The blobs of a put: each is offered to its replicas, done at W durable
//! copies, and what the others did not take is written down.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::copies::Copies;
use super::super::ctx::{Ctx, Timer};
use super::super::task::{JobTask, Step, Waiter};
use super::{PutOp, again};
use crate::disk::{Claim, Debt, Owed, RecordKey};
use crate::error::OpError;
use crate::id::NodeId;
use crate::job::Work;
use crate::seal::SealedBlob;

/// A chunk or manifest node on its way.
#[derive(Debug)]
pub(super) struct Blob {
    place: Place,
    /// Once it is sealed.
    sealed: Option<(Claim, Bytes)>,
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
}

impl Blob {
    /// Whether it has copies enough and there is no room for what is owed.
    fn is_held_up(&self) -> bool {
        self.counted && self.copies.is_settled()
    }
}

impl PutOp {
    pub(super) fn seal(&mut self, ctx: &mut Ctx, place: Place, len: u64, work: Work) {
        let number = self.next_blob;
        self.next_blob += 1;
        let blob = Blob {
            place,
            sealed: None,
            copies: Copies::default(),
            len,
            counted: false,
        };
        self.blobs.insert(number, blob);
        ctx.job(work, JobTask::Op(self.id, Step::Blob(number)));
    }

    pub(super) fn sealed(&mut self, ctx: &mut Ctx, number: u64, sealed: SealedBlob) {
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let added = match blob.place {
            Place::Chunk(index) => self.tree.push(index, sealed.entry()),
            Place::Node(level, index) => self.tree.node_sealed(level, index, sealed.entry()),
        };
        let RecordKey { namespace, tag } = self.key;
        let claim = Claim {
            blob: sealed.id,
            len: sealed.bytes.len() as u32,
            namespace,
            tag,
            put: self.put,
        };
        //# CLAIM-6: A put MUST be ready to send a blob that it claims until every
        //# replica has answered or the put has ended.
        ctx.heat(sealed.id, &sealed.bytes);
        blob.sealed = Some((claim, sealed.bytes));
        if added.is_err() {
            return self.fail(ctx, OpError::TooLarge);
        }
        self.place(ctx, number);
        self.seal_nodes(ctx);
    }

    /// Offers a blob to its replicas, once there are members enough.
    fn place(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let Some((claim, bytes)) = &blob.sealed else {
            return;
        };
        //# WRITE-1: A writer MUST NOT write anything before its member map names R replicas.
        if !ctx.is_founded() || blob.copies.is_placed() {
            return;
        }
        let replicas = ctx.blob_replicas(&claim.blob);
        blob.copies = Copies::asked(&replicas);
        for node in replicas {
            ctx.claim(
                node,
                claim,
                Some(bytes),
                Waiter::Op(self.id, Step::Blob(number)),
            );
        }
    }

    pub(super) fn check_blob(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(blob) = self.blobs.get_mut(&number) else {
            return;
        };
        let enough = blob.copies.durable() >= usize::from(ctx.config.durable);
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
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        if !ctx.may_owe(blob.copies.failed().count()) {
            // It waits until others are paid.
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        let Some(blob) = self.blobs.remove(&number) else {
            return;
        };
        if let Some((claim, _)) = &blob.sealed {
            let owed = blob.copies.failed().map(|(target, _)| Debt {
                target,
                owed: Owed::Blob(*claim),
            });
            let owed: Vec<Debt> = owed.collect();
            self.owe(ctx, owed);
            ctx.cool(&claim.blob);
        }
        if matches!(blob.place, Place::Chunk(_)) {
            ctx.give_put_room(self.id, &mut self.held);
        }
        self.advance(ctx);
    }

    /// Offers every blob to those who can take it now, `peer` of them or all.
    pub(super) fn retry_blobs(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        let numbers: Vec<u64> = self.blobs.keys().copied().collect();
        for number in numbers {
            self.place(ctx, number);
            let Some(blob) = self.blobs.get_mut(&number) else {
                continue;
            };
            let Some((claim, bytes)) = &blob.sealed else {
                continue;
            };
            for node in again(ctx, &mut blob.copies, peer) {
                ctx.claim(
                    node,
                    claim,
                    Some(bytes),
                    Waiter::Op(self.id, Step::Blob(number)),
                );
            }
            if blob.is_held_up() {
                self.check_blob(ctx, number);
            }
        }
    }

    /// Holds no blob any more.
    pub(super) fn drop_blobs(&mut self, ctx: &mut Ctx) {
        for (_, blob) in core::mem::take(&mut self.blobs) {
            if let Some((claim, _)) = blob.sealed {
                ctx.cool(&claim.blob);
            }
        }
        while self.held > 0 {
            ctx.give_put_room(self.id, &mut self.held);
        }
    }
}
