//! Files through a whole cluster without input or output: three storing nodes
//! and a client, real nodes and real stores over disks in memory, on one
//! thread. The time is what all four need together, three durable copies and
//! the simulated network included.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use peerhold_benches::{KIB, MIB, noise};
use peerhold_core::seal::Writer;
use peerhold_sim::{Cluster, Plan};

const SIZES: [(&str, usize); 3] = [("4 KiB", 4 * KIB), ("1 MiB", MIB), ("16 MiB", 16 * MIB)];
/// A storing node.
const MEMBER: usize = 0;
/// A node that holds nothing.
const CLIENT: usize = 3;

fn put(c: &mut Criterion) {
    let mut group = group(c, "cluster/put");
    for (name, size) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let data = noise(size);
        for (who, at) in [("by a member", MEMBER), ("by a client", CLIENT)] {
            group.bench_function(BenchmarkId::new(who, name), |b| {
                b.iter_batched_ref(
                    cluster,
                    |(cluster, writer)| {
                        let task = cluster.begin_put(at, writer, "file", data.clone().into());
                        assert!(cluster.settle(task, Duration::from_secs(60)));
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

fn get(c: &mut Criterion) {
    let mut group = group(c, "cluster/get");
    for (name, size) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut cluster, writer) = cluster();
        let task = cluster.begin_put(MEMBER, &writer, "file", noise(size).into());
        assert!(cluster.settle(task, Duration::from_secs(60)));
        for (who, at) in [("its own copy", MEMBER), ("from its peers", CLIENT)] {
            group.bench_function(BenchmarkId::new(who, name), |b| {
                b.iter(|| {
                    let read = cluster.get(at, writer.reader(), "file");
                    let (file, bytes) = read.expect("the file is stored");
                    assert_eq!(file.size, bytes.len() as u64);
                    bytes
                });
            });
        }
    }
    group.finish();
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(5));
    group
}

/// A new cluster that has found itself, and a namespace.
fn cluster() -> (Cluster, Writer) {
    let mut plan = Plan::new(4, 42);
    plan.clients = 1;
    let mut cluster = Cluster::new(plan);
    assert!(cluster.run_until_active());
    let writer = cluster.namespace();
    (cluster, writer)
}

criterion_group!(benches, put, get);
criterion_main!(benches);
