//! The member map against peers that tell too much.

use bytes::BytesMut;
use peerhold_core::disk::DiskKind;
use peerhold_core::members::{Member, MemberEntry, Members, State};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, MembersUpdate, kind};
use peerhold_core::{Event, Input, NodeId};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, active, config, member};

fn update(entries: &[(NodeId, Member)]) -> MembersUpdate {
    let entry = |(node, member): &(NodeId, Member)| MemberEntry {
        node: *node,
        member: *member,
    };
    MembersUpdate {
        entries: entries.iter().map(entry).collect(),
        holding: false,
    }
}

fn own(host: &Host) -> Member {
    let members = host.node.status().members;
    members.iter().find(|(node, _)| *node == ME).unwrap().1
}

#[test]
fn however_often_the_map_changes_it_is_told_and_written_once_at_a_time() {
    let mut host = Host::new(config(ME));
    host.hold_back = Some(|_| true);
    let peer = Peer::admitted(&mut host, id(1));
    host.events.clear();
    let mut all = BytesMut::new();
    for counter in 1..=1000 {
        let member = Member {
            counter,
            ..member(State::Joining)
        };
        let body = message::encode(&update(&[(id(2), member)]));
        message::append(&mut all, kind::MEMBERS, Flags::NONE, 0, &body).unwrap();
    }
    let (conn, data) = (peer.conn, all.freeze());
    host.handle(Input::Received { conn, data });
    host.run();
    assert_eq!(host.events, [Event::Members]);
    assert_eq!(host.held_back.len(), 1);
    host.release();
    assert_eq!(host.disk.members, Some(map_of(&host)));
}

/// The node's map as it is kept.
fn map_of(host: &Host) -> bytes::Bytes {
    let members = host.node.status().members.into_iter();
    members.collect::<Members>().encode()
}

#[test]
fn what_peers_tell_before_the_store_is_loaded_is_added_to_what_was_kept() {
    let kept = [ME, id(1), id(2)];
    let mut host = Host::loading(config(ME), Some(active(&kept)));
    assert!(!host.node.status().ready);
    let peer = Peer::admitted(&mut host, id(1));
    let told = [
        (id(3), member(State::Active)),
        (
            id(2),
            Member {
                counter: 9,
                ..member(State::Gone)
            },
        ),
    ];
    peer.tell(&mut host, kind::MEMBERS, &update(&told));
    let only_load = |op: &peerhold_core::DiskOp| *op.kind() == DiskKind::Load;
    assert!(
        host.held_back.iter().all(only_load),
        "nothing is written yet"
    );
    host.release();
    let members = host.node.status().members;
    let states: Vec<_> = members
        .iter()
        .map(|(node, member)| (*node, member.state))
        .collect();
    assert_eq!(
        states,
        [
            (id(1), State::Active),
            (id(2), State::Gone),
            (id(3), State::Active),
            (ME, State::Active),
        ]
    );
    assert_eq!(host.disk.members, Some(map_of(&host)));
}

#[test]
fn a_node_says_itself_how_much_it_stores_and_where_it_stands() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    let lie = Member {
        counter: 77,
        state: State::Active,
        weight: 0,
        zone: 5,
    };
    peer.tell(&mut host, kind::MEMBERS, &update(&[(ME, lie)]));
    let right = Member {
        counter: 78,
        weight: 1,
        zone: 0,
        ..lie
    };
    assert_eq!(own(&host), right);
    let told = peer.asked(&mut host, kind::MEMBERS);
    let told: MembersUpdate = message::decode(&told.last().unwrap().body).unwrap();
    assert!(told.entries.contains(&MemberEntry {
        node: ME,
        member: right
    }));
}

#[test]
fn the_greatest_counter_there_is_breaks_nothing() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let peer = Peer::admitted(&mut host, id(1));
    for weight in [0, 7, u16::MAX] {
        let lie = Member {
            counter: u64::MAX,
            state: State::Gone,
            weight,
            zone: 0,
        };
        peer.tell(
            &mut host,
            kind::MEMBERS,
            &update(&[(ME, lie), (id(2), lie)]),
        );
    }
    assert!(!host.has_closed(peer.conn));
    let kept = host.disk.members.clone();
    let mut again = Host::loading(config(ME), kept);
    again.release();
    assert!(again.node.status().ready);
}

#[test]
fn members_beyond_the_limit_are_passed_over() {
    let mut config = config(ME);
    config.limits.members = 3;
    let mut host = Host::new(config);
    let peer = Peer::admitted(&mut host, id(1));
    let many: Vec<_> = (1..100)
        .map(|at| (id(at), member(State::Joining)))
        .collect();
    for part in many.chunks(10) {
        peer.tell(&mut host, kind::MEMBERS, &update(part));
    }
    assert_eq!(host.node.status().members.len(), 3);
    assert!(!host.has_closed(peer.conn));
}

#[test]
fn a_node_that_is_told_lies_faster_than_its_driver_looks_stops_reading() {
    let mut config = config(ME);
    config.limits.connections = 4;
    let mut host = Host::new(config);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    let keep = crate::lies::forged_keep();
    for request in 0..17 {
        let data = crate::fake_peer::frame(kind::KEEP, Flags::NONE, request, &keep);
        let conn = peer.conn;
        host.handle(Input::Received { conn, data });
        while let Some(job) = host.node.poll_job() {
            host.handle(Input::Job(job.run()));
        }
    }
    assert_eq!(host.node.read_budget(peer.conn), 0);
    host.run();
    assert!(host.node.read_budget(peer.conn) > 0);
}
