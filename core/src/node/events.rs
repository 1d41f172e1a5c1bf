//! Events on their way to the driver. What can be said once is said once: an
//! operation is readable, writable or so far along, however often it became
//! so; nothing of it follows its end but that it settled.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::disk::RecordKey;
use crate::error::OpError;
use crate::id::OpId;
use crate::output::{Damage, Event, Fork, Outcome};
use crate::version::RecordId;

#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    readable: BTreeSet<OpId>,
    writable: BTreeSet<OpId>,
    progress: BTreeMap<OpId, u64>,
    /// That the members have changed is in the queue.
    members: bool,
    /// Names whose record was told to be damaged.
    damaged: BTreeSet<RecordKey>,
    /// Pairs of records that were told to be of one version.
    forks: BTreeSet<(RecordKey, [RecordId; 2])>,
}

/// How many damaged names are remembered as told of.
const DAMAGED_MAX: usize = 1024;

/// How many pairs are remembered as told of.
const FORKS_MAX: usize = 1024;

impl Events {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    pub(super) fn members(&mut self) {
        if !core::mem::replace(&mut self.members, true) {
            self.push(Event::Members);
        }
    }

    /// Every read of a damaged record finds it so; it is told once.
    pub(super) fn damaged_record(&mut self, key: RecordKey) {
        if self.damaged.len() >= DAMAGED_MAX && !self.damaged.contains(&key) {
            self.damaged.clear();
        }
        if self.damaged.insert(key) {
            self.push(Event::Damaged(Damage::Record(key)));
        }
    }

    /// A record of this name was written: it may have been mended.
    pub(super) fn record_kept(&mut self, key: &RecordKey) {
        self.damaged.remove(key);
    }

    /// Whether it has been told that these two are of one version.
    pub(super) fn has_told_fork(&self, key: RecordKey, pair: [RecordId; 2]) -> bool {
        self.forks.contains(&(key, pair))
    }

    //# FRESH-8: It SHOULD say so once for each pair, and MUST NOT count anything as evidence
    //# that is not signed.
    pub(super) fn forked(&mut self, fork: Fork) {
        let pair = fork.records.each_ref().map(|told| told.id);
        if self.forks.len() >= FORKS_MAX && !self.has_told_fork(fork.key, pair) {
            self.forks.clear();
        }
        if self.forks.insert((fork.key, pair)) {
            self.push(Event::Forked(Box::new(fork)));
        }
    }

    pub(super) fn readable(&mut self, op: OpId) {
        self.readable.insert(op);
    }

    pub(super) fn writable(&mut self, op: OpId) {
        self.writable.insert(op);
    }

    pub(super) fn progress(&mut self, op: OpId, bytes: u64) {
        self.progress.insert(op, bytes);
    }

    pub(super) fn finished(&mut self, op: OpId, result: Result<Outcome, OpError>) {
        self.readable.remove(&op);
        self.writable.remove(&op);
        // The last word on progress comes before the end.
        if let Some(bytes) = self.progress.remove(&op) {
            self.push(Event::Progress { op, bytes });
        }
        self.push(Event::Finished { op, result });
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        let first = self.queue.pop_front();
        self.members &= first != Some(Event::Members);
        // What others wait for goes first; progress only informs.
        first
            .or_else(|| self.readable.pop_first().map(|op| Event::Readable { op }))
            .or_else(|| self.writable.pop_first().map(|op| Event::Writable { op }))
            .or_else(|| {
                self.progress
                    .pop_first()
                    .map(|(op, bytes)| Event::Progress { op, bytes })
            })
    }

    pub(super) fn has_output(&self) -> bool {
        self.len() > 0
    }

    /// Events that are not drained yet.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.readable.len() + self.writable.len() + self.progress.len()
    }
}
