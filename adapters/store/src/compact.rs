//! Compaction: what is still needed of an old segment is written anew, then
//! the segment is removed.
//!
//! Every key is looked at by itself. An entry that sets one is needed if the
//! index names that very entry. An entry that drops one is needed while the
//! key is absent and an older segment may still set it. What is needed is
//! appended like any other entry, so a crash at any moment leaves it at the old
//! place, at the new one, or at both.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use peerhold_core::disk::DiskError;

use crate::commit::GroupError;
use crate::entry::Kind;
use crate::segment::{HEADER, Loc, Segment};
use crate::store::{Health, SegmentInfo, Store, Writer};
use crate::vfs::Vfs;

/// How far into which segment compaction has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    segment: u32,
    offset: u64,
    /// The sequence number of the last entry that was looked at.
    after: u64,
}

/// What one step found.
enum Step {
    /// There is more to look at.
    More(Cursor),
    /// Nothing in the segment is needed any more.
    Empty,
    /// Something that is needed cannot be read.
    Stuck,
}

impl<V: Vfs> Store<V> {
    /// Goes one step through the segment that is least worth keeping.
    pub(crate) fn compact(&self, writer: &mut Writer<V::File>) {
        if self.health() == Health::ReadOnly {
            return;
        }
        let Some(cursor) = writer.compaction.take().or_else(|| self.victim(writer)) else {
            return;
        };
        let number = cursor.segment;
        match self.compact_step(writer, cursor) {
            Ok(Step::More(next)) => writer.compaction = Some(next),
            Ok(Step::Empty) => self.remove_segment(writer, number),
            Ok(Step::Stuck) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                writer.stuck.insert(number);
            }
            // No space to write what is needed: later, from the start.
            Err(DiskError::NoSpace) => {}
            Err(_) => {
                writer.stuck.insert(number);
            }
        }
    }

    /// The closed segment with the smallest share of needed bytes, if that is
    /// small enough.
    fn victim(&self, writer: &Writer<V::File>) -> Option<Cursor> {
        let below = u64::from(self.config.compact_below_percent);
        let oldest = writer.segments.first_key_value().map(|(number, _)| *number);
        let needed = |number: u32, info: &SegmentInfo| {
            let drops = if Some(number) == oldest {
                0
            } else {
                info.share.drops
            };
            info.share.live.saturating_add(drops)
        };
        let closed = writer.segments.range(..writer.state.segment);
        let (number, _) = closed
            .filter(|(number, _)| !writer.stuck.contains(number))
            .map(|(number, info)| (*number, percent(needed(*number, info), info.bytes)))
            .filter(|(_, percent)| *percent < below)
            .min_by_key(|(_, percent)| *percent)?;
        Some(Cursor {
            segment: number,
            offset: HEADER,
            after: 0,
        })
    }

    fn compact_step(
        &self,
        writer: &mut Writer<V::File>,
        cursor: Cursor,
    ) -> Result<Step, DiskError> {
        let io = |error| crate::read::disk_error(&error);
        let segment = self.log.segment(cursor.segment).map_err(io)?;
        let oldest = writer.segments.keys().next() == Some(&cursor.segment);
        let budget = u64::from(self.config.compact_bytes);
        self.group(writer, false, |stage| {
            let next = copy_needed(stage, &segment, cursor, oldest, budget)?;
            Ok(match next {
                Some(next) => Step::More(next),
                None if stage.tables.live(cursor.segment)? == 0 => Step::Empty,
                None => Step::Stuck,
            })
        })
    }

    //# STORE-19: A segment MUST NOT be removed before all that is needed of it is durable in
    //# other segments, and the durable index names none of its entries.
    fn remove_segment(&self, writer: &mut Writer<V::File>, number: u32) {
        let forgotten = self.group(writer, true, |stage| {
            stage.tables.remove_segment(number);
            Ok(())
        });
        if forgotten.is_err() {
            return;
        }
        // Readers that have looked up a place in it have opened it by now.
        let _alone = self.index.write().unwrap_or_else(PoisonError::into_inner);
        writer.segments.remove(&number);
        // A file that stays is removed at the next start.
        let _ = self.log.remove(number);
    }
}

/// Which part of `whole` that is, in percent.
fn percent(part: u64, whole: u64) -> u64 {
    let hundredfold = part.saturating_mul(100);
    hundredfold.checked_div(whole).unwrap_or(hundredfold)
}

/// Stages what is needed of the entries from the cursor on, until `budget`
/// bytes have been gone through. `None` at the segment's end.
fn copy_needed<F: crate::vfs::VfsFile>(
    stage: &mut crate::commit::Stage<'_, '_>,
    segment: &Segment<F>,
    cursor: Cursor,
    oldest: bool,
    budget: u64,
) -> Result<Option<Cursor>, GroupError> {
    let mut scanner = segment
        .scan(cursor.offset, cursor.after)
        .map_err(GroupError::Write)?;
    let mut after = cursor.after;
    while scanner.position() < cursor.offset.saturating_add(budget) {
        let Some(entry) = scanner.next().map_err(GroupError::Write)? else {
            return Ok(None);
        };
        after = entry.sequence;
        let loc = Loc {
            segment: segment.number,
            offset: entry.offset as u32,
            len: entry.len as u32,
        };
        if !stage.tables.needs(entry.kind, entry.key, loc, oldest)? {
            continue;
        }
        if entry.body_is_true(&segment.key) {
            stage.put(entry.kind, entry.key, &[entry.body])?;
        } else if entry.kind == Kind::Record {
            //# STORE-22: A record that is found damaged MUST stay known.
            stage.put(Kind::RecordDamaged, entry.key, &[])?;
        }
    }
    Ok(Some(Cursor {
        segment: segment.number,
        offset: scanner.position(),
        after,
    }))
}
