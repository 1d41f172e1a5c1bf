//! Replicas whose newest record is damaged: they have no answer, not an older
//! one, and are handed what others have.

use std::time::Duration;

use peerhold_core::disk::{DiskError, DiskKind, Part, StoredRecord};
use peerhold_core::wire::message::{
    self, Found, Keep, Lookup, RecordParts, Refusal, Refused, kind,
};
use peerhold_core::{Damage, Event, OpError, OpId, Outcome};

use crate::fake_peer::{Peer, id};
use crate::host::{Disk, Host, ME, WALL, config};
use crate::lies::record;

const DATA: &[u8] = b"what was stored";

/// A replica that cannot read what it holds, and the two others.
fn damaged() -> (Host, [Peer; 2]) {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::GetRecord { .. }).then_some(DiskError::Corrupt)
    }));
    let peers = [id(1), id(2)].map(|id| Peer::admitted(&mut host, id));
    (host, peers)
}

fn tell(host: &mut Host, peer: &mut Peer, record: Option<&StoredRecord>) {
    for frame in peer.asked(host, kind::LOOKUP) {
        let lookup: Lookup = message::decode(&frame.body).unwrap();
        let record = record.cloned().map(|mut record| {
            if lookup.part == Part::Head {
                (record.meta, record.content) = Default::default();
            }
            RecordParts::from(&record)
        });
        peer.answer(host, &frame, &Found { record });
    }
}

/// The file comes whole from those who can read it.
fn is_read(host: &mut Host, op: OpId) {
    assert_eq!(host.read(op), DATA);
    let result = host.result(op);
    let Some(Ok(Outcome::Read(info))) = result else {
        panic!("{result:?}")
    };
    assert_eq!(info.unconfirmed, None);
}

#[test]
fn a_damaged_record_is_refused_and_not_told_as_none() {
    let (mut host, [mut peer, _]) = damaged();
    let key = record("file", DATA, WALL).key;
    let (part, at) = (Part::All, None);
    peer.received(&mut host);
    peer.ask(&mut host, kind::LOOKUP, &Lookup { key, part, at });
    let answer = peer.received(&mut host).remove(0);
    assert_eq!(answer.kind, kind::REFUSED);
    let Refused { reason } = message::decode(&answer.body).unwrap();
    assert_eq!(reason, Refusal::Failed);
}

#[test]
fn a_readers_own_damaged_record_counts_as_no_answer() {
    let (mut host, [mut first, second]) = damaged();
    let op = host.get("file");
    tell(&mut host, &mut first, None);
    second.reset(&mut host);
    host.pass(Duration::from_secs(6));
    let (answered, needed) = (1, 2);
    let expected = OpError::Unconfirmed { answered, needed };
    assert_eq!(host.result(op), Some(Err(expected)));
}

#[test]
fn a_reader_mends_its_own_damaged_record() {
    let right = record("file", DATA, WALL);
    let (mut host, mut peers) = damaged();
    let op = host.get("file");
    // Heads come first, then the whole record from one of them.
    for _ in 0..2 {
        for peer in &mut peers {
            tell(&mut host, peer, Some(&right));
        }
    }
    is_read(&mut host, op);
    assert_eq!(host.disk.records.get(&right.key), Some(&vec![right]));
}

#[test]
fn a_replica_that_failed_to_answer_is_handed_the_record_that_was_read() {
    for (reason, handed) in [(Refusal::Failed, 1), (Refusal::Busy, 0)] {
        let right = record("file", DATA, WALL);
        let mut host = Host::founded(config(ME), &[id(1), id(2)]);
        host.disk.records.insert(right.key, vec![right.clone()]);
        let [mut failing, mut sound] = [id(1), id(2)].map(|id| Peer::admitted(&mut host, id));
        host.hold_back = Some(|kind| matches!(kind, DiskKind::GetRecord { .. }));
        let op = host.get("file");
        let asked = failing.asked(&mut host, kind::LOOKUP).remove(0);
        failing.refuse(&mut host, &asked, reason);
        tell(&mut host, &mut sound, Some(&right));
        host.release();
        is_read(&mut host, op);
        let keeps = failing.asked(&mut host, kind::KEEP);
        assert_eq!(keeps.len(), handed, "{reason:?}");
        for frame in keeps {
            let keep: Keep = message::decode(&frame.body).unwrap();
            assert!(keep.repair);
            assert_eq!(keep.record, RecordParts::from(&right));
        }
        assert!(sound.asked(&mut host, kind::KEEP).is_empty());
    }
}

#[test]
fn a_damaged_record_is_told_once_until_it_is_put_again() {
    let right = record("file", DATA, WALL);
    let (mut host, mut peers) = damaged();
    let told = |host: &mut Host| {
        let damage = Event::Damaged(Damage::Record(right.key));
        let events = host.take_events();
        events.iter().filter(|event| **event == damage).count()
    };
    for expected in [1, 0] {
        let op = host.get("file");
        tell(&mut host, &mut peers[0], None);
        host.node.cancel(host.now, op);
        assert_eq!(told(&mut host), expected);
    }
    for peer in &mut peers {
        peer.received(&mut host);
    }
    let op = host.get("file");
    for _ in 0..2 {
        for peer in &mut peers {
            tell(&mut host, peer, Some(&right));
        }
    }
    is_read(&mut host, op);
    let _ = host.get("file");
    assert_eq!(told(&mut host), 1, "damaged again");
}

#[test]
fn what_the_store_has_lost_before_its_start_is_told() {
    let mut disk = Disk::default();
    disk.loaded.lost = 3;
    disk.loaded.index_rebuilt = true;
    let mut host = Host::with_disk(config(ME), disk);
    let events = host.take_events();
    for damage in [Damage::Index, Damage::Log { entries: 3 }] {
        assert!(events.contains(&Event::Damaged(damage)), "{events:?}");
    }
    assert!(events.contains(&Event::Ready));
}

#[test]
fn a_store_that_does_not_load_is_loaded_later() {
    let mut host = Host::loading(config(ME), None);
    let mut left = 2;
    host.fault = Some(Box::new(move |kind| {
        let fails = matches!(kind, DiskKind::Load) && left > 0;
        left -= u32::from(fails);
        fails.then_some(DiskError::NoSpace)
    }));
    host.release();
    let trouble = Event::Trouble(DiskError::NoSpace);
    assert_eq!(host.take_events(), [trouble]);
    host.pass(Duration::from_secs(60));
    let told = |event: &Event| host.events.contains(event);
    assert!(told(&Event::Ready), "{:?}", host.events);
}
