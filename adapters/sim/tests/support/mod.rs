//! What the cluster tests share.

use peerhold_sim::Cluster;

/// Three storing nodes that have found each other.
pub(crate) fn cluster(seed: u64) -> Cluster {
    let mut cluster = Cluster::of(3, seed);
    assert!(cluster.run_until_active());
    cluster
}

/// Bytes that differ everywhere, the same for the same length.
pub(crate) fn noise(len: usize) -> Vec<u8> {
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
