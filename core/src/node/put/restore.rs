//! Restoring: the record of an older version is found and opened, and every
//! blob below it claimed anew. Replicas hold these, or get them from each
//! other: here come the nodes of the manifest alone, one at a time.

use alloc::boxed::Box;

use super::super::ctx::{Ctx, Timer};
use super::super::lookup::is_whole;
use super::super::open::{is_forged, unreadable};
use super::super::sources::Sources;
use super::super::task::{Answer, JobTask, No, Step, Waiter};
use super::{Kind, PutOp};
use crate::disk::Part;
use crate::error::OpError;
use crate::id::NodeId;
use crate::job::Work;
use crate::seal::{BLOB_MAX, Content, Meta, Need, Node, RangeWalk, RecordError, SignedHead};
use crate::version::RecordId;
use crate::wire::message::{CLAIMS_MAX, Refusal};

/// Blobs that are claimed at once.
const AT_ONCE: usize = CLAIMS_MAX;

/// An older version on its way to be the newest again.
#[derive(Debug)]
pub(super) struct Restoring {
    of: RecordId,
    /// Whom to ask for its record.
    sources: Sources,
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
    pub(super) fn new(of: RecordId) -> Self {
        Self {
            of,
            sources: Sources::default(),
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
    fn restoring(&mut self) -> Option<&mut Restoring> {
        match &mut self.kind {
            Kind::Restore(restoring) => Some(restoring),
            Kind::Put | Kind::Remove => None,
        }
    }

    fn older(&mut self) -> Option<&mut Older> {
        self.restoring()?.older.as_mut()
    }

    // The record.

    /// Asks for the older record, itself first, once the members are known and
    /// unless someone is asked already.
    pub(super) fn seek(&mut self, ctx: &mut Ctx) {
        let key = self.key;
        let Some(restoring) = self.restoring() else {
            return;
        };
        let idle = restoring.older.is_none() && restoring.sources.is_exhausted();
        if !idle || !ctx.is_founded() {
            return;
        }
        let (me, mut replicas) = (ctx.me(), ctx.record_replicas(&key));
        replicas.sort_by_key(|node| *node != me);
        restoring.sources = Sources::new(replicas);
        self.seek_on(ctx);
    }

    fn seek_on(&mut self, ctx: &mut Ctx) {
        let (id, key) = (self.id, self.key);
        let Some(Restoring { of, sources, .. }) = self.restoring() else {
            return;
        };
        if let Some(node) = sources.next(ctx) {
            let waiter = Waiter::Op(id, Step::Body);
            ctx.lookup(node, key, Some(*of), Part::All, waiter);
        } else if sources.is_passing() {
            ctx.arm(Timer::Retry(id), ctx.config.timing.dial_min);
        } else {
            let refused = sources.is_refused();
            let error = if refused {
                OpError::Missing
            } else {
                OpError::NoSuchVersion
            };
            self.fail(ctx, error);
        }
    }

    pub(super) fn older_found(&mut self, ctx: &mut Ctx, from: NodeId, answer: Answer) {
        let (id, key, reader) = (self.id, self.key, self.writer.reader().clone());
        let Some(Restoring { of, sources, .. }) = self.restoring() else {
            return;
        };
        if !sources.is_asked(from) {
            return;
        }
        match answer {
            Answer::Record(Some(record))
                if record.key == key && record.id() == *of && is_whole(&record) =>
            {
                let work = Work::OpenRecord { reader, record };
                return ctx.job(work, JobTask::Op(id, Step::Body));
            }
            Answer::Record(None) => {}
            Answer::No(no) => sources.failed(&no),
            _ => sources.failed(&No::Refused(Refusal::Invalid)),
        }
        self.seek_on(ctx);
    }

    pub(super) fn older_opened(
        &mut self,
        ctx: &mut Ctx,
        result: Result<Box<(SignedHead, Meta, Content)>, RecordError>,
    ) {
        let Some(Restoring { sources, older, .. }) = self.restoring() else {
            return;
        };
        let (meta, content) = match result {
            Ok(opened) => (opened.1, opened.2),
            Err(error) if is_forged(&error) => {
                sources.lied(ctx);
                return self.seek_on(ctx);
            }
            Err(error) => return self.fail(ctx, OpError::Unreadable(unreadable(&error))),
        };
        //# RESTORE-1: A version is restored by a new record of the same name, size, time of
        //# change, chunk size and content, with a put id of its own, which is made, ordered,
        //# kept, repaired and owed like any other.
        let (size, walk) = match &content {
            //# RESTORE-3: A record of kind 2 MUST NOT be restored.
            Content::Removed => return self.fail(ctx, OpError::NothingToRestore),
            Content::Inline(_) => (meta.size, None),
            Content::Root(root) => {
                let walk = RangeWalk::new(root, meta.chunk_size, 0..meta.size);
                (meta.size, Some(walk))
            }
        };
        *older = Some(Older {
            meta,
            content,
            walk,
            node: None,
        });
        self.size = size;
        self.progressed(ctx);
        self.claim_on(ctx);
        self.advance(ctx);
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
        let (id, reader) = (self.id, self.writer.reader().clone());
        let Some(node) = self.older().and_then(|older| older.node.as_mut()) else {
            return;
        };
        if node.number != number || !node.sources.is_asked(from) {
            return;
        }
        match answer {
            Answer::Blob { bytes, .. } => {
                let (id_, key) = (node.need.id, node.need.key.clone());
                let work = Work::OpenNode {
                    reader,
                    id: id_,
                    key,
                    shape: node.need.shape(),
                    bytes,
                };
                ctx.job(work, JobTask::Op(id, Step::Piece(number)));
            }
            Answer::No(no) => {
                node.sources.failed(&no);
                self.read_on(ctx);
            }
            Answer::Record(_) | Answer::Held => {}
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
        let sought = match &restoring.older {
            Some(older) => older.node.is_some(),
            None => self.seen.is_some(),
        };
        self.record.is_none() && (sought || self.blobs.values().any(|blob| blob.is_missing()))
    }
}
