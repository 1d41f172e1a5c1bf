//! One replica of three lies in every way that there is, while the others are
//! within reach: what is read is right, the liar is named wherever its lie can
//! be told from an honest replica's bad luck, and memory stays bounded.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::StoredRecord;
use peerhold_core::seal::{BLOB_MAX, Content, Draft, Meta, SealedBlob, SealedRecord, seal_record};
use peerhold_core::wire::frame::{BODY_MAX, Flags, Frame};
use peerhold_core::wire::message::{self, Found, Keep, RecordParts, Refusal, kind};
use peerhold_core::{
    Event, Name, NamespaceSecret, NodeId, OpId, Outcome, PeerFault, PutId, UnixMillis, Version,
};

use crate::fake_peer::{Peer, frame, id};
use crate::host::{Host, WALL, config, noise};
use crate::lies::{answer, chunked, client, record};

const DATA: &[u8] = b"what was stored";
/// Not a multiple of anything.
const SIZE: usize = 60_001;
const REPLICAS: [NodeId; 3] = [id(1), id(2), id(3)];

/// Who was said to have sent wrong bytes, whose session ended for what it did,
/// and who was said not to keep what it had acknowledged.
#[derive(Debug, Default, PartialEq)]
struct Named {
    lied: Vec<NodeId>,
    ended: Vec<(NodeId, PeerFault)>,
    unkept: Vec<NodeId>,
}

fn named(host: &Host) -> Named {
    let mut named = Named::default();
    for event in &host.events {
        match event {
            Event::Lied { peer } => named.lied.push(*peer),
            Event::Unkept { peer, .. } => named.unkept.push(*peer),
            Event::PeerDown {
                peer,
                fault: Some(fault),
            } => named.ended.push((*peer, *fault)),
            _ => {}
        }
    }
    named
}

/// The whole file has come, all is over, and nothing is kept in memory.
fn is_read(host: &mut Host, op: OpId, data: &[u8]) {
    assert!(host.read(op) == data, "{:?}", host.result(op));
    let Some(Ok(Outcome::Read(file))) = host.result(op) else {
        panic!("{:?}", host.result(op));
    };
    assert_eq!(file.unconfirmed, None);
    assert_eq!(host.memory(), 0);
}

/// What a liar does with the question for a blob.
type Lie = fn(&mut Host, &Peer, &Frame, &SealedBlob);

/// Reads a file of one chunk. Who of the others was asked before the liar's
/// turn is for placement to say, so each is the liar once: who was named when
/// it was asked.
fn read_past(lie: Lie) -> Vec<(NodeId, Named)> {
    let data = noise(SIZE);
    let (record, chunk) = chunked("file", &data);
    let mut all = Vec::new();
    for liar in REPLICAS {
        let (mut host, mut peers) = client();
        let limit = config(id(0)).limits.memory;
        let op = host.get("file");
        let mut asked = false;
        for _ in 0..10 {
            answer(&mut host, &mut peers, |_, _| Some(record.clone()));
            for peer in &mut peers {
                for frame in peer.asked(&mut host, kind::FETCH) {
                    if peer.id == liar {
                        asked = true;
                        lie(&mut host, peer, &frame, &chunk);
                    } else {
                        peer.data(&mut host, &frame, &chunk.bytes);
                    }
                    assert!(host.memory() <= limit);
                }
            }
        }
        is_read(&mut host, op, &data);
        let named = named(&host);
        if asked {
            all.push((liar, named));
        } else {
            assert_eq!(named, Named::default(), "nobody lied");
        }
    }
    assert!(!all.is_empty(), "a liar was asked");
    all
}

fn changed(chunk: &SealedBlob, at: usize) -> Vec<u8> {
    let mut bytes = chunk.bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn wrong_bytes_of_every_kind_are_seen_through_and_their_sender_named() {
    let lies: [Lie; 8] = [
        // Bytes without a pattern, as many as there should be.
        |host, peer, to, chunk| peer.data(host, to, &noise(chunk.bytes.len())),
        // Right at the start.
        |host, peer, to, chunk| peer.data(host, to, &changed(chunk, chunk.bytes.len() / 2)),
        // Right but for the last byte, or the first.
        |host, peer, to, chunk| peer.data(host, to, &changed(chunk, chunk.bytes.len() - 1)),
        |host, peer, to, chunk| peer.data(host, to, &changed(chunk, 0)),
        // Right as far as they go.
        |host, peer, to, chunk| peer.data(host, to, &chunk.bytes[..chunk.bytes.len() - 1]),
        // And beyond.
        |host, peer, to, chunk| peer.data(host, to, &[&chunk.bytes[..], &[0]].concat()),
        // Nothing.
        |host, peer, to, _| {
            let flags = Flags::RESPONSE;
            peer.send(host, kind::DATA, flags, to.request, &[]);
        },
        // A blob, but another.
        |host, peer, to, _| peer.data(host, to, &chunked("other", &noise(SIZE - 1)).1.bytes),
    ];
    for (way, lie) in lies.into_iter().enumerate() {
        for (liar, named) in read_past(lie) {
            assert_eq!(named.lied, [liar], "way {way}");
            assert_eq!(named.ended, [], "way {way}");
        }
    }
}

#[test]
fn more_than_was_asked_for_ends_the_session_however_it_comes() {
    let lies: [Lie; 2] = [
        // More than any blob has.
        |host, peer, to, _| peer.data(host, to, &vec![7; BLOB_MAX + 1]),
        endless,
    ];
    for lie in lies {
        for (liar, named) in read_past(lie) {
            let [(who, _)] = named.ended[..] else {
                panic!("{named:?}");
            };
            assert_eq!(who, liar);
        }
    }
}

/// Sends for as long as it may.
fn endless(host: &mut Host, peer: &Peer, to: &Frame, _: &SealedBlob) {
    let (flags, body) = (Flags::RESPONSE | Flags::MORE, [7; BODY_MAX as usize]);
    let piece = frame(kind::DATA, flags, to.request, &body);
    let mut sent = 0;
    while !host.has_closed(peer.conn) {
        assert!(sent <= BLOB_MAX, "{sent} bytes were taken");
        peer.send_raw(host, piece.clone());
        sent += body.len();
    }
}

#[test]
fn a_replica_that_trickles_for_ever_is_passed_over() {
    let data = noise(SIZE);
    let (record, chunk) = chunked("file", &data);
    let (mut host, mut peers) = client();
    let op = host.get("file");
    let mut slow: Option<(NodeId, u32)> = None;
    for _ in 0..60 {
        answer(&mut host, &mut peers, |_, _| Some(record.clone()));
        for peer in &mut peers {
            for frame in peer.asked(&mut host, kind::FETCH) {
                match slow {
                    None => slow = Some((peer.id, frame.request)),
                    Some(_) => peer.data(&mut host, &frame, &chunk.bytes),
                }
            }
            // Signs of life, and frames of its answer without a byte in them.
            peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
            if let Some((who, request)) = slow
                && who == peer.id
                && !host.has_closed(peer.conn)
            {
                let flags = Flags::RESPONSE | Flags::MORE;
                peer.send(&mut host, kind::DATA, flags, request, &[]);
            }
        }
        host.pass(Duration::from_secs(1));
    }
    assert!(slow.is_some());
    assert!(host.read(op) == data, "{:?}", host.result(op));
    assert!(matches!(host.result(op), Some(Ok(Outcome::Read(_)))));
}

#[test]
fn data_that_nobody_asked_for_is_not_kept_and_ends_the_session() {
    let (record, chunk) = chunked("file", &noise(SIZE));
    for kind in [kind::DATA, kind::LOOKUP, kind::CLAIM, kind::KEEP] {
        let (mut host, mut peers) = client();
        let op = host.get("file");
        let body = &chunk.bytes[..BODY_MAX as usize / 2];
        peers[0].send(&mut host, kind, Flags::RESPONSE, 77, body);
        let fault = peers[0].fault(&mut host);
        assert_eq!(named(&host).ended, [(peers[0].id, fault.unwrap())]);
        assert!(host.disk.blobs.is_empty());
        for _ in 0..10 {
            answer(&mut host, &mut peers[1..], |_, _| Some(record.clone()));
            for peer in &mut peers[1..] {
                for frame in peer.asked(&mut host, kind::FETCH) {
                    peer.data(&mut host, &frame, &chunk.bytes);
                }
            }
        }
        is_read(&mut host, op, &noise(SIZE));
    }
}

/// Reads past a replica that answers first, and with this record.
fn read_beside(liar: NodeId, lie: &StoredRecord) -> Named {
    let (mut host, mut peers) = client();
    peers.sort_by_key(|peer| peer.id != liar);
    let right = record("file", DATA, WALL);
    let op = host.get("file");
    for _ in 0..10 {
        answer(&mut host, &mut peers, |of, _| {
            Some(if of == liar { lie } else { &right }.clone())
        });
    }
    is_read(&mut host, op, DATA);
    named(&host)
}

#[test]
fn an_old_record_does_not_take_the_place_of_a_newer_one() {
    let old = record("file", b"an older text", WALL - 1000);
    for liar in REPLICAS {
        // A replica that was away tells the same: it is no liar by that.
        assert_eq!(read_beside(liar, &old), Named::default());
    }
}

#[test]
fn another_namespaces_record_of_the_same_name_is_seen_through() {
    let draft = Draft {
        epoch: 0,
        version: Version::next(UnixMillis(WALL + 5), Version::ZERO, [1; 8]).unwrap(),
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new("file").unwrap(),
        size: 5,
        modified: None,
        chunk_size: 1 << 16,
    };
    let theirs = NamespaceSecret::from_bytes([8; 32]).writer();
    let content = Content::Inline(Bytes::from_static(b"wrong"));
    let lie = seal_record(&theirs, draft, &meta, &content).unwrap();
    for liar in REPLICAS {
        assert_eq!(read_beside(liar, &lie.to_stored()).lied, [liar]);
    }
}

#[test]
fn a_replica_that_acknowledges_and_keeps_nothing_takes_nothing_from_a_file() {
    for liar in REPLICAS {
        let (mut host, mut peers) = client();
        let put = host.put("file", DATA);
        let mut kept: Option<StoredRecord> = None;
        for _ in 0..10 {
            answer(&mut host, &mut peers, |_, _| None);
            for peer in &mut peers {
                for frame in peer.asked(&mut host, kind::KEEP) {
                    if peer.id != liar {
                        kept = Some(record_in(&frame));
                    }
                    let (flags, request) = (Flags::RESPONSE, frame.request);
                    peer.send(&mut host, kind::KEEP, flags, request, &[]);
                }
            }
        }
        let Some(Ok(Outcome::Stored(stored))) = host.result(put) else {
            panic!("{:?}", host.result(put));
        };
        assert!(stored.copies >= 2, "it was believed");
        // It is named once for each time that it has acknowledged: for the put,
        // and for the third of these, which hand the record to it again.
        for (acknowledges, times) in [(false, 1), (false, 1), (true, 1), (false, 2), (false, 2)] {
            let op = host.get("file");
            let mut repaired = false;
            for _ in 0..10 {
                for peer in peers.iter_mut().filter(|peer| peer.id == liar) {
                    for frame in peer.asked(&mut host, kind::LOOKUP) {
                        peer.answer(&mut host, &frame, &Found { record: None });
                    }
                    for frame in peer.asked(&mut host, kind::KEEP) {
                        repaired = true;
                        if acknowledges {
                            peer.send(&mut host, kind::KEEP, Flags::RESPONSE, frame.request, &[]);
                        } else {
                            peer.refuse(&mut host, &frame, Refusal::Failed);
                        }
                    }
                }
                answer(&mut host, &mut peers, |_, _| kept.clone());
            }
            is_read(&mut host, op, DATA);
            assert!(repaired, "it is handed what it lacks");
            let unkept = vec![liar; times];
            let expected = Named {
                unkept,
                ..Named::default()
            };
            assert_eq!(named(&host), expected);
        }
    }
}

/// What it answers to a question from before says nothing of what it has come
/// to keep since.
#[test]
fn a_replica_is_held_to_what_it_had_acknowledged_when_it_was_asked() {
    let (mut host, mut peers) = client();
    host.get("file");
    let asked = peers
        .each_mut()
        .map(|peer| peer.asked(&mut host, kind::LOOKUP));
    let put = host.put("file", DATA);
    for _ in 0..10 {
        answer(&mut host, &mut peers, |_, _| None);
        for peer in &mut peers {
            for frame in peer.asked(&mut host, kind::KEEP) {
                peer.send(&mut host, kind::KEEP, Flags::RESPONSE, frame.request, &[]);
            }
        }
    }
    let stored = host.result(put);
    assert!(matches!(stored, Some(Ok(Outcome::Stored(_)))), "{stored:?}");
    for (peer, frames) in peers.iter_mut().zip(asked) {
        assert!(!frames.is_empty());
        for frame in frames {
            peer.answer(&mut host, &frame, &Found { record: None });
        }
    }
    assert_eq!(named(&host), Named::default());
}

/// The record that a replica is asked to keep.
fn record_in(frame: &Frame) -> StoredRecord {
    let keep: Keep = message::decode(&frame.body).unwrap();
    let RecordParts {
        head,
        meta,
        content,
    } = keep.record;
    let parts = [head, meta, content].map(|part| Bytes::from(Vec::from(part)));
    let [head, meta, content] = parts;
    let sealed = SealedRecord::from_parts(head, meta, content).unwrap();
    sealed.to_stored()
}
