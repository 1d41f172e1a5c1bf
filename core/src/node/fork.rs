//! Two different records of one version: told of by replicas, and reported once
//! both are known to be signed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ctx::Ctx;
use super::lookup::Lookup;
use super::open::is_forged;
use super::task::JobTask;
use crate::disk::StoredRecord;
use crate::id::NodeId;
use crate::job::Work;
use crate::output::{Fork, Told};
use crate::seal::{RecordError, SignedHead};

impl Lookup {
    //# FRESH-7: A reader that is told of two records of one version that differ, both signed
    //# by their namespace, MUST say so, with both heads and who told of them; it goes on by
    //# their order (VERSION-1).
    /// Has every two records that were told of at one version checked, unless
    /// that was done before.
    pub(super) fn look_for_forks(&mut self, ctx: &mut Ctx) {
        let mut told: Vec<&StoredRecord> = self.records().collect();
        told.sort_by_key(|record| record.id());
        told.dedup_by_key(|record| record.id());
        let same =
            |pair: &&[&StoredRecord]| matches!(pair, [one, other] if one.version == other.version);
        let pairs: Vec<[StoredRecord; 2]> = told
            .windows(2)
            .filter(same)
            .filter_map(|pair| <[&StoredRecord; 2]>::try_from(pair).ok())
            .map(|pair| pair.map(head_alone))
            .collect();
        for pair in pairs {
            let ids = pair.each_ref().map(StoredRecord::id);
            if !ctx.events.has_told_fork(self.key(), ids) && self.is_new_pair(ids) {
                let tellers = ids.map(|id| self.holders(id).collect());
                let task = JobTask::Fork(Box::new(tellers));
                ctx.job(Work::CheckPair(Box::new(pair)), task);
            }
        }
    }
}

impl Ctx {
    /// Two heads of one version were checked, each told by these.
    pub(super) fn fork_checked(
        &mut self,
        tellers: [Vec<NodeId>; 2],
        pair: [Result<SignedHead, RecordError>; 2],
    ) {
        match pair {
            [Ok(one), Ok(other)] => {
                let key = one.key();
                let [by_one, by_other] = tellers;
                let records = [(one, by_one), (other, by_other)].map(|(head, by)| Told {
                    id: head.id(),
                    head: head.bytes().clone(),
                    by,
                });
                self.events.forked(Fork { key, records });
            }
            pair => {
                for (result, tellers) in pair.iter().zip(tellers) {
                    if result.as_ref().is_err_and(is_forged) {
                        tellers.into_iter().for_each(|node| self.lied(node));
                    }
                }
            }
        }
    }
}

fn head_alone(record: &StoredRecord) -> StoredRecord {
    let mut record = record.clone();
    record.meta.clear();
    record.content.clear();
    record
}
