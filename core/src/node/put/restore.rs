//! Restoring: the record of an older version is found and opened, and every
//! blob below it claimed anew. Replicas hold these, or get them from each
//! other: here come the nodes of the manifest alone, one at a time.

use super::super::ctx::{Ctx, Timer};
use super::super::open::{Open, Opening};
use super::super::sources::Sources;
use super::super::task::{Answer, JobTask, Step, Waiter};
use super::{Kind, PutOp};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Opener, Work};
use crate::output::Restore;
use crate::seal::{BLOB_MAX, Content, Meta, Need, Node, RangeWalk};
use crate::wire::message::CLAIMS_MAX;

/// Blobs that are claimed at once.
const AT_ONCE: usize = CLAIMS_MAX;

/// An older version on its way to be the newest again.
#[derive(Debug)]
pub(super) struct Restoring {
    opening: Opening,
    /// What its record says.
    older: Option<Older>,
}

#[derive(Debug)]
struct Older {
    meta: Meta,
    content: Content,
    /// The blobs below it that are not claimed yet.
    walk: Option<RangeWalk>,
    /// The manifest node that the walk waits for.
    node: Option<Reading>,
}

/// A manifest node that is being read.
#[derive(Debug)]
struct Reading {
    number: u64,
    need: Need,
    sources: Sources,
}

impl Restoring {
    pub(super) fn new(ctx: &mut Ctx, op: OpId, restore: &Restore) -> Self {
        let reader = restore.writer.reader().clone();
        let key = reader.key(&restore.name);
        Self {
            opening: Opening::new(
                ctx,
                op,
                Opener::Reader(reader),
                key,
                Some(restore.id),
                false,
            ),
            older: None,
        }
    }

    /// What the new record is to say, once every blob below it is claimed.
    pub(super) fn whole(&self) -> Option<(Meta, Content)> {
        let older = self.older.as_ref()?;
        let claimed = older.walk.as_ref().is_none_or(RangeWalk::is_done);
        claimed.then(|| (older.meta.clone(), older.content.clone()))
    }
}

impl PutOp {
    /// The record that is to be open before anything else.
    pub(super) fn opening(&mut self) -> Option<&mut Opening> {
        match &mut self.kind {
            Kind::Restore(restoring) if restoring.older.is_none() => Some(&mut restoring.opening),
            _ => None,
        }
    }

    fn older(&mut self) -> Option<&mut Older> {
        match &mut self.kind {
            Kind::Restore(restoring) => restoring.older.as_mut(),
            Kind::Put | Kind::Remove => None,
        }
    }

    /// Hands something to the opening, and goes on as that says.
    pub(super) fn open_with(
        &mut self,
        ctx: &mut Ctx,
        step: impl FnOnce(&mut Opening, &mut Ctx) -> Result<Option<Open>, OpError>,
    ) {
        match self.opening().map(|opening| step(opening, ctx)) {
            Some(Ok(Some(open))) => self.opened(ctx, open),
            Some(Err(error)) => self.fail(ctx, error),
            Some(Ok(None)) | None => {}
        }
    }

    fn opened(&mut self, ctx: &mut Ctx, open: Open) {
        let (meta, content) = (open.meta, open.content);
        let walk = match &content {
            //# RESTORE-3: A record of kind 2 MUST NOT be restored.
            Content::Removed => return self.fail(ctx, OpError::NothingToRestore),
            Content::Inline(_) => None,
            Content::Root(root) => Some(RangeWalk::new(root, meta.chunk_size, 0..meta.size)),
        };
        self.size = meta.size;
        //# RESTORE-1: A version is restored by a new record of the same name, size, time of
        //# change, chunk size and content, with a put id of its own, which is made, ordered,
        //# kept, repaired and owed like any other.
        if let Kind::Restore(restoring) = &mut self.kind {
            restoring.older = Some(Older {
                meta,
                content,
                walk,
                node: None,
            });
        }
        self.progressed(ctx);
        self.follow(ctx);
        self.claim_on(ctx);
    }

    // Blobs.

    /// Claims what is next in the older version's tree, as much as may be at
    /// once.
    pub(super) fn claim_on(&mut self, ctx: &mut Ctx) {
        while !self.over && self.blobs.len() < AT_ONCE {
            let older = self.older().and_then(|older| older.walk.as_mut());
            let Some(need) = older.and_then(RangeWalk::next_need) else {
                return;
            };
            let is_node = need.level > 0;
            let len = if is_node { 0 } else { need.covers() };
            let number = self.claim_anew(ctx, need.id, len);
            if is_node {
                let sources = Sources::new(ctx.blob_sources(&need.id));
                if let Some(older) = self.older() {
                    older.node = Some(Reading {
                        number,
                        need,
                        sources,
                    });
                }
                self.read_on(ctx);
            }
        }
    }

    /// Asks for the node that the walk waits for.
    fn read_on(&mut self, ctx: &mut Ctx) {
        let id = self.id;
        let Some(node) = self.older().and_then(|older| older.node.as_mut()) else {
            return;
        };
        if let Some(source) = node.sources.next(ctx) {
            let waiter = Waiter::Op(id, Step::Piece(node.number));
            ctx.fetch(source, node.need.id, BLOB_MAX, waiter);
        } else if node.sources.is_passing() {
            ctx.arm(Timer::Retry(id), ctx.config.timing.dial_min);
        } else {
            self.fail(ctx, OpError::Missing);
        }
    }

    /// Asks everyone again where nobody is asked.
    pub(super) fn read_again(&mut self, ctx: &mut Ctx) {
        let Some(node) = self.older().and_then(|older| older.node.as_mut()) else {
            return;
        };
        if node.sources.is_exhausted() {
            node.sources = Sources::new(ctx.blob_sources(&node.need.id));
            self.read_on(ctx);
        }
    }

    pub(super) fn node_read(&mut self, ctx: &mut Ctx, number: u64, from: NodeId, answer: Answer) {
        let (id, opener) = (self.id, Opener::from(self.writer.reader()));
        let Some(node) = self.older().and_then(|older| older.node.as_mut()) else {
            return;
        };
        if node.number != number || !node.sources.is_asked(from) {
            return;
        }
        match answer {
            Answer::Blob { bytes, .. } => {
                let work = Work::OpenNode {
                    opener,
                    id: node.need.id,
                    key: node.need.key.clone(),
                    shape: node.need.shape(),
                    bytes,
                };
                ctx.job(work, JobTask::Op(id, Step::Piece(number)));
            }
            Answer::No(no) => {
                node.sources.failed(&no);
                self.read_on(ctx);
            }
            _ => {}
        }
    }

    pub(super) fn node_opened(&mut self, ctx: &mut Ctx, opened: Option<Node>) {
        let Some(older) = self.older() else {
            return;
        };
        let Some(opened) = opened else {
            if let Some(node) = &mut older.node {
                node.sources.lied(ctx);
            }
            return self.read_on(ctx);
        };
        older.node = None;
        let walk = older.walk.as_mut();
        if walk.is_none_or(|walk| walk.expand(opened).is_err()) {
            return self.fail(ctx, OpError::Unreadable("its manifest contradicts itself"));
        }
        self.progressed(ctx);
        self.claim_on(ctx);
        self.advance(ctx);
    }

    /// Whether what holds it up is a piece of the older version that nobody
    /// who can be reached has.
    pub(super) fn is_lacking(&self) -> bool {
        let Kind::Restore(restoring) = &self.kind else {
            return false;
        };
        let older = restoring.older.as_ref();
        let sought = older.is_some_and(|older| older.node.is_some());
        self.record.is_none() && (sought || self.blobs.values().any(|blob| blob.is_missing()))
    }
}
