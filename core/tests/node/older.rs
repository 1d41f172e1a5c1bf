//! Reading a version that is not the newest: whoever has it may give it, and
//! only all replicas together can say that there is none.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskKind, StoredRecord};
use peerhold_core::wire::message::{self, Found, Lookup, RecordParts, Refusal, kind};
use peerhold_core::{Event, Get, OpError, OpId, Outcome, PutId, RecordId};

use crate::host::{name, writer};
use crate::listers::{Cluster, version};

fn get(cluster: &mut Cluster, id: RecordId) -> OpId {
    let get = Get {
        // An older version cannot be more than it is.
        confirmed: true,
        ..Get::version(writer().reader(), &name("a"), id)
    };
    cluster.host.node.get(cluster.host.now, get).unwrap()
}

/// One member answers the look-ups that it has been asked.
fn tell(cluster: &mut Cluster, at: usize) -> usize {
    let Cluster { host, members } = cluster;
    let member = &mut members[at];
    let asked = member.peer.asked(host, kind::LOOKUP);
    for frame in &asked {
        let Lookup { key, part, at } = message::decode(&frame.body).unwrap();
        let record = member.disk.run(&DiskKind::GetRecord { key, at, part });
        match record {
            Ok(DiskData::Record(record)) => {
                let record = record.as_ref().map(RecordParts::from);
                member.peer.answer(host, frame, &Found { record });
            }
            _ => member.peer.refuse(host, frame, Refusal::Failed),
        }
    }
    asked.len()
}

/// Three versions, the first of which only these members have.
fn held_by(at: &[usize]) -> (Cluster, StoredRecord) {
    let mut cluster = Cluster::new(3);
    let first = version("a", 1, Some(10));
    cluster.hold(at, &first);
    cluster.hold(&[0, 1, 2], &version("a", 2, Some(20)));
    cluster.hold(&[0, 1, 2], &version("a", 3, None));
    (cluster, first)
}

/// The file of the first version was read.
fn is_read(cluster: &mut Cluster, op: OpId, record: &StoredRecord) {
    assert_eq!(cluster.host.read(op), [7; 10]);
    let result = cluster.host.result(op);
    let Some(Ok(Outcome::Read(file))) = result else {
        panic!("{result:?}")
    };
    assert_eq!((file.id, file.put), (record.id(), PutId([1; 16])));
    assert_eq!((file.size, file.unconfirmed), (10, None));
}

#[test]
fn one_replica_that_has_an_older_version_is_enough() {
    for holder in 0..3 {
        let (mut cluster, record) = held_by(&[holder]);
        let op = get(&mut cluster, record.id());
        while (0..3).map(|at| tell(&mut cluster, at)).sum::<usize>() > 0 {}
        is_read(&mut cluster, op, &record);
        // The others are not handed what is not the newest.
        for member in &mut cluster.members {
            let kept = member.peer.asked(&mut cluster.host, kind::KEEP);
            assert!(kept.is_empty());
        }
    }
}

#[test]
fn who_has_an_older_version_need_not_wait_for_the_others() {
    for holder in 0..3 {
        let (mut cluster, record) = held_by(&[holder]);
        let op = get(&mut cluster, record.id());
        while tell(&mut cluster, holder) > 0 {}
        is_read(&mut cluster, op, &record);
    }
}

#[test]
fn that_there_is_no_such_version_is_only_believed_of_all() {
    let (mut cluster, _) = held_by(&[]);
    let none = version("a", 1, Some(10)).id();
    let op = get(&mut cluster, none);
    tell(&mut cluster, 0);
    tell(&mut cluster, 1);
    assert_eq!(cluster.host.result(op), None);
    tell(&mut cluster, 2);
    assert_eq!(cluster.host.result(op), Some(Err(OpError::NotFound)));
    // Without the last there is none that is known of.
    let op = get(&mut cluster, none);
    tell(&mut cluster, 0);
    tell(&mut cluster, 1);
    cluster.host.pass(Duration::from_secs(6));
    let (answered, needed) = (2, 3);
    let expected = OpError::Unconfirmed { answered, needed };
    assert_eq!(cluster.host.result(op), Some(Err(expected)));
}

#[test]
fn a_holder_that_goes_away_or_lies_leaves_it_to_the_next() {
    for lies in [false, true] {
        let (mut cluster, record) = held_by(&[0, 1, 2]);
        if lies {
            let mut content = record.content.to_vec();
            content[0] ^= 1;
            let forged = StoredRecord {
                content: Bytes::from(content),
                ..record.clone()
            };
            let held = cluster.members[0].disk.records.get_mut(&record.key);
            held.unwrap()[0] = forged;
        }
        let op = get(&mut cluster, record.id());
        let liar = cluster.members[0].peer.id;
        if lies {
            while tell(&mut cluster, 0) > 0 {}
            assert!(cluster.host.events.contains(&Event::Lied { peer: liar }));
        } else {
            // Only heads come, and then the one who told is gone.
            tell(&mut cluster, 1);
            cluster.members[1].peer.reset(&mut cluster.host);
        }
        assert_eq!(cluster.host.result(op), None);
        while tell(&mut cluster, 2) > 0 {}
        is_read(&mut cluster, op, &record);
    }
}

#[test]
fn another_record_than_the_one_that_was_named_is_no_answer() {
    let (mut cluster, record) = held_by(&[2]);
    let other = version("a", 2, Some(20));
    let op = get(&mut cluster, record.id());
    for at in 0..2 {
        let Cluster { host, members } = &mut cluster;
        for frame in members[at].peer.asked(host, kind::LOOKUP) {
            let record = Some(RecordParts::from(&other));
            members[at].peer.answer(host, &frame, &Found { record });
        }
    }
    assert_eq!(cluster.host.result(op), None);
    while tell(&mut cluster, 2) > 0 {}
    is_read(&mut cluster, op, &record);
}

#[test]
fn a_version_that_removes_is_no_file() {
    let (mut cluster, _) = held_by(&[]);
    let op = get(&mut cluster, version("a", 3, None).id());
    while (0..3).map(|at| tell(&mut cluster, at)).sum::<usize>() > 0 {}
    assert_eq!(cluster.host.result(op), Some(Err(OpError::NotFound)));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_asked_for() {
    let (mut cluster, first) = held_by(&[0]);
    // More than any peer allows at once.
    const READS: usize = 1000;
    let mut unanswered = Vec::new();
    for _ in 0..READS {
        let op = get(&mut cluster, first.id());
        let Cluster { host, members } = &mut cluster;
        unanswered.extend(members[1].peer.asked(host, kind::LOOKUP));
        while tell(&mut cluster, 0) > 0 {}
        is_read(&mut cluster, op, &first);
    }
    assert!((1..READS).contains(&unanswered.len()));
    let Cluster { host, members } = &mut cluster;
    for frame in &unanswered {
        members[1].peer.refuse(host, frame, Refusal::Busy);
    }
    let more = members[1].peer.asked(host, kind::LOOKUP);
    assert!(more.is_empty(), "{} were in line", more.len());
}
