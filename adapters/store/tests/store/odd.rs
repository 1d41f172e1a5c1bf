//! Something else where one of the store's own files should be: the bad-input
//! catalogue's row of paths on disk. The store neither hangs nor follows it, and
//! says which file it is. Whoever runs these may be root, to whom no permission is
//! denied; a case that cannot be made says so by name.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use peerhold_core::NodeId;
use peerhold_core::id::BlobId;
use peerhold_store::vfs::OsVfs;
use peerhold_store::{OpenError, Store};
use tempfile::tempdir;

use crate::support::*;

const A: NodeId = NodeId([0xa1; 32]);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    /// To the very file, elsewhere.
    Link,
    Dangling,
    Pipe,
    Device,
    Directory,
    /// May be neither read nor written.
    Denied,
}

const ALL: [Odd; 6] = [
    Odd::Link,
    Odd::Dangling,
    Odd::Pipe,
    Odd::Device,
    Odd::Directory,
    Odd::Denied,
];

impl Odd {
    /// Stands where the file was, which is at `kept` now; says whether it can
    /// here.
    fn make(self, path: &Path, kept: &Path) -> bool {
        match self {
            Self::Link => symlink(kept, path).is_ok(),
            Self::Dangling => symlink("no/such/file", path).is_ok(),
            Self::Pipe => pipe(path),
            Self::Device => device(path),
            Self::Directory => fs::create_dir(path).is_ok(),
            Self::Denied => {
                fs::copy(kept, path).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
                fs::File::open(path).is_err()
            }
        }
    }
}

fn opened(root: &Path) -> Result<Store<OsVfs>, OpenError> {
    let store = Store::open_dir(root, config())?;
    store.owner()?;
    Ok(store)
}

fn is_whole(store: &Store<OsVfs>) {
    assert_eq!(store.owner().unwrap(), Some(A));
    for (seed, len) in [(1, 300), (2, 3000)] {
        let blob = bytes(seed, len);
        assert_eq!(get(store, BlobId::of(&blob)).as_ref(), Ok(&blob));
    }
    assert_eq!(newest(store, key(1)), Ok(Some(record(1, 1, 100))));
}

/// A store one file of which is replaced, by everything in turn; and what
/// `found` there is to find then.
fn replaced(name: &str, found: impl Fn(Odd, Result<Store<OsVfs>, OpenError>)) {
    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let store = opened(dir.path()).unwrap();
    store.claim(A).unwrap();
    load(&store);
    for (seed, len) in [(1, 300), (2, 3000)] {
        one(&store, put_blob(&bytes(seed, len), 1)).unwrap();
    }
    one(&store, record_put()).unwrap();
    drop(store);
    let (path, kept) = (dir.path().join(name), elsewhere.path().join("kept"));
    for odd in ALL {
        fs::rename(&path, &kept).unwrap();
        let bytes = fs::read(&kept).unwrap();
        if odd.make(&path, &kept) {
            found(odd, opened(dir.path()));
        } else {
            eprintln!("{odd:?} instead of {name}: not run, as it cannot be made here");
        }
        assert!(fs::read(&kept).unwrap() == bytes, "{odd:?} was followed");
        // What the store has made in its place is as good.
        let is_file = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
        if !is_file || odd == Odd::Denied {
            // There may be nothing, if it could not be made.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            fs::rename(&kept, &path).unwrap();
        }
        is_whole(&opened(dir.path()).unwrap());
    }
}

fn record_put() -> peerhold_core::disk::DiskKind {
    peerhold_core::disk::DiskKind::PutRecord(record(1, 1, 100))
}

/// A file without which there is no start.
fn is_refused_by_name(name: &str) {
    replaced(name, |odd, opened| {
        let said = opened.expect_err("it is refused").to_string();
        assert!(said.contains(name), "{odd:?}: {said}");
    });
}

#[test]
fn a_format_that_is_no_file_is_refused_by_name() {
    is_refused_by_name("FORMAT");
}

#[test]
fn an_owner_that_is_no_file_is_refused_by_name() {
    is_refused_by_name("OWNER");
}

#[test]
fn a_lock_that_is_no_file_is_refused_by_name() {
    is_refused_by_name("lock");
}

#[test]
fn a_segment_that_is_no_file_is_refused_by_name() {
    is_refused_by_name("log/00000001.seg");
}

#[test]
fn an_index_that_is_no_file_is_made_anew_or_refused_by_name() {
    const NAME: &str = "index.redb";
    replaced(NAME, |odd, opened| match opened {
        Ok(store) => {
            assert!(store.recovery().index_rebuilt, "{odd:?}");
            is_whole(&store);
        }
        // What may be in a directory, or may not be opened, is nobody's to remove.
        Err(error) => {
            let said = error.to_string();
            assert!(
                matches!(odd, Odd::Directory | Odd::Denied),
                "{odd:?}: {said}"
            );
            assert!(said.contains(NAME), "{said}");
        }
    });
}
