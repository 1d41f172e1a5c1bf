//! What each operation does.

use crate::support::*;
use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskError, DiskKind, DiskOp, Part};
use peerhold_core::id::BlobId;
use peerhold_core::path::Layout;
use peerhold_store::vfs::{MemVfs, Vfs};
use peerhold_store::{OpenError, Prepared, Store, StoreConfig};

#[test]
fn a_new_store_counts_its_starts_and_holds_nothing() {
    let vfs = MemVfs::new();
    let first = load(&open(vfs.clone()));
    assert_eq!(
        (first.starts, first.members, first.blobs, first.records),
        (1, None, 0, 0)
    );
    assert_eq!(load(&open(vfs)).starts, 2);
}

#[test]
fn blobs_of_every_size_come_back() {
    let vfs = MemVfs::new();
    let blobs: Vec<Bytes> = [0, 1, 511, 512, 513, 70_000]
        .iter()
        .map(|n| bytes(1, *n))
        .collect();
    let store = open(vfs.clone());
    for done in run(&store, blobs.iter().map(|blob| put_blob(blob, 1)).collect()) {
        assert_eq!(done, Ok(DiskData::Done));
    }
    drop(store);
    let store = open(vfs);
    for blob in &blobs {
        assert_eq!(get(&store, BlobId::of(blob)).as_ref(), Ok(blob));
    }
    assert_eq!((store.stats().blobs, store.stats().claims), (6, 6));
}

#[test]
fn a_blob_that_is_not_there_is_not_found() {
    assert_eq!(
        get(&open(MemVfs::new()), BlobId([5; 32])),
        Err(DiskError::NotFound)
    );
}

#[test]
fn a_large_blob_stands_at_its_path_in_either_layout() {
    for layout in Layout::ALL {
        let vfs = MemVfs::new();
        let mut config = config();
        config.layout = layout;
        let store = Store::open(vfs.clone(), config).unwrap();
        let blob = bytes(9, 5000);
        assert_eq!(one(&store, put_blob(&blob, 1)), Ok(DiskData::Done));
        let path = format!("blobs/{}", layout.path(&BlobId::of(&blob)));
        assert!(vfs.files().contains(&path), "{path} in {:?}", vfs.files());
        drop(store);
        // Opened with the other default, it keeps its own.
        let store = open(vfs);
        assert_eq!(store.layout(), layout);
        assert_eq!(get(&store, BlobId::of(&blob)), Ok(blob));
    }
}

#[test]
fn a_blob_put_twice_is_kept_once_with_both_claims() {
    for len in [100, 5000] {
        let store = open(MemVfs::new());
        let blob = bytes(2, len);
        one(&store, put_blob(&blob, 1)).unwrap();
        let live = store.stats().live_bytes;
        one(&store, put_blob(&blob, 1)).unwrap();
        assert_eq!(
            store.stats().live_bytes,
            live,
            "the same put again writes nothing"
        );
        one(&store, put_blob(&blob, 2)).unwrap();
        assert_eq!((store.stats().blobs, store.stats().claims), (1, 2));
        assert!(store.stats().live_bytes < live + 256);
    }
}

#[test]
fn a_large_blob_whose_file_has_vanished_is_put_anew() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let blob = bytes(3, 5000);
    one(&store, put_blob(&blob, 1)).unwrap();
    let path = vfs
        .files()
        .into_iter()
        .find(|path| path.starts_with("blobs/"))
        .unwrap();
    peerhold_store::vfs::Vfs::remove(&vfs, &path).unwrap();
    let held = one(&store, DiskKind::Claim(claim(&blob, 2)));
    assert_eq!(
        held,
        Ok(DiskData::Claimed { held: false }),
        "no claim on what is not there"
    );
    one(&store, put_blob(&blob, 2)).unwrap();
    assert_eq!(get(&store, BlobId::of(&blob)), Ok(blob));
}

#[test]
fn a_claim_holds_only_where_the_blob_is_held() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let blob = bytes(4, 300);
    let before = store.stats();
    let claimed = one(&store, DiskKind::Claim(claim(&blob, 1)));
    assert_eq!(claimed, Ok(DiskData::Claimed { held: false }));
    assert_eq!(store.stats().claims, before.claims, "nothing written");
    one(&store, put_blob(&blob, 1)).unwrap();
    let claimed = one(&store, DiskKind::Claim(claim(&blob, 2)));
    assert_eq!(claimed, Ok(DiskData::Claimed { held: true }));
    drop(store);
    assert_eq!(open(vfs).stats().claims, 2);
}

#[test]
fn a_forgotten_blob_is_gone_with_its_claims_and_its_file() {
    for len in [100, 5000] {
        let vfs = MemVfs::new();
        let store = open(vfs.clone());
        let blob = bytes(5, len);
        let id = BlobId::of(&blob);
        one(&store, put_blob(&blob, 1)).unwrap();
        one(&store, DiskKind::Claim(claim(&blob, 2))).unwrap();
        assert_eq!(one(&store, DiskKind::ForgetBlob(id)), Ok(DiskData::Done));
        assert_eq!(
            one(&store, DiskKind::ForgetBlob(id)),
            Ok(DiskData::Done),
            "again is done too"
        );
        assert_eq!(get(&store, id), Err(DiskError::NotFound));
        assert!(!vfs.files().iter().any(|path| path.starts_with("blobs/")));
        drop(store);
        let stats = open(vfs).stats();
        assert_eq!((stats.blobs, stats.claims), (0, 0));
    }
}

#[test]
fn the_newest_record_is_read_whatever_the_order_of_arrival() {
    let store = open(MemVfs::new());
    for n in [5, 9, 7] {
        one(&store, DiskKind::PutRecord(record(1, n, 40))).unwrap();
    }
    one(&store, DiskKind::PutRecord(record(2, 100, 40))).unwrap();
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 9, 40))));
    assert_eq!(newest(&store, key(3)), Ok(None));
    assert_eq!(store.stats().records, 4, "history is kept");
}

#[test]
fn records_of_equal_version_are_ordered_by_their_heads_hash() {
    let store = open(MemVfs::new());
    let (mut a, mut b) = (record(1, 5, 10), record(1, 5, 20));
    (a.head, b.head) = (bytes(71, 100), bytes(72, 100));
    a.head_hash = *blake3::hash(&a.head).as_bytes();
    b.head_hash = *blake3::hash(&b.head).as_bytes();
    let last = if a.head_hash > b.head_hash {
        a.clone()
    } else {
        b.clone()
    };
    run(&store, vec![DiskKind::PutRecord(a), DiskKind::PutRecord(b)]);
    assert_eq!(newest(&store, key(1)), Ok(Some(last)));
}

#[test]
fn the_same_record_again_writes_nothing() {
    let store = open(MemVfs::new());
    let twice = vec![
        DiskKind::PutRecord(record(1, 5, 10)),
        DiskKind::PutRecord(record(1, 5, 10)),
    ];
    assert_eq!(
        run(&store, twice),
        vec![Ok(DiskData::Done), Ok(DiskData::Done)]
    );
    assert_eq!(store.stats().records, 1);
}

#[test]
fn a_record_is_read_in_parts() {
    let store = open(MemVfs::new());
    let whole = record(1, 5, 300);
    one(&store, DiskKind::PutRecord(whole.clone())).unwrap();
    for (part, meta, content) in [
        (Part::Head, 0, 0),
        (Part::Meta, 50, 0),
        (Part::All, 50, 300),
    ] {
        let read = one(
            &store,
            DiskKind::GetRecord {
                key: key(1),
                at: None,
                part,
            },
        );
        let Ok(DiskData::Record(Some(read))) = read else {
            panic!("{read:?}")
        };
        assert_eq!((read.meta.len(), read.content.len()), (meta, content));
        assert_eq!(
            (read.head, read.head_hash),
            (whole.head.clone(), whole.head_hash)
        );
    }
}

#[test]
fn what_was_seen_survives_a_restart_and_the_loss_of_the_index() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let batch = vec![
        note(seen(1, 7), 9),
        note(seen(2, 3), 9),
        note(seen(1, 5), 9),
        note(seen(3, 4), 2),
    ];
    assert!(
        run(&store, batch)
            .iter()
            .all(|done| *done == Ok(DiskData::Done))
    );
    drop(store);
    let expected = vec![seen(1, 5), seen(3, 4)];
    assert_eq!(load(&open(vfs.clone())).seen, expected);
    vfs.remove("index.redb").unwrap();
    assert_eq!(load(&open(vfs)).seen, expected);
}

#[test]
fn members_and_debts_survive_a_restart() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let batch = vec![
        DiskKind::PutMembers(bytes(1, 100)),
        DiskKind::PutMembers(bytes(2, 90)),
        DiskKind::PutDebts(vec![debt(1, 1), debt(1, 2), debt(1, 1)]),
        DiskKind::ClearDebts(vec![debt(1, 2), debt(9, 9)]),
    ];
    assert!(
        run(&store, batch)
            .iter()
            .all(|done| *done == Ok(DiskData::Done))
    );
    drop(store);
    let loaded = load(&open(vfs));
    assert_eq!(loaded.members, Some(bytes(2, 90)));
    assert_eq!(loaded.debts, vec![debt(1, 1)]);
}

#[test]
fn members_put_in_the_batch_of_a_load_are_loaded() {
    let store = open(MemVfs::new());
    let done = run(
        &store,
        vec![DiskKind::PutMembers(bytes(1, 100)), DiskKind::Load],
    );
    let Ok(DiskData::Loaded(loaded)) = &done[1] else {
        panic!("{done:?}")
    };
    assert_eq!(loaded.members, Some(bytes(1, 100)));
}

#[test]
fn reads_are_answered_by_prepare_and_writes_are_not() {
    let store = open(MemVfs::new());
    let blob = bytes(1, 100);
    one(&store, put_blob(&blob, 1)).unwrap();
    let read = store.prepare(DiskOp::detached(DiskKind::GetBlob(BlobId::of(&blob))));
    assert!(matches!(read, Prepared::Done(_)));
    let write = store.prepare(DiskOp::detached(put_blob(&blob, 2)));
    assert!(matches!(write, Prepared::Write(_)));
}

#[test]
fn a_claim_waits_for_a_commit_only_where_there_is_something_to_write() {
    let store = open(MemVfs::new());
    let (held, other) = (bytes(1, 100), bytes(2, 100));
    one(&store, put_blob(&held, 1)).unwrap();
    let look = |blob| store.prepare(DiskOp::detached(DiskKind::Claim(claim(blob, 2))));
    assert!(matches!(look(&held), Prepared::Write(_)));
    let Prepared::Done(done) = look(&other) else {
        panic!("a claim on what is not held writes nothing");
    };
    let not_held = Ok(DiskData::Claimed { held: false });
    assert_eq!(*done.result(), not_held);
    assert_eq!(store.stats().claims, 1);
}

#[test]
fn completions_come_in_the_order_of_the_batch() {
    let store = open(MemVfs::new());
    let (blob, held) = (bytes(1, 100), bytes(2, 100));
    one(&store, put_blob(&held, 1)).unwrap();
    let done = run(
        &store,
        vec![
            DiskKind::GetBlob(BlobId([1; 32])),
            put_blob(&blob, 1),
            DiskKind::Claim(claim(&held, 2)),
        ],
    );
    let expected = [
        Err(DiskError::NotFound),
        Ok(DiskData::Done),
        Ok(DiskData::Claimed { held: true }),
    ];
    assert_eq!(done, expected);
}

#[test]
fn a_second_store_on_one_root_is_refused_until_the_first_is_dropped() {
    let vfs = MemVfs::new();
    let first = open(vfs.clone());
    let refused = try_open(vfs.clone()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::InUse), "{refused:?}");
    assert!(refused.to_string().contains("end that one first"));
    drop(first);
    open(vfs);
}

#[test]
fn many_threads_prepare_while_one_commits() {
    let store = open(MemVfs::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20 {
                    let blob = bytes(thread * 100 + n, if n % 2 == 0 { 100 } else { 2000 });
                    assert_eq!(one(store, put_blob(&blob, 1)), Ok(DiskData::Done));
                    assert_eq!(get(store, BlobId::of(&blob)), Ok(blob));
                }
            });
        }
    });
    assert_eq!(store.stats().blobs, 80);
}

/// What is said of a store with this change to its configuration.
fn opened(change: impl FnOnce(&mut StoreConfig)) -> Result<(), String> {
    let vfs = MemVfs::new();
    let mut config = config();
    change(&mut config);
    match Store::open(vfs.clone(), config) {
        Ok(_) => Ok(()),
        Err(error @ OpenError::Config(_)) => {
            assert!(vfs.files().is_empty(), "it was begun");
            Err(error.to_string())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn senseless_limits_are_refused_by_name_and_their_edges_taken() {
    type Change = fn(&mut StoreConfig);
    let refused: [(&str, Change); 9] = [
        ("segment_bytes", |config| config.segment_bytes = 0),
        ("segment_bytes", |config| config.segment_bytes = 4095),
        ("segment_bytes", |config| {
            config.segment_bytes = (1 << 30) + 1
        }),
        ("small_blob_max", |config| {
            config.small_blob_max = (1 << 20) + 1
        }),
        ("group_bytes", |config| config.group_bytes = (64 << 20) + 1),
        ("compact_below_percent", |config| {
            config.compact_below_percent = 91
        }),
        ("compact_bytes", |config| config.compact_bytes = 0),
        ("open_segments", |config| config.open_segments = 0),
        ("index_commit_groups", |config| {
            config.index_commit_groups = 0
        }),
    ];
    for (name, change) in refused {
        let said = opened(change).expect_err(name);
        assert!(said.contains(name), "{said}");
    }
    let taken: [(&str, Change); 12] = [
        ("least segments", |config| config.segment_bytes = 4 << 10),
        ("largest segments", |config| config.segment_bytes = 1 << 30),
        ("all blobs files", |config| config.small_blob_max = 0),
        ("no blobs files", |config| config.small_blob_max = 1 << 20),
        ("groups of one", |config| config.group_bytes = 0),
        ("largest groups", |config| config.group_bytes = 64 << 20),
        ("no compaction", |config| config.compact_below_percent = 0),
        ("much compaction", |config| {
            config.compact_below_percent = 90
        }),
        ("least steps", |config| config.compact_bytes = 1),
        ("one open segment", |config| config.open_segments = 1),
        ("a durable index", |config| config.index_commit_groups = 1),
        ("no reserve", |config| config.reserve_bytes = 0),
    ];
    for (name, change) in taken {
        assert_eq!(opened(change), Ok(()), "{name}");
    }
}

#[test]
fn a_ceiling_of_zero_bytes_holds_nothing_and_says_so() {
    type Change = fn(&mut StoreConfig);
    let quota = DiskError::Quota { limit: 0, used: 0 };
    let full = |config: &mut StoreConfig| config.capacity_bytes = Some(0);
    let none = |config: &mut StoreConfig| config.namespace_bytes = Some(0);
    let ceilings: [(Change, DiskError); 2] = [(full, DiskError::NoSpace), (none, quota)];
    for (change, error) in ceilings {
        let vfs = MemVfs::new();
        let mut config = config();
        change(&mut config);
        let store = Store::open(vfs.clone(), config).unwrap();
        assert_eq!(load(&store).starts, 1);
        for blob in [bytes(1, 100), bytes(2, 5000)] {
            assert_eq!(one(&store, put_blob(&blob, 1)), Err(error.clone()));
            let forgotten = one(&store, DiskKind::ForgetBlob(BlobId::of(&blob)));
            assert_eq!(forgotten, Ok(DiskData::Done));
        }
        let put = one(&store, DiskKind::PutRecord(record(1, 1, 10)));
        assert_eq!(put, Err(error));
        let members = one(&store, DiskKind::PutMembers(bytes(3, 9)));
        assert_eq!(members, Ok(DiskData::Done), "what every node must know");
        let stats = store.stats();
        assert_eq!((stats.blobs, stats.claims, stats.records), (0, 0, 0));
        assert!(vfs.files().iter().all(|path| !path.starts_with("blobs/")));
    }
}

#[test]
fn neither_entropy_nor_blobs_are_shown_by_debug() {
    let config = StoreConfig::new([0xab; 32]);
    assert!(!format!("{config:?}").contains("171"));
    assert!(!format!("{:?}", open(MemVfs::new())).contains("171"));
}
