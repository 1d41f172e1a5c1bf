//! Finding and opening a record of a name: what a get and a forget begin with.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::ctx::{Ctx, Timer};
use super::lookup::{Lookup, Until, is_whole};
use super::task::{Answer, JobTask, Step, Waiter};
use crate::disk::{RecordKey, StoredRecord};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, Work};
use crate::output::{Outcome, Unconfirmed};
use crate::seal::{Content, Meta, Reader, RecordError, SignedHead};
use crate::version::RecordId;

/// An operation that begins by opening a record.
pub(super) trait Opens {
    fn opening(&mut self) -> &mut Opening;
    fn opened(&mut self, ctx: &mut Ctx, open: Open);
    fn end(&mut self, ctx: &mut Ctx, result: Result<Outcome, OpError>);

    /// Hands something to the opening, and goes on as that says.
    fn open_with(
        &mut self,
        ctx: &mut Ctx,
        step: impl FnOnce(&mut Opening, &mut Ctx) -> Result<Option<Open>, OpError>,
    ) {
        match step(self.opening(), ctx) {
            Ok(Some(open)) => self.opened(ctx, open),
            Ok(None) => {}
            Err(error) => self.end(ctx, Err(error)),
        }
    }
}

/// A record, open.
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
    confirmed: bool,
    lookup: Lookup,
    state: State,
}

#[derive(Debug)]
enum State {
    Looking,
    /// The whole of a record of which only the head came.
    Fetching {
        of: RecordId,
        tried: BTreeSet<NodeId>,
    },
    /// What this replica told.
    Checking(NodeId, Box<StoredRecord>),
    Done,
}

impl Opening {
    /// Looks for the newest record of a name, or for the one that is named.
    pub(super) fn new(
        ctx: &mut Ctx,
        op: OpId,
        reader: Reader,
        key: RecordKey,
        at: Option<RecordId>,
        confirmed: bool,
    ) -> Self {
        let until = at.map_or(Until::Agreed, Until::Held);
        let lookup = Lookup::new(ctx, op, Step::Lookup, key, until);
        let mut opening = Self {
            op,
            reader,
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
    pub(super) fn late(&mut self, ctx: &mut Ctx) -> Result<Option<Open>, OpError> {
        self.lookup.set_late();
        self.look(ctx).map(|()| None)
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
    ) -> Result<Option<Open>, OpError> {
        match (step, &self.state) {
            (Step::Lookup, _) => {
                self.lookup.answer(ctx, from, answer);
                self.look(ctx)?;
            }
            (Step::Body, State::Fetching { of, .. }) => match answer {
                Answer::Record(Some(record))
                    if self.lookup.is_wanted(&record)
                        && record.id() >= *of
                        && is_whole(&record) =>
                {
                    self.check(ctx, from, record);
                }
                _ => self.fetch_next(ctx)?,
            },
            _ => {}
        }
        Ok(None)
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
        let confirmed = self.confirmed && self.lookup.named().is_none();
        if answered < needed && (confirmed || newest.is_none()) {
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
                of: newest.id(),
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
        if let Some(next) = next {
            tried.insert(next);
            let waiter = Waiter::Op(self.op, Step::Body);
            self.lookup.fetch(ctx, next, waiter);
            return Ok(());
        }
        if self.lookup.named().is_none() {
            return Err(OpError::Missing);
        }
        // Those who have not answered yet may have it too.
        let holders: Vec<NodeId> = self.lookup.holders(*of).collect();
        for node in holders {
            self.lookup.take_back(node);
        }
        self.state = State::Looking;
        self.look(ctx)
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
                // One that was named is that one, whoever told it.
                let confirmed = answered >= needed || self.lookup.named().is_some();
                let unconfirmed = (!confirmed).then_some(Unconfirmed { answered, needed });
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
            //# READ-5: A reader SHOULD hand on the newest record, which it has opened,
            //# to replicas that answered with an older one or none, or refused as
            //# failed.
            if self.lookup.named().is_some() {
                return;
            }
            for node in self.lookup.stale(record.id()) {
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
