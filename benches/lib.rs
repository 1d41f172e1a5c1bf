//! What the benches share.
//!
//! `cargo bench -p peerhold-benches` runs all of them, `--bench seal` one.
//! `--bench ratios` is for machines that are not quiet: it prints how layers
//! compare with each other in one run, which another run, or another machine,
//! should repeat.

use peerhold_core::seal::{ChunkBuffer, NamespaceSecret, Writer};

/// Bytes in a KiB.
pub const KIB: usize = 1 << 10;
/// Bytes in a MiB.
pub const MIB: usize = 1 << 20;

/// `len` bytes without a pattern, the same for the same length.
pub fn noise(len: usize) -> Vec<u8> {
    // SplitMix64.
    let words = (1..).map(|step: u64| {
        let z = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    let mut bytes: Vec<u8> = words
        .take(len.div_ceil(8))
        .flat_map(u64::to_le_bytes)
        .collect();
    bytes.truncate(len);
    bytes
}

/// A namespace.
pub fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

/// `plain` as a chunk to be sealed.
///
/// # Panics
///
/// If it is longer than a chunk may be.
pub fn chunk(plain: &[u8]) -> ChunkBuffer {
    let mut chunk = ChunkBuffer::with_capacity(plain.len());
    assert_eq!(chunk.extend(plain), plain.len());
    chunk
}
