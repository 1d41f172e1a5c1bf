//! How nodes start and end, and what they leave behind.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::cluster::{
    alone, bytes, cluster as start_cluster, name, read, start, start_in, stop_all, writer,
};
use peerhold_smol::peerhold_core::{Bootstrap, ClusterKey, Put, Ticket};
use peerhold_smol::{ClientError, HostConfig, StartError, open};
use smol::io::AsyncWriteExt;
use tempfile::TempDir;

#[test]
fn a_restarted_node_is_the_same_and_keeps_its_files() {
    smol::block_on(async {
        let member = start(|_| {});
        let (node, data) = (member.handle.node(), bytes(2 << 20, 2));
        member
            .handle
            .put(&writer(), &name("large"), &data[..])
            .await
            .unwrap();
        member
            .handle
            .put(&writer(), &name("small"), &b"small"[..])
            .await
            .unwrap();
        let dir = member.stop().await;
        let member = start_in(dir, |_| {});
        assert_eq!(member.handle.node(), node);
        assert!(read(&member.handle, &name("large")).await == data);
        assert_eq!(read(&member.handle, &name("small")).await, b"small");
        member.stop().await;
    });
}

#[test]
fn nodes_join_with_a_ticket_and_nothing_else() {
    smol::block_on(async {
        let three = |config: &mut HostConfig| {
            (config.node.replicas, config.node.durable) = (3, 2);
        };
        let first = start(three);
        let addr = first.handle.addrs()[0].to_string();
        let key = ClusterKey::from_bytes([7; 32]);
        let pinned = Bootstrap::pinned(addr, first.handle.node());
        let text = Ticket::new(key, vec![pinned]).unwrap().to_text();
        let mut members = vec![first];
        for _ in 0..2 {
            let ticket: Ticket = text.parse().unwrap();
            members.push(start(|config| {
                let joining = HostConfig::from_ticket(&config.data_dir, &ticket).unwrap();
                *config = HostConfig {
                    listen: config.listen.clone(),
                    ..joining
                };
                three(config);
            }));
        }
        for member in &members {
            member.handle.wait_for(3, 2).await.unwrap();
        }
        stop_all(members).await;
    });
}

#[test]
fn a_node_that_comes_back_is_met_again() {
    smol::block_on(async {
        let mut members = start_cluster(3, |_, _| {}).await;
        let third = members.pop().unwrap();
        let bootstrap = members[0].handle.addrs()[0].to_string().into();
        let dir = third.stop().await;
        let (name, data) = (name("f"), bytes(1 << 20, 1));
        members[0]
            .handle
            .put(&writer(), &name, &data[..])
            .await
            .unwrap();
        let third = start_in(dir, |config| {
            config.node.replicas = 3;
            config.node.durable = 2;
            config.node.bootstrap = vec![bootstrap];
        });
        third.handle.wait_for(3, 2).await.unwrap();
        assert!(read(&third.handle, &name).await == data);
        third.stop().await;
        stop_all(members).await;
    });
}

#[test]
fn a_port_or_directory_in_use_is_said_plainly() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = alone(&dir);
    config.listen = vec![addr];
    let error = open(config).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {addr}: the port is in use by another program")
    );
    let _first = open(alone(&dir)).unwrap();
    let error = open(alone(&dir)).unwrap_err();
    assert!(matches!(error, StartError::Store { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot open the store in {}: the store is already open, here or in another \
             process: end that one first",
            dir.path().display()
        )
    );
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    drop(open(alone(&dir)).unwrap());
    let format = dir.path().join("FORMAT");
    let newer = std::fs::read_to_string(&format).unwrap();
    let newer = newer.replacen("peerhold store 1", "peerhold store 2", 1);
    std::fs::write(&format, &newer).unwrap();
    std::fs::write(dir.path().join("tmp/left"), b"theirs").unwrap();
    let error = open(alone(&dir)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot open the store in {}: the store has format 2, and this program knows \
             formats up to 1: use a newer version of it; nothing was changed",
            dir.path().display()
        )
    );
    assert_eq!(std::fs::read_to_string(&format).unwrap(), newer);
    assert!(dir.path().join("tmp/left").exists());
}

#[test]
fn other_machines_are_not_listened_to_without_a_secure_channel() {
    let dir = TempDir::new().unwrap();
    let mut config = alone(&dir);
    config.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
    config.insecure = true;
    let error = open(config.clone()).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback(_)), "{error}");
    config.insecure = false;
    let (handle, _driver) = open(config).unwrap();
    assert_ne!(handle.addrs()[0].port(), 0);
}

#[test]
fn a_shutdown_lets_running_operations_finish_and_takes_no_new_ones() {
    smol::block_on(async {
        let member = start(|_| {});
        let handle = member.handle.clone();
        let data = bytes(2 << 20, 7);
        let mut file = handle.put_writer(put("f")).unwrap();
        file.write_all(&data).await.unwrap();
        let end = handle.shutdown(Duration::from_secs(60));
        assert_eq!(
            handle.put_writer(put("late")).unwrap_err(),
            ClientError::ShuttingDown
        );
        file.finish().await.unwrap();
        end.await;
        assert_eq!(handle.status().await.unwrap_err(), ClientError::Closed);
        member.driver.await;
        let member = start_in(member.dir, |_| {});
        assert!(read(&member.handle, &name("f")).await == data);
        member.stop().await;
    });
}

#[test]
fn a_shutdown_cancels_what_runs_when_its_limit_is_over() {
    smol::block_on(async {
        let member = start(|_| {});
        let mut file = member.handle.put_writer(put("f")).unwrap();
        file.write_all(&bytes(1 << 20, 7)).await.unwrap();
        member.handle.shutdown(Duration::from_millis(100)).await;
        let error = file.finish().await.unwrap_err();
        assert!(matches!(error, ClientError::Op(_)), "{error}");
        member.driver.await;
    });
}

#[test]
fn dropping_the_last_handle_ends_the_driver() {
    smol::block_on(async {
        let member = start(|_| {});
        let second = member.handle.clone();
        drop(member.handle);
        second
            .put(&writer(), &name("f"), &b"content"[..])
            .await
            .unwrap();
        let open_put = second.put_writer(put("g")).unwrap();
        drop(second);
        drop(open_put);
        member.driver.await;
    });
}

#[test]
fn a_dropped_driver_ends_pending_calls_and_frees_the_directory() {
    smol::block_on(async {
        let dir = TempDir::new().unwrap();
        let (handle, driver) = open(alone(&dir)).unwrap();
        let mut file = handle.put_writer(put("f")).unwrap();
        let mut events = handle.events();
        let status = smol::spawn({
            let handle = handle.clone();
            async move { handle.status().await }
        });
        // The driver has been polled, so that something is under way.
        let mut driver = Box::pin(driver);
        let _ = smol::future::poll_once(driver.as_mut()).await;
        drop(driver);
        assert_eq!(file.finish().await.unwrap_err(), ClientError::Closed);
        assert_eq!(file.settled().await.unwrap_err(), ClientError::Closed);
        while events.next().await.is_some() {}
        // Whichever came first.
        assert!(matches!(status.await, Ok(_) | Err(ClientError::Closed)));
        assert_eq!(
            handle.put_writer(put("g")).unwrap_err(),
            ClientError::Closed
        );
        handle.shutdown(Duration::ZERO).await;
        drop(open(alone(&dir)).unwrap());
    });
}

#[test]
fn the_thread_that_turns_the_engine_cannot_wait_for_it() {
    let dir = TempDir::new().unwrap();
    let (handle, driver) = open(alone(&dir)).unwrap();
    let mut driver = std::pin::pin!(driver);
    smol::block_on(smol::future::poll_once(driver.as_mut()));
    let blocking = handle.blocking();
    assert_eq!(blocking.status().unwrap_err(), ClientError::WouldDeadlock);
    assert_eq!(
        blocking.shutdown(Duration::ZERO).unwrap_err(),
        ClientError::WouldDeadlock
    );
    let other = std::thread::spawn(move || blocking.status());
    smol::block_on(smol::future::or(driver, async {
        handle
            .client()
            .wait_until(|status| status.ready)
            .await
            .unwrap();
        handle
            .put(&writer(), &name("f"), &b"content"[..])
            .await
            .unwrap();
    }));
    other.join().unwrap().unwrap();
}

#[test]
fn a_peer_that_says_nothing_is_dropped_in_time() {
    use std::io::Read;
    smol::block_on(async {
        let member = start(|config| config.open_timeout = Duration::from_millis(100));
        let mut silent = TcpStream::connect(member.handle.addrs()[0]).unwrap();
        let read = smol::unblock(move || {
            let mut said = Vec::new();
            let end = silent.read_to_end(&mut said);
            (said.len(), end.is_ok())
        });
        assert_eq!(read.await, (0, true));
        member.stop().await;
    });
}

#[test]
fn a_stranger_is_dropped_at_once_and_told_of() {
    use peerhold_smol::Notice;
    use std::io::Write;
    smol::block_on(async {
        let member = start(|_| {});
        let mut events = member.handle.events();
        let mut stranger = TcpStream::connect(member.handle.addrs()[0]).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        loop {
            let notice = events.next().await.unwrap();
            if matches!(notice, Notice::Channel { .. }) {
                break;
            }
        }
        member.stop().await;
    });
}

#[test]
fn a_peer_that_is_sent_away_while_it_sends_gets_all_that_was_sent_to_it() {
    use std::io::{Read, Write};
    smol::block_on(async {
        let member = start(|config| {
            config.insecure = true;
            config.close_timeout = Duration::from_secs(60);
        });
        let mut peer = TcpStream::connect(member.handle.addrs()[0]).unwrap();
        let end = smol::unblock(move || {
            let mut greeting = *b"PEERHOL1................................";
            greeting[8..].fill(9);
            peer.write_all(&greeting)?;
            // Nothing that a peer would say, and more than sockets hold.
            peer.write_all(&[0xFF; 16 << 20])?;
            peer.shutdown(std::net::Shutdown::Write)?;
            peer.read_to_end(&mut Vec::new())
        });
        let received = end.await.unwrap();
        assert!(received >= 40, "{received}");
        member.stop().await;
    });
}

#[test]
fn the_name_of_a_host_cannot_be_dialled_and_is_told_of() {
    use peerhold_smol::Notice;
    smol::block_on(async {
        let dir = TempDir::new().unwrap();
        let mut config = alone(&dir);
        config.node.bootstrap = vec!["localhost:4100".to_owned().into()];
        let (handle, driver) = open(config).unwrap();
        let mut events = handle.events();
        let driver = smol::spawn(driver);
        loop {
            if let Notice::Address { addr, peer } = events.next().await.unwrap() {
                assert_eq!((addr.as_str(), peer), ("localhost:4100", None));
                break;
            }
        }
        handle.shutdown(Duration::ZERO).await;
        driver.await;
    });
}

#[test]
fn nothing_is_left_after_the_end() {
    // By itself in a process, as other tests' threads come and go.
    if std::env::var_os("PEERHOLD_TEST_ALONE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ends::nothing_is_left_after_the_end",
                "--test-threads",
                "1",
            ])
            .env("PEERHOLD_TEST_ALONE", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let round = |abrupt: bool| {
        let dir = TempDir::new().unwrap();
        let (handle, driver) = open(alone(&dir)).unwrap();
        let put = async {
            handle
                .put(&writer(), &name("f"), &bytes(1 << 20, 1)[..])
                .await
                .unwrap();
            if !abrupt {
                handle.shutdown(Duration::from_secs(10)).await;
            }
        };
        smol::block_on(end_with(put, driver, abrupt));
        (workers_left(), count("/proc/self/fd"))
    };
    let first = round(false);
    assert_eq!(first.0, 0);
    for index in 0..20 {
        assert_eq!(round(index % 2 == 0), first);
    }
}

/// Drives `work`, and then the node to its end, or drops it.
async fn end_with(work: impl Future<Output = ()>, driver: peerhold_smol::Driver, abrupt: bool) {
    if abrupt {
        smol::future::or(work, driver).await;
    } else {
        futures_lite::future::zip(work, driver).await;
    }
}

/// The node's threads. One that has been joined may be listed for a moment
/// longer, as joining waits for the thread and not for the system's record of
/// it.
fn workers_left() -> usize {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let left = tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .filter(|name| name.starts_with("peerhold-"))
            .count();
        if left == 0 || std::time::Instant::now() > until {
            return left;
        }
        std::thread::yield_now();
    }
}

/// Entries of a directory.
fn count(dir: &str) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

fn put(text: &str) -> Put {
    Put {
        writer: writer(),
        name: name(text),
        modified: None,
    }
}
