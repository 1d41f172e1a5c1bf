//! What a channel costs: a handshake, sealing, opening, and both, each end on
//! the same thread. A second per GiB of `pair` is a CPU second per GiB and
//! link.

use std::hint::black_box;
use std::io::IoSlice;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use peerhold_tls::{Channel, Endpoint, Limits};

/// As much as a link seals at once: two data frames.
const BATCH: usize = 2 * (64 << 10);

fn endpoints() -> [Endpoint; 2] {
    [1, 2].map(|seed| {
        Endpoint::new(SigningKey::from_bytes(&[seed; 32]), Limits::default()).expect("an endpoint")
    })
}

fn pass(from: &mut Channel, to: &mut Channel) {
    let mut wire = BytesMut::new();
    from.flush(&mut wire);
    to.receive(&wire, &mut BytesMut::new())
        .expect("a handshake");
}

fn open([a, b]: &[Endpoint; 2]) -> [Channel; 2] {
    let mut dialer = a.client(Some(b.node())).expect("a channel");
    let mut listener = b.server().expect("a channel");
    while listener.peer().is_none() {
        pass(&mut dialer, &mut listener);
        pass(&mut listener, &mut dialer);
    }
    [dialer, listener]
}

fn seal(channel: &mut Channel, data: &[u8]) -> BytesMut {
    let mut wire = BytesMut::new();
    let (one, two) = data.split_at(data.len() / 2);
    let header = [0; 12];
    let mut pieces = [&header, one, &header, two].map(IoSlice::new);
    channel
        .send(&mut pieces, &mut wire)
        .expect("an open channel");
    wire
}

fn take(channel: &mut Channel, wire: &[u8]) -> BytesMut {
    let mut plaintext = BytesMut::with_capacity(wire.len());
    channel
        .receive(wire, &mut plaintext)
        .expect("what the other end sealed");
    plaintext
}

fn channel(c: &mut Criterion) {
    let ends = endpoints();
    c.bench_function("channel/handshake", |b| b.iter(|| black_box(open(&ends))));

    let data = vec![0x5a; BATCH];
    let mut group = c.benchmark_group("channel");
    group.throughput(Throughput::Bytes(BATCH as u64));
    let [mut dialer, mut listener] = open(&ends);
    group.bench_function("pair", |b| {
        b.iter(|| {
            let wire = seal(&mut dialer, &data);
            black_box(take(&mut listener, &wire));
        });
    });
    group.bench_function("seal", |b| {
        b.iter(|| black_box(seal(&mut dialer, &data)));
    });
    group.finish();
}

criterion_group!(benches, channel);
criterion_main!(benches);
