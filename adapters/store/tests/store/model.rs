//! Any operations, with restarts of every kind between them: the store says
//! what a map would.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::*;
use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::id::BlobId;
use peerhold_store::Store;
use peerhold_store::vfs::{MemVfs, Vfs};
use quickcheck::{Arbitrary, Gen, QuickCheck};

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Claim(u8, u8),
    Forget(u8),
    Record(u8, u8),
    Members(u8),
    Owe(u8, u8),
    Pay(u8, u8),
    See(u8, u8),
    Idle,
    Restart,
    Crash,
    LoseIndex,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (a, b) = (u8::arbitrary(g) % 12, u8::arbitrary(g) % 3);
        match u8::arbitrary(g) % 32 {
            0..=6 => Self::Put(a, b),
            7..=8 => Self::See(a, u8::arbitrary(g)),
            9..=11 => Self::Claim(a, b),
            12..=16 => Self::Forget(a),
            17..=20 => Self::Record(a % 4, u8::arbitrary(g)),
            21 => Self::Members(a),
            22..=23 => Self::Owe(b, a),
            24..=25 => Self::Pay(b, a),
            26..=28 => Self::Idle,
            29 => Self::Restart,
            30 => Self::Crash,
            _ => Self::LoseIndex,
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    blobs: BTreeMap<u8, BTreeSet<u8>>,
    records: BTreeMap<u8, BTreeSet<u8>>,
    members: Option<Bytes>,
    debts: BTreeSet<(u8, u8)>,
    seen: BTreeMap<u8, u8>,
    starts: u64,
}

fn blob(n: u8) -> Bytes {
    bytes(n.into(), if n.is_multiple_of(2) { 300 } else { 800 })
}

fn step(store: &Store<MemVfs>, model: &mut Model, step: &Step) {
    let done = Ok(DiskData::Done);
    match *step {
        Step::Put(n, put) => {
            assert_eq!(one(store, put_blob(&blob(n), put)), done);
            model.blobs.entry(n).or_default().insert(put);
        }
        Step::Claim(n, put) => {
            let held = model
                .blobs
                .get_mut(&n)
                .map(|claims| claims.insert(put))
                .is_some();
            let claimed = one(store, DiskKind::Claim(claim(&blob(n), put)));
            assert_eq!(claimed, Ok(DiskData::Claimed { held }));
        }
        Step::Forget(n) => {
            assert_eq!(one(store, DiskKind::ForgetBlob(BlobId::of(&blob(n)))), done);
            model.blobs.remove(&n);
        }
        Step::Record(name, n) => {
            assert_eq!(
                one(store, DiskKind::PutRecord(record(name, n.into(), 100))),
                done
            );
            model.records.entry(name).or_default().insert(n);
        }
        Step::Members(n) => {
            assert_eq!(one(store, DiskKind::PutMembers(bytes(n.into(), 80))), done);
            model.members = Some(bytes(n.into(), 80));
        }
        Step::Owe(target, name) => {
            assert_eq!(
                one(store, DiskKind::PutDebts(vec![debt(target, name)])),
                done
            );
            model.debts.insert((target, name));
        }
        Step::Pay(target, name) => {
            assert_eq!(
                one(store, DiskKind::ClearDebts(vec![debt(target, name)])),
                done
            );
            model.debts.remove(&(target, name));
        }
        Step::See(name, n) => {
            // The name before it is forgotten.
            assert_eq!(one(store, note(seen(name + 1, n), name)), done);
            model.seen.insert(name + 1, n);
            model.seen.remove(&name);
        }
        Step::Idle => assert!(store.commit(Vec::new()).is_empty()),
        Step::Restart | Step::Crash | Step::LoseIndex => {}
    }
}

fn check(store: &Store<MemVfs>, model: &mut Model) {
    for n in 0..12 {
        let expected = model
            .blobs
            .get(&n)
            .map(|_| blob(n))
            .ok_or(DiskError::NotFound);
        assert_eq!(get(store, BlobId::of(&blob(n))), expected, "blob {n}");
    }
    for name in 0..4 {
        let last = model.records.get(&name).and_then(BTreeSet::last);
        let expected = last.map(|n| record(name, (*n).into(), 100));
        assert_eq!(newest(store, key(name)), Ok(expected), "record {name}");
        let held = model.records.get(&name).into_iter().flatten().rev();
        let listed = versions(store, name, 1000);
        let listed: Vec<_> = listed.iter().map(row).collect();
        let expected: Vec<_> = held.map(|n| (name, u64::from(*n), true)).collect();
        assert_eq!(listed, expected, "versions of {name}");
        for (_, n, _) in listed {
            let whole = record(name, n, 100);
            assert_eq!(
                record_at(store, key(name), Some(whole.id())),
                Ok(Some(whole))
            );
        }
    }
    let listed: Vec<_> = names(store, 800).iter().map(row).collect();
    let last = |(name, held): (&u8, &BTreeSet<u8>)| (*name, u64::from(*held.last().unwrap()), true);
    let expected: Vec<_> = model.records.iter().map(last).collect();
    assert_eq!(listed, expected);
    let loaded = load(store);
    model.starts += 1;
    assert_eq!(
        (loaded.starts, &loaded.members),
        (model.starts, &model.members)
    );
    let debts: BTreeSet<_> = loaded.debts.into_iter().collect();
    assert_eq!(
        debts,
        model
            .debts
            .iter()
            .map(|(target, name)| debt(*target, *name))
            .collect()
    );
    let noted: BTreeSet<_> = loaded.seen.into_iter().collect();
    let expected = model.seen.iter().map(|(name, n)| seen(*name, *n));
    assert_eq!(noted, expected.collect());
    let stats = store.stats();
    let claims: usize = model.blobs.values().map(BTreeSet::len).sum();
    let records: usize = model.records.values().map(BTreeSet::len).sum();
    assert_eq!(
        (stats.blobs, stats.claims, stats.records, stats.debts),
        (
            model.blobs.len() as u64,
            claims as u64,
            records as u64,
            model.debts.len() as u64
        )
    );
    assert_eq!(stats.damaged, 0);
}

#[test]
fn a_store_says_what_a_map_says() {
    fn property(steps: Vec<Step>) {
        let mut vfs = MemVfs::new();
        let mut store = open(vfs.clone());
        let mut model = Model::default();
        for now in &steps {
            step(&store, &mut model, now);
            if matches!(now, Step::Restart | Step::Crash | Step::LoseIndex) {
                let live = store.stats().live_bytes;
                let crashed = vfs.snapshot();
                drop(store);
                if !matches!(now, Step::Restart) {
                    vfs = crashed;
                }
                if matches!(now, Step::LoseIndex) {
                    vfs.remove("index.redb").unwrap();
                }
                store = open(vfs.clone());
                assert_eq!(store.stats().live_bytes, live);
                check(&store, &mut model);
            }
        }
        check(&store, &mut model);
    }
    QuickCheck::new()
        .rng(Gen::new(300))
        .tests(60)
        .quickcheck(property as fn(Vec<Step>));
}
