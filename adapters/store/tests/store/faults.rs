//! Full disks, failed syncs, and a machine that stops anywhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::*;
use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::id::BlobId;
use peerhold_store::vfs::{FailAfter, Kind, MemVfs, Vfs, VfsFile};
use peerhold_store::{Health, Store, StoreConfig};

/// Counts syncs of files, and fails those of paths that start with a word, or
/// reads and changes of their lengths.
#[derive(Clone, Debug)]
struct Syncs {
    inner: MemVfs,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    log_syncs: AtomicU64,
    fail: AtomicBool,
    fail_reads: AtomicBool,
    fail_under: &'static str,
}

#[derive(Debug)]
struct SyncFile<F> {
    inner: F,
    path: String,
    shared: Arc<Shared>,
}

impl Syncs {
    fn new(fail_under: &'static str) -> Self {
        let shared = Shared {
            fail_under,
            ..Shared::default()
        };
        Self {
            inner: MemVfs::new(),
            shared: Arc::new(shared),
        }
    }

    fn file<F>(&self, inner: F, path: &str) -> SyncFile<F> {
        SyncFile {
            inner,
            path: path.to_owned(),
            shared: self.shared.clone(),
        }
    }

    fn fail(&self, fail: bool) {
        self.shared.fail.store(fail, Ordering::Relaxed);
    }

    fn fail_reads(&self, fail: bool) {
        self.shared.fail_reads.store(fail, Ordering::Relaxed);
    }
}

impl Shared {
    fn sync(&self, path: &str) -> io::Result<()> {
        if path.starts_with("log/") {
            self.log_syncs.fetch_add(1, Ordering::Relaxed);
        }
        if self.fail.load(Ordering::Relaxed) && path.starts_with(self.fail_under) {
            return Err(io::Error::other("sync failed"));
        }
        Ok(())
    }

    fn read(&self, path: &str) -> io::Result<()> {
        match self.fail_reads.load(Ordering::Relaxed) && path.starts_with(self.fail_under) {
            true => Err(io::Error::other("read failed")),
            false => Ok(()),
        }
    }
}

impl Vfs for Syncs {
    type File = SyncFile<<MemVfs as Vfs>::File>;
    type Lock = <MemVfs as Vfs>::Lock;

    fn create_new(&self, path: &str) -> io::Result<Self::File> {
        Ok(self.file(self.inner.create_new(path)?, path))
    }
    fn open(&self, path: &str) -> io::Result<Self::File> {
        Ok(self.file(self.inner.open(path)?, path))
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
        self.shared.sync(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }
    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        self.inner.kind(path)
    }
    fn try_lock(&self, path: &str) -> io::Result<Option<Self::Lock>> {
        self.inner.try_lock(path)
    }
}

impl<F: VfsFile> VfsFile for SyncFile<F> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.shared.read(&self.path)?;
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.shared.sync(&self.path)
    }
}

#[test]
fn a_group_of_small_writes_shares_one_sync() {
    let vfs = Syncs::new("none");
    let store = Store::open(vfs.clone(), StoreConfig::new([1; 32])).unwrap();
    load(&store);
    let before = vfs.shared.log_syncs.load(Ordering::Relaxed);
    let batch = (0..30)
        .map(|n| DiskKind::PutRecord(record(n, 1, 4000)))
        .collect();
    assert!(run(&store, batch).iter().all(Result::is_ok));
    assert_eq!(vfs.shared.log_syncs.load(Ordering::Relaxed), before + 1);
}

#[test]
fn a_failed_sync_ends_writing_until_the_store_is_opened_again() {
    for under in ["log/", "tmp", "blobs"] {
        let vfs = Syncs::new(under);
        let store = open(vfs.clone());
        let held = bytes(1, 100);
        one(&store, put_blob(&held, 1)).unwrap();
        vfs.fail(true);
        let blob = bytes(2, 5000);
        assert_eq!(
            one(&store, put_blob(&blob, 1)),
            Err(DiskError::SyncFailed),
            "{under}"
        );
        assert_eq!(store.health(), Health::ReadOnly);
        vfs.fail(false);
        for kind in [
            put_blob(&blob, 1),
            DiskKind::PutRecord(record(1, 1, 1)),
            DiskKind::Load,
        ] {
            assert_eq!(
                one(&store, kind),
                Err(DiskError::SyncFailed),
                "never tried again"
            );
        }
        assert_eq!(
            get(&store, BlobId::of(&held)).as_ref(),
            Ok(&held),
            "it still reads"
        );
        drop(store);
        let store = open(vfs);
        assert_eq!(get(&store, BlobId::of(&held)), Ok(held));
        one(&store, put_blob(&blob, 1)).unwrap();
        assert_eq!(get(&store, BlobId::of(&blob)), Ok(blob));
    }
}

#[test]
fn an_index_whose_sync_fails_is_made_anew_and_nothing_is_lost() {
    let vfs = Syncs::new("index");
    let store = open(vfs.clone());
    for n in 0..40 {
        vfs.fail(n % 9 == 8);
        let done = one(&store, put_blob(&bytes(n, 100), 1));
        vfs.fail(false);
        // The log has it or not; the answer says which.
        let held = get(&store, BlobId::of(&bytes(n, 100))).is_ok();
        assert_eq!(done.is_ok(), held, "{n}: {done:?}");
    }
    assert_eq!(store.health(), Health::Writable);
    one(&store, put_blob(&bytes(100, 100), 1)).unwrap();
}

#[test]
fn an_index_that_could_not_be_read_answers_again_without_a_write() {
    let vfs = Syncs::new("index");
    let store = open(vfs.clone());
    let blobs: Vec<_> = (0..400).map(|n| bytes(n, 100)).collect();
    run(&store, blobs.iter().map(|blob| put_blob(blob, 1)).collect());
    drop(store);
    for write in [false, true] {
        // What it reads is not in memory.
        let store = open(vfs.clone());
        let has = |blob: &Bytes| one(&store, DiskKind::HasBlob(BlobId::of(blob)));
        let held = Ok(DiskData::Claimed { held: true });
        let fails = || blobs.iter().any(|blob| has(blob) != held);
        vfs.fail_reads(true);
        assert!(fails());
        if write {
            one(&store, put_blob(&bytes(400, 100), 1)).unwrap_err();
        }
        vfs.fail_reads(false);
        assert!(!fails());
        one(&store, put_blob(&bytes(400, 100), 1)).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let mut kept = Vec::new();
    // Room that ends somewhere else each time, so that every kind of write
    // meets the end; now and then enough to go on.
    for n in 0..600 {
        let room = if n % 7 == 0 {
            400 << 10
        } else {
            n * 1237 % 30_000
        };
        vfs.set_capacity(Some(vfs.used() + room));
        let blob = bytes(n, if n % 2 == 0 { 100 } else { 900 });
        match one(&store, put_blob(&blob, 1)) {
            Ok(_) => kept.push(blob),
            Err(DiskError::NoSpace) => assert!(get(&store, BlobId::of(&blob)).is_err()),
            Err(other) => panic!("{n}: {other:?}"),
        }
        assert_eq!(store.health(), Health::Writable);
        assert!(
            !vfs.files().iter().any(|path| path.starts_with("tmp/")),
            "nothing left over"
        );
    }
    assert!(kept.len() > 50 && kept.len() < 550, "{}", kept.len());
    vfs.set_capacity(None);
    let last = bytes(9999, 900);
    one(&store, put_blob(&last, 1)).unwrap();
    kept.push(last);
    let crashed = vfs.snapshot();
    crashed.remove("index.redb").unwrap();
    for store in [store, open(crashed)] {
        assert_eq!(
            (store.stats().blobs, store.stats().damaged),
            (kept.len() as u64, 0)
        );
        for blob in &kept {
            assert_eq!(get(&store, BlobId::of(blob)).as_ref(), Ok(blob));
        }
    }
}

#[test]
fn on_a_full_disk_blobs_can_still_be_read_and_forgotten() {
    let vfs = MemVfs::new();
    let mut config = config();
    config.compact_bytes = 64 << 10;
    let store = Store::open(vfs.clone(), config).unwrap();
    let blob = |n| bytes(n, if n % 2 == 0 { 400 } else { 6000 });
    for n in 0..60 {
        one(&store, put_blob(&blob(n), 1)).unwrap();
    }
    vfs.set_capacity(Some(vfs.used()));
    let mut refused = 0;
    for n in 60..90 {
        refused += u64::from(one(&store, put_blob(&blob(n), 1)) == Err(DiskError::NoSpace));
        for n in 0..60 {
            assert_eq!(get(&store, BlobId::of(&blob(n))), Ok(blob(n)));
        }
    }
    assert!(refused > 20, "{refused}");
    for n in 0..59 {
        assert_eq!(
            one(&store, DiskKind::ForgetBlob(BlobId::of(&blob(n)))),
            Ok(DiskData::Done)
        );
    }
    for _ in 0..50 {
        let _ = store.commit(Vec::new());
    }
    assert_eq!(
        one(&store, put_blob(&blob(100), 1)),
        Ok(DiskData::Done),
        "without a restart"
    );
    assert_eq!(get(&store, BlobId::of(&blob(59))), Ok(blob(59)));
    assert_eq!(store.health(), Health::Writable);
}

#[test]
fn capacity_counts_what_is_live_and_forgetting_makes_room() {
    let mut config = config();
    config.capacity_bytes = Some(20_000);
    let store = Store::open(MemVfs::new(), config).unwrap();
    let mut held = Vec::new();
    for n in 0..100 {
        let blob = bytes(n, if n % 2 == 0 { 400 } else { 3000 });
        match one(&store, put_blob(&blob, 1)) {
            Ok(_) => held.push(BlobId::of(&blob)),
            other => assert_eq!(other, Err(DiskError::NoSpace)),
        }
        assert!(store.stats().live_bytes <= 20_000 + 300);
    }
    assert!(held.len() < 40);
    let full = one(&store, put_blob(&bytes(1000, 3000), 1));
    assert_eq!(full, Err(DiskError::NoSpace));
    for id in held {
        assert_eq!(one(&store, DiskKind::ForgetBlob(id)), Ok(DiskData::Done));
    }
    assert_eq!(
        one(&store, put_blob(&bytes(1000, 3000), 1)),
        Ok(DiskData::Done)
    );
}

/// What a scenario was told is done.
#[derive(Debug, Default)]
struct Told {
    /// The last completed word on each blob: held or not. Absent if the last
    /// one failed, since then nobody knows.
    blobs: BTreeMap<usize, bool>,
    records: BTreeMap<u8, u64>,
    members: Option<Bytes>,
}

/// Puts, forgets, rolls and compacts, and writes down what completes. Gives up
/// at the first failure.
fn scenario<V: Vfs>(store: &Store<V>, told: &mut Told) -> bool {
    let blob = |n: usize| bytes(n as u64, if n.is_multiple_of(3) { 700 } else { 350 });
    for n in 0..26 {
        let name = (n % 4) as u8;
        let members = bytes(n as u64, 64);
        let mut batch = vec![
            put_blob(&blob(n), 1),
            DiskKind::PutRecord(record(name, n as u64, 30)),
        ];
        told.blobs.remove(&n);
        if n >= 4 {
            batch.push(DiskKind::ForgetBlob(BlobId::of(&blob(n - 4))));
            told.blobs.remove(&(n - 4));
        }
        batch.push(DiskKind::PutMembers(members.clone()));
        told.members = None;
        let done = run(store, batch);
        if done.iter().any(Result::is_err) {
            return false;
        }
        told.blobs.insert(n, true);
        told.records.insert(name, n as u64);
        told.members = Some(members);
        if n >= 4 {
            told.blobs.insert(n - 4, false);
        }
    }
    true
}

#[test]
fn whatever_call_the_machine_stops_at_nothing_completed_is_lost() {
    let blob = |n: usize| bytes(n as u64, if n.is_multiple_of(3) { 700 } else { 350 });
    let (mut calls, mut compacted) = (0, false);
    loop {
        let disk = MemVfs::new();
        let vfs = FailAfter::new(disk.clone(), calls);
        let mut told = Told::default();
        let mut finished = false;
        if let Ok(store) = try_open(vfs.clone()) {
            finished = scenario(&store, &mut told);
            let first = disk.files().iter().any(|path| path == "log/00000001.seg");
            compacted |= finished && !first;
        }
        let stopped = vfs.burnt();
        let store = open(disk.snapshot());
        assert_eq!(store.recovery().damaged, 0, "stopped at {calls}");
        for (n, held) in &told.blobs {
            let expected = if *held {
                Ok(blob(*n))
            } else {
                Err(DiskError::NotFound)
            };
            assert_eq!(
                get(&store, BlobId::of(&blob(*n))),
                expected,
                "stopped at {calls}, blob {n}"
            );
        }
        for (name, n) in &told.records {
            let found = newest(&store, key(*name)).unwrap().unwrap().version;
            assert!(found >= version(*n), "stopped at {calls}, record {name}");
        }
        let loaded = load(&store);
        if told.members.is_some() {
            assert_eq!(loaded.members, told.members, "stopped at {calls}");
        }
        final_names_are_whole(&disk);
        if finished && !stopped {
            break;
        }
        calls += 1;
    }
    assert!(compacted, "the scenario must reach compaction");
    assert!(calls > 300, "{calls}");
}

fn final_names_are_whole(disk: &MemVfs) {
    for path in disk
        .files()
        .iter()
        .filter(|path| path.starts_with("blobs/"))
    {
        let file = disk.open(path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(
            BlobId::of(&bytes).to_hex(),
            path.rsplit('/').next().unwrap()
        );
    }
}

#[test]
fn a_machine_that_stops_again_during_recovery_loses_nothing_either() {
    let disk = MemVfs::new();
    let mut told = Told::default();
    let store = open(disk.clone());
    assert!(scenario(&store, &mut told));
    let crashed = disk.snapshot();
    drop(store);
    let last = crashed
        .files()
        .into_iter()
        .rfind(|path| path.starts_with("log/"))
        .unwrap();
    let file = crashed.open(&last).unwrap();
    file.write_at(&[0x55; 77], file.len().unwrap()).unwrap();
    for calls in 0.. {
        let disk = crashed.snapshot();
        let vfs = FailAfter::new(disk.clone(), calls);
        drop(try_open(vfs.clone()));
        let stopped = vfs.burnt();
        let store = open(disk.snapshot());
        assert_eq!(store.recovery().damaged, 0, "stopped at {calls}");
        assert_eq!(load(&store).members, told.members, "stopped at {calls}");
        let held = told.blobs.values().filter(|held| **held).count() as u64;
        assert_eq!(
            (store.stats().blobs, store.stats().records),
            (held, 26),
            "stopped at {calls}"
        );
        if !stopped {
            break;
        }
    }
}
