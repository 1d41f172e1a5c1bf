//! Nodes of different drivers in one cluster.

use peerhold_examples_mixed::{Cluster, Runtime, SMOL, THREADS, made_up, story};

#[test]
fn nodes_on_three_runtimes_store_read_fall_and_come_back_together() {
    let mut account = Vec::new();
    story(|line| account.push(line)).unwrap();
    assert_eq!(account.len(), 14, "{account:#?}");
}

/// With one copy of each blob, about half of a file lies on the other node,
/// whichever stores it and whichever reads it.
#[test]
fn a_node_on_threads_and_one_on_smol_store_and_read_each_others_files() {
    let both: [Runtime; 2] = [SMOL, THREADS];
    let cluster = Cluster::start(&both, 1, 1).unwrap();
    for (writes, reads) in [(SMOL, THREADS), (THREADS, SMOL)] {
        let (file, data) = (format!("by-{}", writes.name), made_up(16 << 20).unwrap());
        assert_eq!(cluster.store(writes.name, &file, &data).unwrap(), 1);
        cluster.check(reads.name, &file, &data).unwrap();
        cluster.check(writes.name, &file, &data).unwrap();
    }
    cluster.stop().unwrap();
}
