//! Puts whose replicas or disk fail: what is said of them holds.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskError, DiskKind};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, ClaimAnswer, ClaimBlobs, Claimed, Found, Refusal, kind};
use peerhold_core::{Access, Busy, Event, Get, OpError, OpId, Outcome};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, config, get_of, noise, put_of};

/// What a replica says to claims and records; `None`: nothing.
pub(crate) type Says = Option<Result<(), Refusal>>;

/// A replica that answers as it is told.
pub(crate) struct Replica {
    pub(crate) peer: Peer,
    pub(crate) claims: Says,
    pub(crate) keeps: Says,
}

impl Replica {
    fn new(host: &mut Host, byte: u8) -> Self {
        Self {
            peer: Peer::admitted(host, id(byte)),
            claims: Some(Ok(())),
            keeps: Some(Ok(())),
        }
    }

    /// Answers what has come. It holds no record.
    fn serve(&mut self, host: &mut Host) {
        for frame in self.peer.asked(host, kind::LOOKUP) {
            self.peer.answer(host, &frame, &Found { record: None });
        }
        if let Some(says) = self.claims {
            for frame in self.peer.asked(host, kind::CLAIM) {
                let claim: ClaimBlobs = message::decode(&frame.body).unwrap();
                let answers = (0..claim.blobs.len() as u8).map(|index| ClaimAnswer {
                    index,
                    refusal: says.err(),
                });
                let answers = answers.collect();
                self.peer.answer(host, &frame, &Claimed { answers });
            }
        }
        if let Some(says) = self.keeps {
            for frame in self.peer.asked(host, kind::KEEP) {
                match says {
                    Ok(()) => {
                        let flags = Flags::RESPONSE;
                        self.peer.send(host, kind::KEEP, flags, frame.request, &[]);
                    }
                    Err(reason) => self.peer.refuse(host, &frame, reason),
                }
            }
        }
        self.peer.send(host, kind::PONG, Flags::NONE, 0, &[]);
    }
}

/// A node and the two other replicas of its cluster.
pub(crate) fn cluster() -> (Host, [Replica; 2]) {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let replicas = [1, 2].map(|byte| Replica::new(&mut host, byte));
    (host, replicas)
}

/// Lets everyone talk for so many seconds.
pub(crate) fn talk(host: &mut Host, replicas: &mut [Replica], seconds: u64) {
    for _ in 0..seconds.max(1) {
        for _ in 0..8 {
            replicas.iter_mut().for_each(|replica| replica.serve(host));
        }
        if seconds > 0 {
            host.pass(Duration::from_secs(1));
        }
    }
}

fn is_settled(host: &Host, op: OpId) -> bool {
    host.events.contains(&Event::Settled { op })
}

#[test]
fn a_put_that_all_replicas_take_is_stored_and_settled() {
    for size in [0, 5, 16_384, 16_385, 65_536, 300_000] {
        let (mut host, mut replicas) = cluster();
        let op = host.put("file", &noise(size));
        talk(&mut host, &mut replicas, 0);
        match host.result(op) {
            Some(Ok(Outcome::Stored(stored))) => assert!(stored.copies >= 2, "{size}"),
            other => panic!("{size}: {other:?}"),
        }
        assert!(is_settled(&host, op));
        assert_eq!((host.memory(), host.node.status().operations), (0, 0));
    }
}

#[test]
fn a_file_of_equal_chunks_settles_when_its_one_missing_copy_is_paid() {
    let (mut host, mut replicas) = cluster();
    replicas[0].claims = Some(Err(Refusal::NoSpace));
    let op = host.put("file", &vec![7; 3 * 65_536]);
    talk(&mut host, &mut replicas, 0);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    assert!(!is_settled(&host, op));
    assert_eq!(
        host.disk.debts.len(),
        2,
        "the chunk and the manifest's node"
    );
    replicas[0].claims = Some(Ok(()));
    talk(&mut host, &mut replicas, 20);
    assert!(is_settled(&host, op));
    assert_eq!(host.node.status().debts, 0);
}

#[test]
fn a_put_with_too_few_copies_says_whether_its_record_was_sent() {
    for (claims, keeps, unknown) in [
        (Some(Err(Refusal::Failed)), Some(Ok(())), false),
        (Some(Ok(())), Some(Err(Refusal::Failed)), true),
        (None, Some(Ok(())), false),
        (Some(Ok(())), None, true),
    ] {
        let (mut host, mut replicas) = cluster();
        for replica in &mut replicas {
            (replica.claims, replica.keeps) = (claims, keeps);
        }
        let op = host.put("file", &noise(40_000));
        talk(&mut host, &mut replicas, 130);
        let unavailable = OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown,
        };
        assert_eq!(host.result(op), Some(Err(unavailable)));
        assert_eq!(host.memory(), 0);
        assert!(!is_settled(&host, op));
    }
}

#[test]
fn a_cancelled_put_says_whether_its_record_was_sent() {
    for (keeps, claims, unknown) in [(None, None, false), (None, Some(Ok(())), true)] {
        let (mut host, mut replicas) = cluster();
        for replica in &mut replicas {
            (replica.claims, replica.keeps) = (claims, keeps);
        }
        let op = host.put("file", &noise(40_000));
        talk(&mut host, &mut replicas, 0);
        host.node.cancel(host.now, op);
        host.node.cancel(host.now, op);
        let cancelled = OpError::Cancelled { unknown };
        assert_eq!(host.result(op), Some(Err(cancelled)));
        assert_eq!((host.memory(), host.node.status().operations), (0, 0));
    }
}

#[test]
fn a_put_whose_debts_cannot_be_written_down_is_not_said_to_have_failed() {
    let (mut host, mut replicas) = cluster();
    host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::PutDebts(_)).then_some(DiskError::NoSpace)
    }));
    replicas[0].keeps = Some(Err(Refusal::Failed));
    let op = host.put("file", b"small");
    // The refusal comes first: it is a debt when the record is durable.
    talk(&mut host, &mut replicas, 0);
    match host.result(op) {
        Some(Err(OpError::Unavailable { unknown, .. })) => assert!(unknown),
        other => panic!("{other:?}"),
    }
    let trouble = Event::Trouble(DiskError::NoSpace);
    assert!(host.events.contains(&trouble));
}

#[test]
fn a_small_put_that_nobody_has_space_for_is_known_not_to_have_happened() {
    let (mut host, mut replicas) = cluster();
    host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::PutRecord(_)).then_some(DiskError::NoSpace)
    }));
    let full = |replica: &mut Replica| replica.keeps = Some(Err(Refusal::NoSpace));
    replicas.iter_mut().for_each(full);
    let op = host.put("file", b"small");
    talk(&mut host, &mut replicas, 70);
    let no_space = OpError::Disk(DiskError::NoSpace);
    assert_eq!(host.result(op), Some(Err(no_space)));
}

#[test]
fn a_put_waits_while_as_much_is_owed_as_may_be() {
    let mut config = config(ME);
    // One is for its record.
    config.limits.debts = 4;
    let mut host = Host::founded(config, &[id(1), id(2)]);
    let mut replicas = [1, 2].map(|byte| Replica::new(&mut host, byte));
    replicas[0].claims = Some(Err(Refusal::NoSpace));
    let op = host.put("file", &noise(5 * 65_536));
    talk(&mut host, &mut replicas, 5);
    assert_eq!(host.result(op), None);
    assert_eq!(host.node.status().debts, 3);
    assert!(matches!(
        host.node.put(host.now, put_of("other")),
        Err(Busy(_))
    ));
    replicas[0].claims = Some(Ok(()));
    talk(&mut host, &mut replicas, 20);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    assert!(is_settled(&host, op));
    assert_eq!(host.memory(), 0);

    // Nobody is paid: it gives up, and says why.
    replicas[0].claims = Some(Err(Refusal::NoSpace));
    let op = host.put("file", &noise(5 * 65_536 + 1));
    talk(&mut host, &mut replicas, 70);
    assert_eq!(host.result(op), Some(Err(OpError::Indebted { debts: 3 })));
}

#[test]
fn no_more_puts_are_under_way_than_their_records_may_owe_copies() {
    let mut config = config(ME);
    config.limits.debts = 2;
    let mut host = Host::founded(config, &[id(1), id(2)]);
    let mut replicas = [1, 2].map(|byte| Replica::new(&mut host, byte));
    replicas[0].keeps = Some(Err(Refusal::NoSpace));
    host.put("one", b"1");
    host.put("two", b"2");
    for _ in 0..2 {
        let more = host.node.put(host.now, put_of("three"));
        assert!(matches!(more, Err(Busy(_))));
        talk(&mut host, &mut replicas, 5);
        assert_eq!(host.node.status().debts, 2);
    }
    replicas[0].keeps = Some(Ok(()));
    talk(&mut host, &mut replicas, 20);
    assert_eq!(host.node.status().debts, 0);
    // What owes nothing in the end takes nothing away from others.
    for name in ["three", "four", "five"] {
        let op = host.put(name, b"3");
        talk(&mut host, &mut replicas, 1);
        assert!(is_settled(&host, op));
    }
}

#[test]
fn debts_that_cannot_be_paid_do_not_hold_up_the_others() {
    let (mut host, mut replicas) = cluster();
    replicas[0].claims = Some(Err(Refusal::NoSpace));
    let op = host.node.put(host.now, put_of("file")).unwrap();
    let data = Bytes::from(noise(50 * 65_536));
    for at in 0..50 {
        let part = data.slice(at * 65_536..(at + 1) * 65_536);
        host.node.push(host.now, op, part).unwrap();
        talk(&mut host, &mut replicas, 0);
    }
    host.node.finish(host.now, op);
    talk(&mut host, &mut replicas, 2);
    assert!(matches!(host.result(op), Some(Ok(_))));
    let owed = host.node.status().debts;
    assert!(owed > 40);
    // It still refuses all that is asked in one round, which is not all.
    let mut offered = std::collections::BTreeSet::new();
    for _ in 0..40 {
        for frame in replicas[0].peer.asked(&mut host, kind::CLAIM) {
            let claim: ClaimBlobs = message::decode(&frame.body).unwrap();
            offered.extend(claim.blobs.iter().map(|blob| blob.id));
            replicas[0].peer.refuse(&mut host, &frame, Refusal::Missing);
        }
        replicas[0]
            .peer
            .send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
        replicas[1].serve(&mut host);
        host.pass(Duration::from_secs(4));
    }
    assert_eq!(offered.len(), owed);
}

#[test]
fn a_put_that_goes_on_does_not_put_off_what_is_owed_already() {
    let (mut host, mut replicas) = cluster();
    replicas[0].keeps = Some(Err(Refusal::Failed));
    for second in 0..40 {
        let op = host.put(&format!("file {second}"), b"small");
        talk(&mut host, &mut replicas, 1);
        assert!(matches!(host.result(op), Some(Ok(_))));
        if second == 10 {
            replicas[0].keeps = Some(Ok(()));
            replicas[1].keeps = Some(Err(Refusal::Failed));
        }
    }
    let debts = &host.disk.debts;
    assert!(debts.len() > 20 && debts.iter().all(|debt| debt.target == id(2)));
}

#[test]
fn a_debt_outlives_a_restart_and_is_paid_then() {
    let (mut host, mut replicas) = cluster();
    replicas[0].keeps = Some(Err(Refusal::Failed));
    host.put("file", b"small");
    talk(&mut host, &mut replicas, 0);
    assert_eq!(host.disk.debts.len(), 1);
    let mut again = Host::with_disk(config(ME), host.disk);
    assert_eq!(again.node.status().debts, 1);
    let mut replica = Replica::new(&mut again, 1);
    talk(&mut again, std::slice::from_mut(&mut replica), 0);
    assert_eq!(again.node.status().debts, 0);
    assert!(again.disk.debts.is_empty());
    // What the replica kept for itself is there after its restart too.
    let op = again.get("file");
    talk(&mut again, std::slice::from_mut(&mut replica), 8);
    assert_eq!(again.read(op), b"small");
}

#[test]
fn commands_beyond_the_limit_are_handed_back_unchanged() {
    let mut host = Host::loading(config(ME), None);
    assert!(matches!(host.node.put(host.now, put_of("a")), Err(Busy(_))));
    host.release();
    for at in 0..4 {
        host.node.put(host.now, put_of(&at.to_string())).unwrap();
    }
    match host.node.get(host.now, get_of("fifth")) {
        Err(Busy(Get {
            access: Access::Name { name, .. },
            ..
        })) => assert_eq!(name.as_str(), "fifth"),
        other => panic!("four may run: {other:?}"),
    }
    assert_eq!(host.node.status().operations, 4);
}
