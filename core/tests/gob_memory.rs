//! Whatever a gob stream says of itself, the decoder's memory is at most twice
//! the bytes that have come, and 64 KiB.
//!
//! One test alone in its process, so that what is counted is its own.

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use peerhold_core::foreverstore::Message;
use peerhold_core::gob::{Decoder, Limits};

#[path = "support/gob_bombs.rs"]
mod gob_bombs;

use gob_bombs::{
    array, bombs, def, int, interface_struct, map, message, slice, struct_of, text, uint, value_of,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[test]
fn memory_is_bounded_by_what_has_come() {
    let mut most = 0;
    let streams = bombs().into_iter().map(|(what, stream, _)| (what, stream));
    for (what, stream) in streams.chain(heavy()) {
        let stream = Bytes::from(stream);
        for piece in [stream.len(), 1, 1000] {
            most = most.max(check(what, &stream, piece.max(1)));
        }
    }
    // The check would not fail if nothing were counted.
    assert!(most > 16 << 10, "only {most} bytes at most");
}

/// The most bytes that were held beyond twice those that had come.
fn check(what: &str, stream: &Bytes, piece: usize) -> usize {
    let before = MEMORY.current_usage();
    let mut decoder = Decoder::new(Limits::default(), &["a"]);
    let mut left = stream.clone();
    let (mut came, mut most) = (0, 0);
    while !left.is_empty() {
        let mut input = left.split_to(left.len().min(piece));
        came += input.len();
        MEMORY.reset_peak_usage();
        let value = decoder.decode(&mut input);
        let held = MEMORY.peak_usage().saturating_sub(before);
        assert!(
            held <= 2 * came + (64 << 10),
            "{what} in pieces of {piece}: {held} bytes held, {came} have come",
        );
        most = most.max(held.saturating_sub(2 * came));
        if value.is_err() {
            break;
        }
    }
    most
}

/// Streams that cost a decoder most within its limits, or try to.
fn heavy() -> Vec<(&'static str, Vec<u8>)> {
    let name = "n".repeat(250);
    let named: Vec<(&str, i64)> = vec![(&*name, 2); 240];
    let nameless = [("", 1); 256];
    let singles: Vec<u8> = (64..128)
        .flat_map(|id| struct_of(id, &[("", 2); 4]))
        .collect();
    let lists = {
        let mut body = vec![0, 127];
        body.extend([1, 2].repeat(127));
        [slice(64, 2), slice(65, 64), value_of(65, &body)].concat()
    };
    let structs = {
        let body = [&[0], &uint(127)[..], &[1, 1, 0].repeat(127)].concat();
        [
            struct_of(64, &[("A", 1)]),
            slice(65, 64),
            value_of(65, &body),
        ]
        .concat()
    };
    let maps = {
        let body = [&[0], &uint(42)[..], &[1, 1, 2, 2].repeat(42)].concat();
        [map(64, 2, 2), slice(65, 64), value_of(65, &body)].concat()
    };
    let held = {
        let one = [&[1, b'a'], &int(2)[..], &[2, 0, 4]].concat();
        let body = [&[0], &uint(127)[..], &one.repeat(127)].concat();
        [slice(65, 8), value_of(65, &body)].concat()
    };
    let wide = {
        let body = [&[1; 255][..], &[0]].map(<[u8]>::to_vec).concat();
        [struct_of(64, &[("", 2); 256]), value_of(64, &body)].concat()
    };
    let half_used = Message::Get {
        id: "i".repeat(30_000),
        key: "k".repeat(30_000),
    };
    vec![
        ("a length of 64 KiB and nothing", uint(65_000)),
        (
            "a length of 64 KiB and a little",
            [uint(65_000), vec![0; 17_000]].concat(),
        ),
        (
            "a length of 64 KiB and a half",
            [uint(65_000), vec![0; 33_000]].concat(),
        ),
        ("long names", struct_of(64, &named)),
        ("no names", struct_of(64, &nameless)),
        ("64 structs", [singles, value_of(64, &[0])].concat()),
        ("lists of one", lists),
        ("structs of one", structs),
        ("maps of one", maps),
        ("interfaces", held),
        ("one wide struct", wide),
        ("two long strings", half_used.encode()),
        (
            "an array type that is long",
            [array(64, 2, 1 << 40), value_of(64, &[0, 1])].concat(),
        ),
        (
            "opaque bytes",
            [
                def(64, 5, &[]),
                value_of(64, &[&[0], &text(&[1; 60_000])[..]].concat()),
            ]
            .concat(),
        ),
        (
            "an interface without its value",
            [interface_struct(), message(&[&int(64), &[1, 1, b'a']])].concat(),
        ),
    ]
}
