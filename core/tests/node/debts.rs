//! Copies that are owed: to whom, from where, and when they count as there.

use std::time::Duration;

use peerhold_core::Event;
use peerhold_core::disk::{Debt, Owed, StoredRecord};
use peerhold_core::wire::message::{self, Found, Keep, RecordParts, kind};

use crate::fake_peer::{Peer, id};
use crate::host::{Disk, Host, ME, WALL, active, config};
use crate::lies::record;

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
