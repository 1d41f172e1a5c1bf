//! Pages of names and of versions.

use std::collections::BTreeSet;

use crate::support::*;
use peerhold_core::disk::{DiskData, DiskError, DiskKind, DiskOp, Page, RecordKey, Row};
use peerhold_core::id::{BlobId, NameTag, NamespaceId};
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
use peerhold_store::{Prepared, Store};
use quickcheck::{Gen, QuickCheck};

fn put_all(store: &Store<MemVfs>, records: &[(u8, u64)]) {
    let puts = records
        .iter()
        .map(|(name, n)| DiskKind::PutRecord(record(*name, *n, 100)));
    for done in run(store, puts.collect()) {
        assert_eq!(done, Ok(DiskData::Done));
    }
}

fn told(rows: &[Row]) -> Vec<(u8, u64, bool)> {
    rows.iter().map(row).collect()
}

/// Flips a bit in the body of a record's entry.
fn damage(vfs: &MemVfs, name: u8, n: u64) {
    let body = record(name, n, 100).head;
    for path in vfs.files() {
        let file = vfs.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let at = bytes.windows(body.len()).position(|part| part == body);
        if let Some(at) = at.filter(|_| path.starts_with("log/")) {
            file.write_at(&[body[0] ^ 1], at as u64).unwrap();
            return;
        }
    }
    panic!("no record {n} of {name}");
}

#[test]
fn names_are_listed_by_tag_each_with_its_newest_record() {
    let store = open(MemVfs::new());
    put_all(&store, &[(7, 1), (2, 9), (7, 3), (2, 4), (5, 1), (7, 2)]);
    let rows = names(&store, u32::MAX);
    assert_eq!(told(&rows), [(2, 9, true), (5, 1, true), (7, 3, true)]);
    for row in rows {
        let Row::Record(listed) = row else {
            panic!("{row:?}")
        };
        let whole = newest(&store, listed.key).unwrap().unwrap();
        assert_eq!((listed.id(), &listed.head), (whole.id(), &whole.head));
        assert_eq!((&listed.meta, listed.content.len()), (&whole.meta, 0));
    }
}

#[test]
fn versions_are_listed_newest_first_and_those_of_other_names_not() {
    let store = open(MemVfs::new());
    put_all(&store, &[(1, 8), (2, 5), (2, 900), (2, 7), (3, 1)]);
    let rows = versions(&store, 2, u32::MAX);
    assert_eq!(told(&rows), [(2, 900, true), (2, 7, true), (2, 5, true)]);
    assert_eq!(versions(&store, 4, u32::MAX), []);
}

#[test]
fn every_version_is_read_by_its_id_and_others_are_not_there() {
    let store = open(MemVfs::new());
    put_all(&store, &[(1, 8), (1, 5), (2, 7)]);
    for n in [5, 8] {
        let whole = record(1, n, 100);
        assert_eq!(record_at(&store, key(1), Some(whole.id())), Ok(Some(whole)));
    }
    let mut other = record(1, 5, 100).id();
    other.head[31] ^= 1;
    assert_eq!(record_at(&store, key(1), Some(other)), Ok(None));
    let of_another = record(2, 7, 100).id();
    assert_eq!(record_at(&store, key(1), Some(of_another)), Ok(None));
}

#[test]
fn a_namespace_lists_its_own_names_to_the_last_tag() {
    let store = open(MemVfs::new());
    for (namespace, tag) in [(0, 9), (1, 0), (1, 0xff), (2, 0)] {
        let mut record = record(tag, 1, 10);
        record.key = RecordKey {
            namespace: NamespaceId([namespace; 32]),
            tag: NameTag([tag; 32]),
        };
        one(&store, DiskKind::PutRecord(record)).unwrap();
    }
    assert_eq!(told(&names(&store, 1)), [(0, 1, true), (0xff, 1, true)]);
    let behind = DiskKind::ListNames {
        namespace: NamespaceId([1; 32]),
        after: Some(NameTag([0xff; 32])),
        max: 1,
    };
    assert_eq!(page(&store, behind), Page::default());
}

#[test]
fn a_page_ends_where_the_next_row_would_not_fit() {
    let store = open(MemVfs::new());
    put_all(&store, &[(1, 1), (2, 1), (3, 1)]);
    let cost = names(&store, u32::MAX)[0].cost() as u32;
    let first = |max| {
        let (namespace, after) = (key(0).namespace, None);
        let page = page(
            &store,
            DiskKind::ListNames {
                namespace,
                after,
                max,
            },
        );
        (page.rows.len(), page.more)
    };
    let pages = [0, 1, cost, 2 * cost - 1, 2 * cost, 3 * cost - 1, 3 * cost];
    let expected = [1, 1, 1, 1, 2, 2, 3].map(|rows| (rows, rows < 3));
    assert_eq!(pages.map(first), expected);
}

#[test]
fn pages_of_any_size_put_together_are_the_whole() {
    fn property(records: Vec<(u8, u8)>, damaged: Vec<(u8, u8)>, max: u16) {
        let records: Vec<_> = records
            .iter()
            .map(|(name, n)| (name % 5, u64::from(*n)))
            .collect();
        let vfs = MemVfs::new();
        let store = open(vfs.clone());
        put_all(&store, &records);
        let damaged: BTreeSet<_> = damaged
            .iter()
            .map(|(name, n)| (name % 5, u64::from(*n)))
            .filter(|found| records.contains(found))
            .collect();
        for (name, n) in &damaged {
            damage(&vfs, *name, *n);
        }
        // Found damaged by the smaller pages, known as such for the larger.
        let max = u32::from(max % 1500);
        assert_eq!(names(&store, max), names(&store, u32::MAX));
        for name in 0..5 {
            let whole = versions(&store, name, u32::MAX);
            assert_eq!(versions(&store, name, max), whole);
            let mut held: Vec<_> = records.iter().filter(|(of, _)| *of == name).collect();
            held.sort_unstable_by_key(|(_, n)| std::cmp::Reverse(*n));
            held.dedup();
            let sound = |n| !damaged.contains(&(name, n));
            let expected: Vec<_> = held.iter().map(|(_, n)| (name, *n, sound(*n))).collect();
            assert_eq!(told(&whole), expected);
        }
    }
    QuickCheck::new()
        .rng(Gen::new(60))
        .tests(60)
        .quickcheck(property as fn(Vec<(u8, u8)>, Vec<(u8, u8)>, u16));
}

#[test]
fn what_a_listing_finds_damaged_is_a_row_and_stays_known() {
    for list in [
        |store: &_| names(store, 1),
        |store: &_| versions(store, 2, 1),
    ] {
        let vfs = MemVfs::new();
        let store = open(vfs.clone());
        put_all(&store, &[(1, 1), (2, 1), (2, 2), (3, 1)]);
        damage(&vfs, 2, 2);
        let rows = list(&store);
        let damaged = Row::Damaged {
            tag: key(2).tag,
            id: record(2, 2, 100).id(),
        };
        assert!(rows.contains(&damaged), "{rows:?}");
        assert!(!told(&rows).contains(&(2, 2, true)));
        assert_eq!((store.stats().damaged, store.stats().records), (1, 3));
        assert_eq!(newest(&store, key(2)), Err(DiskError::Corrupt));
        assert_eq!(list(&store), rows);
        assert_eq!(store.stats().damaged, 1, "found once");
        drop(store);
        let rebuilt = vfs.snapshot();
        rebuilt.remove("index.redb").unwrap();
        for vfs in [vfs, rebuilt] {
            let store = open(vfs);
            assert_eq!(list(&store), rows);
            one(&store, DiskKind::PutRecord(record(2, 2, 100))).unwrap();
            assert!(told(&list(&store)).contains(&(2, 2, true)), "healed");
        }
    }
}

#[test]
fn an_older_version_that_is_damaged_fails_and_the_newest_is_read() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    put_all(&store, &[(1, 1), (1, 2)]);
    damage(&vfs, 1, 1);
    let older = Some(record(1, 1, 100).id());
    for _ in 0..2 {
        assert_eq!(record_at(&store, key(1), older), Err(DiskError::Corrupt));
    }
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 2, 100))));
    assert_eq!(store.stats().damaged, 1);
}

#[test]
fn listings_go_on_while_their_segments_are_removed() {
    let store = open(MemVfs::new());
    let every: Vec<_> = (0..40).map(|n| (n % 4, u64::from(n))).collect();
    for (of, n) in &every {
        put_all(&store, &[(*of, *n)]);
        one(&store, put_blob(&bytes(*n, 400), 1)).unwrap();
    }
    let before = store.stats().segments;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, done) = (&store, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                loop {
                    let last = done.load(std::sync::atomic::Ordering::Acquire);
                    let (namespace, after) = (key(0).namespace, None);
                    let kinds = [
                        DiskKind::ListNames {
                            namespace,
                            after,
                            max: u32::MAX,
                        },
                        DiskKind::ListVersions {
                            key: key(3),
                            below: None,
                            max: u32::MAX,
                        },
                    ];
                    for (kind, rows) in kinds.into_iter().zip([4, 10]) {
                        let read = store.prepare(DiskOp::detached(kind));
                        let Prepared::Done(done) = read else {
                            panic!("damaged")
                        };
                        let Ok(DiskData::Page(page)) = done.result() else {
                            panic!("{done:?}")
                        };
                        assert_eq!((page.rows.len(), page.more), (rows, false));
                    }
                    if last {
                        return;
                    }
                }
            });
        }
        for n in 0..40 {
            one(store, DiskKind::ForgetBlob(BlobId::of(&bytes(n, 400)))).unwrap();
        }
        // Until nothing is left to compact.
        for _ in 0..500 {
            let _ = store.commit(Vec::new());
        }
        done.store(true, std::sync::atomic::Ordering::Release);
    });
    assert!(store.stats().segments < before);
}
