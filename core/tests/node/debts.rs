//! Copies that are owed: to whom, from where, and when they count as there.

use std::time::Duration;

use peerhold_core::disk::{Claim, Debt, Owed, StoredRecord};
use peerhold_core::members::{Member, State};
use peerhold_core::seal::SealedBlob;
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{
    self, Authority, ClaimBlobs, Found, Keep, Lookup, RecordParts, Refusal, kind,
};
use peerhold_core::{Event, Policy, PutId, Terms};

use crate::fake_peer::{Peer, id};
use crate::host::{Disk, Host, ME, WALL, active, config, member};
use crate::lies::{chunked, record};
use crate::members::update;

/// A client that owes id(1) this record, and the other replicas, id(2) and
/// id(3), who have it.
fn owing(record: &StoredRecord) -> (Host, Peer, [Peer; 2]) {
    let owed = Owed::Record {
        key: record.key,
        id: record.id(),
    };
    let target = id(1);
    let mut config = config(ME);
    config.weight = 0;
    let disk = Disk {
        members: Some(active(&[id(1), id(2), id(3)])),
        debts: [Debt { target, owed }].into(),
        ..Disk::default()
    };
    let mut host = Host::with_disk(config, disk);
    let others = [id(2), id(3)].map(|id| Peer::admitted(&mut host, id));
    let target = Peer::admitted(&mut host, target);
    (host, target, others)
}

/// Answers each look-up of the node's with what `told` makes of it.
fn tell(host: &mut Host, others: &mut [Peer], told: impl Fn(&Peer) -> StoredRecord) {
    for peer in others {
        for frame in peer.asked(host, kind::LOOKUP) {
            let record = Some(RecordParts::from(&told(peer)));
            peer.answer(host, &frame, &Found { record });
        }
    }
}

#[test]
fn a_lying_replica_cannot_make_a_debt_count_as_paid() {
    let right = record("file", b"data", WALL);
    let other = record("other", b"another", WALL + 9);
    let mut forged = record("file", b"forgery", WALL + 9);
    forged.head = [&forged.head[..forged.head.len() - 64], &[1; 64]]
        .concat()
        .into();
    for (lie, liar) in [(&other, 2), (&other, 3), (&forged, 2), (&forged, 3)] {
        let (mut host, mut target, mut others) = owing(&right);
        let mut offered = Vec::new();
        for _ in 0..40 {
            tell(&mut host, &mut others, |peer| {
                if peer.id == id(liar) { lie } else { &right }.clone()
            });
            for frame in target.asked(&mut host, kind::KEEP) {
                let keep: Keep = message::decode(&frame.body).unwrap();
                assert!(keep.repair);
                offered.push(keep.record);
                target.send(
                    &mut host,
                    kind::KEEP,
                    peerhold_core::wire::frame::Flags::RESPONSE,
                    frame.request,
                    &[],
                );
            }
            host.pass(Duration::from_secs(16));
            for peer in others.iter().chain([&target]) {
                peer.send(&mut host, kind::PONG, Default::default(), 0, &[]);
            }
        }
        assert_eq!(offered, [RecordParts::from(&right)]);
        assert_eq!(host.node.status().debts, 0);
        assert!(host.disk.debts.is_empty());
        let lied = |event: &Event| matches!(event, Event::Lied { peer } if *peer != id(liar));
        assert!(!host.events.iter().any(lied));
    }
}

/// What a replica says when it is asked for a record.
type Says<'a> = Result<&'a [StoredRecord], Refusal>;

/// Lets two replicas answer for so many rounds of payment, as `says` has it,
/// and the member that is owed take all that it is offered. What that was.
fn pay(
    host: &mut Host,
    target: &mut Peer,
    others: &mut [Peer; 2],
    says: [Says<'_>; 2],
) -> Vec<Keep> {
    let mut offered = Vec::new();
    for _ in 0..4 {
        for _ in 0..4 {
            for (peer, says) in others.iter_mut().zip(says) {
                for frame in peer.asked(host, kind::LOOKUP) {
                    let lookup: Lookup = message::decode(&frame.body).unwrap();
                    let held = match says {
                        Ok(held) => held,
                        Err(reason) => {
                            peer.refuse(host, &frame, reason);
                            continue;
                        }
                    };
                    let found = match lookup.at {
                        Some(at) => held.iter().find(|record| record.id() == at),
                        None => held.last(),
                    };
                    let record = found.map(RecordParts::from);
                    peer.answer(host, &frame, &Found { record });
                }
            }
            for frame in target.asked(host, kind::KEEP) {
                offered.push(message::decode(&frame.body).unwrap());
                target.send(host, kind::KEEP, Flags::RESPONSE, frame.request, &[]);
            }
        }
        host.pass(Duration::from_secs(16));
        for peer in others.iter().chain([&*target]) {
            peer.send(host, kind::PONG, Flags::NONE, 0, &[]);
        }
    }
    offered
}

#[test]
fn what_is_owed_to_a_member_that_is_out_is_struck_out() {
    let record = record("file", b"data", WALL);
    let owed = Owed::Record {
        key: record.key,
        id: record.id(),
    };
    let debts = [1, 2].map(|at| Debt {
        target: id(at),
        owed,
    });
    let disk = Disk {
        members: Some(active(&[ME, id(1), id(2), id(3)])),
        debts: debts.into(),
        ..Disk::default()
    };
    // One that the node's policy has stopped to allow.
    let mut config = config(ME);
    let allowed = [ME, id(2), id(3)];
    config.policy = Policy::allow(allowed.map(|node| (node, Terms::default())));
    let host = Host::with_disk(config, disk.clone());
    assert_eq!(host.disk.debts, [debts[1]].into());
    assert_eq!(host.node.status().debts, 1);

    // One that says itself that it has gone.
    let mut host = Host::with_disk(self::config(ME), disk);
    assert_eq!(host.disk.debts, debts.into());
    let peer = Peer::admitted(&mut host, id(1));
    let gone = Member {
        counter: u64::MAX,
        ..member(State::Gone)
    };
    peer.tell(&mut host, kind::MEMBERS, &update(&[(id(1), gone)]));
    assert_eq!(host.disk.debts, [debts[1]].into());
}

#[test]
fn the_record_that_was_missed_is_handed_on_and_not_a_later_one() {
    let [missed, later] = [1, 2].map(|at| record("file", b"data", WALL + at));
    let both = [missed.clone(), later.clone()];
    for says in [
        [Ok(both.as_slice()), Ok(&[])],
        [Ok(&[]), Ok(&both)],
        [Ok(&both[1..]), Ok(&both)],
        [Err(Refusal::Failed), Ok(&both)],
        [Ok(&both), Err(Refusal::Busy)],
    ] {
        let (mut host, mut target, mut others) = owing(&missed);
        let offered = pay(&mut host, &mut target, &mut others, says);
        let [keep] = offered.as_slice() else {
            panic!("{offered:?}");
        };
        assert!(keep.repair && keep.record == RecordParts::from(&missed));
        assert!(host.disk.debts.is_empty());
    }
}

#[test]
fn a_later_record_is_handed_on_only_when_all_have_told_that_the_missed_one_is_gone() {
    let [missed, later] = [1, 2].map(|at| record("file", b"data", WALL + at));
    let only = [later.clone()];
    for refusal in [Refusal::Failed, Refusal::Busy] {
        let (mut host, mut target, mut others) = owing(&missed);
        let says = [Ok(only.as_slice()), Err(refusal)];
        assert_eq!(pay(&mut host, &mut target, &mut others, says), []);
        assert_eq!(host.disk.debts.len(), 1);
        let says = [Ok(only.as_slice()), Ok(&[])];
        let offered = pay(&mut host, &mut target, &mut others, says);
        assert_eq!(offered[0].record, RecordParts::from(&later));
        assert_eq!((offered.len(), host.disk.debts.len()), (1, 0));
    }
}

#[test]
fn what_nobody_has_any_more_and_nothing_follows_stays_owed() {
    let [older, missed] = [1, 2].map(|at| record("file", b"data", WALL + at));
    let (mut host, mut target, mut others) = owing(&missed);
    let only = [older];
    let says = [Ok(only.as_slice()), Ok(&[])];
    assert_eq!(pay(&mut host, &mut target, &mut others, says), []);
    assert_eq!(host.disk.debts.len(), 1);
}

/// The claim of a blob for a record.
fn claim_of(record: &StoredRecord, blob: &SealedBlob) -> Claim {
    Claim {
        blob: blob.id,
        len: blob.bytes.len() as u32,
        namespace: record.key.namespace,
        tag: record.key.tag,
        put: PutId([3; 16]),
    }
}

#[test]
fn a_head_that_was_misread_is_not_shown_and_is_read_again() {
    let (right, blob) = chunked("file", &[7; 1000]);
    let mut misread = right.clone();
    let mut head = misread.head.to_vec();
    *head.last_mut().unwrap() ^= 1;
    misread.head = head.into();
    let (claim, id_) = (claim_of(&right, &blob), right.id());
    let debt = Debt {
        target: id(1),
        owed: Owed::Blob { claim, id: id_ },
    };
    let disk = Disk {
        members: Some(active(&[ME, id(1)])),
        records: [(right.key, vec![misread])].into(),
        debts: [debt].into(),
        ..Disk::default()
    };
    let mut host = Host::with_disk(config(ME), disk);
    let mut peer = Peer::admitted(&mut host, id(1));
    for _ in 0..2 {
        host.pass(Duration::from_secs(16));
        // That nobody else holds it does not make the debt one of no account.
        for frame in peer.asked(&mut host, kind::LOOKUP) {
            peer.answer(&mut host, &frame, &Found { record: None });
        }
        assert_eq!(peer.asked(&mut host, kind::CLAIM), []);
        peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
    }
    assert_eq!(host.node.status().debts, 1);
    host.disk.records.insert(right.key, vec![right.clone()]);
    host.pass(Duration::from_secs(16));
    let asked = peer.asked(&mut host, kind::CLAIM);
    let claims = asked
        .iter()
        .map(|frame| ClaimBlobs::decode_checked(&frame.body));
    let shown: Vec<_> = claims.map(|claim| claim.unwrap().authority).collect();
    let head = Authority::Head(right.head.to_vec().into());
    assert_eq!(shown, [Some(head)]);
}

#[test]
fn a_node_gets_what_it_owes_itself() {
    let (missed, blob) = chunked("file", &[7; 1000]);
    let claim = claim_of(&missed, &blob);
    let (key, id_) = (missed.key, missed.id());
    let blob_owed = Owed::Blob { claim, id: id_ };
    let owed = [blob_owed, Owed::Record { key, id: id_ }];
    let target = ME;
    let disk = Disk {
        members: Some(active(&[ME, id(1), id(2)])),
        debts: owed.map(|owed| Debt { target, owed }).into(),
        ..Disk::default()
    };
    let mut host = Host::with_disk(config(ME), disk);
    let mut peer = Peer::admitted(&mut host, id(1));
    host.pass(Duration::from_secs(16));
    for frame in peer.asked(&mut host, kind::LOOKUP) {
        let record = Some(RecordParts::from(&missed));
        peer.answer(&mut host, &frame, &Found { record });
    }
    for frame in peer.asked(&mut host, kind::FETCH) {
        peer.data(&mut host, &frame, &blob.bytes);
    }
    assert_eq!(host.disk.records[&key], [missed]);
    assert_eq!(host.disk.blobs[&blob.id], blob.bytes);
    assert!(host.disk.debts.is_empty() && host.disk.claims.contains(&claim));
}
