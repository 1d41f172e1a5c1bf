//! Known bugs, which tests switch on to show that they would be found.
//!
//! Only with the feature `bugs`, which no build but that of such tests has:
//! without it [`on`] is `false` when the program is compiled. The switch is the
//! thread's own, so that tests side by side do not meet, and one thread has one
//! bug at a time. A store that other threads work for, too, has it only in
//! those that have switched it on.

#[cfg(feature = "bugs")]
use std::cell::Cell;

#[cfg(feature = "bugs")]
use peerhold_core::disk::DiskError;

#[cfg(feature = "bugs")]
use crate::read::disk_error;
#[cfg(feature = "bugs")]
use crate::store::Store;
#[cfg(feature = "bugs")]
use crate::vfs::{Vfs, VfsFile, parent};

/// Something that the store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "bugs"),
    expect(
        dead_code,
        unreachable_pub,
        reason = "public, and all of it used, only with the feature"
    )
)]
pub enum Bug {
    /// A blob's file gets its name without having been synced.
    FileUnsynced,
    /// The directory of a blob's name is not synced.
    NameUnsynced,
    /// The directory of a blob's name is synced before the name is in it.
    NameSyncedEarly,
    /// A blob's file is synced when it has its name already.
    FileSyncedLate,
    /// A blob's file gets its name before all of it is written.
    RenamedEarly,
    /// The directory that a new directory stands in is not synced.
    FanOutUnsynced,
    /// A write is complete before its entries have been synced.
    EarlyAck,
    /// A blob's file is removed before its drop is in the log.
    UnlinkedEarly,
    /// The name of a new segment is not synced.
    SegmentUnsynced,
    /// The index is durable before the entries that it names.
    IndexFirst,
    /// What a crash has left behind a gap stays there.
    GapKept,
    /// Compaction forgets drops that older segments still need.
    TombstoneForgotten,
    /// A sync that has failed is tried again, and believed.
    SyncRetried,
    /// What was not written whole stays in the log.
    Uncut,
    /// A start believes that what it reads of the last group is durable.
    LastGroupTrusted,
    /// In the middle of a replay, the index does not say how far it has come.
    ReplayUntold,
    /// What the index did not take is said to have failed, and is in the log.
    FailedYetThere,
}

#[cfg(feature = "bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::FileUnsynced,
        Self::NameUnsynced,
        Self::NameSyncedEarly,
        Self::FileSyncedLate,
        Self::RenamedEarly,
        Self::FanOutUnsynced,
        Self::EarlyAck,
        Self::UnlinkedEarly,
        Self::SegmentUnsynced,
        Self::IndexFirst,
        Self::GapKept,
        Self::TombstoneForgotten,
        Self::SyncRetried,
        Self::Uncut,
        Self::LastGroupTrusted,
        Self::ReplayUntold,
        Self::FailedYetThere,
    ];
}

#[cfg(feature = "bugs")]
std::thread_local! {
    static ON: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// From now on, all stores have this bug where this thread works for them.
#[cfg(feature = "bugs")]
pub fn set(bug: Option<Bug>) {
    ON.set(bug);
}

/// Whether this bug is to be had.
#[cfg(feature = "bugs")]
pub(crate) fn on(bug: Bug) -> bool {
    ON.get() == Some(bug)
}

/// Whether this bug is to be had: never.
#[cfg(not(feature = "bugs"))]
pub(crate) const fn on(_: Bug) -> bool {
    false
}

/// The wrong way to write a blob's file, if one is switched on.
#[cfg(feature = "bugs")]
pub(crate) fn write_blob<V: Vfs>(
    store: &Store<V>,
    tmp: &str,
    path: &str,
    bytes: &[u8],
) -> Option<Result<(), DiskError>> {
    enum Do {
        Half,
        Rest,
        Sync,
        Rename,
        SyncName,
    }
    use Do::{Half, Rename, Rest, Sync, SyncName};
    let order = match ON.get()? {
        Bug::FileUnsynced => vec![Half, Rest, Rename, SyncName],
        Bug::NameUnsynced => vec![Half, Rest, Sync, Rename],
        Bug::NameSyncedEarly => vec![Half, Rest, Sync, SyncName, Rename],
        Bug::FileSyncedLate => vec![Half, Rest, Rename, Sync, SyncName],
        Bug::RenamedEarly => vec![Half, Rename, Rest, Sync, SyncName],
        _ => return None,
    };
    let half = bytes.len() / 2;
    let write = || {
        let file = store.vfs.create_new(tmp)?;
        for step in order {
            match step {
                Half => file.write_at(&bytes[..half], 0)?,
                Rest => file.write_at(&bytes[half..], half as u64)?,
                Sync => file.sync()?,
                Rename => store.vfs.rename(tmp, path)?,
                SyncName => store.vfs.sync_dir(parent(path))?,
            }
        }
        Ok(())
    };
    Some(write().map_err(|error| disk_error(&error)))
}
