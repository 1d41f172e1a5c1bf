//! A put, and a remove, which is a put without bytes.
//!
//! Chunks are sealed by jobs as they fill and offered to their replicas; each
//! is done at W durable copies, the manifest's nodes likewise, the record last,
//! so that a crash leaves the old version or the new one. What the R - W others
//! did not take is written down as a debt before the put says that it is done.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::copies::{Copies, Copy};
use super::ctx::{Ctx, Timer};
use super::lookup::{Lookup, Until};
use super::task::{Answer, JobTask, No, Step, Waiter};
use crate::disk::{Claim, Debt, DiskError, Owed, RecordKey, StoredRecord};
use crate::error::{OpError, PushError};
use crate::id::{NodeId, OpId, PutId};
use crate::job::{Made, SealWork, Work};
use crate::output::{Event, Outcome, Put, Remove, Stored};
use crate::seal::{
    ChunkBuffer, Content, Draft, FANOUT_MAX, INLINE_MAX, Meta, Name, PendingNode, RecordKind,
    SealedBlob, SealedRecord, SignedHead, TreeBuilder, Writer,
};
use crate::time::UnixMillis;
use crate::version::Version;

#[derive(Debug)]
pub(super) struct PutOp {
    id: OpId,
    writer: Writer,
    name: Name,
    modified: Option<UnixMillis>,
    key: RecordKey,
    put: PutId,
    removing: bool,
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
    record: Option<Record>,
    /// The record's missing copies are written down.
    record_owed: bool,
    /// The record is being sealed, or more.
    sealing_record: bool,
    debts_writing: u32,
    /// The caller has been told that it ended well.
    finished: bool,
    over: bool,
}

/// What is not a chunk yet.
#[derive(Debug)]
enum Buffer {
    /// It may become the record's content.
    Small(BytesMut),
    Chunk(ChunkBuffer),
    /// Between two chunks.
    Empty,
}

/// A chunk or manifest node on its way.
#[derive(Debug)]
struct Blob {
    place: Place,
    /// Once it is sealed.
    sealed: Option<(Claim, Bytes)>,
    copies: Copies,
    /// Bytes of the file that it alone carries.
    len: u64,
    counted: bool,
}

/// Where in the file's tree.
#[derive(Clone, Copy, Debug)]
enum Place {
    Chunk(u64),
    Node(u8, u64),
}

impl Blob {
    /// Whether it has copies enough and there is no room for what is owed.
    fn is_held_up(&self) -> bool {
        self.counted && self.copies.is_settled()
    }
}

#[derive(Debug)]
struct Record {
    stored: StoredRecord,
    copies: Copies,
}

impl PutOp {
    pub(super) fn put(ctx: &mut Ctx, id: OpId, put: Put) -> Self {
        Self::new(ctx, id, put.writer, put.name, put.modified, false)
    }

    pub(super) fn remove(ctx: &mut Ctx, id: OpId, remove: Remove) -> Self {
        Self::new(ctx, id, remove.writer, remove.name, None, true)
    }

    fn new(
        ctx: &mut Ctx,
        id: OpId,
        writer: Writer,
        name: Name,
        modified: Option<UnixMillis>,
        removing: bool,
    ) -> Self {
        let reader = writer.reader();
        let key = RecordKey {
            namespace: reader.namespace(),
            tag: reader.tag(&name),
        };
        let mut op = Self {
            id,
            name,
            modified,
            key,
            put: PutId(ctx.random()),
            removing,
            lookup: Lookup::new(
                ctx,
                id,
                key,
                if removing {
                    Until::Agreed
                } else {
                    Until::Quorum
                },
            ),
            checking: None,
            seen: None,
            buffer: Buffer::Small(BytesMut::new()),
            size: 0,
            ended: removing,
            chunks: 0,
            tree: TreeBuilder::new(FANOUT_MAX),
            next_blob: 0,
            blobs: BTreeMap::new(),
            held: 0,
            durable: 0,
            record: None,
            record_owed: false,
            sealing_record: false,
            debts_writing: 0,
            finished: false,
            over: false,
            writer,
        };
        op.lookup.start(ctx);
        op.progressed(ctx);
        op
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn progressed(&self, ctx: &mut Ctx) {
        ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
    }

    // Bytes from the caller.

    /// Takes bytes; what there is no room for comes back.
    pub(super) fn push(&mut self, ctx: &mut Ctx, mut data: Bytes) -> Result<(), PushError> {
        if self.ended || self.over {
            return Err(PushError::Gone(data));
        }
        while !data.is_empty() {
            match &mut self.buffer {
                Buffer::Small(small) if small.len() + data.len() <= INLINE_MAX => {
                    small.extend_from_slice(&data);
                    self.size += data.len() as u64;
                    return Ok(());
                }
                Buffer::Small(_) | Buffer::Empty => {
                    if !ctx.take_put_room(self.id, &mut self.held) {
                        return Err(PushError::Busy(data));
                    }
                    let mut chunk = ChunkBuffer::with_capacity(ctx.config.chunk_bytes as usize);
                    if let Buffer::Small(small) = &self.buffer {
                        // A chunk is larger than what a record holds.
                        let taken = chunk.extend(small);
                        debug_assert_eq!(taken, small.len(), "what was small fits into a chunk");
                    }
                    self.buffer = Buffer::Chunk(chunk);
                }
                Buffer::Chunk(chunk) => {
                    let taken = chunk.extend(&data);
                    let _ = data.split_to(taken);
                    self.size += taken as u64;
                    if chunk.remaining() == 0 {
                        self.cut(ctx);
                    }
                }
            }
        }
        Ok(())
    }

    /// The caller has no more bytes.
    pub(super) fn finish(&mut self, ctx: &mut Ctx) {
        if self.ended || self.over {
            return;
        }
        self.ended = true;
        if !self.is_inline() {
            self.cut(ctx);
            if self.tree.finish(self.chunks).is_err() {
                return self.fail(ctx, OpError::TooLarge);
            }
            self.seal_nodes(ctx);
        }
        self.progressed(ctx);
        self.advance(ctx);
    }

    /// Whether the file lies in its record.
    fn is_inline(&self) -> bool {
        matches!(self.buffer, Buffer::Small(_))
    }

    /// Seals the chunk that has been gathered.
    fn cut(&mut self, ctx: &mut Ctx) {
        let Buffer::Chunk(plain) = core::mem::replace(&mut self.buffer, Buffer::Empty) else {
            return;
        };
        let (len, place) = (plain.len() as u64, Place::Chunk(self.chunks));
        self.chunks += 1;
        let (reader, pad) = (self.writer.reader().clone(), ctx.config.pad_bytes as usize);
        self.seal(ctx, place, len, Work::SealChunk { reader, plain, pad });
    }

    fn seal(&mut self, ctx: &mut Ctx, place: Place, len: u64, work: Work) {
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

    fn seal_nodes(&mut self, ctx: &mut Ctx) {
        while let Some(node) = self.tree.take_full() {
            let PendingNode { level, index, .. } = node;
            let reader = self.writer.reader().clone();
            self.seal(
                ctx,
                Place::Node(level, index),
                0,
                Work::SealNode { reader, node },
            );
        }
    }

    // Answers.

    pub(super) fn made(&mut self, ctx: &mut Ctx, step: Step, made: Made) {
        if self.over {
            return;
        }
        match (step, made) {
            (Step::Lookup, Made::Head(result)) => self.head_checked(ctx, result.ok()),
            (Step::Blob(number), Made::Sealed(Ok(sealed))) => self.sealed(ctx, number, sealed),
            (Step::Record, Made::Record(Ok(sealed))) => self.record_sealed(ctx, *sealed),
            (Step::Blob(_) | Step::Record, Made::Sealed(Err(_)) | Made::Record(Err(_))) => {
                self.fail(ctx, OpError::Unreadable("it could not be sealed"));
            }
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, ctx: &mut Ctx, step: Step, from: NodeId, answer: Answer) {
        if self.over {
            return;
        }
        match step {
            Step::Lookup => {
                self.lookup.answer(from, answer);
                self.learn(ctx);
            }
            Step::Blob(number) => {
                let Some(blob) = self.blobs.get_mut(&number) else {
                    return;
                };
                blob.copies.set(from, copy(answer));
                self.check_blob(ctx, number);
            }
            Step::Record => {
                let Some(record) = &mut self.record else {
                    return;
                };
                record.copies.set(from, copy(answer));
                self.check_record(ctx);
            }
            Step::Debts => {
                self.debts_writing -= 1;
                if let Answer::No(No::Disk(error)) = answer {
                    self.debts_unkept(ctx, error);
                }
                self.check_record(ctx);
            }
            Step::Body | Step::Piece(_) | Step::Page => {}
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
                    JobTask::Op(self.id, Step::Lookup),
                );
            }
            None if self.removing => self.fail(ctx, OpError::NotFound),
            None => {
                self.seen = Some(Version::ZERO);
                self.advance(ctx);
            }
        }
    }

    fn head_checked(&mut self, ctx: &mut Ctx, head: Option<SignedHead>) {
        let from = self.checking.take();
        match head {
            Some(head) if self.removing && head.head().kind == RecordKind::Remove => {
                self.fail(ctx, OpError::NotFound)
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

    fn sealed(&mut self, ctx: &mut Ctx, number: u64, sealed: SealedBlob) {
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

    fn check_blob(&mut self, ctx: &mut Ctx, number: u64) {
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

    /// What is owed could not be written down. Once the record was sent, the
    /// put may have happened all the same.
    fn debts_unkept(&mut self, ctx: &mut Ctx, error: DiskError) {
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

    fn owe(&mut self, ctx: &mut Ctx, debts: Vec<Debt>) {
        if !debts.is_empty() {
            self.debts_writing += 1;
            ctx.owe(self.id, debts);
        }
    }

    // The record.

    /// Seals the record when everything that it stands for is durable.
    fn advance(&mut self, ctx: &mut Ctx) {
        let Some(seen) = self.seen else { return };
        //# WRITE-2: A record MUST NOT be sent to any replica before every blob below
        //# its root is durable at W of its replicas.
        if self.over || self.sealing_record || !self.ended || !self.blobs.is_empty() {
            return;
        }
        let content = match (&mut self.buffer, self.tree.root()) {
            //# REMOVE-1: A file is removed by a record of kind 2, which is made,
            //# ordered, kept, repaired and owed like any other.
            _ if self.removing => Content::Removed,
            (Buffer::Small(small), _) => Content::Inline(small.split().freeze()),
            (_, Some(root)) => Content::Root(root.clone()),
            (_, None) => return,
        };
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
        let meta = Meta {
            name: self.name.clone(),
            size: self.size,
            modified: self.modified,
            chunk_size: ctx.config.chunk_bytes,
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

    fn record_sealed(&mut self, ctx: &mut Ctx, sealed: SealedRecord) {
        let stored = sealed.to_stored();
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

    fn check_record(&mut self, ctx: &mut Ctx) {
        let Some(record) = self.record.as_ref().filter(|_| !self.over) else {
            return;
        };
        let copies = record.copies.durable();
        let enough = copies >= usize::from(ctx.config.durable);
        let settled = record.copies.is_settled();
        if settled && !enough {
            return ctx.arm(Timer::Retry(self.id), ctx.config.timing.dial_min);
        }
        let version = record.stored.version;
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
            if !owed.is_empty() && !core::mem::replace(&mut self.record_owed, true) {
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
            let (put, size) = (self.put, self.size);
            let stored = Stored {
                version,
                put,
                size,
                copies: copies as u8,
                replicas: ctx.config.replicas,
            };
            let outcome = if self.removing {
                Outcome::Removed(stored)
            } else {
                Outcome::Stored(stored)
            };
            ctx.events.finished(self.id, Ok(outcome));
            ctx.timers.cancel(Timer::Progress(self.id));
        }
        if settled {
            self.over = true;
            if ctx.settling.get(&self.id).copied().unwrap_or(0) == 0 {
                ctx.settling.remove(&self.id);
                ctx.events.push(Event::Settled { op: self.id });
            } else {
                ctx.settling_alone.insert(self.id);
            }
        }
    }

    // Time, peers, ends.

    /// The members have changed, or it is time to try again what failed.
    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if self.over {
            return;
        }
        self.lookup.start(ctx);
        match peer {
            Some(peer) => self.lookup.up(ctx, peer),
            None => self.lookup.retry(ctx),
        }
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

    pub(super) fn timer(&mut self, ctx: &mut Ctx, timer: Timer) {
        match timer {
            Timer::Answer(_) if self.seen.is_none() => {
                if self.removing && self.lookup.answered() >= self.lookup.needed() {
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
        let stored = !self.blobs.is_empty() && self.blobs.values().all(|blob| blob.counted);
        let error = match disk.last() {
            _ if stored && !ctx.may_owe(1) => OpError::Indebted {
                debts: ctx.debts.len(),
            },
            Some(error) if self.record.is_none() => OpError::Disk(error),
            _ => OpError::Unavailable {
                copies: copies as u8,
                needed,
                unknown: self.record.is_some(),
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

    fn fail(&mut self, ctx: &mut Ctx, error: OpError) {
        if self.over || self.finished {
            return;
        }
        self.over = true;
        for (_, blob) in core::mem::take(&mut self.blobs) {
            if let Some((claim, _)) = blob.sealed {
                ctx.cool(&claim.blob);
            }
        }
        while self.held > 0 {
            ctx.give_put_room(self.id, &mut self.held);
        }
        ctx.settling.remove(&self.id);
        ctx.events.finished(self.id, Err(error));
    }
}

fn copy(answer: Answer) -> Copy {
    match answer {
        Answer::Held => Copy::Durable,
        Answer::No(no) => Copy::Failed(no),
        _ => Copy::Failed(No::Unreachable),
    }
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
