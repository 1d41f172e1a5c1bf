//! A node's sessions, seen from peers that are written out by hand: what they
//! can do to it, and what becomes of two sessions with one peer.

use bytes::{Bytes, BytesMut};
use peerhold_core::admission::Admission;
use peerhold_core::disk::{DiskData, DiskKind, Loaded};
use peerhold_core::members::{Member, MemberEntry, State};
use peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::{self, MembersUpdate, kind};
use peerhold_core::{
    ClusterKey, Config, ConnId, Event, Input, Instant, Node, NodeId, PeerFault, Role,
};

const ME: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);
const C: NodeId = NodeId([3; 32]);
const NOW: Instant = Instant::ZERO;

#[test]
fn a_session_that_gives_way_takes_nothing_along_of_the_one_that_stays() {
    let mut node = node();
    let dialled = dialled(&mut node);
    admit(&mut node, dialled, Role::Dialer, B);
    tell(&mut node, dialled, B, joining(1));

    // The node has the lesser id: of the two sessions its own stays.
    let accepted = node.accept(NOW).unwrap();
    admit(&mut node, accepted, Role::Listener, B);
    assert_eq!(closed(&mut node), [accepted]);

    let other = node.accept(NOW).unwrap();
    admit(&mut node, other, Role::Listener, C);
    assert_eq!(state(&node), State::Joining);
    tell(&mut node, other, C, joining(1));
    assert_eq!(state(&node), State::Active);
}

#[test]
fn a_peer_that_tells_the_greatest_counter_of_this_node_does_not_break_it() {
    let mut node = node();
    for peer in [B, C] {
        let conn = node.accept(NOW).unwrap();
        admit(&mut node, conn, Role::Listener, peer);
        tell(&mut node, conn, ME, joining(u64::MAX));
        tell(&mut node, conn, peer, joining(1));
    }
    assert_eq!(state(&node), State::Active);
}

#[test]
fn nothing_but_hello_and_proof_is_taken_before_admission() {
    for (kind, flags, request) in [
        (kind::PING, Flags::NONE, 0),
        (kind::LOOKUP, Flags::NONE, 1),
        (kind::HELLO, Flags::MORE, 0),
        (kind::HELLO, Flags::NONE, 1),
        (kind::PROOF, Flags::NONE, 0),
    ] {
        let mut node = node();
        let conn = node.accept(NOW).unwrap();
        open(&mut node, conn, Role::Listener, B);
        send(&mut node, conn, kind, flags, request, &[]);
        assert_eq!(refused(&mut node), Some(PeerFault::OutOfTurn), "{kind}");
    }
}

#[test]
fn what_the_protocol_does_not_allow_ends_an_admitted_session() {
    use PeerFault::{BadMessage, OutOfTurn, Unrequested};
    for (kind, flags, fault) in [
        (kind::HELLO, Flags::NONE, BadMessage),
        (kind::PROOF, Flags::NONE, BadMessage),
        (0x7f, Flags::NONE, BadMessage),
        (kind::LOOKUP, Flags::NONE, BadMessage),
        (kind::MEMBERS, Flags::NONE, BadMessage),
        (kind::PEERS, Flags::NONE, BadMessage),
        (kind::CLAIM, Flags::MORE, OutOfTurn),
        (kind::DATA, Flags::NONE, BadMessage),
        (kind::DATA, Flags::RESPONSE, Unrequested),
        (kind::PONG, Flags::RESPONSE, Unrequested),
    ] {
        let mut node = node();
        let conn = node.accept(NOW).unwrap();
        admit(&mut node, conn, Role::Listener, B);
        send(&mut node, conn, kind, flags, 5, &[]);
        assert_eq!(down(&mut node), Some(fault), "{kind:#x} {flags:?}");
    }
}

#[test]
fn a_cancel_of_what_is_not_served_changes_nothing() {
    let mut node = node();
    let conn = node.accept(NOW).unwrap();
    admit(&mut node, conn, Role::Listener, B);
    send(&mut node, conn, kind::CANCEL, Flags::NONE, 77, &[]);
    assert_eq!(closed(&mut node), []);
    send(&mut node, conn, kind::PING, Flags::NONE, 0, &[]);
    let kinds: Vec<u8> = sent(&mut node, conn).into_iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [kind::PONG]);
}

fn key() -> ClusterKey {
    ClusterKey::from_bytes([9; 32])
}

/// A node of three replicas whose empty store has been loaded.
fn node() -> Node {
    let mut config = Config::new(ME, key());
    config.bootstrap = [Into::into("b")].into();
    let mut node = Node::new(config, [0; 32], NOW).unwrap();
    store(&mut node);
    node
}

/// Completes every disk operation as an empty store would.
fn store(node: &mut Node) {
    while let Some(op) = node.poll_disk() {
        let data = match op.kind() {
            DiskKind::Load => DiskData::Loaded(Loaded {
                starts: 1,
                ..Loaded::default()
            }),
            _ => DiskData::Done,
        };
        node.handle(NOW, Input::Disk(op.complete(Ok(data))));
    }
}

/// The connection that the node dials.
fn dialled(node: &mut Node) -> ConnId {
    let dial = events(node).into_iter().find_map(|event| match event {
        Event::Dial { conn, .. } => Some(conn),
        _ => None,
    });
    dial.expect("there is an address to dial")
}

/// Opens a connection and gives the node's first frame.
fn open(node: &mut Node, conn: ConnId, role: Role, peer: NodeId) -> Bytes {
    node.handle(NOW, Input::Opened { conn, role, peer });
    sent(node, conn).remove(0).body
}

/// Opens a connection and plays the peer's part until it is admitted.
fn admit(node: &mut Node, conn: ConnId, role: Role, peer: NodeId) {
    let hello = open(node, conn, role, peer);
    let mut admission = Admission::new(peer, role.other(), ME, [4; 32], 100);
    let proof = admission.take_hello(&hello, &key()).unwrap();
    for (kind, body) in [
        (kind::HELLO, admission.hello().clone()),
        (kind::PROOF, proof),
    ] {
        send(node, conn, kind, Flags::NONE, 0, &body);
    }
    let told: Vec<Frame> = sent(node, conn);
    assert!(admission.take_proof(&told[0].body, &[key()]).is_ok());
}

fn joining(counter: u64) -> Member {
    Member {
        counter,
        state: State::Joining,
        weight: 1,
        zone: 0,
    }
}

/// Sends a member map with one entry.
fn tell(node: &mut Node, conn: ConnId, of: NodeId, member: Member) {
    let update = MembersUpdate {
        entries: [MemberEntry { node: of, member }].into(),
        holding: false,
    };
    let body = message::encode(&update);
    send(node, conn, kind::MEMBERS, Flags::NONE, 0, &body);
    store(node);
}

fn send(node: &mut Node, conn: ConnId, kind: u8, flags: Flags, request: u32, body: &[u8]) {
    let mut out = BytesMut::new();
    message::append(&mut out, kind, flags, request, body).unwrap();
    let data = out.freeze();
    node.handle(NOW, Input::Received { conn, data });
}

/// The frames that the node has for a connection.
fn sent(node: &mut Node, conn: ConnId) -> Vec<Frame> {
    let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
    let mut frames = Vec::new();
    while let Some(mut bytes) = node.poll_transmit(conn, usize::MAX) {
        while let Some(frame) = decoder.decode(&mut bytes).unwrap() {
            frames.push(frame);
        }
    }
    frames
}

fn events(node: &mut Node) -> Vec<Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

fn closed(node: &mut Node) -> Vec<ConnId> {
    let close = |event| match event {
        Event::Close { conn } => Some(conn),
        _ => None,
    };
    events(node).into_iter().filter_map(close).collect()
}

fn refused(node: &mut Node) -> Option<PeerFault> {
    events(node).into_iter().find_map(|event| match event {
        Event::Refused { fault, .. } => fault,
        _ => None,
    })
}

fn down(node: &mut Node) -> Option<PeerFault> {
    events(node).into_iter().find_map(|event| match event {
        Event::PeerDown { fault, .. } => fault,
        _ => None,
    })
}

fn state(node: &Node) -> State {
    let members = node.status().members;
    let own = members.iter().find(|(node, _)| *node == ME);
    own.expect("a node is in its own map").1.state
}
