//! Brings the index up to the log.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use peerhold_core::id::BlobId;

use crate::bug::{self, Bug};
use crate::entry::{Kind, RECORD_KEY};
use crate::index::{Index, IndexError, Tables, WriteError};
use crate::log::Log;
use crate::segment::{self, Entry, HEADER, Loc, Segment};
use crate::state::State;
use crate::vfs::{Vfs, VfsFile};

/// What a start found, and did about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Entries of the log that the index had yet to take in.
    pub replayed: u64,
    /// Bytes cut off the end of the log: a group that was being written when
    /// the store stopped, and that nobody was told was durable.
    pub cut_bytes: u64,
    /// Entries that had been durable and cannot be read: damage to the disk.
    /// What they said is lost here and must come from other replicas.
    pub damaged: u64,
    /// The index was missing or unsound and was made anew from the log.
    pub index_rebuilt: bool,
    /// Unfinished files removed from `tmp/`.
    pub swept: u64,
}

/// Why the index could not be brought up to the log.
#[derive(Debug)]
pub(crate) enum ReplayError {
    Io(io::Error),
    Index(IndexError),
    /// The index is ahead of the log: of another log, or the log has lost
    /// entries. Only a new index can be right.
    IndexAhead,
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<IndexError> for ReplayError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl<T> From<WriteError<Self, T>> for ReplayError {
    fn from(error: WriteError<Self, T>) -> Self {
        match error {
            WriteError::Body(error) => error,
            WriteError::Commit(error, _) => Self::Index(error),
        }
    }
}

/// A log that has been replayed.
pub(crate) struct Replayed<F> {
    pub(crate) state: State,
    /// The newest segment, to be appended to at `state.tail`. `None` if the
    /// next entry must begin a new one.
    pub(crate) active: Option<Arc<Segment<F>>>,
    /// Blobs that the replayed part of the log has dropped for good. The
    /// files of some may still be there.
    pub(crate) dropped: BTreeSet<BlobId>,
    /// What an index knew that the log has lost.
    pub(crate) forgotten: Forgotten,
}

/// What only the index knows any more, as the log has become shorter.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// Records whose entries are gone.
    pub(crate) records: Vec<[u8; RECORD_KEY]>,
    /// How many times the store was started.
    pub(crate) starts: u64,
}

impl Forgotten {
    /// Of what this index knows, what the segments no longer reach to.
    pub(crate) fn find<V: Vfs>(log: &Log<V>, index: &Index) -> Result<Self, ReplayError> {
        let mut lens = BTreeMap::new();
        for number in log.list()? {
            lens.insert(number, log.segment(number)?.file.len()?);
        }
        let gone = |loc: &Loc| {
            let end = u64::from(loc.offset).saturating_add(loc.len.into());
            lens.get(&loc.segment).is_none_or(|len| *len < end)
        };
        Ok(Self {
            records: index.records()?.at(gone)?,
            starts: index.state()?.map_or(0, |state| state.starts),
        })
    }
}

/// Entries per transaction of the index.
const BATCH: usize = 4096;

/// Takes in the log behind `state`, which the index is at. What lies behind
/// the last entry is cut off if no durable entry can have stood there.
pub(crate) fn replay<V: Vfs>(
    log: &Log<V>,
    index: &Index,
    state: State,
    recovery: &mut Recovery,
) -> Result<Replayed<V::File>, ReplayError> {
    let mut numbers = log.list()?;
    if state.segment > 0 {
        let shares = index.shares()?;
        // The file of a segment that was compacted away may outlive its row.
        for number in numbers.extract_if(.., |n| *n < state.segment && !shares.contains_key(n)) {
            log.remove(number)?;
        }
        if !numbers.contains(&state.segment) || log.segment(state.segment)?.file.len()? < state.tail
        {
            count(&mut recovery.damaged, 1);
            return Err(ReplayError::IndexAhead);
        }
        numbers.retain(|number| *number >= state.segment);
    }
    let mut run = Run {
        gaps: Gaps {
            mark: state.next,
            expected: state.next,
            open: Vec::new(),
            lost: 0,
        },
        state,
        dropped: BTreeSet::new(),
        unread: Vec::new(),
        replayed: 0,
    };
    if !numbers.is_empty() {
        //# STORE-26: A start MUST sync the directory of the segments before it takes anything in
        //# that stands in one of them, or appends to it.
        log.sync_names()?;
    }
    let mut active = None;
    for (at, number) in numbers.iter().enumerate() {
        let segment = log.segment(*number)?;
        let newest = Some(number) == numbers.last();
        let torn = newest && *number > run.state.segment && segment.first_sequence.is_none();
        if torn && segment.file.len()? <= HEADER {
            // It was being made; entries come after its header is durable.
            drop(segment);
            log.remove(*number)?;
            continue;
        }
        if newest && !bug::on(Bug::GapKept) {
            let known = *number == run.state.segment;
            let from = if known { run.state.tail } else { HEADER };
            let cut = rewrite_last_group(&segment, from, &run.gaps)?;
            count(&mut recovery.cut_bytes, cut);
        }
        if newest {
            // Before the index names any of it: an index that outlives a start
            // whose sync fails would tell the next that nothing is to be
            // written again.
            segment.file.sync()?;
        }
        let before = at.checked_sub(1).and_then(|at| numbers.get(at));
        let contiguous = before.is_some_and(|before| before.checked_add(1) == Some(*number));
        let (end, len) = run.segment(index, &segment, contiguous)?;
        active = segment.first_sequence.is_some().then(|| segment.clone());
        if newest && end < len {
            //# STORE-17: Only what lies behind the last true entry of the newest segment may be
            //# cut off,
            segment.file.set_len(end)?;
            segment.file.sync()?;
            count(&mut recovery.cut_bytes, len.saturating_sub(end));
        } else if end < len {
            count(&mut recovery.damaged, 1);
        }
    }
    count(&mut recovery.damaged, run.gaps.lost);
    count(&mut recovery.replayed, run.replayed);
    Ok(Replayed {
        state: run.state,
        active,
        dropped: run.dropped,
        forgotten: Forgotten::default(),
    })
}

/// Writes the last group of the newest segment anew, which may not be durable,
/// and without what a crash has left of it in pieces. Gives the number of bytes
/// by which the log is shorter.
///
/// What a failed sync has lost may be read until the machine stops, and no
/// later sync writes it: only who writes it again knows that it is there.
///
/// A crash may leave the end of a group and lose its beginning. What is left
/// was never acknowledged, or its group would be whole; but were it left where
/// it is, the mark of the next group would make damage of the gap.
fn rewrite_last_group<F: VfsFile>(segment: &Segment<F>, from: u64, gaps: &Gaps) -> io::Result<u64> {
    let after = gaps.expected.saturating_sub(1);
    let mut mark = gaps.mark.max(segment.first_sequence.unwrap_or_default());
    let mut group = Vec::new();
    let mut scanner = segment.scan(from, after)?;
    while let Some(entry) = scanner.next()? {
        if entry.mark > mark {
            mark = entry.mark;
            group.clear();
        }
        if entry.sequence >= mark {
            let whole = entry.body_is_true(&segment.key);
            group.push((entry.offset, entry.sequence, whole));
        }
    }
    let Some(&(start, ..)) = group.first() else {
        return Ok(0);
    };
    let mut expected = mark..;
    let mut in_order =
        |(_, found, whole): &&(u64, u64, bool)| *whole && expected.next() == Some(*found);
    let gap = group.iter().find(|entry| !in_order(entry)).copied();
    // Neither is needed beside what is written.
    drop((group, scanner));
    let mut scanner = segment.scan(start, mark.saturating_sub(1))?;
    let end = scanner.end();
    // As much at most: a buffer that grows would be there twice.
    let room = usize::try_from(end.saturating_sub(start)).unwrap_or_default();
    let (mut bytes, mut sequence) = (Vec::with_capacity(room), mark);
    while let Some(entry) = scanner.next()? {
        if entry.body_is_true(&segment.key) {
            let offset = start.saturating_add(bytes.len() as u64);
            let numbers = [sequence, mark];
            let Entry {
                kind, key, body, ..
            } = entry;
            segment::encode(
                &mut bytes,
                &segment.key,
                offset,
                numbers,
                kind,
                key,
                &[body],
            );
            sequence = sequence.saturating_add(1);
        }
    }
    if let Some((gap, ..)) = gap {
        //# STORE-17: and what lies behind a gap in its last group, which a crash has left there:
        //# that is written again without the gap.
        //# STORE-12: A number is used again only after the entry that had it was cut off and the
        //# cut synced.
        segment.file.set_len(gap)?;
        segment.file.sync()?;
    }
    //# STORE-21: writes the last group of the newest segment again, and syncs it.
    if gap.is_some() || !bug::on(Bug::LastGroupTrusted) {
        segment.file.write_at(&bytes, start)?;
    }
    let len = segment.file.len()?;
    Ok(if gap.is_some() {
        end.saturating_sub(len)
    } else {
        0
    })
}

struct Run {
    state: State,
    gaps: Gaps,
    dropped: BTreeSet<BlobId>,
    /// Records that cannot be read, and may never have been durable.
    unread: Vec<Unread>,
    replayed: u64,
}

/// An entry that sets a record, whose head is true and its body not.
struct Unread {
    sequence: u64,
    key: [u8; RECORD_KEY],
    loc: Loc,
}

impl Run {
    /// Takes in one segment. Gives the end of its last true entry, and its
    /// length.
    fn segment<F: VfsFile>(
        &mut self,
        index: &Index,
        segment: &Segment<F>,
        contiguous: bool,
    ) -> Result<(u64, u64), ReplayError> {
        let known = segment.number == self.state.segment;
        let mut end = if known { self.state.tail } else { HEADER };
        if !known && let Some(first) = segment.first_sequence {
            // A segment begins when all before it is durable. Where segments
            // before it were compacted away, missing numbers mean nothing.
            if !contiguous {
                self.gaps.expected = self.gaps.expected.max(first);
            }
            self.gaps.begin(first);
        }
        let mut scanner = segment.scan(end, self.gaps.expected.saturating_sub(1))?;
        let mut more = true;
        while more {
            let state = self.state.clone();
            let written = index.write(false, &state, |tables| -> Result<bool, ReplayError> {
                tables.touch(segment.number);
                keep_known(&mut self.unread, self.gaps.mark, tables)?;
                if !bug::on(Bug::ReplayUntold) {
                    tables.state.segment = segment.number;
                    tables.state.tail = end;
                }
                for _ in 0..BATCH {
                    let Some(entry) = scanner.next()? else {
                        tables.state.next = tables.state.next.max(self.gaps.expected);
                        return Ok(false);
                    };
                    let loc = Loc {
                        segment: segment.number,
                        offset: entry.offset as u32,
                        len: entry.len as u32,
                    };
                    if !entry.body_is_true(&segment.key) {
                        let sequence = entry.sequence;
                        let key = entry.key.try_into().ok();
                        let key = key.filter(|_| entry.kind == Kind::Record);
                        self.unread
                            .extend(key.map(|key| Unread { sequence, key, loc }));
                        continue;
                    }
                    self.gaps.entry(entry.sequence, entry.mark);
                    keep_known(&mut self.unread, self.gaps.mark, tables)?;
                    end = entry.offset.saturating_add(entry.len as u64);
                    tables.apply(entry.kind, entry.key, entry.body, loc)?;
                    note_drop(&mut self.dropped, entry.kind, entry.key);
                    count(&mut self.replayed, 1);
                    // The index may become durable as of this very entry.
                    if !bug::on(Bug::ReplayUntold) {
                        tables.state.tail = end;
                    }
                    tables.state.next = entry.sequence.saturating_add(1);
                }
                Ok(true)
            });
            let (left, state, _) = written?;
            more = left;
            self.state = state;
        }
        if bug::on(Bug::ReplayUntold) {
            self.state.segment = segment.number;
            self.state.tail = end;
        }
        Ok((end, scanner.end()))
    }
}

//# STORE-22: A record that is found damaged MUST stay known.
/// Those below the mark were durable. Their rows say that they are damaged,
/// unless another entry has the same record: as compaction leaves them when it
/// is cut short, and who puts it again.
fn keep_known(
    unread: &mut Vec<Unread>,
    mark: u64,
    tables: &mut Tables<'_>,
) -> Result<(), IndexError> {
    for Unread { key, loc, .. } in unread.extract_if(.., |record| record.sequence < mark) {
        if tables.record(&key)?.is_none() {
            tables.apply(Kind::RecordDamaged, &key, &[], loc)?;
        }
    }
    Ok(())
}

fn note_drop(dropped: &mut BTreeSet<BlobId>, kind: Kind, key: &[u8]) {
    let Ok(id) = key.try_into().map(BlobId) else {
        return;
    };
    match kind {
        Kind::BlobDrop => dropped.insert(id),
        Kind::Blob | Kind::BlobFile => dropped.remove(&id),
        _ => false,
    };
}

fn count(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// Missing sequence numbers. Those below a mark that comes later were durable
/// and are lost; the others may never have been finished.
struct Gaps {
    mark: u64,
    expected: u64,
    open: Vec<(u64, u64)>,
    lost: u64,
}

impl Gaps {
    /// A segment begins, whose first entry was to have this number.
    fn begin(&mut self, first: u64) {
        self.missing(first);
        self.raise(first);
    }

    fn entry(&mut self, sequence: u64, mark: u64) {
        self.missing(sequence);
        self.expected = sequence.saturating_add(1);
        self.raise(mark);
    }

    fn missing(&mut self, next: u64) {
        if next > self.expected {
            self.open.push((self.expected, next));
            self.expected = next;
        }
    }

    fn raise(&mut self, mark: u64) {
        self.mark = self.mark.max(mark);
        let mark = self.mark;
        let mut lost = 0;
        self.open.retain_mut(|(from, to)| {
            let known = mark.clamp(*from, *to);
            count(&mut lost, known.saturating_sub(*from));
            *from = known;
            from < to
        });
        count(&mut self.lost, lost);
    }
}
