//! Messages: the written-down bytes both ways, what is skipped, what is
//! refused, and that no bytes can make a decoder panic or take memory that they
//! only claim to need.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use minicbor::{Decode, Encode};
use peerhold_core::disk::{Page, RecordKey, Row, StoredRecord};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::members::{Member, MemberEntry, State};
use peerhold_core::seal::{CONTENT_MAX, META_MAX, SIGNED_HEAD_MAX};
use peerhold_core::version::Version;
use peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits, HEADER_LEN};
use peerhold_core::wire::message::{
    self, Authority, BlobEntry, CLAIMS_MAX, ClaimBlobs, Claimed, Fetch, Found, Hello, History,
    Keep, List, Lookup, MembersUpdate, MessageError, PeersUpdate, Proof, RecordParts, Refused,
    Rows, kind,
};
use quickcheck::quickcheck;

#[path = "support/hex.rs"]
mod hex;
#[path = "support/messages.rs"]
mod messages;

use hex::{unhex, unhex_array};
use messages::{Any, Message, Visitor, every_message};

const VECTORS: &str = include_str!("vectors/messages.txt");

#[test]
fn messages_are_as_written_down() {
    let mut seen = Vectors::default();
    every_message(&mut seen);
    // These have no value: their bodies are bytes, or there is none.
    let bare: [(&str, u8, Flags, u32, &[u8]); 7] = [
        ("ping", kind::PING, Flags::NONE, 0, b""),
        ("pong", kind::PONG, Flags::NONE, 0, b""),
        ("kept", kind::KEEP, Flags::RESPONSE, 5, b""),
        ("cancel", kind::CANCEL, Flags::NONE, 3, b""),
        ("data-more", kind::DATA, more(), 3, b"a blob, "),
        ("data-last", kind::DATA, Flags::RESPONSE, 3, b"and its end"),
        ("data-empty", kind::DATA, Flags::RESPONSE, 3, b""),
    ];
    for (name, kind, flags, request, body) in bare {
        seen.frame(name, kind, flags, request, body);
    }
    let all: BTreeSet<&str> = vectors("frame").map(|(name, _)| name).collect();
    assert_eq!(seen.0, all);
}

/// The vectors that a value was found for.
#[derive(Default)]
struct Vectors(BTreeSet<&'static str>);

impl Vectors {
    fn frame(&mut self, name: &'static str, kind: u8, flags: Flags, request: u32, body: &[u8]) {
        let mut out = BytesMut::new();
        message::append(&mut out, kind, flags, request, body).unwrap();
        assert_eq!(out, vector(name), "{name}");
        let header: [u8; HEADER_LEN] = unhex_array(&text(name)[..2 * HEADER_LEN]);
        assert_eq!(header[..4], (body.len() as u32).to_be_bytes());
        assert_eq!(header[4..8], request.to_be_bytes());
        assert_eq!(header[8..], [kind, flags.bits()]);
        assert!(self.0.insert(name), "{name} is there twice");
    }
}

impl Visitor for Vectors {
    fn visit<M: Message>(
        &mut self,
        name: &'static str,
        kind: u8,
        flags: Flags,
        request: u32,
        value: M,
    ) {
        self.frame(name, kind, flags, request, &message::encode(&value));
        let body = frame(&vector(name)).body;
        assert_eq!(message::decode::<M>(&body), Ok(value), "{name}");
    }
}

#[test]
fn other_encodings_read_as_the_same_message() {
    let mut others = Others(0);
    every_message(&mut others);
    assert_eq!(others.0, vectors("other").count());
}

struct Others(usize);

impl Visitor for Others {
    fn visit<M: Message>(&mut self, name: &'static str, _: u8, _: Flags, _: u32, value: M) {
        let mut skips = false;
        for (_, body) in vectors("other").filter(|(of, _)| *of == name) {
            let read = message::decode::<M>(&unhex(body));
            assert_eq!(read.as_ref(), Ok(&value), "{name} {body}");
            self.0 += 1;
            skips = true;
        }
        assert!(skips, "nothing unknown was put into {name}");
    }
}

#[test]
fn what_is_no_message_is_refused_and_why() {
    for (kind, rest) in vectors("bad") {
        let (error, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let error = match error {
            "malformed" => MessageError::Malformed,
            "trailing" => MessageError::Trailing,
            "too-many" => MessageError::TooMany,
            _ => panic!("{error}"),
        };
        assert_eq!(decode(kind, &unhex(body)), Err(error), "{kind} {body}");
    }
}

/// Decodes as the node does.
fn decode(kind: &str, body: &[u8]) -> Result<(), MessageError> {
    fn plain<'b, M: Decode<'b, ()>>(body: &'b [u8]) -> Result<(), MessageError> {
        message::decode::<M>(body).map(|_| ())
    }
    match kind {
        "hello" => plain::<Hello>(body),
        "proof" => plain::<Proof>(body),
        "members" => plain::<MembersUpdate>(body),
        "peers" => message::decode::<PeersUpdate>(body).map(|_| ()),
        "claim" => ClaimBlobs::decode_checked(body).map(|_| ()),
        "claimed" => plain::<Claimed>(body),
        "fetch" => plain::<Fetch>(body),
        "lookup" => plain::<Lookup>(body),
        "found" => plain::<Found>(body),
        "keep" => plain::<Keep>(body),
        "list" => plain::<List>(body),
        "history" => plain::<History>(body),
        "rows" => plain::<Rows>(body),
        "refused" => plain::<Refused>(body),
        _ => panic!("{kind}"),
    }
}

/// Decodes as every type.
fn try_all(body: &[u8]) {
    for kind in KINDS {
        let _ = decode(kind, body);
    }
}

const KINDS: [&str; 14] = [
    "hello", "proof", "members", "peers", "claim", "claimed", "fetch", "lookup", "found", "keep",
    "list", "history", "rows", "refused",
];

#[test]
fn the_start_of_a_message_is_not_the_message() {
    struct Prefixes;
    impl Visitor for Prefixes {
        fn visit<M: Message>(&mut self, name: &'static str, _: u8, _: Flags, _: u32, value: M) {
            let body = message::encode(&value);
            for len in 0..body.len() {
                let read = message::decode::<M>(&body[..len]);
                assert_eq!(read, Err(MessageError::Malformed), "{name} cut at {len}");
            }
        }
    }
    every_message(&mut Prefixes);
}

#[test]
fn unknown_fields_are_skipped_however_deep_they_are() {
    let fetch = frame(&vector("fetch")).body;
    let depth = BODY_MAX as usize - fetch.len() - 2;
    let mut body = vec![fetch[0] + 1];
    body.extend_from_slice(&fetch[1..]);
    body.push(0x17);
    // Arrays of one array of one array..
    body.resize(body.len() + depth, 0x81);
    body.push(0);
    assert_eq!(
        message::decode::<Fetch>(&body),
        message::decode::<Fetch>(&fetch)
    );
    body.pop();
    assert_eq!(decode("fetch", &body), Err(MessageError::Malformed));
}

#[test]
fn the_greatest_messages_fit_in_a_frame() {
    let member = MemberEntry {
        node: NodeId([0xff; 32]),
        member: Member {
            counter: u64::MAX,
            state: State::Gone,
            weight: u16::MAX,
            zone: u16::MAX,
        },
    };
    // As many as a node may be configured to know, and itself.
    let members = message::encode(&MembersUpdate {
        entries: vec![member; 1001],
        holding: true,
    });
    let blob = BlobEntry {
        id: BlobId([0xff; 32]),
        len: u32::MAX,
    };
    let claim = message::encode(&ClaimBlobs {
        namespace: NamespaceId([0xff; 32]),
        tag: NameTag([0xff; 32]),
        put: PutId([0xff; 16]),
        blobs: vec![blob; CLAIMS_MAX],
        authority: Some(Authority::Head(vec![0xff; SIGNED_HEAD_MAX].into())),
    });
    let part = |len| vec![0xff; len].into();
    let keep = message::encode(&Keep {
        record: RecordParts {
            head: part(SIGNED_HEAD_MAX),
            meta: part(META_MAX),
            content: part(CONTENT_MAX),
        },
        repair: true,
    });
    for body in [members, claim, keep] {
        assert!(body.len() <= BODY_MAX as usize, "{}", body.len());
    }
}

#[test]
fn a_page_of_any_rows_that_may_be_in_it_fits_in_a_frame() {
    let key = RecordKey {
        namespace: NamespaceId([0xff; 32]),
        tag: NameTag([0xff; 32]),
    };
    let record = |head, meta| {
        Row::Record(StoredRecord {
            key,
            version: Version::MAX,
            head_hash: [0xff; 32],
            head: vec![0xff; head].into(),
            meta: vec![0xff; meta].into(),
            content: Bytes::new(),
        })
    };
    let damaged = Row::Damaged {
        tag: key.tag,
        id: record(0, 0).id(),
    };
    let greatest = record(SIGNED_HEAD_MAX, META_MAX);
    assert_eq!(greatest.cost(), Row::COST_MAX);
    // The greatest, those about which lengths take more bytes, and the least.
    let lengths = [0, 1, 23, 24, 255, 256, 1000, META_MAX];
    let records = lengths.map(|len| record(len + 64, len));
    for row in records.iter().chain([&greatest, &damaged]) {
        let count = message::PAGE_MAX as usize / row.cost();
        for more in [false, true] {
            let rows = vec![row.clone(); count];
            let body = message::encode(&Rows::from(&Page { rows, more }));
            assert!(body.len() <= BODY_MAX as usize, "{count}: {}", body.len());
        }
        // So for any mixture: no row takes more than it counts as.
        let alone = |rows| message::encode(&Rows::from(&Page { rows, more: true })).len();
        let taken = alone(vec![row.clone()]) - alone(Vec::new());
        assert!(taken <= row.cost(), "{taken}");
    }
}

#[test]
fn a_proof_does_not_show_its_mac() {
    let proof = Proof {
        key: [0xab; 8],
        mac: [0xcd; 32],
    };
    assert_eq!(format!("{proof:?}"), "Proof(..)");
}

quickcheck! {
    fn what_is_encoded_is_read_back(any: Any) -> bool {
        struct RoundTrip(bool);
        impl Visitor for RoundTrip {
            fn visit<M: Message>(&mut self, _: &'static str, _: u8, _: Flags, _: u32, value: M) {
                self.0 = message::decode::<M>(&message::encode(&value)).as_ref() == Ok(&value);
            }
        }
        let mut trip = RoundTrip(false);
        any.visit(&mut trip);
        trip.0
    }

    fn no_bytes_make_a_decoder_panic(body: Vec<u8>) -> bool {
        try_all(&body);
        true
    }

    fn no_damage_to_a_message_makes_a_decoder_panic(any: Any, damage: Vec<(u16, u8)>) -> bool {
        struct Damage(Vec<(u16, u8)>);
        impl Visitor for Damage {
            fn visit<M: Message>(&mut self, _: &'static str, _: u8, _: Flags, _: u32, value: M) {
                let mut body = message::encode(&value).to_vec();
                for (at, byte) in &self.0 {
                    let at = usize::from(*at) % body.len();
                    body[at] = *byte;
                    // What is read, if anything is, can be written again.
                    if let Ok(read) = message::decode::<M>(&body) {
                        assert_eq!(message::decode::<M>(&message::encode(&read)), Ok(read));
                    }
                    try_all(&body);
                }
            }
        }
        any.visit(&mut Damage(damage));
        true
    }
}

fn more() -> Flags {
    Flags::RESPONSE | Flags::MORE
}

/// Name and rest of each line that begins with this word.
fn vectors(word: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let (first, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once(' ')?;
        (first == word).then_some((name, rest.trim_start()))
    })
}

fn vector(name: &str) -> Vec<u8> {
    unhex(text(name))
}

fn text(name: &str) -> &'static str {
    let found = vectors("frame").find(|(of, _)| *of == name);
    found
        .unwrap_or_else(|| panic!("there is no vector {name}"))
        .1
}

/// The one frame that these bytes are.
fn frame(bytes: &[u8]) -> Frame {
    let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
    let mut input = Bytes::copy_from_slice(bytes);
    let frame = decoder.decode(&mut input).unwrap().expect("a whole frame");
    assert!(input.is_empty());
    frame
}
