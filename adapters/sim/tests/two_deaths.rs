//! A process that dies at any call leaves what is written and not durable. The
//! next one must not build on it: the power may go as well.

use peerhold_core::disk::{DiskData, DiskKind};
use peerhold_core::{DiskOp, NodeId};
use peerhold_sim::disk::{DiskFaults, Mount, SimDisk};
use peerhold_store::{Store, StoreConfig};

/// Member maps that one life writes, more than a segment holds.
const MAPS: usize = 12;

fn open(disk: &SimDisk) -> Option<Store<Mount>> {
    let mut config = StoreConfig::new([3; 32]);
    config.cache_bytes = 1 << 20;
    config.reserve_bytes = 16 << 10;
    config.segment_bytes = 4 << 10;
    let store = Store::open(disk.mount(), config).ok()?;
    store.claim(NodeId([1; 32])).ok()?;
    Some(store)
}

fn map(life: usize, number: usize) -> String {
    format!("map {life} {number}").repeat(60)
}

/// Writes maps until one fails. Gives the last that is written for certain.
fn write(store: &Store<Mount>, life: usize, maps: usize) -> Option<String> {
    let written = (0..maps).map_while(|number| {
        let put = DiskKind::PutMembers(map(life, number).into());
        let done = store.commit(vec![store.prepare(DiskOp::detached(put))]);
        done[0].result().is_ok().then(|| map(life, number))
    });
    written.last()
}

#[test]
fn what_a_process_writes_after_one_that_died_at_any_call_outlives_a_power_cut() {
    for calls in 0.. {
        let disk = SimDisk::new(calls);
        disk.set_faults(DiskFaults {
            lose: 1_000_000,
            ..DiskFaults::none()
        });
        disk.stop_after(calls);
        let store = open(&disk);
        store.and_then(|store| write(&store, 1, MAPS));
        let stopped = disk.is_stopped();
        disk.kill();
        let store = open(&disk).unwrap();
        let told = write(&store, 2, 1);
        assert_eq!(told, Some(map(2, 0)));
        disk.crash();
        drop(store);
        let store = open(&disk).unwrap();
        let load = store.prepare(DiskOp::detached(DiskKind::Load));
        let done = store.commit(vec![load]);
        let Ok(DiskData::Loaded(loaded)) = done[0].result() else {
            panic!("it loads");
        };
        let members = loaded.members.as_deref();
        assert_eq!(members, Some(map(2, 0).as_bytes()), "killed at {calls}");
        assert_eq!(loaded.lost, 0, "killed at {calls}");
        if !stopped {
            break;
        }
    }
}
