//! How much a layer costs beside what it is made of, in one run.
//!
//! Times differ from machine to machine and from minute to minute; how they
//! compare, measured in turns, hardly does. Each line is the median of rounds
//! in which both sides ran, the time of one over the time of the other.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_benches::{MIB, chunk, noise, writer};
use peerhold_core::ctr::CtrStream;
use peerhold_core::seal::{SealedBlob, open_chunk, seal_chunk};
use peerhold_sim::Cluster;

fn main() {
    // `cargo test` runs benches with this, once and for their correctness.
    let rounds = if std::env::args().any(|arg| arg == "--test") {
        1
    } else {
        201
    };
    let plain = noise(MIB);
    let sealed = seal(&plain).1;

    println!("seconds over seconds, 1 MiB, median of {rounds} rounds");
    let hashing = || time(|| blake3::hash(black_box(&plain)));
    ratio(rounds, "AES-256-CTR / BLAKE3", || cipher(&plain), hashing);
    let parts = || hashing() + cipher(&plain) + hashing();
    ratio(
        rounds,
        "seal / two hashes and CTR",
        || seal(&plain).0,
        parts,
    );
    let parts = || hashing() + cipher(&plain);
    ratio(rounds, "open / hash and CTR", || open(&sealed), parts);

    let rounds = rounds.min(21);
    println!("seconds over seconds, 16 MiB through three nodes, median of {rounds} rounds");
    let file = noise(16 * MIB);
    let work = || {
        // One seal by the writer, one check by each of two other replicas.
        let chunks = file.chunks(MIB);
        chunks
            .map(|chunk| seal(chunk).0 + hash(chunk) + hash(chunk))
            .sum()
    };
    ratio(
        rounds,
        "put / its sealing and checking",
        || put(&file),
        work,
    );
}

fn ratio(rounds: usize, name: &str, over: impl Fn() -> Duration, under: impl Fn() -> Duration) {
    let round = |_| over().as_secs_f64() / under().as_secs_f64();
    let mut ratios: Vec<f64> = (0..rounds).map(round).collect();
    ratios.sort_by(f64::total_cmp);
    println!("{:6.2}  {name}", ratios[rounds / 2]);
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn hash(data: &[u8]) -> Duration {
    time(|| blake3::hash(black_box(data)))
}

fn cipher(plain: &[u8]) -> Duration {
    let mut data = plain.to_vec();
    time(|| {
        let mut stream = CtrStream::new(&[3; 32], &[0; 16]);
        stream.apply(black_box(&mut data)).expect("it is short");
    })
}

fn seal(plain: &[u8]) -> (Duration, SealedBlob) {
    let writer = writer();
    let plain = chunk(plain);
    let start = Instant::now();
    let sealed = seal_chunk(writer.reader(), plain, 1).expect("a chunk");
    (start.elapsed(), sealed)
}

fn open(sealed: &SealedBlob) -> Duration {
    let bytes = Bytes::copy_from_slice(&sealed.bytes);
    time(|| open_chunk(&sealed.id, &sealed.key, MIB as u32, bytes, false).expect("a chunk"))
}

/// Until all three copies are there.
fn put(file: &[u8]) -> Duration {
    let mut cluster = Cluster::of(3, 42);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    let file = Bytes::copy_from_slice(file);
    time(|| {
        let task = cluster.begin_put(0, &writer, "file", file);
        assert!(cluster.settle(task, Duration::from_secs(60)));
    })
}
