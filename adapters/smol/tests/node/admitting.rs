//! Who may come in is changed while nodes run.

use peerhold_smol::peerhold_core::{ClusterKey, PeerFault};
use peerhold_smol::{ClientError, HostConfig, Notice};

use super::cluster::{cluster, name, read, start, stop_all, writer};

#[test]
fn a_denied_node_is_sent_away_at_once_and_comes_back_when_it_is_pardoned() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let (client, bad) = (members[0].handle.client(), members[2].handle.node());
        let mut events = members[0].handle.events();
        assert_eq!(client.deny(bad).await, Ok(true));
        assert_eq!(client.deny(bad).await, Ok(false));
        loop {
            if let Notice::PeerDown { peer, fault } = events.next().await.unwrap() {
                assert_eq!((peer, fault), (bad, Some(PeerFault::Denied)));
                break;
            }
        }
        let met = client.peers().await.unwrap();
        assert!(met.iter().all(|peer| peer.peer != bad));
        // With the other one it still has copies enough.
        let (writer, name) = (writer(), name("f"));
        let stored = members[0].handle.put(&writer, &name, &b"x"[..]).await;
        assert_eq!(stored.unwrap().copies, 2);
        assert_eq!(client.pardon(bad).await, Ok(true));
        members[0].handle.wait_for(3, 2).await.unwrap();
        assert_eq!(read(&members[2].handle, &name).await, b"x");
        stop_all(members).await;
    });
}

#[test]
fn cluster_keys_are_rotated_while_nodes_run() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let (old, new) = (
            ClusterKey::from_bytes([7; 32]),
            ClusterKey::from_bytes([8; 32]),
        );
        for keys in [[&old, &new].as_slice(), &[&new, &old], &[&new]] {
            for member in &members {
                let keys: Vec<ClusterKey> = keys.iter().map(|key| (*key).clone()).collect();
                let client = member.handle.client();
                client.set_cluster_keys(keys).await.unwrap();
            }
            for member in &members {
                member.handle.wait_for(3, 2).await.unwrap();
            }
        }
        let none = members[0].handle.client().set_cluster_keys(Vec::new());
        assert!(matches!(none.await, Err(ClientError::Config(_))));
        let addr = members[0].handle.addrs()[0].to_string();
        let stranger = start(|config| config.node.bootstrap = vec![addr.into()]);
        let mut events = stranger.handle.events();
        loop {
            if let Notice::Refused { fault, .. } = events.next().await.unwrap() {
                assert!(matches!(fault, None | Some(PeerFault::WrongKey)));
                break;
            }
        }
        stranger.stop().await;
        stop_all(members).await;
    });
}

#[test]
fn a_running_node_hands_out_a_ticket_that_another_joins_with() {
    smol::block_on(async {
        let members = cluster(3, |_, _| {}).await;
        let ticket = members[1].handle.client().ticket().await.unwrap();
        let joining = start(|config| {
            let HostConfig { node, .. } =
                HostConfig::from_ticket(&config.data_dir, &ticket).unwrap();
            config.node = node;
        });
        joining.handle.wait_for(4, 3).await.unwrap();
        joining
            .handle
            .put(&writer(), &name("f"), &b"x"[..])
            .await
            .unwrap();
        for member in &members {
            assert_eq!(read(&member.handle, &name("f")).await, b"x");
        }
        joining.stop().await;
        stop_all(members).await;
    });
}
