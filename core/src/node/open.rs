//! Finding and opening a name's newest record: what a get and a forget begin
//! with.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use super::ctx::{Ctx, Timer};
use super::lookup::{Lookup, Rank, Until, is_whole, rank};
use super::task::{Answer, JobTask, Step, Waiter};
use crate::disk::{Part, RecordKey, StoredRecord};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, Work};
use crate::output::Unconfirmed;
use crate::seal::{Content, Meta, Reader, RecordError, SignedHead};

/// A name's newest record, open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) head: SignedHead,
    pub(super) meta: Meta,
    pub(super) content: Content,
    pub(super) unconfirmed: Option<Unconfirmed>,
}

#[derive(Debug)]
pub(super) struct Opening {
    op: OpId,
    reader: Reader,
    key: RecordKey,
    confirmed: bool,
    lookup: Lookup,
    state: State,
}

#[derive(Debug)]
enum State {
    Looking,
    /// The whole of a record of which only the head came.
    Fetching {
        of: Rank,
        tried: BTreeSet<NodeId>,
    },
    /// What this replica told.
    Checking(NodeId, Box<StoredRecord>),
    Done,
}

impl Opening {
    pub(super) fn new(
        ctx: &mut Ctx,
        op: OpId,
        reader: Reader,
        key: RecordKey,
        confirmed: bool,
    ) -> Self {
        let lookup = Lookup::new(ctx, op, key, Until::Agreed);
        let mut opening = Self {
            op,
            reader,
            key,
            confirmed,
            lookup,
            state: State::Looking,
        };
        opening.lookup.start(ctx);
        opening
    }

    /// Members or a peer have changed: asks those who can be asked now.
    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        self.lookup.start(ctx);
        match peer {
            Some(peer) => self.lookup.up(ctx, peer),
            None => self.lookup.retry(ctx),
        }
    }

    /// The deadline for missing answers has passed.
    pub(super) fn late(&mut self, ctx: &mut Ctx) -> Result<(), OpError> {
        self.lookup.set_late();
        self.look(ctx)
    }

    /// How many replicas have answered, of how many that are needed.
    pub(super) fn answers(&self) -> (u8, u8) {
        (self.lookup.answered() as u8, self.lookup.needed() as u8)
    }

    pub(super) fn answer(
        &mut self,
        ctx: &mut Ctx,
        step: Step,
        from: NodeId,
        answer: Answer,
    ) -> Result<(), OpError> {
        match (step, &self.state) {
            (Step::Lookup, _) => {
                self.lookup.answer(from, answer);
                self.look(ctx)
            }
            (Step::Body, State::Fetching { of, .. }) => match answer {
                Answer::Record(Some(record))
                    if record.key == self.key && rank(&record) >= *of && is_whole(&record) =>
                {
                    self.check(ctx, from, record);
                    Ok(())
                }
                _ => self.fetch_next(ctx),
            },
            _ => Ok(()),
        }
    }

    fn look(&mut self, ctx: &mut Ctx) -> Result<(), OpError> {
        if !matches!(self.state, State::Looking) || !self.lookup.is_done() {
            return Ok(());
        }
        let (answered, needed) = self.answers();
        let newest = self.lookup.newest();
        //# READ-3: With fewer answers a reader MUST say that what it returns is
        //# unconfirmed, and how many answers there were of how many; or fail with these
        //# numbers, if no record came or its caller wants only what is confirmed.
        if answered < needed && (self.confirmed || newest.is_none()) {
            return Err(OpError::Unconfirmed { answered, needed });
        }
        let Some((from, newest)) = newest else {
            return Err(OpError::NotFound);
        };
        if is_whole(newest) {
            let record = Box::new(newest.clone());
            self.check(ctx, from, record);
            Ok(())
        } else {
            self.state = State::Fetching {
                of: rank(newest),
                tried: BTreeSet::new(),
            };
            self.fetch_next(ctx)
        }
    }

    /// Asks the next holder for the whole record.
    fn fetch_next(&mut self, ctx: &mut Ctx) -> Result<(), OpError> {
        let State::Fetching { of, tried } = &mut self.state else {
            return Ok(());
        };
        let next = self
            .lookup
            .holders(*of)
            .find(|node| !tried.contains(node) && ctx.is_reachable(node));
        let Some(next) = next else {
            return Err(OpError::Missing);
        };
        tried.insert(next);
        ctx.lookup(
            next,
            self.key,
            None,
            Part::All,
            Waiter::Op(self.op, Step::Body),
        );
        Ok(())
    }

    fn check(&mut self, ctx: &mut Ctx, from: NodeId, record: Box<StoredRecord>) {
        let reader = self.reader.clone();
        self.state = State::Checking(from, record.clone());
        ctx.timers.cancel(Timer::Answer(self.op));
        ctx.job(
            Work::OpenRecord { reader, record },
            JobTask::Op(self.op, Step::Body),
        );
    }

    /// The record was checked and opened, or not.
    pub(super) fn made(&mut self, ctx: &mut Ctx, made: Made) -> Result<Option<Open>, OpError> {
        let (Made::Opened(result), State::Checking(from, _)) = (made, &self.state) else {
            return Ok(None);
        };
        match result {
            Ok(opened) => {
                let (head, meta, content) = *opened;
                self.repair(ctx);
                let (answered, needed) = self.answers();
                let unconfirmed = (answered < needed).then_some(Unconfirmed { answered, needed });
                Ok(Some(Open {
                    head,
                    meta,
                    content,
                    unconfirmed,
                }))
            }
            Err(error) if is_forged(&error) => {
                //# READ-4: A record whose head, signature or parts do not bear
                //# each other out MUST count as no answer.
                let from = *from;
                self.lookup.reject(ctx, from);
                self.state = State::Looking;
                ctx.arm(Timer::Answer(self.op), ctx.config.timing.answer);
                self.look(ctx)?;
                Ok(None)
            }
            Err(error) => Err(OpError::Unreadable(unreadable(&error))),
        }
    }

    /// Hands the record on to replicas that lack it.
    fn repair(&mut self, ctx: &mut Ctx) {
        if let State::Checking(_, record) = core::mem::replace(&mut self.state, State::Done) {
            //# READ-5: A reader SHOULD hand on the record that it has opened to
            //# replicas that answered with an older one or none, or refused as failed.
            for node in self.lookup.stale(rank(&record)) {
                ctx.keep(node, &record, true, Waiter::Nobody);
            }
        }
    }
}

/// Whether whoever handed the record over must know that it is wrong: its
/// signature does not stand, or its parts are not those that were signed.
pub(super) fn is_forged(error: &RecordError) -> bool {
    matches!(
        error,
        RecordError::HeadLength(_)
            | RecordError::Head
            | RecordError::Signature
            | RecordError::MetaLength(_)
            | RecordError::ContentLength(_)
            | RecordError::OtherMeta
            | RecordError::OtherContent
            | RecordError::OtherRecord
    )
}

pub(super) fn unreadable(error: &RecordError) -> &'static str {
    match error {
        RecordError::Format(_) | RecordError::Suite(_) | RecordError::Kind(_) => {
            "it was made by a newer version"
        }
        RecordError::OtherNamespace(_) => "it belongs to another namespace",
        _ => "it was sealed with another key, or its writer sealed it wrong",
    }
}
