//! Stores that are opened while their disk is full or failing, and again when
//! it is not: nothing is lost by having tried.

use peerhold_core::disk::{DiskData, DiskError, DiskKind};
use peerhold_core::{DiskOp, NodeId};
use peerhold_sim::disk::{DiskFaults, SimDisk};
use peerhold_store::{OpenError, Store, StoreConfig};

fn config() -> StoreConfig {
    let mut config = StoreConfig::new([3; 32]);
    config.cache_bytes = 1 << 20;
    config.reserve_bytes = 64 << 10;
    config.segment_bytes = 16 << 10;
    config
}

fn open(disk: &SimDisk) -> Result<Store<peerhold_sim::disk::Mount>, OpenError> {
    let store = Store::open(disk.mount(), config())?;
    store.claim(NodeId([1; 32]))?;
    Ok(store)
}

fn ask(store: &Store<peerhold_sim::disk::Mount>, kind: DiskKind) -> DiskData {
    let done = store.commit(vec![store.prepare(DiskOp::detached(kind))]);
    done[0].result().clone().unwrap()
}

/// A store that was started and has a member map, and whose process died.
fn made(seed: u64, starts: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    for start in 1..=starts {
        let store = open(&disk).unwrap();
        ask(&store, DiskKind::Load);
        for number in 0..20 {
            let map = format!("map {start} {number}").repeat(30);
            ask(&store, DiskKind::PutMembers(map.into()));
        }
        disk.kill();
    }
    disk
}

fn is_whole(disk: &SimDisk, starts: u64) {
    let store = open(disk).unwrap();
    let DiskData::Loaded(loaded) = ask(&store, DiskKind::Load) else {
        panic!("it loads");
    };
    let map = format!("map {starts} 19").repeat(30);
    assert_eq!(loaded.members.as_deref(), Some(map.as_bytes()));
    assert_eq!((loaded.starts, loaded.lost), (starts + 1, 0));
}

#[test]
fn a_start_on_a_full_disk_loses_nothing() {
    for starts in 1..4 {
        for pages in 0..40 {
            let disk = made(pages, starts);
            disk.set_capacity(Some(disk.used() + pages * 4096));
            drop(open(&disk));
            disk.kill();
            disk.set_capacity(None);
            is_whole(&disk, starts);
        }
    }
}

#[test]
fn a_start_on_a_disk_whose_syncs_fail_loses_nothing() {
    for seed in 0..100 {
        let disk = made(seed, 2);
        disk.set_faults(DiskFaults {
            sync_error: 200_000,
            ..DiskFaults::none()
        });
        drop(open(&disk));
        disk.crash();
        disk.set_faults(DiskFaults::none());
        is_whole(&disk, 2);
    }
}

#[test]
fn what_a_start_could_not_sync_the_next_one_does_not_believe() {
    for seed in 0..300 {
        let disk = made(seed, 2);
        let syncs_fail = |sync_error| {
            disk.set_faults(DiskFaults {
                sync_error,
                ..DiskFaults::none()
            });
        };
        let store = open(&disk).unwrap();
        syncs_fail(1_000_000);
        let put = DiskKind::PutMembers("map 2 19".repeat(30).into());
        let done = store.commit(vec![store.prepare(DiskOp::detached(put))]);
        assert_eq!(*done[0].result(), Err(DiskError::SyncFailed));
        drop(store);
        disk.kill();
        syncs_fail(300_000);
        for _ in 0..3 {
            drop(Store::open(disk.mount(), config()));
            disk.kill();
        }
        syncs_fail(0);
        for _ in 0..2 {
            let store = Store::open(disk.mount(), config()).unwrap();
            assert_eq!(store.recovery().damaged, 0, "seed {seed}");
            drop(store);
            disk.crash();
        }
        is_whole(&disk, 2);
    }
}

/// Fills segment after segment while this goes wrong, and loses in a power cut
/// all that can be lost.
fn churn(seed: u64, faults: DiskFaults) {
    let disk = made(seed, 1);
    let store = open(&disk).unwrap();
    disk.set_faults(DiskFaults {
        lose: 1_000_000,
        ..faults
    });
    for number in 0..100 {
        let map = format!("map {number}").repeat(100);
        let put = DiskKind::PutMembers(map.into());
        store.commit(vec![store.prepare(DiskOp::detached(put))]);
    }
    disk.crash();
    disk.set_faults(DiskFaults::none());
    let store = open(&disk).unwrap();
    assert_eq!(store.recovery().damaged, 0, "seed {seed}");
}

#[test]
fn no_segment_is_removed_before_the_index_has_forgotten_it_for_good() {
    for seed in 0..200 {
        let full = DiskFaults {
            full: 50_000,
            ..DiskFaults::none()
        };
        churn(seed, full);
    }
}

#[test]
fn an_index_made_anew_has_its_name_for_good_before_a_segment_is_removed() {
    for seed in 0..400 {
        let failing = DiskFaults {
            sync_error: 20_000,
            ..DiskFaults::none()
        };
        churn(seed, failing);
    }
}
