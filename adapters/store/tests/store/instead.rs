//! Something else where a blob should be: the bad-input catalogue's row of
//! paths on disk. Whoever runs these may be root, to whom no permission is
//! denied; a case that cannot be made says so by name.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{fmt, fs, io};

use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::id::BlobId;
use peerhold_core::path::Layout;
use peerhold_store::Store;
use peerhold_store::vfs::{Kind, OsLock, OsVfs, Vfs};
use tempfile::tempdir;

use crate::support::*;

fn blob() -> Bytes {
    bytes(1, 5000)
}

fn path(root: &Path) -> PathBuf {
    let path = Layout::Flat.path(&BlobId::of(&blob()));
    root.join("blobs").join(path.as_str())
}

/// A store that has the blob, after this was done to its file.
fn harmed(root: &Path, harm: impl FnOnce(&Path)) -> Store<OsVfs> {
    let store = Store::open_dir(root, config()).expect("the store opens");
    one(&store, put_blob(&blob(), 1)).unwrap();
    harm(&path(root));
    store
}

/// It is told once that the blob is damaged, it is not served, and it can be
/// put again.
fn is_damage_and_mended(store: &Store<OsVfs>, root: &Path) {
    let id = BlobId::of(&blob());
    assert_eq!(get(store, id), Err(DiskError::Corrupt));
    assert_eq!(get(store, id), Err(DiskError::NotFound));
    one(store, put_blob(&blob(), 1)).unwrap();
    assert_eq!(get(store, id), Ok(blob()));
    assert!(path(root).symlink_metadata().unwrap().is_file());
}

#[test]
fn a_device_where_a_blob_should_be_is_neither_read_nor_written() {
    let dir = tempdir().unwrap();
    let mut made = false;
    let store = harmed(dir.path(), |path| {
        fs::remove_file(path).unwrap();
        // /dev/full: whoever writes to it is told so.
        let args = ["c", "1", "7"];
        let status = Command::new("mknod").arg(path).args(args).status();
        made = status.is_ok_and(|status| status.success());
    });
    if !made {
        eprintln!("a device where a blob should be: not run, as devices cannot be made here");
        return;
    }
    is_damage_and_mended(&store, dir.path());
}

#[test]
fn a_socket_where_a_blob_should_be_is_damage() {
    let dir = tempdir().unwrap();
    let mut bound = None;
    let store = harmed(dir.path(), |path| {
        fs::remove_file(path).unwrap();
        // Its own path may be too long for a socket's address.
        let short = dir.path().join("s");
        bound = Some(std::os::unix::net::UnixListener::bind(&short).unwrap());
        fs::rename(short, path).unwrap();
    });
    is_damage_and_mended(&store, dir.path());
    drop(bound);
}

#[test]
fn a_blob_that_may_not_be_read_is_an_error_and_served_once_it_may() {
    let dir = tempdir().unwrap();
    let id = BlobId::of(&blob());
    let store = harmed(dir.path(), |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    });
    let denied = fs::File::open(path(dir.path())).is_err();
    let got = get(&store, id);
    if denied {
        // Not damage: nothing is wrong with the bytes.
        assert!(matches!(got, Err(DiskError::Io(_))), "{got:?}");
    } else {
        eprintln!("a blob of mode 000: the refusal was not run, as nothing is denied to root");
        assert_eq!(got, Ok(blob()));
    }
    fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(get(&store, id), Ok(blob()));
}

#[test]
fn a_hard_link_to_the_right_bytes_is_served_and_forgotten_alone() {
    let dir = tempdir().unwrap();
    let other = dir.path().join("other");
    let store = harmed(dir.path(), |path| {
        fs::write(&other, blob()).unwrap();
        fs::remove_file(path).unwrap();
        fs::hard_link(&other, path).unwrap();
    });
    let id = BlobId::of(&blob());
    assert_eq!(get(&store, id), Ok(blob()));
    one(&store, DiskKind::ForgetBlob(id)).unwrap();
    assert_eq!(get(&store, id), Err(DiskError::NotFound));
    assert_eq!(fs::read(&other).unwrap(), blob());
    assert_eq!(other.metadata().unwrap().nlink(), 1);
}

#[test]
fn a_hard_link_to_other_bytes_is_damage_and_they_stay_as_they_are() {
    let dir = tempdir().unwrap();
    let (other, theirs) = (dir.path().join("other"), bytes(2, 5000));
    let store = harmed(dir.path(), |path| {
        fs::write(&other, &theirs).unwrap();
        fs::remove_file(path).unwrap();
        fs::hard_link(&other, path).unwrap();
    });
    is_damage_and_mended(&store, dir.path());
    assert_eq!(fs::read(&other).unwrap(), theirs);
}

/// Does something between the look at a path and its opening.
struct Swapping {
    inner: OsVfs,
    swap: Mutex<Option<Swap>>,
}

type Swap = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Swapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Swapping")
    }
}

impl Vfs for Swapping {
    type File = fs::File;
    type Lock = OsLock;

    fn create_new(&self, path: &str) -> io::Result<fs::File> {
        self.inner.create_new(path)
    }

    fn open(&self, path: &str) -> io::Result<fs::File> {
        self.inner.open(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let kind = self.inner.kind(path);
        if path.starts_with("blobs/")
            && let Some(swap) = self.swap.lock().unwrap().take()
        {
            swap();
        }
        kind
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<OsLock>> {
        self.inner.try_lock(path)
    }
}

#[test]
fn a_file_that_is_swapped_for_a_link_between_look_and_opening_is_not_followed() {
    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    drop(harmed(dir.path(), |_| {}));
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, blob()).unwrap();
    let (file, target) = (path(dir.path()), secret.clone());
    let swap = move || {
        fs::remove_file(&file).unwrap();
        symlink(&target, &file).unwrap();
    };
    let store = open(Swapping {
        inner: OsVfs::new(dir.path()).unwrap(),
        swap: Mutex::new(Some(Box::new(swap))),
    });
    let id = BlobId::of(&blob());
    // The claim looks at the file, which is there; then it is no more.
    let claimed = one(&store, DiskKind::Claim(claim(&blob(), 2)));
    assert_eq!(claimed, Ok(DiskData::Claimed { held: true }));
    assert!(store.vfs().swap.lock().unwrap().is_none(), "it was swapped");
    assert_eq!(get(&store, id), Err(DiskError::Corrupt));
    assert_eq!(fs::read(&secret).unwrap(), blob(), "and left alone");
}
