//! The store as its users see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use peerhold_core::disk::{DiskData, DiskDone, DiskError, DiskOp};
use peerhold_core::path::Layout;

use crate::compact::Cursor;
use crate::config::StoreConfig;
use crate::entry::RECORD_KEY;
use crate::index::{BlobRow, Index};
use crate::log::Log;
use crate::replay::Recovery;
use crate::segment::{Loc, Segment};
use crate::state::{Share, State};
use crate::vfs::Vfs;

/// An open store.
///
/// Dropping it makes the index durable, so that the next start has nothing to
/// replay, and releases the lock.
pub struct Store<V: Vfs> {
    pub(crate) vfs: Arc<V>,
    pub(crate) config: StoreConfig,
    pub(crate) layout: Layout,
    pub(crate) log: Log<V>,
    /// `None` while it has failed and could not be reopened. Readers hold the
    /// lock from looking up a place to having its file open; whoever removes a
    /// file takes it alone.
    pub(crate) index: RwLock<Option<Index>>,
    pub(crate) writer: Mutex<Writer<V::File>>,
    pub(crate) space: Arc<Space>,
    pub(crate) recovery: Recovery,
    pub(crate) damaged: AtomicU64,
    pub(crate) read_only: AtomicBool,
    /// Directories whose own names are known to be durable.
    pub(crate) dirs: Mutex<BTreeSet<String>>,
    pub(crate) tmp_names: AtomicU64,
    pub(crate) _lock: V::Lock,
}

/// An operation between [`Store::prepare`] and [`Store::commit`].
#[must_use = "it is to be committed"]
#[derive(Debug)]
pub enum Prepared {
    /// A read, answered already. It may be handed to the node at once;
    /// [`Store::commit`] passes it on as it is.
    Done(DiskDone),
    /// Something that only [`Store::commit`] can complete. To drop it is to
    /// leave the operation undone.
    Write(Write),
}

/// A write that waits for [`Store::commit`].
#[derive(Debug)]
pub struct Write {
    pub(crate) op: DiskOp,
    pub(crate) step: Step,
}

/// What `prepare` has done for a write.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: all of it is the log's.
    Carry,
    /// The blob is durable under its final name, but in no log yet.
    Placed(#[expect(dead_code, reason = "holds the space until the blob is counted")] Reservation),
    /// The index names a file, but it is not there.
    Gone,
    /// A read met a damaged blob, which this row names.
    DamagedBlob(BlobRow),
    /// A read met damaged records.
    DamagedRecords(Box<DamagedRecords>),
    /// It has failed.
    Failed(DiskError),
}

/// Records that a read has found damaged.
#[derive(Debug)]
pub(crate) struct DamagedRecords {
    /// Their keys, and where they stand.
    pub(crate) found: Vec<([u8; RECORD_KEY], Loc)>,
    /// The read's answer all the same.
    pub(crate) answer: Result<DiskData, DiskError>,
}

impl Prepared {
    pub(crate) fn write(op: DiskOp, step: Step) -> Self {
        Self::Write(Write { op, step })
    }
}

/// Whether a store takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does, where there is space.
    Writable,
    /// A sync failed: it only reads until it is opened again.
    ReadOnly,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blobs, small and large.
    pub blobs: u64,
    /// Claims on blobs.
    pub claims: u64,
    /// Records, all versions counted, those found damaged not.
    pub records: u64,
    /// Debts.
    pub debts: u64,
    /// Bytes that count against the capacity: live entries of the log and
    /// blob files.
    pub live_bytes: u64,
    /// Bytes of the log, dead ones included.
    pub log_bytes: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Damaged entries and files met since the store was opened, the start
    /// included.
    pub damaged: u64,
}

/// What only one thread at a time has: the log's end.
#[derive(Debug)]
pub(crate) struct Writer<F> {
    pub(crate) state: State,
    /// The segment that is written; `None` if the next group begins one.
    pub(crate) active: Option<Arc<Segment<F>>>,
    pub(crate) segments: BTreeMap<u32, SegmentInfo>,
    /// The bytes of the group that is being written.
    pub(crate) buffer: Vec<u8>,
    /// Groups and bytes that the durable index lacks.
    pub(crate) groups_behind: u32,
    pub(crate) bytes_behind: u64,
    /// Whether the reserve is there. Without, only what frees space is done.
    pub(crate) reserve: bool,
    /// Directories in which names were removed since the index was durable.
    pub(crate) unlinked: BTreeSet<String>,
    pub(crate) compaction: Option<Cursor>,
    /// Segments that could not be compacted whole.
    pub(crate) stuck: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SegmentInfo {
    pub(crate) bytes: u64,
    pub(crate) share: Share,
}

/// The bytes in use, and those promised to blobs on their way.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pub(crate) live: AtomicU64,
    reserved: AtomicU64,
    /// The disk had no room for the reserve when it was last tried.
    tight: AtomicBool,
    pub(crate) capacity: Option<u64>,
}

impl Space {
    pub(crate) fn new(capacity: Option<u64>, live: u64) -> Self {
        Self {
            live: AtomicU64::new(live),
            reserved: AtomicU64::new(0),
            tight: AtomicBool::new(false),
            capacity,
        }
    }

    pub(crate) fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    pub(crate) fn tighten(&self, tight: bool) {
        self.tight.store(tight, Ordering::Relaxed);
    }

    /// Whether `more` bytes fit beside `live` ones and those promised.
    pub(crate) fn fits(&self, live: u64, more: u64) -> bool {
        let all = live
            .saturating_add(self.reserved.load(Ordering::Relaxed))
            .saturating_add(more);
        self.capacity.is_none_or(|capacity| all <= capacity)
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let reservation = Reservation {
            space: self.clone(),
            bytes,
        };
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        self.fits(self.live.load(Ordering::Relaxed), 0)
            .then_some(reservation)
    }
}

/// Space promised to a blob, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<V: Vfs> Store<V> {
    /// The layout that the store was made with; the configured one counted
    /// only then.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the start found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether it takes writes.
    pub fn health(&self) -> Health {
        if self.read_only.load(Ordering::Relaxed) {
            Health::ReadOnly
        } else {
            Health::Writable
        }
    }

    /// What it holds, as of the last commit. Waits for one that runs.
    pub fn stats(&self) -> Stats {
        let writer = self.writer();
        let state = &writer.state;
        Stats {
            blobs: state.blobs,
            claims: state.claims,
            records: state.records,
            debts: state.debts,
            live_bytes: state.live(),
            log_bytes: writer.segments.values().map(|info| info.bytes).sum(),
            segments: writer.segments.len() as u64,
            damaged: self.recovery.damaged + self.damaged.load(Ordering::Relaxed),
        }
    }

    /// The file system it lives in.
    pub fn vfs(&self) -> &V {
        &self.vfs
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer<V::File>> {
        // A panic while it was held left the writer as of the last group.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn degrade(&self) {
        self.read_only.store(true, Ordering::Relaxed);
    }
}

impl<V: Vfs> Drop for Store<V> {
    fn drop(&mut self) {
        if self.health() == Health::Writable {
            // What fails here is replayed at the next start.
            let _ = self.flush_index();
        }
    }
}

impl<V: Vfs> fmt::Debug for Store<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("layout", &self.layout)
            .field("health", &self.health())
            .field("recovery", &self.recovery)
            .finish_non_exhaustive()
    }
}
