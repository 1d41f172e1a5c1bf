//! What replicas have acknowledged to this node, held against what they tell
//! of the same names later.
//!
//! All of it is in memory: it is evidence for this node's owner, and nothing
//! rests on it.

use super::ctx::Ctx;
use super::recent::Recent;
use crate::disk::{RecordKey, StoredRecord};
use crate::id::NodeId;
use crate::output::Event;
use crate::version::RecordId;

/// Who has promised it, and of which name.
type Promise = (NodeId, RecordKey);

#[derive(Debug)]
pub(super) struct Promises {
    max: usize,
    made: Recent<Promise, RecordId>,
}

impl Promises {
    /// Remembers the last `max` of them.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            made: Recent::new(),
        }
    }

    /// A replica has acknowledged this record of a name.
    fn make(&mut self, promise: Promise, id: RecordId) {
        let id = self.made.get(&promise).map_or(id, |old| id.max(*old));
        self.made.set(promise, id);
        if self.made.len() > self.max {
            self.made.pop_oldest();
        }
    }
}

impl Ctx {
    pub(super) fn promised(&mut self, peer: NodeId, key: RecordKey, id: RecordId) {
        self.promises.make((peer, key), id);
    }

    /// What `node` has acknowledged of a name so far: the least that it may
    /// tell, if it is asked from now on.
    pub(super) fn promise_of(&self, node: NodeId, key: RecordKey) -> Option<(RecordKey, RecordId)> {
        let id = self.promises.made.get(&(node, key))?;
        Some((key, *id))
    }

    //# READ-8: A reader SHOULD say so where a replica that has acknowledged a record to it,
    //# and is asked afterwards, tells of an older one or none.
    /// `peer` tells of less than it had acknowledged. It is said once for each
    /// time that it has.
    pub(super) fn unkept(&mut self, peer: NodeId, key: RecordKey) {
        if self.promises.made.remove(&(peer, key)).is_some() {
            self.events.push(Event::Unkept { peer, key });
        }
    }
}

/// Whether this record, or that there is none, is less than was acknowledged.
pub(super) fn is_less(told: Option<&StoredRecord>, least: (RecordKey, RecordId)) -> bool {
    let (key, id) = least;
    // What is told of another name is looked at elsewhere.
    told.is_none_or(|told| told.key == key && told.id() < id)
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
                    if promises.made.remove(&of) != known {
                        return false;
                    }
                    continue;
                }
                promises.make(of, id(version));
                last.push((of, known.map_or(id(version), |known| known.max(id(version)))));
                last.drain(..last.len().saturating_sub(max));
            }
            promises.made.len() == last.len()
                && last.iter().all(|(of, id)| promises.made.get(of) == Some(id))
        }
    }
}
