//! Debts: copies that a member still has to get. They are written down when
//! the put that made them goes on without that copy, and paid when the member
//! can be reached.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound::{self, Unbounded};

use super::Node;
use super::ctx::{Ctx, Timer};
use super::task::{Answer, Asker, DiskTask, JobTask, Step, Waiter};
use crate::disk::{Claim, Debt, DiskData, DiskError, DiskKind, Owed, Part, StoredRecord};
use crate::id::{BlobId, NameTag, NamespaceId, NodeId, OpId, PutId};
use crate::job::Work;
use crate::output::Event;
use crate::seal::RecordError;

/// Debts to one member that are paid at the same time.
const AT_ONCE: usize = 32;

/// Debts that are being paid.
#[derive(Debug, Default)]
pub(super) struct Payments {
    debts: BTreeSet<Debt>,
    /// For each member the debt that was tried last: those behind it are next,
    /// so that what cannot be paid holds up nothing.
    last: BTreeMap<NodeId, Debt>,
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
        let paying = self.payments.debts.range(least..).take_while(theirs);
        let room = AT_ONCE.saturating_sub(paying.count());
        let last = self.payments.last.get(&target).copied().unwrap_or(least);
        let owed = self.ctx.debts.range((Bound::Excluded(last), Unbounded));
        let before = self.ctx.debts.range(least..=last);
        let next: Vec<Debt> = owed
            .map(|(debt, _)| debt)
            .take_while(theirs)
            .chain(before.map(|(debt, _)| debt))
            .filter(|debt| !self.payments.debts.contains(debt))
            .take(room)
            .copied()
            .collect();
        match next.last() {
            Some(last) => self.payments.last.insert(target, *last),
            None if room > 0 => self.payments.last.remove(&target),
            None => None,
        };
        for debt in next {
            self.payments.debts.insert(debt);
            match debt.owed {
                Owed::Blob(claim) if target == self.ctx.me() => {
                    self.ctx.is_counted_on(&claim.blob);
                    self.ctx
                        .submit(DiskKind::Claim(claim), DiskTask::DebtClaim(debt, claim));
                }
                Owed::Blob(claim) => self.ctx.claim(target, &claim, None, Waiter::Debt(debt)),
                Owed::Record { key, id } => {
                    self.ctx.submit(
                        DiskKind::GetRecord {
                            key,
                            at: Some(id),
                            part: Part::All,
                        },
                        DiskTask::DebtRecord(debt),
                    );
                }
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

    /// Whether this node itself holds a blob that it owes itself.
    pub(super) fn debt_claimed(
        &mut self,
        debt: Debt,
        claim: Claim,
        result: Result<DiskData, DiskError>,
    ) {
        match result {
            Ok(DiskData::Claimed { held: false }) => {
                self.acquires.want(&mut self.ctx, Asker::Debt(debt), claim)
            }
            result => self.ctx.local_answer(Waiter::Debt(debt), result),
        }
    }

    /// The record that a member missed was looked for here.
    pub(super) fn debt_record(&mut self, debt: Debt, result: Result<DiskData, DiskError>) {
        match result {
            Ok(DiskData::Record(Some(record))) if debt.target != self.ctx.me() => {
                self.hand_on(debt, &record)
            }
            _ => self.ask_around(debt),
        }
    }

    /// Looks for the record at a replica that is not the one that lacks it.
    fn ask_around(&mut self, debt: Debt) {
        let Owed::Record { key, .. } = debt.owed else {
            return;
        };
        let me = self.ctx.me();
        let mut replicas = self.ctx.record_replicas(&key);
        replicas.retain(|node| *node != me && *node != debt.target && self.ctx.is_reachable(node));
        // Another one each time: whoever has it not, or lies, is not alone.
        let at = u32::from_be_bytes(self.ctx.random()) as usize;
        match replicas.get(at % replicas.len().max(1)) {
            Some(node) => self
                .ctx
                .lookup(*node, key, None, Part::All, Waiter::Debt(debt)),
            None => {
                self.payments.debts.remove(&debt);
            }
        }
    }

    fn hand_on(&mut self, debt: Debt, record: &StoredRecord) {
        let Owed::Record { id, .. } = debt.owed else {
            return;
        };
        if record.id() >= id {
            self.ctx.keep(debt.target, record, true, Waiter::Debt(debt));
        } else {
            self.payments.debts.remove(&debt);
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
            Ok(record) => self.hand_on(debt, &record),
            Err(_) => {
                self.ctx.lied(from);
                self.payments.debts.remove(&debt);
            }
        }
    }

    pub(super) fn debt_answer(&mut self, debt: Debt, from: NodeId, answer: Answer) {
        match answer {
            Answer::Record(Some(record)) if is_of(&debt, &record) => {
                let task = JobTask::Debt(debt, from);
                self.ctx.job(Work::CheckRecord(record), task);
            }
            Answer::Held => {
                self.payments.debts.remove(&debt);
                if let Some(op) = self.ctx.debts.remove(&debt) {
                    self.ctx
                        .submit(DiskKind::ClearDebts([debt].into()), DiskTask::DebtsCleared);
                    op.into_iter().for_each(|op| self.ctx.paid_for(op));
                }
                self.pay(debt.target);
            }
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
    key: crate::disk::RecordKey {
        namespace: NamespaceId([0xff; 32]),
        tag: NameTag([0xff; 32]),
    },
    id: crate::version::RecordId {
        version: crate::version::Version::MAX,
        head: [0xff; 32],
    },
};
