//! Sealing: the cipher alone, chunks with and without what it is made of, and
//! records.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerhold_benches::{KIB, MIB, chunk, noise, writer};
use peerhold_core::ctr::CtrStream;
use peerhold_core::id::PutId;
use peerhold_core::seal::{
    Content, Draft, Meta, Name, SealedRecord, SignedHead, open_chunk, open_record, seal_chunk,
    seal_record, verify_blob,
};
use peerhold_core::{UnixMillis, Version};

const SIZES: [(&str, usize); 3] = [("4 KiB", 4 * KIB), ("64 KiB", 64 * KIB), ("1 MiB", MIB)];

fn ctr(c: &mut Criterion) {
    let mut group = c.benchmark_group("ctr");
    for (name, size) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("apply", name), |b| {
            let mut data = noise(size);
            b.iter(|| {
                let mut stream = CtrStream::new(&[3; 32], &[0; 16]);
                stream.apply(black_box(&mut data)).expect("it is short");
            });
        });
    }
    group.throughput(Throughput::Bytes(16));
    group.bench_function("seek and 16 bytes", |b| {
        let mut stream = CtrStream::new(&[3; 32], &[0; 16]);
        let mut block = [0; 16];
        b.iter(|| {
            stream.seek(black_box(1 << 40 | 5));
            stream.apply(black_box(&mut block)).expect("it is short");
        });
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let writer = writer();
    let reader = writer.reader();
    let mut group = c.benchmark_group("chunk");
    for (name, size) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let plain = noise(size);
        let sealed = seal_chunk(reader, chunk(&plain), 1).expect("a chunk");
        group.bench_function(BenchmarkId::new("seal", name), |b| {
            b.iter_batched(
                || chunk(&plain),
                |plain| seal_chunk(reader, plain, 1),
                BatchSize::LargeInput,
            );
        });
        // What sealing cannot do without: two hashes and the cipher.
        group.bench_function(BenchmarkId::new("two hashes and ctr", name), |b| {
            let mut data = plain.clone();
            b.iter(|| {
                let key = blake3::keyed_hash(&[5; 32], black_box(&data));
                let mut stream = CtrStream::new(key.as_bytes(), &[0; 16]);
                stream.apply(&mut data).expect("it is short");
                blake3::hash(&data)
            });
        });
        for (what, verified) in [("open", false), ("open what a store verified", true)] {
            group.bench_function(BenchmarkId::new(what, name), |b| {
                b.iter_batched(
                    || Bytes::copy_from_slice(&sealed.bytes),
                    |bytes| open_chunk(&sealed.id, &sealed.key, size as u32, bytes, verified),
                    BatchSize::LargeInput,
                );
            });
        }
        group.bench_function(BenchmarkId::new("verify", name), |b| {
            b.iter(|| verify_blob(&sealed.id, black_box(&sealed.bytes)));
        });
    }
    group.finish();
}

fn records(c: &mut Criterion) {
    let writer = writer();
    let mut group = c.benchmark_group("record");
    for (name, size) in [("empty", 0), ("16 KiB", 16 * KIB)] {
        let content = Content::Inline(noise(size).into());
        let sealed = sealed_record(size, &content);
        let head = sealed.head.bytes().clone();
        group.bench_function(BenchmarkId::new("seal", name), |b| {
            b.iter(|| sealed_record(size, black_box(&content)));
        });
        group.bench_function(BenchmarkId::new("verify head", name), |b| {
            b.iter(|| SignedHead::verify(black_box(head.clone())));
        });
        group.bench_function(BenchmarkId::new("verify whole", name), |b| {
            b.iter(|| {
                SealedRecord::from_parts(head.clone(), sealed.meta.clone(), sealed.content.clone())
            });
        });
        group.bench_function(BenchmarkId::new("open", name), |b| {
            b.iter(|| {
                open_record(
                    writer.reader(),
                    &sealed.head,
                    black_box(&sealed.meta),
                    &sealed.content,
                )
            });
        });
    }
    group.finish();
}

/// The record of a file of `size` bytes, which lie in it.
fn sealed_record(size: usize, content: &Content) -> SealedRecord {
    let version = Version::next(UnixMillis(1_790_000_000_000), Version::ZERO, [1; 8]);
    let draft = Draft {
        epoch: 0,
        version: version.expect("the clock is not at its end"),
        put: PutId([2; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new("pictures/2026/11/a picture.jpg").expect("a name"),
        size: size as u64,
        modified: None,
        chunk_size: MIB as u32,
    };
    seal_record(&writer(), draft, &meta, content).expect("a record")
}

criterion_group!(benches, ctr, chunks, records);
criterion_main!(benches);
