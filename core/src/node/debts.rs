//! Debts: copies that a member still has to get. They are written down when
//! the put that made them goes on without that copy, and paid when the member
//! can be reached.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound::{self, Unbounded};

use super::Node;
use super::ctx::{Ctx, Timer};
use super::sources::Sources;
use super::task::{Answer, DiskTask, JobTask, No, Step, Waiter};
use crate::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, Owed, Part, RecordKey, StoredRecord,
};
use crate::id::{BlobId, NameTag, NamespaceId, NodeId, OpId, PutId};
use crate::job::Work;
use crate::output::Event;
use crate::seal::RecordError;
use crate::version::{RecordId, Version};
use crate::wire::message::Refusal;

/// Debts to one member that are paid at the same time.
const AT_ONCE: usize = 32;

/// Debts that are being paid.
#[derive(Debug, Default)]
pub(super) struct Payments {
    debts: BTreeMap<Debt, Search>,
    /// For each member the debt that was tried last: those behind it are next,
    /// so that what cannot be paid holds up nothing.
    last: BTreeMap<NodeId, Debt>,
}

/// The search for a record that a member has missed: here, then at the other
/// replicas.
#[derive(Debug, Default)]
struct Search {
    others: Sources,
    /// Nobody has that one any more: a later one will do.
    later: bool,
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

    /// Whether so many more debts may be remembered.
    pub(super) fn may_owe(&self, more: usize) -> bool {
        more == 0 || self.debts.len() + more <= self.config.limits.debts as usize
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
            .filter(|debt| !self.payments.debts.contains_key(debt))
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
                Owed::Blob(claim) => {
                    self.payments.debts.insert(debt, Search::default());
                    self.ctx.claim(target, &claim, None, Waiter::Debt(debt));
                }
                Owed::Record { key, id } => self.search(debt, key, Some(id)),
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
        if !self.ctx.debts.is_empty() {
            self.ctx.arm(Timer::Debts, self.ctx.config.timing.request);
        }
    }

    /// Looks for the record that a member has missed, `None`: for the newest of
    /// its name, here first.
    fn search(&mut self, debt: Debt, key: RecordKey, at: Option<RecordId>) {
        let me = self.ctx.me();
        let mut others = self.ctx.record_replicas(&key);
        others.retain(|node| *node != me && *node != debt.target);
        let search = Search {
            others: Sources::new(others),
            later: at.is_none(),
        };
        self.payments.debts.insert(debt, search);
        let part = Part::All;
        self.ctx.submit(
            DiskKind::GetRecord { key, at, part },
            DiskTask::DebtRecord(debt),
        );
    }

    /// The record was looked for here.
    pub(super) fn debt_record(&mut self, debt: Debt, result: Result<DiskData, DiskError>) {
        let me = self.ctx.me();
        match result {
            Ok(DiskData::Record(Some(record))) => self.hand_on(debt, me, &record),
            Ok(_) => self.search_on(debt),
            // What is damaged here is not gone.
            Err(error) => self.not_found(debt, &No::Disk(error)),
        }
    }

    /// Looks for the record at the next replica that is not the one that lacks
    /// it.
    fn search_on(&mut self, debt: Debt) {
        let Owed::Record { key, id } = debt.owed else {
            return;
        };
        let Some(search) = self.payments.debts.get_mut(&debt) else {
            return;
        };
        let at = (!search.later).then_some(id);
        if let Some(node) = search.others.next(&self.ctx) {
            return self
                .ctx
                .lookup(node, key, at, Part::All, Waiter::Debt(debt));
        }
        //# DEBT-1: Who pays for a record MUST hand on the very one that was missed; a later
        //# one of the name only when this node and every replica but the one that is owed
        //# have told that they do not hold it.
        let told = !search.others.is_passing() && !search.others.is_refused();
        let gone = told && self.ctx.is_founded();
        if gone && !search.later {
            return self.search(debt, key, None);
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
        let Owed::Record { id, .. } = debt.owed else {
            return;
        };
        let Some(search) = self.payments.debts.get(&debt) else {
            return;
        };
        let wanted = record.id() == id || (search.later && record.id() > id);
        if !wanted {
            self.not_found(debt, &No::Refused(Refusal::Invalid));
        } else if debt.target == self.ctx.me() && debt.target == from {
            self.debt_answer(debt, from, Answer::Held);
        } else {
            self.ctx.keep(debt.target, record, true, Waiter::Debt(debt));
        }
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
                    self.ctx.job(Work::CheckRecord(record), task);
                } else {
                    self.not_found(debt, &No::Refused(Refusal::Invalid));
                }
            }
            Answer::Record(None) => self.search_on(debt),
            //# DEBT-3: A debt MUST be kept until the member that is owed has answered that it
            //# has the copy durable.
            Answer::Held => {
                self.payments.debts.remove(&debt);
                if let Some(op) = self.ctx.debts.remove(&debt) {
                    self.ctx
                        .submit(DiskKind::ClearDebts([debt].into()), DiskTask::DebtsCleared);
                    op.into_iter().for_each(|op| self.ctx.paid_for(op));
                }
                self.pay(debt.target);
            }
            Answer::No(no) if from != debt.target => self.not_found(debt, &no),
            // The next round tries again.
            _ => {
                self.payments.debts.remove(&debt);
            }
        }
    }
}

/// Whether this is a record of the name of which one is owed.
fn is_of(debt: &Debt, record: &StoredRecord) -> bool {
    matches!(debt.owed, Owed::Record { key, .. } if key == record.key)
}

/// Before every debt to one member.
const LEAST: Owed = Owed::Blob(Claim {
    blob: BlobId([0; 32]),
    len: 0,
    namespace: NamespaceId([0; 32]),
    tag: NameTag([0; 32]),
    put: PutId([0; 16]),
});

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
