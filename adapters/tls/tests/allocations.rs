//! What a channel holds of what it is sent is at most twice that and 64 KiB,
//! whatever is sent: hellos of the corpus, mutations of them, and bytes that
//! promise more.
//!
//! One test alone in its process, so that what is counted is its own. What the
//! library's C code holds is not counted: it is of fixed sizes.

use bytes::BytesMut;
use ed25519_dalek::SigningKey;
use peak_alloc::PeakAlloc;
use peerhold_tls::{Channel, Endpoint, Limits};

#[path = "../../../core/tests/support/mutate.rs"]
mod mutate;

use mutate::{Dice, inputs, mutated};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Where what a peer says begins in an input, which may have cuts before it.
const SAID: usize = 2;

fn check(what: &str, mut channel: Channel, said: &[u8], piece: usize) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut plaintext = BytesMut::new();
    let mut came = 0;
    for piece in said.chunks(piece.max(1)) {
        came += piece.len();
        let result = channel.receive(piece, &mut plaintext);
        let held = MEMORY.peak_usage().saturating_sub(before);
        assert!(
            held <= 2 * came + (64 << 10),
            "{what}: {held} bytes are held for {came}"
        );
        if result.is_err() {
            break;
        }
    }
    MEMORY.peak_usage().saturating_sub(before)
}

#[test]
fn a_channel_holds_at_most_twice_what_it_was_sent_and_64_kib() {
    let endpoint = |seed| {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Endpoint::new(key, Limits::default()).unwrap()
    };
    let (us, them) = (endpoint(1), endpoint(2).node());
    let dialer = || us.client(Some(them)).unwrap();
    let listener = || us.server().unwrap();
    let corpus = inputs("channel");
    let mut said = corpus.clone();
    let mut dice = Dice(0x5eed);
    said.extend((0..500).map(|_| mutated(&mut dice, &corpus)));
    for len in [100, 5000, 17_000, 70_000] {
        // A handshake record that goes on for ever, and one message over many.
        said.push([&[0; SAID][..], &[22, 3, 3, 0x40, 0], &vec![1; len]].concat());
        let record = [&[22, 3, 3, 0, 100][..], &[1, 0xff, 0xff, 0xff], &[0; 96]].concat();
        said.push([&[0; SAID][..], &record.repeat(len / 100)].concat());
        said.push(vec![0x5a; len]);
    }
    let mut most = 0;
    for input in &said {
        let said = input.get(SAID..).unwrap_or_default();
        for piece in [said.len(), 100] {
            most = most.max(check("a dialler", dialer(), said, piece));
            most = most.max(check("a listener", listener(), said, piece));
        }
    }
    // The check would not fail if nothing were counted.
    assert!(most > 4 << 10, "only {most} bytes at most");
}
