//! Nodes that are away, come back, or never were there.

mod support;

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{ClusterKey, Event, Get, Limits, Name, OpError, PeerFault};
use peerhold_sim::{Cluster, Plan};
use support::{cluster, noise};

const MIB: usize = 1 << 20;

/// Three nodes whose deadlines are short.
fn hasty(seed: u64) -> Plan {
    let mut plan = Plan::new(3, seed);
    plan.config.timing.operation = Duration::from_secs(5);
    plan.config.timing.answer = Duration::from_secs(1);
    plan.config.timing.request = Duration::from_secs(2);
    plan
}

fn confirmed(
    cluster: &mut Cluster,
    at: usize,
    reader: &peerhold_core::Reader,
    name: &str,
) -> Result<(), OpError> {
    let name = Name::new(name).unwrap();
    let task = cluster.begin_get(
        at,
        Get {
            confirmed: true,
            ..Get::newest(reader, &name)
        },
    );
    cluster.finish(task).result.unwrap().map(|_| ())
}

#[test]
fn with_one_of_three_killed_puts_and_gets_go_on() {
    let mut cluster = cluster(1);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    cluster.put(0, &writer, "before", &data).unwrap();
    cluster.kill(2);
    let stored = cluster.put(0, &writer, "after", &data).unwrap();
    assert_eq!((stored.copies, stored.replicas), (2, 3));
    for at in 0..2 {
        assert!(cluster.get(at, writer.reader(), "before").unwrap().1 == data);
        let (file, read) = cluster.get(at, writer.reader(), "after").unwrap();
        assert!(read == data);
        assert_eq!(file.unconfirmed, None);
    }
}

#[test]
fn what_a_node_missed_it_holds_after_its_return_and_then_the_put_has_settled() {
    let mut cluster = cluster(2);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    cluster.kill(2);
    let big = cluster.begin_put(0, &writer, "big", data.clone().into());
    let small = cluster.begin_put(0, &writer, "small", b"small".as_slice().into());
    cluster.finish(big).result.unwrap().unwrap();
    cluster.finish(small).result.unwrap().unwrap();
    assert!(!cluster.settle(big, Duration::from_secs(30)));
    // Three chunks, a manifest node, two records.
    assert_eq!(cluster.status(0).unwrap().debts, 6);
    cluster.start(2);
    assert!(cluster.settle(big, Duration::from_secs(60)));
    assert!(cluster.settle(small, Duration::from_secs(60)));
    assert_eq!(cluster.status(0).unwrap().debts, 0);
    let stats = cluster.stats(2).unwrap();
    assert_eq!((stats.blobs, stats.records), (4, 2));
}

#[test]
fn debts_outlive_the_node_that_owes() {
    let mut cluster = cluster(3);
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    cluster.kill(2);
    let task = cluster.begin_put(0, &writer, "big", data.into());
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.run_until(Duration::from_secs(10), |cluster| {
        cluster.status(0).unwrap().operations == 0
    }));
    cluster.kill(0);
    cluster.start(0);
    cluster.start(2);
    assert!(cluster.run_until(Duration::from_secs(60), |cluster| {
        cluster.status(0).unwrap().ready && cluster.status(0).unwrap().debts == 0
    }));
    let stats = cluster.stats(2).unwrap();
    assert_eq!((stats.blobs, stats.records), (3, 1));
}

#[test]
fn with_two_of_three_killed_a_put_fails_with_its_numbers_and_a_get_says_unconfirmed() {
    let mut cluster = Cluster::new(hasty(4));
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"content").unwrap();
    cluster.kill(1);
    cluster.kill(2);
    let error = cluster.put(0, &writer, "name", b"newer").unwrap_err();
    assert_eq!(
        error,
        OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown: false
        }
    );
    assert_eq!(error.to_string(), "1 of 2 required copies");
    let (file, read) = cluster.get(0, writer.reader(), "name").unwrap();
    let unconfirmed = file.unconfirmed.unwrap();
    assert_eq!(
        (read.as_slice(), unconfirmed.answered, unconfirmed.needed),
        (b"content".as_slice(), 1, 2)
    );
    let error = confirmed(&mut cluster, 0, writer.reader(), "name").unwrap_err();
    assert_eq!(
        error,
        OpError::Unconfirmed {
            answered: 1,
            needed: 2
        }
    );
}

#[test]
fn a_large_put_that_loses_its_peers_half_way_fails_and_leaves_the_old_version() {
    let mut cluster = Cluster::new(hasty(5));
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"old").unwrap();
    let task = cluster.begin_put(0, &writer, "name", noise(30 * MIB).into());
    assert!(cluster.run_until(
        Duration::from_secs(5),
        |cluster| cluster.look(task).progress > 0
    ));
    cluster.kill(1);
    cluster.kill(2);
    let result = cluster.finish(task).result.unwrap();
    assert_eq!(
        result.unwrap_err(),
        OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown: false
        }
    );
    cluster.start(1);
    cluster.start(2);
    assert!(cluster.run_until_active());
    assert_eq!(cluster.get(1, writer.reader(), "name").unwrap().1, b"old");
    assert_eq!(cluster.status(0).unwrap().memory, 0);
}

#[test]
fn a_put_waits_out_a_short_absence() {
    let mut cluster = cluster(6);
    let (writer, data) = (cluster.namespace(), noise(20 * MIB));
    let task = cluster.begin_put(0, &writer, "name", data.clone().into());
    assert!(cluster.run_until(
        Duration::from_secs(5),
        |cluster| cluster.look(task).progress > 0
    ));
    cluster.kill(1);
    cluster.kill(2);
    cluster.run_for(Duration::from_secs(10));
    assert!(!cluster.is_finished(task));
    cluster.start(1);
    cluster.start(2);
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.settle(task, Duration::from_secs(60)));
    assert!(cluster.get(1, writer.reader(), "name").unwrap().1 == data);
}

#[test]
fn a_node_that_has_met_nobody_acknowledges_nothing() {
    let mut plan = hasty(7);
    plan.off = 2;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until(Duration::from_secs(1), |cluster| {
        cluster.status(0).unwrap().ready
    }));
    let writer = cluster.namespace();
    let error = cluster.put(0, &writer, "name", b"content").unwrap_err();
    assert_eq!(
        error,
        OpError::Unavailable {
            copies: 0,
            needed: 2,
            unknown: false
        }
    );
    assert!(matches!(
        cluster.get(0, writer.reader(), "name"),
        Err(OpError::Unconfirmed { answered: 0, .. })
    ));
    assert_eq!(cluster.stats(0).unwrap().records, 0);
}

#[test]
fn a_put_begun_before_the_peers_are_met_ends_when_they_are() {
    let mut plan = Plan::new(3, 8);
    plan.off = 2;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until(Duration::from_secs(1), |cluster| {
        cluster.status(0).unwrap().ready
    }));
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    let task = cluster.begin_put(0, &writer, "name", data.clone().into());
    cluster.run_for(Duration::from_secs(5));
    assert!(!cluster.is_finished(task));
    cluster.start(1);
    cluster.start(2);
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.get(2, writer.reader(), "name").unwrap().1 == data);
}

#[test]
fn a_storing_member_that_comes_when_records_exist_stays_joining() {
    let mut plan = Plan::new(4, 9);
    plan.off = 1;
    let mut cluster = Cluster::new(plan);
    let active = |cluster: &Cluster, at| {
        cluster
            .status(at)
            .is_some_and(|status| status.active() == 3)
    };
    assert!(cluster.run_until(Duration::from_secs(30), |cluster| {
        (0..3).all(|at| active(cluster, at))
    }));
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"content").unwrap();
    cluster.start(3);
    assert!(cluster.run_until(Duration::from_secs(30), |cluster| {
        cluster.status(3).unwrap().members.len() == 4
    }));
    cluster.run_for(Duration::from_secs(60));
    assert!((0..4).all(|at| active(&cluster, at)));
    // It serves its embedder all the same.
    assert_eq!(
        cluster.get(3, writer.reader(), "name").unwrap().1,
        b"content"
    );
    cluster
        .put(3, &writer, "other", b"from the newcomer")
        .unwrap();
    assert_eq!(cluster.stats(3).unwrap().records, 0);
}

#[test]
fn everything_is_there_after_all_have_been_restarted() {
    let mut cluster = cluster(10);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    cluster.put(0, &writer, "big", &data).unwrap();
    cluster.put(1, &writer, "small", b"small").unwrap();
    (0..3).for_each(|at| cluster.kill(at));
    (0..3).for_each(|at| cluster.start(at));
    assert!(cluster.run_until_active());
    for at in 0..3 {
        assert!(cluster.get(at, writer.reader(), "big").unwrap().1 == data);
        assert_eq!(
            cluster.get(at, writer.reader(), "small").unwrap().1,
            b"small"
        );
    }
}

#[test]
fn a_stale_replica_is_mended_by_a_read() {
    let mut cluster = cluster(11);
    let writer = cluster.namespace();
    let put = cluster.begin_put(0, &writer, "name", Bytes::from_static(b"old"));
    cluster.finish(put).result.unwrap().unwrap();
    assert!(cluster.settle(put, Duration::from_secs(5)));
    cluster.kill(2);
    cluster.put(0, &writer, "name", b"new").unwrap();
    // The one who owes is away, so only the reader can tell node 2.
    cluster.kill(0);
    cluster.start(2);
    assert!(cluster.run_until(Duration::from_secs(60), |cluster| {
        cluster
            .status(2)
            .is_some_and(|status| status.peers.len() == 1)
    }));
    assert_eq!(cluster.get(2, writer.reader(), "name").unwrap().1, b"new");
    assert!(cluster.run_until(
        Duration::from_secs(5),
        |cluster| cluster.stats(2).unwrap().records == 2
    ));
}

#[test]
fn nodes_with_different_cluster_keys_refuse_each_other() {
    let mut plan = Plan::new(3, 12);
    plan.off = 1;
    let mut cluster = Cluster::new(plan);
    cluster.configure(2, |config| {
        config.cluster_keys = vec![ClusterKey::from_bytes([8; 32])]
    });
    cluster.start(2);
    cluster.run_for(Duration::from_secs(10));
    assert_eq!(cluster.status(2).unwrap().peers.len(), 0);
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                fault: Some(PeerFault::WrongKey),
                ..
            }
        )
    };
    assert!(
        cluster
            .take_events()
            .iter()
            .any(|(_, event)| refused(event))
    );
    assert_eq!(cluster.status(0).unwrap().peers.len(), 1);
}

#[test]
fn cluster_keys_are_rotated_without_a_moment_apart() {
    let mut cluster = cluster(13);
    let (old, new) = (
        ClusterKey::from_bytes([7; 32]),
        ClusterKey::from_bytes([8; 32]),
    );
    let writer = cluster.namespace();
    // Accept both, then prove the new one, then drop the old one.
    for keys in [
        vec![old.clone(), new.clone()],
        vec![new.clone(), old],
        vec![new],
    ] {
        for at in 0..3 {
            cluster.kill(at);
            cluster.configure(at, |config| config.cluster_keys = keys.clone());
            cluster.start(at);
            assert!(cluster.run_until_active());
            cluster.put(at, &writer, "name", b"content").unwrap();
        }
    }
}

#[test]
fn one_session_stands_between_two_nodes_that_dial_each_other() {
    for seed in 0..20 {
        let mut cluster = cluster(100 + seed);
        cluster.run_for(Duration::from_secs(120));
        for at in 0..3 {
            assert_eq!(cluster.connections(at), 2, "seed {seed}");
        }
    }
}

#[test]
fn with_the_least_memory_two_nodes_that_read_from_each_other_both_finish() {
    let mut plan = Plan::new(3, 14);
    let blob = MIB + 8;
    plan.config.limits = Limits {
        operations: 2,
        memory: 2 * blob + 8 * blob,
        requests: 8,
        ..Limits::default()
    };
    plan.config.limits.disk_operations = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    let data = noise(40 * MIB);
    for (at, name) in [(0, "of 0"), (1, "of 1")] {
        let task = cluster.begin_put(at, &writer, name, data.clone().into());
        cluster.finish(task).result.unwrap().unwrap();
        assert!(cluster.settle(task, Duration::from_secs(60)));
    }
    cluster.forget(0, writer.reader(), "of 1").unwrap();
    cluster.forget(1, writer.reader(), "of 0").unwrap();
    let get = |name| Get {
        confirmed: true,
        ..Get::newest(writer.reader(), &Name::new(name).unwrap())
    };
    let (one, other) = (
        cluster.begin_get(0, get("of 1")),
        cluster.begin_get(1, get("of 0")),
    );
    assert!(cluster.finish(one).bytes == data);
    assert!(cluster.finish(other).bytes == data);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut cluster = cluster(seed);
        let writer = cluster.namespace();
        cluster.put(0, &writer, "big", &noise(5 * MIB)).unwrap();
        cluster.kill(2);
        cluster.put(1, &writer, "small", b"small").unwrap();
        cluster.start(2);
        assert!(cluster.run_until_active());
        cluster.get(2, writer.reader(), "big").unwrap();
        cluster.run_for(Duration::from_secs(100));
        cluster.trace()
    };
    assert_eq!(run(15), run(15));
    assert_ne!(run(15), run(16));
}
