//! Dropping local copies, while others may be doing the same.

use peerhold_core::disk::StoredRecord;
use peerhold_core::wire::message::{ClaimAnswer, Claimed, Found, RecordParts, kind};
use peerhold_core::{BlobId, Forget, Name, OpId, Outcome};

use crate::asking::claim_of;
use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, config, noise, writer};
use crate::lies::chunked;

/// A replica of a file of one chunk, told to forget it, and the two others.
fn forgetting() -> (Host, [Peer; 2], OpId, BlobId) {
    let (record, chunk) = chunked("file", &noise(60_000));
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    host.disk.blobs.insert(chunk.id, chunk.bytes);
    host.disk.records.insert(record.key, vec![record.clone()]);
    let mut peers = [1, 2].map(|byte| Peer::admitted(&mut host, id(byte)));
    let forget = Forget {
        reader: writer().reader().clone(),
        name: Name::new("file").unwrap(),
    };
    let op = host.node.forget(host.now, forget).unwrap();
    for peer in &mut peers {
        tell(&mut host, peer, &record);
    }
    (host, peers, op, chunk.id)
}

fn tell(host: &mut Host, peer: &mut Peer, record: &StoredRecord) {
    for frame in peer.asked(host, kind::LOOKUP) {
        let record = Some(RecordParts::from(record));
        peer.answer(host, &frame, &Found { record });
    }
}

/// Says that it holds what it was claimed. Whether it was.
fn hold(host: &mut Host, peer: &mut Peer) -> bool {
    let claims = peer.asked(host, kind::CLAIM);
    for frame in &claims {
        let (index, refusal) = (0, None);
        let answers = [ClaimAnswer { index, refusal }].into();
        peer.answer(host, frame, &Claimed { answers });
    }
    !claims.is_empty()
}

fn outcome(host: &mut Host, op: OpId) -> (u64, u64) {
    match host.result(op) {
        Some(Ok(Outcome::Forgotten { blobs, kept })) => (blobs, kept),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_goes_when_enough_others_hold_it_and_not_before() {
    let (mut host, [mut one, mut two], op, blob) = forgetting();
    assert!(hold(&mut host, &mut one));
    assert!(host.disk.blobs.contains_key(&blob));
    assert!(hold(&mut host, &mut two));
    assert_eq!(outcome(&mut host, op), (1, 0));
    assert!(!host.disk.blobs.contains_key(&blob));
}

#[test]
fn a_copy_that_another_comes_to_count_on_meanwhile_stays() {
    let (mut host, [mut one, mut two], op, blob) = forgetting();
    assert!(hold(&mut host, &mut one));
    // The other drops its own copy at the same time, counting on this one.
    two.ask(&mut host, kind::CLAIM, &claim_of(&[(blob, 60_008)]));
    assert!(hold(&mut host, &mut two));
    assert_eq!(outcome(&mut host, op), (0, 1));
    assert!(host.disk.blobs.contains_key(&blob));
}

#[test]
fn a_copy_that_a_put_of_this_node_counts_on_meanwhile_stays() {
    let (mut host, [mut one, mut two], op, blob) = forgetting();
    host.put("same", &noise(60_000));
    assert!(hold(&mut host, &mut one) && hold(&mut host, &mut two));
    assert_eq!(outcome(&mut host, op), (0, 1));
    assert!(host.disk.blobs.contains_key(&blob));
}
