//! What was told of one place of a listing, until it is known which record
//! counts there.

use alloc::vec::Vec;

use crate::bug::{self, Bug};
use crate::disk::{Row, StoredRecord};
use crate::id::NodeId;
use crate::output::{Entry, Unconfirmed};
use crate::seal::{Meta, RecordKind, SignedHead};

#[derive(Debug)]
pub(super) struct Group {
    /// Records told of, the newest last, each with who told it so.
    candidates: Vec<(StoredRecord, Vec<NodeId>)>,
    /// The name's replicas that have told what they hold here.
    answered: Vec<NodeId>,
    /// Someone told of a record that is damaged there.
    damaged: bool,
    result: Option<Option<Entry>>,
}

impl Group {
    /// `answered` are the name's replicas that count.
    pub(super) fn new(rows: Vec<(NodeId, Row)>, mut answered: Vec<NodeId>) -> Self {
        let mut candidates: Vec<(StoredRecord, Vec<NodeId>)> = Vec::new();
        let mut damaged = false;
        for (node, row) in rows {
            match row {
                Row::Record(record) => {
                    match candidates.iter_mut().find(|(other, _)| *other == record) {
                        Some((_, tellers)) => tellers.push(node),
                        None => candidates.push((record, [node].into())),
                    }
                }
                Row::Damaged { .. } => {
                    //# LIST-6: The newest record told of a name counts in a list, whoever
                    //# told it. As having answered count those of the name's replicas
                    //# that have told all rows up to there, and there no damaged one;
                    //# where they are fewer than R - W + 1, it MUST be said that what is
                    //# shown is unconfirmed, and how many there were.
                    answered.retain(|other| *other != node);
                    damaged = true;
                }
            }
        }
        // Of one record told in different ways the one that more tell goes first.
        candidates.sort_by_key(|(record, tellers)| (record.id(), tellers.len()));
        Self {
            candidates,
            answered,
            damaged,
            result: None,
        }
    }

    /// What is to be looked at, unless all is done.
    pub(super) fn candidate(&mut self) -> Option<&StoredRecord> {
        if self.candidates.is_empty() {
            self.result.get_or_insert(None);
        }
        self.candidates.last().map(|(record, _)| record)
    }

    /// The candidate was forged: gives those who told it.
    pub(super) fn reject(&mut self) -> Vec<NodeId> {
        let Some((_, tellers)) = self.candidates.pop() else {
            return Vec::new();
        };
        self.answered.retain(|node| !tellers.contains(node));
        tellers
    }

    /// Whether nothing can be shown where there may be something.
    pub(super) fn is_lost(&self, needed: usize) -> bool {
        self.damaged || self.answered.len() < needed
    }

    /// The candidate is this.
    pub(super) fn entry(&self, head: &SignedHead, meta: Meta, needed: usize, durable: u8) -> Entry {
        let tellers = self.candidates.last().map(|(_, tellers)| tellers);
        let told = |node: &&NodeId| tellers.is_some_and(|tellers| tellers.contains(node));
        let answered = self.answered.len();
        let enough = answered >= needed || bug::on(Bug::ListDoubtHidden);
        let copies = self.answered.iter().filter(told).count() as u8;
        Entry {
            name: meta.name,
            size: meta.size,
            modified: meta.modified,
            tag: head.head().tag,
            id: head.id(),
            put: head.head().put,
            removed: head.head().kind == RecordKind::Remove,
            copies,
            unconfirmed: (!enough).then_some(Unconfirmed {
                answered: answered as u8,
                needed: needed as u8,
                copies,
                durable,
            }),
        }
    }

    /// It is known what is shown here, if anything.
    pub(super) fn done(&mut self, entry: Option<Entry>) {
        self.result = Some(entry);
        self.candidates.clear();
    }

    pub(super) fn is_done(&self) -> bool {
        self.result.is_some()
    }

    pub(super) fn into_entry(self) -> Option<Entry> {
        self.result.flatten()
    }
}
