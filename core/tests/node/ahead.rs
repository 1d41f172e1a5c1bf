//! Records at both ends of what versions can say, and ahead of the clock.

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use peerhold_core::disk::StoredRecord;
use peerhold_core::seal::{Content, Draft, Head, Meta, SealedRecord, SignedHead, seal_record};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, Keep, Lookup, RecordParts, Refusal, Refused, kind};
use peerhold_core::{Event, OpError, OpId, Outcome, PeerFault, PutId, UnixMillis, Version};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, WALL, config, name, writer};
use crate::lies::{answer, client, record};

const DATA: &[u8] = b"what was stored";
/// Ten minutes: so far a new record may be ahead.
const AHEAD: u64 = 10 * 60 * 1000;

/// A record of `name` that its writer gave this version.
fn at(name: &str, version: Version) -> StoredRecord {
    let draft = Draft {
        epoch: 0,
        version,
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: self::name(name),
        size: DATA.len() as u64,
        modified: None,
        chunk_size: 1 << 16,
    };
    let content = Content::Inline(Bytes::from_static(DATA));
    let sealed = seal_record(&writer(), draft, &meta, &content).unwrap();
    sealed.to_stored()
}

/// The same of version zero, which nothing here seals: signed by hand.
fn unversioned(name: &str) -> StoredRecord {
    let mut record = at(name, Version::MAX);
    let mut head: Head = SealedRecord::from_stored(record.clone())
        .unwrap()
        .head
        .head()
        .clone();
    head.version = Version::ZERO;
    let key = blake3::derive_key("peerhold 2026-11 namespace signing key", &[7; 32]);
    let bytes = head.encode();
    let signed = [b"peerhold 2026-11 record head\0", &bytes[..]].concat();
    let signature = SigningKey::from_bytes(&key).sign(&signed).to_bytes();
    record.version = Version::ZERO;
    record.head_hash = blake3::hash(&bytes).into();
    record.head = [&bytes[..], &signature].concat().into();
    record
}

/// The first 8 bytes of a version, and a writer's that is above others.
fn stamped(stamp: u64) -> Version {
    Version::from_bytes((u128::from(stamp) << 64 | 7).to_be_bytes())
}

/// Has a replica keep a record. Why not, if it does not.
fn keep(host: &mut Host, peer: &mut Peer, record: &StoredRecord, repair: bool) -> Option<Refusal> {
    let record = RecordParts::from(record);
    let request = peer.ask(host, kind::KEEP, &Keep { record, repair });
    let frames = peer.received(host);
    let answer = frames
        .iter()
        .find(|frame| frame.flags.contains(Flags::RESPONSE) && frame.request == request)
        .expect("an answer");
    match answer.kind {
        kind::KEEP => None,
        kind => {
            assert_eq!(kind, kind::REFUSED);
            let refused: Refused = message::decode(&answer.body).unwrap();
            Some(refused.reason)
        }
    }
}

mod replicas {
    use super::*;

    #[test]
    fn refuse_a_new_record_of_the_last_version_and_of_none() {
        let mut host = Host::founded(config(ME), &[id(1), id(2)]);
        let mut peer = Peer::admitted(&mut host, id(1));
        let limit = (WALL + AHEAD) << 16;
        for (record, refused) in [
            (at("file", Version::MAX), Refusal::TooFarAhead),
            (at("file", stamped(u64::MAX)), Refusal::TooFarAhead),
            (at("file", stamped(limit + (1 << 16))), Refusal::TooFarAhead),
            (unversioned("file"), Refusal::Invalid),
        ] {
            assert_eq!(keep(&mut host, &mut peer, &record, false), Some(refused));
            assert!(host.disk.records.is_empty());
        }
        // Handed on or not, no replica has had one of version zero.
        let refused = keep(&mut host, &mut peer, &unversioned("file"), true);
        assert_eq!(refused, Some(Refusal::Invalid));
        let ahead = at("file", stamped(limit | 0xffff));
        assert_eq!(keep(&mut host, &mut peer, &ahead, false), None);
        assert_eq!(host.disk.records[&ahead.key], [ahead]);
    }

    #[test]
    fn keep_one_of_the_last_version_that_is_handed_on() {
        // Another replica has taken it: they are to agree.
        let mut host = Host::founded(config(ME), &[id(1), id(2)]);
        let mut peer = Peer::admitted(&mut host, id(1));
        let last = at("file", Version::MAX);
        assert_eq!(keep(&mut host, &mut peer, &last, true), None);
        assert_eq!(host.disk.records[&last.key], [last]);
    }
}

/// A client whose three replicas, with right clocks, hold a record.
struct Written {
    host: Host,
    peers: [Peer; 3],
    held: StoredRecord,
    /// Versions that the replicas were asked to keep, and have kept.
    asked: Vec<Version>,
    kept: Vec<Version>,
}

impl Written {
    fn holding(held: StoredRecord) -> Self {
        let (host, peers) = client();
        Self {
            host,
            peers,
            held,
            asked: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn serve(&mut self) {
        let Self {
            host, peers, held, ..
        } = self;
        answer(host, peers, |_, frame| {
            let lookup: Lookup = message::decode(&frame.body).unwrap();
            (lookup.key == held.key).then(|| held.clone())
        });
        for peer in peers {
            for frame in peer.asked(host, kind::KEEP) {
                let keep: Keep = message::decode(&frame.body).unwrap();
                let head = Bytes::from(Vec::from(keep.record.head));
                let version = SignedHead::verify(head).unwrap().version();
                self.asked.push(version);
                if version.millis().0 > WALL + AHEAD {
                    peer.refuse(host, &frame, Refusal::TooFarAhead);
                } else {
                    self.kept.push(version);
                    peer.send(host, kind::KEEP, Flags::RESPONSE, frame.request, &[]);
                }
            }
        }
    }

    /// Puts a small file, and lets time pass until that has ended.
    fn put(&mut self, name: &str) -> Result<Outcome, OpError> {
        let op = self.host.put(name, DATA);
        self.ended(op)
    }

    fn ended(&mut self, op: OpId) -> Result<Outcome, OpError> {
        for _ in 0..300 {
            (0..4).for_each(|_| self.serve());
            if let Some(result) = self.host.result(op) {
                return result;
            }
            for peer in &mut self.peers {
                peer.send(&mut self.host, kind::PONG, Flags::NONE, 0, &[]);
            }
            self.host.pass(std::time::Duration::from_secs(1));
        }
        panic!("it never ends");
    }
}

#[test]
fn nothing_is_written_above_the_last_version_and_other_names_are() {
    for last in [Version::MAX, stamped(u64::MAX)] {
        let mut written = Written::holding(at("file", last));
        assert_eq!(written.put("file"), Err(OpError::NoVersion(last)));
        assert!(written.asked.is_empty());
        assert!(matches!(written.put("other"), Ok(Outcome::Stored(_))));
        assert!(
            written
                .kept
                .iter()
                .all(|given| given.millis() == UnixMillis(WALL))
        );
        // What is there is read.
        let op = written.host.get("file");
        (0..4).for_each(|_| written.serve());
        assert_eq!(written.host.read(op), DATA);
        assert!(matches!(written.ended(op), Ok(Outcome::Read(_))));
        assert!(
            !written
                .host
                .events
                .iter()
                .any(|event| matches!(event, Event::Lied { .. }))
        );
    }
}

#[test]
fn a_name_far_ahead_of_the_clock_does_not_take_the_others_along() {
    let year_ahead = (WALL + 365 * 24 * 3600 * 1000) << 16;
    for ahead in [year_ahead, u64::MAX - 1] {
        let mut written = Written::holding(at("file", stamped(ahead)));
        // It goes above, and the replicas' clocks refuse that.
        assert!(matches!(
            written.put("file"),
            Err(OpError::Unavailable { copies: 0, .. })
        ));
        assert!(!written.asked.is_empty() && written.kept.is_empty());
        assert!(written.asked.iter().all(|given| *given > stamped(ahead)));
        for other in ["other", "another"] {
            assert!(matches!(written.put(other), Ok(Outcome::Stored(_))));
        }
        // Each at its own version, by the clock.
        let mut kept = written.kept.clone();
        kept.dedup();
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[0] < kept[1] && kept[1].millis().0 < WALL + AHEAD);
    }
}

#[test]
fn no_two_records_have_one_version_however_far_ahead_they_are() {
    let ahead = stamped((WALL + 2 * AHEAD) << 16);
    let mut written = Written::holding(at("file", ahead));
    // Each try goes above the last, and above those that are not ahead.
    for _ in 0..3 {
        assert!(written.put("file").is_err());
        assert!(written.put("other").is_ok());
    }
    let mut given = written.asked.clone();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 6, "{given:?}");
}

#[test]
fn who_tells_of_a_record_of_version_zero_loses_its_session_and_the_others_are_read() {
    let right = record("file", DATA, WALL);
    let none = unversioned("file");
    for liar in [1, 2, 3].map(id) {
        let (mut host, mut peers) = client();
        peers.sort_by_key(|peer| peer.id != liar);
        let op = host.get("file");
        answer(&mut host, &mut peers[..1], |_, _| Some(none.clone()));
        assert_eq!(peers[0].fault(&mut host), Some(PeerFault::BadMessage));
        for _ in 0..4 {
            answer(&mut host, &mut peers[1..], |_, _| Some(right.clone()));
        }
        assert_eq!(host.read(op), DATA);
        assert!(matches!(host.result(op), Some(Ok(Outcome::Read(_)))));
    }
}
