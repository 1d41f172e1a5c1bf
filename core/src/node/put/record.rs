//! The record of a put, the last thing that it writes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::copies::Copies;
use super::super::ctx::{Ctx, Timer};
use super::super::task::{JobTask, Step, Waiter};
use super::blobs::{lack_space, over_quota};
use super::bytes::Buffer;
use super::{Kind, PutOp, again};
use crate::bug::{self, Bug};
use crate::disk::{Debt, DiskError, Owed, StoredRecord};
use crate::error::OpError;
use crate::id::NodeId;
use crate::job::{SealWork, Work};
use crate::output::{Event, Outcome, Stored};
use crate::seal::{Content, Draft, Meta, SealedRecord};
use crate::version::Version;

#[derive(Debug)]
pub(super) struct Record {
    stored: StoredRecord,
    pub(super) copies: Copies,
}

impl PutOp {
    /// What is owed could not be written down. Once the record was sent, the
    /// put may have happened all the same.
    pub(super) fn debts_unkept(&mut self, ctx: &mut Ctx, error: DiskError) {
        let Some(record) = &self.record else {
            return self.fail(ctx, OpError::Disk(error));
        };
        let copies = record.copies.durable() as u8;
        let (needed, unknown) = (ctx.config.durable, true);
        ctx.events.push(Event::Trouble(error));
        self.fail(
            ctx,
            OpError::Unavailable {
                copies,
                needed,
                unknown,
            },
        );
    }

    pub(super) fn owe(&mut self, ctx: &mut Ctx, debts: Vec<Debt>) {
        if !debts.is_empty() {
            self.debts_writing += 1;
            ctx.owe(self.id, debts);
        }
    }

    /// Seals the record when everything that it stands for is durable.
    pub(super) fn advance(&mut self, ctx: &mut Ctx) {
        let Some(seen) = self.seen else { return };
        //# WRITE-2: A record MUST NOT be sent to any replica before every blob below
        //# its root is durable at W of its replicas.
        if self.over || self.sealing_record || !self.ended || self.awaits_blobs() {
            return;
        }
        let (meta, content) = match (&self.kind, &mut self.buffer, self.tree.root()) {
            (Kind::Restore(restoring), ..) => match restoring.whole() {
                Some(whole) => whole,
                None => return,
            },
            //# REMOVE-1: A file is removed by a record of kind 2, which is made,
            //# ordered, kept, repaired and owed like any other.
            (Kind::Remove, ..) => (self.meta(ctx), Content::Removed),
            (Kind::Put, Buffer::Small(small), _) => {
                let content = Content::Inline(small.split().freeze());
                (self.meta(ctx), content)
            }
            (Kind::Put, _, Some(root)) => (self.meta(ctx), Content::Root(root.clone())),
            (Kind::Put, _, None) => return,
        };
        //# FRESH-5: A writer MUST give a version above the one that it has seen of the name,
        //# too.
        let noted = ctx.seen.get(&self.key);
        let seen = noted.map_or(seen, |noted| noted.version.max(seen));
        let seen = bug::or(Bug::VersionNotRaised, Version::ZERO, seen);
        let Some(version) = ctx.next_version(seen) else {
            return self.fail(ctx, OpError::NoVersion(seen));
        };
        self.sealing_record = true;
        let draft = Draft {
            epoch: 0,
            version,
            put: self.put,
            floor: Version::ZERO,
            ext: Bytes::new(),
        };
        let work = SealWork {
            writer: self.writer.clone(),
            draft,
            meta,
            content,
        };
        ctx.job(
            Work::SealRecord(Box::new(work)),
            JobTask::Op(self.id, Step::Record),
        );
    }

    /// Whether blobs are on their way that the record stands for.
    fn awaits_blobs(&self) -> bool {
        !self.blobs.is_empty() && !bug::on(Bug::RecordFirst)
    }

    fn meta(&self, ctx: &Ctx) -> Meta {
        Meta {
            name: self.name.clone(),
            size: self.size,
            modified: self.modified,
            chunk_size: ctx.config.chunk_bytes,
        }
    }

    /// What is owed for the blobs can be written down now: who pays shows the
    /// record.
    pub(super) fn record_sealed(&mut self, ctx: &mut Ctx, sealed: &SealedRecord) {
        let stored = sealed.to_stored();
        //# DEBT-4: What is owed for the blobs of a put MUST be written down, durably, before
        //# its record is sent to any replica, and paid only when the record is finished.
        let id = stored.id();
        let owed = core::mem::take(&mut self.owed);
        ctx.owing -= owed.len();
        let debt = |(target, claim)| Debt {
            target,
            owed: Owed::Blob { claim, id },
        };
        self.sealed = Some(stored);
        self.owe(ctx, owed.into_iter().map(debt).collect());
        self.send_record(ctx);
    }

    /// Sends the record, unless debts are still being written down.
    pub(super) fn send_record(&mut self, ctx: &mut Ctx) {
        if self.over || self.debts_writing > 0 {
            return;
        }
        let Some(stored) = self.sealed.take() else {
            return;
        };
        let replicas = ctx.record_replicas(&self.key);
        for node in &replicas {
            //# KEEP-4: A writer MUST send its record as new; whoever hands on a
            //# record that a replica has missed MUST say so.
            ctx.keep(*node, &stored, false, Waiter::Op(self.id, Step::Record));
        }
        self.record = Some(Record {
            stored,
            copies: Copies::asked(&replicas),
        });
    }

    pub(super) fn check_record(&mut self, ctx: &mut Ctx) {
        let Some(record) = self.record.as_ref().filter(|_| !self.over) else {
            return;
        };
        let copies = record.copies.durable();
        let settled = record.copies.is_settled();
        let needed = usize::from(ctx.config.durable) - usize::from(bug::on(Bug::RecordQuorumShort));
        let enough = copies >= needed || (settled && bug::on(Bug::FailedAsDone));
        if settled && !enough {
            if over_quota(&record.copies, usize::from(ctx.config.durable))
                && let Some(over) = self.over_quota()
            {
                return self.fail(ctx, over);
            }
            if lack_space(&record.copies, usize::from(ctx.config.durable)) {
                return self.give_up(ctx);
            }
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        let (version, id) = (record.stored.version, record.stored.id());
        if enough && settled {
            let owed = Owed::Record {
                key: self.key,
                id: record.stored.id(),
            };
            let owed: Vec<Debt> = record
                .copies
                .failed()
                .map(|(target, _)| Debt { target, owed })
                .collect();
            let owes = !owed.is_empty() && !bug::on(Bug::RecordNotOwed);
            if owes && !core::mem::replace(&mut self.record_owed, true) {
                self.owes_no_more(ctx);
                self.owe(ctx, owed);
            }
        }
        //# WRITE-3: A put or removal is finished when W replicas have answered that
        //# they have the record durable, and every copy that has failed by then is
        //# written down, durably, as owed.
        if !enough || self.debts_writing > 0 {
            return;
        }
        if !self.finished {
            self.finished = true;
            ctx.unwritten.remove(&self.id);
            ctx.note_seen(self.key, id);
            let (put, size) = (self.put, self.size);
            let stored = Stored {
                version,
                put,
                size,
                copies: copies as u8,
                replicas: ctx.config.replicas,
            };
            let outcome = if self.is_removal() {
                Outcome::Removed(stored)
            } else {
                Outcome::Stored(stored)
            };
            ctx.events.finished(self.id, Ok(outcome));
            ctx.timers.cancel(Timer::Progress(self.id));
        }
        if settled {
            self.over = true;
            self.owes_no_more(ctx);
            if ctx.settling.get(&self.id).copied().unwrap_or(0) == 0 {
                ctx.settling.remove(&self.id);
                ctx.events.push(Event::Settled { op: self.id });
            } else {
                ctx.settling_alone.insert(self.id);
            }
        }
    }

    /// A member that was sent the record is none of its replicas: as for a
    /// blob.
    pub(super) fn replace_record(&mut self, ctx: &mut Ctx) {
        let replicas = ctx.record_replicas(&self.key);
        if let Some(record) = &mut self.record {
            for node in record.copies.replace(&replicas) {
                let waiter = Waiter::Op(self.id, Step::Record);
                ctx.keep(node, &record.stored, false, waiter);
            }
        }
    }

    /// Hands the record to those who can take it now, `peer` of them or all.
    pub(super) fn retry_record(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if let Some(record) = &mut self.record
            && !self.record_owed
        {
            for node in again(ctx, &mut record.copies, peer) {
                ctx.keep(
                    node,
                    &record.stored,
                    false,
                    Waiter::Op(self.id, Step::Record),
                );
            }
        }
    }
}
