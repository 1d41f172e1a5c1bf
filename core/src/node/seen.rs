//! What this node has seen of names at W replicas: no get of it answers with
//! less, and no write of it goes below.
//!
//! All of it is in memory, read from the disk once at the start, so that it
//! costs a get one look into a map. What is new in it is written down behind
//! the callers' backs, one write at a time however much comes meanwhile.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::ctx::{Ctx, Timer};
use super::recent::Recent;
use super::task::DiskTask;
use crate::bug::{self, Bug};
use crate::disk::{self, DiskData, DiskError, DiskKind, RecordKey};
use crate::output::Event;
use crate::version::RecordId;

/// Names that one write takes down, and as many that it forgets.
const BATCH: usize = 512;

#[derive(Debug)]
pub(super) struct Seen {
    max: usize,
    names: Recent<RecordKey, Entry>,
    /// Names of which the disk does not know what is here.
    unwritten: BTreeSet<RecordKey>,
    /// Names that are here no more, and on the disk still are.
    forgotten: BTreeSet<RecordKey>,
    /// What the disk is being told.
    writing: Option<Batch>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: RecordId,
    /// The disk has been told of the name.
    on_disk: bool,
}

/// One write.
#[derive(Debug)]
struct Batch {
    /// Names that it takes down, and which of them the disk knew before.
    seen: Vec<(RecordKey, bool)>,
    /// Names that it forgets.
    forget: Vec<RecordKey>,
}

impl Seen {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            names: Recent::new(),
            unwritten: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            writing: None,
        }
    }

    /// Takes up what was noted before this start.
    pub(super) fn load(&mut self, mut noted: Vec<disk::Seen>) {
        noted.sort_by_key(|seen| seen.order);
        for seen in noted {
            self.names.number_after(seen.order);
            let (id, on_disk) = (seen.id, true);
            self.names.set(seen.key, Entry { id, on_disk });
        }
        self.trim();
    }

    /// The newest record that was seen of a name.
    pub(super) fn get(&self, key: &RecordKey) -> Option<RecordId> {
        self.names.get(key).map(|entry| entry.id)
    }

    /// Notes a record. Whether that is news.
    fn note(&mut self, key: RecordKey, id: RecordId) -> bool {
        let known = self.names.get(&key).copied();
        let news = known.is_none_or(|known| known.id < id);
        let id = known.map_or(id, |known| known.id.max(id));
        let on_disk = known.map_or(self.forgotten.remove(&key), |known| known.on_disk);
        self.names.set(key, Entry { id, on_disk });
        if news {
            self.unwritten.insert(key);
            self.trim();
        }
        news
    }

    //# FRESH-6: A node MAY bound the number of names of which it remembers what it has
    //# seen; then those that it has read or written longest ago go first.
    fn trim(&mut self) {
        while self.names.len() > self.max {
            let Some((key, entry)) = self.names.pop_oldest() else {
                return;
            };
            self.unwritten.remove(&key);
            if entry.on_disk {
                self.forgotten.insert(key);
            }
        }
    }

    /// What the disk is to be told next, unless it knows all.
    fn batch(&mut self) -> Option<DiskKind> {
        if self.writing.is_some() || (self.unwritten.is_empty() && self.forgotten.is_empty()) {
            return None;
        }
        let (mut seen, mut before) = (Vec::new(), Vec::new());
        while seen.len() < BATCH {
            let Some(key) = self.unwritten.pop_first() else {
                break;
            };
            if let Some((entry, order)) = self.names.get_mut(&key) {
                before.push((key, entry.on_disk));
                entry.on_disk = true;
                let id = entry.id;
                seen.push(disk::Seen { key, id, order });
            }
        }
        let mut forget = Vec::new();
        while forget.len() < BATCH {
            let Some(key) = self.forgotten.pop_first() else {
                break;
            };
            forget.push(key);
        }
        self.writing = Some(Batch {
            seen: before,
            forget: forget.clone(),
        });
        Some(DiskKind::NoteSeen { seen, forget })
    }

    /// The disk has been told, or has not: then all of it is to be told again.
    fn written(&mut self, well: bool) {
        let Some(Batch { seen, forget }) = self.writing.take().filter(|_| !well) else {
            return;
        };
        for (key, before) in seen {
            if let Some((entry, _)) = self.names.get_mut(&key) {
                entry.on_disk = before;
                self.unwritten.insert(key);
            } else if !before {
                self.forgotten.remove(&key);
            }
        }
        for key in forget {
            match self.names.get_mut(&key) {
                Some((entry, _)) => entry.on_disk = true,
                None => {
                    self.forgotten.insert(key);
                }
            }
        }
    }
}

impl Ctx {
    //# FRESH-1: A node MUST remember, over restarts, of a name that it has read or written
    //# the newest record that it has known at W replicas. Writing that down MUST NOT delay
    //# an answer.
    /// A record was seen at W replicas.
    pub(super) fn note_seen(&mut self, key: RecordKey, id: RecordId) {
        if self.seen.note(key, id) {
            self.write_seen();
        }
    }

    /// Writes down what is new, unless that has failed a moment ago.
    pub(super) fn write_seen(&mut self) {
        if self.timers.is_set(Timer::Books) || bug::on(Bug::SeenUnkept) {
            return;
        }
        if let Some(kind) = self.seen.batch() {
            self.submit(kind, DiskTask::Seen);
        }
    }

    /// It is written down, or not: then it is tried again later.
    pub(super) fn seen_written(&mut self, result: Result<DiskData, DiskError>) {
        self.seen.written(result.is_ok());
        if let Err(error) = result {
            self.unwritten_books(error);
        }
        self.write_seen();
    }

    /// Something that this node keeps for itself could not be written down. A
    /// disk that was full may have space later.
    pub(super) fn unwritten_books(&mut self, error: DiskError) {
        self.events.push(Event::Trouble(error));
        self.arm(Timer::Books, self.config.timing.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NameTag, NamespaceId};
    use crate::version::Version;
    use alloc::collections::BTreeMap;
    use quickcheck::quickcheck;

    fn key(name: u8) -> RecordKey {
        RecordKey {
            namespace: NamespaceId([0; 32]),
            tag: NameTag([name; 32]),
        }
    }

    fn id(version: u8) -> RecordId {
        RecordId {
            version: Version::from_bytes([version; 16]),
            head: [0; 32],
        }
    }

    /// What a disk that does these writes holds.
    fn apply(disk: &mut BTreeMap<RecordKey, disk::Seen>, kind: DiskKind) {
        let DiskKind::NoteSeen { seen, forget } = kind else {
            panic!("{kind:?}");
        };
        disk.retain(|key, _| !forget.contains(key));
        disk.extend(seen.into_iter().map(|seen| (seen.key, seen)));
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut seen = Seen::new(2);
        assert!(seen.note(key(1), id(1)));
        assert!(seen.note(key(2), id(1)));
        assert!(!seen.note(key(1), id(1)));
        assert!(seen.note(key(3), id(1)));
        assert_eq!(seen.get(&key(2)), None);
        assert_eq!(seen.get(&key(1)), Some(id(1)));
    }

    #[test]
    fn what_is_no_news_is_not_written_again() {
        let mut seen = Seen::new(2);
        seen.note(key(1), id(2));
        assert!(seen.batch().is_some());
        seen.written(true);
        assert!(!seen.note(key(1), id(2)));
        assert!(!seen.note(key(1), id(1)));
        assert_eq!(seen.batch(), None);
        assert_eq!(seen.get(&key(1)), Some(id(2)));
    }

    quickcheck! {
        fn memory_and_disk_stay_bounded_and_agree(
            steps: Vec<(u8, u8, u8)>,
            max: u8
        ) -> bool {
            let max = usize::from(max % 8) + 1;
            let (mut seen, mut disk) = (Seen::new(max), BTreeMap::new());
            let mut under_way = None;
            let mut greatest: BTreeMap<RecordKey, RecordId> = BTreeMap::new();
            for (name, version, write) in steps {
                let (key, id) = (key(name % 16), id(version));
                seen.note(key, id);
                let known = greatest.entry(key).or_insert(id);
                if seen.names.len() > max || seen.get(&key) < Some(id) {
                    return false;
                }
                *known = id.max(*known);
                // Some writes begin here, some end here, some of these fail.
                if write & 1 == 0 {
                    under_way = seen.batch().or(under_way);
                }
                if write & 2 == 0 && let Some(kind) = under_way.take() {
                    let well = write & 4 == 0;
                    if well {
                        apply(&mut disk, kind);
                    }
                    seen.written(well);
                }
                // What waits is bounded by what there is.
                if seen.unwritten.len() > max || seen.forgotten.len() > 2 * max {
                    return false;
                }
            }
            for kind in under_way.into_iter().chain(core::iter::from_fn(|| {
                seen.written(true);
                seen.batch()
            })) {
                apply(&mut disk, kind);
            }
            let mut again = Seen::new(max);
            again.load(disk.values().copied().collect());
            let same = |(key, entry): (&RecordKey, &Entry)| again.get(key) == Some(entry.id);
            disk.len() == seen.names.len() && seen.names.iter().all(same)
        }
    }
}
