//! Decoding allocates at most twice what was fed and 64 KiB, whatever was fed:
//! every decoder of the core, on the corpus of its fuzz target, mutations of
//! it, and bodies made to cost most. And what it allocates on the way grows no
//! faster than what it is fed, so that no input costs more than its length.
//!
//! One test alone in its process, so that what is counted is its own.

use bytes::Bytes;
use minicbor::Encoder;
use peak_alloc::PeakAlloc;
use peerhold_core::admission::Admission;
use peerhold_core::gob::{self, Decoder};
use peerhold_core::members::Members;
use peerhold_core::seal::{
    BlobKey, Grant, Head, NamespaceSecret, SealedRecord, Shape, children, open_chunk, open_node,
};
use peerhold_core::wire::frame::{self, BODY_MAX, FrameLimits};
use peerhold_core::wire::message::{self, *};
use peerhold_core::{BlobId, ClusterKey, NodeId, Role, Ticket};

#[path = "support/mutate.rs"]
mod mutate;

use mutate::{Dice, inputs, mutated};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Mutations of each target's corpus.
const MUTATIONS: usize = 3000;

/// A decoder, and where in an input of its target what it decodes begins.
type Case = (&'static str, &'static str, usize, fn(&Bytes));

const CASES: [Case; 27] = [
    ("frame", "frame", 3, frames),
    ("frame, in pieces", "frame", 3, frames_in_pieces),
    ("gob", "gob", 1, gob),
    ("hello", "message", 1, as_message::<Hello>),
    ("proof", "message", 1, as_message::<Proof>),
    ("members", "message", 1, as_message::<MembersUpdate>),
    ("peers", "message", 1, as_message::<PeersUpdate>),
    ("claim", "message", 1, as_message::<ClaimBlobs>),
    ("claimed", "message", 1, as_message::<Claimed>),
    ("fetch", "message", 1, as_message::<Fetch>),
    ("lookup", "message", 1, as_message::<Lookup>),
    ("found", "message", 1, as_message::<Found>),
    ("keep", "message", 1, as_message::<Keep>),
    ("list", "message", 1, as_message::<List>),
    ("history", "message", 1, as_message::<History>),
    ("rows", "message", 1, as_message::<Rows>),
    ("refused", "message", 1, as_message::<Refused>),
    ("kept members", "message", 1, members),
    ("hello, taken", "admission", 3, hello),
    ("record", "record", 1, record),
    ("head", "record", 1, head),
    ("grant", "record", 1, grant),
    ("children", "manifest", 1, of_node),
    ("node", "manifest", 1, node),
    ("chunk", "manifest", 1, chunk),
    ("text", "text", 1, text),
    ("ticket", "text", 1, ticket),
];

fn frames(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut decoder = frame::Decoder::new(FrameLimits { body_max: BODY_MAX });
    while let Ok(Some(_)) = decoder.decode(&mut input) {}
}

fn frames_in_pieces(bytes: &Bytes) {
    let mut decoder = frame::Decoder::new(FrameLimits { body_max: BODY_MAX });
    let mut left = bytes.clone();
    while !left.is_empty() {
        let mut input = left.split_to(left.len().min(7));
        while let Ok(Some(_)) = decoder.decode(&mut input) {}
    }
}

fn gob(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut decoder = Decoder::new(gob::Limits::default(), &["a"]);
    while let Ok(Some(_)) = decoder.decode(&mut input) {}
}

fn as_message<M: for<'b> minicbor::Decode<'b, ()>>(bytes: &Bytes) {
    let _ = message::decode::<M>(bytes);
}

fn members(bytes: &Bytes) {
    drop(Members::decode(bytes));
}

fn hello(bytes: &Bytes) {
    let key = ClusterKey::from_bytes([5; 32]);
    let (us, them) = (NodeId([1; 32]), NodeId([2; 32]));
    let mut admission = Admission::new(us, Role::Dialer, them, [7; 32], 100);
    let _ = admission.take_hello(bytes, &key);
    let _ = admission.take_proof(bytes, &[key]);
}

fn record(bytes: &Bytes) {
    let third = bytes.len() / 3;
    let (head, meta) = (bytes.slice(..third), bytes.slice(third..2 * third));
    let _ = SealedRecord::from_parts(head, meta, bytes.slice(2 * third..));
}

fn head(bytes: &Bytes) {
    let _ = Head::decode(bytes);
}

fn grant(bytes: &Bytes) {
    let _ = Grant::verify(bytes);
}

fn of_node(bytes: &Bytes) {
    let _ = children(bytes);
}

fn node(bytes: &Bytes) {
    let reader = NamespaceSecret::from_bytes([7; 32]).writer();
    let key = BlobKey::from_bytes([3; 32]);
    let shape = Shape {
        level: bytes.get(8).copied().unwrap_or(1),
        len: 1,
        chunk_size: 1 << 20,
    };
    let _ = open_node(reader.reader(), &BlobId::of(bytes), &key, &shape, bytes);
}

fn chunk(bytes: &Bytes) {
    let key = BlobKey::from_bytes([3; 32]);
    let _ = open_chunk(&BlobId::of(bytes), &key, 1, bytes.clone(), false);
}

fn text(bytes: &Bytes) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<NodeId>();
    }
}

fn ticket(bytes: &Bytes) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<Ticket>();
    }
}

/// The most that was held at once beyond what was held before.
fn held(decode: fn(&Bytes), input: &[u8]) -> usize {
    // It is there before it is decoded.
    let input = &Bytes::copy_from_slice(input);
    drop(input.clone());
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    decode(input);
    MEMORY.peak_usage().saturating_sub(before)
}

fn check(what: &str, decode: fn(&Bytes), input: &[u8]) -> usize {
    let held = held(decode, input);
    let n = input.len();
    assert!(
        held <= 2 * n + (64 << 10),
        "{what}: {held} bytes are held for {n}: {input:02x?}"
    );
    held.saturating_sub(2 * n)
}

#[test]
fn decoding_allocates_at_most_twice_what_was_fed_and_64_kib() {
    let mut most = 0;
    for (what, target, skip, decode) in CASES {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{target} has no corpus");
        for input in &inputs {
            check(what, decode, input.get(skip..).unwrap_or_default());
        }
        let mut dice = Dice(0x5eed);
        for _ in 0..MUTATIONS {
            let input = mutated(&mut dice, &inputs);
            check(what, decode, input.get(skip..).unwrap_or_default());
        }
        for (bomb, input) in bombs() {
            most = most.max(check(&format!("{what}, {bomb}"), decode, &input));
        }
    }
    // The check would not fail if nothing were counted.
    assert!(most > 16 << 10, "only {most} bytes at most");
}

/// Bodies that cost a decoder most within its limits, or would beyond them.
fn bombs() -> Vec<(String, Vec<u8>)> {
    let mut bombs = Vec::new();
    for len in [10, 700, 5000, 65_536] {
        // Lists of the cheapest items that there are, in the fields that
        // messages have lists in.
        for (item, bytes) in [
            ("empty maps", &[0xa0][..]),
            ("answers", &[0xa1, 0, 0]),
            (
                "records of nothing",
                &[0xa1, 0, 0xa3, 0, 0x40, 1, 0x40, 2, 0x40],
            ),
            ("empty texts", &[0x60]),
            ("arrays", &[0x80]),
            ("open arrays", &[0x9f]),
            ("open maps", &[0xbf]),
            ("maps in maps", &[0xa1, 0]),
            ("tags", &[0xc1]),
        ] {
            let count = (len / bytes.len()) as u64;
            for field in [0, 1, 3, 23] {
                for count in [Some(count), Some(u64::MAX), Some(682), Some(64), None] {
                    let mut body = Vec::new();
                    let mut e = Encoder::new(&mut body);
                    e.map(2).unwrap().u8(field).unwrap();
                    match count {
                        Some(count) => e.array(count).unwrap(),
                        None => e.begin_array().unwrap(),
                    };
                    body.extend(bytes.repeat(len / bytes.len()));
                    body.extend([0xff, 1, 0xf4]);
                    body.truncate(BODY_MAX as usize);
                    bombs.push((format!("{item} in {len}, field {field}, {count:?}"), body));
                }
            }
        }
        // A header that promises a whole body, of which one byte comes.
        bombs.push((format!("a long frame, {len}"), {
            let header = [0, 1, 0, 0, 0, 0, 0, 1, 1, 0];
            [&header[..], &vec![7; len]].concat()
        }));
        bombs.push((format!("letters, {len}"), b"phticket1".repeat(len / 9)));
        bombs.push((format!("noise, {len}"), vec![0x5a; len]));
    }
    bombs
}
