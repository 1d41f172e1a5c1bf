//! Files of the operating system that were damaged while nobody looked: what
//! is handed out is right or nothing, the damage is told, and what stands
//! beside it is there.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::support::*;
use peerhold_core::disk::{DiskData, DiskError, DiskKind, StoredRecord};
use peerhold_core::id::BlobId;
use peerhold_core::path::Layout;
use peerhold_store::Store;
use peerhold_store::vfs::OsVfs;
use tempfile::{TempDir, tempdir};

/// What is done to some bytes, and another sound thing's bytes of that length.
type Harm = fn(&mut Vec<u8>, &[u8]);

const HARMS: [(&str, Harm); 5] = [
    ("one bit", |bytes, _| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }),
    ("truncated", |bytes, _| bytes.truncate(bytes.len() / 2)),
    ("emptied", |bytes, _| bytes.clear()),
    ("replaced", |bytes, other| bytes.copy_from_slice(other)),
    ("zeros", |bytes, _| bytes.fill(0)),
];

fn open_dir(dir: &TempDir) -> Store<OsVfs> {
    Store::open_dir(dir.path(), config()).expect("the store opens")
}

/// A store of two names, two large blobs and two small ones, each in a group
/// of its own, and something behind all that.
fn filled() -> TempDir {
    let dir = tempdir().unwrap();
    let store = open_dir(&dir);
    for kind in [
        put_blob(&large(1), 1),
        put_blob(&large(2), 1),
        put_blob(&small(1), 1),
        DiskKind::PutRecord(whole(1)),
        put_blob(&small(2), 1),
        DiskKind::PutRecord(whole(2)),
        DiskKind::PutMembers(bytes(9, 100)),
    ] {
        assert_eq!(one(&store, kind), Ok(DiskData::Done));
    }
    dir
}

fn large(n: u64) -> bytes::Bytes {
    bytes(n, 5000)
}

fn small(n: u64) -> bytes::Bytes {
    bytes(n, 300)
}

fn whole(name: u8) -> StoredRecord {
    record(name, 5, 100)
}

fn path(dir: &TempDir, blob: &bytes::Bytes) -> PathBuf {
    let path = Layout::Flat.path(&BlobId::of(blob));
    dir.path().join("blobs").join(path.as_str())
}

fn segment(dir: &TempDir, number: u32) -> PathBuf {
    dir.path().join(format!("log/{number:08}.seg"))
}

/// The entries of a segment, padding included.
fn entries(segment: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 80;
    while at + 56 <= segment.len() {
        let number = |range: Range<usize>| {
            let bytes = segment[range].iter();
            bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let len = 56 + number(at + 48..at + 52) + number(at + 52..at + 54);
        found.push(at..at + len.next_multiple_of(8));
        at += len.next_multiple_of(8);
    }
    found
}

/// The entry that holds these bytes.
fn entry_of(segment: &[u8], part: &[u8]) -> Range<usize> {
    let at = segment.windows(part.len()).position(|here| here == part);
    let at = at.expect("it is there");
    let entry = entries(segment)
        .into_iter()
        .find(|entry| entry.contains(&at));
    entry.expect("an entry has it")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Harms a part of a segment and leaves what is behind it where it is. What is
/// cut off is overwritten with other bytes, as when a sector is lost.
fn harm_inside(segment: &mut [u8], harm: Harm, part: Range<usize>, other: Range<usize>) {
    let mut bytes = segment[part.clone()].to_vec();
    harm(&mut bytes, &segment[other]);
    bytes.resize(part.len(), 0xee);
    segment[part].copy_from_slice(&bytes);
}

#[test]
fn a_blobs_file_that_is_harmed_is_told_once_and_the_blob_can_be_put_again() {
    for (what, harm) in HARMS {
        let dir = filled();
        change(&path(&dir, &large(1)), |bytes| harm(bytes, &large(2)));
        let store = open_dir(&dir);
        let id = BlobId::of(&large(1));
        assert_eq!(get(&store, id), Err(DiskError::Corrupt), "{what}");
        assert_eq!(get(&store, id), Err(DiskError::NotFound), "{what}");
        assert_eq!(store.stats().damaged, 1, "{what}");
        assert!(
            dir.path().join(format!("damaged/{}", id.to_hex())).exists(),
            "{what}"
        );
        let beside = BlobId::of(&large(2));
        assert_eq!(get(&store, beside), Ok(large(2)), "{what}");
        one(&store, put_blob(&large(1), 1)).unwrap();
        assert_eq!(get(&store, id), Ok(large(1)), "{what}");
    }
}

#[test]
fn an_entry_that_is_harmed_is_told_and_those_around_it_are_read() {
    for (what, harm) in HARMS {
        for rebuild in [false, true] {
            let dir = filled();
            change(&segment(&dir, 1), |bytes| {
                let pairs = [[small(1), small(2)], [whole(1).head, whole(2).head]];
                let pairs = pairs.map(|pair| pair.map(|part| entry_of(bytes, &part)));
                for [part, other] in pairs {
                    harm_inside(bytes, harm, part, other);
                }
            });
            let len = fs::metadata(segment(&dir, 1)).unwrap().len();
            if rebuild {
                fs::remove_file(dir.path().join("index.redb")).unwrap();
            }
            let store = open_dir(&dir);
            assert_eq!(store.recovery().cut_bytes, 0, "{what}: it is no tail");
            assert!(fs::metadata(segment(&dir, 1)).unwrap().len() >= len);
            let blob = get(&store, BlobId::of(&small(1)));
            let name = newest(&store, key(1));
            if rebuild {
                assert_eq!(blob, Err(DiskError::NotFound), "{what}");
                assert_ne!(name, Ok(Some(whole(1))), "{what}");
                assert_eq!(load(&store).lost, 2, "{what}");
            } else {
                assert_eq!(blob, Err(DiskError::Corrupt), "{what}");
                assert_eq!(name, Err(DiskError::Corrupt), "{what}");
                assert_eq!(store.stats().damaged, 2, "{what}");
            }
            assert_eq!(get(&store, BlobId::of(&small(2))), Ok(small(2)), "{what}");
            assert_eq!(get(&store, BlobId::of(&large(1))), Ok(large(1)), "{what}");
            assert_eq!(newest(&store, key(2)), Ok(Some(whole(2))), "{what}");
            assert_eq!(load(&store).members, Some(bytes(9, 100)), "{what}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_damage_before_it_is_not() {
    let torn = bytes(77, 333);
    for rebuild in [false, true] {
        let dir = filled();
        change(&segment(&dir, 1), |bytes| {
            let part = entry_of(bytes, &small(1));
            bytes[part.start + 100] ^= 1;
            bytes.extend_from_slice(&torn);
        });
        let len = fs::metadata(segment(&dir, 1)).unwrap().len();
        if rebuild {
            fs::remove_file(dir.path().join("index.redb")).unwrap();
        }
        let store = open_dir(&dir);
        assert_eq!(store.recovery().cut_bytes, torn.len() as u64);
        assert_eq!(store.recovery().damaged, u64::from(rebuild));
        let left = fs::metadata(segment(&dir, 1)).unwrap().len();
        assert_eq!(left, len - torn.len() as u64);
        for name in [1, 2] {
            assert_eq!(newest(&store, key(name)), Ok(Some(whole(name))));
        }
    }
}

#[test]
fn the_end_of_a_segment_before_the_newest_is_no_tail() {
    for rebuild in [false, true] {
        let dir = tempdir().unwrap();
        let store = open_dir(&dir);
        for name in 0..40 {
            one(&store, DiskKind::PutRecord(whole(name))).unwrap();
        }
        let later = store.stats().segments;
        assert!(later > 3);
        drop(store);
        let (mut kept, mut torn) = (0, 0);
        change(&segment(&dir, 2), |bytes| {
            // In the middle of an entry.
            let entries = entries(bytes);
            kept = entries.len() / 2;
            torn = entries[kept].start + 100;
            bytes.truncate(torn);
            torn = entries.len() - kept;
        });
        let len = fs::metadata(segment(&dir, 2)).unwrap().len();
        if rebuild {
            fs::remove_file(dir.path().join("index.redb")).unwrap();
        }
        let store = open_dir(&dir);
        assert_eq!(store.recovery().cut_bytes, 0);
        assert_eq!(fs::metadata(segment(&dir, 2)).unwrap().len(), len);
        let answers: Vec<_> = (0..40).map(|name| newest(&store, key(name))).collect();
        let sound = |(name, answer): &(u8, &_)| **answer == Ok(Some(whole(*name)));
        let lost = (0..).zip(&answers).filter(|answer| !sound(answer)).count();
        assert_eq!(lost, torn);
        if rebuild {
            assert!(store.recovery().damaged >= torn as u64);
        } else {
            let corrupt = |answer: &&_| **answer == Err(DiskError::Corrupt);
            assert_eq!(answers.iter().filter(corrupt).count(), torn);
        }
    }
}
