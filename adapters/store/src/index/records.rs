//! Where the records of a name stand, and those of all names in turn.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::ops::Bound::{self, Excluded, Included};

use peerhold_core::disk::RecordKey;
use peerhold_core::id::{NameTag, NamespaceId};
use peerhold_core::version::RecordId;
use redb::ReadableTable;

use super::{IndexError, RecordBytes, RecordRow};
use crate::entry::{self, RECORD_KEY};
use crate::segment::Loc;

/// A record's key and its row.
pub(crate) type Found = ([u8; RECORD_KEY], RecordRow);

/// What the index says of records, all of it as of one moment. Space that
/// commits free is not used again while one of these is there.
pub(crate) struct Records(
    pub(super) redb::ReadOnlyTable<&'static [u8; RECORD_KEY], &'static RecordBytes>,
);

impl Records {
    /// One record of a name, damaged or not; the newest if `at` is `None`.
    pub(crate) fn get(
        &self,
        key: &RecordKey,
        at: Option<&RecordId>,
    ) -> Result<Option<Found>, IndexError> {
        let Some(id) = at else {
            return self.next_version(key, None);
        };
        let key = entry::record_key(key, &id.version.to_bytes(), &id.head);
        let row = self.0.get(&key)?;
        Ok(row.map(|row| (key, RecordRow::from_bytes(row.value()))))
    }

    /// The newest record of a name, damaged or not, that is older than `below`.
    pub(crate) fn next_version(
        &self,
        key: &RecordKey,
        below: Option<&RecordId>,
    ) -> Result<Option<Found>, IndexError> {
        let [first, last] = entry::record_range(key);
        let end = below.map(|id| entry::record_key(key, &id.version.to_bytes(), &id.head));
        let end = end.as_ref().map_or(Included(&last), Excluded);
        self.last_in((Included(&first), end))
    }

    /// The newest record of the first name behind `after`, damaged or not. Two
    /// look-ups at most, however long the histories.
    pub(crate) fn next_name(
        &self,
        namespace: &NamespaceId,
        after: Option<&NameTag>,
    ) -> Result<Option<Found>, IndexError> {
        let range = |tag: &NameTag| {
            entry::record_range(&RecordKey {
                namespace: *namespace,
                tag: *tag,
            })
        };
        let [start, _] = range(&NameTag([0; NameTag::LEN]));
        let [_, end] = range(&NameTag([0xff; NameTag::LEN]));
        let behind = after.map(|tag| range(tag)[1]);
        let start = behind.as_ref().map_or(Included(&start), Excluded);
        let mut names = self.0.range::<&[u8; RECORD_KEY]>((start, Included(&end)))?;
        let Some((oldest, row)) = names.next().transpose()? else {
            return Ok(None);
        };
        let Some(key) = entry::record_name(oldest.value()) else {
            return Ok(None);
        };
        let next = names.next().transpose()?;
        match next.and_then(|(next, _)| entry::record_name(next.value())) {
            Some(next) if next == key => {
                let [first, last] = entry::record_range(&key);
                self.last_in((Included(&first), Included(&last)))
            }
            _ => Ok(Some((*oldest.value(), RecordRow::from_bytes(row.value())))),
        }
    }

    /// The keys of the records that stand at such places.
    pub(crate) fn at(
        &self,
        at: impl Fn(&Loc) -> bool,
    ) -> Result<Vec<[u8; RECORD_KEY]>, IndexError> {
        let mut keys = Vec::new();
        for row in self.0.iter()? {
            let (key, row) = row?;
            if at(&RecordRow::from_bytes(row.value()).loc) {
                keys.push(*key.value());
            }
        }
        Ok(keys)
    }

    fn last_in(
        &self,
        range: (Bound<&[u8; RECORD_KEY]>, Bound<&[u8; RECORD_KEY]>),
    ) -> Result<Option<Found>, IndexError> {
        let row = self.0.range::<&[u8; RECORD_KEY]>(range)?.next_back();
        let row = row.transpose()?;
        Ok(row.map(|(key, row)| (*key.value(), RecordRow::from_bytes(row.value()))))
    }
}
