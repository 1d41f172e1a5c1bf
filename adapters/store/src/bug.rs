//! The wrong ways to write a blob's file, which tests switch on.
//!
//! The switch is the core's ([`peerhold_core::bug`]): there is one for all.

pub(crate) use peerhold_core::bug::{Bug, on};

#[cfg(feature = "bugs")]
use peerhold_core::disk::DiskError;

#[cfg(feature = "bugs")]
use crate::read::disk_error;
#[cfg(feature = "bugs")]
use crate::store::Store;
#[cfg(feature = "bugs")]
use crate::vfs::{Vfs, VfsFile, parent};

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
    let wrong = [
        (Bug::FileUnsynced, vec![Half, Rest, Rename, SyncName]),
        (Bug::NameUnsynced, vec![Half, Rest, Sync, Rename]),
        (
            Bug::NameSyncedEarly,
            vec![Half, Rest, Sync, SyncName, Rename],
        ),
        (
            Bug::FileSyncedLate,
            vec![Half, Rest, Rename, Sync, SyncName],
        ),
        (Bug::RenamedEarly, vec![Half, Rename, Rest, Sync, SyncName]),
    ];
    let (_, order) = wrong.into_iter().find(|(bug, _)| on(*bug))?;
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
