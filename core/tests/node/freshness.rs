//! Reads that never go back: what was read or written once is not answered
//! with less later, by this node or by any other.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{DiskData, DiskKind, Part, StoredRecord};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, Found, Keep, Lookup, RecordParts, Refusal, kind};
use peerhold_core::{
    Config, Event, Get, NodeId, OpError, OpId, Outcome, RecordId, Remove, Unconfirmed,
};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::fake_peer::Peer;
use crate::host::{Disk, Host, ME, config, get_of, name, writer};
use crate::listers::{Cluster, key_of, version};

/// A client and the three replicas of its cluster.
struct Three {
    cluster: Cluster,
    /// Replicas that keep no record that is handed on.
    full: bool,
}

impl Three {
    fn new() -> Self {
        Self {
            cluster: Cluster::new(3),
            full: false,
        }
    }

    /// Which record each replica holds from now on, alone.
    fn hold(&mut self, held: [Option<&StoredRecord>; 3]) {
        for (member, held) in self.cluster.members.iter_mut().zip(held) {
            member.disk = Disk::default();
            held.map(|record| member.disk.run(&DiskKind::PutRecord(record.clone())));
        }
    }

    /// The client starts again, from the disk that it had.
    fn restart(&mut self) {
        let mut config = config(ME);
        config.weight = 0;
        self.restart_as(config);
    }

    fn restart_as(&mut self, config: Config) {
        let disk = std::mem::take(&mut self.cluster.host.disk);
        let mut host = Host::with_disk(config, disk);
        for member in &mut self.cluster.members {
            member.peer = Peer::admitted(&mut host, member.peer.id);
        }
        self.cluster.host = host;
    }

    fn begin(&mut self, get: Get) -> OpId {
        let host = &mut self.cluster.host;
        let op = host.node.get(host.now, get).unwrap();
        host.run();
        op
    }

    /// One replica answers what it was asked. Whether there was anything.
    fn serve(&mut self, at: usize) -> bool {
        let Cluster { host, members } = &mut self.cluster;
        let member = &mut members[at];
        if member.silent {
            return false;
        }
        let lookups = member.peer.asked(host, kind::LOOKUP);
        for frame in &lookups {
            let Lookup { key, part, at } = message::decode(&frame.body).unwrap();
            let found = member.disk.run(&DiskKind::GetRecord { key, at, part });
            let Ok(DiskData::Record(record)) = found else {
                panic!("{found:?}");
            };
            let record = record.as_ref().map(RecordParts::from);
            member.peer.answer(host, frame, &Found { record });
        }
        let keeps = member.peer.asked(host, kind::KEEP);
        for frame in &keeps {
            if self.full {
                member.peer.refuse(host, frame, Refusal::NoSpace);
                continue;
            }
            let keep: Keep = message::decode(&frame.body).unwrap();
            let record = stored(&keep);
            member.disk.run(&DiskKind::PutRecord(record)).unwrap();
            let flags = Flags::RESPONSE;
            member
                .peer
                .send(host, kind::KEEP, flags, frame.request, &[]);
        }
        !lookups.is_empty() || !keeps.is_empty()
    }

    /// Each replica answers what it was asked, in turn. Whether there was
    /// anything.
    fn serve_each(&mut self) -> bool {
        let served = [self.serve(0), self.serve(1), self.serve(2)];
        served.contains(&true)
    }

    /// How an operation ends when all answer who can.
    fn end(&mut self, op: OpId) -> Result<Outcome, OpError> {
        for _ in 0..10 {
            while self.serve_each() {}
            self.cluster.host.read(op);
            if let Some(result) = self.cluster.host.result(op) {
                return result;
            }
            self.cluster.host.pass(Duration::from_secs(6));
        }
        panic!("it never ends");
    }

    /// Which record a get reads, and what doubt there is.
    fn get(&mut self, get: Get) -> Result<(RecordId, Option<Unconfirmed>), OpError> {
        let op = self.begin(get);
        match self.end(op)? {
            Outcome::Read(file) => Ok((file.id, file.unconfirmed)),
            other => panic!("{other:?}"),
        }
    }

    fn holders(&self, of: &StoredRecord) -> usize {
        let holds = |disk: &Disk| {
            let records = disk.records.get(&of.key).into_iter().flatten();
            records.into_iter().any(|record| record.id() == of.id())
        };
        let members = self.cluster.members.iter();
        members.filter(|member| holds(&member.disk)).count()
    }

    /// Writes of what was seen that the disk was asked for.
    fn notes(&self) -> usize {
        let trace = self.cluster.host.trace.iter();
        trace.filter(|line| line.starts_with("NoteSeen")).count()
    }

    fn forks(&mut self) -> Vec<(RecordId, RecordId, usize)> {
        let events = self.cluster.host.take_events();
        let forks = events.into_iter().filter_map(|event| match event {
            Event::Forked(fork) => {
                let [one, other] = fork.records;
                Some((one.id, other.id, one.by.len() + other.by.len()))
            }
            _ => None,
        });
        forks.collect()
    }
}

fn stored(keep: &Keep) -> StoredRecord {
    let head = Bytes::copy_from_slice(&keep.record.head);
    let signed = peerhold_core::seal::SignedHead::verify(head).unwrap();
    StoredRecord {
        key: signed.key(),
        version: signed.version(),
        head_hash: *signed.hash(),
        head: signed.bytes().clone(),
        meta: Bytes::copy_from_slice(&keep.record.meta),
        content: Bytes::copy_from_slice(&keep.record.content),
    }
}

fn old() -> StoredRecord {
    version("a", 1, Some(5))
}

fn new() -> StoredRecord {
    version("a", 2, Some(6))
}

fn older(found: Option<&StoredRecord>) -> OpError {
    OpError::Older {
        found: found.map(StoredRecord::id),
        seen: new().id(),
    }
}

#[test]
fn replicas_that_were_all_set_back_are_noticed_also_after_a_restart() {
    for restart in [false, true] {
        let (mut three, old, new) = (Three::new(), old(), new());
        three.hold([Some(&new); 3]);
        assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
        if restart {
            three.restart();
        }
        three.hold([Some(&old); 3]);
        assert_eq!(three.get(get_of("a")), Err(older(Some(&old))));
        three.hold([None; 3]);
        assert_eq!(three.get(get_of("a")), Err(older(None)));
        // Whoever takes what there is is told what it is.
        let accept = || Get {
            older: true,
            ..get_of("a")
        };
        assert_eq!(three.get(accept()), Err(OpError::NotFound));
        three.hold([Some(&old); 3]);
        assert_eq!(three.get(accept()), Ok((old.id(), None)));
        // That has not made it forget.
        assert_eq!(three.get(get_of("a")), Err(older(Some(&old))));
        three.hold([Some(&new); 3]);
        assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    }
}

#[test]
fn an_older_version_says_what_to_do_about_it() {
    let text = older(Some(&old())).to_string();
    for words in ["newest version found is", "has seen version", "try again"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(
        older(None)
            .to_string()
            .starts_with("no such file was found")
    );
}

#[test]
fn a_liar_and_a_late_replica_that_agree_do_not_turn_back_who_has_seen_more() {
    let (mut three, old, new) = (Three::new(), old(), new());
    three.hold([Some(&new), Some(&new), Some(&old)]);
    assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    for honest in 0..3 {
        // One of those that acknowledged it lies now.
        let mut held = [Some(&old); 3];
        held[honest] = Some(&new);
        three.hold(held);
        let op = three.begin(get_of("a"));
        for at in (0..3).filter(|at| *at != honest) {
            three.serve(at);
        }
        assert_eq!(three.cluster.host.result(op), None);
        assert!(matches!(three.end(op), Ok(Outcome::Read(file)) if file.id == new.id()));
    }
}

#[test]
fn with_one_of_three_that_serves_an_old_record_reads_stay_right() {
    for liar in 0..3 {
        let (mut three, old, new) = (Three::new(), old(), new());
        let mut held = [Some(&new); 3];
        held[liar] = Some(&old);
        three.hold(held);
        let op = three.begin(get_of("a"));
        three.serve(liar);
        assert!(matches!(three.end(op), Ok(Outcome::Read(file)) if file.id == new.id()));
    }
}

#[test]
fn a_version_of_an_unfinished_put_is_at_w_replicas_before_it_is_answered() {
    let (mut three, old, new) = (Three::new(), old(), new());
    three.hold([Some(&new), Some(&old), None]);
    let op = three.begin(get_of("a"));
    for at in 0..3 {
        let Cluster { host, members } = &mut three.cluster;
        for frame in members[at].peer.asked(host, kind::LOOKUP) {
            let held = [Some(&new), Some(&old), None][at];
            let record = held.map(|record| {
                let mut record = record.clone();
                let lookup: Lookup = message::decode(&frame.body).unwrap();
                if lookup.part == Part::Head {
                    (record.meta, record.content) = (Bytes::new(), Bytes::new());
                }
                record
            });
            let record = record.as_ref().map(RecordParts::from);
            members[at].peer.answer(host, &frame, &Found { record });
        }
    }
    // Whoever told of it is asked for all of it.
    three.serve(0);
    assert_eq!(three.holders(&new), 1);
    let opened = |event: &Event| matches!(event, Event::Opened { .. });
    assert!(!three.cluster.host.events.iter().any(opened));
    assert!(three.serve(1));
    assert_eq!(three.holders(&new), 2);
    three.cluster.host.run();
    assert!(three.cluster.host.events.iter().any(opened));
    match three.end(op) {
        Ok(Outcome::Read(file)) => assert_eq!((file.id, file.unconfirmed), (new.id(), None)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_version_that_cannot_be_brought_to_w_replicas_is_unconfirmed_in_numbers() {
    let (mut three, old, new) = (Three::new(), old(), new());
    three.full = true;
    three.hold([Some(&new), Some(&old), Some(&old)]);
    let unconfirmed = Unconfirmed {
        answered: 3,
        needed: 2,
        copies: 1,
        durable: 2,
    };
    assert_eq!(three.get(get_of("a")), Ok((new.id(), Some(unconfirmed))));
    let confirmed = Get {
        confirmed: true,
        ..get_of("a")
    };
    let lacking = OpError::Unavailable {
        copies: 1,
        needed: 2,
        unknown: false,
    };
    assert_eq!(three.get(confirmed), Err(lacking));
    // It was never seen at W replicas: nothing holds this node to it.
    three.hold([Some(&old); 3]);
    assert_eq!(three.get(get_of("a")), Ok((old.id(), None)));
}

#[test]
fn a_late_answer_with_a_newer_version_does_not_confirm_an_older_one() {
    let (old, new) = (old(), new());
    let mut fetched = 0;
    for (first, second) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let mut three = Three::new();
        let mut held = [Some(&new); 3];
        held[first] = Some(&old);
        three.hold(held);
        three.cluster.members[3 - first - second].silent = true;
        let op = three.begin(get_of("a"));
        assert!(three.serve(first));
        three.cluster.host.pass(Duration::from_secs(6));
        three.cluster.host.read(op);
        if three.cluster.host.result(op).is_some() {
            // It was the one that was asked for all of it at once.
            continue;
        }
        fetched += 1;
        // While it is asked for the rest, another tells of the new one.
        assert!(three.serve(second) && three.serve(first));
        let Ok(Outcome::Read(file)) = three.end(op) else {
            panic!("it is read");
        };
        assert_eq!((file.id, file.unconfirmed), (new.id(), None));
    }
    assert!(fetched >= 4, "{fetched}");
}

#[test]
fn a_replica_that_never_answers_a_copy_does_not_hold_a_get_up_for_ever() {
    let (mut three, old, new) = (Three::new(), old(), new());
    three.hold([Some(&new), Some(&old), Some(&old)]);
    let op = three.begin(get_of("a"));
    three.serve_each();
    three.serve(0);
    for member in &mut three.cluster.members {
        member.silent = true;
    }
    let before = three.cluster.host.now;
    match three.end(op) {
        Ok(Outcome::Read(file)) => assert_eq!(file.unconfirmed.unwrap().copies, 1),
        other => panic!("{other:?}"),
    }
    assert!(three.cluster.host.now <= before.saturating_add(Duration::from_secs(7)));
}

#[test]
fn a_removal_that_few_replicas_have_is_brought_to_w_or_doubted() {
    let (mut three, old) = (Three::new(), old());
    let gone = version("a", 3, None);
    three.hold([Some(&gone), Some(&old), Some(&old)]);
    assert_eq!(three.get(get_of("a")), Err(OpError::NotFound));
    assert!(three.holders(&gone) >= 2);
    // It has been seen: the file does not come back.
    three.hold([Some(&old); 3]);
    let result = three.get(get_of("a"));
    assert!(matches!(result, Err(OpError::Older { seen, .. }) if seen == gone.id()));

    let mut three = Three::new();
    three.full = true;
    three.hold([Some(&gone), Some(&old), Some(&old)]);
    let result = three.get(get_of("a"));
    assert!(matches!(
        result,
        Err(OpError::Unavailable { copies: 1, .. })
    ));
}

#[test]
fn a_write_goes_above_what_was_seen_though_replicas_know_less() {
    let (mut three, old) = (Three::new(), old());
    let ahead = version("a", 100_000, Some(1));
    three.hold([Some(&ahead); 3]);
    assert_eq!(three.get(get_of("a")), Ok((ahead.id(), None)));
    three.hold([Some(&old); 3]);
    let op = three.cluster.host.put("a", b"next");
    let version = match three.end(op) {
        Ok(Outcome::Stored(stored)) => stored.version,
        other => panic!("{other:?}"),
    };
    assert!(version > ahead.version);
    // What it wrote it has seen.
    three.hold([Some(&ahead); 3]);
    assert!(matches!(
        three.get(get_of("a")),
        Err(OpError::Older { seen, .. }) if seen.version == version
    ));
}

#[test]
fn a_remove_does_not_say_that_there_is_nothing_where_something_was_seen() {
    let (mut three, new) = (Three::new(), new());
    three.hold([Some(&new); 3]);
    three.get(get_of("a")).unwrap();
    three.hold([None; 3]);
    let remove = Remove {
        writer: writer(),
        name: name("a"),
    };
    let host = &mut three.cluster.host;
    let op = host.node.remove(host.now, remove).unwrap();
    assert_eq!(three.end(op), Err(older(None)));
}

#[test]
fn what_was_seen_is_written_down_once_and_nobody_waits_for_it() {
    let (mut three, new) = (Three::new(), new());
    three.hold([Some(&new); 3]);
    three.cluster.host.hold_back = Some(|kind| matches!(kind, DiskKind::NoteSeen { .. }));
    for _ in 0..3 {
        assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    }
    assert_eq!(three.notes(), 1);
    three.cluster.host.release();
    assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    assert_eq!(three.notes(), 1);
    assert_eq!(three.cluster.host.disk.seen[&key_of("a")].id, new.id());
}

#[test]
fn a_disk_that_does_not_take_what_was_seen_is_trouble_and_no_failure() {
    let (mut three, new) = (Three::new(), new());
    three.hold([Some(&new); 3]);
    three.cluster.host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::NoteSeen { .. }).then_some(peerhold_core::disk::DiskError::NoSpace)
    }));
    assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    let trouble = Event::Trouble(peerhold_core::disk::DiskError::NoSpace);
    assert!(three.cluster.host.take_events().contains(&trouble));
    three.hold([Some(&old()); 3]);
    assert!(matches!(three.get(get_of("a")), Err(OpError::Older { .. })));
}

#[test]
fn what_was_seen_and_could_not_be_written_down_is_once_that_can_be() {
    let (mut three, new) = (Three::new(), new());
    three.hold([Some(&new); 3]);
    three.cluster.host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::NoteSeen { .. }).then_some(peerhold_core::disk::DiskError::NoSpace)
    }));
    assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    // It is not tried again by every get.
    assert_eq!(three.get(get_of("a")), Ok((new.id(), None)));
    assert_eq!(three.notes(), 1);
    three.cluster.host.fault = None;
    three.cluster.host.pass(Duration::from_secs(16));
    assert_eq!(three.notes(), 2);
    three.restart();
    three.hold([Some(&old()); 3]);
    assert!(matches!(three.get(get_of("a")), Err(OpError::Older { .. })));
}

#[test]
fn two_records_of_one_version_are_told_of_once_with_both_heads() {
    let (one, other) = (version("a", 2, Some(6)), version("a", 2, Some(9)));
    assert!(one.version == other.version && one.id() != other.id());
    let newest = one.id().max(other.id());
    let mut three = Three::new();
    three.full = true;
    three.hold([Some(&one), Some(&other), Some(&other)]);
    let op = three.begin(get_of("a"));
    // The one that would be enough answer last.
    three.serve_each();
    assert!(matches!(three.end(op), Ok(Outcome::Read(file)) if file.id == newest));
    let [(least, greatest, tellers)] = three.forks()[..] else {
        panic!("it is told once");
    };
    assert_eq!((least, greatest), (one.id().min(other.id()), newest));
    assert!(tellers >= 2);
    let op = three.begin(get_of("a"));
    three.serve_each();
    three.end(op).unwrap();
    assert_eq!(three.forks(), []);
}

#[test]
fn a_forged_record_is_no_evidence_of_a_fork() {
    let (right, mut forged) = (version("a", 2, Some(6)), version("a", 2, Some(9)));
    let mut head = forged.head.to_vec();
    *head.last_mut().unwrap() ^= 1;
    forged.head = head.into();
    let mut three = Three::new();
    three.hold([Some(&forged), Some(&right), Some(&right)]);
    let liar: NodeId = three.cluster.members[0].peer.id;
    let op = three.begin(get_of("a"));
    three.serve_each();
    assert!(matches!(three.end(op), Ok(Outcome::Read(file)) if file.id == right.id()));
    let events = three.cluster.host.take_events();
    assert!(!events.iter().any(|event| matches!(event, Event::Forked(_))));
    assert!(events.contains(&Event::Lied { peer: liar }));
}

/// What replicas hold when a get is asked, and who is silent.
#[derive(Clone, Debug)]
struct Scene {
    held: [u8; 3],
    silent: Option<usize>,
    full: bool,
    restart: bool,
}

impl Arbitrary for Scene {
    fn arbitrary(g: &mut Gen) -> Self {
        let silent = usize::arbitrary(g) % 6;
        Self {
            held: std::array::from_fn(|_| u8::arbitrary(g) % 4),
            silent: Some(silent).filter(|at| *at < 3),
            full: bool::arbitrary(g),
            restart: u8::arbitrary(g).is_multiple_of(4),
        }
    }
}

#[test]
fn whatever_replicas_tell_no_confirmed_read_goes_back() {
    fn property(scenes: Vec<Scene>) -> bool {
        let records: Vec<StoredRecord> = (1..4).map(|at| version("a", at, Some(5))).collect();
        let (mut three, mut last) = (Three::new(), None);
        for scene in scenes.into_iter().take(8) {
            if scene.restart {
                three.restart();
            }
            let record = |at: u8| at.checked_sub(1).map(|at| &records[usize::from(at)]);
            three.hold(scene.held.map(record));
            three.full = scene.full;
            for (at, member) in three.cluster.members.iter_mut().enumerate() {
                member.silent = scene.silent == Some(at);
            }
            let newest = scene.held.map(record).into_iter().flatten();
            let newest = newest.map(StoredRecord::id).max();
            match three.get(get_of("a")) {
                Ok((id, doubt)) => {
                    let at_w = records
                        .iter()
                        .any(|of| of.id() == id && three.holders(of) >= 2);
                    if Some(id) < last || (doubt.is_none() && !at_w) {
                        return false;
                    }
                    if doubt.is_none() {
                        last = Some(id);
                    }
                }
                Err(OpError::Older { found, seen }) => {
                    if Some(seen) != last
                        || found >= last
                        || (scene.silent.is_none() && newest >= last)
                    {
                        return false;
                    }
                }
                Err(OpError::NotFound) if last.is_some() => return false,
                Err(_) => {}
            }
        }
        true
    }
    QuickCheck::new()
        .tests(200)
        .quickcheck(property as fn(Vec<Scene>) -> bool);
}

#[test]
fn what_was_seen_of_one_name_says_nothing_of_another() {
    let (mut three, new) = (Three::new(), new());
    three.hold([Some(&new); 3]);
    three.get(get_of("a")).unwrap();
    assert_eq!(three.get(get_of("b")), Err(OpError::NotFound));
}

#[test]
fn no_more_names_are_remembered_than_the_limit() {
    let mut three = Three::new();
    let mut config = config(ME);
    (config.weight, config.limits.seen) = (0, 2);
    three.restart_as(config);
    for name in ["a", "b", "c"] {
        let record = version(name, 1, Some(5));
        three.hold([Some(&record); 3]);
        three.get(get_of(name)).unwrap();
    }
    assert_eq!(three.cluster.host.disk.seen.len(), 2);
    three.hold([None; 3]);
    assert_eq!(three.get(get_of("a")), Err(OpError::NotFound));
    assert!(matches!(three.get(get_of("b")), Err(OpError::Older { .. })));
}

#[test]
fn a_copy_of_an_older_record_is_no_copy_of_the_newer_one() {
    let (one, two) = (version("a", 1, Some(10)), version("a", 2, Some(20)));
    let mut three = Three::new();
    three.hold([Some(&one), None, Some(&two)]);
    let op = three.begin(Get::newest(writer().reader(), &name("a")));
    // Two have answered in time: the second is to keep what the first has.
    while three.serve(0) {}
    let Cluster { host, members } = &mut three.cluster;
    for frame in members[1].peer.asked(host, kind::LOOKUP) {
        members[1]
            .peer
            .answer(host, &frame, &Found { record: None });
    }
    host.pass(Duration::from_secs(6));
    while three.serve(0) {}
    let Cluster { host, members } = &mut three.cluster;
    let late = members[1].peer.asked(host, kind::KEEP);
    assert_eq!(late.len(), 1, "the older record is handed on");
    // The third tells of a newer one before that is done.
    while three.serve(2) {}
    let Cluster { host, members } = &mut three.cluster;
    let (flags, request) = (Flags::RESPONSE, late[0].request);
    members[1].peer.send(host, kind::KEEP, flags, request, &[]);
    assert_eq!(host.result(op), None, "one replica has the newer record");
    let Ok(Outcome::Read(file)) = three.end(op) else {
        panic!("all could answer")
    };
    assert_eq!((file.id, file.unconfirmed), (two.id(), None));
}

#[test]
fn a_head_that_nobody_can_make_whole_hides_nothing() {
    let one = version("a", 1, Some(10));
    let mut three = Three::new();
    three.hold([None, Some(&one), Some(&one)]);
    let mut forged = version("a", 9, Some(10));
    let mut head = forged.head.to_vec();
    *head.last_mut().unwrap() ^= 1;
    forged.head = head.into();
    (forged.meta, forged.content) = (Bytes::new(), Bytes::new());
    let op = three.begin(Get::newest(writer().reader(), &name("a")));
    let Cluster { host, members } = &mut three.cluster;
    for frame in members[0].peer.asked(host, kind::LOOKUP) {
        let record = Some(RecordParts::from(&forged));
        members[0].peer.answer(host, &frame, &Found { record });
    }
    let Ok(Outcome::Read(file)) = three.end(op) else {
        panic!("two replicas have it")
    };
    assert_eq!((file.id, file.unconfirmed), (one.id(), None));
}
