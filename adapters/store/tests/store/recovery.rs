//! What a start finds, and what it makes of it.

use crate::support::*;
use peerhold_core::disk::{DiskData, DiskError, DiskKind, Row};
use peerhold_core::id::BlobId;
use peerhold_core::path::Layout;
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
use peerhold_store::{OpenError, Store};

/// Everything a test puts in, so that it can be looked for.
fn fill(store: &Store<MemVfs>) {
    load(store);
    for n in 0..30 {
        let batch = vec![
            put_blob(&bytes(n, 100), 1),
            put_blob(&bytes(n, 900), 1),
            DiskKind::PutRecord(record(n as u8, n, 60)),
            DiskKind::PutDebts(vec![debt(n as u8, 1)]),
        ];
        assert!(run(store, batch).iter().all(Result::is_ok));
    }
    one(store, DiskKind::PutMembers(bytes(99, 70))).unwrap();
    for n in 0..10 {
        one(store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 100)))).unwrap();
        one(store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 900)))).unwrap();
        one(store, DiskKind::ClearDebts(vec![debt(n as u8, 1)])).unwrap();
    }
}

fn check(store: &Store<MemVfs>) {
    for n in 0..30 {
        for len in [100, 900] {
            let blob = bytes(n, len);
            let expected = if n < 10 {
                Err(DiskError::NotFound)
            } else {
                Ok(blob.clone())
            };
            assert_eq!(get(store, BlobId::of(&blob)), expected);
        }
        assert_eq!(
            newest(store, key(n as u8)),
            Ok(Some(record(n as u8, n, 60)))
        );
    }
    let loaded = load(store);
    assert_eq!(loaded.members, Some(bytes(99, 70)));
    assert_eq!(
        (loaded.debts.len(), loaded.records, loaded.blobs),
        (20, 30, 40)
    );
    assert_eq!(loaded.starts, 2);
    assert_eq!(store.stats().claims, 40);
}

fn segments(vfs: &MemVfs) -> Vec<String> {
    vfs.files()
        .into_iter()
        .filter(|path| path.starts_with("log/"))
        .collect()
}

fn content(vfs: &MemVfs, path: &str) -> Vec<u8> {
    let file = vfs.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn flip(vfs: &MemVfs, path: &str, at: u64) {
    let file = vfs.open(path).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn a_store_that_was_dropped_opens_without_replay() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    let store = open(vfs);
    assert_eq!(store.recovery().replayed, 0);
    check(&store);
}

#[test]
fn an_index_that_lags_is_brought_up_to_the_log() {
    for groups in [4, 1000] {
        let vfs = MemVfs::new();
        let mut config = config();
        config.index_commit_groups = groups;
        let store = Store::open(vfs.clone(), config).unwrap();
        fill(&store);
        let crashed = vfs.snapshot();
        drop(store);
        let store = open(crashed);
        let recovery = store.recovery();
        assert!(
            recovery.replayed > 0 && !recovery.index_rebuilt,
            "{recovery:?}"
        );
        assert_eq!((recovery.damaged, recovery.cut_bytes), (0, 0));
        check(&store);
    }
}

#[test]
fn an_index_that_is_missing_is_rebuilt_from_the_log() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    fill(&store);
    let stats = store.stats();
    drop(store);
    vfs.remove("index.redb").unwrap();
    let store = open(vfs);
    assert!(store.recovery().index_rebuilt);
    assert_eq!(store.stats(), stats);
    check(&store);
}

#[test]
fn an_index_that_is_damaged_anywhere_is_rebuilt_from_the_log() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    let len = vfs.open("index.redb").unwrap().len().unwrap();
    for at in (0..len).step_by(997) {
        let vfs = vfs.snapshot();
        flip(&vfs, "index.redb", at);
        check(&open(vfs));
    }
}

#[test]
fn an_index_of_nonsense_is_rebuilt_from_the_log() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    for len in [0, 10, 5000] {
        let vfs = vfs.snapshot();
        let file = vfs.open("index.redb").unwrap();
        file.set_len(len).unwrap();
        file.write_at(&bytes(1, len as usize), 0).unwrap();
        check(&open(vfs));
    }
}

#[test]
fn an_index_ahead_of_the_log_is_rebuilt_and_the_loss_counted() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    let last = segments(&vfs).pop().unwrap();
    vfs.open(&last).unwrap().set_len(100).unwrap();
    let store = open(vfs);
    assert!(store.recovery().index_rebuilt && store.recovery().damaged > 0);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_what_was_before_is_there() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    one(&store, DiskKind::PutRecord(record(1, 1, 10))).unwrap();
    let path = segments(&vfs).pop().unwrap();
    let before = vfs.open(&path).unwrap().len().unwrap();
    one(&store, DiskKind::PutRecord(record(2, 1, 10))).unwrap();
    let after = vfs.open(&path).unwrap().len().unwrap();
    // Its last 4 bytes are padding.
    for cut in before..after {
        for fill in [None, Some(0), Some(0xff)] {
            let crashed = vfs.snapshot();
            let file = crashed.open(&path).unwrap();
            file.set_len(cut).unwrap();
            if let Some(fill) = fill {
                file.write_at(&vec![fill; (after - cut) as usize], cut)
                    .unwrap();
            }
            let left = file.len().unwrap() - before;
            let store = open(crashed);
            assert_eq!(
                newest(&store, key(1)),
                Ok(Some(record(1, 1, 10))),
                "cut at {cut}"
            );
            if cut < after - 4 || fill.is_none() {
                assert_eq!(store.recovery().cut_bytes, left, "cut at {cut}, {fill:?}");
                assert_eq!(newest(&store, key(2)), Ok(None), "cut at {cut}, {fill:?}");
            }
            assert_eq!(store.recovery().damaged, 0, "cut at {cut}, {fill:?}");
            one(&store, DiskKind::PutRecord(record(3, 1, 10))).unwrap();
            assert_eq!(newest(&store, key(3)), Ok(Some(record(3, 1, 10))));
        }
    }
}

#[test]
fn damage_before_the_tail_is_counted_and_stepped_over() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let path_of = |vfs: &MemVfs| segments(vfs).pop().unwrap();
    one(&store, DiskKind::PutRecord(record(1, 1, 10))).unwrap();
    let path = path_of(&vfs);
    let start = vfs.open(&path).unwrap().len().unwrap();
    one(&store, DiskKind::PutRecord(record(2, 1, 10))).unwrap();
    let end = vfs.open(&path).unwrap().len().unwrap();
    one(&store, DiskKind::PutRecord(record(3, 1, 10))).unwrap();
    for at in start..end {
        let damaged = vfs.snapshot();
        damaged.remove("index.redb").unwrap();
        flip(&damaged, &path, at);
        let store = open(damaged);
        assert_eq!(store.recovery().cut_bytes, 0, "flipped at {at}");
        assert_eq!(
            newest(&store, key(1)),
            Ok(Some(record(1, 1, 10))),
            "flipped at {at}"
        );
        assert_eq!(
            newest(&store, key(3)),
            Ok(Some(record(3, 1, 10))),
            "flipped at {at}"
        );
        let found = newest(&store, key(2));
        let lost = found != Ok(Some(record(2, 1, 10)));
        assert_eq!(store.recovery().damaged, u64::from(lost), "flipped at {at}");
        // Only padding can be flipped without loss.
        assert!(lost || at + 8 > end, "flipped at {at}");
        // Whose record it was, its head says: 56 bytes and the key.
        let head = (start..start + 168).contains(&at);
        let expected = if head {
            Ok(None)
        } else {
            Err(DiskError::Corrupt)
        };
        assert!(!lost || found == expected, "flipped at {at}: {found:?}");
        assert_eq!(load(&store).lost, u64::from(lost));
        assert!(load(&store).index_rebuilt);
    }
}

#[test]
fn damage_met_by_a_read_is_reported_and_not_served_again() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let (small, large) = (bytes(1, 300), bytes(2, 3000));
    run(
        &store,
        vec![
            put_blob(&small, 1),
            put_blob(&large, 1),
            DiskKind::PutRecord(record(1, 1, 200)),
        ],
    );
    let path = segments(&vfs).pop().unwrap();
    // The body of the first entry, and near the end that of the record.
    flip(&vfs, &path, 80 + 56 + 32 + 10);
    let end = vfs.open(&path).unwrap().len().unwrap();
    flip(&vfs, &path, end - 20);
    let file = vfs
        .files()
        .into_iter()
        .find(|path| path.starts_with("blobs/"))
        .unwrap();
    flip(&vfs, &file, 1234);
    for id in [BlobId::of(&small), BlobId::of(&large)] {
        assert_eq!(get(&store, id), Err(DiskError::Corrupt));
        assert_eq!(get(&store, id), Err(DiskError::NotFound));
    }
    assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
    assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
    assert_eq!(store.stats().damaged, 3);
    assert!(
        vfs.files()
            .contains(&format!("damaged/{}", BlobId::of(&large).to_hex()))
    );
    for blob in [&small, &large] {
        one(&store, put_blob(blob, 2)).unwrap();
        assert_eq!(
            get(&store, BlobId::of(blob)).as_ref(),
            Ok(blob),
            "a good copy heals it"
        );
    }
}

/// A store whose name 1 has a sound record of version 1 and one of version 2
/// whose body is damaged, which nobody has noticed yet.
fn with_damaged_newest() -> (MemVfs, Store<MemVfs>) {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    for n in [1, 2] {
        one(&store, DiskKind::PutRecord(record(1, n, 200))).unwrap();
    }
    let path = segments(&vfs).pop().unwrap();
    let end = vfs.open(&path).unwrap().len().unwrap();
    flip(&vfs, &path, end - 20);
    (vfs, store)
}

#[test]
fn a_name_whose_newest_record_is_damaged_is_never_answered_with_an_older_one() {
    let (vfs, store) = with_damaged_newest();
    for _ in 0..3 {
        assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
    }
    assert_eq!((store.stats().records, store.stats().damaged), (1, 1));
    one(&store, DiskKind::PutRecord(record(1, 0, 200))).unwrap();
    assert_eq!(
        newest(&store, key(1)),
        Err(DiskError::Corrupt),
        "an older record heals nothing"
    );
    drop(store);
    let rebuilt = vfs.snapshot();
    rebuilt.remove("index.redb").unwrap();
    for vfs in [vfs, rebuilt] {
        let store = open(vfs);
        assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
        assert_eq!((load(&store).records, store.stats().records), (2, 2));
    }
}

#[test]
fn a_damaged_record_is_healed_by_the_same_one_or_a_later_one() {
    for healing in [2, 3] {
        let (vfs, store) = with_damaged_newest();
        assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
        let good = record(1, healing, 200);
        one(&store, DiskKind::PutRecord(good.clone())).unwrap();
        drop(store);
        let rebuilt = vfs.snapshot();
        rebuilt.remove("index.redb").unwrap();
        for vfs in [vfs, rebuilt] {
            let store = open(vfs);
            assert_eq!(newest(&store, key(1)), Ok(Some(good.clone())));
            assert_eq!(store.stats().records, 2);
        }
    }
}

#[test]
fn a_damaged_record_that_only_a_rebuild_meets_stays_known() {
    let (vfs, store) = with_damaged_newest();
    // Something durable behind it: it is no unfinished tail.
    one(&store, DiskKind::PutMembers(bytes(1, 50))).unwrap();
    drop(store);
    vfs.remove("index.redb").unwrap();
    for _ in 0..2 {
        let store = open(vfs.clone());
        assert_eq!(newest(&store, key(1)), Err(DiskError::Corrupt));
        let (rows, id) = (versions(&store, 1, 1000), record(1, 2, 200).id());
        let tag = key(1).tag;
        assert_eq!(rows[0], Row::Damaged { tag, id });
        assert_eq!((rows.len(), store.stats().records), (2, 1));
    }
    let store = open(vfs.clone());
    one(&store, DiskKind::PutRecord(record(1, 2, 200))).unwrap();
    drop(store);
    vfs.remove("index.redb").unwrap();
    let store = open(vfs);
    assert_eq!(
        newest(&store, key(1)),
        Ok(Some(record(1, 2, 200))),
        "what was put again behind it counts"
    );
}

#[test]
fn a_torn_record_that_was_never_durable_is_not_known() {
    let (vfs, store) = with_damaged_newest();
    let crashed = vfs.snapshot();
    drop(store);
    crashed.remove("index.redb").unwrap();
    let store = open(crashed);
    assert!(store.recovery().cut_bytes > 0);
    assert_eq!(store.recovery().damaged, 0);
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 1, 200))));
}

#[test]
fn a_group_that_a_crash_has_left_in_pieces_is_no_damage_later() {
    // Bytes of the group's first three entries: heads, then bodies.
    for at in [3, 70, 180, 483, 660] {
        let vfs = MemVfs::new();
        let store = open(vfs.clone());
        one(&store, DiskKind::PutMembers(bytes(1, 50))).unwrap();
        let path = segments(&vfs).pop().unwrap();
        let start = vfs.open(&path).unwrap().len().unwrap();
        let group = (1..=4).map(|n| DiskKind::PutRecord(record(n, 1, 50)));
        run(&store, group.collect());
        let crashed = vfs.snapshot();
        drop(store);
        flip(&crashed, &path, start + at);
        let torn = u8::from(at > 480) + 1;
        for index in [true, false] {
            let vfs = crashed.snapshot();
            if !index {
                vfs.remove("index.redb").unwrap();
            }
            let store = open(vfs.clone());
            assert_eq!(store.recovery().damaged, 0, "{at}");
            one(&store, DiskKind::PutRecord(record(9, 1, 50))).unwrap();
            drop(store);
            vfs.remove("index.redb").unwrap();
            let store = open(vfs);
            assert_eq!(load(&store).lost, 0, "{at}");
            for n in [1, 2, 3, 4, 9] {
                let expected = (n != torn).then(|| record(n, 1, 50));
                assert_eq!(newest(&store, key(n)), Ok(expected), "{at}, record {n}");
            }
        }
    }
}

#[test]
fn records_that_a_shortened_log_has_lost_stay_known() {
    for keep in [0, 100, 500] {
        let vfs = MemVfs::new();
        let store = open(vfs.clone());
        load(&store);
        for n in 0..30 {
            one(&store, DiskKind::PutRecord(record(n, 7, 60))).unwrap();
        }
        drop(store);
        let last = segments(&vfs).pop().unwrap();
        let file = vfs.open(&last).unwrap();
        assert!(file.len().unwrap() > keep + 1000);
        file.set_len(keep).unwrap();
        let store = open(vfs.clone());
        let loaded = load(&store);
        assert!(loaded.index_rebuilt && loaded.lost > 0);
        assert_eq!(loaded.starts, 2, "no start is counted twice");
        let answers = |store: &Store<MemVfs>| {
            let all = (0..30).map(|n| newest(store, key(n)));
            all.collect::<Vec<_>>()
        };
        let found = answers(&store);
        for (n, found) in (0..).zip(&found) {
            let whole = Ok(Some(record(n, 7, 60)));
            assert!(*found == whole || *found == Err(DiskError::Corrupt), "{n}");
        }
        assert!(found.contains(&Err(DiskError::Corrupt)));
        drop(store);
        vfs.remove("index.redb").unwrap();
        assert_eq!(answers(&open(vfs)), found, "the log says so from now on");
    }
}

#[test]
fn a_damaged_segment_header_loses_no_entry() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    for at in 0..80 {
        let damaged = vfs.snapshot();
        damaged.remove("index.redb").unwrap();
        for path in segments(&damaged) {
            flip(&damaged, &path, at);
        }
        check(&open(damaged));
    }
}

#[test]
fn bytes_of_a_blob_cannot_pose_as_an_entry() {
    // An attacker knows the format and can foresee where his blob will stand,
    // but not the secret. He makes a segment of his own, and puts what is
    // behind its byte 168 into a blob whose body begins there in ours.
    let theirs = MemVfs::new();
    let mut other = config();
    other.entropy = [8; 32];
    let store = Store::open(theirs.clone(), other).unwrap();
    one(&store, put_blob(&bytes(1, 100), 1)).unwrap();
    one(&store, DiskKind::PutRecord(record(66, 66, 10))).unwrap();
    let segment = theirs.open(&segments(&theirs)[0]).unwrap();
    let mut forged = vec![0; segment.len().unwrap() as usize];
    segment.read_at(&mut forged, 0).unwrap();

    let vfs = MemVfs::new();
    let mut big = config();
    big.small_blob_max = 64 << 10;
    let store = Store::open(vfs.clone(), big.clone()).unwrap();
    one(&store, put_blob(&forged.split_off(168).into(), 1)).unwrap();
    one(&store, DiskKind::PutRecord(record(1, 1, 10))).unwrap();
    let crashed = vfs.snapshot();
    crashed.remove("index.redb").unwrap();
    // The length of its entry is damaged: the search goes through its body.
    flip(&crashed, &segments(&crashed)[0], 80 + 50);
    let store = Store::open(crashed, big).unwrap();
    assert_eq!(store.recovery().damaged, 1);
    assert_eq!(newest(&store, key(66)), Ok(None));
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 1, 10))));
}

#[test]
fn only_tmp_is_swept_at_start() {
    let vfs = MemVfs::new();
    let blob = bytes(1, 5000);
    one(&open(vfs.clone()), put_blob(&blob, 1)).unwrap();
    for path in ["tmp/0000000000000007", "tmp/other", "damaged/x", "mine"] {
        vfs.create_new(path).unwrap();
    }
    let store = open(vfs.clone());
    assert_eq!(store.recovery().swept, 2);
    let files = vfs.files();
    assert!(files.contains(&"damaged/x".to_owned()) && files.contains(&"mine".to_owned()));
    assert!(!files.iter().any(|path| path.starts_with("tmp/")));
    assert_eq!(get(&store, BlobId::of(&blob)), Ok(blob));
}

#[test]
fn a_blob_file_that_no_entry_names_is_not_held() {
    let vfs = MemVfs::new();
    let blob = bytes(1, 5000);
    let store = open(vfs.clone());
    let path = format!("blobs/{}", Layout::Flat.path(&BlobId::of(&blob)));
    vfs.create_dir(path.rsplit_once('/').unwrap().0).unwrap();
    vfs.create_new(&path).unwrap().write_at(b"half", 0).unwrap();
    assert_eq!(get(&store, BlobId::of(&blob)), Err(DiskError::NotFound));
    assert_eq!(
        one(&store, DiskKind::Claim(claim(&blob, 1))),
        Ok(DiskData::Claimed { held: false })
    );
    one(&store, put_blob(&blob, 1)).unwrap();
    assert_eq!(get(&store, BlobId::of(&blob)), Ok(blob));
}

#[test]
fn a_store_of_a_newer_program_is_refused_untouched() {
    let vfs = MemVfs::new();
    drop(open(vfs.clone()));
    vfs.create_new("tmp/left").unwrap();
    vfs.open("FORMAT")
        .unwrap()
        .write_at(b"peerhold store 9", 0)
        .unwrap();
    let before: Vec<_> = vfs
        .files()
        .iter()
        .map(|path| (path.clone(), content(&vfs, path)))
        .collect();
    let refused = try_open(vfs.clone()).map(drop).unwrap_err();
    assert!(
        matches!(refused, OpenError::NewerFormat { found: 9, known: 1 }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("use a newer version"));
    let after: Vec<_> = vfs
        .files()
        .iter()
        .map(|path| (path.clone(), content(&vfs, path)))
        .collect();
    assert!(before == after, "something was changed");
    assert!(vfs.files().contains(&"tmp/left".to_owned()));
}

#[test]
fn a_format_file_that_is_damaged_or_missing_is_refused() {
    let vfs = MemVfs::new();
    fill(&open(vfs.clone()));
    let len = vfs.open("FORMAT").unwrap().len().unwrap();
    for at in 0..len {
        let vfs = vfs.snapshot();
        vfs.open("FORMAT").unwrap().write_at(&[0xfe], at).unwrap();
        let refused = try_open(vfs).map(drop);
        assert!(
            matches!(refused, Err(OpenError::FormatDamaged(_))),
            "at {at}: {refused:?}"
        );
    }
    vfs.remove("FORMAT").unwrap();
    assert!(matches!(try_open(vfs), Err(OpenError::FormatMissing)));
}
