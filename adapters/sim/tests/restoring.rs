//! Restoring older versions.

mod support;

use std::time::Duration;

use peerhold_core::{OpError, RecordId, Writer};
use peerhold_sim::disk::Mount;
use peerhold_sim::{Cluster, Plan, Task};
use peerhold_store::vfs::{Kind, Vfs};
use support::{cluster, noise};

const MIB: usize = 1 << 20;
/// More than all that is not blobs takes on the network here.
const TALK: u64 = 1 << 20;

fn settled(cluster: &mut Cluster, task: Task) {
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.settle(task, Duration::from_secs(60)));
}

/// Stores a file, at all replicas. Which record it is.
fn stored(cluster: &mut Cluster, writer: &Writer, name: &str, data: &[u8]) -> RecordId {
    let task = cluster.begin_put(0, writer, name, data.to_vec().into());
    settled(cluster, task);
    cluster.held(0, writer.reader(), name)[0].0
}

/// Whether every node reads this.
fn reads(cluster: &mut Cluster, writer: &Writer, name: &str, data: &[u8]) -> bool {
    (0..3).all(|at| cluster.get(at, writer.reader(), name).unwrap().1 == data)
}

#[test]
fn a_small_file_is_restored_by_any_node() {
    let mut cluster = cluster(1);
    let writer = cluster.namespace();
    let old = stored(&mut cluster, &writer, "name", b"old");
    let new = stored(&mut cluster, &writer, "name", b"new");
    for (at, id, data) in [(1, old, b"old"), (2, new, b"new"), (0, old, b"old")] {
        let task = cluster.begin_restore(at, &writer, "name", id);
        settled(&mut cluster, task);
        assert!(reads(&mut cluster, &writer, "name", data));
        let newest = cluster.held(at, writer.reader(), "name")[0];
        assert_eq!(Some(newest.1), cluster.look(task).put);
    }
    assert_eq!(cluster.held(2, writer.reader(), "name").len(), 5);
}

/// A cluster whose chunks are small, so that files of some MiB have trees of
/// several levels.
fn deep(seed: u64) -> Cluster {
    let mut plan = Plan::new(3, seed);
    plan.config.chunk_bytes = 64 << 10;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    cluster
}

#[test]
fn a_tree_of_several_levels_is_restored_without_moving_a_byte_of_it() {
    let mut cluster = deep(2);
    // 640 chunks below two nodes below one.
    let (writer, data) = (cluster.namespace(), noise(40 * MIB));
    let old = stored(&mut cluster, &writer, "name", &data);
    stored(&mut cluster, &writer, "name", b"new");
    let (before, stats) = (cluster.sent(), cluster.stats(1).unwrap());
    let task = cluster.begin_restore(1, &writer, "name", old);
    settled(&mut cluster, task);
    let moved = cluster.sent() - before;
    assert!(moved < TALK, "{moved} bytes");
    assert_eq!(cluster.look(task).progress, data.len() as u64);
    assert_eq!(cluster.status(1).unwrap().memory, 0);
    for at in 0..3 {
        let now = cluster.stats(at).unwrap();
        assert_eq!((now.blobs, now.claims), (stats.blobs, 2 * stats.claims));
    }
    assert!(reads(&mut cluster, &writer, "name", &data));
}

#[test]
fn a_replica_that_lacks_a_blob_gets_it_whoever_restores() {
    for (at, lacking) in [(0, 2), (2, 2), (1, 0)] {
        let mut cluster = cluster(3);
        let (writer, data) = (cluster.namespace(), noise(3 * MIB));
        let old = stored(&mut cluster, &writer, "name", &data);
        assert_eq!(
            cluster.forget(lacking, writer.reader(), "name").unwrap(),
            (4, 0)
        );
        stored(&mut cluster, &writer, "name", b"new");
        assert_eq!(cluster.stats(lacking).unwrap().blobs, 0);
        let before = cluster.sent();
        let task = cluster.begin_restore(at, &writer, "name", old);
        settled(&mut cluster, task);
        let moved = cluster.sent() - before;
        assert_eq!(cluster.stats(lacking).unwrap().blobs, 4);
        assert!(moved < data.len() as u64 + TALK, "{moved} bytes");
        assert!(reads(&mut cluster, &writer, "name", &data));
    }
}

#[test]
fn a_client_restores_and_holds_nothing() {
    let mut plan = Plan::new(4, 4);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    let old = stored(&mut cluster, &writer, "name", &data);
    cluster.forget(1, writer.reader(), "name").unwrap();
    stored(&mut cluster, &writer, "name", b"new");
    let task = cluster.begin_restore(3, &writer, "name", old);
    settled(&mut cluster, task);
    assert_eq!(cluster.stats(1).unwrap().blobs, 4);
    assert_eq!(cluster.stats(3).unwrap().blobs, 0);
    assert!(reads(&mut cluster, &writer, "name", &data));
}

#[test]
fn with_a_replica_down_the_rest_is_owed_and_paid() {
    let mut cluster = cluster(5);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    let old = stored(&mut cluster, &writer, "name", &data);
    cluster.forget(2, writer.reader(), "name").unwrap();
    stored(&mut cluster, &writer, "name", b"new");
    cluster.kill(2);
    let task = cluster.begin_restore(0, &writer, "name", old);
    cluster.finish(task).result.unwrap().unwrap();
    assert!(!cluster.settle(task, Duration::from_secs(30)));
    // Three chunks, a manifest node, a record.
    assert_eq!(cluster.status(0).unwrap().debts, 5);
    cluster.start(2);
    assert!(cluster.settle(task, Duration::from_secs(60)));
    assert_eq!(cluster.status(0).unwrap().debts, 0);
    assert_eq!(cluster.stats(2).unwrap().blobs, 4);
    assert!(reads(&mut cluster, &writer, "name", &data));
}

#[test]
fn the_last_content_of_a_removed_name_comes_back_and_its_removal_does_not() {
    let mut cluster = cluster(6);
    let (writer, data) = (cluster.namespace(), noise(2 * MIB));
    let last = stored(&mut cluster, &writer, "name", &data);
    cluster.remove(1, &writer, "name").unwrap();
    let removal = cluster.held(1, writer.reader(), "name")[0].0;
    let error = cluster.restore(0, &writer, "name", removal).unwrap_err();
    assert_eq!(error, OpError::NothingToRestore);
    cluster.restore(2, &writer, "name", last).unwrap();
    assert!(reads(&mut cluster, &writer, "name", &data));
}

#[test]
fn what_is_no_version_of_the_name_is_not_found() {
    let mut cluster = cluster(7);
    let writer = cluster.namespace();
    stored(&mut cluster, &writer, "name", b"content");
    let other = stored(&mut cluster, &writer, "other", b"another");
    let error = cluster.restore(1, &writer, "name", other).unwrap_err();
    assert_eq!(error, OpError::NotFound);
    assert_eq!(cluster.held(0, writer.reader(), "name").len(), 1);
}

#[test]
fn a_restore_that_was_cut_off_leaves_the_name_and_can_be_run_again() {
    for killed in [false, true] {
        let mut cluster = deep(8);
        let (writer, data) = (cluster.namespace(), noise(40 * MIB));
        let old = stored(&mut cluster, &writer, "name", &data);
        stored(&mut cluster, &writer, "name", b"new");
        let task = cluster.begin_restore(0, &writer, "name", old);
        assert!(cluster.run_until(Duration::from_secs(5), |cluster| {
            cluster.look(task).progress > 10 * MIB as u64
        }));
        if killed {
            cluster.kill(0);
            cluster.start(0);
            assert!(cluster.run_until_active());
        } else {
            cluster.cancel(task);
            assert_eq!(
                cluster.finish(task).result.unwrap().unwrap_err(),
                OpError::Cancelled { unknown: false }
            );
        }
        assert!(reads(&mut cluster, &writer, "name", b"new"));
        cluster.restore(0, &writer, "name", old).unwrap();
        assert!(reads(&mut cluster, &writer, "name", &data));
        cluster.run_for(Duration::from_secs(60));
        assert_eq!(cluster.status(0).unwrap().memory, 0);
    }
}

/// Removes every large blob from a disk.
fn lose(disk: &Mount, folder: &str) {
    for name in disk.list(folder).unwrap() {
        let path = format!("{folder}/{name}");
        match disk.kind(&path).unwrap() {
            Some(Kind::Dir) => lose(disk, &path),
            _ => disk.remove(&path).unwrap(),
        }
    }
}

#[test]
fn what_can_be_had_nowhere_is_not_restored() {
    let mut cluster = cluster(9);
    let (writer, data) = (cluster.namespace(), noise(3 * MIB));
    let old = stored(&mut cluster, &writer, "name", &data);
    (0..3).for_each(|at| lose(&cluster.disk(at).mount(), "blobs"));
    for at in 0..3 {
        // Each finds out by reading.
        let error = cluster.get(at, writer.reader(), "name").unwrap_err();
        assert_eq!(error, OpError::Missing);
    }
    stored(&mut cluster, &writer, "name", b"new");
    for down in [None, Some(2)] {
        down.into_iter().for_each(|at| cluster.kill(at));
        let error = cluster.restore(0, &writer, "name", old).unwrap_err();
        assert_eq!(error, OpError::Missing);
        assert_eq!(cluster.held(0, writer.reader(), "name").len(), 2);
    }
    assert_eq!(cluster.get(0, writer.reader(), "name").unwrap().1, b"new");
}
