//! A list, and a history: rows of all members that may hold any, merged,
//! checked, opened and handed over in order.
//!
//! Nothing is asked for while the caller has entries to take. So the rows and
//! entries of one operation never come to more than its members' shares: an
//! entry is no larger than the row that it is made of, and a member is asked
//! for more only when no row or entry is left but those in its share, half of
//! which must be free.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::ctx::{Ctx, Timer};
use super::merge::Merge;
use super::open::{is_forged, unreadable};
use super::pages::{Order, Place};
use super::rows::Group;
use super::task::{Answer, JobTask, Step, Waiter};
use crate::bug::{self, Bug};
use crate::config::listing_blocks;
use crate::error::OpError;
use crate::id::{NodeId, OpId};
use crate::job::{Made, MetaResult, Work};
use crate::output::{Entry, History, List, Listed, Outcome};
use crate::seal::{BLOB_MAX, Reader};

/// Records that one job opens.
const BATCH: usize = 32;

#[derive(Debug)]
pub(super) struct BrowseOp {
    id: OpId,
    reader: Reader,
    order: Order,
    /// Where it begins.
    behind: Option<Place>,
    prefix: Option<String>,
    /// Removed names are shown.
    removed: bool,
    /// Once the members are known and there is room for their rows.
    merge: Option<Merge>,
    /// Blobs' rooms taken from the pool, beside the operation's own.
    blocks: usize,
    /// What is being checked, in order, the first with this number.
    groups: VecDeque<Group>,
    first: u64,
    ready: VecDeque<Entry>,
    listed: Listed,
    /// A record has been opened; why one that is signed could not be.
    opened: bool,
    unopened: Option<&'static str>,
    /// It is being worked out what may be missing.
    counting: bool,
    over: bool,
}

impl BrowseOp {
    pub(super) fn list(ctx: &mut Ctx, id: OpId, list: List) -> Self {
        let order = Order::Names(list.reader.namespace());
        let behind = list.after.map(Place::Name);
        let mut op = Self::new(id, list.reader, order, behind);
        (op.prefix, op.removed) = (list.prefix, list.removed);
        op.begin(ctx)
    }

    pub(super) fn history(ctx: &mut Ctx, id: OpId, history: History) -> Self {
        let order = Order::Versions(history.reader.key(&history.name));
        let behind = history.below.map(|id| Place::Version(Reverse(id)));
        Self::new(id, history.reader, order, behind).begin(ctx)
    }

    fn new(id: OpId, reader: Reader, order: Order, behind: Option<Place>) -> Self {
        Self {
            id,
            reader,
            order,
            behind,
            prefix: None,
            removed: true,
            merge: None,
            blocks: 0,
            groups: VecDeque::new(),
            first: 0,
            ready: VecDeque::new(),
            listed: Listed::default(),
            opened: false,
            unopened: None,
            counting: false,
            over: false,
        }
    }

    fn begin(mut self, ctx: &mut Ctx) -> Self {
        self.progressed(ctx);
        self.pump(ctx);
        self
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Finds out whom to ask, once the members are known and there is room for
    /// at least the longest row of each, twice.
    fn start(&mut self, ctx: &mut Ctx) {
        if self.merge.is_some() || !ctx.is_founded() {
            return;
        }
        let members: Vec<NodeId> = match &self.order {
            //# LIST-4: A lister MUST ask every candidate of placement, who asks for a
            //# history all R replicas of the name.
            Order::Names(_) => {
                let candidates = ctx.members.candidates();
                candidates.iter().map(|of| of.node).collect()
            }
            Order::Versions(key) => ctx.record_replicas(key),
        };
        let blocks = listing_blocks(members.len());
        if !ctx.get_pool.take((blocks - 1) * BLOB_MAX) {
            ctx.get_waiting.insert(self.id);
            return;
        }
        self.blocks = blocks - 1;
        let share = blocks * BLOB_MAX / members.len().max(1);
        self.merge = Some(Merge::new(self.order, self.behind, members, share));
    }

    /// Goes on as far as it goes by itself.
    fn pump(&mut self, ctx: &mut Ctx) {
        self.start(ctx);
        while !self.over && !self.counting && self.ready.is_empty() && self.groups.is_empty() {
            let Some(merge) = &mut self.merge else {
                return;
            };
            if merge.is_done() {
                return self.told_all(ctx);
            }
            for (node, query) in merge.ask() {
                ctx.page(node, query, Waiter::Op(self.id, Step::Page));
            }
            //# LIST-5: Who merges pages MUST NOT go past a place before every member
            //# that it counts on has told all rows up to there. It SHOULD wait for one
            //# that has not answered for its own deadline (5 seconds unless
            //# configured), and for one that has failed to if W or more would not
            //# count otherwise; then it MUST go on without, and MUST NOT count that
            //# member for anything behind that place.
            let (asked, failed) = merge.missing();
            let durable = usize::from(ctx.config.durable);
            if asked > 0 || (failed > 0 && failed + merge.out() >= durable) {
                if !ctx.timers.is_set(Timer::Answer(self.id)) {
                    ctx.arm(Timer::Answer(self.id), ctx.config.timing.answer);
                }
                return;
            }
            merge.pass_over_missing();
            ctx.timers.cancel(Timer::Answer(self.id));
            self.merge(ctx);
        }
    }

    /// Has what is complete checked and opened.
    fn merge(&mut self, ctx: &mut Ctx) {
        let Some(merge) = &mut self.merge else {
            return;
        };
        let passed_over = usize::from(bug::on(Bug::FirstNameLost));
        for rows in merge.take().into_values().skip(passed_over) {
            let Some((_, row)) = rows.first() else {
                continue;
            };
            let replicas = ctx.record_replicas(&self.order.key(row));
            let answered = replicas.into_iter().filter(|node| merge.counts(node));
            self.groups.push_back(Group::new(rows, answered.collect()));
        }
        let numbers = self.first..self.first + self.groups.len() as u64;
        self.check(ctx, numbers);
        self.hand_over(ctx);
    }

    /// Has the next candidate of each of these opened.
    fn check(&mut self, ctx: &mut Ctx, numbers: impl Iterator<Item = u64>) {
        let needed = ctx.config.read_quorum();
        let mut records = Vec::new();
        for number in numbers {
            let Some(group) = group(&mut self.groups, self.first, number) else {
                continue;
            };
            match group.candidate() {
                Some(record) => records.push((number, record.clone())),
                None => self.listed.unreadable += u64::from(group.is_lost(needed)),
            }
        }
        for records in records.chunks(BATCH) {
            let (reader, records) = (self.reader.clone(), records.to_vec());
            let work = Work::OpenMetas { reader, records };
            ctx.job(work, JobTask::Op(self.id, Step::Page));
        }
    }

    pub(super) fn made(&mut self, ctx: &mut Ctx, made: Made) {
        match made {
            _ if self.over => {}
            Made::Metas(results) => {
                let mut forged = Vec::new();
                for (number, result) in results {
                    if !self.checked(ctx, number, result) {
                        forged.push(number);
                    }
                }
                self.check(ctx, forged.into_iter());
                self.hand_over(ctx);
                self.pump(ctx);
            }
            Made::Unread(slots) => {
                self.listed.unread = slots;
                self.end(ctx, Ok(Outcome::Listed(self.listed)));
            }
            _ => {}
        }
    }

    /// False if the record was forged and others have to be looked at.
    fn checked(&mut self, ctx: &mut Ctx, number: u64, result: MetaResult) -> bool {
        let needed = ctx.config.read_quorum();
        let Some(group) = group(&mut self.groups, self.first, number) else {
            return true;
        };
        match result {
            Ok(opened) => {
                let (head, meta) = *opened;
                self.opened = true;
                let entry = group.entry(&head, meta, needed, ctx.config.durable);
                let starts = |prefix: &String| entry.name.as_str().starts_with(prefix.as_str());
                let shown = self.prefix.as_ref().is_none_or(starts);
                let shown =
                    shown && (self.removed || !entry.removed || bug::on(Bug::RemovedListed));
                group.done(shown.then_some(entry));
                ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
                true
            }
            Err(error) if is_forged(&error) => {
                //# LIST-7: A row whose head, signature or meta do not bear each other
                //# out MUST NOT be shown or counted, and whoever told it MUST NOT
                //# count as having answered there or behind; the next record told of
                //# that name is looked at instead.
                for node in group.reject() {
                    if self.merge.as_mut().is_some_and(|of| of.drop_liar(&node)) {
                        ctx.lied(node);
                    }
                }
                false
            }
            Err(error) => {
                self.unopened.get_or_insert(unreadable(&error));
                self.listed.unreadable += 1;
                group.done(None);
                true
            }
        }
    }

    /// Puts what is next in order into the caller's reach.
    fn hand_over(&mut self, ctx: &mut Ctx) {
        while self.groups.front().is_some_and(Group::is_done) {
            let group = self.groups.pop_front();
            self.first += 1;
            self.ready.extend(group.and_then(Group::into_entry));
        }
        if !self.ready.is_empty() {
            ctx.events.readable(self.id);
        }
    }

    /// The caller takes an entry.
    pub(super) fn entry(&mut self, ctx: &mut Ctx) -> Option<Entry> {
        let entry = self.ready.pop_front()?;
        self.listed.entries += 1;
        ctx.events.progress(self.id, self.listed.entries);
        self.progressed(ctx);
        self.pump(ctx);
        Some(entry)
    }

    /// Every member has told all, or does not count.
    fn told_all(&mut self, ctx: &mut Ctx) {
        let Some(merge) = &self.merge else { return };
        let (members, answered) = (merge.len(), merge.len() - merge.out());
        let (needed, durable) = (ctx.config.read_quorum(), usize::from(ctx.config.durable));
        self.listed.needed = u8::try_from(needed).unwrap_or(u8::MAX);
        self.listed.members = u16::try_from(members).unwrap_or(u16::MAX);
        self.listed.answered = u16::try_from(answered).unwrap_or(u16::MAX);
        if answered == 0 && self.listed.entries == 0 {
            return self.unconfirmed(ctx);
        }
        if let Some(why) = self.unopened.filter(|_| !self.opened) {
            return self.end(ctx, Err(OpError::Unreadable(why)));
        }
        //# LIST-8: Who lists MUST say how many members told all that they hold, of how
        //# many, and of how many slots fewer than R - W + 1 replicas did.
        match &self.order {
            Order::Versions(key) => {
                let replicas = ctx.record_replicas(key);
                let told = replicas.iter().filter(|node| merge.counts(node)).count();
                self.listed.unread = u32::from(told < needed);
            }
            Order::Names(_) => {
                let candidates = ctx.members.candidates();
                let told = candidates.iter().map(|of| of.node);
                let told: BTreeSet<NodeId> = told.filter(|node| merge.counts(node)).collect();
                // A slot lacks a quorum only if W of its replicas are silent.
                if candidates.len() - told.len() >= durable {
                    self.counting = true;
                    let work = Work::CountUnread {
                        candidates,
                        replicas: ctx.config.replicas.into(),
                        told,
                        needed,
                    };
                    return ctx.job(work, JobTask::Op(self.id, Step::Page));
                }
            }
        }
        self.end(ctx, Ok(Outcome::Listed(self.listed)));
    }

    pub(super) fn answer(&mut self, ctx: &mut Ctx, from: NodeId, answer: Answer) {
        let Some(merge) = &mut self.merge else { return };
        let page = match answer {
            Answer::Page(page) => Some(page),
            _ => None,
        };
        merge.answer(from, page);
        self.pump(ctx);
    }

    // Time, peers, ends.

    fn progressed(&self, ctx: &mut Ctx) {
        ctx.arm(Timer::Progress(self.id), ctx.config.timing.operation);
    }

    /// There may be room for what it waits for.
    pub(super) fn room(&mut self, ctx: &mut Ctx) {
        self.pump(ctx);
    }

    pub(super) fn retry(&mut self, ctx: &mut Ctx, peer: Option<NodeId>) {
        if let Some(merge) = &mut self.merge {
            merge.revive(|node| peer.is_none_or(|peer| peer == *node) && ctx.is_reachable(node));
        }
        self.pump(ctx);
    }

    pub(super) fn timer(&mut self, ctx: &mut Ctx, timer: Timer) {
        match timer {
            _ if self.over => {}
            Timer::Answer(_) => {
                if let Some(merge) = &mut self.merge {
                    merge.pass_over_missing();
                }
                self.pump(ctx);
            }
            // It is the caller's turn.
            Timer::Progress(_) if !self.ready.is_empty() => self.progressed(ctx),
            Timer::Progress(_) => self.unconfirmed(ctx),
            _ => {}
        }
    }

    fn unconfirmed(&mut self, ctx: &mut Ctx) {
        let (answered, needed) = (0, ctx.config.read_quorum() as u8);
        self.end(ctx, Err(OpError::Unconfirmed { answered, needed }));
    }

    pub(super) fn cancel(&mut self, ctx: &mut Ctx) {
        self.end(ctx, Err(OpError::Cancelled { unknown: false }));
    }

    fn end(&mut self, ctx: &mut Ctx, result: Result<Outcome, OpError>) {
        if self.over {
            return;
        }
        self.over = true;
        self.merge = None;
        self.groups.clear();
        self.ready.clear();
        if self.blocks > 0 {
            ctx.get_pool.give(self.blocks * BLOB_MAX);
            ctx.get_room = true;
        }
        ctx.events.finished(self.id, result);
    }
}

/// The group of this number, if it has not been handed over.
fn group(groups: &mut VecDeque<Group>, first: u64, number: u64) -> Option<&mut Group> {
    let at = usize::try_from(number.checked_sub(first)?).ok()?;
    groups.get_mut(at)
}
