//! What a node does for peers that ask and do not take.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskKind, Part, RecordKey};
use peerhold_core::seal::{BLOB_MAX, PAYLOAD_MAX};
use peerhold_core::wire::frame::{Flags, Frame};
use peerhold_core::wire::message::{
    self, ClaimAnswer, ClaimBlobs, Claimed, Fetch, Found, Lookup, Refusal, Refused, kind,
};
use peerhold_core::{BlobId, NameTag, NamespaceId, PeerFault};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, config, noise, writer};
use crate::listers::version;

pub(crate) fn lookup() -> Lookup {
    let (namespace, tag) = (NamespaceId([1; 32]), NameTag([2; 32]));
    let key = RecordKey { namespace, tag };
    Lookup {
        key,
        part: Part::All,
        at: None,
    }
}

/// A host whose disk has so many large blobs.
fn holding(count: usize) -> (Host, Vec<BlobId>) {
    let mut host = Host::new(config(ME));
    let blobs = (0..count).map(|at| {
        let mut bytes = vec![at as u8; 8 + PAYLOAD_MAX];
        bytes[..8].copy_from_slice(&[0x50, 0x68, 1, 1, 0, 0x10, 0, 0]);
        let bytes = Bytes::from(bytes);
        (BlobId::of(&bytes), bytes)
    });
    host.disk.blobs = blobs.collect();
    let ids = host.disk.blobs.keys().copied().collect();
    (host, ids)
}

fn fetch(id: BlobId) -> Fetch {
    let max = BLOB_MAX as u32;
    Fetch { id, max }
}

#[test]
fn answers_that_a_peer_does_not_read_count_as_outstanding() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    for _ in 0..512 {
        peer.ask(&mut host, kind::LOOKUP, &lookup());
    }
    assert!(!host.has_closed(peer.conn));
    peer.ask(&mut host, kind::LOOKUP, &lookup());
    assert_eq!(peer.fault(&mut host), Some(PeerFault::TooManyRequests));
}

#[test]
fn a_peer_that_reads_its_answers_may_ask_for_ever() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    for _ in 0..4 {
        peer.received(&mut host);
        for _ in 0..512 {
            peer.ask(&mut host, kind::LOOKUP, &lookup());
        }
        let answers = peer.received(&mut host);
        assert_eq!(answers.len(), 512);
        let found: Found = message::decode(&answers[0].body).unwrap();
        assert_eq!(found, Found { record: None });
    }
}

#[test]
fn a_request_under_a_number_that_is_being_served_is_out_of_turn() {
    let (mut host, ids) = holding(1);
    host.hold_back = Some(|_| true);
    let peer = Peer::admitted(&mut host, id(1));
    let body = message::encode(&fetch(ids[0]));
    for _ in 0..2 {
        peer.send(&mut host, kind::FETCH, Flags::NONE, 3, &body);
    }
    assert_eq!(peer.fault(&mut host), Some(PeerFault::OutOfTurn));
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_others_from_being_served() {
    let (mut host, ids) = holding(6);
    let mut greedy = Peer::admitted(&mut host, id(1));
    greedy.received(&mut host);
    for blob in &ids {
        greedy.ask(&mut host, kind::FETCH, &fetch(*blob));
    }
    let mut other = Peer::admitted(&mut host, id(2));
    other.ask(&mut host, kind::FETCH, &fetch(ids[0]));
    let got: usize = other
        .received(&mut host)
        .iter()
        .filter(|frame| frame.kind == kind::DATA)
        .map(|frame| frame.body.len())
        .sum();
    assert_eq!(got, BLOB_MAX);
    let all: usize = greedy
        .received(&mut host)
        .iter()
        .map(|frame| frame.body.len())
        .sum();
    assert!(all >= 6 * BLOB_MAX, "everything comes in the end");
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_peer_that_takes_nothing_is_closed_however_much_it_says() {
    let (mut host, ids) = holding(1);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    peer.ask(&mut host, kind::FETCH, &fetch(ids[0]));
    assert_eq!(host.memory(), BLOB_MAX);
    for _ in 0..20 {
        host.pass(Duration::from_secs(5));
        peer.send(&mut host, kind::PING, Flags::NONE, 0, &[]);
    }
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Silent));
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_session_that_ends_gives_its_memory_back_before_its_connection_does() {
    let (mut host, ids) = holding(2);
    let mut peer = Peer::admitted(&mut host, id(1));
    for blob in &ids {
        peer.ask(&mut host, kind::FETCH, &fetch(*blob));
    }
    assert_eq!(host.memory(), BLOB_MAX);
    peer.send(&mut host, 0x77, Flags::NONE, 9, &[]);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::BadMessage));
    assert_eq!(host.memory(), 0);
    let rest = peer.received(&mut host);
    assert!(rest.iter().all(|frame| frame.kind != kind::DATA));
}

#[test]
fn a_fetch_that_is_called_off_is_answered_once_wherever_it_stands() {
    let (mut host, ids) = holding(3);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    // One on its way, two that wait for memory.
    for blob in &ids {
        peer.ask(&mut host, kind::FETCH, &fetch(*blob));
    }
    for request in [0, 2, 2] {
        peer.send(&mut host, kind::CANCEL, Flags::NONE, request, &[]);
    }
    let frames = peer.received(&mut host);
    let refused: Vec<u32> = frames
        .iter()
        .filter(|frame| frame.kind == kind::REFUSED)
        .map(|frame| {
            let refused: Refused = message::decode(&frame.body).unwrap();
            assert_eq!(refused.reason, Refusal::Cancelled);
            frame.request
        })
        .collect();
    assert_eq!(refused, [0, 2]);
    assert!(frames.iter().any(|frame| frame.request == 1));
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_fetch_of_what_is_not_there_or_too_long_is_refused() {
    let (mut host, ids) = holding(1);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    peer.ask(&mut host, kind::FETCH, &fetch(BlobId([0; 32])));
    let short = Fetch {
        id: ids[0],
        max: 1000,
    };
    peer.ask(&mut host, kind::FETCH, &short);
    let mut refused = peer.received(&mut host).into_iter().map(|frame| {
        let refused: Refused = message::decode(&frame.body).unwrap();
        refused.reason
    });
    assert_eq!(refused.next(), Some(Refusal::Missing));
    assert_eq!(refused.next(), Some(Refusal::TooLong));
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_blob_that_outlives_its_put_on_the_way_to_a_slow_reader_is_counted() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut slow = Peer::admitted(&mut host, id(1));
    let mut good = Peer::admitted(&mut host, id(2));
    answer_lookups(&mut host, &mut [&mut slow, &mut good]);
    let op = host.put("file", &noise(40_000));
    answer_lookups(&mut host, &mut [&mut slow, &mut good]);
    let claim = slow.asked(&mut host, kind::CLAIM).remove(0);
    let blob = message::decode::<ClaimBlobs>(&claim.body).unwrap().blobs[0];
    slow.ask(&mut host, kind::FETCH, &fetch(blob.id));
    for claim in good.asked(&mut host, kind::CLAIM) {
        let answers = [ClaimAnswer {
            index: 0,
            refusal: None,
        }];
        let answers = answers.into();
        good.answer(&mut host, &claim, &Claimed { answers });
    }
    assert_eq!(host.memory(), 0);
    host.pass(Duration::from_secs(16));
    assert_eq!(host.memory(), BLOB_MAX, "the put has gone on without it");
    slow.reset(&mut host);
    assert_eq!(host.memory(), 0);
    host.node.cancel(host.now, op);
    assert!(matches!(host.result(op), Some(Err(_))));
}

/// Answers look-ups as those who hold nothing.
fn answer_lookups(host: &mut Host, peers: &mut [&mut Peer]) {
    for peer in peers {
        for frame in peer.asked(host, kind::LOOKUP) {
            peer.answer(host, &frame, &Found { record: None });
        }
    }
}

#[test]
fn answers_that_nobody_takes_are_bounded_together_and_each_peer_is_sure_of_a_few() {
    const PEERS: usize = 8;
    let mut config = config(ME);
    (config.replicas, config.durable) = (1, 1);
    config.limits.connections = 2 * PEERS as u32;
    let limits = config.limits;
    let mut host = Host::founded(config, &[]);
    host.put("f", &noise(16 << 10));
    let key = *host.disk.records.keys().next().unwrap();
    let lookup = Lookup { key, ..lookup() };
    let mut peers: Vec<Peer> = (1..=PEERS as u8)
        .map(|at| Peer::admitted(&mut host, id(at)))
        .collect();
    for peer in &mut peers {
        for _ in 0..100 {
            peer.ask(&mut host, kind::LOOKUP, &lookup);
        }
    }
    let mut all = 0;
    for peer in &mut peers {
        let frames = peer.received(&mut host);
        let found = frames.iter().filter(|frame| frame.kind == kind::LOOKUP);
        let bytes: usize = found.map(|frame| frame.body.len()).sum();
        assert!(bytes >= 64 << 10, "{bytes}");
        let refused = frames.iter().filter(|frame| frame.kind == kind::REFUSED);
        for frame in refused {
            let refused: Refused = message::decode(&frame.body).unwrap();
            assert_eq!(refused.reason, Refusal::Busy);
        }
        all += bytes;
    }
    assert!(all <= limits.answers_max(), "{all}");
    assert!(all >= limits.memory / 8, "{all}");
}

#[test]
fn who_asks_for_more_than_the_disk_can_do_is_not_read_and_others_are() {
    let mut config = config(ME);
    config.limits.disk_operations = 4;
    let mut host = Host::new(config);
    let mut greedy = Peer::admitted(&mut host, id(1));
    let mut other = Peer::admitted(&mut host, id(2));
    host.hold_back = Some(|_| true);
    for _ in 0..100 {
        greedy.ask(&mut host, kind::LOOKUP, &lookup());
    }
    assert_eq!(host.node.read_budget(greedy.conn), 0);
    assert!(host.node.read_budget(other.conn) > 0);
    while host.node.poll_dirty().is_some() {}
    // What the other one asks for is the next but those that have begun.
    other.ask(&mut host, kind::LOOKUP, &lookup());
    for _ in 0..5 {
        let first = host.held_back.remove(0);
        host.complete(first);
        host.run();
    }
    assert_eq!(other.received(&mut host).pop().unwrap().kind, kind::LOOKUP);
    assert_eq!(host.node.read_budget(greedy.conn), 0);
    host.release();
    assert!(host.node.read_budget(greedy.conn) > 0);
    assert!(std::iter::from_fn(|| host.node.poll_dirty()).any(|conn| conn == greedy.conn));
}

/// A host with so many disk operations whose disk has names enough for a page
/// of more than 60,000 bytes.
fn listed(disk_operations: u32) -> Host {
    let mut config = config(ME);
    config.limits.disk_operations = disk_operations;
    let mut host = Host::new(config);
    for name in 0..200 {
        let record = version(&format!("file {name}"), 1, Some(1));
        host.disk.run(&DiskKind::PutRecord(record)).unwrap();
    }
    host
}

fn list() -> message::List {
    message::List {
        namespace: writer().namespace(),
        after: None,
        max: message::PAGE_MAX,
    }
}

/// How many pages the disk has been asked for.
fn pages_read(host: &Host) -> usize {
    let read = host.trace.iter().filter(|line| line.contains("ListNames"));
    read.count()
}

/// Of these answers, how many are pages, and how many refuse one as busy.
fn pages_and_refusals(answers: &[Frame]) -> (usize, usize) {
    let of = |kind: u8| answers.iter().filter(move |frame| frame.kind == kind);
    for frame in of(kind::REFUSED) {
        let refused: Refused = message::decode(&frame.body).unwrap();
        assert_eq!(refused.reason, Refusal::Busy);
    }
    (of(kind::LIST).count(), of(kind::REFUSED).count())
}

#[test]
fn pages_for_who_takes_none_are_refused_before_they_are_read() {
    let mut host = listed(64);
    let mut deaf = Peer::admitted(&mut host, id(1));
    for _ in 0..60 {
        deaf.ask(&mut host, kind::LIST, &list());
    }
    let read = pages_read(&host);
    let (pages, refused) = pages_and_refusals(&deaf.received(&mut host));
    assert_eq!((read, pages + refused), (pages, 60));
    assert!((10..30).contains(&pages), "{pages}");
    // Who takes them may ask for more.
    deaf.ask(&mut host, kind::LIST, &list());
    assert_eq!(pages_and_refusals(&deaf.received(&mut host)), (1, 0));
}

#[test]
fn pages_that_are_in_line_when_there_is_no_room_any_more_are_not_read() {
    let mut host = listed(64);
    let mut deaf = Peer::admitted(&mut host, id(1));
    host.hold_back = Some(DiskKind::is_page);
    for _ in 0..64 {
        deaf.ask(&mut host, kind::LIST, &list());
    }
    assert_eq!(
        (pages_read(&host), host.node.read_budget(deaf.conn)),
        (16, 0)
    );
    host.release();
    let read = pages_read(&host);
    assert!(host.node.read_budget(deaf.conn) > 0);
    let (pages, refused) = pages_and_refusals(&deaf.received(&mut host));
    assert_eq!(pages + refused, 64);
    // Those that were being read already may have been for nothing.
    assert!(read < pages + 16, "{read} for {pages}");
}

#[test]
fn of_many_who_take_no_pages_none_is_read_beyond_those_that_had_begun() {
    const PEERS: u8 = 40;
    let mut host = listed(64);
    let mut deaf: Vec<Peer> = (1..=PEERS)
        .map(|at| Peer::admitted(&mut host, id(at)))
        .collect();
    host.hold_back = Some(DiskKind::is_page);
    for peer in &mut deaf {
        for _ in 0..64 {
            peer.ask(&mut host, kind::LIST, &list());
        }
    }
    host.release();
    let read = pages_read(&host);
    let answers = deaf.iter_mut().map(|peer| peer.received(&mut host));
    let sums = answers.map(|answers| pages_and_refusals(&answers));
    let (pages, refused) = sums.fold((0, 0), |(p, r), (pages, refused)| (p + pages, r + refused));
    assert_eq!(pages + refused, usize::from(PEERS) * 64);
    assert!(read <= pages + 16, "{read} for {pages}");
}

#[test]
fn who_asks_for_pages_leaves_others_a_place_at_the_disk() {
    let mut host = listed(4);
    let [mut greedy, mut other] = [1, 2].map(|at| Peer::admitted(&mut host, id(at)));
    other.received(&mut host);
    host.hold_back = Some(DiskKind::is_page);
    for _ in 0..4 {
        greedy.ask(&mut host, kind::LIST, &list());
    }
    other.ask(&mut host, kind::LOOKUP, &lookup());
    let record = version("another", 1, Some(1));
    let keep = message::Keep {
        record: message::RecordParts::from(&record),
        repair: false,
    };
    other.ask(&mut host, kind::KEEP, &keep);
    let kinds: Vec<u8> = other
        .received(&mut host)
        .iter()
        .map(|frame| frame.kind)
        .collect();
    assert_eq!(kinds, [kind::LOOKUP, kind::KEEP]);
    host.release();
    let answers = greedy.received(&mut host);
    assert_eq!(pages_and_refusals(&answers), (4, 0));
}
