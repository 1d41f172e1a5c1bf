//! Any bytes from an admitted peer, at any time: nothing panics, nothing grows
//! beyond its limit, and nothing is left when the peer is gone.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerhold_core::disk::{Page, Row};
use peerhold_core::seal::PAYLOAD_MAX;
use peerhold_core::wire::frame::{Flags, HEADER_LEN};
use peerhold_core::wire::message::{
    self, ClaimAnswer, Claimed, Fetch, Found, MembersUpdate, PeerEntry, PeersUpdate, Refusal,
    Refused, Rows, kind,
};
use peerhold_core::{BlobId, Input, NameTag, NodeId, OpId};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::asking::{blob, claim_of};
use crate::fake_peer::{Peer, frame, id};
use crate::host::{Host, ME, config, noise, writer};
use crate::lies::forged_keep;
use crate::listers::{history_of, key_of, list_of, version};

const KINDS: [u8; 17] = [
    kind::HELLO,
    kind::PROOF,
    kind::PING,
    kind::PONG,
    kind::MEMBERS,
    kind::PEERS,
    kind::CLAIM,
    kind::FETCH,
    kind::LOOKUP,
    kind::KEEP,
    kind::CANCEL,
    kind::LIST,
    kind::HISTORY,
    kind::DATA,
    kind::REFUSED,
    0x32,
    0xff,
];

#[derive(Clone, Debug)]
enum Step {
    /// Bytes without any order.
    Noise(Vec<u8>),
    /// A frame with any body.
    Frame(u8, u8, u8, Vec<u8>),
    /// A message that decodes, as a request or an answer.
    Message(u8, bool, bool, u8),
    /// A frame of which only a part comes before something else does.
    Part(u8),
    Pass(u8),
    Read,
    Stall,
    Release,
    Local(u8),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let of = |g: &mut Gen| *g.choose(&KINDS).unwrap();
        match u8::arbitrary(g) % 32 {
            0 => Self::Noise(Vec::arbitrary(g)),
            1..4 => Self::Frame(
                of(g),
                u8::arbitrary(g) % 4,
                u8::arbitrary(g) % 8,
                Vec::arbitrary(g),
            ),
            4 => Self::Part(u8::arbitrary(g)),
            5..8 => Self::Pass(u8::arbitrary(g) % 20),
            8..11 => Self::Read,
            11 => Self::Stall,
            12 | 13 => Self::Release,
            14 => Self::Local(u8::arbitrary(g)),
            _ => {
                let (answer, more) = (bool::arbitrary(g), u8::arbitrary(g).is_multiple_of(4));
                Self::Message(of(g), answer, more, u8::arbitrary(g) % 24)
            }
        }
    }
}

/// A body that decodes as what this kind of frame carries.
fn body(of: u8, answer: bool, pick: u8) -> Bytes {
    let some = |at: u8| blob(1000 * usize::from(at) + 1, at);
    let entry = |at: u8| (BlobId::of(&some(at)), some(at).len());
    match (of, answer) {
        (kind::CLAIM, false) => {
            let mut blobs: Vec<_> = (0..=pick).map(entry).collect();
            blobs[0].1 = PAYLOAD_MAX - usize::from(pick);
            message::encode(&claim_of(&blobs))
        }
        (kind::CLAIM, true) => {
            let refusal = pick.is_multiple_of(2).then_some(Refusal::Busy);
            let index = pick / 8;
            let answers = [ClaimAnswer { index, refusal }].into();
            message::encode(&Claimed { answers })
        }
        (kind::FETCH, _) => {
            let (id, max) = (entry(pick).0, 1 << pick);
            message::encode(&Fetch { id, max })
        }
        (kind::LOOKUP, true) => message::encode(&Found { record: None }),
        (kind::LIST | kind::HISTORY, true) => message::encode(&rows(pick)),
        (kind::LIST, false) => message::encode(&list(pick)),
        (kind::HISTORY, false) => message::encode(&history(pick)),
        (kind::KEEP, false) => forged_keep(),
        (kind::KEEP, true) => Bytes::new(),
        (kind::DATA, _) => some(pick),
        (kind::REFUSED, _) => {
            let reason = Refusal::Missing;
            message::encode(&Refused { reason })
        }
        (kind::MEMBERS, _) => {
            let (entries, holding) = (Vec::new(), pick > 12);
            message::encode(&MembersUpdate { entries, holding })
        }
        (kind::PEERS, _) => {
            let node = NodeId([pick; 32]);
            let addresses = [format!("addr:{pick}")].into();
            let peers = [PeerEntry { node, addresses }].into();
            message::encode(&PeersUpdate { peers })
        }
        _ => Bytes::new(),
    }
}

/// Rows that may be what was asked for, and forged.
fn rows(pick: u8) -> Rows {
    let mut record = version("file", u64::from(pick % 4), Some(pick.into()));
    record.content = Bytes::new();
    if pick.is_multiple_of(3) {
        record.head = [&record.head[..record.head.len() - 1], &[0]]
            .concat()
            .into();
    }
    let row = if pick.is_multiple_of(5) {
        let (tag, id) = (record.key.tag, record.id());
        Row::Damaged { tag, id }
    } else {
        Row::Record(record)
    };
    Rows::from(&Page {
        rows: vec![row; usize::from(!pick.is_multiple_of(4))],
        more: pick.is_multiple_of(2),
    })
}

fn list(pick: u8) -> message::List {
    message::List {
        namespace: writer().namespace(),
        after: pick.is_multiple_of(2).then_some(NameTag([pick; 32])),
        max: 1 << pick,
    }
}

fn history(pick: u8) -> message::History {
    message::History {
        key: key_of("file"),
        below: pick
            .is_multiple_of(2)
            .then(|| version("file", 2, None).id()),
        max: 1 << pick,
    }
}

/// The host, and its peer, which comes back when it has been closed.
struct Run {
    host: Host,
    peer: Peer,
    /// The rest of a frame.
    rest: Option<Bytes>,
    gets: Vec<OpId>,
}

impl Run {
    fn new() -> Self {
        let mut host = Host::founded(config(ME), &[id(1), id(2)]);
        for at in 0..4 {
            let bytes = blob(1000 * at + 1, at as u8);
            host.disk.blobs.insert(BlobId::of(&bytes), bytes);
        }
        let peer = Peer::admitted(&mut host, id(1));
        Self {
            host,
            peer,
            rest: None,
            gets: Vec::new(),
        }
    }

    fn send(&mut self, data: Bytes) {
        let data = match self.rest.take() {
            Some(rest) => [rest, data].concat().into(),
            None => data,
        };
        self.peer.send_raw(&mut self.host, data);
    }

    fn step(&mut self, step: &Step) {
        let host = &mut self.host;
        match step {
            Step::Noise(bytes) => self.send(bytes.clone().into()),
            Step::Frame(of, flags, request, body) => {
                let flags = Flags::from_bits(*flags).unwrap();
                self.send(frame(*of, flags, (*request).into(), body));
            }
            Step::Message(of, answer, more, pick) => {
                let body = body(*of, *answer, *pick);
                let mut flags = Flags::NONE;
                if *answer {
                    flags = flags | Flags::RESPONSE;
                }
                if *more {
                    flags = flags | Flags::MORE;
                }
                self.send(frame(*of, flags, u32::from(pick % 8), &body));
            }
            Step::Part(at) => {
                let mut whole = frame(kind::PING, Flags::NONE, 0, &[]);
                let part = whole.split_to(usize::from(*at) % HEADER_LEN);
                self.send(part);
                self.rest = Some(whole);
            }
            Step::Pass(seconds) => host.pass(Duration::from_secs((*seconds).into())),
            Step::Read => drop(self.peer.received(host)),
            Step::Stall => host.hold_back = Some(|_| true),
            Step::Release => host.release(),
            Step::Local(pick) if pick.is_multiple_of(2) => {
                if let Ok(op) = host.node.put(host.now, crate::host::put_of("file")) {
                    let data = Bytes::from(noise(1000 * usize::from(*pick)));
                    let _ = host.node.push(host.now, op, data);
                    host.node.finish(host.now, op);
                }
            }
            Step::Local(pick) if pick % 4 == 1 => {
                let now = host.now;
                let op = match pick % 8 {
                    1 => host.node.list(now, list_of()).ok(),
                    _ => host.node.history(now, history_of("file")).ok(),
                };
                for op in self.gets.iter().chain(&op) {
                    while host.node.poll_entry(*op).is_some() {}
                }
                self.gets.extend(op);
            }
            Step::Local(_) => {
                let get = host.node.get(host.now, crate::host::get_of("file"));
                self.gets.extend(get);
            }
        }
        if self.host.has_closed(self.peer.conn) {
            self.peer.reset(&mut self.host);
            self.rest = None;
            self.host.events.clear();
            self.peer = Peer::admitted(&mut self.host, id(1));
        }
    }
}

#[test]
fn an_admitted_peer_can_send_anything() {
    fn holds(steps: Vec<Step>) -> bool {
        let mut run = Run::new();
        let limit = config(ME).limits.memory;
        for step in &steps {
            run.step(step);
            assert!(run.host.memory() <= limit);
        }
        let host = &mut run.host;
        host.release();
        run.peer.reset(host);
        // A get waits for its caller for ever.
        for op in run.gets {
            host.node.cancel(host.now, op);
        }
        host.pass(Duration::from_secs(200));
        let status = host.node.status();
        (status.memory, status.operations) == (0, 0)
    }
    QuickCheck::new()
        .rng(Gen::new(120))
        .tests(400)
        .quickcheck(holds as fn(Vec<Step>) -> bool);
}

#[test]
fn bytes_that_come_one_by_one_are_answered_byte_for_byte_alike() {
    let talk = |piece: usize| {
        let mut host = Run::new().host;
        let mut peer = Peer::open(&mut host, id(2));
        peer.admit(&mut host);
        let mut all = BytesMut::new();
        for (request, of) in [
            kind::LOOKUP,
            kind::FETCH,
            kind::CLAIM,
            kind::FETCH,
            kind::CLAIM,
        ]
        .into_iter()
        .enumerate()
        {
            let body = match of {
                kind::LOOKUP => message::encode(&crate::serving::lookup()),
                of => body(of, false, 12 + request as u8 % 2),
            };
            all.extend_from_slice(&frame(of, Flags::NONE, request as u32, &body));
            all.extend_from_slice(&frame(kind::PING, Flags::NONE, 0, &[]));
        }
        for data in all.chunks(piece) {
            let (conn, data) = (peer.conn, Bytes::copy_from_slice(data));
            host.handle(Input::Received { conn, data });
        }
        host.run();
        let mut sent = Vec::new();
        while let Some(bytes) = host.node.poll_transmit(peer.conn, usize::MAX) {
            sent.extend_from_slice(&bytes);
            host.run();
        }
        (sent, host.trace)
    };
    let whole = talk(usize::MAX);
    assert!(whole.0.len() > 100 && whole.1.len() > 10);
    for piece in [1, 3, 10, 100] {
        assert!(talk(piece) == whole, "in pieces of {piece}");
    }
}
