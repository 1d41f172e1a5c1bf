//! Writing: what is moved and what is not, what replicas that were away come
//! to hold, and what is said where nobody can know.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use peerhold_core::{History, Name, OpError, Outcome};
use peerhold_sim::{Cluster, Plan, Task};
use support::{cluster, noise};

const MIB: usize = 1 << 20;
/// More than all that is not blobs takes on the network here.
const TALK: u64 = 256 << 10;

fn settled(cluster: &mut Cluster, task: Task) {
    cluster.finish(task).result.unwrap().unwrap();
    assert!(cluster.settle(task, Duration::from_secs(60)));
}

/// Runs until a node has paid all that it owes.
fn pay(cluster: &mut Cluster, at: usize) -> bool {
    cluster.run_until(Duration::from_secs(120), |cluster| {
        let status = cluster.status(at).unwrap();
        status.ready && status.debts == 0
    })
}

#[test]
fn a_node_that_was_away_holds_every_version_after_its_return_without_a_read() {
    for restart in [false, true] {
        let mut cluster = cluster(1);
        let (writer, large) = (cluster.namespace(), noise(3 * MIB));
        cluster.put(0, &writer, "name", b"before").unwrap();
        cluster.kill(2);
        cluster.put(0, &writer, "name", b"1").unwrap();
        cluster.put(0, &writer, "name", &large).unwrap();
        cluster.put(0, &writer, "name", b"3").unwrap();
        cluster.remove(0, &writer, "name").unwrap();
        cluster.put(0, &writer, "name", &large[..2 * MIB]).unwrap();
        cluster.put(0, &writer, "other", b"other").unwrap();
        cluster.remove(0, &writer, "other").unwrap();
        if restart {
            cluster.kill(0);
            cluster.start(0);
        }
        cluster.start(2);
        assert!(pay(&mut cluster, 0));
        for (name, versions) in [("name", 6), ("other", 2)] {
            let held = cluster.held(2, writer.reader(), name);
            assert_eq!(held, cluster.held(1, writer.reader(), name));
            assert_eq!(held.len(), versions, "of {name}");
        }
        let stats = |at| {
            let stats = cluster.stats(at).unwrap();
            (stats.blobs, stats.claims, stats.records)
        };
        assert_eq!(stats(2), stats(1));
    }
}

#[test]
fn what_two_writers_owe_one_node_it_gets_from_both() {
    let mut cluster = cluster(2);
    let writer = cluster.namespace();
    cluster.kill(2);
    for round in 0..4 {
        cluster
            .put(round % 2, &writer, "name", &[round as u8])
            .unwrap();
    }
    cluster.start(2);
    assert!(pay(&mut cluster, 0) && pay(&mut cluster, 1));
    let held = cluster.held(2, writer.reader(), "name");
    assert_eq!(held.len(), 4);
    assert_eq!(held, cluster.held(0, writer.reader(), "name"));
}

#[test]
fn a_client_that_holds_nothing_pays_with_every_version_too() {
    let mut plan = Plan::new(4, 7);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let (writer, large) = (cluster.namespace(), noise(2 * MIB));
    cluster.kill(2);
    for data in [b"1", large.as_slice(), b"3", b"4"] {
        cluster.put(3, &writer, "name", data).unwrap();
    }
    cluster.remove(3, &writer, "name").unwrap();
    cluster.start(2);
    assert!(pay(&mut cluster, 3));
    let held = cluster.held(2, writer.reader(), "name");
    assert_eq!(held.len(), 5);
    assert_eq!(held, cluster.held(0, writer.reader(), "name"));
}

#[test]
fn with_two_of_three_killed_no_write_is_done_and_each_says_why() {
    let mut plan = Plan::new(3, 3);
    plan.config.timing.operation = Duration::from_secs(5);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    for data in [b"one", b"two"] {
        let task = cluster.begin_put(0, &writer, "name", data.as_slice().into());
        settled(&mut cluster, task);
    }
    let before = cluster.held(0, writer.reader(), "name");
    cluster.kill(1);
    cluster.kill(2);
    let errors = [
        cluster.put(0, &writer, "name", b"three").unwrap_err(),
        cluster.remove(0, &writer, "name").unwrap_err(),
        cluster
            .restore(0, &writer, "name", before[1].0)
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "1 of 2 required copies");
    }
    assert_eq!(cluster.held(0, writer.reader(), "name"), before);
}

#[test]
fn the_same_file_stored_again_moves_none_of_its_bytes() {
    let mut cluster = cluster(4);
    let (writer, data) = (cluster.namespace(), noise(4 * MIB));
    let first = cluster.begin_put(0, &writer, "name", data.clone().into());
    settled(&mut cluster, first);
    let blobs = cluster.stats(1).unwrap().blobs;
    assert!(cluster.sent() > 8 * MIB as u64, "{} bytes", cluster.sent());
    for (at, name) in [(0, "name"), (0, "other"), (1, "third")] {
        let before = cluster.sent();
        let again = cluster.begin_put(at, &writer, name, data.clone().into());
        settled(&mut cluster, again);
        let moved = cluster.sent() - before;
        assert!(moved < TALK, "{moved} bytes for {name} at {at}");
    }
    for at in 0..3 {
        assert_eq!(cluster.stats(at).unwrap().blobs, blobs);
        assert_eq!(cluster.held(at, writer.reader(), "name").len(), 2);
    }
}

#[test]
fn a_put_that_was_cut_off_moves_only_what_is_missing_when_it_is_run_again() {
    for killed in [false, true] {
        let mut cluster = cluster(5);
        let (writer, data) = (cluster.namespace(), noise(30 * MIB));
        cluster.put(0, &writer, "name", b"old").unwrap();
        let task = cluster.begin_put(0, &writer, "name", data.clone().into());
        assert!(cluster.run_until(Duration::from_secs(5), |cluster| {
            cluster.look(task).progress > 10 * MIB as u64
        }));
        if killed {
            cluster.kill(0);
            cluster.run_for(Duration::from_secs(1));
            cluster.start(0);
            assert!(cluster.run_until_active());
        } else {
            cluster.cancel(task);
            cluster.run_for(Duration::from_secs(1));
        }
        assert_eq!(cluster.get(1, writer.reader(), "name").unwrap().1, b"old");
        let held = cluster.stats(1).unwrap().blobs + cluster.stats(2).unwrap().blobs;
        assert!((20..60).contains(&held), "{held} blobs came through");
        let before = cluster.sent();
        let again = cluster.begin_put(0, &writer, "name", data.clone().into());
        settled(&mut cluster, again);
        let (moved, missing) = (cluster.sent() - before, (60 - held) * MIB as u64);
        assert!(moved < missing + TALK, "{moved} bytes for {missing}");
        assert!(cluster.get(2, writer.reader(), "name").unwrap().1 == data);
    }
}

#[test]
fn two_versions_that_were_written_at_once_are_both_kept_and_all_agree_on_the_content() {
    for seed in 20..30 {
        let mut cluster = cluster(seed);
        let writer = cluster.namespace();
        cluster.skew(1, -3_600_000);
        let by_right = cluster.begin_put(0, &writer, "name", b"right".as_slice().into());
        let by_slow = cluster.begin_put(1, &writer, "name", b"slow".as_slice().into());
        settled(&mut cluster, by_right);
        settled(&mut cluster, by_slow);
        let held = cluster.held(0, writer.reader(), "name");
        let puts: BTreeSet<_> = held.iter().map(|(_, put)| *put).collect();
        let wrote = [by_right, by_slow].map(|task| cluster.look(task).put.unwrap());
        assert_eq!(puts, wrote.into());
        let content = cluster.get(0, writer.reader(), "name").unwrap();
        assert_eq!(content.0.put, held[0].1);
        for at in 1..3 {
            assert_eq!(cluster.held(at, writer.reader(), "name"), held);
            assert_eq!(cluster.get(at, writer.reader(), "name").unwrap(), content);
        }
        // One that does not overlap with them follows both.
        cluster.put(1, &writer, "name", b"later").unwrap();
        for at in 0..3 {
            let (_, read) = cluster.get(at, writer.reader(), "name").unwrap();
            assert_eq!(read, b"later");
        }
    }
}

#[test]
fn whatever_a_put_says_when_it_is_cut_off_its_put_id_tells_what_became_of_it() {
    let (mut unknown, mut kept) = (BTreeSet::new(), 0);
    for steps in 0.. {
        let mut plan = Plan::new(4, 6);
        plan.clients = 1;
        plan.config.timing.operation = Duration::from_secs(5);
        let mut cluster = Cluster::new(plan);
        assert!(cluster.run_until_active());
        let writer = cluster.namespace();
        cluster.put(0, &writer, "name", b"old").unwrap();
        let task = cluster.begin_put(3, &writer, "name", b"new".as_slice().into());
        for _ in 0..steps {
            cluster.step();
        }
        (0..3).for_each(|at| cluster.kill(at));
        let finished = cluster.finish(task);
        let put = finished.put.expect("told when it began");
        (0..3).for_each(|at| cluster.start(at));
        assert!(cluster.run_until_active());
        let held = (0..3).filter(|at| {
            let held = cluster.held(*at, writer.reader(), "name");
            held.iter().any(|(_, of)| *of == put)
        });
        let held = held.count();
        match finished.result.unwrap() {
            Ok(Outcome::Stored(stored)) => {
                assert_eq!(stored.put, put);
                assert!(held >= 2, "after {steps} steps");
                kept += 1;
                if kept == 5 {
                    break;
                }
            }
            Err(OpError::Unavailable { unknown: false, .. }) => assert_eq!(held, 0),
            Err(OpError::Unavailable { unknown: true, .. }) => {
                let history = History {
                    reader: writer.reader().clone(),
                    name: Name::new("name").unwrap(),
                    below: None,
                };
                let (entries, _) = cluster.history(1, history).unwrap();
                let told = entries.iter().any(|entry| entry.put == put);
                assert_eq!(told, held > 0, "after {steps} steps");
                unknown.insert(held);
            }
            other => panic!("after {steps} steps: {other:?}"),
        }
    }
    // Where it is not known, all of it can be.
    assert!(unknown.contains(&0) && unknown.len() > 1, "{unknown:?}");
}
