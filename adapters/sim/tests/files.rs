//! Storing, reading and removing files in clusters of healthy nodes.

mod support;

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{Get, Name, OpError, Outcome};
use peerhold_sim::{Cluster, Plan};
use quickcheck::{Arbitrary, Gen};
use support::{cluster, noise};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn range(cluster: &mut Cluster, at: usize, get: Get) -> Result<Vec<u8>, OpError> {
    let task = cluster.begin_get(at, get);
    let finished = cluster.finish(task);
    finished.result.expect("ended").map(|_| finished.bytes)
}

#[test]
fn files_of_every_kind_of_size_are_read_back_by_every_node() {
    let mut cluster = cluster(1);
    let writer = cluster.namespace();
    for size in [
        0,
        1,
        16 * KIB - 1,
        16 * KIB,
        16 * KIB + 1,
        MIB,
        MIB + 1,
        5 * MIB,
    ] {
        let (name, data) = (format!("file of {size}"), noise(size));
        let stored = cluster.put(0, &writer, &name, &data).unwrap();
        assert_eq!(stored.size, size as u64);
        for at in 0..3 {
            let (file, read) = cluster.get(at, writer.reader(), &name).unwrap();
            assert_eq!((file.size, file.unconfirmed), (size as u64, None));
            assert!(
                read == data,
                "node {at} read something else for {size} bytes"
            );
        }
    }
}

#[test]
fn a_settled_put_lies_at_every_replica() {
    let mut cluster = cluster(2);
    let writer = cluster.namespace();
    let task = cluster.begin_put(0, &writer, "big", noise(3 * MIB).into());
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.settle(task, Duration::from_secs(10)));
    for at in 0..3 {
        let stats = cluster.stats(at).unwrap();
        // Three chunks, one manifest node.
        assert_eq!((stats.blobs, stats.records), (4, 1));
    }
}

#[test]
fn a_newer_put_takes_the_place_of_an_older_one() {
    let mut cluster = cluster(3);
    let writer = cluster.namespace();
    let first = cluster.put(0, &writer, "name", b"first").unwrap();
    let second = cluster.put(1, &writer, "name", b"second").unwrap();
    assert!(second.version > first.version);
    for at in 0..3 {
        assert_eq!(
            cluster.get(at, writer.reader(), "name").unwrap().1,
            b"second"
        );
    }
}

#[test]
fn a_later_put_wins_though_its_writer_has_a_slow_clock() {
    let mut cluster = cluster(4);
    let writer = cluster.namespace();
    cluster.skew(1, -3_600_000);
    cluster
        .put(0, &writer, "name", b"by the right clock")
        .unwrap();
    cluster.put(1, &writer, "name", b"an hour behind").unwrap();
    assert_eq!(
        cluster.get(2, writer.reader(), "name").unwrap().1,
        b"an hour behind"
    );
}

#[test]
fn a_version_far_ahead_of_the_replicas_clocks_is_refused() {
    let mut plan = Plan::new(3, 5);
    plan.config.timing.operation = Duration::from_secs(3);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    cluster.skew(0, 11 * 60 * 1000);
    let error = cluster
        .put(0, &writer, "name", b"from the future")
        .unwrap_err();
    assert_eq!(
        error,
        OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown: true
        }
    );
}

#[test]
fn a_removed_file_is_gone_for_everyone_and_may_come_again() {
    let mut cluster = cluster(6);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", &noise(2 * MIB)).unwrap();
    cluster.remove(1, &writer, "name").unwrap();
    for at in 0..3 {
        assert_eq!(
            cluster.get(at, writer.reader(), "name").unwrap_err(),
            OpError::NotFound
        );
    }
    assert_eq!(
        cluster.remove(0, &writer, "name").unwrap_err(),
        OpError::NotFound
    );
    cluster.put(2, &writer, "name", b"again").unwrap();
    assert_eq!(cluster.get(0, writer.reader(), "name").unwrap().1, b"again");
}

#[test]
fn a_part_of_a_removed_file_is_not_found_either() {
    let mut cluster = cluster(8);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", &noise(100)).unwrap();
    cluster.remove(1, &writer, "name").unwrap();
    let get = Get {
        range: Some(10..20),
        ..Get::newest(writer.reader(), &Name::new("name").unwrap())
    };
    assert_eq!(range(&mut cluster, 2, get), Err(OpError::NotFound));
}

#[test]
fn what_was_never_stored_is_not_found() {
    let mut cluster = cluster(7);
    let writer = cluster.namespace();
    assert_eq!(
        cluster.get(0, writer.reader(), "nothing").unwrap_err(),
        OpError::NotFound
    );
    assert_eq!(
        cluster.remove(0, &writer, "nothing").unwrap_err(),
        OpError::NotFound
    );
    assert_eq!(
        cluster.forget(0, writer.reader(), "nothing").unwrap_err(),
        OpError::NotFound
    );
}

#[test]
fn one_name_in_two_namespaces_is_two_files() {
    let mut cluster = cluster(8);
    let (one, other) = (cluster.namespace(), cluster.namespace());
    cluster.put(0, &one, "name", b"one").unwrap();
    cluster.put(0, &other, "name", b"other").unwrap();
    assert_eq!(cluster.get(1, one.reader(), "name").unwrap().1, b"one");
    assert_eq!(cluster.get(1, other.reader(), "name").unwrap().1, b"other");
}

/// A range and whether it lies in the file.
#[derive(Clone, Debug)]
struct Cut {
    start: u64,
    end: u64,
}

impl Arbitrary for Cut {
    fn arbitrary(g: &mut Gen) -> Self {
        let size = (2 * MIB + 70_000) as u64;
        let edge = |g: &mut Gen| match u8::arbitrary(g) % 3 {
            0 => u64::arbitrary(g) % (size + 1000),
            1 => u64::from(u8::arbitrary(g) % 4) * MIB as u64,
            _ => size.saturating_sub(u64::from(u16::arbitrary(g))),
        };
        Self {
            start: edge(g),
            end: edge(g),
        }
    }
}

#[test]
fn ranges_are_the_bytes_that_were_asked_for() {
    let mut cluster = cluster(9);
    let (writer, data) = (cluster.namespace(), noise(2 * MIB + 70_000));
    cluster.put(0, &writer, "big", &data).unwrap();
    let mut gen_ = Gen::from_size_and_seed(100, 9);
    for _ in 0..60 {
        let Cut { start, end } = Cut::arbitrary(&mut gen_);
        let get = Get {
            range: Some(start..end),
            confirmed: true,
            ..Get::newest(writer.reader(), &Name::new("big").unwrap())
        };
        let read = range(&mut cluster, 1, get);
        let size = data.len() as u64;
        if start > end || start > size {
            assert_eq!(read, Err(OpError::Range { start, end, size }));
        } else {
            let end = end.min(size);
            assert!(
                read.unwrap() == data[start as usize..end as usize],
                "{start}..{end}"
            );
        }
    }
}

#[test]
fn a_range_of_a_small_file_is_cut_from_its_record() {
    let mut cluster = cluster(10);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "small", b"0123456789").unwrap();
    let get = |range| Get {
        range: Some(range),
        ..Get::newest(writer.reader(), &Name::new("small").unwrap())
    };
    assert_eq!(range(&mut cluster, 1, get(3..6)).unwrap(), b"345");
    assert_eq!(range(&mut cluster, 1, get(8..60)).unwrap(), b"89");
    assert_eq!(range(&mut cluster, 1, get(10..10)).unwrap(), b"");
    assert!(matches!(
        range(&mut cluster, 1, get(11..12)),
        Err(OpError::Range { .. })
    ));
}

#[test]
fn many_operations_at_once_keep_their_bytes_apart() {
    let mut plan = Plan::new(3, 11);
    plan.config.limits.operations = 64;
    plan.config.limits.memory = 96 * MIB;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    let files: Vec<_> = (0..60)
        .map(|n| (format!("file {n}"), noise(n * 40 * KIB + n)))
        .collect();
    let puts: Vec<_> = files
        .iter()
        .map(|(name, data)| cluster.begin_put(0, &writer, name, Bytes::from(data.clone())))
        .collect();
    for put in puts {
        assert!(matches!(
            cluster.finish(put).result,
            Some(Ok(Outcome::Stored(_)))
        ));
    }
    let gets: Vec<_> = files
        .iter()
        .map(|(name, _)| {
            let name = Name::new(name).unwrap();
            cluster.begin_get(
                1,
                Get {
                    confirmed: true,
                    ..Get::newest(writer.reader(), &name)
                },
            )
        })
        .collect();
    for (get, (name, data)) in gets.into_iter().zip(&files) {
        assert!(cluster.finish(get).bytes == *data, "{name}");
    }
}

#[test]
fn equal_chunks_of_one_namespace_are_kept_once() {
    let mut cluster = cluster(12);
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    for name in ["one", "other"] {
        let task = cluster.begin_put(0, &writer, name, data.clone().into());
        cluster.finish(task);
        assert!(cluster.settle(task, Duration::from_secs(10)));
    }
    let stats = cluster.stats(1).unwrap();
    assert_eq!((stats.blobs, stats.claims, stats.records), (3, 6, 2));
}

#[test]
fn a_writer_that_forgets_reads_from_its_peers() {
    let mut cluster = cluster(13);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    let task = cluster.begin_put(0, &writer, "big", data.clone().into());
    cluster.finish(task);
    assert!(cluster.settle(task, Duration::from_secs(10)));
    assert_eq!(cluster.forget(0, writer.reader(), "big").unwrap(), (4, 0));
    assert_eq!(cluster.stats(0).unwrap().blobs, 0);
    assert!(cluster.get(0, writer.reader(), "big").unwrap().1 == data);
    // Whoever asks again finds nothing to forget.
    assert_eq!(cluster.forget(0, writer.reader(), "big").unwrap(), (0, 0));
}

#[test]
fn nobody_forgets_what_too_few_others_have() {
    let mut cluster = cluster(14);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    let task = cluster.begin_put(0, &writer, "big", data.clone().into());
    cluster.finish(task);
    assert!(cluster.settle(task, Duration::from_secs(10)));
    cluster.forget(0, writer.reader(), "big").unwrap();
    let (forgotten, _) = cluster.forget(1, writer.reader(), "big").unwrap();
    // Node 0 was asked whether it has them, and did not get them back for that.
    assert_eq!(forgotten, 0);
    cluster.kill(2);
    assert!(cluster.get(1, writer.reader(), "big").unwrap().1 == data);
}

#[test]
fn a_cluster_of_one_is_a_configuration() {
    let mut plan = Plan::new(1, 15);
    (plan.config.replicas, plan.config.durable) = (1, 1);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    assert_eq!(cluster.put(0, &writer, "name", &data).unwrap().copies, 1);
    assert!(cluster.get(0, writer.reader(), "name").unwrap().1 == data);
}

#[test]
fn a_client_stores_and_reads_and_holds_nothing() {
    let mut plan = Plan::new(4, 16);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(2 * MIB + 5));
    let stored = cluster.put(3, &writer, "name", &data).unwrap();
    assert!(stored.copies >= 2);
    assert!(cluster.get(3, writer.reader(), "name").unwrap().1 == data);
    let stats = cluster.stats(3).unwrap();
    assert_eq!((stats.blobs, stats.records), (0, 0));
}

#[test]
fn in_a_larger_cluster_each_file_has_three_replicas() {
    let mut cluster = Cluster::of(7, 17);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    for n in 0..20 {
        let (name, data) = (format!("file {n}"), noise(100 * KIB + n));
        let task = cluster.begin_put(n % 7, &writer, &name, data.clone().into());
        cluster.finish(task).result.unwrap().unwrap();
        assert!(cluster.settle(task, Duration::from_secs(10)));
        assert!(cluster.get((n + 3) % 7, writer.reader(), &name).unwrap().1 == data);
    }
    let stats: Vec<_> = (0..7).map(|at| cluster.stats(at).unwrap()).collect();
    assert_eq!(stats.iter().map(|stats| stats.records).sum::<u64>(), 60);
    assert_eq!(stats.iter().map(|stats| stats.blobs).sum::<u64>(), 60);
}

#[test]
fn a_reader_that_takes_nothing_holds_little_and_hurts_nobody() {
    let mut cluster = cluster(18);
    let (writer, data) = (cluster.namespace(), noise(24 * MIB));
    cluster.put(0, &writer, "big", &data).unwrap();
    cluster.put(0, &writer, "other", &noise(3 * MIB)).unwrap();
    let get = |name| Get {
        confirmed: true,
        ..Get::newest(writer.reader(), &Name::new(name).unwrap())
    };
    let slow = cluster.begin_get(1, get("big"));
    cluster.stall(slow, true);
    cluster.run_for(Duration::from_secs(5));
    let held = cluster.status(1).unwrap().memory;
    let limits = Plan::new(3, 18).config.limits;
    assert!(held <= limits.memory / 4, "{held} bytes are held");
    assert_eq!(
        cluster.get(1, writer.reader(), "other").unwrap().1.len(),
        3 * MIB
    );
    // Its own deadline does not end what waits for the caller alone.
    cluster.run_for(Duration::from_secs(600));
    assert!(!cluster.is_finished(slow));
    cluster.stall(slow, false);
    assert!(cluster.finish(slow).bytes == data);
    assert_eq!(cluster.status(1).unwrap().memory, 0);
}

#[test]
fn a_cancelled_put_leaves_the_old_version_and_no_memory() {
    let mut cluster = cluster(19);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", b"old").unwrap();
    let task = cluster.begin_put(0, &writer, "name", noise(20 * MIB).into());
    assert!(cluster.run_until(
        Duration::from_secs(5),
        |cluster| cluster.look(task).progress > 0
    ));
    cluster.cancel(task);
    assert_eq!(
        cluster.look(task).result,
        Some(Err(OpError::Cancelled { unknown: false }))
    );
    assert_eq!(cluster.get(1, writer.reader(), "name").unwrap().1, b"old");
    cluster.run_for(Duration::from_secs(60));
    for at in 0..3 {
        let status = cluster.status(at).unwrap();
        assert_eq!((status.memory, status.operations), (0, 0), "node {at}");
    }
}

#[test]
fn a_cancelled_get_lets_its_peers_stop() {
    let mut cluster = cluster(20);
    let writer = cluster.namespace();
    let task = cluster.begin_put(0, &writer, "big", noise(20 * MIB).into());
    cluster.finish(task);
    assert!(cluster.settle(task, Duration::from_secs(10)));
    cluster.forget(1, writer.reader(), "big").unwrap();
    let get = Get {
        confirmed: true,
        ..Get::newest(writer.reader(), &Name::new("big").unwrap())
    };
    let task = cluster.begin_get(1, get);
    assert!(cluster.run_until(
        Duration::from_secs(5),
        |cluster| cluster.look(task).progress > 0
    ));
    cluster.cancel(task);
    cluster.run_for(Duration::from_secs(1));
    for at in 0..3 {
        assert_eq!(cluster.status(at).unwrap().memory, 0, "node {at}");
    }
    assert_eq!(
        cluster.get(1, writer.reader(), "big").unwrap().1.len(),
        20 * MIB
    );
}

#[test]
fn progress_ends_at_the_size_of_the_file() {
    let mut cluster = cluster(21);
    let writer = cluster.namespace();
    let task = cluster.begin_put(0, &writer, "big", noise(5 * MIB + 1).into());
    assert_eq!(cluster.finish(task).progress, 5 * MIB as u64 + 1);
}
