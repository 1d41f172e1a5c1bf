//! `prepare`: what needs no turn of its own. Reads are answered, and claims on
//! what is not held; large blobs are put under their final names.
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
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockReadGuard};

use bytes::Bytes;
use peerhold_core::disk::{
    Claim, DiskData, DiskError, DiskKind, DiskOp, Part, RecordKey, StoredRecord,
};
use peerhold_core::id::{BlobId, NamespaceId};
use peerhold_core::version::RecordId;

use crate::bug::{self, Bug};
use crate::entry::{self, RECORD_KEY};
use crate::index::{BlobRow, Found, Index, IndexError, RecordRow, Records};
use crate::open::{BLOBS, TMP};
use crate::segment::{Loc, ReadError, Segment};
use crate::store::{DamagedRecords, Health, Prepared, Step, Store};
use crate::vfs::{Kind, Vfs, VfsFile, parent};

/// Directories remembered as durable; the SHA-1 layout has no end of them.
const DIRS_MAX: usize = 4096;
/// The answer to a claim on what is not here.
pub(crate) const NOT_HELD: DiskData = DiskData::Claimed { held: false };

impl<V: Vfs> Store<V> {
    /// Does what can be done for an operation without the log: answers reads and
    /// claims on what is not held, writes large blobs. May run on any number of threads, beside
    /// [`Store::commit`] too, but a write and another operation on the same
    /// [`DiskKey`](peerhold_core::disk::DiskKey) must not overlap.
    pub fn prepare(&self, op: DiskOp) -> Prepared {
        self.revive_index();
        let step = match op.kind() {
            DiskKind::GetBlob(id) => match self.get_blob(id) {
                Read::Answer(result) => return Prepared::Done(op.complete(result)),
                Read::Damaged(step) => step,
            },
            DiskKind::GetRecord { key, at, part } => {
                match self.get_record(key, at.as_ref(), *part) {
                    Read::Answer(result) => return Prepared::Done(op.complete(result)),
                    Read::Damaged(step) => step,
                }
            }
            DiskKind::ListNames {
                namespace,
                after,
                max,
            } => match self.list_names(namespace, *after, *max) {
                Read::Answer(result) => return Prepared::Done(op.complete(result)),
                Read::Damaged(step) => step,
            },
            DiskKind::ListVersions { key, below, max } => {
                match self.list_versions(key, *below, *max) {
                    Read::Answer(result) => return Prepared::Done(op.complete(result)),
                    Read::Damaged(step) => step,
                }
            }
            DiskKind::HasBlob(id) => {
                let held = self.has_blob(id).map(|held| DiskData::Claimed { held });
                return Prepared::Done(op.complete(held));
            }
            _ if self.health() == Health::ReadOnly => Step::Failed(DiskError::SyncFailed),
            DiskKind::PutBlob { claim, bytes }
                if bytes.len() > self.config.small_blob_max as usize =>
            {
                self.place(&claim.blob, bytes).unwrap_or_else(Step::Failed)
            }
            DiskKind::ForgetBlob(id) if bug::on(Bug::UnlinkedEarly) => {
                self.vfs.remove(&self.blob_path(id)).ok();
                Step::Carry
            }
            DiskKind::Claim(claim) => match self.look_at_claim(claim) {
                Ok(None) => return Prepared::Done(op.complete(Ok(NOT_HELD))),
                Ok(Some(step)) => step,
                // What is refused changes nothing either.
                Err(error @ DiskError::Quota { .. }) => {
                    return Prepared::Done(op.complete(Err(error)));
                }
                Err(error) => Step::Failed(error),
            },
            _ => Step::Carry,
        };
        Prepared::write(op, step)
    }

    fn get_blob(&self, id: &BlobId) -> Read {
        let index = self.index();
        let row = match lookup(&index, |index| index.blob(id)) {
            Ok(Some(row)) => row,
            Ok(None) => return Read::Answer(Err(DiskError::NotFound)),
            Err(error) => return Read::Answer(Err(error)),
        };
        let read = if row.file {
            drop(index);
            self.read_blob_file(id, row.len)
        } else {
            let segment = self.log.segment(row.loc.segment);
            drop(index);
            let read = segment
                .map_err(classify)
                .and_then(|segment| segment.read(row.loc, entry::Kind::Blob, &id.0));
            read.and_then(|bytes| whole(id, bytes))
        };
        match read {
            Ok(bytes) => Read::Answer(Ok(DiskData::Blob(bytes))),
            Err(ReadError::Damaged) => Read::Damaged(Step::DamagedBlob(row)),
            Err(ReadError::Io(error)) => Read::Answer(Err(disk_error(&error))),
        }
    }

    fn read_blob_file(&self, id: &BlobId, len: u32) -> Result<Bytes, ReadError> {
        let file = self.vfs.open(&self.blob_path(id)).map_err(classify)?;
        if file.len()? != u64::from(len) {
            return Err(ReadError::Damaged);
        }
        let mut bytes = vec![0; len as usize];
        if file.read_at(&mut bytes, 0)? != bytes.len() {
            return Err(ReadError::Damaged);
        }
        whole(id, Bytes::from(bytes))
    }

    fn get_record(&self, key: &RecordKey, at: Option<&RecordId>, part: Part) -> Read {
        match self.look_up_record(|records| records.get(key, at)) {
            Ok(None) => Read::Answer(Ok(DiskData::Record(None))),
            Ok(Some((_, Looked::Sound(record)))) => {
                Read::Answer(Ok(DiskData::Record(Some(only(record, part)))))
            }
            //# STORE-22: While it is its name's newest, a read of the name MUST fail rather than
            //# answer with an older one.
            Ok(Some((_, Looked::KnownDamaged))) => Read::Answer(Err(DiskError::Corrupt)),
            Ok(Some((row_key, Looked::FoundDamaged(loc)))) => {
                Read::damaged(vec![(row_key, loc)], Err(DiskError::Corrupt))
            }
            Err(error) => Read::Answer(Err(error)),
        }
    }

    /// Looks a record up and reads it.
    pub(crate) fn look_up_record(
        &self,
        ask: impl FnOnce(&Records) -> Result<Option<Found>, IndexError>,
    ) -> Result<Option<([u8; RECORD_KEY], Looked)>, DiskError> {
        let index = self.index();
        let Some((key, row)) = lookup(&index, |index| ask(&index.records()?))? else {
            return Ok(None);
        };
        // While the index is held no segment is removed; an open one stays
        // readable.
        let segment = self.log.segment(row.loc.segment);
        drop(index);
        let looked = self.read_record(&key, row, segment)?;
        Ok(Some((key, looked)))
    }

    /// Looks records up, all as of one moment. The segments that they are in may be
    /// gone when they are read.
    pub(crate) fn look_up_records(
        &self,
        ask: impl FnOnce(&Records) -> Result<Vec<Found>, IndexError>,
    ) -> Result<Vec<Found>, DiskError> {
        lookup(&self.index(), |index| ask(&index.records()?))
    }

    /// What stands where its row says that a record is, in this segment.
    pub(crate) fn read_record(
        &self,
        key: &[u8; RECORD_KEY],
        row: RecordRow,
        segment: io::Result<Arc<Segment<V::File>>>,
    ) -> Result<Looked, DiskError> {
        if row.damaged {
            return Ok(Looked::KnownDamaged);
        }
        let read = segment.map_err(classify).and_then(|segment| {
            let body = segment.read(row.loc, entry::Kind::Record, key)?;
            entry::record(key, &body).ok_or(ReadError::Damaged)
        });
        match read {
            Ok(record) => Ok(Looked::Sound(record)),
            Err(ReadError::Damaged) => Ok(Looked::FoundDamaged(row.loc)),
            Err(ReadError::Io(error)) => Err(disk_error(&error)),
        }
    }

    /// What is to be done for a claim. `None`: nothing, its blob is not held.
    /// That waits for no commit, as the blob's whole transfer waits for it.
    fn look_at_claim(&self, claim: &Claim) -> Result<Option<Step>, DiskError> {
        let index = self.index();
        match lookup(&index, |index| index.blob(&claim.blob))? {
            // Where there is no space, the next commit says so, or finds some.
            None if self.space.is_tight() => Ok(Some(Step::Carry)),
            None => {
                let used = lookup(&index, |index| index.used(&claim.namespace))?;
                self.config.fits(used, claim.len.into())?;
                Ok(None)
            }
            Some(row) if self.is_whole(&claim.blob, row)? => Ok(Some(Step::Carry)),
            Some(_) => Ok(Some(Step::Gone)),
        }
    }

    /// Puts a large blob under its final name, durably, unless it is held.
    fn place(&self, id: &BlobId, bytes: &Bytes) -> Result<Step, DiskError> {
        //# STORE-9: That a file has the name of a blob does not mean that it is durable: only an
        //# entry of the log does.
        if self.has_blob(id)? {
            return Ok(Step::Carry);
        }
        let reservation = self
            .space
            .reserve(bytes.len() as u64)
            .ok_or(DiskError::NoSpace)?;
        let path = self.blob_path(id);
        self.make_dirs(&path)?;
        let tmp = format!(
            "{TMP}/{:016x}",
            self.tmp_names.fetch_add(1, Ordering::Relaxed)
        );
        let placed = self.write_blob(&tmp, &path, bytes);
        if placed.is_err() {
            // What is left of it, the next start sweeps.
            let _ = self.vfs.remove(&tmp);
        }
        placed.map(|()| Step::Placed(reservation))
    }

    //# STORE-8: A blob's file MUST be written under a name in `tmp/`, synced, renamed to its
    //# path, and the directories of both names synced, before its entry is written.
    fn write_blob(&self, tmp: &str, path: &str, bytes: &Bytes) -> Result<(), DiskError> {
        #[cfg(feature = "bugs")]
        if let Some(written) = crate::bug::write_blob(self, tmp, path, bytes) {
            return written;
        }
        let write = || {
            let file = self.vfs.create_new(tmp)?;
            file.write_at(bytes, 0)?;
            Ok(file)
        };
        let file = write().map_err(|error: io::Error| disk_error(&error))?;
        file.sync().map_err(|_| self.sync_failed())?;
        // To rename it takes the descriptors of its directories.
        drop(file);
        self.vfs
            .rename(tmp, path)
            .map_err(|error| disk_error(&error))?;
        // The directory of `tmp` is synced once for the group.
        self.vfs
            .sync_dir(parent(path))
            .map_err(|_| self.sync_failed())
    }

    /// Makes the directories that lead to a file, durably.
    fn make_dirs(&self, path: &str) -> Result<(), DiskError> {
        for (end, _) in path.match_indices('/') {
            let dir = path.get(..end).unwrap_or_default();
            if self.dirs().contains(dir) {
                continue;
            }
            self.vfs
                .create_dir(dir)
                .map_err(|error| disk_error(&error))?;
            // One that is there may be not durable yet, made by another thread
            // or before a crash.
            if !bug::on(Bug::FanOutUnsynced) {
                self.vfs
                    .sync_dir(parent(dir))
                    .map_err(|_| self.sync_failed())?;
            }
            let mut dirs = self.dirs();
            if dirs.len() >= DIRS_MAX {
                dirs.clear();
            }
            dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    /// How many bytes count for a namespace, against
    /// [`namespace_bytes`](crate::StoreConfig::namespace_bytes): the blobs that
    /// it claims, and its records. As of the last commit.
    pub fn namespace_bytes(&self, namespace: &NamespaceId) -> Result<u64, DiskError> {
        lookup(&self.index(), |index| index.used(namespace))
    }

    fn has_blob(&self, id: &BlobId) -> Result<bool, DiskError> {
        match lookup(&self.index(), |index| index.blob(id))? {
            Some(row) => self.is_whole(id, row),
            None => Ok(false),
        }
    }

    /// Whether the bytes of a blob are where its row says, as far as that shows
    /// without reading them.
    fn is_whole(&self, id: &BlobId, row: BlobRow) -> Result<bool, DiskError> {
        if !row.file {
            return Ok(true);
        }
        match self.vfs.kind(&self.blob_path(id)).map_err(classify) {
            Ok(kind) => Ok(kind == Some(Kind::File(u64::from(row.len)))),
            Err(ReadError::Damaged) => Ok(false),
            Err(ReadError::Io(error)) => Err(disk_error(&error)),
        }
    }

    pub(crate) fn sync_failed(&self) -> DiskError {
        self.degrade();
        DiskError::SyncFailed
    }

    pub(crate) fn blob_path(&self, id: &BlobId) -> String {
        format!("{BLOBS}/{}", self.layout.path(id))
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Option<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn dirs(&self) -> MutexGuard<'_, std::collections::BTreeSet<String>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) enum Read {
    Answer(Result<DiskData, DiskError>),
    Damaged(Step),
}

impl Read {
    /// With these records found damaged.
    pub(crate) fn damaged(
        found: Vec<([u8; RECORD_KEY], Loc)>,
        answer: Result<DiskData, DiskError>,
    ) -> Self {
        Self::Damaged(Step::DamagedRecords(Box::new(DamagedRecords {
            found,
            answer,
        })))
    }
}

/// What stands where the index says that a record is.
pub(crate) enum Looked {
    Sound(StoredRecord),
    /// The log says already that it is damaged.
    KnownDamaged,
    /// It is damaged, and the log is yet to say so.
    FoundDamaged(Loc),
}

fn lookup<T>(
    index: &Option<Index>,
    ask: impl FnOnce(&Index) -> Result<T, IndexError>,
) -> Result<T, DiskError> {
    let index = index
        .as_ref()
        .ok_or_else(|| DiskError::Io("the index has failed".to_owned()))?;
    ask(index).map_err(|error| {
        index.failed(&error);
        index_error(&error)
    })
}

/// The blob, if it is what its id says.
fn whole(id: &BlobId, bytes: Bytes) -> Result<Bytes, ReadError> {
    if BlobId::of(&bytes) == *id {
        Ok(bytes)
    } else {
        Err(ReadError::Damaged)
    }
}

/// The parts that were asked for. Small ones are copied, so that they do not
/// keep the rest in memory.
pub(crate) fn only(record: StoredRecord, part: Part) -> StoredRecord {
    let meta = match part {
        Part::Head => Bytes::new(),
        Part::Meta => Bytes::copy_from_slice(&record.meta),
        Part::All => return record,
    };
    StoredRecord {
        head: Bytes::copy_from_slice(&record.head),
        meta,
        content: Bytes::new(),
        ..record
    }
}

/// An error met where a file should be: is it gone or not ours, or is the disk
/// not answering?
fn classify(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::NotADirectory => {
            ReadError::Damaged
        }
        _ => ReadError::Io(error),
    }
}

pub(crate) fn disk_error(error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::NoSpace,
        _ => DiskError::Io(error.to_string()),
    }
}

pub(crate) fn index_error(error: &IndexError) -> DiskError {
    match error.io() {
        Some(error) => disk_error(error),
        None => DiskError::Io(format!("index: {error}")),
    }
}
