//! Frames: a stream of a blob's data and control messages, taken apart, in the
//! pieces in which streams arrive.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerhold_benches::{KIB, MIB, noise};
use peerhold_core::wire::frame::{self, BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::kind;

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame/decode");
    for (name, body) in [
        ("control", 64),
        ("4 KiB", 4 * KIB),
        ("64 KiB", BODY_MAX as usize),
    ] {
        let stream = stream(body);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        // A piece of 256 KiB is what a driver hands over at most; the others
        // make bodies straddle pieces.
        for piece in [256 * KIB, 16 * KIB, 1448] {
            let id = BenchmarkId::new(name, format!("in pieces of {piece}"));
            group.bench_with_input(id, &piece, |b, &piece| {
                b.iter(|| decode_all(black_box(&stream), piece));
            });
        }
    }
    group.finish();
}

/// 4 MiB of frames with bodies of `body` bytes.
fn stream(body: usize) -> Bytes {
    let frame = Frame {
        kind: kind::DATA,
        flags: Flags::RESPONSE | Flags::MORE,
        request: 7,
        body: noise(body).into(),
    };
    let mut out = BytesMut::with_capacity(4 * MIB + frame::HEADER_LEN + body);
    while out.len() < 4 * MIB {
        frame::encode(&mut out, &frame).expect("the body is within a frame's limit");
    }
    out.freeze()
}

fn decode_all(stream: &Bytes, piece: usize) -> usize {
    let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
    let (mut stream, mut taken) = (stream.clone(), 0);
    while !stream.is_empty() {
        let mut input = stream.split_to(piece.min(stream.len()));
        while let Some(frame) = decoder.decode(&mut input).expect("a stream of frames") {
            taken += black_box(frame).body.len();
        }
    }
    taken
}

criterion_group!(benches, decode);
criterion_main!(benches);
