//! A forget: this node drops its local copies of a file's blobs, of each only
//! if W other replicas hold it durably. The record stays: a read quorum may
//! need it.

use alloc::collections::BTreeMap;

use super::copies::{Copies, Copy};
use super::ctx::{Ctx, Timer};
use super::open::{Open, Opening, Opens};
use super::sources::Sources;
use super::task::{Answer, DiskTask, JobTask, No, Step, Waiter};
use crate::bug::{self, Bug};
use crate::disk::{Claim, DiskKind, RecordKey};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, Opener, Work};
use crate::output::{Forget, Outcome};
use crate::seal::{BLOB_MAX, Content, Need, RangeWalk};
use crate::wire::message::Authority;

/// Blobs that are looked at at once.
const AT_ONCE: usize = 32;

#[derive(Debug)]
pub(super) struct ForgetOp {
    id: OpId,
    opener: Opener,
    key: RecordKey,
    opening: Opening,
    put: Option<crate::id::PutId>,
    walk: Option<RangeWalk>,
    items: BTreeMap<u64, Item>,
    next: u64,
    seen: u64,
    forgotten: u64,
    kept: u64,
    over: bool,
}

#[derive(Debug)]
struct Item {
    need: Need,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// A manifest node is read before it may go.
    Reading {
        sources: Sources,
    },
    /// Whether it is here at all.
    Local,
    /// Whether others have it.
    Others(Copies),
    Dropping,
}

impl ForgetOp {
    pub(super) fn new(ctx: &mut Ctx, id: OpId, forget: Forget) -> Self {
        let key = forget.reader.key(&forget.name);
        let opener = Opener::Reader(forget.reader);
        let opening = Opening::new(ctx, id, opener.clone(), key, None, true);
        ctx.arm(Timer::Progress(id), ctx.config.timing.operation);
        Self {
            id,
            opener,
            key,
            opening,
            put: None,
            walk: None,
            items: BTreeMap::new(),
            next: 0,
            seen: 0,
            forgotten: 0,
            kept: 0,
            over: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn answer(&mut self, ctx: &mut Ctx, step: Step, from: NodeId, answer: Answer) {
        if self.over {
            return;
        }
        match step {
            Step::Piece(number) => self.read(ctx, number, from, answer),
            Step::Blob(number) => self.checked(ctx, number, from, answer),
            _ => self.open_with(ctx, |opening, ctx| opening.answer(ctx, step, from, answer)),
        }
    }

    pub(super) fn made(&mut self, ctx: &mut Ctx, step: Step, made: Made) {
        if self.over {
            return;
        }
        match (step, made) {
            (Step::Piece(number), Made::Node(Ok(node))) => {
                if self
                    .walk
                    .as_mut()
                    .is_none_or(|walk| walk.expand(node).is_err())
                {
                    return self.end(
                        ctx,
                        Err(OpError::Unreadable("its manifest contradicts itself")),
                    );
                }
                self.ask_local(ctx, number);
                self.pump(ctx);
            }
            (Step::Piece(number), _) => {
                if let Some(Item {
                    phase: Phase::Reading { sources },
                    ..
                }) = self.items.get_mut(&number)
                {
                    sources.lied(ctx);
                }
                self.read_next(ctx, number);
            }
            (_, made) => self.open_with(ctx, |opening, ctx| opening.made(ctx, made)),
        }
    }

    fn pump(&mut self, ctx: &mut Ctx) {
        while !self.over && self.items.len() < AT_ONCE {
            let Some(need) = self.walk.as_mut().and_then(RangeWalk::next_need) else {
                break;
            };
            let (number, is_node) = (self.next, need.level > 0);
            self.next += 1;
            let sources = Sources::new(ctx.blob_sources(&need.id));
            self.items.insert(
                number,
                Item {
                    need,
                    phase: Phase::Reading { sources },
                },
            );
            if is_node {
                self.read_next(ctx, number);
            } else {
                self.ask_local(ctx, number);
            }
        }
        let done = self.walk.as_ref().is_none_or(RangeWalk::is_done);
        if done && self.items.is_empty() {
            let (blobs, kept) = (self.forgotten, self.kept);
            self.end(ctx, Ok(Outcome::Forgotten { blobs, kept }));
        }
    }

    fn read_next(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(Item {
            need,
            phase: Phase::Reading { sources },
        }) = self.items.get_mut(&number)
        else {
            return;
        };
        match sources.next(ctx) {
            Some(source) => ctx.fetch(
                source,
                need.id,
                BLOB_MAX,
                Waiter::Op(self.id, Step::Piece(number)),
            ),
            None => self.end(ctx, Err(OpError::Missing)),
        }
    }

    fn read(&mut self, ctx: &mut Ctx, number: u64, from: NodeId, answer: Answer) {
        let Some(Item {
            need,
            phase: Phase::Reading { sources },
        }) = self.items.get(&number)
        else {
            return;
        };
        if !sources.is_asked(from) {
            return;
        }
        match answer {
            Answer::Blob { bytes, .. } => {
                let (opener, id, key, shape) =
                    (self.opener.clone(), need.id, need.key.clone(), need.shape());
                let work = Work::OpenNode {
                    opener,
                    id,
                    key,
                    shape,
                    bytes,
                };
                ctx.job(work, JobTask::Op(self.id, Step::Piece(number)));
            }
            _ => self.read_next(ctx, number),
        }
    }

    fn claim(&self, need: &Need) -> Claim {
        Claim {
            blob: need.id,
            // Its exact length is not known here; it is at most this.
            len: BLOB_MAX as u32,
            namespace: self.key.namespace,
            tag: self.key.tag,
            put: self.put.unwrap_or(crate::id::PutId([0; 16])),
        }
    }

    fn ask_local(&mut self, ctx: &mut Ctx, number: u64) {
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        item.phase = Phase::Local;
        let need = item.need.clone();
        ctx.has_blob(need.id, Waiter::Op(self.id, Step::Blob(number)));
    }

    fn checked(&mut self, ctx: &mut Ctx, number: u64, from: NodeId, answer: Answer) {
        let (me, durable) = (ctx.me(), usize::from(ctx.config.durable));
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        let held = matches!(answer, Answer::Held);
        match &mut item.phase {
            Phase::Local if held => {
                let need = item.need.clone();
                let others: alloc::vec::Vec<NodeId> = ctx
                    .blob_replicas(&need.id)
                    .into_iter()
                    .filter(|node| *node != me)
                    .collect();
                let copies = Copies::asked(&others);
                let placed = copies.is_placed();
                item.phase = Phase::Others(copies);
                ctx.will_forget(need.id, self.id);
                let claim = self.claim(&need);
                for node in others {
                    let waiter = Waiter::Op(self.id, Step::Blob(number));
                    ctx.claim(node, &claim, &Authority::Ask, None, waiter);
                }
                if !placed {
                    self.done(ctx, number, false);
                }
            }
            // It is not here: nothing to drop.
            Phase::Local => self.done_absent(ctx, number),
            Phase::Others(copies) => {
                copies.set(from, if held { Copy::Durable } else { failed(answer) });
                //# CLAIM-8: A node MUST NOT drop its own copy of a blob unless
                //# W other replicas have answered, since it was asked to, that
                //# the blob is durable there.
                if !ctx.may_forget(&item.need.id, self.id) {
                    self.done(ctx, number, false);
                } else if copies.durable() >= durable || bug::on(Bug::ForgetUnasked) {
                    let id = item.need.id;
                    item.phase = Phase::Dropping;
                    let waiter = Waiter::Op(self.id, Step::Blob(number));
                    ctx.submit(DiskKind::ForgetBlob(id), DiskTask::Reach(waiter));
                } else if copies.is_settled() {
                    self.done(ctx, number, false);
                }
            }
            Phase::Dropping if from == me => self.done(ctx, number, held),
            Phase::Dropping | Phase::Reading { .. } => {}
        }
    }

    fn done(&mut self, ctx: &mut Ctx, number: u64, forgotten: bool) {
        self.forgotten += u64::from(forgotten);
        self.kept += u64::from(!forgotten);
        self.done_absent(ctx, number);
    }

    fn done_absent(&mut self, ctx: &mut Ctx, number: u64) {
        if let Some(item) = self.items.remove(&number)
            && item.need.level == 0
        {
            self.seen += item.need.covers();
            ctx.events.progress(self.id, self.seen);
        }
        ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
        self.pump(ctx);
    }

    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if !self.over && self.put.is_none() {
            self.opening.retry(ctx, peer);
        }
    }

    pub(super) fn timer(&mut self, ctx: &mut Ctx, timer: Timer) {
        match timer {
            Timer::Answer(_) if self.put.is_none() => self.open_with(ctx, Opening::late),
            Timer::Progress(_) => {
                let (answered, needed) = self.opening.answers();
                self.end(ctx, Err(OpError::Unconfirmed { answered, needed }));
            }
            _ => {}
        }
    }

    pub(super) fn cancel(&mut self, ctx: &mut Ctx) {
        self.end(ctx, Err(OpError::Cancelled { unknown: false }));
    }
}

impl Opens for ForgetOp {
    fn opening(&mut self) -> &mut Opening {
        &mut self.opening
    }

    fn opened(&mut self, ctx: &mut Ctx, open: Open) {
        self.put = Some(open.head.head().put);
        match open.content {
            Content::Removed => return self.end(ctx, Err(OpError::NotFound)),
            Content::Inline(_) => {}
            Content::Root(root) => {
                self.walk = Some(RangeWalk::new(
                    &root,
                    open.meta.chunk_size,
                    0..open.meta.size,
                ));
            }
        }
        self.pump(ctx);
    }

    fn end(&mut self, ctx: &mut Ctx, result: Result<Outcome, OpError>) {
        if !self.over {
            self.over = true;
            self.items.clear();
            ctx.events.finished(self.id, result);
        }
    }
}

fn failed(answer: Answer) -> Copy {
    match answer {
        Answer::No(no) => Copy::Failed(no),
        _ => Copy::Failed(No::Unreachable),
    }
}
