//! Asking a name's replicas for what they hold: the first step of every
//! operation.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::ctx::{Ctx, Timer};
use super::task::{Answer, No, Step, Waiter};
use crate::bug::{self, Bug};
use crate::disk::{DiskError, Part, RecordKey, StoredRecord};
use crate::id::{NodeId, OpId};
use crate::version::RecordId;
use crate::wire::message::Refusal;

/// What is enough of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// A read quorum that agrees on a record, or else everyone's word.
    Agreed,
    /// A read quorum, whatever it says: enough to go above all that is
    /// finished.
    Quorum,
    /// This very record, from whoever holds it, or else everyone's word.
    Held(RecordId),
}

#[derive(Debug)]
enum Asked {
    Waiting,
    Told(Option<Box<StoredRecord>>),
    Failed,
    /// Its store cannot tell: what it holds may be damaged.
    Unread,
    /// What it told does not bear its signature.
    Lied,
}

impl Asked {
    /// Whether it may be asked again.
    fn has_failed(&self) -> bool {
        matches!(self, Self::Failed | Self::Unread)
    }
}

#[derive(Debug)]
pub(super) struct Lookup {
    op: OpId,
    step: Step,
    key: RecordKey,
    until: Until,
    needed: usize,
    replicas: BTreeMap<NodeId, Asked>,
    /// The deadline for missing answers has passed.
    late: bool,
    /// Less than this is not enough while there may be more.
    floor: Option<RecordId>,
    /// Records of one version that were told of, two each.
    pairs: BTreeSet<[RecordId; 2]>,
}

impl Lookup {
    /// Answers come to `op` at `step`: one for each look-up that it makes.
    pub(super) fn new(ctx: &Ctx, op: OpId, step: Step, key: RecordKey, until: Until) -> Self {
        //# READ-7: A reader that names a record MUST take it from any one replica that
        //# has it whole, and MUST believe only all R replicas that there is none.
        let needed = match until {
            Until::Agreed | Until::Quorum if bug::on(Bug::ReadQuorumOne) => 1,
            Until::Agreed | Until::Quorum => ctx.config.read_quorum(),
            Until::Held(_) => ctx.config.replicas.into(),
        };
        Self {
            op,
            step,
            key,
            until,
            needed,
            replicas: BTreeMap::new(),
            late: false,
            floor: None,
            pairs: BTreeSet::new(),
        }
    }

    /// An agreement on less than this is not enough: everyone's word is waited
    /// for.
    pub(super) fn set_floor(&mut self, floor: Option<RecordId>) {
        self.floor = floor;
    }

    pub(super) fn key(&self) -> RecordKey {
        self.key
    }

    /// Asks every replica that has not been asked, once the members are
    /// known. A reader asks the nearest for the whole record at once.
    pub(super) fn start(&mut self, ctx: &mut Ctx) {
        if !ctx.is_founded() || !self.replicas.is_empty() {
            return;
        }
        let mut replicas = ctx.record_replicas(&self.key);
        let me = ctx.me();
        replicas.sort_by_key(|node| (*node != me, !ctx.is_reachable(node)));
        //# READ-1: A reader MUST ask all R replicas of the name, and takes as confirmed
        //# the newest record of their answers when R - W + 1 replicas hold that very
        //# one.
        for (at, node) in replicas.into_iter().enumerate() {
            let whole = at == 0 && self.until != Until::Quorum;
            self.ask(ctx, node, if whole { Part::All } else { Part::Head });
        }
        ctx.arm(Timer::Answer(self.op), ctx.config.timing.answer);
    }

    fn ask(&mut self, ctx: &mut Ctx, node: NodeId, part: Part) {
        self.replicas.insert(node, Asked::Waiting);
        let waiter = Waiter::Op(self.op, self.step);
        ctx.lookup(node, self.key, self.named(), part, waiter);
    }

    pub(super) fn answer(&mut self, ctx: &mut Ctx, from: NodeId, answer: Answer) {
        if !matches!(self.replicas.get(&from), Some(Asked::Waiting)) {
            return;
        }
        let asked = match answer {
            Answer::Record(Some(record)) if bug::hides(&record) => Asked::Told(None),
            Answer::Record(None) => Asked::Told(None),
            Answer::Record(Some(record)) if self.is_wanted(&record) => Asked::Told(Some(record)),
            Answer::Record(_) => {
                ctx.lied(from);
                Asked::Lied
            }
            Answer::No(No::Disk(DiskError::Corrupt) | No::Refused(Refusal::Failed)) => {
                Asked::Unread
            }
            _ => Asked::Failed,
        };
        self.replicas.insert(from, asked);
    }

    /// The record that is looked for, unless it is the newest.
    pub(super) fn named(&self) -> Option<RecordId> {
        match self.until {
            Until::Held(id) => Some(id),
            Until::Agreed | Until::Quorum => None,
        }
    }

    /// Whether it says that it is what was asked for.
    pub(super) fn is_wanted(&self, record: &StoredRecord) -> bool {
        (record.key == self.key || bug::on(Bug::OtherNameTaken))
            && self.named().is_none_or(|id| record.id() == id)
    }

    /// Asks `node` for the whole of the record that it has told of.
    pub(super) fn fetch(&self, ctx: &mut Ctx, node: NodeId, waiter: Waiter) {
        ctx.lookup(node, self.key, self.named(), Part::All, waiter);
    }

    /// `node` could not give all of what it told of.
    pub(super) fn take_back(&mut self, node: NodeId) {
        self.replicas.insert(node, Asked::Failed);
    }

    /// Asks `peer` again, which can be reached again.
    pub(super) fn up(&mut self, ctx: &mut Ctx, peer: NodeId) {
        if self.replicas.get(&peer).is_some_and(Asked::has_failed) {
            self.ask(ctx, peer, Part::Head);
        }
    }

    /// Asks all those again that failed.
    pub(super) fn retry(&mut self, ctx: &mut Ctx) {
        let failed = self.replicas.iter().filter(|(_, asked)| asked.has_failed());
        let failed: Vec<NodeId> = failed.map(|(node, _)| *node).collect();
        failed
            .into_iter()
            .for_each(|node| self.ask(ctx, node, Part::Head));
    }

    /// No more answers are waited for.
    pub(super) fn set_late(&mut self) {
        self.late = true;
    }

    pub(super) fn needed(&self) -> usize {
        self.needed
    }

    /// How many replicas have told what they hold.
    pub(super) fn answered(&self) -> usize {
        self.told().count()
    }

    /// Whether there are answers enough, or will be no more.
    pub(super) fn is_done(&self) -> bool {
        if self.late {
            return true;
        }
        let enough = self.answered() >= self.needed;
        let waiting = self.is_waiting();
        match self.until {
            Until::Quorum => enough,
            //# READ-2: While answers disagree, or tell of no record, a reader MUST
            //# wait for all replicas to answer or fail, or for its own deadline (5
            //# seconds unless configured); then the newest record counts, if R - W
            //# + 1 have answered at all.
            Until::Agreed => enough && (!waiting || self.agreed()),
            Until::Held(_) => enough || self.newest().is_some(),
        }
    }

    /// Whether someone may still answer in time.
    pub(super) fn is_waiting(&self) -> bool {
        let waiting = |asked: &Asked| matches!(asked, Asked::Waiting);
        !self.late && self.replicas.values().any(waiting)
    }

    /// Whether a read quorum holds the same newest record, and it is not below
    /// the floor. That nobody holds any is only believed of all.
    fn agreed(&self) -> bool {
        let Some(newest) = self.newest().map(|(_, newest)| newest.id()) else {
            return false;
        };
        //# FRESH-3: Before it settles for an older record than it has seen, or for none, a
        //# reader MUST wait for all replicas to answer or fail, or for its own deadline.
        self.floor.is_none_or(|floor| newest >= floor)
            && self.holders(newest).count() >= self.needed
    }

    fn told(&self) -> impl Iterator<Item = (NodeId, Option<&StoredRecord>)> {
        self.replicas
            .iter()
            .filter_map(|(node, asked)| match asked {
                Asked::Told(record) => Some((*node, record.as_deref())),
                _ => None,
            })
    }

    /// The newest record that anyone holds, and who told it; whole, if it came
    /// whole.
    pub(super) fn newest(&self) -> Option<(NodeId, &StoredRecord)> {
        let minority = |id| 2 * self.holders(id).count() <= self.answered();
        self.told()
            .filter_map(|(node, record)| Some((node, record?)))
            .filter(|(_, record)| !(bug::on(Bug::MinorityIgnored) && minority(record.id())))
            .max_by_key(|(_, record)| (record.id(), is_whole(record)))
    }

    /// Whether anyone holds a newer record than this one.
    pub(super) fn is_outdone(&self, of: RecordId) -> bool {
        self.newest().is_some_and(|(_, newest)| newest.id() > of)
    }

    /// The records that were told of.
    pub(super) fn records(&self) -> impl Iterator<Item = &StoredRecord> {
        self.told().filter_map(|(_, record)| record)
    }

    /// Whether these two are looked at for the first time.
    pub(super) fn is_new_pair(&mut self, pair: [RecordId; 2]) -> bool {
        self.pairs.insert(pair)
    }

    /// Who holds this record or a newer one.
    pub(super) fn holders_from(&self, of: RecordId) -> impl Iterator<Item = NodeId> {
        self.told()
            .filter(move |(_, record)| record.is_some_and(|record| record.id() >= of))
            .map(|(node, _)| node)
    }

    /// Who holds this record.
    pub(super) fn holders(&self, of: RecordId) -> impl Iterator<Item = NodeId> {
        self.told()
            .filter(move |(_, record)| record.is_some_and(|record| record.id() == of))
            .map(|(node, _)| node)
    }

    /// Who answered and holds an older one or none, or could not read what it
    /// holds.
    pub(super) fn stale(&self, newest: RecordId) -> Vec<NodeId> {
        let older =
            |record: Option<&StoredRecord>| record.is_none_or(|record| record.id() < newest);
        let replicas = self.replicas.iter().filter(|(_, asked)| match asked {
            Asked::Told(record) => older(record.as_deref()),
            Asked::Unread => true,
            Asked::Waiting | Asked::Failed | Asked::Lied => false,
        });
        replicas.map(|(node, _)| *node).collect()
    }

    /// What `node` told is not what its signature says: it counts no more. The
    /// same record told by others may still be right: neither signature nor
    /// parts go into its id.
    pub(super) fn reject(&mut self, ctx: &mut Ctx, node: NodeId) {
        self.replicas.insert(node, Asked::Lied);
        ctx.lied(node);
    }
}

/// Whether meta and content came with the head.
pub(super) fn is_whole(record: &StoredRecord) -> bool {
    // A sealed meta is never empty; nobody asks for it without the content.
    !record.meta.is_empty()
}

/// Whether another try may lead to another answer soon.
pub(super) fn is_passing(no: &No) -> bool {
    matches!(
        no,
        No::Unreachable | No::Silent | No::Refused(Refusal::Busy | Refusal::Cancelled)
    )
}
