//! Restores whose replicas lie, lack or fail.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskError, DiskKind};
use peerhold_core::wire::message::{Refusal, kind};
use peerhold_core::{BlobId, Event, Name, OpError, OpId, Outcome, Restore};

use crate::host::{Host, noise, writer};
use crate::writing::{Replica, cluster, talk};

const SIZE: usize = 300_000;

/// A node and two replicas that have taken a file and one that followed it,
/// and what the node's disk holds of the first.
fn stored() -> (Host, [Replica; 2], Restore) {
    let (mut host, mut replicas) = cluster();
    let op = host.put("file", &noise(SIZE));
    talk(&mut host, &mut replicas, 0);
    assert!(matches!(host.result(op), Some(Ok(_))));
    let record = host.disk.records.values().flatten().next().unwrap();
    let restore = Restore {
        writer: writer(),
        name: Name::new("file").unwrap(),
        id: record.id(),
    };
    (host, replicas, restore)
}

fn begin(host: &mut Host, restore: Restore) -> OpId {
    let op = host.node.restore(host.now, restore).unwrap();
    host.run();
    op
}

/// The manifest's one node, taken off the disk.
fn take_node(host: &mut Host) -> (BlobId, Bytes) {
    let is_node = |bytes: &&Bytes| bytes[3] == 2;
    let (id, bytes) = host
        .disk
        .blobs
        .iter()
        .find(|(_, bytes)| is_node(bytes))
        .map(|(id, bytes)| (*id, bytes.clone()))
        .unwrap();
    host.disk.blobs.remove(&id);
    (id, bytes)
}

#[test]
fn a_write_tells_its_put_id_before_anything_of_it_can_take_hold() {
    let (mut host, mut replicas, restore) = stored();
    host.take_events();
    let op = begin(&mut host, restore);
    let events = host.take_events();
    let Some(Event::Began { op: of, put }) = events.first() else {
        panic!("{events:?}");
    };
    let put = *put;
    assert_eq!(*of, op);
    talk(&mut host, &mut replicas, 0);
    match host.result(op) {
        Some(Ok(Outcome::Stored(stored))) => {
            assert_eq!((stored.put, stored.size), (put, SIZE as u64));
        }
        other => panic!("{other:?}"),
    }
    assert!(host.events.contains(&Event::Settled { op }));
    // Each blob is needed by two puts now.
    assert_eq!(host.disk.claims.len(), 2 * host.disk.blobs.len());
}

#[test]
fn a_wrong_node_of_the_manifest_is_seen_through_and_the_next_replica_asked() {
    let (mut host, mut replicas, restore) = stored();
    let (id, node) = take_node(&mut host);
    let op = begin(&mut host, restore);
    for (at, round) in (0..6).map(|round| (round % 2, round)) {
        for frame in replicas[at].peer.asked(&mut host, kind::FETCH) {
            let mut blob = node.to_vec();
            // Whoever is asked first lies.
            blob[100] ^= u8::from(round < 1);
            replicas[at].peer.data(&mut host, &frame, &blob);
        }
    }
    talk(&mut host, &mut replicas, 0);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    let lied = |event: &Event| matches!(event, Event::Lied { .. });
    assert!(host.events.iter().any(lied));
    assert_eq!(host.disk.blobs[&id], node);
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_node_of_the_manifest_that_nobody_has_ends_it_without_a_record() {
    let (mut host, mut replicas, restore) = stored();
    take_node(&mut host);
    let op = begin(&mut host, restore);
    for _ in 0..8 {
        for replica in &mut replicas {
            for frame in replica.peer.asked(&mut host, kind::FETCH) {
                replica.peer.refuse(&mut host, &frame, Refusal::Missing);
            }
        }
    }
    assert_eq!(host.result(op), Some(Err(OpError::Missing)));
    talk(&mut host, &mut replicas, 1);
    assert_eq!(host.disk.records.values().flatten().count(), 1);
    assert_eq!((host.memory(), host.node.status().operations), (0, 0));
}

#[test]
fn a_restore_whose_replicas_take_too_little_leaves_the_name_unchanged() {
    for claims in [None, Some(Err(Refusal::NoSpace)), Some(Err(Refusal::Busy))] {
        let (mut host, mut replicas, restore) = stored();
        replicas
            .iter_mut()
            .for_each(|replica| replica.claims = claims);
        let op = begin(&mut host, restore);
        talk(&mut host, &mut replicas, 130);
        let unavailable = OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown: false,
        };
        assert_eq!(host.result(op), Some(Err(unavailable)));
        assert_eq!(host.disk.records.values().flatten().count(), 1);
    }
}

#[test]
fn a_full_disk_of_its_own_makes_a_debt_of_the_copy_and_not_a_failure() {
    let (mut host, mut replicas, restore) = stored();
    host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::Claim(_)).then_some(DiskError::NoSpace)
    }));
    let op = begin(&mut host, restore);
    talk(&mut host, &mut replicas, 1);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    assert_eq!(host.disk.debts.len(), host.disk.blobs.len());
    host.fault = None;
    host.pass(Duration::from_secs(16));
    talk(&mut host, &mut replicas, 1);
    assert!(host.disk.debts.is_empty());
    assert!(host.events.contains(&Event::Settled { op }));
}
