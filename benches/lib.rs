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

/// The middle one of some values, the greater of two.
///
/// # Panics
///
/// If there are none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time of a process so far, `self` or its id, or nothing where it is not
/// told: fields 14 and 15 of `/proc/PID/stat` (proc(5)), in hundredths of a
/// second.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field, a name in parentheses, may have anything in it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// The most memory that this process has had, in MiB, or nothing where it is
/// not told: `VmHWM` of `/proc/self/status` (proc(5)).
pub fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
