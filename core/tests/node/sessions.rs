//! Admitted sessions: addresses, signs of life, one session for each peer.

use std::time::Duration;

use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, PeerEntry, PeersUpdate, kind};
use peerhold_core::{ConnId, Event, NodeId, PeerFault, Role};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, config};

/// The dials that the node has asked for: connection, address, whom to expect.
fn dials(host: &mut Host) -> Vec<(ConnId, String, Option<NodeId>)> {
    let dial = |event| match event {
        Event::Dial { conn, addr, expect } => Some((conn, addr.to_string(), expect)),
        _ => None,
    };
    host.take_events().into_iter().filter_map(dial).collect()
}

fn tell_addresses(peer: &Peer, host: &mut Host, told: &[(NodeId, &str)]) {
    let entry = |(node, addr): &(NodeId, &str)| PeerEntry {
        node: *node,
        addresses: [String::from(*addr)].into(),
    };
    let peers = told.iter().map(entry).collect();
    peer.tell(host, kind::PEERS, &PeersUpdate { peers });
    host.pass(Duration::ZERO);
}

#[test]
fn what_peers_tell_never_keeps_a_configured_address_from_being_dialled() {
    let mut config = config(ME);
    config.bootstrap = [Into::into("first")].into();
    let mut host = Host::new(config);
    let (conn, ..) = dials(&mut host).remove(0);
    let liar = Peer::admitted(&mut host, id(1));
    tell_addresses(&liar, &mut host, &[(id(1), "first")]);
    host.handle(peerhold_core::Input::DialFailed { conn });
    host.pass(Duration::from_secs(1));
    assert_eq!(dials(&mut host).len(), 1);
}

#[test]
fn who_is_found_at_a_configured_address_is_told_to_those_who_came_before() {
    let mut config = config(ME);
    config.bootstrap = [Into::into("first")].into();
    let mut host = Host::new(config);
    let (conn, ..) = dials(&mut host).remove(0);
    let told = |host: &mut Host, peer: &mut Peer| {
        let last = peer.asked(host, kind::PEERS).pop()?;
        let update: PeersUpdate = message::decode(&last.body).unwrap();
        let entry = update.peers.into_iter().find(|entry| entry.node == id(2));
        entry.map(|entry| entry.addresses)
    };
    let mut before = Peer::admitted(&mut host, id(1));
    assert_eq!(told(&mut host, &mut before), None);
    let mut found = Peer::on(&mut host, id(2), conn, Role::Dialer);
    found.admit(&mut host);
    assert_eq!(told(&mut host, &mut before), Some(["first".into()].into()));
}

#[test]
fn addresses_that_peers_tell_are_not_dialled_all_at_once() {
    let mut config = config(ME);
    config.limits.connections = 16;
    let mut host = Host::new(config);
    let liar = Peer::admitted(&mut host, id(1));
    let addrs: Vec<String> = (0..60).map(|at| format!("nobody:{at}")).collect();
    let told: Vec<_> = (100..)
        .map(id)
        .zip(addrs.iter().map(|addr| &**addr))
        .collect();
    tell_addresses(&liar, &mut host, &told);
    let first = dials(&mut host);
    assert_eq!(first.len(), 4);
    assert!(host.node.accept(host.now).is_ok());
    for (conn, ..) in first {
        host.handle(peerhold_core::Input::DialFailed { conn });
    }
    host.pass(Duration::ZERO);
    assert_eq!(dials(&mut host).len(), 4);
}

#[test]
fn one_address_of_a_node_is_dialled_at_a_time() {
    let mut host = Host::new(config(ME));
    let teller = Peer::admitted(&mut host, id(1));
    tell_addresses(&teller, &mut host, &[(id(2), "here"), (id(2), "there")]);
    let (conn, first, _) = {
        let mut dials = dials(&mut host);
        assert_eq!(dials.len(), 1);
        dials.remove(0)
    };
    host.handle(peerhold_core::Input::DialFailed { conn });
    host.pass(Duration::ZERO);
    let second = dials(&mut host);
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].1, first);
}

#[test]
fn an_address_that_is_none_is_neither_dialled_nor_told_on() {
    let mut host = Host::new(config(ME));
    let teller = Peer::admitted(&mut host, id(1));
    let mut other = Peer::admitted(&mut host, id(2));
    other.received(&mut host);
    let long = "a".repeat(257);
    for text in [
        "",
        &long,
        "here:1 ",
        "here:1\0",
        "here:1\nerror: all is lost",
        "\x1b]0;title\x07here:1",
        "\u{9b}2Jhere:1",
        "here:1\x7f",
        "\u{202e}1:ereh",
        "here\u{2067}:1",
        "here\u{61c}:1",
        "here\u{2029}:1",
    ] {
        tell_addresses(&teller, &mut host, &[(id(3), text)]);
        assert_eq!(dials(&mut host), [], "{text:?}");
    }
    assert!(other.asked(&mut host, kind::PEERS).is_empty());
    assert!(!host.has_closed(teller.conn), "they are passed over");
    let longest = format!("b\u{fc}cher.example:{}", "1".repeat(256 - 16));
    tell_addresses(&teller, &mut host, &[(id(3), &longest)]);
    assert_eq!(dials(&mut host)[0].1, longest);
}

#[test]
fn a_silent_peer_is_asked_for_a_sign_of_life_and_then_let_go_of() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    host.pass(Duration::from_millis(14_999));
    assert!(peer.received(&mut host).is_empty());
    host.pass(Duration::from_millis(1));
    let frames = peer.received(&mut host);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].kind, kind::PING);
    host.pass(Duration::from_millis(29_999));
    assert!(!host.has_closed(peer.conn));
    host.pass(Duration::from_millis(1));
    assert_eq!(peer.fault(&mut host), Some(PeerFault::Silent));
}

#[test]
fn a_peer_that_gives_signs_of_life_stays() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    for _ in 0..20 {
        host.pass(Duration::from_secs(14));
        peer.send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
        peer.received(&mut host);
    }
    assert!(!host.has_closed(peer.conn));
    peer.send(&mut host, kind::PING, Flags::NONE, 0, &[]);
    let kinds: Vec<u8> = peer
        .received(&mut host)
        .iter()
        .map(|frame| frame.kind)
        .collect();
    assert_eq!(kinds, [kind::PONG]);
}

/// A dialled and an accepted connection with `peer`, admitted in either order.
/// Gives the role of the one that stays.
fn simultaneous(peer: NodeId, dialled_first: bool) -> Role {
    let mut config = config(ME);
    config.bootstrap = [Into::into("peer")].into();
    let mut host = Host::new(config);
    let (dialled, ..) = dials(&mut host).remove(0);
    let accepted = host.node.accept(host.now).unwrap();
    let mut ours = Peer::on(&mut host, peer, dialled, Role::Dialer);
    let mut theirs = Peer::on(&mut host, peer, accepted, Role::Listener);
    if dialled_first {
        ours.admit(&mut host);
        theirs.admit(&mut host);
    } else {
        theirs.admit(&mut host);
        ours.admit(&mut host);
    }
    let (dialled_ended, accepted_ended) = (host.has_closed(dialled), host.has_closed(accepted));
    assert_ne!(dialled_ended, accepted_ended, "one of two stays");
    let events = host.take_events();
    let ups = events
        .iter()
        .filter(|event| matches!(event, Event::PeerUp { .. }));
    assert_eq!(ups.count(), 1);
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::PeerDown { .. }))
    );
    assert_eq!(host.node.status().peers.len(), 1);
    if dialled_ended {
        Role::Listener
    } else {
        Role::Dialer
    }
}

#[test]
fn of_two_sessions_the_one_dialled_by_the_lesser_node_stays_in_whatever_order() {
    for dialled_first in [true, false] {
        assert_eq!(simultaneous(id(0xff), dialled_first), Role::Dialer);
        assert_eq!(simultaneous(id(1), dialled_first), Role::Listener);
    }
}

#[test]
fn of_two_sessions_that_a_peer_dialled_the_later_stays() {
    let mut host = Host::new(config(ME));
    let first = Peer::admitted(&mut host, id(1));
    let second = Peer::admitted(&mut host, id(1));
    assert!(host.has_closed(first.conn) && !host.has_closed(second.conn));
    assert_eq!(host.node.status().peers[0].conn, second.conn);
    first.reset(&mut host);
    assert_eq!(host.node.status().peers[0].conn, second.conn);
}
