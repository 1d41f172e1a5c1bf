//! Who gets a session while a node runs: denied nodes, cluster keys that
//! change, addresses at which only one node will do.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{PeerEntry, PeersUpdate, kind};
use peerhold_core::{
    Bootstrap, ClusterKey, Config, ConfigError, ConnId, Event, Input, NodeId, PeerAddr, PeerFault,
    Role, TicketError,
};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, config, key};

fn new_key() -> ClusterKey {
    ClusterKey::from_bytes([10; 32])
}

fn dials(host: &mut Host) -> Vec<(ConnId, Option<NodeId>)> {
    let dial = |event| match event {
        Event::Dial { conn, expect, .. } => Some((conn, expect)),
        _ => None,
    };
    host.take_events().into_iter().filter_map(dial).collect()
}

fn tell_address(teller: &Peer, host: &mut Host, node: NodeId) {
    let addresses = ["there".into()].into();
    let peers = [PeerEntry { node, addresses }].into();
    teller.tell(host, kind::PEERS, &PeersUpdate { peers });
    host.pass(Duration::ZERO);
}

#[test]
fn a_node_that_is_denied_loses_its_session_at_once_and_gets_no_other() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let peer = Peer::admitted(&mut host, id(1));
    let halfway = Peer::open(&mut host, id(1));
    let members = host.node.status().members;
    assert!(host.node.deny(host.now, id(1)));
    assert!(!host.node.deny(host.now, id(1)));
    assert!(host.has_closed(halfway.conn));
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Denied));
    peer.reset(&mut host);
    halfway.reset(&mut host);
    host.events.clear();
    let again = Peer::open(&mut host, id(1));
    let refused = Event::Refused {
        conn: again.conn,
        peer: Some(id(1)),
        fault: Some(PeerFault::Denied),
        reason: None,
    };
    assert!(host.take_events().contains(&refused));
    let status = host.node.status();
    assert_eq!((status.peers.len(), status.denied), (0, vec![id(1)]));
    assert_eq!(status.members, members, "it is like one that is away");
}

#[test]
fn nothing_that_a_denied_node_sends_is_taken() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::open(&mut host, id(1));
    let hello = peer.received(&mut host).remove(0).body;
    let proof = peer.admission.take_hello(&hello, &key()).unwrap();
    host.node.deny(host.now, id(1));
    let own = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &own);
    peer.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    assert!(host.node.status().peers.is_empty());
    assert_eq!(peer.received(&mut host).len(), 0);
}

#[test]
fn a_denied_node_is_not_dialled_until_it_is_pardoned() {
    let mut config = config(ME);
    config.deny = [id(2)].into();
    let mut host = Host::new(config);
    let teller = Peer::admitted(&mut host, id(1));
    tell_address(&teller, &mut host, id(2));
    assert_eq!(dials(&mut host), []);
    assert!(host.node.pardon(host.now, id(2)));
    assert!(!host.node.pardon(host.now, id(2)));
    host.pass(Duration::from_secs(1));
    assert_eq!(dials(&mut host)[0].1, Some(id(2)));
}

#[test]
fn a_configured_address_at_which_a_denied_node_is_found_is_left_alone() {
    let mut config = config(ME);
    config.bootstrap = ["there".into()].into();
    config.deny = [id(2)].into();
    let mut host = Host::new(config);
    let (conn, _) = dials(&mut host)[0];
    let peer = Peer::on(&mut host, id(2), conn, Role::Dialer);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Denied));
    peer.reset(&mut host);
    host.events.clear();
    host.pass(Duration::from_secs(3600));
    assert_eq!(dials(&mut host), []);
    host.node.pardon(host.now, id(2));
    host.pass(Duration::from_secs(1));
    assert_eq!(dials(&mut host).len(), 1);
}

#[test]
fn a_node_does_not_deny_itself() {
    let mut host = Host::new(config(ME));
    assert!(!host.node.deny(host.now, ME));
    let mut config = config(ME);
    config.deny = [ME].into();
    assert_eq!(config.check(), Err(ConfigError::DeniesItself));
}

#[test]
fn at_a_pinned_address_only_the_one_named_will_do() {
    let mut config = config(ME);
    config.bootstrap = [Bootstrap::pinned("there", id(2))].into();
    let mut host = Host::new(config);
    let (conn, expect) = dials(&mut host)[0];
    assert_eq!(expect, Some(id(2)));
    let other = Peer::on(&mut host, id(3), conn, Role::Dialer);
    assert_eq!(other.fault(&mut host), Some(PeerFault::WrongPeer));
    other.reset(&mut host);
    host.pass(Duration::from_secs(1));
    let (conn, expect) = *dials(&mut host).last().unwrap();
    assert_eq!(expect, Some(id(2)));
    let mut right = Peer::on(&mut host, id(2), conn, Role::Dialer);
    right.admit(&mut host);
    assert_eq!(host.node.status().peers[0].peer, id(2));
}

/// Opens a connection, takes the node's hello, and proves a key. Says with
/// which keys the node's own proof is right.
fn prove(host: &mut Host, peer: &mut Peer, key: &ClusterKey) -> [bool; 2] {
    let hello = peer.received(host).remove(0).body;
    let proof = peer.admission.take_hello(&hello, key).unwrap();
    let own = peer.admission.hello().clone();
    peer.send(host, kind::HELLO, Flags::NONE, 0, &own);
    peer.send(host, kind::PROOF, Flags::NONE, 0, &proof);
    let proven: Bytes = peer.received(host).remove(0).body;
    [self::key(), new_key()].map(|key| peer.admission.take_proof(&proven, &[key]).is_ok())
}

fn with_keys(keys: &[ClusterKey]) -> Config {
    Config {
        cluster_keys: keys.to_vec(),
        ..config(ME)
    }
}

#[test]
fn a_cluster_key_is_changed_in_three_steps_and_whoever_has_only_the_old_one_is_out() {
    let mut host = Host::new(with_keys(&[key()]));
    let admitted = |host: &Host| host.node.status().peers.len();
    let mut early = Peer::open(&mut host, id(1));
    prove(&mut host, &mut early, &new_key());
    assert_eq!(early.fault(&mut host), Some(PeerFault::WrongKey));

    // First both are accepted: nobody notices.
    let now = host.now;
    let mut old = Peer::open(&mut host, id(2));
    assert_eq!(prove(&mut host, &mut old, &key()), [true, false]);
    host.node
        .set_cluster_keys(now, [key(), new_key()].into())
        .unwrap();
    let mut new = Peer::open(&mut host, id(3));
    assert_eq!(prove(&mut host, &mut new, &new_key()), [true, false]);
    // Then the new one is proven.
    host.node
        .set_cluster_keys(now, [new_key(), key()].into())
        .unwrap();
    let mut late = Peer::open(&mut host, id(4));
    assert_eq!(prove(&mut host, &mut late, &key()), [false, true]);
    assert_eq!(admitted(&host), 3);
    // Then the old one is dropped, with whoever has proven that.
    host.node.set_cluster_keys(now, [new_key()].into()).unwrap();
    for peer in [&old, &late] {
        assert_eq!(peer.fault(&mut host), Some(PeerFault::WrongKey));
        peer.reset(&mut host);
    }
    assert!(!host.has_closed(new.conn));
    host.events.clear();
    let mut back = Peer::open(&mut host, id(2));
    assert_eq!(prove(&mut host, &mut back, &new_key()), [false, true]);
    let mut out = Peer::open(&mut host, id(4));
    prove(&mut host, &mut out, &key());
    assert_eq!(out.fault(&mut host), Some(PeerFault::WrongKey));
    assert_eq!(admitted(&host), 2);
}

#[test]
fn without_any_key_nothing_changes() {
    let mut host = Host::new(with_keys(&[key()]));
    let peer = Peer::admitted(&mut host, id(1));
    let refused = host.node.set_cluster_keys(host.now, Vec::new());
    assert_eq!(refused, Err(ConfigError::NoClusterKey));
    assert!(!host.has_closed(peer.conn));
    Peer::admitted(&mut host, id(2));
}

#[test]
fn a_key_dropped_while_a_peer_is_being_admitted_admits_it_no_more() {
    let mut host = Host::new(with_keys(&[key()]));
    let mut peer = Peer::open(&mut host, id(1));
    let hello = peer.received(&mut host).remove(0).body;
    let proof = peer.admission.take_hello(&hello, &key()).unwrap();
    let own = peer.admission.hello().clone();
    peer.send(&mut host, kind::HELLO, Flags::NONE, 0, &own);
    host.node
        .set_cluster_keys(host.now, [new_key()].into())
        .unwrap();
    peer.send(&mut host, kind::PROOF, Flags::NONE, 0, &proof);
    assert_eq!(peer.fault(&mut host), Some(PeerFault::WrongKey));
    let (conn, role) = (peer.conn, Role::Listener);
    host.handle(Input::Opened {
        conn,
        role,
        peer: id(1),
    });
    assert!(host.node.status().peers.is_empty());
}

#[test]
fn a_nodes_ticket_leads_to_itself_and_to_peers_that_it_has_dialled() {
    let mut config = config(ME);
    config.cluster_keys.push(new_key());
    config.bootstrap = ["second".into()].into();
    config.advertise = ["here", "here too", "here:2", "here:3", "here:4", "here:5"]
        .map(PeerAddr::from)
        .into();
    let mut host = Host::new(config);
    let (conn, _) = dials(&mut host)[0];
    let mut second = Peer::on(&mut host, id(2), conn, Role::Dialer);
    second.admit(&mut host);
    Peer::admitted(&mut host, id(3));
    let ticket = host.node.ticket().unwrap();
    assert!(*ticket.cluster_key() == key());
    let pinned = [
        ("here", ME),
        ("second", id(2)),
        ("here:2", ME),
        ("here:3", ME),
    ];
    let pinned = pinned.map(|(addr, node)| Bootstrap::pinned(addr, node));
    assert_eq!(ticket.bootstrap(), pinned);
}

#[test]
fn a_node_that_knows_no_address_has_no_ticket() {
    let mut host = Host::new(config(ME));
    Peer::admitted(&mut host, id(1));
    assert_eq!(host.node.ticket(), Err(TicketError::Addresses(0)));
}
