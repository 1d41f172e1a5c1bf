//! A put; a remove, which is a put without bytes; and a restore, which is one
//! of blobs that are there already.
//!
//! Chunks are sealed by jobs as they fill and offered to their replicas; each
//! is done at W durable copies, the manifest's nodes likewise, the record last,
//! so that a crash leaves the old version or the new one. What the R - W others
//! did not take is written down as a debt before the put says that it is done.

mod blobs;
mod bytes;
mod grant;
mod record;
mod restore;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ::bytes::BytesMut;

use self::blobs::Blob;
use self::blobs::lack_space;
use self::bytes::Buffer;
use self::grant::Granting;
use self::record::Record;
use self::restore::Restoring;
use super::copies::{Copies, Copy};
use super::ctx::{Ctx, Timer};
use super::lookup::{Lookup, Until};
use super::open::Opening;
use super::task::{Answer, JobTask, No, Step};
use crate::bug::{self, Bug};
use crate::disk::{Claim, RecordKey, StoredRecord};
use crate::error::OpError;
use crate::id::{NodeId, OpId, PutId};
use crate::job::{Made, Work};
use crate::output::{Event, Put, Remove, Restore};
use crate::seal::{FANOUT_MAX, Name, RecordKind, SignedHead, TreeBuilder, Writer};
use crate::time::UnixMillis;
use crate::version::{RecordId, Version};
use crate::wire::message::Refusal;

#[derive(Debug)]
pub(super) struct PutOp {
    id: OpId,
    writer: Writer,
    name: Name,
    modified: Option<UnixMillis>,
    key: RecordKey,
    put: PutId,
    kind: Kind,
    lookup: Lookup,
    /// Whose record's head is being checked.
    checking: Option<NodeId>,
    /// The version to go above, once a read quorum has told.
    seen: Option<Version>,
    buffer: Buffer,
    /// Bytes of the file so far.
    size: u64,
    /// All bytes are here.
    ended: bool,
    /// Chunks cut off so far.
    chunks: u64,
    tree: TreeBuilder,
    next_blob: u64,
    blobs: BTreeMap<u64, Blob>,
    /// Chunks of memory held.
    held: usize,
    /// Bytes of the file that are durable at W replicas.
    durable: u64,
    granting: Granting,
    /// Copies of blobs that failed: owed once there is a record.
    owed: BTreeSet<(NodeId, Claim)>,
    /// The record, while what is owed for the blobs is being written down.
    sealed: Option<StoredRecord>,
    record: Option<Record>,
    /// The record's missing copies are written down.
    record_owed: bool,
    /// The record is being sealed, or more.
    sealing_record: bool,
    debts_writing: u32,
    /// Copies of its record that it may still come to owe.
    may_owe: usize,
    /// The caller has been told that it ended well.
    finished: bool,
    over: bool,
}

/// Where the content of the new version comes from.
#[derive(Debug)]
enum Kind {
    /// The caller.
    Put,
    /// Nowhere.
    Remove,
    /// An older version.
    Restore(Box<Restoring>),
}

impl PutOp {
    pub(super) fn put(ctx: &mut Ctx, id: OpId, put: Put) -> Self {
        Self::new(ctx, id, put.writer, put.name, put.modified, Kind::Put)
    }

    pub(super) fn remove(ctx: &mut Ctx, id: OpId, remove: Remove) -> Self {
        Self::new(ctx, id, remove.writer, remove.name, None, Kind::Remove)
    }

    pub(super) fn restore(ctx: &mut Ctx, id: OpId, restore: Restore) -> Self {
        let restoring = Restoring::new(ctx, id, &restore);
        let kind = Kind::Restore(Box::new(restoring));
        Self::new(ctx, id, restore.writer, restore.name, None, kind)
    }

    fn new(
        ctx: &mut Ctx,
        id: OpId,
        writer: Writer,
        name: Name,
        modified: Option<UnixMillis>,
        kind: Kind,
    ) -> Self {
        let key = writer.reader().key(&name);
        let until = match kind {
            Kind::Remove => Until::Agreed,
            Kind::Put | Kind::Restore(_) => Until::Quorum,
        };
        let mut op = Self {
            id,
            name,
            modified,
            key,
            put: PutId(ctx.random()),
            lookup: Lookup::new(ctx, id, Step::Newest, key, until),
            checking: None,
            seen: None,
            buffer: Buffer::Small(BytesMut::new()),
            size: 0,
            ended: !matches!(kind, Kind::Put),
            kind,
            chunks: 0,
            tree: TreeBuilder::new(FANOUT_MAX),
            next_blob: 0,
            blobs: BTreeMap::new(),
            held: 0,
            durable: 0,
            granting: Granting::default(),
            owed: BTreeSet::new(),
            sealed: None,
            record: None,
            record_owed: false,
            sealing_record: false,
            debts_writing: 0,
            may_owe: ctx.may_come_of_one(),
            finished: false,
            over: false,
            writer,
        };
        //# WRITE-5: Whoever asks for a write MUST be told its put id before the record is
        //# sent to any replica.
        ctx.events.push(Event::Began {
            op: id,
            put: op.put,
        });
        ctx.may_come += op.may_owe;
        ctx.unwritten.insert(id);
        op.follow(ctx);
        op.progressed(ctx);
        op
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Asks for the version to follow, unless another record is awaited first.
    fn follow(&mut self, ctx: &mut Ctx) {
        if self.opening().is_none() {
            self.lookup.start(ctx);
        }
    }

    fn is_removal(&self) -> bool {
        matches!(self.kind, Kind::Remove)
    }

    fn progressed(&self, ctx: &mut Ctx) {
        ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
    }

    // Answers.

    pub(super) fn made(&mut self, ctx: &mut Ctx, step: Step, made: Made) {
        if self.over {
            return;
        }
        match (step, made) {
            (Step::Newest, Made::Head(result)) => self.head_checked(ctx, result.ok()),
            (Step::Blob(number), Made::Sealed(Ok(sealed))) => self.sealed(ctx, number, sealed),
            (Step::Record, Made::Record(Ok(sealed))) => self.record_sealed(ctx, &sealed),
            (Step::Blob(_) | Step::Record, Made::Sealed(Err(_)) | Made::Record(Err(_))) => {
                self.fail(ctx, OpError::Unreadable("it could not be sealed"));
            }
            (Step::Body, made) => self.open_with(ctx, |opening, ctx| opening.made(ctx, made)),
            (Step::Piece(_), Made::Node(result)) => self.node_opened(ctx, result.ok()),
            (Step::Grant, Made::Grant(signed)) => self.granted(ctx, &signed),
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, ctx: &mut Ctx, step: Step, from: NodeId, answer: Answer) {
        if self.over {
            return;
        }
        match step {
            Step::Lookup | Step::Body => {
                self.open_with(ctx, |opening, ctx| opening.answer(ctx, step, from, answer));
            }
            Step::Newest => {
                self.lookup.answer(ctx, from, answer);
                self.learn(ctx);
            }
            Step::Blob(number) => {
                let Some(blob) = self.blobs.get_mut(&number) else {
                    return;
                };
                let misplaced = is_misplaced(&answer);
                blob.copies.set(from, copy(answer));
                if misplaced {
                    self.replace_blob(ctx, number);
                }
                self.check_blob(ctx, number);
            }
            Step::Record => {
                let Some(record) = &mut self.record else {
                    return;
                };
                let misplaced = is_misplaced(&answer);
                record.copies.set(from, copy(answer));
                if misplaced {
                    self.replace_record(ctx);
                }
                self.check_record(ctx);
            }
            Step::Debts => {
                self.debts_writing -= 1;
                if let Answer::No(No::Disk(error)) = answer {
                    self.debts_unkept(ctx, error);
                }
                self.send_record(ctx);
                self.check_record(ctx);
            }
            Step::Piece(number) => self.node_read(ctx, number, from, answer),
            Step::Page | Step::Grant | Step::Copies(_) => {}
        }
    }

    /// Looks whether the look-up has told enough.
    fn learn(&mut self, ctx: &mut Ctx) {
        if self.seen.is_some() || self.checking.is_some() || !self.lookup.is_done() {
            return;
        }
        if self.lookup.answered() < self.lookup.needed() {
            return;
        }
        match self.lookup.newest() {
            Some((from, newest)) => {
                self.checking = Some(from);
                ctx.job(
                    Work::CheckHead(Box::new(newest.clone())),
                    JobTask::Op(self.id, Step::Newest),
                );
            }
            None if self.is_removal() => self.not_there(ctx, None),
            None => {
                self.seen = Some(Version::ZERO);
                self.advance(ctx);
            }
        }
    }

    fn head_checked(&mut self, ctx: &mut Ctx, head: Option<SignedHead>) {
        let from = self.checking.take();
        match head {
            Some(head) if self.is_removal() && head.head().kind == RecordKind::Remove => {
                self.not_there(ctx, Some(head.id()))
            }
            Some(head) => {
                self.seen = Some(head.version());
                self.advance(ctx);
            }
            None => {
                if let Some(from) = from {
                    self.lookup.reject(ctx, from);
                }
                self.learn(ctx);
            }
        }
    }

    /// There is nothing to remove, unless there is something newer.
    fn not_there(&mut self, ctx: &mut Ctx, found: Option<RecordId>) {
        let seen = ctx.seen.get(&self.key).filter(|seen| found < Some(*seen));
        let error = seen.map_or(OpError::NotFound, |seen| OpError::Older { found, seen });
        self.fail(ctx, error);
    }

    // Time, peers, ends.

    /// The members have changed, or it is time to try again what failed.
    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if self.over {
            return;
        }
        if let Some(opening) = self.opening() {
            return opening.retry(ctx, peer);
        }
        self.lookup.start(ctx);
        match peer {
            Some(peer) => self.lookup.up(ctx, peer),
            None => self.lookup.retry(ctx),
        }
        self.read_again(ctx);
        self.retry_blobs(ctx, peer);
        self.retry_record(ctx, peer);
    }

    pub(super) fn timer(&mut self, ctx: &mut Ctx, timer: Timer) {
        match timer {
            Timer::Answer(_) if self.opening().is_some() => {
                self.open_with(ctx, Opening::late);
            }
            Timer::Answer(_) if self.seen.is_none() => {
                if self.is_removal() && self.lookup.answered() >= self.lookup.needed() {
                    self.lookup.set_late();
                    self.learn(ctx);
                } else {
                    self.lookup.retry(ctx);
                    ctx.arm(timer, ctx.config.timing.answer);
                }
            }
            Timer::Retry(_) => self.retry(ctx, None),
            Timer::Progress(_) if !self.finished => self.out_of_time(ctx),
            _ => {}
        }
    }

    /// Nothing has come nearer to its end for too long. While it is the
    /// caller's turn that is no fault.
    fn out_of_time(&mut self, ctx: &mut Ctx) {
        if !self.ended && self.blobs.is_empty() {
            return self.progressed(ctx);
        }
        if let Some(opening) = self.opening() {
            let (answered, needed) = opening.answers();
            return self.fail(ctx, OpError::Unconfirmed { answered, needed });
        }
        self.give_up(ctx);
    }

    /// Fails with what there is and what is lacking.
    fn give_up(&mut self, ctx: &mut Ctx) {
        let needed = ctx.config.durable;
        // Before the record, what holds the put up is the blob with the fewest
        // copies, or that too few replicas have told the version to go above.
        let copies = match &self.record {
            Some(record) => record.copies.durable(),
            None => {
                let blobs = self.blobs.values().map(|blob| blob.copies.durable());
                blobs
                    .chain(self.seen.is_none().then(|| self.lookup.answered()))
                    .min()
                    .unwrap_or(0)
            }
        };
        let failed = self.blobs.values().flat_map(|blob| blob.copies.failed());
        let failed = failed.chain(self.record.iter().flat_map(|record| record.copies.failed()));
        let disk = failed.filter_map(|(_, no)| match no {
            No::Disk(error) => Some(error.clone()),
            _ => None,
        });
        // Where all replicas of the record have no space, none keeps it.
        let unknown = self
            .record
            .as_ref()
            .is_some_and(|record| !lack_space(&record.copies, 1))
            && !bug::on(Bug::UnknownAsFailed);
        let stored = !self.blobs.is_empty() && self.blobs.values().all(|blob| blob.counted);
        let error = match disk.last() {
            _ if let Some(over) = self.over_quota() => over,
            _ if stored && !ctx.may_owe(1) => OpError::Indebted { debts: ctx.owed() },
            _ if self.is_lacking() => OpError::Missing,
            Some(error) if !unknown => OpError::Disk(error),
            _ => OpError::Unavailable {
                copies: copies as u8,
                needed,
                unknown,
            },
        };
        self.fail(ctx, error);
    }

    pub(super) fn cancel(&mut self, ctx: &mut Ctx) {
        if !self.finished {
            let unknown = self.record.is_some();
            self.fail(ctx, OpError::Cancelled { unknown });
        }
    }

    /// What its record owes is known.
    fn owes_no_more(&mut self, ctx: &mut Ctx) {
        ctx.may_come -= core::mem::take(&mut self.may_owe);
    }

    fn fail(&mut self, ctx: &mut Ctx, error: OpError) {
        if self.over || self.finished {
            return;
        }
        self.over = true;
        self.owes_no_more(ctx);
        self.drop_blobs(ctx);
        ctx.owing -= self.owed.len();
        self.owed.clear();
        ctx.unwritten.remove(&self.id);
        ctx.settling.remove(&self.id);
        ctx.events.finished(self.id, Err(error));
    }
}

fn copy(answer: Answer) -> Copy {
    match answer {
        Answer::Held => Copy::Durable,
        Answer::No(No::Refused(_)) if bug::on(Bug::RefusalsCount) => Copy::Durable,
        Answer::No(no) => Copy::Failed(no),
        _ => Copy::Failed(No::Unreachable),
    }
}

/// Whether a replica says that it is none.
fn is_misplaced(answer: &Answer) -> bool {
    matches!(answer, Answer::No(No::Refused(Refusal::NotReplica)))
}

/// Replicas to ask again: those that failed and can be reached, or only `peer`
/// of them.
fn again(ctx: &Ctx, copies: &mut Copies, peer: Option<NodeId>) -> Vec<NodeId> {
    let failed = copies.failed().map(|(node, _)| node);
    let again: Vec<_> = failed
        .filter(|node| peer.is_none_or(|peer| peer == *node) && ctx.is_reachable(node))
        .collect();
    again.iter().for_each(|node| copies.set(*node, Copy::Asked));
    again
}
