//! Pages of names and of versions.
//!
//! Each row is looked up by itself, with the place where it stands opened
//! before the index is let go: so a page needs no more memory than its rows,
//! and holds up neither commits nor compaction. Its rows are each as they were
//! when they were read, not all as of one moment.

use peerhold_core::disk::{DiskData, DiskError, Page, Part, RecordKey, Row};
use peerhold_core::id::{NameTag, NamespaceId};
use peerhold_core::version::RecordId;

use crate::entry::{self, RECORD_KEY};
use crate::read::{Looked, Read, only};
use crate::segment::Loc;
use crate::store::Store;
use crate::vfs::Vfs;

impl<V: Vfs> Store<V> {
    /// The newest records of names, by rising tag.
    pub(crate) fn list_names(
        &self,
        namespace: &NamespaceId,
        mut after: Option<NameTag>,
        max: u32,
    ) -> Read {
        let mut paper = Paper::new(max);
        loop {
            match self.look_up_record(|index| index.next_name(namespace, after.as_ref())) {
                Ok(Some(next)) => match paper.add(next) {
                    Some(row) => after = Some(row.tag()),
                    None => return paper.read(true),
                },
                Ok(None) => return paper.read(false),
                Err(error) => return Read::Answer(Err(error)),
            }
        }
    }

    /// The records of a name, by falling version.
    pub(crate) fn list_versions(
        &self,
        key: &RecordKey,
        mut below: Option<RecordId>,
        max: u32,
    ) -> Read {
        let mut paper = Paper::new(max);
        loop {
            match self.look_up_record(|index| index.next_version(key, below.as_ref())) {
                Ok(Some(next)) => match paper.add(next) {
                    Some(row) => below = Some(row.id()),
                    None => return paper.read(true),
                },
                Ok(None) => return paper.read(false),
                Err(error) => return Read::Answer(Err(error)),
            }
        }
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

    /// The row, on the page now; `None` if it does not fit.
    fn add(&mut self, (key, looked): ([u8; RECORD_KEY], Looked)) -> Option<&Row> {
        if let Looked::FoundDamaged(loc) = &looked {
            self.damaged.push((key, *loc));
        }
        let row = match looked {
            Looked::Sound(record) => Row::Record(only(record, Part::Meta)),
            Looked::KnownDamaged | Looked::FoundDamaged(_) => Row::Damaged {
                tag: entry::record_name(&key)?.tag,
                id: entry::record_id(&key)?,
            },
        };
        let left = self.left.checked_sub(row.cost());
        if left.is_none() && !self.rows.is_empty() {
            return None;
        }
        self.left = left.unwrap_or(0);
        self.rows.push(row);
        self.rows.last()
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
