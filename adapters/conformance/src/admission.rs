//! Who may come in, from the start on and while nodes run.

use bytes::Bytes;
use peerhold_host::peerhold_core::{Bootstrap, ClusterKey, PeerFault, Role, Ticket};
use peerhold_host::{ChannelError, ClientError, HostConfig, Notice};

use crate::lab::{Lab, Member, cluster_key, stop_all, three};

/// The next node that is not let in.
fn refused(member: &Member, notices: &mut impl Iterator<Item = Notice>) -> Option<PeerFault> {
    member.told(notices, |notice| match notice {
        Notice::Refused { fault, .. } => Some(fault),
        _ => None,
    })
}

/// A node with another cluster's key.
pub fn who_proves_no_cluster_key_is_refused_and_told_of_by_both(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let mut at_member = members[0].notices();
    let stranger = lab.start(|config| {
        config.node.cluster_keys = vec![ClusterKey::from_bytes([8; 32])];
        config.node.bootstrap = vec![members[0].bootstrap()];
    });
    let mut at_stranger = stranger.notices();
    // Who is told first that it is not wanted says nothing more.
    let faults = [
        refused(&members[0], &mut at_member),
        refused(&stranger, &mut at_stranger),
    ];
    assert!(faults.contains(&Some(PeerFault::WrongKey)), "{faults:?}");
    let wrong = [None, Some(PeerFault::WrongKey)];
    assert!(
        faults.iter().all(|fault| wrong.contains(fault)),
        "{faults:?}"
    );
    assert_eq!(stranger.blocking().peers().unwrap().len(), 0);
    let met = members[0].blocking().peers().unwrap();
    assert!(met.iter().all(|peer| peer.peer != stranger.client.node()));
    members[0].put("f", &Bytes::from_static(b"x"));
    stranger.stop();
    stop_all(members);
}

/// A node that is expected to be another one.
pub fn a_node_that_is_not_the_one_expected_is_not_spoken_to(lab: &Lab) {
    let members = [lab.start(|_| {}), lab.start(|_| {})];
    let addr = members[0].addr().to_string();
    let other = members[1].client.node();
    let third = lab.start(|config| config.node.bootstrap = vec![Bootstrap::pinned(addr, other)]);
    let mut notices = third.notices();
    let refused = third.told(&mut notices, |notice| match notice {
        Notice::Channel { role, error } => Some((role, error)),
        _ => None,
    });
    let (expected, found) = (other, members[0].client.node());
    let wrong = ChannelError::WrongPeer { expected, found };
    assert_eq!(refused, (Role::Dialer, wrong));
    assert_eq!(members[0].blocking().peers().unwrap().len(), 0);
    third.stop();
    stop_all(members);
}

/// A deny list that is changed.
pub fn a_denied_node_is_sent_away_at_once_and_comes_back_when_it_is_pardoned(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let (node, bad) = (members[0].blocking(), members[2].client.node());
    let mut notices = members[0].notices();
    assert_eq!(node.deny(bad), Ok(true));
    assert_eq!(node.deny(bad), Ok(false));
    let down = members[0].told(&mut notices, |notice| match notice {
        Notice::PeerDown { peer, fault } => Some((peer, fault)),
        _ => None,
    });
    assert_eq!(down, (bad, Some(PeerFault::Denied)));
    let met = node.peers().unwrap();
    assert!(met.iter().all(|peer| peer.peer != bad));
    // With the other one it still has copies enough.
    let x = Bytes::from_static(b"x");
    assert_eq!(members[0].put("f", &x).copies, 2);
    assert_eq!(node.pardon(bad), Ok(true));
    members[0].meet(3, 2);
    members[2].holds("f", &x);
    stop_all(members);
}

/// Keys are changed on one node after the other.
pub fn cluster_keys_are_rotated_while_nodes_run(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let (old, new) = (cluster_key(), ClusterKey::from_bytes([8; 32]));
    for keys in [[&old, &new].as_slice(), &[&new, &old], &[&new]] {
        for member in &members {
            let keys = keys.iter().map(|key| (*key).clone()).collect();
            member.blocking().set_cluster_keys(keys).unwrap();
        }
        for member in &members {
            member.meet(3, 2);
        }
    }
    let none = members[0].blocking().set_cluster_keys(Vec::new());
    assert!(matches!(none, Err(ClientError::Config(_))), "{none:?}");
    // Who has the old one alone is a stranger now.
    let stranger = lab.start(|config| config.node.bootstrap = vec![members[0].bootstrap()]);
    let mut notices = stranger.notices();
    let fault = refused(&stranger, &mut notices);
    assert!(
        matches!(fault, None | Some(PeerFault::WrongKey)),
        "{fault:?}"
    );
    stranger.stop();
    stop_all(members);
}

/// A ticket that was written by hand, and one that a node hands out.
pub fn nodes_join_with_a_ticket_and_nothing_else(lab: &Lab) {
    let first = lab.start(three);
    let addr = first.addr().to_string();
    let pinned = Bootstrap::pinned(addr, first.client.node());
    let text = Ticket::new(cluster_key(), vec![pinned]).unwrap().to_text();
    let join = |text: &str| {
        let ticket: Ticket = text.parse().unwrap();
        lab.start(|config| {
            let joining = HostConfig::from_ticket(&config.data_dir, &ticket).unwrap();
            *config = HostConfig {
                listen: config.listen.clone(),
                ..joining
            };
            three(config);
        })
    };
    let mut members = vec![first, join(&text), join(&text)];
    for member in &members {
        member.meet(3, 2);
    }
    let ticket = members[1].blocking().ticket().unwrap();
    members.push(join(&ticket.to_text()));
    members[3].meet(4, 3);
    let x = Bytes::from_static(b"x");
    members[3].put("f", &x);
    for member in &members {
        member.holds("f", &x);
    }
    stop_all(members);
}
