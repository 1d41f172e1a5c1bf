//! Who gets to a node's sockets, and whose a data directory is.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::cluster::{alone, bytes, cluster, name, read, start, start_in, stop_all, writer};
use super::tap::pass;
use peerhold_smol::ChannelError;
use peerhold_smol::peerhold_core::{PeerAddr, Role};
use peerhold_smol::peerhold_tls::ChannelError as Tls;
use peerhold_smol::{Events, HostConfig, Notice, StartError, open};
use tempfile::TempDir;

/// The next channel that does not come about.
async fn refused(events: &mut Events) -> (Role, ChannelError) {
    loop {
        if let Notice::Channel { role, error } = events.next().await.unwrap() {
            return (role, error);
        }
    }
}

/// What a peer is told that sends this and then ends its side.
async fn told(addr: std::net::SocketAddr, data: Vec<u8>) -> Vec<u8> {
    smol::unblock(move || {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.write_all(&data).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        answer
    })
    .await
}

#[test]
fn two_nodes_store_and_fetch_and_nothing_of_it_is_seen_between_them() {
    smol::block_on(async {
        let first = start(|config| (config.node.replicas, config.node.durable) = (2, 2));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = listener.local_addr().unwrap();
        let to = first.handle.addrs()[0];
        let tap = smol::unblock(move || {
            let (dialler, _) = listener.accept().unwrap();
            let other = TcpStream::connect(to).unwrap();
            let back = (other.try_clone().unwrap(), dialler.try_clone().unwrap());
            let forth = std::thread::spawn(move || pass(dialler, other));
            [pass(back.0, back.1), forth.join().unwrap()]
        });
        let second = start(|config| {
            config.listen.clear();
            (config.node.replicas, config.node.durable) = (2, 2);
            config.node.bootstrap = vec![between.to_string().into()];
        });
        second.handle.wait_for(2, 1).await.unwrap();
        let data = bytes(3 << 20, 1);
        second
            .handle
            .put(&writer(), &name("f"), &data[..])
            .await
            .unwrap();
        assert!(read(&first.handle, &name("f")).await == data);
        let ids = [first.handle.node(), second.handle.node()];
        stop_all(vec![second, first]).await;
        let seen = tap.await;
        assert!(seen.iter().map(Vec::len).max() > Some(data.len()));
        for one in seen {
            for id in ids {
                assert!(!one.windows(32).any(|window| window == id.as_bytes()));
            }
        }
    });
}

#[test]
fn a_cluster_without_secure_channels_works_on_one_machine() {
    smol::block_on(async {
        let members = cluster(3, |_, config| config.insecure = true).await;
        let data = bytes(1 << 20, 1);
        members[0]
            .handle
            .put(&writer(), &name("f"), &data[..])
            .await
            .unwrap();
        assert!(read(&members[1].handle, &name("f")).await == data);
        stop_all(members).await;
    });
}

#[test]
fn a_node_without_a_secure_channel_dials_no_other_machine() {
    smol::block_on(async {
        let far = PeerAddr::from("192.0.2.1:4100");
        let member = start(|config| {
            config.insecure = true;
            config.node.bootstrap = vec![far.clone().into()];
        });
        let mut events = member.handle.events();
        loop {
            if let Notice::Address { addr, .. } = events.next().await.unwrap() {
                assert_eq!(addr, far);
                break;
            }
        }
        member.stop().await;
    });
}

#[test]
fn a_plaintext_peer_is_refused_and_told_of_by_both() {
    smol::block_on(async {
        let secure = start(|_| {});
        let mut at_secure = secure.handle.events();
        let plain = start(|config| {
            config.insecure = true;
            config.listen.clear();
            config.node.bootstrap = vec![secure.handle.addrs()[0].to_string().into()];
        });
        let mut at_plain = plain.handle.events();
        assert_eq!(
            refused(&mut at_secure).await,
            (Role::Listener, ChannelError::Secure(Tls::NotTls))
        );
        assert_eq!(
            refused(&mut at_plain).await,
            (Role::Dialer, ChannelError::Magic)
        );
        assert_eq!(secure.handle.status().await.unwrap().peers.len(), 0);
        stop_all(vec![plain, secure]).await;
    });
}

#[test]
fn whoever_speaks_something_else_gets_an_alert_and_the_end_whatever_more_it_sends() {
    smol::block_on(async {
        let member = start(|config| config.close_timeout = Duration::from_secs(60));
        let mut events = member.handle.events();
        let mut request = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        request.resize(16 << 20, b' ');
        let answer = told(member.handle.addrs()[0], request).await;
        // An alert (21): fatal (2), decode error (50).
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50]);
        let expected = (Role::Listener, ChannelError::Secure(Tls::NotTls));
        assert_eq!(refused(&mut events).await, expected);
        member.stop().await;
    });
}

#[test]
fn a_peer_that_says_nothing_is_told_of_when_its_time_is_over() {
    smol::block_on(async {
        let member = start(|config| config.open_timeout = Duration::from_millis(100));
        let mut events = member.handle.events();
        let silent = TcpStream::connect(member.handle.addrs()[0]).unwrap();
        let expected = (Role::Listener, ChannelError::Timeout);
        assert_eq!(refused(&mut events).await, expected);
        drop(silent);
        member.stop().await;
    });
}

fn start_error(dir: &TempDir) -> StartError {
    open(alone(dir)).unwrap_err()
}

#[test]
fn a_store_is_not_opened_with_another_nodes_key_or_without_its_own() {
    smol::block_on(async {
        let (one, other) = (start(|_| {}), start(|_| {}));
        let (owner, node) = (one.handle.node(), other.handle.node());
        let (one, other) = (one.stop().await, other.stop().await);
        let key = one.path().join("node.key");
        let good = fs::read(&key).unwrap();
        fs::copy(other.path().join("node.key"), &key).unwrap();
        let said = start_error(&one).to_string();
        assert!(
            said.contains(&format!("belongs to node {owner}, and this is node {node}")),
            "{said}"
        );
        fs::remove_file(&key).unwrap();
        let error = start_error(&one);
        assert!(matches!(error, StartError::Key(_)), "{error}");
        assert!(error.to_string().contains("is missing"), "{error}");
        assert!(!key.exists());
        // With its key it is as it was.
        fs::write(&key, good).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let member = start_in(one, |_: &mut HostConfig| {});
        assert_eq!(member.handle.node(), owner);
        member.stop().await;
    });
}
