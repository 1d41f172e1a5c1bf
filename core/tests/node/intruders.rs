//! Whoever has no cluster key: nothing that it has seen, and nothing that it
//! makes up, gets it past admission, and it is let go of soon and cheaply.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::admission::Admission;
use peerhold_core::wire::frame::{BODY_MAX_UNADMITTED, Flags, HEADER_LEN};
use peerhold_core::wire::message::{self, Proof, kind};
use peerhold_core::{ClusterKey, Event, NodeId, PeerFault, Role};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::fake_peer::{Peer, frame, id};
use crate::host::{Host, ME, config, key};

/// The most that a node sends before admission: two frames.
const SENT_MAX: usize = 2 * (HEADER_LEN + BODY_MAX_UNADMITTED as usize);

/// The bodies of one side's first two frames.
#[derive(Clone, Debug)]
struct Recorded {
    hello: Bytes,
    proof: Bytes,
}

/// An honest peer's part in a session with the node, and the node's.
fn overheard(host: &mut Host, honest: NodeId) -> [Recorded; 2] {
    let mut peer = Peer::open(host, honest);
    let its_hello = peer.received(host).remove(0).body;
    let proof = peer.admission.take_hello(&its_hello, &key()).unwrap();
    let hello = peer.admission.hello().clone();
    peer.send(host, kind::HELLO, Flags::NONE, 0, &hello);
    peer.send(host, kind::PROOF, Flags::NONE, 0, &proof);
    let its_proof = peer.received(host).remove(0).body;
    assert!(peer.admission.take_proof(&its_proof, &[key()]).is_ok());
    peer.reset(host);
    let theirs = Recorded { hello, proof };
    let its = Recorded {
        hello: its_hello,
        proof: its_proof,
    };
    [theirs, its]
}

fn play(host: &mut Host, as_node: NodeId, hello: &[u8], proof: &[u8]) -> Option<PeerFault> {
    let peer = Peer::open(host, as_node);
    peer.send(host, kind::HELLO, Flags::NONE, 0, hello);
    peer.send(host, kind::PROOF, Flags::NONE, 0, proof);
    let fault = refused(host, &peer);
    assert!(host.node.status().peers.is_empty());
    fault
}

/// Why a connection was refused. It must have been.
fn refused(host: &mut Host, peer: &Peer) -> Option<PeerFault> {
    assert!(host.has_closed(peer.conn));
    let fault = host.events.iter().find_map(|event| match event {
        Event::Refused { conn, fault, .. } if *conn == peer.conn => Some(*fault),
        _ => None,
    });
    fault.expect("an event says why")
}

#[test]
fn a_recorded_handshake_played_again_is_refused_whoever_plays_it() {
    let mut host = Host::new(config(ME));
    let recorded = overheard(&mut host, id(1));
    for player in [id(1), id(2)] {
        for Recorded { hello, proof } in &recorded {
            let fault = play(&mut host, player, hello, proof);
            assert_eq!(fault, Some(PeerFault::WrongKey));
        }
    }
}

#[test]
fn a_proof_that_a_member_makes_for_somebody_else_serves_for_nobody_here() {
    // An intruder between a member and the node, whose own channels lead to
    // both, hands each the other's frames.
    let mut host = Host::new(config(ME));
    let intruder = id(2);
    let mut towards_node = Peer::open(&mut host, intruder);
    let its_hello = towards_node.received(&mut host).remove(0).body;
    let mut member = Admission::new(id(1), Role::Dialer, intruder, [3; 32], 64);
    let proof = member.take_hello(&its_hello, &key()).unwrap();
    let hello = member.hello().clone();
    towards_node.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
    let its_proof = towards_node.received(&mut host).remove(0).body;
    let back = member.take_proof(&its_proof, &[key()]);
    assert_eq!(back, Err(PeerFault::WrongKey), "nor does the node's there");
    towards_node.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    let fault = refused(&mut host, &towards_node);
    assert_eq!(fault, Some(PeerFault::WrongKey));
}

#[test]
fn a_proof_is_right_in_every_bit_or_wrong() {
    let mut host = Host::new(config(ME));
    for bit in 0..8 * 40 {
        let mut peer = Peer::open(&mut host, id(1));
        let its = peer.received(&mut host).remove(0).body;
        let proof = peer.admission.take_hello(&its, &key()).unwrap();
        let mut proof: Proof = message::decode(&proof).unwrap();
        let (key_id, mac) = (&mut proof.key, &mut proof.mac);
        let byte = key_id.iter_mut().chain(mac).nth(bit / 8).unwrap();
        *byte ^= 1 << (bit % 8);
        let hello = peer.admission.hello().clone();
        peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
        peer.tell(&mut host, kind::PROOF, &proof);
        assert_eq!(refused(&mut host, &peer), Some(PeerFault::WrongKey));
        peer.reset(&mut host);
        host.events.clear();
    }
}

#[test]
fn a_header_that_promises_much_is_refused_before_anything_of_it_comes() {
    for len in [BODY_MAX_UNADMITTED + 1, 1 << 16, u32::MAX] {
        let mut host = Host::new(config(ME));
        let peer = Peer::open(&mut host, id(1));
        let header = [&len.to_be_bytes()[..], &[0; 4], &[kind::HELLO, 0]].concat();
        peer.send_raw(&mut host, header.into());
        assert_eq!(refused(&mut host, &peer), Some(PeerFault::BadFrame));
    }
}

/// Something that an intruder sends.
#[derive(Clone, Debug)]
enum Step {
    Noise(Vec<u8>),
    Frame(u8, u8, u8, Vec<u8>),
    /// A good hello, of its own making.
    Hello(u8),
    /// A proof of a key that is another.
    Proof(u8),
    /// What was heard elsewhere: whose, hello or proof.
    Heard(bool, bool),
    /// What the node has just sent.
    Back(u8),
    Pass(u8),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let kinds = [kind::HELLO, kind::PROOF, kind::MEMBERS, kind::PING, 0x77];
        let of = *g.choose(&kinds).unwrap();
        match u8::arbitrary(g) % 12 {
            0 => Self::Noise(Vec::arbitrary(g)),
            1 | 2 => {
                let (flags, request) = (u8::arbitrary(g) % 4, u8::arbitrary(g) % 2);
                Self::Frame(of, flags, request, Vec::arbitrary(g))
            }
            3..6 => Self::Hello(u8::arbitrary(g)),
            6 | 7 => Self::Proof(u8::arbitrary(g)),
            8 | 9 => Self::Heard(bool::arbitrary(g), bool::arbitrary(g)),
            10 => Self::Back(u8::arbitrary(g)),
            _ => Self::Pass(u8::arbitrary(g) % 6),
        }
    }
}

/// One intruder's connection, to its end.
fn intrude(host: &mut Host, recorded: &[Recorded; 2], as_node: NodeId, steps: &[Step]) {
    let mut peer = Peer::open(host, as_node);
    let mut own = Admission::new(as_node, Role::Dialer, ME, [0; 32], 64);
    let mut seen: Vec<Bytes> = Vec::new();
    for step in steps {
        let control = |of, body: &[u8]| frame(of, Flags::NONE, 0, body);
        let data = match step {
            Step::Noise(bytes) => bytes.clone().into(),
            Step::Frame(of, flags, request, body) => {
                let flags = Flags::from_bits(*flags).unwrap();
                frame(*of, flags, (*request).into(), body)
            }
            Step::Hello(nonce) => {
                own = Admission::new(as_node, Role::Dialer, ME, [*nonce; 32], 64);
                control(kind::HELLO, own.hello())
            }
            Step::Proof(key) => {
                let key = ClusterKey::from_bytes([*key; 32]);
                let other = key != self::key();
                let hello = seen.first().cloned().unwrap_or_default();
                match own.take_hello(&hello, &key) {
                    Ok(proof) if other => control(kind::PROOF, &proof),
                    _ => Bytes::new(),
                }
            }
            Step::Heard(whose, true) => control(kind::HELLO, &recorded[usize::from(*whose)].hello),
            Step::Heard(whose, false) => control(kind::PROOF, &recorded[usize::from(*whose)].proof),
            Step::Back(of) => {
                let at = usize::from(*of) % 2;
                let body = seen.get(at).cloned().unwrap_or_default();
                control([kind::HELLO, kind::PROOF][at], &body)
            }
            Step::Pass(seconds) => {
                host.pass(Duration::from_secs((*seconds).into()));
                Bytes::new()
            }
        };
        peer.send_raw(host, data);
        seen.extend(peer.received(host).into_iter().map(|frame| frame.body));
        assert!(host.node.status().peers.is_empty(), "it is in");
        let sent: usize = seen.iter().map(|body| HEADER_LEN + body.len()).sum();
        assert!(sent <= SENT_MAX && host.memory() == 0);
    }
    host.pass(Duration::from_secs(10));
    assert!(refused(host, &peer).is_some(), "with a reason");
    peer.reset(host);
    assert!(host.node.accept(host.now).is_ok());
    let crowded = host.take_events().contains(&Event::Crowded);
    assert!(!crowded, "nothing is left of it");
}

#[test]
fn whatever_an_intruder_sends_it_stays_out_and_is_let_go_of() {
    fn holds(as_heard: bool, steps: Vec<Step>) -> bool {
        let mut config = config(ME);
        config.limits.connections = 1;
        let mut host = Host::new(config);
        let recorded = overheard(&mut host, id(1));
        let as_node = if as_heard { id(1) } else { id(2) };
        intrude(&mut host, &recorded, as_node, &steps);
        true
    }
    QuickCheck::new()
        .rng(Gen::new(20))
        .tests(1000)
        .quickcheck(holds as fn(bool, Vec<Step>) -> bool);
}
