//! Lists, histories and older versions of whole clusters.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use peerhold_core::{Entry, Get, History, List, Name, OpError, Outcome, Unconfirmed, Writer};
use peerhold_sim::{Cluster, Plan};
use support::{cluster, noise};

fn list(writer: &Writer) -> List {
    List {
        reader: writer.reader().clone(),
        prefix: None,
        after: None,
        removed: false,
    }
}

fn history(writer: &Writer, name: &str) -> History {
    History {
        reader: writer.reader().clone(),
        name: Name::new(name).unwrap(),
        below: None,
    }
}

fn names(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// Stores so many files, of which every tenth is removed, and names those that
/// are left.
fn fill(cluster: &mut Cluster, writer: &Writer, files: usize) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for at in 0..files {
        // A long name takes more of a page.
        let name = format!("{at}-{}", "n".repeat(300 + at));
        cluster.put(at % 3, writer, &name, &noise(at)).unwrap();
        if at % 10 == 0 {
            cluster.remove((at + 1) % 3, writer, &name).unwrap();
        } else {
            left.insert(name);
        }
    }
    left
}

#[test]
fn all_nodes_list_the_same_names_and_histories() {
    let mut cluster = cluster(1);
    let writer = cluster.namespace();
    // More than a page of each member's.
    let left = fill(&mut cluster, &writer, 250);
    for at in 0..5 {
        cluster.put(at % 3, &writer, "often", &noise(at)).unwrap();
    }
    let other = cluster.namespace();
    cluster.put(0, &other, "another's", b"..").unwrap();
    cluster.run_for(Duration::from_secs(5));
    let all: Vec<_> = (0..3)
        .map(|at| cluster.list(at, list(&writer)).unwrap())
        .collect();
    let (entries, listed) = &all[0];
    let mut expected: BTreeSet<&str> = left.iter().map(String::as_str).collect();
    expected.insert("often");
    assert_eq!(names(entries), expected);
    assert_eq!(entries.len(), expected.len());
    assert!(entries.is_sorted_by(|a, b| a.tag < b.tag));
    assert_eq!((listed.answered, listed.members), (3, 3));
    assert_eq!((listed.unread, listed.unreadable), (0, 0));
    let whole = |entry: &Entry| entry.copies == 3 && entry.unconfirmed.is_none();
    assert!(entries.iter().all(whole));
    assert!(all.iter().all(|other| other == &all[0]));
    let histories = [0, 1, 2].map(|at| cluster.history(at, history(&writer, "often")).unwrap());
    let sizes: Vec<u64> = histories[0].0.iter().map(|entry| entry.size).collect();
    assert_eq!(sizes, [4, 3, 2, 1, 0]);
    assert!(histories.iter().all(|other| other == &histories[0]));
}

#[test]
fn with_one_of_three_down_a_list_is_confirmed_and_with_two_it_is_not() {
    let mut plan = Plan::new(3, 2);
    plan.config.timing.answer = Duration::from_secs(1);
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    for at in 0..20 {
        let name = format!("file {at}");
        cluster.put(at % 3, &writer, &name, &noise(at)).unwrap();
    }
    cluster.put(0, &writer, "file 7", &noise(3)).unwrap();
    cluster.run_for(Duration::from_secs(5));
    cluster.kill(2);
    for at in 0..2 {
        let (entries, listed) = cluster.list(at, list(&writer)).unwrap();
        assert_eq!(entries.len(), 20);
        assert!(entries.iter().all(|entry| entry.unconfirmed.is_none()));
        assert_eq!((listed.answered, listed.members), (2, 3));
        assert_eq!(listed.unread, 0);
    }
    cluster.kill(1);
    let unconfirmed = Some(Unconfirmed {
        answered: 1,
        needed: 2,
        copies: 1,
        durable: 2,
    });
    let (entries, listed) = cluster.list(0, list(&writer)).unwrap();
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|entry| entry.unconfirmed == unconfirmed));
    assert_eq!((listed.answered, listed.members), (1, 3));
    assert_eq!(listed.unread, 65_536);
    let (entries, listed) = cluster.history(0, history(&writer, "file 7")).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.unconfirmed == unconfirmed));
    assert_eq!(listed.unread, 1);
}

#[test]
fn a_member_that_is_killed_half_way_does_not_stop_a_list() {
    let mut plan = Plan::new(4, 3);
    plan.config.timing.answer = Duration::from_secs(1);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    let left = fill(&mut cluster, &writer, 250);
    let task = cluster.begin_list(3, list(&writer));
    let half = |cluster: &Cluster| cluster.look(task).entries.len() > 50;
    assert!(cluster.run_until(Duration::from_secs(5), half));
    assert!(!cluster.is_finished(task));
    cluster.kill(0);
    let finished = cluster.finish(task);
    let Some(Ok(Outcome::Listed(listed))) = finished.result else {
        panic!("{:?}", finished.result)
    };
    let expected: BTreeSet<&str> = left.iter().map(String::as_str).collect();
    assert_eq!(names(&finished.entries), expected);
    assert!((2..=3).contains(&listed.answered) && listed.unread == 0);
}

#[test]
fn every_version_of_a_history_can_be_read_though_a_node_has_missed_it() {
    let mut cluster = cluster(4);
    let writer = cluster.namespace();
    cluster.put(0, &writer, "name", &noise(100)).unwrap();
    cluster.kill(2);
    cluster.put(0, &writer, "name", &noise(100_000)).unwrap();
    cluster.remove(1, &writer, "name").unwrap();
    cluster.put(1, &writer, "name", &noise(200)).unwrap();
    cluster.start(2);
    let ready = |cluster: &Cluster| cluster.status(2).is_some_and(|of| of.ready);
    assert!(cluster.run_until(Duration::from_secs(5), ready));
    let (entries, _) = cluster.history(2, history(&writer, "name")).unwrap();
    let sizes: Vec<u64> = entries.iter().map(|entry| entry.size).collect();
    assert_eq!(sizes, [200, 0, 100_000, 100]);
    for entry in &entries {
        let get = Get::version(writer.reader(), &entry.name, entry.id);
        let task = cluster.begin_get(2, get);
        let finished = cluster.finish(task);
        if entry.removed {
            assert_eq!(finished.result, Some(Err(OpError::NotFound)));
        } else {
            assert!(finished.bytes == noise(entry.size as usize));
            let file = finished.file.unwrap();
            assert_eq!((file.id, file.put), (entry.id, entry.put));
        }
    }
}
