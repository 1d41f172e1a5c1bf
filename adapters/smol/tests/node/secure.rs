//! Who gets to a node's sockets, and whose a data directory is.

use std::fs;
use std::net::{TcpListener, TcpStream};

use super::cluster::{alone, bytes, name, read, start, start_in, stop_all, writer};
use super::tap::pass;
use peerhold_smol::{HostConfig, StartError, open};
use tempfile::TempDir;

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
