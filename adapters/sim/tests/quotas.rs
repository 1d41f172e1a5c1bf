//! Clusters whose members keep only so much of a namespace, and take only so
//! much at once from a peer.

mod support;

use std::time::Duration;

use peerhold_core::seal::BLOB_MAX;
use peerhold_core::{OpError, QuotaOf};
use peerhold_sim::{Cluster, Plan};
use support::{cluster, noise};

const MIB: usize = 1 << 20;

#[test]
fn a_namespace_gets_no_more_than_its_quota_and_keeps_what_it_has() {
    let mut plan = Plan::new(3, 60);
    plan.store.namespace_bytes = Some(3 * MIB as u64);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    cluster.put(0, &writer, "first", &data).unwrap();
    for round in 0..2 {
        let more = cluster.put(1, &writer, "second", &noise(2 * MIB + 1));
        match more.unwrap_err() {
            OpError::OverQuota {
                of: QuotaOf::Namespace,
                limit,
                used,
                unknown: false,
                ..
            } => assert!(limit == 3 * MIB as u64 && used > 2 * MIB as u64),
            other => panic!("{other:?}"),
        }
        let missing = cluster.get(2, writer.reader(), "second");
        assert_eq!(missing.unwrap_err(), OpError::NotFound);
        assert!(cluster.get(2, writer.reader(), "first").unwrap().1 == data);
        if round == 0 {
            // What counts is known after a restart, too.
            for at in 0..3 {
                cluster.kill(at);
                cluster.start(at);
            }
            assert!(cluster.run_until_active());
        }
    }
    // Nobody else pays for it, and small things still fit.
    let other = cluster.namespace();
    cluster.put(0, &other, "second", &data).unwrap();
    cluster
        .put(0, &writer, "note", b"there is room for this")
        .unwrap();
}

#[test]
fn forgetting_makes_room_where_something_was_forgotten() {
    let mut plan = Plan::new(3, 61);
    plan.store.namespace_bytes = Some(5 * MIB as u64);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    let task = cluster.begin_put(0, &writer, "first", noise(3 * MIB).into());
    cluster.finish(task);
    assert!(cluster.settle(task, Duration::from_secs(10)));
    let before = cluster.stats(0).unwrap().blobs;
    cluster.forget(0, writer.reader(), "first").unwrap();
    assert_eq!(cluster.stats(0).unwrap().blobs, 0);
    let over = cluster.put(0, &writer, "second", &noise(3 * MIB + 1));
    // Two of three have no room.
    assert!(matches!(over, Err(OpError::OverQuota { .. })), "{over:?}");
    assert!(before > 0 && cluster.stats(0).unwrap().blobs > 0);
}

#[test]
fn members_that_take_one_blob_at_once_from_a_peer_slow_a_put_and_do_not_end_it() {
    let mut plan = Plan::new(3, 62);
    plan.config.limits.peer_bytes = Some(BLOB_MAX as u64);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(6 * MIB));
    let task = cluster.begin_put(0, &writer, "file", data.clone().into());
    cluster.finish(task);
    assert!(cluster.settle(task, Duration::from_secs(60)));
    for at in 0..3 {
        assert!(cluster.get(at, writer.reader(), "file").unwrap().1 == data);
        assert_eq!(cluster.stats(at).unwrap().blobs, 7);
    }
}

#[test]
fn what_a_put_owes_reaches_a_member_that_was_down_by_the_head_of_its_record() {
    let mut cluster = cluster(63);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    cluster.kill(2);
    cluster.put(0, &writer, "file", &data).unwrap();
    // The writer has forgotten what it knew when it pays.
    cluster.kill(0);
    cluster.start(0);
    cluster.start(2);
    assert!(cluster.run_until_active());
    cluster.run_for(Duration::from_secs(60));
    assert_eq!(cluster.stats(2).unwrap().blobs, 4);
    assert_eq!(cluster.stats(0).unwrap().debts, 0);
    cluster.kill(0);
    cluster.kill(1);
    assert!(cluster.get(2, writer.reader(), "file").unwrap().1 == data);
}
