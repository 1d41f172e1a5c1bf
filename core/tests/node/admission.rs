//! Before admission a peer is nobody, and is let go of soon.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::admission::Admission;
use peerhold_core::wire::frame::{BODY_MAX_UNADMITTED, Flags};
use peerhold_core::wire::message::{self, Hello, kind};
use peerhold_core::{ClusterKey, Event, Input, PeerFault, Role};

use crate::fake_peer::{Peer, frame, id};
use crate::host::{Host, ME, config, key};

fn host() -> Host {
    Host::new(config(ME))
}

/// The body of the node's hello.
fn hello_of(peer: &mut Peer, host: &mut Host) -> Bytes {
    peer.received(host).remove(0).body
}

#[test]
fn a_peer_that_says_nothing_is_closed_at_the_deadline_and_not_before() {
    let mut host = host();
    let peer = Peer::open(&mut host, id(1));
    host.pass(Duration::from_millis(9_999));
    assert!(!host.has_closed(peer.conn));
    host.pass(Duration::from_millis(1));
    assert_eq!(peer.fault(&mut host), Some(PeerFault::AdmissionTimeout));
}

#[test]
fn bytes_that_dribble_do_not_move_the_deadline() {
    let mut host = host();
    let peer = Peer::open(&mut host, id(1));
    let hello = frame(kind::HELLO, Flags::NONE, 0, peer.admission.hello());
    for byte in hello.iter().take(10) {
        peer.send_raw(&mut host, Bytes::copy_from_slice(&[*byte]));
        host.pass(Duration::from_secs(1));
    }
    assert_eq!(peer.fault(&mut host), Some(PeerFault::AdmissionTimeout));
}

#[test]
fn a_connection_that_never_opens_is_let_go_of() {
    let mut host = host();
    let conn = host.node.accept(host.now).unwrap();
    host.pass(Duration::from_secs(10));
    assert!(host.has_closed(conn));
    let (role, peer) = (Role::Listener, id(1));
    host.handle(Input::Opened { conn, role, peer });
    assert_eq!(host.node.poll_transmit(conn, 1000), None);
}

#[test]
fn a_peer_with_another_key_is_refused() {
    let mut host = host();
    let mut peer = Peer::open(&mut host, id(1));
    let hello = hello_of(&mut peer, &mut host);
    let other = ClusterKey::from_bytes([1; 32]);
    let proof = peer.admission.take_hello(&hello, &other).unwrap();
    let own = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &own);
    peer.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::WrongKey));
}

#[test]
fn a_hello_of_another_version_is_refused() {
    let mut host = host();
    let peer = Peer::open(&mut host, id(1));
    let hello = Hello {
        version: 7,
        features: 0,
        nonce: [0; 32],
        requests: 100,
    };
    peer.tell(&mut host, kind::HELLO, &hello);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Version(7)));
}

#[test]
fn bytes_that_are_no_frames_end_the_connection() {
    for bytes in [&[0xff; 64][..], &[0, 0, 2, 1, 0, 0, 0, 0, 0, 0]] {
        let mut host = host();
        let peer = Peer::open(&mut host, id(1));
        peer.send_raw(&mut host, Bytes::copy_from_slice(bytes));
        assert_eq!(peer.fault(&mut host), Some(PeerFault::BadFrame));
    }
}

#[test]
fn a_body_is_taken_up_to_the_limit_before_admission_and_not_beyond() {
    let longest = vec![0; BODY_MAX_UNADMITTED as usize];
    for (body, fault) in [
        (longest.clone(), PeerFault::BadMessage),
        ([longest, vec![0]].concat(), PeerFault::BadFrame),
    ] {
        let mut host = host();
        let peer = Peer::open(&mut host, id(1));
        peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &body);
        assert_eq!(peer.fault(&mut host), Some(fault));
    }
}

#[test]
fn a_second_hello_is_out_of_turn() {
    let mut host = host();
    let peer = Peer::open(&mut host, id(1));
    let hello = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
    assert!(!host.has_closed(peer.conn));
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::OutOfTurn));
}

#[test]
fn nothing_else_is_taken_before_admission_even_in_one_piece_with_the_hello() {
    for kind in [kind::MEMBERS, kind::PING, kind::FETCH, kind::DATA, 0x77] {
        let mut host = host();
        let peer = Peer::open(&mut host, id(1));
        let hello = frame(kind::HELLO, Flags::NONE, 0, peer.admission.hello());
        let early = frame(kind, Flags::NONE, 0, &[]);
        peer.send_raw(&mut host, [hello, early].concat().into());
        assert_eq!(peer.fault(&mut host), Some(PeerFault::OutOfTurn));
    }
}

#[test]
fn a_reflected_hello_is_refused() {
    let mut host = host();
    let mut peer = Peer::open(&mut host, id(1));
    let hello = hello_of(&mut peer, &mut host);
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Myself));
}

#[test]
fn a_reflected_proof_is_refused() {
    let mut host = host();
    let mut peer = Peer::open(&mut host, id(1));
    let hello = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &hello);
    let proof = peer.received(&mut host).remove(1).body;
    peer.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::WrongKey));
}

#[test]
fn a_proof_of_another_session_is_refused() {
    let mut host = host();
    let mut first = Peer::open(&mut host, id(1));
    let hello = hello_of(&mut first, &mut host);
    let proof = first.admission.take_hello(&hello, &key()).unwrap();
    let mut second = Peer::open(&mut host, id(1));
    let hello = hello_of(&mut second, &mut host);
    let _ = second.admission.take_hello(&hello, &key()).unwrap();
    let own = second.admission.hello().clone();
    second.send(&mut host, kind::HELLO, Flags::NONE, 0, &own);
    second.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    let refused = Event::Refused {
        conn: second.conn,
        peer: Some(id(1)),
        fault: Some(PeerFault::WrongKey),
        reason: None,
    };
    assert!(host.take_events().contains(&refused));
}

#[test]
fn a_connection_to_itself_is_closed_and_its_address_left_alone() {
    let mut config = config(ME);
    config.bootstrap = [Into::into("me")].into();
    let mut host = Host::new(config);
    let conn = dialled(&mut host);
    let peer = Peer::on(&mut host, ME, conn, Role::Dialer);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Myself));
    peer.reset(&mut host);
    host.events.clear();
    host.pass(Duration::from_secs(3600));
    assert_eq!(host.events, []);
}

/// The connection that the node has asked for.
fn dialled(host: &mut Host) -> peerhold_core::ConnId {
    let dial = host
        .take_events()
        .into_iter()
        .find_map(|event| match event {
            Event::Dial { conn, .. } => Some(conn),
            _ => None,
        });
    dial.expect("the node dials")
}

#[test]
fn a_connection_opened_twice_or_by_nobody_is_one() {
    let mut host = host();
    let mut peer = Peer::open(&mut host, id(1));
    let before = hello_of(&mut peer, &mut host);
    let (conn, role) = (peer.conn, Role::Listener);
    for peer in [id(1), id(2)] {
        host.handle(Input::Opened { conn, role, peer });
    }
    assert!(peer.received(&mut host).is_empty());
    let proof = peer.admission.take_hello(&before, &key()).unwrap();
    let own = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &own);
    peer.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    assert_eq!(host.node.status().peers.len(), 1);
}

#[test]
fn what_ends_twice_or_never_was_changes_nothing() {
    let mut host = host();
    let peer = Peer::admitted(&mut host, id(1));
    peer.reset(&mut host);
    host.events.clear();
    peer.reset(&mut host);
    host.handle(Input::DialFailed { conn: peer.conn });
    peer.send(&mut host, kind::PING, Flags::NONE, 0, &[]);
    assert_eq!(host.take_events(), []);
}

#[test]
fn a_node_that_is_dialled_in_place_of_another_is_refused() {
    let mut host = host();
    let teller = Peer::admitted(&mut host, id(1));
    let entry = message::PeerEntry {
        node: id(2),
        addresses: ["two".into()].into(),
    };
    let update = message::PeersUpdate {
        peers: [entry].into(),
    };
    teller.tell(&mut host, kind::PEERS, &update);
    host.pass(Duration::ZERO);
    let conn = dialled(&mut host);
    let other = Peer::on(&mut host, id(3), conn, Role::Dialer);
    assert_eq!(other.fault(&mut host), Some(PeerFault::WrongPeer));
}

#[test]
fn a_peer_that_allows_too_few_requests_is_refused() {
    let mut host = host();
    let peer = Peer::open(&mut host, id(1));
    let few = Admission::new(id(1), Role::Dialer, ME, [0; 32], 0);
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, few.hello());
    assert_eq!(peer.fault(&mut host), Some(PeerFault::BadMessage));
}
