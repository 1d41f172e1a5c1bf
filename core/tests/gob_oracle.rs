//! Another implementation of gob, in both directions: neither it nor ours was
//! written with the other at hand.

use std::io;

use bytes::Bytes;
use gobwire::{Encoder, Gob, Interface, StreamDecoder};
use peerhold_core::foreverstore::{Message, Rpc};
use peerhold_core::gob::Limits;
use quickcheck::quickcheck;

#[expect(dead_code, reason = "some of it serves other tests")]
#[path = "support/hex.rs"]
mod hex;
#[path = "support/jsonl.rs"]
mod jsonl;

const GOB: &str = include_str!("vectors/foreverstore/gob.jsonl");
const STORE: &str = "main.MessageStoreFile";
const GET: &str = "main.MessageGetFile";

#[derive(Gob, Debug, Default, Clone, PartialEq)]
#[gob(name = "Message")]
struct Outer {
    #[gob(name = "Payload")]
    payload: Option<Interface>,
}

#[derive(Gob, Debug, Default, Clone, PartialEq)]
#[gob(name = "MessageStoreFile")]
struct StoreFile {
    #[gob(name = "ID")]
    id: String,
    #[gob(name = "Key")]
    key: String,
    #[gob(name = "Size")]
    size: i64,
}

#[derive(Gob, Debug, Default, Clone, PartialEq)]
#[gob(name = "MessageGetFile")]
struct GetFile {
    #[gob(name = "ID")]
    id: String,
    #[gob(name = "Key")]
    key: String,
}

#[derive(Gob, Debug, Default, Clone, PartialEq)]
#[gob(name = "RPC")]
struct Envelope {
    #[gob(name = "From")]
    from: String,
    #[gob(name = "Payload")]
    payload: Vec<u8>,
    #[gob(name = "Stream")]
    stream: bool,
}

/// What the oracle reads in the stream of a message.
fn theirs(stream: &[u8]) -> Message {
    let mut decoder = StreamDecoder::new(stream);
    let outer: Outer = decoder.decode().unwrap().expect("one value");
    let payload = outer.payload.expect("not nil");
    match payload.name.as_str() {
        STORE => {
            let StoreFile { id, key, size } = payload.downcast().unwrap();
            Message::Store { id, key, size }
        }
        GET => {
            let GetFile { id, key } = payload.downcast().unwrap();
            Message::Get { id, key }
        }
        other => panic!("registered as {other}"),
    }
}

/// The stream that the oracle makes of a message.
fn written_by_them(message: &Message) -> Vec<u8> {
    let payload = match message.clone() {
        Message::Store { id, key, size } => Interface::new(STORE, &StoreFile { id, key, size }),
        Message::Get { id, key } => Interface::new(GET, &GetFile { id, key }),
    };
    let payload = Some(payload.unwrap());
    Encoder::new().encode(&Outer { payload }).unwrap()
}

fn agree(message: &Message) {
    assert_eq!(theirs(&message.encode()), *message);
    let stream = Bytes::from(written_by_them(message));
    let ours = Message::decode(stream, Limits::default());
    assert_eq!(ours.as_ref(), Ok(message));
}

#[test]
fn the_oracle_reads_gos_streams_as_we_do() {
    let mut messages = 0;
    for line in GOB.lines() {
        let stream = hex::unhex(jsonl::text(line, "hex").unwrap());
        if jsonl::text(line, "type") == Some("RPC") {
            let mut decoder = StreamDecoder::new(io::Cursor::new(&stream));
            let theirs: Envelope = decoder.decode().unwrap().expect("one value");
            let again = Rpc {
                from: theirs.from,
                payload: theirs.payload.into(),
                stream: theirs.stream,
            };
            assert_eq!(again.encode(), stream, "{line}");
        } else {
            let ours = Message::decode(stream.clone().into(), Limits::default()).unwrap();
            assert_eq!(theirs(&stream), ours, "{line}");
            messages += 1;
        }
    }
    assert!(messages > 20);
}

quickcheck! {
    fn stores_are_read_and_written_alike(id: String, key: String, size: i64) -> bool {
        agree(&Message::Store { id, key, size });
        true
    }

    fn gets_are_read_and_written_alike(id: String, key: String) -> bool {
        agree(&Message::Get { id, key });
        true
    }
}
