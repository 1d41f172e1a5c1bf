//! Bandwidth, frames that do not come to their end, and places for those who
//! come.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::seal::BLOB_MAX;
use peerhold_core::wire::frame::{BODY_MAX, Flags};
use peerhold_core::wire::message::{Fetch, kind};
use peerhold_core::{
    BlobId, Busy, CloseReason, Config, ConfigError, ConnId, Event, Input, PeerFault, Role,
};

use crate::fake_peer::{Peer, frame, id};
use crate::host::{Host, ME, config, noise};

const RATE: u64 = 100 << 10;
/// What one connection moves in one turn.
const SHARE: usize = RATE as usize / 50;

fn paced(change: impl FnOnce(&mut Config)) -> Host {
    let mut config = config(ME);
    change(&mut config);
    Host::new(config)
}

/// Takes all that the node gives for a connection now.
fn take(host: &mut Host, conn: ConnId) -> usize {
    let mut taken = 0;
    while let Some(bytes) = host.node.poll_transmit(conn, usize::MAX) {
        taken += bytes.len();
        host.run();
    }
    taken
}

/// Has these peers fetch a blob of 1 MiB each, and counts what each gets in so
/// many steps of 5 ms, looking only where the node says that there is something.
fn fetched(host: &mut Host, peers: &mut [Peer], steps: usize) -> Vec<usize> {
    let blob = Bytes::from(noise(BLOB_MAX));
    let id = BlobId::of(&blob);
    host.disk.blobs.insert(id, blob);
    for peer in peers.iter_mut() {
        let max = BLOB_MAX as u32;
        peer.ask(host, kind::FETCH, &Fetch { id, max });
    }
    let mut got = vec![0; peers.len()];
    for _ in 0..steps {
        while let Some(conn) = host.node.poll_dirty() {
            if let Some(at) = peers.iter().position(|peer| peer.conn == conn) {
                got[at] += take(host, conn);
            }
        }
        host.now = host.now.saturating_add(Duration::from_millis(5));
        host.node.handle_timeout(host.now);
        host.run();
    }
    got
}

#[test]
fn what_goes_out_keeps_to_the_configured_pace_and_peers_have_equal_parts() {
    let mut host = paced(|config| config.limits.upload = Some(RATE));
    let mut peers: Vec<Peer> = (1..=2)
        .map(|at| Peer::admitted(&mut host, id(at)))
        .collect();
    let got = fetched(&mut host, &mut peers, 1000);
    let sum: usize = got.iter().sum();
    // Five seconds of it, and what admission took of the first turn.
    let whole = 5 * RATE as usize;
    assert!(
        (whole * 9 / 10..=whole + 2 * SHARE).contains(&sum),
        "{got:?}"
    );
    assert!(got[0].abs_diff(got[1]) <= 2 * SHARE, "{got:?}");
}

#[test]
fn one_peer_alone_has_the_whole_pace_and_without_one_there_is_none() {
    let mut host = paced(|config| config.limits.upload = Some(RATE));
    let mut peer = [Peer::admitted(&mut host, id(1))];
    let got = fetched(&mut host, &mut peer, 1000)[0];
    assert!(got >= 5 * RATE as usize * 9 / 10, "{got}");
    let mut host = paced(|_| {});
    let mut peer = [Peer::admitted(&mut host, id(1))];
    assert!(fetched(&mut host, &mut peer, 1)[0] > BLOB_MAX);
}

#[test]
fn a_session_that_is_over_says_its_last_words_at_once() {
    let mut host = paced(|config| config.limits.upload = Some(RATE));
    let mut peer = [Peer::admitted(&mut host, id(1))];
    fetched(&mut host, &mut peer, 1);
    let conn = peer[0].conn;
    assert_eq!(take(&mut host, conn), 0);
    assert!(host.node.sends_later(conn));
    host.node.deny(host.now, id(1));
    assert!(!host.node.sends_later(conn));
    take(&mut host, conn);
    assert_eq!(host.node.poll_transmit(conn, usize::MAX), None);
}

#[test]
fn what_comes_in_is_left_in_its_socket_until_its_turn() {
    let mut host = paced(|config| config.limits.download = Some(RATE));
    let peers: Vec<Peer> = (1..=2)
        .map(|at| Peer::admitted(&mut host, id(at)))
        .collect();
    host.pass(Duration::from_millis(100));
    while host.node.poll_dirty().is_some() {}
    let conns = [peers[0].conn, peers[1].conn];
    let budgets = |host: &Host| conns.map(|conn| host.node.read_budget(conn));
    assert_eq!(budgets(&host), [SHARE, SHARE]);
    // The beginning of a frame that is longer than a turn.
    let data = frame(kind::PEERS, Flags::NONE, 0, &[0; BODY_MAX as usize]);
    peers[0].send_raw(&mut host, data.slice(..SHARE));
    assert_eq!(budgets(&host), [0, SHARE]);
    peers[1].send_raw(&mut host, data.slice(..SHARE));
    assert_eq!(budgets(&host), [0, 0]);
    host.now = host.now.saturating_add(Duration::from_millis(39));
    host.node.handle_timeout(host.now);
    assert_eq!((budgets(&host), host.node.poll_dirty()), ([0, 0], None));
    host.now = host.now.saturating_add(Duration::from_millis(1));
    host.node.handle_timeout(host.now);
    assert_eq!(budgets(&host), [SHARE, SHARE]);
    let dirty = [host.node.poll_dirty(), host.node.poll_dirty()];
    assert_eq!(dirty, conns.map(Some));
}

#[test]
fn too_little_bandwidth_is_no_configuration() {
    for change in [
        (|config| config.limits.upload = Some(65_535)) as fn(&mut Config),
        |config| config.limits.download = Some(65_535),
    ] {
        let mut config = config(ME);
        change(&mut config);
        assert_eq!(config.check(), Err(ConfigError::LittleBandwidth(65_535)));
    }
}

#[test]
fn a_peer_that_dribbles_a_frame_is_let_go_of_though_it_is_never_silent() {
    // In a header, and in a body.
    for begun in [0, 30] {
        let mut host = Host::new(config(ME));
        let mut peer = Peer::admitted(&mut host, id(1));
        let data = frame(kind::PEERS, Flags::NONE, 0, &[0; 1000]);
        peer.send_raw(&mut host, data.slice(..begun));
        let mut seconds = 0;
        while !host.has_closed(peer.conn) {
            let at = begun + seconds % 8;
            peer.send_raw(&mut host, data.slice(at..=at));
            host.pass(Duration::from_secs(1));
            peer.received(&mut host);
            seconds += 1;
            assert!(seconds < 100, "it stays for ever");
        }
        assert_eq!(seconds, 45);
        assert_eq!(peer.fault(&mut host), Some(PeerFault::Silent));
    }
}

#[test]
fn a_peer_whose_frames_come_slowly_and_whole_stays() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    let ping = frame(kind::PING, Flags::NONE, 0, &[]);
    for second in 0..200 {
        let at = second % ping.len();
        peer.send_raw(&mut host, ping.slice(at..=at));
        host.pass(Duration::from_secs(1));
        peer.received(&mut host);
    }
    assert!(!host.has_closed(peer.conn));
}

#[test]
fn a_frame_that_this_node_reads_slowly_is_waited_for() {
    let mut host = paced(|config| {
        config.limits.download = Some(RATE);
        config.timing.keep_alive = Duration::from_millis(50);
        config.timing.idle = Duration::from_millis(150);
    });
    let mut peer = Peer::admitted(&mut host, id(1));
    let data = frame(kind::PEERS, Flags::NONE, 0, &[0; BODY_MAX as usize]);
    let mut sent = 0;
    while sent + SHARE < data.len() {
        let budget = host.node.read_budget(peer.conn);
        peer.send_raw(&mut host, data.slice(sent..sent + budget));
        sent += budget;
        host.pass(Duration::from_millis(10));
        peer.received(&mut host);
        assert!(!host.has_closed(peer.conn), "after {sent} bytes");
    }
}

/// Whether the node has closed it, of which the driver then tells.
fn gone(host: &mut Host, conn: ConnId) -> bool {
    let gone = host.has_closed(conn);
    if gone {
        let reason = CloseReason::Local;
        host.handle(Input::Closed { conn, reason });
    }
    gone
}

#[test]
fn who_comes_takes_the_place_of_who_has_been_on_its_way_for_longest() {
    let mut host = paced(|config| config.limits.connections = 6);
    let inside = [1, 2].map(|at| Peer::admitted(&mut host, id(at)));
    let accept = |host: &mut Host| host.node.accept(host.now).unwrap();
    let first = [accept(&mut host), accept(&mut host), accept(&mut host)];
    assert!(!host.take_events().contains(&Event::Crowded));
    let fourth = accept(&mut host);
    assert!(gone(&mut host, first[0]) && !gone(&mut host, first[1]));
    // One that has opened, and has not proven anything, is no better.
    let (role, peer) = (Role::Listener, id(3));
    let conn = first[1];
    host.handle(Input::Opened { conn, role, peer });
    let fifth = accept(&mut host);
    assert!(gone(&mut host, first[1]));
    let crowded = |event: &&Event| **event == Event::Crowded;
    assert_eq!(host.events.iter().filter(crowded).count(), 1, "in a second");
    for conn in [first[2], fourth, fifth, inside[0].conn, inside[1].conn] {
        assert!(!gone(&mut host, conn));
    }
    // Who is admitted makes room for others, and gives way to nobody.
    let mut last = Peer::on(&mut host, id(4), fifth, Role::Listener);
    last.admit(&mut host);
    let sixth = accept(&mut host);
    assert!(!gone(&mut host, first[2]) && !gone(&mut host, sixth));
}

#[test]
fn where_all_are_admitted_who_comes_is_turned_away() {
    let mut host = paced(|config| config.limits.connections = 2);
    let inside = [1, 2].map(|at| Peer::admitted(&mut host, id(at)));
    assert_eq!(host.node.accept(host.now), Err(Busy(())));
    assert!(host.take_events().contains(&Event::Crowded));
    inside[0].reset(&mut host);
    assert!(host.node.accept(host.now).is_ok());
}
