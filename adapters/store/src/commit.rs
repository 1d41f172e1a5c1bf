//! `commit`: one group of writes at a time goes into the log, is synced once,
//! and is complete.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use peerhold_core::disk::{
    Claim, Debt, DiskData, DiskDone, DiskError, DiskKind, Loaded, RecordKey, Seen, StoredRecord,
};
use peerhold_core::id::{BlobId, NamespaceId};

use crate::bug::{self, Bug};
use crate::config::StoreConfig;
use crate::entry::{
    self, CLAIM_BODY, CLAIM_KEY, KEY_MAX, Kind, RECORD_LENGTHS, SEEN_BODY, SEEN_KEY,
};
use crate::index::{BlobRow, IndexError, Tables, WriteError, Written};
use crate::open::{DAMAGED, INDEX, RESERVE, TMP};
use crate::read::{NOT_HELD, disk_error, index_error};
use crate::segment::{self, BODY_MAX, HEADER, Loc, ReadError, Segment, SegmentKey, entry_len};
use crate::state::{Share, State};
use crate::store::{Health, Prepared, SegmentInfo, Space, Step, Store, Write, Writer};
use crate::vfs::{Vfs, VfsFile, parent};

impl<V: Vfs> Store<V> {
    /// Makes a batch of writes durable and completes it, in order. Groups of
    /// up to [`group_bytes`](crate::StoreConfig::group_bytes) share one sync.
    ///
    /// Then it goes one bounded step through old segments, if any is worth
    /// compacting; an empty batch does only that.
    pub fn commit(&self, batch: Vec<Prepared>) -> Vec<DiskDone> {
        let mut writer = self.writer();
        let mut completions = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter().peekable();
        while batch.peek().is_some() {
            let mut group = Vec::new();
            let mut bytes = 0_usize;
            while let Some(next) = batch.next_if(|_| bytes <= self.config.group_bytes) {
                let alone = is_load(&next);
                if let Prepared::Write(write) = &next
                    && !matches!(write.step, Step::Placed(_))
                {
                    bytes = bytes.saturating_add(write.op.kind().cost());
                }
                group.push(next);
                // A load reads what is in the log, not what is on its way.
                if alone || batch.peek().is_some_and(is_load) {
                    break;
                }
            }
            self.commit_group(&mut writer, group, &mut completions);
        }
        self.compact(&mut writer);
        if writer.buffer.capacity() > self.config.group_bytes.saturating_mul(2) {
            writer.buffer = Vec::new();
        }
        completions
    }

    /// Makes the index durable.
    pub(crate) fn flush_index(&self) -> Result<(), DiskError> {
        let mut writer = self.writer();
        if writer.groups_behind > 0 {
            self.group(&mut writer, true, |_| Ok(()))?;
        }
        Ok(())
    }

    fn commit_group(
        &self,
        writer: &mut Writer<V::File>,
        group: Vec<Prepared>,
        completions: &mut Vec<DiskDone>,
    ) {
        let outcomes = self.try_group(writer, &group);
        let failed = outcomes.as_ref().err().cloned();
        let mut outcomes = outcomes.unwrap_or_default().into_iter();
        for prepared in group {
            let write = match prepared {
                Prepared::Done(done) => {
                    completions.push(done);
                    continue;
                }
                Prepared::Write(write) => write,
            };
            let result = match (&failed, &write.step) {
                (_, Step::Failed(error)) => Err(error.clone()),
                // What was read stays so, whether or not the log could say why.
                (_, Step::DamagedBlob(_)) => Err(DiskError::Corrupt),
                (_, Step::DamagedRecords(read)) => read.answer.clone(),
                (Some(error), _) => Err(error.clone()),
                (None, _) => outcomes.next().unwrap_or(Err(DiskError::SyncFailed)),
            };
            self.tidy(writer, &write, &result);
            completions.push(write.op.complete(result));
        }
    }

    /// What is left to do when an operation's entries are durable, or not
    /// written at all.
    fn tidy(
        &self,
        writer: &mut Writer<V::File>,
        write: &Write,
        result: &Result<DiskData, DiskError>,
    ) {
        match (write.op.kind(), result) {
            //# STORE-10: A blob's file MUST NOT be removed before its drop is durable.
            (DiskKind::ForgetBlob(id), Ok(_)) => self.unlink(writer, id),
            // After a failed sync the entry may be there, and need the file.
            (DiskKind::PutBlob { claim, .. }, Err(error))
                if matches!(write.step, Step::Placed(_)) && *error != DiskError::SyncFailed =>
            {
                let held = self
                    .index()
                    .as_ref()
                    .is_none_or(|index| index.blob(&claim.blob).map_or(true, |row| row.is_some()));
                if !held {
                    self.unlink(writer, &claim.blob);
                }
            }
            _ => {}
        }
    }

    /// Removes a blob's file, if there is one.
    pub(crate) fn unlink(&self, writer: &mut Writer<V::File>, id: &BlobId) {
        let path = self.blob_path(id);
        if self.vfs.remove(&path).is_ok() {
            writer.unlinked.insert(parent(&path).to_owned());
        }
    }

    /// Outcomes of the group's writes that have come so far, in order; or why
    /// none of them is done.
    fn try_group(
        &self,
        writer: &mut Writer<V::File>,
        group: &[Prepared],
    ) -> Result<Vec<Result<DiskData, DiskError>>, DiskError> {
        let writes = || {
            group.iter().filter_map(|prepared| match prepared {
                Prepared::Write(Write {
                    step: Step::Failed(_),
                    ..
                })
                | Prepared::Done(_) => None,
                Prepared::Write(write) => Some(write),
            })
        };
        if writes().next().is_none() {
            return Ok(Vec::new());
        }
        let placed = writes().any(|write| matches!(write.step, Step::Placed(_)));
        if placed && self.health() == Health::Writable {
            self.vfs.sync_dir(TMP).map_err(|_| self.sync_failed())?;
        }
        let attempt = |writer: &mut Writer<V::File>, tight: bool| {
            self.group(writer, false, |stage| {
                let mut outcomes = Vec::new();
                for write in writes() {
                    let outcome = stage.op(self, write, tight)?;
                    if !matches!(write.step, Step::DamagedBlob(_) | Step::DamagedRecords(_)) {
                        outcomes.push(outcome);
                    }
                }
                Ok(outcomes)
            })
        };
        let tight = !self.make_reserve(writer);
        let outcomes = match attempt(writer, tight) {
            Err(DiskError::NoSpace) if self.give_up_reserve(writer) => attempt(writer, true),
            outcomes => outcomes,
        };
        self.space.tighten(!writer.reserve);
        outcomes
    }

    /// Whether the reserve is there, now if not before.
    fn make_reserve(&self, writer: &mut Writer<V::File>) -> bool {
        if !writer.reserve {
            let zeros = vec![0; self.config.reserve_bytes as usize];
            let made = self
                .vfs
                .create_new(RESERVE)
                .and_then(|file| file.write_at(&zeros, 0));
            if made.is_err() {
                let _ = self.vfs.remove(RESERVE);
            }
            writer.reserve = made.is_ok();
        }
        writer.reserve
    }

    /// Gives the reserve's space to what must be written now. `false` if it is
    /// gone already.
    pub(crate) fn give_up_reserve(&self, writer: &mut Writer<V::File>) -> bool {
        std::mem::take(&mut writer.reserve) && self.vfs.remove(RESERVE).is_ok()
    }

    /// Runs `fill` to stage entries, writes and syncs them as one group, and
    /// brings the index up to them. If it fails, log and index are as before,
    /// except after [`DiskError::SyncFailed`]. With `flush` it fails unless the
    /// index is durable; `fill` must stage no entries then.
    pub(crate) fn group<T>(
        &self,
        writer: &mut Writer<V::File>,
        flush: bool,
        fill: impl FnOnce(&mut Stage<'_, '_>) -> Result<T, GroupError>,
    ) -> Result<T, DiskError> {
        if self.health() == Health::ReadOnly {
            return Err(DiskError::SyncFailed);
        }
        if self.index().is_none() && !self.reopen_index(writer) {
            return Err(DiskError::Io("the index has failed".to_owned()));
        }
        let active = self.active(writer)?;
        let durable = flush
            || writer.groups_behind >= self.config.index_commit_groups
            || writer.bytes_behind >= self.config.index_commit_bytes;
        if durable {
            self.sync_unlinked(writer)?;
        }
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        let written = self.write_group(&writer.state, &active, &mut buffer, durable, fill);
        let bytes = buffer.len() as u64;
        writer.buffer = buffer;
        let (value, behind) = match written {
            Ok((value, state, shares)) => {
                writer.state = state;
                for (number, share) in shares {
                    writer.segments.entry(number).or_default().share = share;
                }
                (value, None)
            }
            Err(WriteError::Body(error)) => return Err(self.undo(writer, &active, error)),
            Err(WriteError::Commit(error, value)) => {
                // The log has the group: an index that replays it has it, too.
                let end = writer.state.tail.saturating_add(bytes);
                if bug::on(Bug::FailedYetThere) && !self.reopen_index(writer) {
                    return Err(self.undo(writer, &active, GroupError::Index(error)));
                }
                if !self.reopen_index(writer) {
                    return Err(self.take_back(writer, &active, &error));
                }
                if writer.state.tail != end {
                    return Err(self.sync_failed());
                }
                (value, Some(error))
            }
        };
        if let Some(info) = writer.segments.get_mut(&active.number) {
            info.bytes = writer.state.tail;
        }
        self.space
            .live
            .store(writer.state.live(), Ordering::Relaxed);
        (writer.groups_behind, writer.bytes_behind) = match (durable, &behind) {
            (true, None) => (0, 0),
            // Not at once again, as it costs a replay.
            (true, Some(_)) => (1, 0),
            (false, _) => (
                writer.groups_behind.saturating_add(1),
                writer.bytes_behind.saturating_add(bytes),
            ),
        };
        match behind {
            // The index that was opened again is not durable, though it has all.
            Some(error) if flush => Err(index_error(&error)),
            _ => Ok(value),
        }
    }

    fn write_group<T>(
        &self,
        state: &State,
        active: &Segment<V::File>,
        buffer: &mut Vec<u8>,
        durable: bool,
        fill: impl FnOnce(&mut Stage<'_, '_>) -> Result<T, GroupError>,
    ) -> Result<Written<T>, WriteError<GroupError, T>> {
        let index = self.index();
        let Some(index) = index.as_ref() else {
            return Err(WriteError::Body(GroupError::Write(
                io::ErrorKind::Other.into(),
            )));
        };
        index.write(durable, state, |tables| {
            let mark = tables.state.next;
            let mut stage = Stage {
                tables,
                buffer,
                number: active.number,
                key: active.key,
                tail: state.tail,
                mark,
                space: &self.space,
                config: &self.config,
            };
            let value = fill(&mut stage)?;
            tables.state.segment = active.number;
            tables.state.tail = state.tail.saturating_add(buffer.len() as u64);
            if !buffer.is_empty() {
                active
                    .file
                    .write_at(buffer, state.tail)
                    .map_err(GroupError::Write)?;
                //# STORE-6: A write is complete only when its entries have been synced.
                sync_log(&active.file, durable).map_err(|_| GroupError::Sync)?;
            }
            Ok(value)
        })
    }

    /// Takes a group out of the log again, which is durable and which no index
    /// takes in.
    fn take_back(
        &self,
        writer: &mut Writer<V::File>,
        active: &Segment<V::File>,
        error: &IndexError,
    ) -> DiskError {
        // What the index may know of it would be a loss without the log's word.
        let removed = match self.vfs.remove(INDEX) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.vfs.sync_dir(""),
        };
        match removed {
            Ok(()) => self.undo(writer, active, GroupError::Taken(index_error(error))),
            Err(_) => self.sync_failed(),
        }
    }

    /// Takes a failed group out of the log, and says why it failed.
    fn undo(
        &self,
        writer: &mut Writer<V::File>,
        active: &Segment<V::File>,
        error: GroupError,
    ) -> DiskError {
        let error = match error {
            //# STORE-7: A sync that failed MUST NOT be tried again on that file.
            GroupError::Sync => return self.sync_failed(),
            GroupError::Write(error) => disk_error(&error),
            GroupError::Taken(error) => error,
            GroupError::Index(error) => {
                self.reopen_index(writer);
                index_error(&error)
            }
        };
        //# STORE-11: What was not written for want of space MUST be cut off the log, and the cut
        //# synced, before it is reported.
        let cut = match bug::on(Bug::Uncut) {
            true => Ok(()),
            false => active.file.set_len(writer.state.tail),
        };
        let cut = cut.and_then(|()| active.file.sync());
        if cut.is_err() {
            self.sync_failed()
        } else {
            error
        }
    }

    /// The segment to write, a new one if the last is full.
    fn active(&self, writer: &mut Writer<V::File>) -> Result<Arc<Segment<V::File>>, DiskError> {
        if let Some(active) = &writer.active
            && writer.state.tail < u64::from(self.config.segment_bytes)
        {
            return Ok(active.clone());
        }
        let last = writer
            .segments
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        let number = last.max(writer.state.segment).checked_add(1);
        let number =
            number.ok_or_else(|| DiskError::Io("the log has no more numbers".to_owned()))?;
        let made = self
            .log
            .create(number, writer.state.next)
            .map_err(|error| disk_error(&error))?;
        writer.state.segment = number;
        writer.state.tail = HEADER;
        writer.segments.insert(
            number,
            SegmentInfo {
                bytes: HEADER,
                share: Share::default(),
            },
        );
        writer.active = Some(made.clone());
        Ok(made)
    }

    /// Removed names must be gone for good before the durable index forgets
    /// why: a start after it would not remove them again.
    fn sync_unlinked(&self, writer: &mut Writer<V::File>) -> Result<(), DiskError> {
        for dir in std::mem::take(&mut writer.unlinked) {
            self.vfs.sync_dir(&dir).map_err(|_| self.sync_failed())?;
        }
        Ok(())
    }

    /// Takes a damaged file out of the way.
    fn move_aside(&self, id: &BlobId) {
        let path = self.blob_path(id);
        let kept = self
            .vfs
            .list(DAMAGED)
            .map_or(usize::MAX, |names| names.len());
        // Whether it works or not, the index will not name it again.
        let _ = if kept < self.config.damaged_files_max {
            self.vfs
                .rename(&path, &format!("{DAMAGED}/{}", id.to_hex()))
        } else {
            self.vfs.remove(&path)
        };
    }
}

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum GroupError {
    Index(IndexError),
    Write(io::Error),
    Sync,
    /// It was taken out of the index, for this reason.
    Taken(DiskError),
}

impl From<IndexError> for GroupError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

/// A group on its way: entries in a buffer, their rows in a transaction.
pub(crate) struct Stage<'a, 't> {
    pub(crate) tables: &'a mut Tables<'t>,
    buffer: &'a mut Vec<u8>,
    number: u32,
    key: SegmentKey,
    tail: u64,
    mark: u64,
    space: &'a Space,
    config: &'a StoreConfig,
}

/// What an operation comes to, if its group does.
type Outcome = Result<DiskData, DiskError>;

impl Stage<'_, '_> {
    /// Stages an entry. `body` may be in parts.
    pub(crate) fn put(&mut self, kind: Kind, key: &[u8], body: &[&[u8]]) -> Result<(), GroupError> {
        let offset = self.tail.saturating_add(self.buffer.len() as u64);
        let len = entry_len(key.len(), body.iter().map(|part| part.len()).sum());
        let (Ok(at), Ok(len)) = (u32::try_from(offset), u32::try_from(len)) else {
            return Err(GroupError::Write(io::ErrorKind::FileTooLarge.into()));
        };
        let sequence = self.tables.state.next;
        segment::encode(
            self.buffer,
            &self.key,
            offset,
            [sequence, self.mark],
            kind,
            key,
            body,
        );
        self.tables.state.next = sequence.saturating_add(1);
        let loc = Loc {
            segment: self.number,
            offset: at,
            len,
        };
        let whole = body.first().copied().unwrap_or_default();
        Ok(self.tables.apply(kind, key, whole, loc)?)
    }

    fn op<V: Vfs>(
        &mut self,
        store: &Store<V>,
        write: &Write,
        tight: bool,
    ) -> Result<Outcome, GroupError> {
        match &write.step {
            Step::DamagedBlob(row) => return self.damaged_blob(store, write.op.kind(), *row),
            Step::DamagedRecords(read) => {
                for (key, loc) in &read.found {
                    store.damaged.fetch_add(1, Ordering::Relaxed);
                    if self.tables.record(key)?.is_some_and(|row| row.loc == *loc) {
                        //# STORE-22: A record that is found damaged MUST stay known.
                        self.put(Kind::RecordDamaged, &key[..], &[])?;
                    }
                }
                return Ok(read.answer.clone());
            }
            Step::Carry | Step::Placed(_) | Step::Gone | Step::Failed(_) => {}
        }
        match write.op.kind() {
            // Without a reserve, nothing that takes space.
            DiskKind::PutBlob { .. }
            | DiskKind::Claim(_)
            | DiskKind::PutRecord(_)
            | DiskKind::PutDebts(_)
            | DiskKind::NoteSeen { .. }
                if tight =>
            {
                Ok(Err(DiskError::NoSpace))
            }
            DiskKind::Load => self.load(store),
            DiskKind::PutBlob { claim, bytes } => {
                let placed = matches!(write.step, Step::Placed(_));
                let small = bytes.len() <= store.config.small_blob_max as usize;
                self.put_blob(claim, bytes, placed, small)
            }
            DiskKind::Claim(claim) => {
                let gone = matches!(write.step, Step::Gone);
                if gone || self.tables.blob(&claim.blob)?.is_none() {
                    // Before anything is fetched for it.
                    let counts = self.tables.blob(&claim.blob)?.is_some()
                        && self.tables.is_claimed_by(&claim.blob, &claim.namespace)?;
                    let more = if counts { 0 } else { u64::from(claim.len) };
                    let room = self.room(&claim.namespace, more)?;
                    return Ok(room.map(|()| NOT_HELD));
                }
                let done = self.claim(claim)?;
                Ok(done.map(|()| DiskData::Claimed { held: true }))
            }
            DiskKind::ForgetBlob(id) => self.forget(id),
            DiskKind::PutRecord(record) => self.put_record(record),
            DiskKind::PutMembers(bytes) => {
                if bytes.len() > BODY_MAX {
                    return Ok(too_long());
                }
                self.put(Kind::Members, &[], &[bytes])?;
                Ok(Ok(DiskData::Done))
            }
            DiskKind::PutDebts(debts) => self.put_debts(debts),
            DiskKind::NoteSeen { seen, forget } => self.note_seen(seen, forget),
            DiskKind::ClearDebts(debts) => {
                for key in debts.iter().map(entry::debt_key) {
                    if self.tables.has_debt(&key)? {
                        self.put(Kind::DebtDrop, &key, &[])?;
                    }
                }
                Ok(Ok(DiskData::Done))
            }
            _ => Ok(Err(DiskError::Io(
                "this store does not know the operation".to_owned(),
            ))),
        }
    }

    fn load<V: Vfs>(&mut self, store: &Store<V>) -> Result<Outcome, GroupError> {
        let members = match self.tables.state.members {
            Some(loc) => match store
                .log
                .segment(loc.segment)
                .map_err(ReadError::Io)
                .and_then(|segment| segment.read(loc, Kind::Members, &[]))
            {
                Ok(bytes) => Some(bytes),
                Err(ReadError::Io(error)) => return Ok(Err(disk_error(&error))),
                Err(ReadError::Damaged) => {
                    // The next start is told that there is none.
                    self.tables.state.members = None;
                    store.damaged.fetch_add(1, Ordering::Relaxed);
                    return Ok(Err(DiskError::Corrupt));
                }
            },
            None => None,
        };
        let starts = self.tables.state.starts.saturating_add(1);
        self.put(Kind::Starts, &[], &[&starts.to_be_bytes()])?;
        Ok(Ok(DiskData::Loaded(Loaded {
            starts,
            members,
            debts: self.tables.debts()?,
            seen: self.tables.all_seen()?,
            records: self.tables.state.records,
            blobs: self.tables.state.blobs,
            lost: store.recovery.damaged,
            index_rebuilt: store.recovery.index_rebuilt,
        })))
    }

    fn put_blob(
        &mut self,
        claim: &Claim,
        bytes: &Bytes,
        placed: bool,
        small: bool,
    ) -> Result<Outcome, GroupError> {
        let id = &claim.blob;
        if self.tables.blob(id)?.is_none() {
            if !placed && !small {
                return Ok(Err(DiskError::Io(
                    "the blob was dropped while it was put".to_owned(),
                )));
            }
            let len = (bytes.len() as u32).to_be_bytes();
            let (kind, body) = if small {
                (Kind::Blob, &bytes[..])
            } else {
                (Kind::BlobFile, &len[..])
            };
            if let Err(over) = self.room(&claim.namespace, bytes.len() as u64)? {
                return Ok(Err(over));
            }
            // The reservation of a placed one covers it.
            let entries = entry_len(BlobId::LEN, body.len()).saturating_add(CLAIM_ENTRY);
            if !placed && !self.fits(entries) {
                return Ok(Err(DiskError::NoSpace));
            }
            self.put(kind, &id.0, &[body])?;
            self.put_claim(claim)?;
            return Ok(Ok(DiskData::Done));
        }
        let done = self.claim(claim)?;
        Ok(done.map(|()| DiskData::Done))
    }

    /// Claims a blob that is held.
    fn claim(&mut self, claim: &Claim) -> Result<Result<(), DiskError>, GroupError> {
        if self.tables.has_claim(&claim.blob, &claim.put)? {
            return Ok(Ok(()));
        }
        if !self.fits(CLAIM_ENTRY) {
            return Ok(Err(DiskError::NoSpace));
        }
        if !self.tables.is_claimed_by(&claim.blob, &claim.namespace)?
            && let Some(row) = self.tables.blob(&claim.blob)?
            && let Err(over) = self.room(&claim.namespace, u64::from(row.len))?
        {
            return Ok(Err(over));
        }
        self.put_claim(claim).map(Ok)
    }

    /// Whether a namespace may have so many bytes more.
    fn room(
        &self,
        namespace: &NamespaceId,
        more: u64,
    ) -> Result<Result<(), DiskError>, GroupError> {
        let used = self.tables.used(namespace)?;
        Ok(self.config.fits(used, more))
    }

    fn put_claim(&mut self, claim: &Claim) -> Result<(), GroupError> {
        let key = entry::claim_key(&claim.blob, &claim.put);
        self.put(Kind::Claim, &key, &[&entry::claim_body(claim)])
    }

    fn forget(&mut self, id: &BlobId) -> Result<Outcome, GroupError> {
        for key in self.tables.claims(id)? {
            self.put(Kind::ClaimDrop, &key, &[])?;
        }
        if self.tables.blob(id)?.is_some() {
            self.put(Kind::BlobDrop, &id.0, &[])?;
        }
        Ok(Ok(DiskData::Done))
    }

    fn put_record(&mut self, record: &StoredRecord) -> Result<Outcome, GroupError> {
        let key = entry::record_key(&record.key, &record.version.to_bytes(), &record.head_hash);
        if self.tables.record(&key)?.is_some_and(|row| !row.damaged) {
            return Ok(Ok(DiskData::Done));
        }
        let parts = [&record.head, &record.meta, &record.content];
        let len = parts
            .iter()
            .fold(RECORD_LENGTHS, |sum, part| sum.saturating_add(part.len()));
        if len > BODY_MAX {
            return Ok(too_long());
        }
        if !self.fits(entry_len(key.len(), len)) {
            return Ok(Err(DiskError::NoSpace));
        }
        let charged = entry_len(key.len(), len) as u64;
        if let Err(over) = self.room(&record.key.namespace, charged)? {
            return Ok(Err(over));
        }
        let lengths = entry::record_lengths(record);
        self.put(
            Kind::Record,
            &key,
            &[&lengths, &record.head, &record.meta, &record.content],
        )?;
        Ok(Ok(DiskData::Done))
    }

    fn put_debts(&mut self, debts: &[Debt]) -> Result<Outcome, GroupError> {
        if !self.fits(debts.len().saturating_mul(entry_len(KEY_MAX, 0))) {
            return Ok(Err(DiskError::NoSpace));
        }
        for key in debts.iter().map(entry::debt_key) {
            if !self.tables.has_debt(&key)? {
                self.put(Kind::Debt, &key, &[])?;
            }
        }
        Ok(Ok(DiskData::Done))
    }

    fn note_seen(&mut self, seen: &[Seen], forget: &[RecordKey]) -> Result<Outcome, GroupError> {
        for key in forget.iter().map(entry::seen_key) {
            if self.tables.has_seen(&key)? {
                self.put(Kind::SeenDrop, &key, &[])?;
            }
        }
        let each = entry_len(SEEN_KEY, SEEN_BODY);
        if !self.fits(seen.len().saturating_mul(each)) {
            return Ok(Err(DiskError::NoSpace));
        }
        for seen in seen {
            let key = entry::seen_key(&seen.key);
            self.put(Kind::Seen, &key, &[&entry::seen_body(seen)])?;
        }
        Ok(Ok(DiskData::Done))
    }

    fn damaged_blob<V: Vfs>(
        &mut self,
        store: &Store<V>,
        kind: &DiskKind,
        row: BlobRow,
    ) -> Result<Outcome, GroupError> {
        store.damaged.fetch_add(1, Ordering::Relaxed);
        if let DiskKind::GetBlob(id) = kind
            && self.tables.blob(id)? == Some(row)
        {
            if row.file {
                store.move_aside(id);
            }
            self.put(Kind::BlobDrop, &id.0, &[])?;
        }
        Ok(Err(DiskError::Corrupt))
    }

    fn fits(&self, more: usize) -> bool {
        self.space.fits(self.tables.state.live(), more as u64)
    }
}

/// Makes a group of the log durable, or goes wrong in it.
fn sync_log<F: VfsFile>(file: &F, index_follows: bool) -> io::Result<()> {
    if bug::on(Bug::EarlyAck) || (bug::on(Bug::IndexFirst) && index_follows) {
        return Ok(());
    }
    match file.sync() {
        Err(_) if bug::on(Bug::SyncRetried) => file.sync(),
        synced => synced,
    }
}

fn is_load(prepared: &Prepared) -> bool {
    matches!(prepared, Prepared::Write(write) if *write.op.kind() == DiskKind::Load)
}

/// What a claim takes in the log.
const CLAIM_ENTRY: usize = entry_len(CLAIM_KEY, CLAIM_BODY);

fn too_long() -> Outcome {
    Err(DiskError::Io("too long for an entry of the log".to_owned()))
}
