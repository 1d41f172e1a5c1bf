//! What a node asks of peers: every question comes to an end, whatever they
//! answer, and nothing comes that was not asked for.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::seal::{BLOB_MAX, Grant, PAYLOAD_MAX};
use peerhold_core::wire::frame::{BODY_MAX, Flags, Frame};
use peerhold_core::wire::message::{
    self, Authority, BlobEntry, ClaimAnswer, ClaimBlobs, Claimed, Fetch, Found, RecordParts,
    Refusal, kind,
};
use peerhold_core::{BlobId, Event, NameTag, PeerFault, PutId, UnixMillis};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, WALL, config, noise, writer};
use crate::lies::chunked;

/// A chunk blob with this much payload.
pub(crate) fn blob(payload: usize, byte: u8) -> Bytes {
    assert!(payload <= PAYLOAD_MAX);
    let mut bytes = vec![0x50, 0x68, 1, 1];
    bytes.extend_from_slice(&(payload as u32).to_be_bytes());
    bytes.resize(8 + payload, byte);
    bytes.into()
}

pub(crate) fn claim_of(blobs: &[(BlobId, usize)]) -> ClaimBlobs {
    let blobs = blobs.iter().map(|(id, len)| BlobEntry {
        id: *id,
        len: *len as u32,
    });
    ClaimBlobs {
        namespace: writer().namespace(),
        tag: NameTag([2; 32]),
        put: PUT,
        blobs: blobs.collect(),
        authority: Some(granted(&grant())),
    }
}

/// The put of these claims.
pub(crate) const PUT: PutId = PutId([3; 16]);

/// Leave to have anything kept for it.
pub(crate) fn grant() -> Grant {
    Grant {
        namespace: writer().namespace(),
        put: PUT,
        limit: u64::MAX,
        expires: UnixMillis(WALL + 3_600_000),
    }
}

/// A grant as its writer shows it.
pub(crate) fn granted(grant: &Grant) -> Authority {
    Authority::Grant(grant.sign(&writer()).to_vec().into())
}

/// The answers to its claims that a peer has been sent.
pub(crate) fn claimed(frames: &[Frame]) -> Vec<(u32, ClaimAnswer)> {
    let response =
        |frame: &&Frame| frame.kind == kind::CLAIM && frame.flags.contains(Flags::RESPONSE);
    let answers = frames.iter().filter(response).flat_map(|frame| {
        let claimed: Claimed = message::decode(&frame.body).unwrap();
        claimed
            .answers
            .into_iter()
            .map(|answer| (frame.request, answer))
    });
    answers.collect()
}

fn host() -> Host {
    Host::new(config(ME))
}

/// A node that has been claimed a blob and asks its claimer for it.
fn asked_for(blob: &Bytes) -> (Host, Peer, Frame) {
    let mut host = host();
    let mut peer = Peer::admitted(&mut host, id(1));
    let claim = claim_of(&[(BlobId::of(blob), blob.len())]);
    peer.ask(&mut host, kind::CLAIM, &claim);
    let asked = peer.asked(&mut host, kind::FETCH).remove(0);
    let fetch: Fetch = message::decode(&asked.body).unwrap();
    assert_eq!((fetch.id, fetch.max), (BlobId::of(blob), blob.len() as u32));
    assert_eq!(host.memory(), blob.len());
    (host, peer, asked)
}

#[test]
fn a_claimed_blob_is_fetched_checked_kept_and_answered() {
    for payload in [1, 1000, 65_528, 65_529, PAYLOAD_MAX] {
        let blob = blob(payload, 7);
        let (mut host, mut peer, asked) = asked_for(&blob);
        peer.data(&mut host, &asked, &blob);
        assert_eq!(host.disk.blobs.get(&BlobId::of(&blob)), Some(&blob));
        let (index, refusal) = (0, None);
        let answer = (0, ClaimAnswer { index, refusal });
        assert_eq!(claimed(&peer.received(&mut host)), [answer]);
        assert_eq!(host.memory(), 0);
    }
}

#[test]
fn wrong_bytes_are_not_kept_and_the_next_source_is_asked() {
    let blob = blob(1000, 7);
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut liar = Peer::admitted(&mut host, id(1));
    let mut good = Peer::admitted(&mut host, id(2));
    let claim = claim_of(&[(BlobId::of(&blob), blob.len())]);
    liar.ask(&mut host, kind::CLAIM, &claim);
    let asked = liar.asked(&mut host, kind::FETCH).remove(0);
    liar.data(&mut host, &asked, &blob[..999]);
    assert!(host.disk.blobs.is_empty());
    assert!(host.events.contains(&Event::Lied { peer: id(1) }));
    let asked = good.asked(&mut host, kind::FETCH).remove(0);
    good.data(&mut host, &asked, &blob);
    assert_eq!(host.disk.blobs.len(), 1);
    assert_eq!(claimed(&liar.received(&mut host)).len(), 1);
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_claim_at_a_wrong_length_hinders_nobody_else() {
    let blob = blob(1000, 7);
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut wrong = Peer::admitted(&mut host, id(1));
    let mut good = Peer::admitted(&mut host, id(2));
    let claim = |len| claim_of(&[(BlobId::of(&blob), len)]);
    wrong.ask(&mut host, kind::CLAIM, &claim(500));
    good.ask(&mut host, kind::CLAIM, &claim(blob.len()));
    let asked = good.asked(&mut host, kind::FETCH).remove(0);
    good.data(&mut host, &asked, &blob);
    let held = ClaimAnswer {
        index: 0,
        refusal: None,
    };
    assert_eq!(claimed(&good.received(&mut host)), [(0, held)]);
    assert_eq!(host.disk.blobs.len(), 1);
}

#[test]
fn data_beyond_what_was_asked_for_ends_the_session() {
    let blob = blob(1000, 7);
    for extra in [&blob[..1], &vec![0; BODY_MAX as usize]] {
        let (mut host, peer, asked) = asked_for(&blob);
        let flags = Flags::RESPONSE | Flags::MORE;
        peer.send(&mut host, kind::DATA, flags, asked.request, &blob);
        assert!(!host.has_closed(peer.conn));
        peer.send(&mut host, kind::DATA, flags, asked.request, extra);
        assert_eq!(peer.fault(&mut host), Some(PeerFault::Unrequested));
        assert_eq!(host.memory(), 0);
    }
}

#[test]
fn what_is_no_answer_to_the_question_ends_the_session() {
    let cases: [(u8, Flags, PeerFault); 5] = [
        (kind::CLAIM, Flags::NONE, PeerFault::BadMessage),
        (kind::LOOKUP, Flags::NONE, PeerFault::BadMessage),
        (kind::KEEP, Flags::NONE, PeerFault::BadMessage),
        (kind::REFUSED, Flags::NONE, PeerFault::BadMessage),
        (0x77, Flags::NONE, PeerFault::BadMessage),
    ];
    for (of, flags, fault) in cases {
        let (mut host, peer, asked) = asked_for(&blob(1000, 7));
        peer.send(&mut host, of, flags | Flags::RESPONSE, asked.request, &[]);
        assert_eq!(peer.fault(&mut host), Some(fault), "{of:#x}");
        assert_eq!(host.memory(), 0);
    }
}

#[test]
fn an_answer_nobody_asked_for_or_that_came_before_ends_the_session() {
    let blob = blob(1000, 7);
    let (mut host, peer, asked) = asked_for(&blob);
    peer.data(&mut host, &asked, &blob);
    assert!(!host.has_closed(peer.conn));
    peer.data(&mut host, &asked, &blob);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Unrequested));
}

#[test]
fn a_refusal_that_is_to_go_on_ends_the_session() {
    let (mut host, peer, asked) = asked_for(&blob(1000, 7));
    let reason = Refusal::Missing;
    let body = message::encode(&message::Refused { reason });
    let flags = Flags::RESPONSE | Flags::MORE;
    peer.send(&mut host, kind::REFUSED, flags, asked.request, &body);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::BadMessage));
    assert_eq!(host.memory(), 0);
}

#[test]
fn frames_that_bring_nothing_do_not_keep_a_request_alive() {
    let (mut host, mut peer, asked) = asked_for(&blob(1000, 7));
    let flags = Flags::RESPONSE | Flags::MORE;
    for _ in 0..10 {
        peer.send(&mut host, kind::DATA, flags, asked.request, &[]);
        host.pass(Duration::from_secs(2));
    }
    let cancelled = peer.asked(&mut host, kind::CANCEL);
    assert_eq!(cancelled[0].request, asked.request);
    assert_eq!(host.memory(), 0);
}

#[test]
fn what_still_comes_of_an_abandoned_request_is_dropped_up_to_what_was_asked_for() {
    let blob = blob(200_000, 7);
    let (mut host, mut peer, asked) = asked_for(&blob);
    host.pass(Duration::from_secs(16));
    assert_eq!(peer.asked(&mut host, kind::CANCEL).len(), 1);
    // The late answer is no fault, and its number is free again.
    peer.data(&mut host, &asked, &blob);
    assert!(!host.has_closed(peer.conn) && host.disk.blobs.is_empty());

    let (mut host, mut peer, asked) = asked_for(&blob);
    host.pass(Duration::from_secs(16));
    peer.received(&mut host);
    let (flags, part) = (Flags::RESPONSE | Flags::MORE, &blob[..50_000]);
    for _ in 0..4 {
        assert!(!host.has_closed(peer.conn));
        peer.send(&mut host, kind::DATA, flags, asked.request, part);
    }
    peer.send(&mut host, kind::DATA, flags, asked.request, part);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Unrequested));
}

#[test]
fn a_request_that_cannot_even_go_out_comes_to_an_end() {
    let mut host = host();
    let mut peer = Peer::allowing(&mut host, id(1), 8);
    let blobs: Vec<Bytes> = (0..20).map(|byte| blob(1000, byte)).collect();
    let ids: Vec<_> = blobs
        .iter()
        .map(|blob| (BlobId::of(blob), blob.len()))
        .collect();
    peer.ask(&mut host, kind::CLAIM, &claim_of(&ids));
    // Its answers to eight would let the others go out; it gives none, and
    // reads only so that nothing but its limit is in the way.
    assert_eq!(peer.asked(&mut host, kind::FETCH).len(), 8);
    assert_eq!(host.memory(), 20 * 1008);
    for _ in 0..3 {
        host.pass(Duration::from_secs(5));
        peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
        peer.received(&mut host);
    }
    assert_eq!(host.memory(), 0);

    // Here nothing is read at all.
    let mut host = self::host();
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.ask(&mut host, kind::CLAIM, &claim_of(&ids));
    assert_eq!(host.memory(), 20 * 1008);
    host.pass(Duration::from_secs(15));
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_peer_that_does_not_answer_called_off_fetches_is_let_go_of() {
    let (record, _) = chunked("file", &noise(60_000));
    let ids = [id(1), id(2), id(3)];
    let mut config = config(ME);
    config.weight = 0;
    let mut host = Host::founded(config, &ids);
    let mut peer = Peer::allowing(&mut host, id(1), 8);
    for round in 0..5 {
        assert!(!host.has_closed(peer.conn), "round {round}");
        let op = host.get("file");
        for frame in peer.asked(&mut host, kind::LOOKUP) {
            let record = Some(RecordParts::from(&record));
            peer.answer(&mut host, &frame, &Found { record });
        }
        host.pass(Duration::from_secs(6));
        assert_eq!(peer.asked(&mut host, kind::FETCH).len(), 1);
        host.node.cancel(host.now, op);
        assert_eq!(peer.asked(&mut host, kind::CANCEL).len(), 1);
        peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
    }
    for _ in 0..2 {
        host.pass(Duration::from_secs(8));
        peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
    }
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Silent));
}

#[test]
fn claims_beyond_the_protocol_or_of_impossible_lengths_get_nowhere() {
    let entry = |at: usize| (BlobId([at as u8; 32]), 1000);
    for count in [0, 65] {
        let mut host = host();
        let mut peer = Peer::admitted(&mut host, id(1));
        let blobs: Vec<_> = (0..count).map(entry).collect();
        peer.ask(&mut host, kind::CLAIM, &claim_of(&blobs));
        assert_eq!(peer.fault(&mut host), Some(PeerFault::BadMessage));
    }
    let mut host = host();
    let mut peer = Peer::admitted(&mut host, id(1));
    let lengths = [0, 8, BLOB_MAX + 1, u32::MAX as usize];
    let blobs: Vec<_> = lengths.map(|len| (BlobId([1; 32]), len)).into();
    peer.ask(&mut host, kind::CLAIM, &claim_of(&blobs));
    let answers = claimed(&peer.received(&mut host));
    assert_eq!(answers.len(), 4);
    let too_long = Some(Refusal::TooLong);
    assert!(answers.iter().all(|(_, answer)| answer.refusal == too_long));
    assert!(peer.asked(&mut host, kind::FETCH).is_empty());
}

#[test]
fn a_node_fetches_no_more_at_once_than_it_has_memory_for() {
    let mut host = host();
    let mut peer = Peer::admitted(&mut host, id(1));
    let blobs: Vec<Bytes> = (0..5).map(|byte| blob(PAYLOAD_MAX, byte)).collect();
    let ids: Vec<_> = blobs
        .iter()
        .map(|blob| (BlobId::of(blob), blob.len()))
        .collect();
    peer.ask(&mut host, kind::CLAIM, &claim_of(&ids));
    for at in [0..2, 2..4, 4..5] {
        let asked = peer.asked(&mut host, kind::FETCH);
        assert_eq!(asked.len(), at.len());
        assert_eq!(host.memory(), at.len() * BLOB_MAX);
        for (asked, blob) in asked.iter().zip(&blobs[at]) {
            peer.data(&mut host, asked, blob);
        }
    }
    assert_eq!(claimed(&peer.received(&mut host)).len(), 5);
    assert_eq!(host.memory(), 0);
}

#[test]
fn a_claimer_that_goes_away_leaves_no_memory_taken() {
    for step in 0..3 {
        let blob = blob(PAYLOAD_MAX, 7);
        let (mut host, peer, asked) = asked_for(&blob);
        if step == 1 {
            let (flags, part) = (Flags::RESPONSE | Flags::MORE, &blob[..BODY_MAX as usize]);
            peer.send(&mut host, kind::DATA, flags, asked.request, part);
        }
        if step == 2 {
            host.hold_back = Some(|_| true);
            peer.data(&mut host, &asked, &blob);
        }
        peer.reset(&mut host);
        host.release();
        assert_eq!(host.memory(), 0, "step {step}");
        assert_eq!(host.disk.blobs.len(), usize::from(step == 2));
    }
}

#[test]
fn a_silent_replica_is_offered_nothing_more_until_it_gives_a_sign_of_life() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut good = Peer::admitted(&mut host, id(1));
    let mut silent = Peer::admitted(&mut host, id(2));
    // The version to go above is known from this node and the good one.
    let told = |host: &mut Host, good: &mut Peer| {
        for frame in good.asked(host, kind::LOOKUP) {
            good.answer(host, &frame, &Found { record: None });
        }
    };
    host.put("one", &noise(100_000));
    told(&mut host, &mut good);
    assert!(!silent.asked(&mut host, kind::CLAIM).is_empty());
    let request = config(ME).timing.request;
    host.pass(request);
    assert!(!silent.asked(&mut host, kind::PING).is_empty());
    host.put("other", &noise(100_001));
    told(&mut host, &mut good);
    assert!(!good.asked(&mut host, kind::CLAIM).is_empty());
    assert!(silent.asked(&mut host, kind::CLAIM).is_empty());
    silent.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
    assert!(!silent.asked(&mut host, kind::CLAIM).is_empty());
}

#[test]
fn a_peer_cannot_have_more_and_more_blobs_wait_for_memory() {
    let mut config = config(ME);
    config.limits.requests = 8;
    let mut host = Host::new(config);
    let mut peer = Peer::admitted(&mut host, id(1));
    let entry = |at: usize| (BlobId([at as u8; 32]), BLOB_MAX);
    for from in [0, 64, 128] {
        let blobs: Vec<_> = (from..from + 64).map(entry).collect();
        peer.ask(&mut host, kind::CLAIM, &claim_of(&blobs));
    }
    let frames = peer.received(&mut host);
    let refused: Vec<_> = frames
        .iter()
        .filter(|frame| frame.kind == kind::REFUSED)
        .map(|frame| (frame.request, message::decode(&frame.body).unwrap()))
        .collect();
    let reason = Refusal::Busy;
    assert_eq!(refused, [(2, message::Refused { reason })]);
}
