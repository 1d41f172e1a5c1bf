//! Debts: copies that a member still has to get. They are written down when
//! the put that made them goes on without that copy, and paid when the member
//! can be reached.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound::{self, Unbounded};

use bytes::Bytes;

use super::Node;
use super::ctx::{Ctx, Timer};
use super::sources::Sources;
use super::task::{Answer, DiskTask, JobTask, No, Step, Waiter};
use crate::bug::{self, Bug};
use crate::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, Owed, Part, RecordKey, StoredRecord,
};
use crate::id::{BlobId, NameTag, NamespaceId, NodeId, OpId, PutId};
use crate::job::Work;
use crate::output::Event;
use crate::seal::{RecordError, SignedHead};
use crate::version::{RecordId, Version};
use crate::wire::message::{Authority, Refusal};

/// Debts to one member that are paid at the same time.
const AT_ONCE: usize = 32;

/// Debts that are struck out with one disk operation.
const STRIKE_MAX: usize = 1024;

/// Heads that are kept at hand for the blobs of their puts.
const HEADS_MAX: usize = 32;

/// Debts that are being paid.
#[derive(Debug, Default)]
pub(super) struct Payments {
    debts: BTreeMap<Debt, Search>,
    /// For each member the debt that was tried last: those behind it are next,
    /// so that what cannot be paid holds up nothing.
    last: BTreeMap<NodeId, Debt>,
    /// Heads that were found and checked, for the blobs of their puts.
    heads: BTreeMap<RecordId, Bytes>,
}

/// The search for a record: one that a member has missed, or whose head shows
/// that it is to hold a blob. Here, then at its replicas.
#[derive(Debug, Default)]
struct Search {
    others: Sources,
    /// Nobody has that one any more: a later one will do.
    later: bool,
    /// It was found, and the member has been asked to take what it lacks.
    offered: bool,
}

impl Ctx {
    /// Writes debts of `op` down; it hears of it as [`Step::Debts`].
    pub(super) fn owe(&mut self, op: OpId, debts: Vec<Debt>) {
        for debt in &debts {
            // A file with equal chunks owes one copy for all of them. A debt
            // names its put, so it is never another operation's.
            if self.debts.insert(*debt, Some(op)) != Some(Some(op)) {
                *self.settling.entry(op).or_insert(0) += 1;
            }
        }
        self.submit(
            DiskKind::PutDebts(debts),
            DiskTask::Reach(Waiter::Op(op, Step::Debts)),
        );
        // One that is set stands: new debts do not put off the old.
        if !self.timers.is_set(Timer::Debts) {
            self.arm(Timer::Debts, self.config.timing.request);
        }
    }

    /// How many copies are owed, those of blobs included whose put is to have
    /// its record yet.
    pub(super) fn owed(&self) -> usize {
        self.debts.len() + self.owing
    }

    /// How many copies of one record may fail when it has enough.
    pub(super) fn may_come_of_one(&self) -> usize {
        usize::from(self.config.replicas.saturating_sub(self.config.durable))
    }

    /// Whether so many more debts may be remembered, beside those that records
    /// under way may bring: a record that was sent is owed, whatever is owed
    /// already.
    pub(super) fn may_owe(&self, more: usize) -> bool {
        more == 0 || self.owed() + self.may_come + more <= self.config.limits.debts as usize
    }

    /// Whether a debt's record is there, as far as this node knows.
    fn is_payable(&self, debt: &Debt) -> bool {
        let op = self.debts.get(debt).copied().flatten();
        op.is_none_or(|op| !self.unwritten.contains(&op))
    }

    /// One copy that `op` owed is there.
    fn paid_for(&mut self, op: OpId) {
        let Some(owed) = self.settling.get_mut(&op) else {
            return;
        };
        *owed -= 1;
        if *owed == 0 && self.settling_alone.remove(&op) {
            self.settling.remove(&op);
            self.events.push(Event::Settled { op });
        }
    }
}

impl Node {
    /// Pays what is owed to `target`, as much as may be paid at once.
    pub(super) fn pay(&mut self, target: NodeId) {
        //# WRITE-4: A member that is owed a copy SHOULD be offered it whenever it can
        //# be reached: a blob by CLAIM, a record by KEEP, handed on.
        if !self.ctx.is_reachable(&target) {
            return;
        }
        let least = Debt {
            target,
            owed: LEAST,
        };
        let theirs = |debt: &&Debt| debt.target == target;
        let paying = self.payments.debts.range(least..).map(|(debt, _)| debt);
        let room = AT_ONCE.saturating_sub(paying.take_while(theirs).count());
        let last = self.payments.last.get(&target).copied().unwrap_or(least);
        let owed = self.ctx.debts.range((Bound::Excluded(last), Unbounded));
        let before = self.ctx.debts.range(least..=last);
        let next: Vec<Debt> = owed
            .map(|(debt, _)| debt)
            .take_while(theirs)
            .chain(before.map(|(debt, _)| debt))
            .filter(|debt| !self.payments.debts.contains_key(debt) && self.ctx.is_payable(debt))
            .take(room)
            .copied()
            .collect();
        match next.last() {
            Some(last) => self.payments.last.insert(target, *last),
            None if room > 0 => self.payments.last.remove(&target),
            None => None,
        };
        for debt in next {
            match debt.owed {
                //# DEBT-5: Who pays for a blob MUST show the head of the record that the
                //# debt names.
                Owed::Blob { id, .. } => match self.payments.heads.get(&id).cloned() {
                    Some(head) => {
                        self.payments.debts.insert(debt, Search::default());
                        self.offer_blob(debt, &head);
                    }
                    None => self.search(debt, Some(id)),
                },
                Owed::Record { id, .. } => self.search(debt, Some(id)),
            }
        }
    }

    /// Every member that is owed something and can be reached.
    pub(super) fn pay_all(&mut self) {
        let mut next = self.ctx.debts.keys().next().map(|debt| debt.target);
        while let Some(target) = next {
            self.pay(target);
            let after = Debt {
                target,
                owed: GREATEST,
            };
            next = self
                .ctx
                .debts
                .range(after..)
                .map(|(debt, _)| debt.target)
                .find(|of| *of != target);
        }
        if !self.ctx.debts.is_empty() && !bug::on(Bug::DebtsNotRetried) {
            self.ctx.arm(Timer::Debts, self.ctx.config.timing.request);
        }
    }

    /// Looks for the record that a member has missed, `None`: for the newest of
    /// its name, here first.
    fn search(&mut self, debt: Debt, at: Option<RecordId>) {
        let (me, key) = (self.ctx.me(), key_of(&debt));
        let of_blob = matches!(debt.owed, Owed::Blob { .. });
        let mut others = self.ctx.record_replicas(&key);
        // Who lacks a blob may have the record.
        others.retain(|node| *node != me && (of_blob || *node != debt.target));
        let search = Search {
            others: Sources::new(others),
            later: at.is_none(),
            offered: false,
        };
        self.payments.debts.insert(debt, search);
        let part = part_of(&debt);
        self.ctx.submit(
            DiskKind::GetRecord { key, at, part },
            DiskTask::DebtRecord(debt),
        );
    }

    /// The record was looked for here.
    pub(super) fn debt_record(&mut self, debt: Debt, result: Result<DiskData, DiskError>) {
        let me = self.ctx.me();
        match result {
            // What is shown to others is checked, or a head that was misread once
            // would be shown for as long as it is kept at hand.
            Ok(DiskData::Record(Some(record))) if matches!(debt.owed, Owed::Blob { .. }) => {
                let work = Work::CheckHead(Box::new(record));
                self.ctx.job(work, JobTask::Debt(debt, me));
            }
            Ok(DiskData::Record(Some(record))) => self.hand_on(debt, me, &record),
            Ok(_) => self.search_on(debt),
            // Where nobody else has it, nobody can ever show its head.
            Err(DiskError::Corrupt) if matches!(debt.owed, Owed::Blob { .. }) => {
                self.search_on(debt);
            }
            // What is damaged here is not gone.
            Err(error) => self.not_found(debt, &No::Disk(error)),
        }
    }

    /// Looks for the record at the next replica that is not the one that lacks
    /// it.
    fn search_on(&mut self, debt: Debt) {
        let (key, id) = (key_of(&debt), id_of(&debt));
        let Some(search) = self.payments.debts.get_mut(&debt) else {
            return;
        };
        let at = (!search.later).then_some(id);
        if let Some(node) = search.others.next(&self.ctx) {
            let part = part_of(&debt);
            return self.ctx.lookup(node, key, at, part, Waiter::Debt(debt));
        }
        //# DEBT-1: Who pays for a record MUST hand on the very one that was missed; a later
        //# one of the name only when this node and every replica but the one that is owed
        //# have told that they do not hold it.
        let told = !search.others.is_passing() && !search.others.is_refused();
        let gone = told && self.ctx.is_founded();
        if gone && matches!(debt.owed, Owed::Blob { .. }) {
            //# DEBT-6: A debt for a blob is of no account, and SHOULD be forgotten, when every
            //# replica of the name has told that it does not hold the record, and this node does
            //# not either, or holds it damaged.
            return self.forget_debt(debt);
        }
        if gone && !search.later {
            return self.search(debt, None);
        }
        // The next round tries again.
        self.payments.debts.remove(&debt);
    }

    /// One replica, or this node, could not tell.
    fn not_found(&mut self, debt: Debt, no: &No) {
        if let Some(search) = self.payments.debts.get_mut(&debt) {
            search.others.failed(no);
            self.search_on(debt);
        }
    }

    /// Hands on a record that `from` holds, and that was checked.
    fn hand_on(&mut self, debt: Debt, from: NodeId, record: &StoredRecord) {
        let id = id_of(&debt);
        let Some(search) = self.payments.debts.get_mut(&debt) else {
            return;
        };
        let wanted = record.id() == id || (search.later && record.id() > id);
        if !wanted {
            self.not_found(debt, &No::Refused(Refusal::Invalid));
        } else if debt.target == self.ctx.me() && debt.target == from {
            search.offered = true;
            self.debt_answer(debt, from, Answer::Held);
        } else {
            search.offered = true;
            self.ctx.keep(debt.target, record, true, Waiter::Debt(debt));
        }
    }

    /// Has a member hold the blob that it lacks: `head` was checked.
    fn offer_blob(&mut self, debt: Debt, head: &Bytes) {
        let (Owed::Blob { claim, id }, Some(search)) =
            (debt.owed, self.payments.debts.get_mut(&debt))
        else {
            return;
        };
        search.offered = true;
        if self.payments.heads.len() >= HEADS_MAX && !self.payments.heads.contains_key(&id) {
            self.payments.heads.pop_first();
        }
        self.payments.heads.insert(id, head.clone());
        let authority = Authority::Head(head.to_vec().into());
        let waiter = Waiter::Debt(debt);
        self.ctx
            .claim(debt.target, &claim, &authority, None, waiter);
    }

    /// A head was checked: a replica's, or this node's own.
    pub(super) fn debt_head_checked(
        &mut self,
        debt: Debt,
        from: NodeId,
        result: Result<SignedHead, RecordError>,
    ) {
        match result {
            Ok(head) if head.id() == id_of(&debt) => self.offer_blob(debt, head.bytes()),
            Ok(_) => self.not_found(debt, &No::Refused(Refusal::Invalid)),
            Err(_) => {
                self.ctx.lied(from);
                self.not_found(debt, &No::Refused(Refusal::Invalid));
            }
        }
    }

    /// What was owed is there, or of no account.
    fn forget_debt(&mut self, debt: Debt) {
        self.payments.debts.remove(&debt);
        if let Some(op) = self.ctx.debts.remove(&debt) {
            if !bug::on(Bug::DebtStays) {
                self.ctx
                    .submit(DiskKind::ClearDebts([debt].into()), DiskTask::DebtsCleared);
            }
            op.into_iter().for_each(|op| self.ctx.paid_for(op));
        }
        self.pay(debt.target);
    }

    /// Strikes out what is owed to members that are out: nobody would ever pay
    /// it, and it would count as owed for ever.
    pub(super) fn forgive(&mut self) {
        //# DEBT-7: What is owed to a member that is gone, or that this node's policy does not
        //# allow, SHOULD be forgotten.
        let members = &self.ctx.members;
        let mut known = None;
        let mut is_out = |target| match known {
            Some((of, out)) if of == target => out,
            _ => known.insert((target, members.is_out(&target))).1,
        };
        let owed = self.ctx.debts.keys().copied();
        let struck: Vec<Debt> = owed.filter(|debt| is_out(debt.target)).collect();
        for debts in struck.chunks(STRIKE_MAX) {
            self.ctx
                .submit(DiskKind::ClearDebts(debts.into()), DiskTask::DebtsCleared);
            for debt in debts {
                self.payments.debts.remove(debt);
                if let Some(Some(op)) = self.ctx.debts.remove(debt) {
                    self.ctx.paid_for(op);
                }
            }
        }
    }

    /// Whether the member that is owed is a replica, by this node's map.
    fn is_due(&mut self, debt: &Debt) -> bool {
        let replicas = match &debt.owed {
            Owed::Blob { claim, .. } => self.ctx.blob_replicas(&claim.blob),
            Owed::Record { key, .. } => self.ctx.record_replicas(key),
        };
        replicas.contains(&debt.target)
    }

    /// A replica's record was checked.
    pub(super) fn debt_checked(
        &mut self,
        debt: Debt,
        from: NodeId,
        result: Result<StoredRecord, RecordError>,
    ) {
        match result {
            Ok(record) => self.hand_on(debt, from, &record),
            Err(_) => {
                self.ctx.lied(from);
                self.not_found(debt, &No::Refused(Refusal::Invalid));
            }
        }
    }

    pub(super) fn debt_answer(&mut self, debt: Debt, from: NodeId, answer: Answer) {
        match answer {
            //# DEBT-2: A record that comes from another replica MUST be checked before it is
            //# handed on.
            Answer::Record(Some(record)) => {
                if is_of(&debt, &record) {
                    let task = JobTask::Debt(debt, from);
                    let work = match debt.owed {
                        Owed::Blob { .. } => Work::CheckHead(record),
                        Owed::Record { .. } => Work::CheckRecord(record),
                    };
                    self.ctx.job(work, task);
                } else {
                    self.not_found(debt, &No::Refused(Refusal::Invalid));
                }
            }
            Answer::Record(None) => self.search_on(debt),
            //# DEBT-3: A debt MUST be kept until the member that is owed has answered that it
            //# has the copy durable, or that it is no replica by the map that both have, or until
            //# DEBT-7 strikes it out.
            Answer::Held => self.forget_debt(debt),
            // Both maps say so: it was to hold this when the debt was made.
            Answer::No(No::Refused(Refusal::NotReplica)) if !self.is_due(&debt) => {
                self.forget_debt(debt);
            }
            Answer::No(_) if bug::on(Bug::DebtStruckEarly) => self.forget_debt(debt),
            Answer::No(no) if !self.payments.is_offered(&debt) => self.not_found(debt, &no),
            // The next round tries again.
            _ => {
                self.payments.debts.remove(&debt);
            }
        }
    }
}

impl Payments {
    /// Whether the member has been asked to take what it lacks.
    fn is_offered(&self, debt: &Debt) -> bool {
        self.debts.get(debt).is_none_or(|search| search.offered)
    }
}

/// Whether this is a record of the name that the debt is about.
fn is_of(debt: &Debt, record: &StoredRecord) -> bool {
    key_of(debt) == record.key
}

/// The name that the debt is about.
fn key_of(debt: &Debt) -> RecordKey {
    match debt.owed {
        Owed::Blob { claim, .. } => RecordKey {
            namespace: claim.namespace,
            tag: claim.tag,
        },
        Owed::Record { key, .. } => key,
    }
}

/// The record that is owed, or that the blob which is belongs to.
fn id_of(debt: &Debt) -> RecordId {
    match debt.owed {
        Owed::Blob { id, .. } | Owed::Record { id, .. } => id,
    }
}

/// How much of the record it takes.
fn part_of(debt: &Debt) -> Part {
    match debt.owed {
        Owed::Blob { .. } => Part::Head,
        Owed::Record { .. } => Part::All,
    }
}

/// Before every debt to one member.
const LEAST: Owed = Owed::Blob {
    claim: Claim {
        blob: BlobId([0; 32]),
        len: 0,
        namespace: NamespaceId([0; 32]),
        tag: NameTag([0; 32]),
        put: PutId([0; 16]),
    },
    id: RecordId {
        version: Version::ZERO,
        head: [0; 32],
    },
};

/// After every debt to one member.
const GREATEST: Owed = Owed::Record {
    key: RecordKey {
        namespace: NamespaceId([0xff; 32]),
        tag: NameTag([0xff; 32]),
    },
    id: RecordId {
        version: Version::MAX,
        head: [0xff; 32],
    },
};
