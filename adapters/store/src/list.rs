//! Pages of names and of versions.
//!
//! A few rows at a time are looked up, and then read one by one: so a page needs
//! little more memory than its rows, and holds up neither commits nor
//! compaction. Rows are as they were when they were looked up, not all as of
//! one moment.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use peerhold_core::disk::{DiskData, DiskError, Page, Part, RecordKey, Row};
use peerhold_core::id::{NameTag, NamespaceId};
use peerhold_core::version::RecordId;

use crate::entry::{self, RECORD_KEY};
use crate::index::{Found, IndexError, RecordRow, Records};
use crate::read::{Looked, Read, only};
use crate::segment::Loc;
use crate::store::Store;
use crate::vfs::Vfs;

/// Rows that are looked up at once, at first: of a short page few are in vain..
const BATCH: usize = 4;
/// ..and, twice as many each time, at most.
const BATCH_MAX: usize = 64;

impl<V: Vfs> Store<V> {
    /// The newest records of names, by rising tag.
    pub(crate) fn list_names(
        &self,
        namespace: &NamespaceId,
        after: Option<NameTag>,
        max: u32,
    ) -> Read {
        let tag = |key: &_| entry::record_name(key).map(|name| name.tag);
        self.list(after, max, tag, |records, after| {
            records.next_name(namespace, after)
        })
    }

    /// The records of a name, by falling version.
    pub(crate) fn list_versions(&self, key: &RecordKey, below: Option<RecordId>, max: u32) -> Read {
        self.list(below, max, entry::record_id, |records, below| {
            records.next_version(key, below)
        })
    }

    /// The records that `next` finds behind one another, from behind `at` on.
    fn list<C>(
        &self,
        mut at: Option<C>,
        max: u32,
        place: impl Fn(&[u8; RECORD_KEY]) -> Option<C>,
        next: impl Fn(&Records, Option<&C>) -> Result<Option<Found>, IndexError>,
    ) -> Read {
        let mut paper = Paper::new(max);
        let mut batch = BATCH;
        loop {
            let found = self.look_up_records(|records| {
                let mut found = Vec::with_capacity(batch);
                while found.len() < batch
                    && let Some(row) = next(records, at.as_ref())?
                {
                    at = place(&row.0);
                    found.push(row);
                }
                Ok(found)
            });
            let found = match found {
                Ok(found) => found,
                Err(error) => return Read::Answer(Err(error)),
            };
            let last = found.len() < batch;
            for (key, row) in found {
                let fits = match self.read_moved(&key, row) {
                    Ok(looked) => looked.is_none_or(|looked| paper.add(&key, looked)),
                    Err(error) => return Read::Answer(Err(error)),
                };
                if !fits {
                    return paper.read(true);
                }
            }
            if last {
                return paper.read(false);
            }
            batch = batch.saturating_mul(2).min(BATCH_MAX);
        }
    }

    /// What stands where a row said some time ago that a record is; `None` if
    /// there is no such record any more.
    fn read_moved(
        &self,
        key: &[u8; RECORD_KEY],
        row: RecordRow,
    ) -> Result<Option<Looked>, DiskError> {
        let looked = self.read_record(key, row, self.log.segment(row.loc.segment))?;
        let (Looked::FoundDamaged(_), Some(name), Some(id)) =
            (&looked, entry::record_name(key), entry::record_id(key))
        else {
            return Ok(Some(looked));
        };
        // Or compaction has moved it since, and removed the segment.
        let again = self.look_up_record(|records| records.get(&name, Some(&id)))?;
        Ok(again.map(|(_, looked)| looked))
    }
}

/// A page that is being filled.
struct Paper {
    rows: Vec<Row>,
    /// Records found damaged while it is filled.
    damaged: Vec<([u8; RECORD_KEY], Loc)>,
    left: usize,
}

impl Paper {
    fn new(max: u32) -> Self {
        Self {
            rows: Vec::new(),
            damaged: Vec::new(),
            left: usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    /// Puts a row on the page; says whether it fits.
    fn add(&mut self, key: &[u8; RECORD_KEY], looked: Looked) -> bool {
        if let Looked::FoundDamaged(loc) = &looked {
            self.damaged.push((*key, *loc));
        }
        let row = match looked {
            Looked::Sound(record) => Row::Record(only(record, Part::Meta)),
            Looked::KnownDamaged | Looked::FoundDamaged(_) => {
                let (Some(name), Some(id)) = (entry::record_name(key), entry::record_id(key))
                else {
                    return true;
                };
                Row::Damaged { tag: name.tag, id }
            }
        };
        let left = self.left.checked_sub(row.cost());
        if left.is_none() && !self.rows.is_empty() {
            return false;
        }
        self.left = left.unwrap_or(0);
        self.rows.push(row);
        true
    }

    fn read(self, more: bool) -> Read {
        let rows = self.rows;
        let answer: Result<_, DiskError> = Ok(DiskData::Page(Page { rows, more }));
        if self.damaged.is_empty() {
            Read::Answer(answer)
        } else {
            Read::damaged(self.damaged, answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use peerhold_core::disk::{Claim, DiskKind, DiskOp, StoredRecord};
    use peerhold_core::id::{BlobId, PutId};
    use peerhold_core::version::Version;

    use super::*;
    use crate::StoreConfig;
    use crate::vfs::MemVfs;

    #[test]
    fn a_record_that_is_moved_between_look_up_and_reading_is_found() {
        let mut config = StoreConfig::new([7; 32]);
        (config.segment_bytes, config.small_blob_max) = (4 << 10, 512);
        (config.index_commit_groups, config.compact_bytes) = (8, 2 << 10);
        (config.cache_bytes, config.reserve_bytes) = (1 << 20, 256 << 10);
        let store = Store::open(MemVfs::new(), config).unwrap();
        let run = |kind| {
            let prepared = store.prepare(DiskOp::detached(kind));
            for done in store.commit(vec![prepared]) {
                done.result().as_ref().unwrap();
            }
        };
        let namespace = NamespaceId([1; 32]);
        let blob = |n: u8| Bytes::from(vec![n; 400]);
        for n in 0..40 {
            let tag = NameTag([n; 32]);
            let head = Bytes::from(vec![n; 200]);
            run(DiskKind::PutRecord(StoredRecord {
                key: RecordKey { namespace, tag },
                version: Version::ZERO,
                head_hash: *blake3::hash(&head).as_bytes(),
                head,
                meta: Bytes::new(),
                content: Bytes::new(),
            }));
            let bytes = blob(n);
            let claim = Claim {
                blob: BlobId::of(&bytes),
                len: 400,
                namespace,
                tag,
                put: PutId([1; 16]),
            };
            run(DiskKind::PutBlob { claim, bytes });
        }
        let mut after = None;
        let found = store.look_up_records(|records| {
            let next = || {
                let row = records.next_name(&namespace, after.as_ref()).unwrap()?;
                after = entry::record_name(&row.0).map(|name| name.tag);
                Some(row)
            };
            Ok(std::iter::from_fn(next).collect())
        });
        let found = found.unwrap();
        assert_eq!(found.len(), 40);
        for n in 0..40 {
            run(DiskKind::ForgetBlob(BlobId::of(&blob(n))));
        }
        for _ in 0..500 {
            let _ = store.commit(Vec::new());
        }
        let gone = |row: &RecordRow| store.log.segment(row.loc.segment).is_err();
        assert!(found.iter().any(|(_, row)| gone(row)), "none was moved");
        for (key, row) in found {
            let looked = store.read_moved(&key, row).unwrap();
            assert!(matches!(looked, Some(Looked::Sound(_))));
        }
    }
}
