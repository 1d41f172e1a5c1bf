//! Finding and opening a record of a name: what a get and a forget begin with.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::copies::Copy;
use super::ctx::{Ctx, Timer};
use super::lookup::{Lookup, Until, is_whole};
use super::task::{Answer, JobTask, No, Step, Waiter};
use crate::bug::{self, Bug};
use crate::disk::{RecordKey, StoredRecord};
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, Opener, Work};
use crate::output::{Outcome, Unconfirmed};
use crate::seal::{Content, Meta, RecordError, SignedHead};
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
    opener: Opener,
    key: RecordKey,
    confirmed: bool,
    fresh: Option<Fresh>,
    lookup: Lookup,
    state: State,
    /// Records that it has handed on until W hold them.
    copied: u32,
}

/// What an answer must keep to that is to be found ever after.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    /// What this node had seen of the name when the operation began: what it
    /// sees meanwhile may be newer than what was true then.
    seen: Option<RecordId>,
    /// Less than that is taken, too.
    older: bool,
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
    /// It is open, and too few replicas are known to hold it.
    Copying(Box<Copying>),
    Done,
}

/// A record on its way to replicas that lack it.
#[derive(Debug)]
struct Copying {
    open: Open,
    record: StoredRecord,
    /// Which of those that the operation has handed on.
    number: u32,
    /// Those who lacked it.
    others: BTreeMap<NodeId, Copy>,
    /// No more copies are waited for.
    late: bool,
}

impl Opening {
    /// Looks for the newest record of a name, or for the one that is named.
    pub(super) fn new(
        ctx: &mut Ctx,
        op: OpId,
        opener: Opener,
        key: RecordKey,
        at: Option<RecordId>,
        confirmed: bool,
    ) -> Self {
        let until = at.map_or(Until::Agreed, Until::Held);
        let lookup = Lookup::new(ctx, op, Step::Lookup, key, until);
        let mut opening = Self {
            op,
            opener,
            key,
            confirmed,
            fresh: None,
            lookup,
            state: State::Looking,
            copied: 0,
        };
        opening.lookup.start(ctx);
        opening
    }

    /// Answers with nothing older than what this node has seen, unless `older`
    /// and there is nothing newer, and with nothing that W replicas do not hold.
    pub(super) fn freshly(&mut self, ctx: &Ctx, older: bool) {
        let seen = ctx.seen.get(&self.key);
        self.lookup.set_floor(seen);
        self.fresh = Some(Fresh { seen, older });
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
        if let State::Copying(copying) = &mut self.state {
            copying.late = true;
            return self.copy(ctx);
        }
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
                self.lookup.look_for_forks(ctx);
                self.look(ctx)?;
                return self.copy(ctx);
            }
            // An earlier one's copies are no copies of this one.
            (Step::Copies(number), State::Copying(copying)) if number == copying.number => {
                return self.copied(ctx, from, answer);
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

    /// A replica keeps the record, or not.
    fn copied(
        &mut self,
        ctx: &mut Ctx,
        from: NodeId,
        answer: Answer,
    ) -> Result<Option<Open>, OpError> {
        if let State::Copying(copying) = &mut self.state {
            let copy = match answer {
                Answer::Held => Copy::Durable,
                Answer::No(no) => Copy::Failed(no),
                _ => Copy::Failed(No::Unreachable),
            };
            copying.others.insert(from, copy);
        }
        self.copy(ctx)
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
            return Err(self.too_old(None).unwrap_or(OpError::NotFound));
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
        // Who cannot give all of what it told of may have made that up: it has
        // not answered. Others may have it, or something that counts.
        let holders: Vec<NodeId> = self.lookup.holders(*of).collect();
        for node in holders {
            self.lookup.take_back(node);
        }
        self.state = State::Looking;
        self.look(ctx)
    }

    fn check(&mut self, ctx: &mut Ctx, from: NodeId, record: Box<StoredRecord>) {
        let opener = self.opener.clone();
        self.state = State::Checking(from, record.clone());
        ctx.timers.cancel(Timer::Answer(self.op));
        ctx.job(
            Work::OpenRecord { opener, record },
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
                if let Some(error) = self.too_old(Some(head.id())) {
                    return Err(error);
                }
                let open = Open {
                    head,
                    meta,
                    content,
                    unconfirmed: None,
                };
                self.is_open(ctx, open)
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

    //# FRESH-4: A get of a name's newest record that finds an older one than it has seen of
    //# it, or none, MUST fail, with both, unless its caller takes what there is.
    fn too_old(&self, found: Option<RecordId>) -> Option<OpError> {
        let Fresh { seen, older } = self.fresh.filter(|_| !bug::on(Bug::OlderGiven))?;
        let seen = seen.filter(|seen| !older && found < Some(*seen))?;
        Some(OpError::Older { found, seen })
    }

    /// The record is open: hands it on to replicas that lack it.
    fn is_open(&mut self, ctx: &mut Ctx, open: Open) -> Result<Option<Open>, OpError> {
        let State::Checking(_, record) = core::mem::replace(&mut self.state, State::Done) else {
            return Ok(None);
        };
        let id = record.id();
        // One that was named is that one, whoever told it.
        if self.lookup.named().is_some() {
            return Ok(Some(open));
        }
        if self.lookup.is_outdone(id) {
            return self.look_again(ctx);
        }
        let copies = self.copies(id);
        if copies >= usize::from(ctx.config.durable) || self.fresh.is_none() {
            //# READ-5: A reader SHOULD hand on the newest record, which it has opened,
            //# to replicas that answered with an older one or none, or refused as
            //# failed.
            for node in self.lookup.stale(id) {
                ctx.keep(node, &record, true, Waiter::Nobody);
            }
            return self.answered(ctx, open, copies).map(Some);
        }
        ctx.arm(Timer::Answer(self.op), ctx.config.timing.answer);
        self.copied = self.copied.wrapping_add(1);
        self.state = State::Copying(Box::new(Copying {
            open,
            record: *record,
            number: self.copied,
            others: BTreeMap::new(),
            late: false,
        }));
        self.copy(ctx)
    }

    /// An answer that came since has told of a newer record: it must not make
    /// up the quorum that confirms an older one.
    fn look_again(&mut self, ctx: &mut Ctx) -> Result<Option<Open>, OpError> {
        self.state = State::Looking;
        ctx.arm(Timer::Answer(self.op), ctx.config.timing.answer);
        self.look(ctx).map(|()| None)
    }

    /// How many replicas are known to hold this record, or a newer one.
    fn copies(&self, of: RecordId) -> usize {
        let mut nodes: BTreeSet<NodeId> = self.lookup.holders_from(of).collect();
        if let State::Copying(copying) = &self.state {
            let held = copying.others.iter();
            let held = held.filter(|(_, copy)| **copy == Copy::Durable);
            nodes.extend(held.map(|(node, _)| *node));
        }
        nodes.len() + usize::from(bug::on(Bug::CopyCountedTwice))
    }

    /// Has the record kept by replicas that lack it, until W hold it or no
    /// more can be had.
    fn copy(&mut self, ctx: &mut Ctx) -> Result<Option<Open>, OpError> {
        let State::Copying(copying) = &mut self.state else {
            return Ok(None);
        };
        //# FRESH-2: A get that finds a name's newest record at fewer than W replicas MUST have
        //# it kept by others, handed on, until W hold it, before it answers. Where they cannot
        //# be had within the reader's deadline it MUST say that what it returns is
        //# unconfirmed, and how many there were of how many; or fail, if its caller wants only
        //# what is confirmed.
        let id = copying.record.id();
        if self.lookup.is_outdone(id) {
            return self.look_again(ctx);
        }
        for node in self.lookup.stale(id) {
            copying.others.entry(node).or_insert_with(|| {
                let waiter = Waiter::Op(self.op, Step::Copies(copying.number));
                ctx.keep(node, &copying.record, true, waiter);
                Copy::Asked
            });
        }
        let asked = copying.others.values().any(|copy| *copy == Copy::Asked);
        let more = !copying.late && (asked || self.lookup.is_waiting());
        let copies = self.copies(id);
        if more && copies < usize::from(ctx.config.durable) {
            return Ok(None);
        }
        match core::mem::replace(&mut self.state, State::Done) {
            State::Copying(copying) => self.answered(ctx, copying.open, copies).map(Some),
            _ => Ok(None),
        }
    }

    /// The record is what is answered, which so many replicas hold.
    fn answered(&self, ctx: &mut Ctx, open: Open, copies: usize) -> Result<Open, OpError> {
        ctx.timers.cancel(Timer::Answer(self.op));
        let (answered, needed) = self.answers();
        let (held, durable) = (copies as u8, ctx.config.durable);
        let lacks = self.fresh.is_some() && held < durable;
        if lacks && self.confirmed {
            return Err(OpError::Unavailable {
                copies: held,
                needed: durable,
                unknown: false,
            });
        }
        if held >= durable {
            ctx.note_seen(self.key, open.head.id());
        }
        let unconfirmed = (lacks || answered < needed).then_some(Unconfirmed {
            answered,
            needed,
            copies: held,
            durable,
        });
        Ok(Open {
            unconfirmed,
            ..open
        })
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
