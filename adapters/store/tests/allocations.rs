//! A start holds at most twice what it finds on the disk and 64 KiB, beside what a
//! start on nothing takes, whatever it finds: the corpora of what fuzzing does to
//! segments and to the index, mutations of them, and logs made to cost most. What
//! it remembers of entries is less than they are, and within the bound. The index's
//! cache comes on top, by as much as it is set to: here it is small.
//!
//! One test alone in its process, so that what is counted is its own. The files
//! are the operating system's: those in memory would count as well.
#![cfg(unix)]

use std::fs::{self, File};
use std::path::Path;

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use peerhold_core::NodeId;
use peerhold_core::disk::{Claim, Debt, DiskKind, DiskOp, Owed, RecordKey, StoredRecord};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, PutId};
use peerhold_core::version::Version;
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
use peerhold_store::{Store, StoreConfig, check};
use tempfile::{TempDir, tempdir};

#[path = "../../../core/tests/support/mutate.rs"]
mod mutate;

use mutate::{Dice, inputs, mutated};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Mutations of each corpus.
const MUTATIONS: usize = 50;
const KIB: usize = 1 << 10;

fn config() -> StoreConfig {
    let mut config = StoreConfig::new([7; 32]);
    config.cache_bytes = 64 * KIB;
    config.open_segments = 4;
    config.reserve_bytes = 0;
    config.group_bytes = 64 << 20;
    config.segment_bytes = 1 << 30;
    config.small_blob_max = 1 << 20;
    config
}

/// The most that this held at once beyond what was held before.
fn held<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let value = run();
    (MEMORY.peak_usage().saturating_sub(before), value)
}

/// The files of a disk in memory, as the operating system's.
fn laid_out(disk: &MemVfs) -> TempDir {
    let dir = tempdir().unwrap();
    for path in disk.files() {
        let file = disk.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// Bytes of the log, and of the index, if there is one.
fn found(root: &Path) -> usize {
    let mut files = vec![root.join("index.redb")];
    let segments = fs::read_dir(root.join("log")).into_iter().flatten();
    files.extend(segments.map(|entry| entry.unwrap().path()));
    let lens = files
        .iter()
        .map(|file| file.metadata().map_or(0, |meta| meta.len()));
    lens.sum::<u64>() as usize
}

/// What a start holds beyond what it would of nothing.
fn check_start(what: &str, root: &Path, empty: usize) -> usize {
    let n = found(root);
    let (held, opened) = held(|| Store::open_dir(root, config()).map(drop));
    opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    let held = held.saturating_sub(empty);
    assert!(
        held <= 2 * n + 64 * KIB,
        "{what}: {held} bytes are held for {n}"
    );
    held
}

/// A store's log after all of these, in one group each, without its index.
fn made(groups: Vec<Vec<DiskKind>>) -> TempDir {
    let dir = tempdir().unwrap();
    let store = Store::open_dir(dir.path(), config()).unwrap();
    for kinds in groups {
        let ops = kinds.into_iter().map(DiskOp::detached);
        for done in store.commit(ops.map(|op| store.prepare(op)).collect()) {
            done.result().as_ref().unwrap();
        }
    }
    drop(store);
    fs::remove_file(dir.path().join("index.redb")).unwrap();
    dir
}

fn numbered<const N: usize>(number: u32) -> [u8; N] {
    let mut bytes = [0; N];
    let hash = blake3::hash(&number.to_be_bytes());
    bytes.copy_from_slice(&hash.as_bytes()[..N]);
    bytes
}

fn record(number: u32, head: usize) -> StoredRecord {
    let (namespace, tag) = (NamespaceId(numbered(number)), NameTag([1; 32]));
    let head = Bytes::from(vec![number as u8; head]);
    StoredRecord {
        key: RecordKey { namespace, tag },
        version: Version::ZERO,
        head_hash: *blake3::hash(&head).as_bytes(),
        head,
        meta: Bytes::new(),
        content: Bytes::new(),
    }
}

fn put(number: u32, len: usize) -> DiskKind {
    let mut bytes = vec![0; len];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    let bytes = Bytes::from(bytes);
    let claim = Claim {
        blob: BlobId::of(&bytes),
        len: len as u32,
        namespace: NamespaceId(numbered(number)),
        tag: NameTag([2; 32]),
        put: PutId(numbered(number)),
    };
    DiskKind::PutBlob { claim, bytes }
}

fn debt(number: u32) -> Debt {
    let RecordKey { namespace, tag } = record(number, 1).key;
    let key = RecordKey { namespace, tag };
    let id = record(number, 1).id();
    Debt {
        target: NodeId(numbered(number)),
        owed: Owed::Record { key, id },
    }
}

/// Logs that cost a start most: of the smallest entries, of the largest, and of
/// those of which it remembers something.
fn bombs() -> Vec<(&'static str, TempDir)> {
    const MANY: u32 = 4000;
    let all = |kind: fn(u32) -> DiskKind| (0..MANY).map(kind).collect::<Vec<_>>();
    let forget = |number| {
        let DiskKind::PutBlob { claim, .. } = put(number, 4) else {
            unreachable!("a put is one")
        };
        DiskKind::ForgetBlob(claim.blob)
    };
    let mut forgotten = all(|number| put(number, 4));
    forgotten.extend((0..MANY).map(forget));
    let records = || all(|number| DiskKind::PutRecord(record(number, 1)));
    // Those of the last group were never durable, and are cut off.
    let unread = made(vec![records(), vec![put(1, 4)]]);
    damage_bodies(&unread.path().join("log/00000001.seg"), MANY as usize);
    let debts = DiskKind::PutDebts((0..MANY).map(debt).collect());
    let map = DiskKind::PutMembers(Bytes::from(vec![1; 8 << 20]));
    vec![
        ("small blobs", made(vec![all(|number| put(number, 4))])),
        ("blobs that are dropped", made(vec![forgotten])),
        ("records of as many namespaces", made(vec![records()])),
        ("records that cannot be read", unread),
        ("debts", made(vec![vec![debts]])),
        ("a large blob", made(vec![vec![put(1, 1 << 20)]])),
        ("a large map", made(vec![vec![map]])),
    ]
}

/// Changes the one byte of the head of so many records: all entries are as long.
fn damage_bodies(segment: &Path, count: usize) {
    const HEADER: usize = 80;
    const ENTRY: usize = 184;
    const HEAD: usize = 56 + 112 + 8;
    let mut bytes = fs::read(segment).unwrap();
    for entry in bytes[HEADER..].chunks_mut(ENTRY).take(count) {
        entry[HEAD] ^= 1;
    }
    fs::write(segment, bytes).unwrap();
}

#[test]
fn a_start_holds_at_most_twice_what_it_finds_and_64_kib() {
    let empty = {
        let dir = tempdir().unwrap();
        held(|| Store::open_dir(dir.path(), config()).map(drop)).0
    };
    let mut dice = Dice(0x5eed);
    let mut corpora = ["segment", "index"].map(inputs);
    for corpus in &mut corpora {
        assert!(!corpus.is_empty());
        let mutations: Vec<_> = (0..MUTATIONS).map(|_| mutated(&mut dice, corpus)).collect();
        corpus.extend(mutations);
    }
    let [segments, indexes] = &corpora;
    let mut most = 0;
    for input in segments {
        let Some(disk) = check::damaged_segments(input) else {
            continue;
        };
        let dir = laid_out(&disk);
        drop(disk);
        most = most.max(check_start("segments", dir.path(), empty));
    }
    for input in indexes {
        let dir = laid_out(&check::damaged_index(input));
        most = most.max(check_start("an index", dir.path(), empty));
    }
    for (what, dir) in bombs() {
        most = most.max(check_start(what, dir.path(), empty));
    }
    // The check would not fail if nothing were counted.
    assert!(most > 64 * KIB, "only {most} bytes at most");
    eprintln!("at most {most} bytes, and {empty} on nothing");
    formats();
    owners();
}

/// What a `FORMAT` or an `OWNER` may be: a text, what is near it, and what is long.
fn texts(good: &[u8]) -> Vec<Vec<u8>> {
    let mut dice = Dice(0x5eed);
    let corpus = [
        good.to_vec(),
        vec![b'a'; 4096],
        vec![0xff; 4097],
        Vec::new(),
    ];
    let mut texts: Vec<_> = (0..200).map(|_| mutated(&mut dice, &corpus)).collect();
    texts.extend(corpus);
    texts.push(vec![b'\n'; 1 << 20]);
    texts
}

/// A file that is said to have a TiB.
fn endless(path: &Path) {
    File::create(path).unwrap().set_len(1 << 40).unwrap();
}

fn formats() {
    let dir = tempdir().unwrap();
    drop(Store::open_dir(dir.path(), config()).unwrap());
    let path = dir.path().join("FORMAT");
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    let mut check = |n: usize| {
        let (held, opened) = held(|| Store::open_dir(dir.path(), config()).map(drop));
        if opened.is_err() {
            refused += 1;
            assert!(held <= 2 * n + 64 * KIB, "{held} bytes are held for {n}");
        }
    };
    for text in texts(&good) {
        fs::write(&path, &text).unwrap();
        check(text.len());
    }
    endless(&path);
    check(0);
    assert!(refused > 100, "{refused}");
}

fn owners() {
    let dir = tempdir().unwrap();
    let store = Store::open_dir(dir.path(), config()).unwrap();
    store.claim(NodeId([1; 32])).unwrap();
    let path = dir.path().join("OWNER");
    let good = fs::read(&path).unwrap();
    let check = |n: usize| {
        let (held, _) = held(|| store.owner().map(drop));
        assert!(held <= 2 * n + 64 * KIB, "{held} bytes are held for {n}");
    };
    for text in texts(&good) {
        fs::write(&path, &text).unwrap();
        check(text.len());
    }
    endless(&path);
    check(0);
}
