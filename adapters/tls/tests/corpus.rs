//! What fuzzing runs, on the committed corpus and on mutations of it.

use bytes::BytesMut;
use peerhold_tls::{Endpoint, Limits, check};

#[path = "../../../core/tests/support/corpus.rs"]
mod corpus;

#[test]
fn channel() {
    corpus::check("channel", check::channel, 2_000);
}

/// What the corpus grows from: `cargo fuzz cmin` keeps what it needs of it.
#[test]
#[ignore = "writes into the repository"]
fn seeds_are_written_into_the_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/channel");
    let endpoint = |seed| {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        Endpoint::new(key, Limits::default()).unwrap()
    };
    let mut dialer = endpoint(1).client(Some(endpoint(2).node())).unwrap();
    let mut listener = endpoint(2).server().unwrap();
    let (mut hello, mut answer) = (BytesMut::new(), BytesMut::new());
    dialer.flush(&mut hello);
    listener.receive(&hello, &mut BytesMut::new()).unwrap();
    listener.flush(&mut answer);
    for (name, choices, said) in [("hello", 2, &hello), ("answer", 3, &answer)] {
        let input = [&[choices, 3, 5, 1, 200], &said[..]].concat();
        std::fs::write(format!("{folder}/{name}"), input).unwrap();
    }
}
