//! Old segments are rewritten and removed.

use crate::support::*;
use peerhold_core::disk::{DiskError, DiskKind, DiskOp};
use peerhold_core::id::BlobId;
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
use peerhold_store::{Prepared, Store};

/// Runs idle commits until nothing changes.
fn settle<V: Vfs>(store: &Store<V>) {
    for _ in 0..500 {
        let _ = store.commit(Vec::new());
    }
}

#[test]
fn dead_segments_go_and_live_entries_stay() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    for n in 0..100 {
        one(&store, put_blob(&bytes(n, 400), 1)).unwrap();
    }
    one(&store, DiskKind::PutMembers(bytes(5, 50))).unwrap();
    for n in (0..100).filter(|n| n % 5 != 0) {
        one(&store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
    }
    settle(&store);
    let stats = store.stats();
    assert!(stats.log_bytes < 4 * stats.live_bytes, "{stats:?}");
    let files = vfs
        .files()
        .iter()
        .filter(|path| path.starts_with("log/"))
        .count() as u64;
    assert_eq!(files, stats.segments);
    let rebuilt = vfs.snapshot();
    rebuilt.remove("index.redb").unwrap();
    drop(store);
    for vfs in [vfs, rebuilt] {
        let store = open(vfs);
        assert_eq!((store.stats().blobs, store.stats().claims), (20, 20));
        assert_eq!(store.stats().live_bytes, stats.live_bytes);
        assert_eq!(store.recovery().damaged, 0);
        for n in 0..100 {
            let blob = bytes(n, 400);
            let expected = if n % 5 == 0 {
                Ok(blob.clone())
            } else {
                Err(DiskError::NotFound)
            };
            assert_eq!(get(&store, BlobId::of(&blob)), expected, "{n}");
        }
        assert_eq!(load(&store).members, Some(bytes(5, 50)));
    }
}

#[test]
fn one_commit_compacts_no_more_than_its_budget() {
    let mut config = config();
    config.compact_bytes = 1024;
    let vfs = MemVfs::new();
    let store = Store::open(vfs, config).unwrap();
    for n in 0..60 {
        one(&store, put_blob(&bytes(n, 400), 1)).unwrap();
    }
    for n in (0..60).filter(|n| n % 4 != 0) {
        one(&store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
    }
    for _ in 0..200 {
        let before = store.stats().log_bytes;
        let _ = store.commit(Vec::new());
        let grown = store.stats().log_bytes.saturating_sub(before);
        assert!(grown <= 1024 + 600, "{grown}");
    }
}

#[test]
fn a_tombstone_outlives_its_segment_while_an_older_one_sets_its_key() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let gone = bytes(1, 300);
    // The oldest segment stays: all but one of its blobs are live.
    one(&store, put_blob(&gone, 1)).unwrap();
    for n in 10..16 {
        one(&store, put_blob(&bytes(n, 500), 1)).unwrap();
    }
    // The next one holds the drop and soon nothing else.
    for n in 100..140 {
        one(&store, put_blob(&bytes(n, 500), 1)).unwrap();
        if n == 110 {
            one(&store, DiskKind::ForgetBlob(BlobId::of(&gone))).unwrap();
        }
    }
    for n in 100..140 {
        one(&store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 500)))).unwrap();
    }
    settle(&store);
    let files = vfs.files();
    assert!(files.contains(&"log/00000001.seg".to_owned()), "{files:?}");
    assert!(!files.contains(&"log/00000003.seg".to_owned()), "{files:?}");
    let rebuilt = vfs.snapshot();
    rebuilt.remove("index.redb").unwrap();
    let store = open(rebuilt);
    assert_eq!(get(&store, BlobId::of(&gone)), Err(DiskError::NotFound));
    assert_eq!((store.stats().blobs, store.stats().claims), (6, 6));
}

#[test]
fn that_a_record_is_damaged_outlives_the_segments_that_say_so() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    for n in [1, 2] {
        one(&store, DiskKind::PutRecord(record(1, n, 200))).unwrap();
    }
    let file = vfs.open("log/00000001.seg").unwrap();
    let at = file.len().unwrap() - 20;
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 1], at).unwrap();
    assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
    for n in 0..60 {
        one(&store, put_blob(&bytes(n, 400), 1)).unwrap();
        one(&store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
    }
    settle(&store);
    let files = vfs.files();
    assert!(!files.contains(&"log/00000001.seg".to_owned()), "{files:?}");
    let rebuilt = vfs.snapshot();
    rebuilt.remove("index.redb").unwrap();
    for store in [store, open(rebuilt)] {
        assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
        assert_eq!(store.stats().records, 1);
    }
}

#[test]
fn a_store_at_rest_stops_compacting() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    for n in 0..60 {
        one(&store, put_blob(&bytes(n, 400), 1)).unwrap();
        one(&store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
    }
    settle(&store);
    let files = vfs.files();
    let stats = store.stats();
    settle(&store);
    assert_eq!((vfs.files(), store.stats()), (files, stats));
}

#[test]
fn reads_go_on_while_their_segments_are_removed() {
    let store = open(MemVfs::new());
    for n in 0..200 {
        one(&store, put_blob(&bytes(n, 400), 1)).unwrap();
    }
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for n in (0..200).filter(|n| n % 10 != 0) {
                one(store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
            }
            settle(store);
        });
        for _ in 0..3 {
            scope.spawn(move || {
                for n in (0..20_000).map(|n| n % 20 * 10) {
                    let id = BlobId::of(&bytes(n, 400));
                    let read = store.prepare(DiskOp::detached(DiskKind::GetBlob(id)));
                    let Prepared::Done(done) = read else {
                        panic!("damaged: {n}")
                    };
                    assert!(done.result().is_ok(), "{done:?}");
                }
            });
        }
    });
    assert!(store.stats().segments < 40);
}
