//! Where things go: paths on disk, and the members that hold a key.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use peerhold_core::id::{BlobId, NodeId};
use peerhold_core::path::Layout;
use peerhold_core::placement::{Candidate, Placement, SLOTS, Slot};

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    let id = BlobId::of(b"a blob");
    for layout in Layout::ALL {
        group.bench_function(layout.name(), |b| {
            b.iter(|| layout.path(black_box(&id)));
        });
    }
    group.finish();
}

fn placement(c: &mut Criterion) {
    let mut group = c.benchmark_group("placement");
    for members in [3, 100, 1000] {
        let candidates = candidates(members);
        let mut slots = (0..=u16::MAX)
            .cycle()
            .map(|at| Slot(at.wrapping_mul(40_503)));
        let mut next = move || slots.next().expect("they go round");

        let mut fresh = Placement::new(&candidates, 3, 0);
        group.bench_function(BenchmarkId::new("replicas of a slot", members), |b| {
            b.iter(|| fresh.replicas(black_box(next())).len());
        });
        let mut cached = Placement::new(&candidates, 3, SLOTS);
        for slot in 0..=u16::MAX {
            cached.replicas(Slot(slot));
        }
        group.bench_function(BenchmarkId::new("replicas of a known slot", members), |b| {
            b.iter(|| cached.replicas(black_box(next())).len());
        });
        group.bench_function(BenchmarkId::new("order of a slot", members), |b| {
            b.iter(|| fresh.order(black_box(next())));
        });
        group.bench_function(BenchmarkId::new("a new map", members), |b| {
            b.iter(|| Placement::new(black_box(&candidates), 3, SLOTS));
        });
    }
    group.finish();
}

fn candidates(count: u16) -> Vec<Candidate> {
    let candidate = |at: u16| Candidate {
        node: NodeId(*BlobId::of(&at.to_be_bytes()).as_bytes()),
        weight: 100 + at % 50,
        zone: at % 5,
    };
    (0..count).map(candidate).collect()
}

criterion_group!(benches, paths, placement);
criterion_main!(benches);
