//! Whether decoding takes time in proportion to what is fed: eight times as much
//! over eight times the time, of every decoder whose input may be long, on inputs
//! that are valid and on such as cost most. About 1 is linear, about 8 quadratic.
//!
//! Both sides run in turns, and each line is the median of rounds. It fails where
//! the time grows more than three times as fast as the input.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use peerhold_benches::{KIB, noise};
use peerhold_core::gob;
use peerhold_core::seal::children;
use peerhold_core::wire::frame::{self, BODY_MAX, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::{
    self, ClaimBlobs, Claimed, MembersUpdate, PeersUpdate, Rows, kind,
};

/// The shorter input.
const SHORT: usize = 8 * KIB;
/// How much longer the other one is: as long as a frame's body may be.
const TIMES: usize = 8;
/// Growth that points at a fault.
const MOST: f64 = 3.0;

type Decode = fn(&Bytes);
type OfLen = fn(usize) -> Bytes;

const DECODERS: [(&str, Decode); 9] = [
    ("frames", |bytes| frames(bytes, usize::MAX)),
    ("frames, in pieces", |bytes| frames(bytes, 7)),
    ("gob", gob),
    ("members", as_message::<MembersUpdate>),
    ("peers", as_message::<PeersUpdate>),
    ("claim", as_message::<ClaimBlobs>),
    ("claimed", as_message::<Claimed>),
    ("rows", as_message::<Rows>),
    ("children", |bytes| drop(black_box(children(bytes)))),
];

fn main() -> ExitCode {
    // `cargo test` runs benches with this, once and for their correctness.
    let test = std::env::args().any(|arg| arg == "--test");
    let rounds = if test { 1 } else { 51 };
    println!(
        "time for {TIMES} times the input over {TIMES} times the time, median of {rounds} rounds"
    );
    let mut steepest: f64 = 0.0;
    for (name, decode) in DECODERS {
        for (shape, of_len) in shapes() {
            let (short, long) = (of_len(SHORT), of_len(TIMES * SHORT));
            let growth = growth(rounds, || time(decode, &short), || time(decode, &long));
            println!("{growth:6.2}  {name}: {shape}");
            steepest = steepest.max(growth);
        }
    }
    match steepest > MOST && !test {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Inputs of any length: valid streams, lists of the cheapest items, and noise.
fn shapes() -> [(&'static str, OfLen); 7] {
    [
        ("small frames", |len| stream(len, 16)),
        ("numbers in gob", |len| [3, 4, 0, 2].repeat(len / 4).into()),
        ("empty maps", |len| list(len, &[0xa0])),
        ("maps of one", |len| list(len, &[0xa1, 0, 0])),
        ("empty texts", |len| list(len, &[0x60])),
        ("arrays in arrays", |len| list(len, &[0x9f])),
        ("noise", |len| noise(len).into()),
    ]
}

/// `len` bytes of frames.
fn stream(len: usize, body: usize) -> Bytes {
    let frame = Frame {
        kind: kind::PING,
        flags: Flags::NONE,
        request: 0,
        body: noise(body).into(),
    };
    let mut out = BytesMut::new();
    while out.len() < len {
        frame::encode(&mut out, &frame).expect("the body is within a frame's limit");
    }
    out.freeze()
}

/// A map with one list, in the field in which most messages have theirs.
fn list(len: usize, item: &[u8]) -> Bytes {
    [
        &[0xbf, 0, 0x9f],
        &item.repeat(len / item.len())[..],
        &[0xff, 0xff],
    ]
    .concat()
    .into()
}

fn growth(rounds: usize, short: impl Fn() -> Duration, long: impl Fn() -> Duration) -> f64 {
    let round = |_| long().as_secs_f64() / (TIMES as f64 * short().as_secs_f64());
    let mut ratios: Vec<f64> = (0..rounds).map(round).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[rounds / 2]
}

/// The least of a few: what an interrupt adds is none of the decoder's.
fn time(decode: Decode, input: &Bytes) -> Duration {
    let once = |_| {
        let start = Instant::now();
        decode(black_box(input));
        start.elapsed()
    };
    (0..5)
        .map(once)
        .min()
        .unwrap_or_default()
        .max(Duration::from_nanos(1))
}

fn frames(bytes: &Bytes, piece: usize) {
    let mut decoder = frame::Decoder::new(FrameLimits { body_max: BODY_MAX });
    let mut left = bytes.clone();
    while !left.is_empty() {
        let mut input = left.split_to(left.len().min(piece));
        while let Ok(Some(frame)) = decoder.decode(&mut input) {
            black_box(frame);
        }
    }
}

fn gob(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut decoder = gob::Decoder::new(gob::Limits::default(), &[]);
    while let Ok(Some(value)) = decoder.decode(&mut input) {
        black_box(value);
    }
}

fn as_message<M: for<'b> minicbor::Decode<'b, ()>>(bytes: &Bytes) {
    let _ = black_box(message::decode::<M>(bytes));
}
