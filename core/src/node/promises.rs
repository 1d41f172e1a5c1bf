//! What replicas have acknowledged to this node, held against what they tell
//! of the same names later.
//!
//! All of it is in memory: it is evidence for this node's owner, and nothing
//! rests on it.

use alloc::collections::BTreeMap;

use super::ctx::Ctx;
use crate::disk::{RecordKey, StoredRecord};
use crate::id::NodeId;
use crate::output::Event;
use crate::version::RecordId;

/// Who has promised it, and of which name.
type Promise = (NodeId, RecordKey);

#[derive(Debug)]
pub(super) struct Promises {
    max: usize,
    made: BTreeMap<Promise, (RecordId, u64)>,
    /// By when they were made.
    order: BTreeMap<u64, Promise>,
    /// The number of the next one.
    next: u64,
}

impl Promises {
    /// Remembers the last `max` of them.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            made: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// A replica has acknowledged this record of a name.
    fn make(&mut self, promise: Promise, id: RecordId) {
        let id = self.take(&promise).map_or(id, |old| old.max(id));
        self.made.insert(promise, (id, self.next));
        self.order.insert(self.next, promise);
        self.next = self.next.saturating_add(1);
        if self.made.len() > self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.made.remove(&oldest);
        }
    }

    fn get(&self, promise: &Promise) -> Option<RecordId> {
        self.made.get(promise).map(|(id, _)| *id)
    }

    fn take(&mut self, promise: &Promise) -> Option<RecordId> {
        let (id, at) = self.made.remove(promise)?;
        self.order.remove(&at);
        Some(id)
    }
}

impl Ctx {
    pub(super) fn promised(&mut self, peer: NodeId, key: RecordKey, id: RecordId) {
        self.promises.make((peer, key), id);
    }

    /// What `node` has acknowledged of a name so far: the least that it may
    /// tell, if it is asked from now on.
    pub(super) fn promise_of(&self, node: NodeId, key: RecordKey) -> Option<(RecordKey, RecordId)> {
        let id = self.promises.get(&(node, key))?;
        Some((key, id))
    }

    //# READ-8: A reader SHOULD say so where a replica that has acknowledged a record to it,
    //# and is asked afterwards, tells of an older one or none.
    /// Whoever had acknowledged `least` tells of this record, or of none.
    pub(super) fn is_held_to(
        &mut self,
        peer: NodeId,
        least: (RecordKey, RecordId),
        told: Option<&StoredRecord>,
    ) {
        let (key, id) = least;
        // What it told of another name is looked at elsewhere.
        let keeps = told.is_some_and(|told| told.key != key || told.id() >= id);
        // Once for each time that it has acknowledged.
        if !keeps && self.promises.take(&(peer, key)).is_some() {
            self.events.push(Event::Unkept { peer, key });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NameTag, NamespaceId};
    use crate::version::Version;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    fn promise(peer: u8, name: u8) -> Promise {
        let namespace = NamespaceId([0; 32]);
        let tag = NameTag([name; 32]);
        (NodeId([peer; 32]), RecordKey { namespace, tag })
    }

    fn id(version: u8) -> RecordId {
        RecordId {
            version: Version::from_bytes([version; 16]),
            head: [0; 32],
        }
    }

    quickcheck! {
        fn the_last_promises_are_remembered_and_no_more(steps: Vec<(u8, u8, bool)>, max: u8) -> bool {
            let max = usize::from(max % 8) + 1;
            let mut promises = Promises::new(max);
            // The last of all of them, each once, the latest last.
            let mut last: Vec<(Promise, RecordId)> = Vec::new();
            for (name, version, take) in steps {
                let of = promise(name % 2, name % 16);
                let known = last.iter().position(|(other, _)| *other == of);
                let known = known.map(|at| last.remove(at).1);
                if take {
                    if promises.take(&of) != known {
                        return false;
                    }
                    continue;
                }
                promises.make(of, id(version));
                last.push((of, known.map_or(id(version), |known| known.max(id(version)))));
                last.drain(..last.len().saturating_sub(max));
            }
            promises.made.len() == last.len()
                && promises.order.len() == last.len()
                && last.iter().all(|(of, id)| promises.get(of) == Some(*id))
        }
    }
}
