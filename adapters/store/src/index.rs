//! The index: where in the log each key's last entry stands.
//!
//! A redb database over a file of the [`Vfs`](crate::vfs::Vfs). It holds no
//! content and may lag behind the log, and so it may also be lost.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod charges;
mod records;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BufMut;
use peerhold_core::disk::{Debt, Seen};
use peerhold_core::id::{BlobId, NamespaceId, PutId};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use self::charges::ClaimRow;
pub(crate) use self::records::{Found, Records};
use crate::bug::{self, Bug};
use crate::entry::{self, CLAIM_KEY, Kind, RECORD_KEY, SEEN_BODY, SEEN_KEY};
use crate::segment::Loc;
use crate::state::{Share, State};
use crate::vfs::VfsFile;

type LocBytes = [u8; Loc::LEN];
type BlobBytes = [u8; BlobRow::LEN];
type ClaimBytes = [u8; ClaimRow::LEN];
type RecordBytes = [u8; RecordRow::LEN];
/// A place, then the entry's body: a start reads all of them.
type SeenBytes = [u8; Loc::LEN + SEEN_BODY];

const BLOBS: TableDefinition<'_, &[u8; 32], &BlobBytes> = TableDefinition::new("blobs");
const CLAIMS: TableDefinition<'_, &[u8; CLAIM_KEY], &ClaimBytes> = TableDefinition::new("claims");
const RECORDS: TableDefinition<'_, &[u8; RECORD_KEY], &RecordBytes> =
    TableDefinition::new("records");
const DEBTS: TableDefinition<'_, &[u8], &LocBytes> = TableDefinition::new("debts");
/// Bytes that count for each namespace.
const SPACES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("spaces");
const SEEN: TableDefinition<'_, &[u8; SEEN_KEY], &SeenBytes> = TableDefinition::new("seen");
const SEGMENTS: TableDefinition<'_, u32, (u64, u64)> = TableDefinition::new("segments");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STATE: &str = "state";

/// What the index knows of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    pub(crate) loc: Loc,
    /// Whether the bytes are in a file of their own.
    pub(crate) file: bool,
    /// Length of the blob.
    pub(crate) len: u32,
}

impl BlobRow {
    const LEN: usize = Loc::LEN + 5;

    fn to_bytes(self) -> BlobBytes {
        let mut bytes = [0; Self::LEN];
        let mut to = bytes.as_mut_slice();
        to.put_slice(&self.loc.to_bytes());
        to.put_u8(u8::from(self.file));
        to.put_u32(self.len);
        bytes
    }

    fn from_bytes(bytes: &BlobBytes) -> Self {
        let [loc @ .., file, a, b, c, d] = bytes;
        let len = u32::from_be_bytes([*a, *b, *c, *d]);
        Self {
            loc: Loc::from_bytes(loc),
            file: *file != 0,
            len,
        }
    }

    fn file_bytes(&self) -> u64 {
        if self.file { u64::from(self.len) } else { 0 }
    }
}

/// What the index knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordRow {
    pub(crate) loc: Loc,
    /// That it was held is all that is left of it: `loc` is where the log says
    /// so.
    pub(crate) damaged: bool,
}

impl RecordRow {
    const LEN: usize = Loc::LEN + 1;

    fn to_bytes(self) -> RecordBytes {
        let mut bytes = [0; Self::LEN];
        let mut to = bytes.as_mut_slice();
        to.put_slice(&self.loc.to_bytes());
        to.put_u8(u8::from(self.damaged));
        bytes
    }

    fn from_bytes(bytes: &RecordBytes) -> Self {
        let [loc @ .., damaged] = bytes;
        Self {
            loc: Loc::from_bytes(loc),
            damaged: *damaged != 0,
        }
    }

    /// Adds to the number of records held.
    fn held(self) -> u64 {
        u64::from(!self.damaged)
    }

    /// Bytes that count for its namespace.
    fn bytes(self) -> i64 {
        if self.damaged {
            0
        } else {
            i64::from(self.loc.len)
        }
    }
}

/// Why the index did not answer.
#[derive(Debug)]
pub(crate) struct IndexError(Box<redb::Error>);

impl IndexError {
    /// Whether the index file is no sound index, rather than out of reach.
    pub(crate) fn damaged(&self) -> bool {
        match &*self.0 {
            redb::Error::Io(error) => {
                matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                )
            }
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. } => true,
            _ => false,
        }
    }

    /// The file's own error, where that is the reason.
    pub(crate) fn io(&self) -> Option<&io::Error> {
        match &*self.0 {
            redb::Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(crate) enum WriteError<E, T> {
    /// The caller's part failed; the index is as before.
    Body(E),
    /// The caller's part gave this value, but the index did not take it. It
    /// must be opened anew.
    Commit(IndexError, T),
}

/// What a transaction brought: the caller's value, the new state, and the
/// shares of the segments it touched.
pub(crate) type Written<T> = (T, State, BTreeMap<u32, Share>);

/// The open index.
pub(crate) struct Index {
    db: Database,
    sync_failed: Arc<AtomicBool>,
    /// It could not be read: redb answers nothing more after an error of its
    /// file, whatever that was.
    failed: AtomicBool,
}

impl Index {
    /// Opens the index in this file, or makes one if it is empty.
    pub(crate) fn open<F: VfsFile>(file: F, cache: usize, check: bool) -> Result<Self, IndexError> {
        let sync_failed = Arc::new(AtomicBool::new(false));
        let backend = Backend {
            file,
            sync_failed: sync_failed.clone(),
        };
        let mut builder = Database::builder();
        builder
            .set_cache_size(cache)
            .set_check_integrity_on_open(check);
        let db = builder.create_with_backend(backend)?;
        Ok(Self {
            db,
            sync_failed,
            failed: AtomicBool::new(false),
        })
    }

    /// Whether it has failed to answer and must be opened again.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// It did not answer. What is damaged would be so again.
    pub(crate) fn failed(&self, error: &IndexError) {
        self.failed.fetch_or(!error.damaged(), Ordering::Relaxed);
    }

    /// Whether a sync of the file has failed: it must be written anew.
    pub(crate) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Relaxed)
    }

    /// The state as of the last transaction; `None` if there was none.
    pub(crate) fn state(&self) -> Result<Option<State>, IndexError> {
        let txn = self.db.begin_read()?;
        let meta = match txn.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(meta
            .get(STATE)?
            .and_then(|row| State::from_bytes(row.value())))
    }

    /// The live bytes of each segment that has had entries.
    pub(crate) fn shares(&self) -> Result<BTreeMap<u32, Share>, IndexError> {
        let txn = self.db.begin_read()?;
        let mut shares = BTreeMap::new();
        for row in txn.open_table(SEGMENTS)?.iter()? {
            let (number, share) = row?;
            let (live, drops) = share.value();
            shares.insert(number.value(), Share { live, drops });
        }
        Ok(shares)
    }

    pub(crate) fn blob(&self, id: &BlobId) -> Result<Option<BlobRow>, IndexError> {
        let txn = self.db.begin_read()?;
        let row = txn.open_table(BLOBS)?.get(&id.0)?;
        Ok(row.map(|row| BlobRow::from_bytes(row.value())))
    }

    /// Bytes that count for a namespace.
    pub(crate) fn used(&self, namespace: &NamespaceId) -> Result<u64, IndexError> {
        let txn = self.db.begin_read()?;
        let bytes = match txn.open_table(SPACES) {
            Ok(spaces) => spaces.get(&namespace.0)?.map_or(0, |row| row.value()),
            Err(redb::TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(bytes)
    }

    /// What there is of records, as of now.
    pub(crate) fn records(&self) -> Result<Records, IndexError> {
        let txn = self.db.begin_read()?;
        Ok(Records(txn.open_table(RECORDS)?))
    }

    /// Runs `body` in one transaction, which begins with `state` and is
    /// durable at once or with a later one.
    pub(crate) fn write<T, E: From<IndexError>>(
        &self,
        durable: bool,
        state: &State,
        body: impl FnOnce(&mut Tables<'_>) -> Result<T, E>,
    ) -> Result<Written<T>, WriteError<E, T>> {
        let early = |error: IndexError| WriteError::Body(E::from(error));
        let mut txn = self.db.begin_write().map_err(|error| early(error.into()))?;
        let durability = if durable {
            Durability::Immediate
        } else {
            Durability::None
        };
        txn.set_durability(durability)
            .map_err(|error| early(error.into()))?;
        let mut tables = Tables::open(&txn, state.clone()).map_err(early)?;
        let value = body(&mut tables).map_err(WriteError::Body)?;
        let finished = tables.finish();
        let committed = finished.and_then(|finished| Ok((txn.commit()?, finished)));
        match committed {
            Ok(((), (state, shares))) => Ok((value, state, shares)),
            Err(error) => Err(WriteError::Commit(error, value)),
        }
    }
}

impl Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

/// The tables within one transaction.
pub(crate) struct Tables<'t> {
    blobs: redb::Table<'t, &'static [u8; 32], &'static BlobBytes>,
    claims: redb::Table<'t, &'static [u8; CLAIM_KEY], &'static ClaimBytes>,
    records: redb::Table<'t, &'static [u8; RECORD_KEY], &'static RecordBytes>,
    debts: redb::Table<'t, &'static [u8], &'static LocBytes>,
    seen: redb::Table<'t, &'static [u8; SEEN_KEY], &'static SeenBytes>,
    segments: redb::Table<'t, u32, (u64, u64)>,
    spaces: redb::Table<'t, &'static [u8; 32], u64>,
    meta: redb::Table<'t, &'static str, &'static [u8]>,
    /// The state as it will be.
    pub(crate) state: State,
    /// What each touched segment gains and loses: live bytes, bytes of drops.
    changes: BTreeMap<u32, (i64, i64)>,
    /// Bytes that each namespace gains and loses.
    charges: BTreeMap<NamespaceId, i64>,
    removed: Option<u32>,
}

impl<'t> Tables<'t> {
    fn open(txn: &'t redb::WriteTransaction, state: State) -> Result<Self, IndexError> {
        Ok(Self {
            blobs: txn.open_table(BLOBS)?,
            claims: txn.open_table(CLAIMS)?,
            records: txn.open_table(RECORDS)?,
            debts: txn.open_table(DEBTS)?,
            seen: txn.open_table(SEEN)?,
            segments: txn.open_table(SEGMENTS)?,
            spaces: txn.open_table(SPACES)?,
            meta: txn.open_table(META)?,
            state,
            changes: BTreeMap::new(),
            charges: BTreeMap::new(),
            removed: None,
        })
    }

    /// Brings the index up to an entry of the log. One whose key or body does
    /// not fit its kind changes nothing: this program does not write such.
    pub(crate) fn apply(
        &mut self,
        kind: Kind,
        key: &[u8],
        body: &[u8],
        loc: Loc,
    ) -> Result<(), IndexError> {
        if kind.drops() {
            self.change(loc.segment, 0, i64::from(loc.len));
            return self.drop_row(kind, key);
        }
        let at = loc.to_bytes();
        let old = match kind {
            Kind::Blob | Kind::BlobFile => {
                let Some(row) = blob_row(kind, body, loc) else {
                    return Ok(());
                };
                let Some(id) = exact(key) else { return Ok(()) };
                let old = self.blobs.insert(id, &row.to_bytes())?;
                let old = old.map(|old| BlobRow::from_bytes(old.value()));
                self.state.file_bytes = self.state.file_bytes.saturating_add(row.file_bytes());
                self.forget_file(old.as_ref());
                count(&mut self.state.blobs, old.is_none());
                let before = old.map_or(0, |old| i64::from(old.len));
                self.charge_blob(&BlobId(*id), i64::from(row.len).saturating_sub(before))?;
                old.map(|old| old.loc)
            }
            Kind::Claim => {
                let (Some(key), Some(namespace)) = (exact(key), body.first_chunk()) else {
                    return Ok(());
                };
                let namespace = NamespaceId(*namespace);
                let old = self.set_claim(key, ClaimRow { loc, namespace })?;
                count(&mut self.state.claims, old.is_none());
                old
            }
            Kind::Record | Kind::RecordDamaged => {
                let Some(key) = exact(key) else { return Ok(()) };
                let damaged = kind == Kind::RecordDamaged;
                let row = RecordRow { loc, damaged };
                let old = self
                    .records
                    .insert(key, &row.to_bytes())?
                    .map(|old| RecordRow::from_bytes(old.value()));
                let fewer = old.map_or(0, RecordRow::held);
                let held = self.state.records.saturating_add(row.held());
                self.state.records = held.saturating_sub(fewer);
                let before = old.map_or(0, RecordRow::bytes);
                self.charge_record(key, row.bytes().saturating_sub(before));
                old.map(|old| old.loc)
            }
            Kind::Debt => {
                let old = self
                    .debts
                    .insert(key, &at)?
                    .map(|old| Loc::from_bytes(old.value()));
                count(&mut self.state.debts, old.is_none());
                old
            }
            Kind::Seen => {
                let (Some(key), Some(body)) = (exact(key), exact::<SEEN_BODY>(body)) else {
                    return Ok(());
                };
                let mut row = [0; Loc::LEN + SEEN_BODY];
                let mut to = row.as_mut_slice();
                to.put_slice(&at);
                to.put_slice(body);
                let old = self.seen.insert(key, &row)?;
                old.and_then(|old| seen_at(old.value()))
            }
            Kind::Members => self.state.members.replace(loc),
            Kind::Starts => {
                let Ok(starts) = body.try_into() else {
                    return Ok(());
                };
                self.state.starts = u64::from_be_bytes(starts);
                self.state.starts_at.replace(loc)
            }
            Kind::BlobDrop | Kind::ClaimDrop | Kind::DebtDrop | Kind::SeenDrop => None,
        };
        self.change(loc.segment, i64::from(loc.len), 0);
        self.retire(old);
        Ok(())
    }

    fn drop_row(&mut self, kind: Kind, key: &[u8]) -> Result<(), IndexError> {
        let old = match kind {
            Kind::BlobDrop => {
                let Some(id) = exact(key) else { return Ok(()) };
                let old: Option<BlobRow> = {
                    let old = self.blobs.remove(id)?;
                    old.map(|old| BlobRow::from_bytes(old.value()))
                };
                self.forget_file(old.as_ref());
                self.state.blobs = self.state.blobs.saturating_sub(u64::from(old.is_some()));
                if let Some(old) = &old {
                    self.charge_blob(&BlobId(*id), i64::from(old.len).saturating_neg())?;
                }
                old.map(|old| old.loc)
            }
            Kind::ClaimDrop => {
                let Some(key) = exact(key) else { return Ok(()) };
                let old = self.drop_claim(key)?;
                self.state.claims = self.state.claims.saturating_sub(u64::from(old.is_some()));
                old
            }
            Kind::SeenDrop => {
                let Some(key) = exact(key) else { return Ok(()) };
                let old = self.seen.remove(key)?;
                old.and_then(|old| seen_at(old.value()))
            }
            _ => {
                let old = self
                    .debts
                    .remove(key)?
                    .map(|old| Loc::from_bytes(old.value()));
                self.state.debts = self.state.debts.saturating_sub(u64::from(old.is_some()));
                old
            }
        };
        self.retire(old);
        Ok(())
    }

    pub(crate) fn blob(&self, id: &BlobId) -> Result<Option<BlobRow>, IndexError> {
        Ok(self
            .blobs
            .get(&id.0)?
            .map(|row| BlobRow::from_bytes(row.value())))
    }

    pub(crate) fn has_claim(&self, blob: &BlobId, put: &PutId) -> Result<bool, IndexError> {
        Ok(self.claims.get(&entry::claim_key(blob, put))?.is_some())
    }

    /// The keys of all claims on a blob.
    pub(crate) fn claims(&self, blob: &BlobId) -> Result<Vec<[u8; CLAIM_KEY]>, IndexError> {
        let [first, last] = entry::claim_range(blob);
        let rows = self.claims.range::<&[u8; CLAIM_KEY]>(&first..=&last)?;
        rows.map(|row| Ok(*row?.0.value())).collect()
    }

    pub(crate) fn record(&self, key: &[u8; RECORD_KEY]) -> Result<Option<RecordRow>, IndexError> {
        Ok(self
            .records
            .get(key)?
            .map(|row| RecordRow::from_bytes(row.value())))
    }

    pub(crate) fn has_debt(&self, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.debts.get(key)?.is_some())
    }

    pub(crate) fn debts(&self) -> Result<Vec<Debt>, IndexError> {
        let mut debts = Vec::new();
        for row in self.debts.iter()? {
            debts.extend(entry::debt(row?.0.value()));
        }
        Ok(debts)
    }

    pub(crate) fn has_seen(&self, key: &[u8; SEEN_KEY]) -> Result<bool, IndexError> {
        Ok(self.seen.get(key)?.is_some())
    }

    /// All that is noted as seen.
    pub(crate) fn all_seen(&self) -> Result<Vec<Seen>, IndexError> {
        let mut all = Vec::new();
        for row in self.seen.iter()? {
            let (key, row) = row?;
            let body = seen_row(row.value()).map(|(_, body)| body);
            all.extend(body.and_then(|body| entry::seen(key.value(), body)));
        }
        Ok(all)
    }

    /// Whether the log still needs this entry: it is what its key's row names,
    /// or it drops a key that an older segment may set and nothing set since.
    pub(crate) fn needs(
        &self,
        kind: Kind,
        key: &[u8],
        loc: Loc,
        oldest: bool,
    ) -> Result<bool, IndexError> {
        let row = match kind {
            Kind::Blob | Kind::BlobFile | Kind::BlobDrop => {
                let Some(id) = exact(key) else {
                    return Ok(false);
                };
                self.blobs
                    .get(id)?
                    .map(|row| BlobRow::from_bytes(row.value()).loc)
            }
            Kind::Claim | Kind::ClaimDrop => {
                let Some(key) = exact(key) else {
                    return Ok(false);
                };
                self.claims
                    .get(key)?
                    .map(|row| ClaimRow::from_bytes(row.value()).loc)
            }
            Kind::Record | Kind::RecordDamaged => {
                let Some(key) = exact(key) else {
                    return Ok(false);
                };
                self.record(key)?.map(|row| row.loc)
            }
            Kind::Debt | Kind::DebtDrop => {
                self.debts.get(key)?.map(|row| Loc::from_bytes(row.value()))
            }
            Kind::Seen | Kind::SeenDrop => {
                let Some(key) = exact(key) else {
                    return Ok(false);
                };
                self.seen.get(key)?.and_then(|row| seen_at(row.value()))
            }
            Kind::Members => self.state.members,
            Kind::Starts => self.state.starts_at,
        };
        Ok(if kind.drops() {
            row.is_none() && !oldest && !bug::on(Bug::TombstoneForgotten)
        } else {
            row == Some(loc)
        })
    }

    /// Makes a segment known, though nothing in it may be live.
    pub(crate) fn touch(&mut self, segment: u32) {
        self.change(segment, 0, 0);
    }

    /// Forgets a segment that is about to be removed.
    pub(crate) fn remove_segment(&mut self, segment: u32) {
        self.removed = Some(segment);
    }

    /// Live bytes that a segment will have.
    pub(crate) fn live(&self, segment: u32) -> Result<u64, IndexError> {
        let live = self.segments.get(segment)?.map_or(0, |row| row.value().0);
        let change = self.changes.get(&segment).map_or(0, |change| change.0);
        Ok(live.saturating_add_signed(change))
    }

    /// Writes the state; gives it, and the shares of the segments touched.
    fn finish(mut self) -> Result<(State, BTreeMap<u32, Share>), IndexError> {
        let mut shares = BTreeMap::new();
        for (&segment, &(live, drops)) in &self.changes {
            if self.removed == Some(segment) {
                continue;
            }
            let old = self
                .segments
                .get(segment)?
                .map_or((0, 0), |row| row.value());
            let new = (
                old.0.saturating_add_signed(live),
                old.1.saturating_add_signed(drops),
            );
            self.segments.insert(segment, new)?;
            shares.insert(
                segment,
                Share {
                    live: new.0,
                    drops: new.1,
                },
            );
        }
        if let Some(segment) = self.removed {
            self.segments.remove(segment)?;
        }
        self.write_charges()?;
        self.meta.insert(STATE, self.state.to_bytes().as_slice())?;
        Ok((self.state, shares))
    }

    fn forget_file(&mut self, row: Option<&BlobRow>) {
        let bytes = row.map_or(0, BlobRow::file_bytes);
        self.state.file_bytes = self.state.file_bytes.saturating_sub(bytes);
    }

    fn retire(&mut self, old: Option<Loc>) {
        if let Some(old) = old {
            self.change(old.segment, i64::from(old.len).saturating_neg(), 0);
        }
    }

    fn change(&mut self, segment: u32, live: i64, drops: i64) {
        let change = self.changes.entry(segment).or_default();
        change.0 = change.0.saturating_add(live);
        change.1 = change.1.saturating_add(drops);
        self.state.live_log = self.state.live_log.saturating_add_signed(live);
    }
}

/// Where the log says what was seen, and what it says there.
fn seen_row(row: &SeenBytes) -> Option<(Loc, &[u8; SEEN_BODY])> {
    let (at, body) = row.split_first_chunk()?;
    Some((Loc::from_bytes(at), exact(body)?))
}

fn seen_at(row: &SeenBytes) -> Option<Loc> {
    seen_row(row).map(|(at, _)| at)
}

fn blob_row(kind: Kind, body: &[u8], loc: Loc) -> Option<BlobRow> {
    let file = kind == Kind::BlobFile;
    let len = if file {
        u32::from_be_bytes(body.try_into().ok()?)
    } else {
        body.len() as u32
    };
    Some(BlobRow { loc, file, len })
}

/// The bytes, if there are exactly so many.
fn exact<const N: usize>(bytes: &[u8]) -> Option<&[u8; N]> {
    bytes.try_into().ok()
}

fn count(counter: &mut u64, new: bool) {
    *counter = counter.saturating_add(u64::from(new));
}

/// redb's storage in a file of the store.
#[derive(Debug)]
struct Backend<F> {
    file: F,
    sync_failed: Arc<AtomicBool>,
}

impl<F: VfsFile> redb::StorageBackend for Backend<F> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let n = self.file.read_at(out, offset)?;
        if n < out.len() {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.file.sync();
        self.sync_failed
            .fetch_or(result.is_err(), Ordering::Relaxed);
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, offset)
    }
}
