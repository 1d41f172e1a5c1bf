//! On the operating system's files. Whoever runs these may be root, to whom no
//! permission is denied; so they look at modes, not at refusals.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::support::*;
use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::id::BlobId;
use peerhold_core::path::Layout;
use peerhold_store::vfs::{OsVfs, Vfs};
use peerhold_store::{OpenError, Store};
use tempfile::tempdir;

fn open_dir(root: &Path) -> Store<OsVfs> {
    Store::open_dir(root, config()).expect("the store opens")
}

fn path(root: &Path, id: &BlobId) -> std::path::PathBuf {
    root.join("blobs").join(Layout::Flat.path(id).as_str())
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let dir = tempdir().unwrap();
    let root = dir.path().join("made/with/parents");
    let (small, large) = (bytes(1, 300), bytes(2, 300_000));
    let store = open_dir(&root);
    for done in run(&store, vec![put_blob(&small, 1), put_blob(&large, 1)]) {
        assert_eq!(done, Ok(DiskData::Done));
    }
    one(&store, DiskKind::PutRecord(record(1, 1, 100))).unwrap();
    drop(store);
    let store = open_dir(&root);
    assert_eq!(store.recovery().replayed, 0);
    for blob in [&small, &large] {
        assert_eq!(get(&store, BlobId::of(blob)).as_ref(), Ok(blob));
    }
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 1, 100))));
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let dir = tempdir().unwrap();
    let store = open_dir(dir.path());
    let second = Store::open_dir(dir.path(), config()).map(drop);
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    drop(store);
    open_dir(dir.path());
}

#[test]
fn files_and_directories_are_their_owners_alone() {
    let dir = tempdir().unwrap();
    let root = dir.path().join("store");
    let store = open_dir(&root);
    one(&store, put_blob(&bytes(1, 5000), 1)).unwrap();
    one(&store, put_blob(&bytes(2, 50), 1)).unwrap();
    let mut todo = vec![root];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let expected = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            meta.permissions().mode() & 0o777,
            expected,
            "{}",
            path.display()
        );
        if meta.is_dir() {
            todo.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// Puts something else where a blob is, and reads it.
fn instead(make: impl Fn(&Path)) {
    let dir = tempdir().unwrap();
    let store = open_dir(dir.path());
    let blob = bytes(1, 5000);
    let id = BlobId::of(&blob);
    one(&store, put_blob(&blob, 1)).unwrap();
    let path = path(dir.path(), &id);
    std::fs::remove_file(&path).unwrap();
    make(&path);
    let claimed = one(&store, DiskKind::Claim(claim(&blob, 2)));
    assert_eq!(claimed, Ok(DiskData::Claimed { held: false }));
    assert_eq!(get(&store, id), Err(DiskError::Corrupt));
    assert_eq!(get(&store, id), Err(DiskError::NotFound));
    one(&store, put_blob(&blob, 1)).unwrap();
    assert_eq!(get(&store, id), Ok(blob));
    assert!(path.symlink_metadata().unwrap().is_file());
}

#[test]
fn a_link_where_a_blob_should_be_is_not_followed() {
    let elsewhere = tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    // Even one that leads to the right bytes.
    std::fs::write(&secret, bytes(1, 5000)).unwrap();
    instead(|path| symlink(&secret, path).unwrap());
    assert_eq!(
        std::fs::read(&secret).unwrap(),
        bytes(1, 5000),
        "and what it names is left alone"
    );
}

#[test]
fn a_pipe_where_a_blob_should_be_does_not_hang_the_store() {
    let dir = tempdir().unwrap();
    if pipe(&dir.path().join("pipe")) {
        instead(|path| assert!(pipe(path)));
    } else {
        eprintln!("a pipe where a blob should be: not run, as pipes cannot be made here");
    }
}

#[test]
fn a_directory_where_a_blob_should_be_is_damage() {
    instead(|path| std::fs::create_dir(path).unwrap());
}

#[test]
fn a_linked_directory_among_the_blobs_is_not_entered() {
    let (dir, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let store = open_dir(dir.path());
    let blob = bytes(1, 5000);
    let parent = path(dir.path(), &BlobId::of(&blob))
        .parent()
        .unwrap()
        .to_owned();
    symlink(elsewhere.path(), &parent).unwrap();
    assert!(matches!(
        one(&store, put_blob(&blob, 1)),
        Err(DiskError::Io(_))
    ));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_file_is_no_store() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let refused = Store::open_dir(&file, config()).map(drop);
    assert!(
        matches!(refused, Err(OpenError::NotADirectory(_))),
        "{refused:?}"
    );
    drop(open_dir(&dir.path().join("store")));
    std::fs::remove_dir(dir.path().join("store/tmp")).unwrap();
    std::fs::write(dir.path().join("store/tmp"), b"x").unwrap();
    let refused = Store::open_dir(dir.path().join("store"), config()).map(drop);
    assert!(
        matches!(refused, Err(OpenError::NotADirectory(_))),
        "{refused:?}"
    );
}

#[test]
fn a_removed_file_can_be_read_while_it_is_open() {
    use peerhold_store::vfs::VfsFile;

    let dir = tempdir().unwrap();
    let vfs = OsVfs::new(dir.path()).unwrap();
    let file = vfs.create_new("a").unwrap();
    VfsFile::write_at(&file, b"bytes", 0).unwrap();
    vfs.remove("a").unwrap();
    let mut read = [0; 9];
    assert_eq!(VfsFile::read_at(&file, &mut read, 0).unwrap(), 5);
    assert_eq!(&read[..5], b"bytes");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}
