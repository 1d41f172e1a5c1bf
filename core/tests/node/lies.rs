//! Replicas that lie: what they send is seen through, and the next one is
//! asked.

use bytes::Bytes;
use peerhold_core::disk::StoredRecord;
use peerhold_core::seal::{
    ChunkBuffer, Content, Draft, Entry, Meta, Root, SealedBlob, SealedRecord, seal_chunk,
    seal_record,
};
use peerhold_core::wire::frame::Frame;
use peerhold_core::wire::message::{self, Found, Lookup, RecordParts, kind};
use peerhold_core::{Event, Name, NodeId, OpError, Outcome, PutId, UnixMillis, Version};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, WALL, config, noise, writer};

const DATA: &[u8] = b"what was stored";

/// A record of `name` that holds `data`.
pub(crate) fn record(name: &str, data: &'static [u8], millis: u64) -> StoredRecord {
    let content = Content::Inline(Bytes::from_static(data));
    record_of(name, &content, data.len(), millis)
}

pub(crate) fn record_of(name: &str, content: &Content, size: usize, millis: u64) -> StoredRecord {
    let draft = Draft {
        epoch: 0,
        version: Version::next(UnixMillis(millis), Version::ZERO, [1; 8]).unwrap(),
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new(name).unwrap(),
        size: size as u64,
        modified: None,
        chunk_size: 1 << 16,
    };
    let sealed: SealedRecord = seal_record(&writer(), draft, &meta, content).unwrap();
    sealed.to_stored()
}

/// A record of a file of one chunk, and the chunk.
pub(crate) fn chunked(name: &str, data: &[u8]) -> (StoredRecord, SealedBlob) {
    let mut chunk = ChunkBuffer::with_capacity(data.len());
    assert_eq!(chunk.extend(data), data.len());
    let sealed = seal_chunk(writer().reader(), chunk, 1).unwrap();
    let Entry { id, key, len } = sealed.entry();
    let root = Root {
        id,
        key,
        depth: 0,
        len,
    };
    (
        record_of(name, &Content::Root(root), data.len(), WALL),
        sealed,
    )
}

/// A request to keep a record whose signature is wrong.
pub(crate) fn forged_keep() -> Bytes {
    let mut record = record("file", DATA, WALL);
    record.head = flip(&record.head, record.head.len() - 1);
    message::encode(&message::Keep {
        record: RecordParts::from(&record),
        repair: false,
    })
}

/// A client of a cluster of three others, all of them peers here.
pub(crate) fn client() -> (Host, [Peer; 3]) {
    let ids = [id(1), id(2), id(3)];
    let mut config = config(ME);
    config.weight = 0;
    let mut host = Host::founded(config, &ids);
    let peers = ids.map(|id| Peer::admitted(&mut host, id));
    (host, peers)
}

/// Answers each look-up that has come with what `told` says of it.
pub(crate) fn answer(
    host: &mut Host,
    peers: &mut [Peer],
    told: impl Fn(NodeId, &Frame) -> Option<StoredRecord>,
) {
    for peer in peers {
        for frame in peer.asked(host, kind::LOOKUP) {
            let record = told(peer.id, &frame).map(|mut record| {
                let lookup: Lookup = message::decode(&frame.body).unwrap();
                if lookup.part == peerhold_core::disk::Part::Head {
                    (record.meta, record.content) = (Bytes::new(), Bytes::new());
                }
                RecordParts::from(&record)
            });
            peer.answer(host, &frame, &Found { record });
        }
    }
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes.into()
}

/// Reads a file of which one replica gives this instead of the right record.
/// Gives who was told of as a liar.
fn read_beside(liar: NodeId, lie: &StoredRecord) -> Vec<NodeId> {
    let (mut host, mut peers) = client();
    // It answers first.
    peers.sort_by_key(|peer| peer.id != liar);
    let right = record("file", DATA, WALL);
    let op = host.get("file");
    for _ in 0..10 {
        answer(&mut host, &mut peers, |of, _| {
            Some(if of == liar { lie } else { &right }.clone())
        });
    }
    assert_eq!(host.read(op), DATA, "{:?}", host.result(op));
    assert!(matches!(host.result(op), Some(Ok(Outcome::Read(_)))));
    let liars = host.events.iter().filter_map(|event| match event {
        Event::Lied { peer } => Some(*peer),
        _ => None,
    });
    liars.collect()
}

#[test]
fn one_replica_with_a_forged_record_does_not_speak_for_those_with_the_right_one() {
    let right = record("file", DATA, WALL);
    let last = right.head.len() - 1;
    let forged = StoredRecord {
        head: flip(&right.head, last),
        ..right.clone()
    };
    let content = StoredRecord {
        content: flip(&right.content, 0),
        ..right.clone()
    };
    for liar in [id(1), id(2), id(3)] {
        assert!(read_beside(liar, &forged).iter().all(|of| *of == liar));
        assert!(read_beside(liar, &content).iter().all(|of| *of == liar));
    }
}

#[test]
fn a_forged_newer_record_is_seen_through() {
    let mut newer = record("file", b"something else", WALL + 5);
    newer.head = flip(&newer.head, newer.head.len() - 1);
    for liar in [id(1), id(2), id(3)] {
        assert_eq!(read_beside(liar, &newer), [liar]);
    }
}

#[test]
fn a_record_of_another_name_is_not_taken_for_the_one_asked_for() {
    let right = record("file", DATA, WALL);
    let other = record("other", b"another file", WALL + 5);
    let (mut host, mut peers) = client();
    let op = host.get("file");
    for _ in 0..10 {
        answer(&mut host, &mut peers, |of, frame| {
            // Heads are told right; who is asked for the whole gives another.
            let lookup: Lookup = message::decode(&frame.body).unwrap();
            let whole = lookup.part == peerhold_core::disk::Part::All;
            let lies = whole && of != id(3);
            Some(if lies { &other } else { &right }.clone())
        });
    }
    assert_eq!(host.read(op), DATA);
    match host.result(op) {
        Some(Ok(Outcome::Read(file))) => assert_eq!(file.name.as_str(), "file"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_has_undamaged_is_an_error_and_no_file() {
    let mut forged = record("file", DATA, WALL);
    forged.head = flip(&forged.head, 100);
    let (mut host, mut peers) = client();
    let op = host.get("file");
    for _ in 0..10 {
        answer(&mut host, &mut peers, |_, _| Some(forged.clone()));
        host.pass(std::time::Duration::from_secs(6));
    }
    assert_eq!(host.read(op), b"");
    let ended = host.result(op);
    assert!(
        matches!(ended, Some(Err(OpError::Unconfirmed { answered: 0, .. }))),
        "{ended:?}"
    );
}

#[test]
fn a_chunk_is_read_from_the_next_replica_when_one_lies_refuses_or_is_silent() {
    let data = noise(60_000);
    let (record, chunk) = chunked("file", &data);
    for way in 0..3 {
        let (mut host, mut peers) = client();
        let op = host.get("file");
        let (mut asked, mut liars) = (0, 0);
        for _ in 0..10 {
            answer(&mut host, &mut peers, |_, _| Some(record.clone()));
            for peer in &mut peers {
                for frame in peer.asked(&mut host, kind::FETCH) {
                    asked += 1;
                    match (asked, way) {
                        (3, _) => peer.data(&mut host, &frame, &chunk.bytes),
                        (_, 0) => peer.data(&mut host, &frame, &chunk.bytes[1..]),
                        (_, 1) => peer.refuse(&mut host, &frame, message::Refusal::Missing),
                        _ => {}
                    }
                }
            }
            if way == 2 {
                host.pass(std::time::Duration::from_secs(8));
                for peer in &peers {
                    peer.send(&mut host, kind::PONG, Default::default(), 0, &[]);
                }
            }
        }
        for event in &host.events {
            liars += usize::from(matches!(event, Event::Lied { .. }));
        }
        assert_eq!((asked, liars), (3, if way == 0 { 2 } else { 0 }));
        assert_eq!(host.read(op), data);
        assert!(matches!(host.result(op), Some(Ok(Outcome::Read(_)))));
        assert_eq!(host.memory(), 0);
    }
}
