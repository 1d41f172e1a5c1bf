//! Storing, reading and removing files in clusters of healthy nodes.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::{Get, Name, OpError};
use peerhold_sim::{Cluster, Plan};

/// Bytes that differ everywhere.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn cluster(seed: u64) -> Cluster {
    let mut cluster = Cluster::of(3, seed);
    assert!(cluster.run_until_active());
    cluster
}

#[test]
fn files_of_every_kind_of_size_are_read_back_by_every_node() {
    let mut cluster = cluster(1);
    let writer = cluster.namespace();
    let kib = 1 << 10;
    for size in [
        0,
        1,
        16 * kib - 1,
        16 * kib,
        16 * kib + 1,
        1024 * kib,
        1024 * kib + 1,
        5000 * kib,
    ] {
        let (name, data) = (format!("file of {size}"), noise(size));
        let stored = cluster.put(0, &writer, &name, &data).unwrap();
        assert_eq!(stored.size, size as u64);
        for at in 0..3 {
            let (file, read) = cluster.get(at, writer.reader(), &name).unwrap();
            assert_eq!(file.size, size as u64);
            assert_eq!(file.unconfirmed, None);
            assert!(
                read == data,
                "node {at} read something else for {size} bytes"
            );
        }
    }
}
