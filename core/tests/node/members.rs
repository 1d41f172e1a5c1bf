//! The member map against peers that tell too much.

use std::time::Duration;

use bytes::BytesMut;
use peerhold_core::disk::{DiskError, DiskKind};
use peerhold_core::members::{Member, MemberEntry, Members, State};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{self, MembersUpdate, kind};
use peerhold_core::{Event, Input, NodeId};

use crate::fake_peer::{Peer, id};
use crate::host::{Host, ME, active, config, member};

pub(crate) fn update(entries: &[(NodeId, Member)]) -> MembersUpdate {
    let entry = |(node, member): &(NodeId, Member)| MemberEntry {
        node: *node,
        member: *member,
    };
    MembersUpdate {
        entries: entries.iter().map(entry).collect(),
        holding: false,
    }
}

pub(crate) fn own(host: &Host) -> Member {
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
        let body = message::encode(&update(&[(id(1), member)]));
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
        (id(1), member(State::Active)),
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
            (id(2), State::Active),
            (id(3), State::Active),
            (ME, State::Active),
        ]
    );
    assert_eq!(host.disk.members, Some(map_of(&host)));
}

#[test]
fn nothing_that_peers_say_of_a_node_changes_what_it_is_itself() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut peer = Peer::admitted(&mut host, id(1));
    peer.received(&mut host);
    for (state, weight) in [(State::Active, 0), (State::Gone, 1), (State::Joining, 9)] {
        let lie = Member {
            counter: u64::MAX,
            state,
            weight,
            zone: 5,
        };
        peer.tell(&mut host, kind::MEMBERS, &update(&[(ME, lie)]));
        assert_eq!(own(&host), member(State::Active));
    }
    let told = peer.asked(&mut host, kind::MEMBERS);
    assert!(told.is_empty(), "nor does it answer lies");
}

#[test]
fn a_node_that_is_called_active_has_not_joined_by_that() {
    let mut host = Host::new(config(ME));
    let peer = Peer::admitted(&mut host, id(1));
    let told = [(id(1), member(State::Active)), (ME, member(State::Active))];
    peer.tell(&mut host, kind::MEMBERS, &update(&told));
    assert_eq!(own(&host).state, State::Joining);
}

#[test]
fn the_greatest_counter_there_is_neither_breaks_nor_changes_anything() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let before = host.node.status().members;
    let peer = Peer::admitted(&mut host, id(1));
    for weight in [0, 7, u16::MAX] {
        let lie = Member {
            counter: u64::MAX,
            state: State::Gone,
            weight,
            zone: 0,
        };
        let update = update(&[(ME, lie), (id(2), lie)]);
        peer.tell(&mut host, kind::MEMBERS, &update);
    }
    assert!(!host.has_closed(peer.conn));
    assert_eq!(host.node.status().members, before);
}

#[test]
fn a_member_that_says_itself_what_it_is_is_believed_whatever_was_told_before() {
    let mut host = Host::founded(config(ME), &[id(1)]);
    let liar = Peer::admitted(&mut host, id(1));
    let told = |counter, weight| Member {
        counter,
        weight,
        ..member(State::Active)
    };
    liar.tell(
        &mut host,
        kind::MEMBERS,
        &update(&[(id(2), told(u64::MAX, 9))]),
    );
    assert_eq!(known(&host, id(2)), Some(told(u64::MAX, 9)));
    let other = Peer::admitted(&mut host, id(2));
    other.tell(&mut host, kind::MEMBERS, &update(&[(id(2), told(1, 3))]));
    assert_eq!(known(&host, id(2)), Some(told(1, 3)));
    liar.tell(
        &mut host,
        kind::MEMBERS,
        &update(&[(id(2), told(u64::MAX, 9))]),
    );
    assert_eq!(known(&host, id(2)), Some(told(1, 3)));
}

#[test]
fn that_a_member_became_active_is_learned_from_others_only_while_it_is_away() {
    let mut host = Host::founded(config(ME), &[id(1)]);
    let teller = Peer::admitted(&mut host, id(1));
    let newcomer = Peer::admitted(&mut host, id(2));
    let joining = member(State::Joining);
    newcomer.tell(&mut host, kind::MEMBERS, &update(&[(id(2), joining)]));
    let begun = Member {
        counter: 2,
        state: State::Active,
        weight: 50,
        zone: 50,
    };
    teller.tell(&mut host, kind::MEMBERS, &update(&[(id(2), begun)]));
    assert_eq!(known(&host, id(2)), Some(joining));
    newcomer.reset(&mut host);
    teller.tell(&mut host, kind::MEMBERS, &update(&[(id(2), begun)]));
    let counter = 2;
    let active = member(State::Active);
    assert_eq!(known(&host, id(2)), Some(Member { counter, ..active }));
    let back = Peer::admitted(&mut host, id(2));
    back.tell(&mut host, kind::MEMBERS, &update(&[(id(2), joining)]));
    assert_eq!(known(&host, id(2)), Some(joining));
}

#[test]
fn what_clients_and_those_who_have_left_say_of_others_is_passed_over() {
    let client = Member {
        weight: 0,
        ..member(State::Active)
    };
    for teller in [client, member(State::Gone)] {
        let mut host = Host::founded(config(ME), &[id(2)]);
        let peer = Peer::admitted(&mut host, id(1));
        let told = [(id(1), teller), (id(3), member(State::Active))];
        peer.tell(&mut host, kind::MEMBERS, &update(&told));
        assert_eq!(known(&host, id(1)), Some(teller));
        assert_eq!(known(&host, id(3)), None);
    }
}

#[test]
fn a_node_tells_of_its_own_entry_when_it_is_on_disk_and_not_before() {
    let mut host = Host::new(config(ME));
    host.hold_back = Some(|kind| matches!(kind, DiskKind::PutMembers(_)));
    let mut peers = [1, 2].map(|at| {
        let peer = Peer::admitted(&mut host, id(at));
        let joining = [(id(at), member(State::Joining))];
        peer.tell(&mut host, kind::MEMBERS, &update(&joining));
        peer
    });
    assert_eq!(own(&host).state, State::Active);
    assert_eq!(told_of_itself(&mut peers[0], &mut host), State::Joining);
    host.release();
    assert_eq!(told_of_itself(&mut peers[0], &mut host), State::Active);
}

#[test]
fn a_map_that_could_not_be_written_down_is_once_that_can_be() {
    let mut host = Host::new(config(ME));
    host.fault = Some(Box::new(|kind| {
        matches!(kind, DiskKind::PutMembers(_)).then_some(DiskError::NoSpace)
    }));
    let mut peers = [1, 2].map(|at| {
        let peer = Peer::admitted(&mut host, id(at));
        let joining = [(id(at), member(State::Joining))];
        peer.tell(&mut host, kind::MEMBERS, &update(&joining));
        peer
    });
    assert!(host.events.contains(&Event::Trouble(DiskError::NoSpace)));
    assert_eq!(told_of_itself(&mut peers[0], &mut host), State::Joining);
    host.fault = None;
    host.pass(Duration::from_secs(16));
    assert_eq!(told_of_itself(&mut peers[0], &mut host), State::Active);
}

/// What the node has told of itself last.
fn told_of_itself(peer: &mut Peer, host: &mut Host) -> State {
    let told = peer.asked(host, kind::MEMBERS);
    let told: MembersUpdate = message::decode(&told.last().unwrap().body).unwrap();
    let own = told.entries.iter().find(|entry| entry.node == ME);
    own.unwrap().member.state
}

#[test]
fn a_node_that_holds_something_and_has_lost_its_map_was_active() {
    let mut disk = crate::host::Disk::default();
    let bytes = bytes::Bytes::from_static(b"a blob of its");
    disk.blobs.insert(peerhold_core::BlobId::of(&bytes), bytes);
    disk.members = Some(bytes::Bytes::from_static(b"damaged"));
    assert_eq!(
        own(&Host::with_disk(config(ME), disk.clone())),
        member(State::Active)
    );

    // Or it was killed before its becoming active was written down.
    let joining = [(ME, member(State::Joining))].into_iter();
    disk.members = Some(joining.collect::<Members>().encode());
    let own = own(&Host::with_disk(config(ME), disk));
    assert_eq!(own.state, State::Active);
    assert!(own.counter > member(State::Joining).counter);
}

/// What the node knows of another.
pub(crate) fn known(host: &Host, node: NodeId) -> Option<Member> {
    let members = host.node.status().members;
    let found = members.iter().find(|(of, _)| *of == node);
    found.map(|(_, member)| *member)
}

#[test]
fn a_full_map_takes_who_stores_in_place_of_a_client_and_nobody_else() {
    let mut config = config(ME);
    config.limits.members = 3;
    let mut host = Host::new(config);
    let client = Member {
        weight: 0,
        ..member(State::Joining)
    };
    let comers = [
        client,
        client,
        client,
        member(State::Joining),
        member(State::Joining),
    ];
    for (at, of) in (1..).zip(comers) {
        let peer = Peer::admitted(&mut host, id(at));
        peer.tell(&mut host, kind::MEMBERS, &update(&[(id(at), of)]));
    }
    let last = Peer::admitted(&mut host, id(6));
    last.tell(
        &mut host,
        kind::MEMBERS,
        &update(&[(id(6), member(State::Joining))]),
    );
    let members = host.node.status().members;
    let ids: Vec<_> = members.iter().map(|(node, _)| *node).collect();
    assert_eq!(ids, [id(4), id(5), ME]);
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
    let itself = [(id(1), member(State::Joining))];
    peer.tell(&mut host, kind::MEMBERS, &update(&itself));
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
