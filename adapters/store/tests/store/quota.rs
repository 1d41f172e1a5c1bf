//! Bytes count for the namespace whose they are: exactly, across restarts and
//! new indexes, and no more than it may have.

use std::collections::{BTreeMap, BTreeSet};

use peerhold_core::disk::{Claim, DiskData, DiskError, DiskKind, StoredRecord};
use peerhold_core::id::{BlobId, NamespaceId, PutId};
use peerhold_store::Store;
use peerhold_store::vfs::{MemVfs, Vfs};

use crate::support::{bytes, claim, config, key, one, open, put_blob, record};

fn spaces() -> [NamespaceId; 2] {
    [1, 2].map(|byte| NamespaceId([byte; 32]))
}

/// A store that is to hold so many bytes of each namespace.
fn limited(vfs: MemVfs, limit: u64) -> Store<MemVfs> {
    let mut config = config();
    config.namespace_bytes = Some(limit);
    Store::open(vfs, config).unwrap()
}

/// A put of another namespace's.
fn foreign(put: DiskKind) -> DiskKind {
    match put {
        DiskKind::PutBlob { mut claim, bytes } => {
            claim.namespace = spaces()[1];
            DiskKind::PutBlob { claim, bytes }
        }
        put => put,
    }
}

#[test]
fn what_is_over_quota_is_refused_and_changes_nothing_until_something_is_forgotten() {
    for len in [400, 5000] {
        let vfs = MemVfs::new();
        let limit = 2 * len as u64;
        let mut store = limited(vfs.clone(), limit);
        let blobs = [1, 2, 3].map(|seed| bytes(seed, len));
        one(&store, put_blob(&blobs[0], 1)).unwrap();
        one(&store, put_blob(&blobs[1], 1)).unwrap();
        let over = Err(DiskError::Quota { limit, used: limit });
        for _ in 0..2 {
            let (files, stats) = (vfs.files(), store.stats());
            assert_eq!(one(&store, put_blob(&blobs[2], 1)), over);
            assert_eq!(one(&store, DiskKind::Claim(claim(&blobs[2], 1))), over);
            assert_eq!(
                one(&store, DiskKind::PutRecord(record(1, 1, 10))),
                over,
                "records count"
            );
            assert_eq!((vfs.files(), store.stats()), (files, stats));
            // What it has already, and what others have, is not in its way.
            let again = DiskKind::Claim(claim(&blobs[0], 2));
            assert_eq!(one(&store, again), Ok(DiskData::Claimed { held: true }));
            one(&store, foreign(put_blob(&blobs[0], 3))).unwrap();
            drop(store);
            store = limited(vfs.clone(), limit);
        }
        one(&store, DiskKind::ForgetBlob(BlobId::of(&blobs[0]))).unwrap();
        assert_eq!(store.namespace_bytes(&spaces()[1]), Ok(0));
        assert_eq!(one(&store, put_blob(&blobs[2], 1)), Ok(DiskData::Done));
    }
}

#[test]
fn a_claim_on_another_namespaces_blob_counts_for_its_own() {
    let store = limited(MemVfs::new(), 700);
    let [small, other] = [1, 2].map(|seed| bytes(seed, 400));
    one(&store, put_blob(&small, 1)).unwrap();
    one(&store, foreign(put_blob(&other, 1))).unwrap();
    let over = DiskError::Quota {
        limit: 700,
        used: 400,
    };
    let claimed = one(&store, DiskKind::Claim(claim(&other, 2)));
    assert_eq!(claimed, Err(over));
    assert_eq!(store.stats().claims, 2);
}

#[test]
fn a_blob_whose_bytes_are_found_damaged_counts_no_more() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    let blob = bytes(1, 5000);
    one(&store, put_blob(&blob, 1)).unwrap();
    let path = vfs.files().into_iter().find(|path| path.contains("blobs/"));
    vfs.remove(&path.unwrap()).unwrap();
    let read = one(&store, DiskKind::GetBlob(BlobId::of(&blob)));
    assert_eq!(read, Err(DiskError::Corrupt));
    assert_eq!(store.namespace_bytes(&spaces()[0]), Ok(0));
    one(&store, put_blob(&blob, 2)).unwrap();
    assert_eq!(store.namespace_bytes(&spaces()[0]), Ok(5000));
}

/// What a store is to hold, by simpler means.
#[derive(Default)]
struct Model {
    blobs: BTreeMap<BlobId, u64>,
    claims: BTreeMap<(BlobId, PutId), NamespaceId>,
    records: BTreeMap<[u8; 32], (NamespaceId, u64)>,
}

impl Model {
    fn used(&self, space: NamespaceId) -> u64 {
        let claimed = self.claims.iter().filter(|(_, of)| **of == space);
        let claimed: BTreeSet<BlobId> = claimed.map(|((blob, _), _)| *blob).collect();
        let blobs = claimed.iter().filter_map(|blob| self.blobs.get(blob));
        let records = self.records.values().filter(|(of, _)| *of == space);
        blobs.sum::<u64>() + records.map(|(_, len)| len).sum::<u64>()
    }

    fn claim(&mut self, claim: &Claim) {
        let claimed = self.claims.entry((claim.blob, claim.put));
        claimed.or_insert(claim.namespace);
    }
}

/// What an entry takes in the log, from FORMAT.md.
fn entry_len(record: &StoredRecord) -> u64 {
    let key = 32 + 32 + 16 + 32;
    let body = 8 + record.head.len() + record.meta.len() + record.content.len();
    (56 + key + body).next_multiple_of(8) as u64
}

#[test]
fn the_counts_are_those_of_a_model_through_restarts_and_new_indexes() {
    let (vfs, mut model) = (MemVfs::new(), Model::default());
    let mut store = open(vfs.clone());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for step in 0..600 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [what, which, put, space, ..] = state.to_be_bytes();
        let len = if which % 8 < 4 { 300 } else { 700 };
        let blob = bytes(u64::from(which % 8), len);
        let mut claim = claim(&blob, put % 4);
        claim.namespace = spaces()[usize::from(space % 2)];
        match what % 8 {
            0..3 => {
                let bytes = blob.clone();
                one(&store, DiskKind::PutBlob { claim, bytes }).unwrap();
                model.blobs.insert(claim.blob, len as u64);
                model.claim(&claim);
            }
            3 | 4 => {
                let held = one(&store, DiskKind::Claim(claim)).unwrap();
                if held == (DiskData::Claimed { held: true }) {
                    model.claim(&claim);
                }
            }
            5 => {
                one(&store, DiskKind::ForgetBlob(claim.blob)).unwrap();
                model.blobs.remove(&claim.blob);
                model.claims.retain(|(of, _), _| *of != claim.blob);
            }
            6 => {
                let mut record = record(which % 4, u64::from(put % 4), 50);
                record.key = key(which % 4);
                record.key.namespace = claim.namespace;
                let name =
                    *blake3::hash(&[&[which % 4, put % 4, space % 2][..]].concat()).as_bytes();
                let len = entry_len(&record);
                one(&store, DiskKind::PutRecord(record)).unwrap();
                model.records.insert(name, (claim.namespace, len));
            }
            _ => {
                drop(store);
                if which % 3 == 0 {
                    vfs.remove("index.redb").unwrap();
                }
                store = open(vfs.clone());
            }
        }
        for space in spaces() {
            assert_eq!(
                store.namespace_bytes(&space),
                Ok(model.used(space)),
                "{step}"
            );
        }
    }
    assert!(store.stats().segments > 1, "nothing was compacted");
}
