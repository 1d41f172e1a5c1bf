//! Something else where a blob should be: the bad-input catalogue's row of
//! paths on disk. Whoever runs these may be root, to whom no permission is
//! denied; a case that cannot be made says so by name.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
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
        made = device(path);
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

#[test]
fn a_linked_directory_among_the_blobs_is_not_read_through() {
    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let theirs = elsewhere.path().join("theirs");
    let store = harmed(dir.path(), |path| {
        let among = path.parent().unwrap();
        // Even to the right bytes under the right name.
        fs::rename(among, &theirs).unwrap();
        symlink(&theirs, among).unwrap();
    });
    let id = BlobId::of(&blob());
    let claimed = one(&store, DiskKind::Claim(claim(&blob(), 2)));
    assert_eq!(claimed, Ok(DiskData::Claimed { held: false }));
    assert_eq!(get(&store, id), Err(DiskError::Corrupt));
    assert_eq!(get(&store, id), Err(DiskError::NotFound));
    assert!(one(&store, put_blob(&blob(), 1)).is_err());
    let file = theirs.join(path(dir.path()).file_name().unwrap());
    assert_eq!(fs::read(file).unwrap(), blob(), "and left alone");
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 1);
}

/// A tree whose directory `a` turns into a link to another one and back all the
/// while that `run` does its work with it.
#[cfg(target_os = "linux")]
fn swapped_all_the_while(run: impl FnOnce(&OsVfs, &Path)) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let vfs = OsVfs::new(dir.path()).unwrap();
    let [a, link] = ["a", "link"].map(|name| dir.path().join(name));
    fs::create_dir(&a).unwrap();
    symlink(elsewhere.path(), &link).unwrap();
    let swap = || renameat_with(CWD, &a, CWD, &link, RenameFlags::EXCHANGE);
    if swap().and_then(|()| swap()).is_err() {
        eprintln!("a directory that is swapped: not run, as there is no swapping here");
        return;
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                swap().unwrap();
            }
        });
        // However it ends: else the other thread would go on.
        let _end = End(&ended);
        run(&vfs, elsewhere.path());
    });
}

#[cfg(target_os = "linux")]
struct End<'a>(&'a AtomicBool);

#[cfg(target_os = "linux")]
impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something in a directory that is swapped, until it was met often as a
/// directory and as a link.
#[cfg(target_os = "linux")]
fn met_often(mut done: impl FnMut(usize) -> bool) {
    let mut met = [0; 2];
    for count in 0.. {
        met[usize::from(done(count))] += 1;
        if met.iter().all(|met| *met >= 2000) {
            return;
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_directory_that_is_swapped_for_a_link_at_any_moment_is_not_followed() {
    swapped_all_the_while(|vfs, elsewhere| {
        // While it is a link, there is no such directory.
        while vfs.create_new("a/ours").is_err() {}
        for name in ["ours", "theirs"] {
            fs::write(elsewhere.join(name), b"secret").unwrap();
        }
        met_often(|_| match vfs.open("a/ours") {
            Ok(file) => {
                assert_eq!(file.metadata().unwrap().len(), 0, "it was followed");
                true
            }
            Err(_) => false,
        });
        met_often(|_| {
            let kind = vfs.kind("a/ours");
            assert!(!matches!(kind, Ok(Some(Kind::File(6)))), "looked at");
            kind.is_ok()
        });
        met_often(|count| vfs.create_new(&format!("a/{count}")).is_ok());
        vfs.create_new("mine").unwrap();
        met_often(|_| {
            let moved = vfs.rename("mine", "a/moved").is_ok();
            assert!(!moved || elsewhere.join("moved").symlink_metadata().is_err());
            if moved {
                while vfs.rename("a/moved", "mine").is_err() {}
            }
            moved
        });
        met_often(|_| {
            assert!(vfs.remove("a/theirs").is_err());
            vfs.sync_dir("a").is_ok()
        });
        let mut left: Vec<_> = fs::read_dir(elsewhere).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
        left.clear();
    });
}
