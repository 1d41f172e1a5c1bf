//! How nodes start and end, and what they leave behind.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_host::{ClientError, StartError};
use tempfile::TempDir;

use crate::lab::{Lab, SOON, alone, bytes, get, put, stop_all};

/// What is in use by somebody else.
pub fn a_port_or_directory_in_use_is_said_plainly(lab: &Lab) {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = alone(dir.path());
    config.listen = vec![addr];
    let error = lab.try_open(config).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {addr}: the port is in use by another program")
    );
    let member = lab.start_in(dir, |_| {});
    let error = lab.try_open(alone(member.dir())).unwrap_err();
    assert!(matches!(error, StartError::Store { .. }), "{error}");
    member.stop();
}

/// What is not opened leaves no socket behind.
pub fn a_node_that_cannot_be_opened_holds_no_port(lab: &Lab) {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"no directory").unwrap();
    let mut config = alone(&file);
    config.listen = vec![addr];
    let error = lab.try_open(config).unwrap_err();
    assert!(matches!(error, StartError::DataDir { .. }), "{error}");
    assert!(TcpStream::connect(addr).is_err());
}

/// A driver opens what may be opened, and checks it.
pub fn other_machines_are_not_listened_to_without_a_secure_channel(lab: &Lab) {
    let dir = TempDir::new().unwrap();
    let mut config = alone(dir.path());
    config.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
    config.insecure = true;
    let error = lab.try_open(config).unwrap_err();
    assert!(matches!(error, StartError::NotLoopback(_)), "{error}");
    let member = lab.start(|config| config.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))]);
    assert_ne!(member.addr().port(), 0);
    member.stop();
}

/// Every address is listened on.
pub fn a_node_listens_on_all_of_its_addresses(lab: &Lab) {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = lab.start(|config| config.listen = vec![local; 3]);
    for addr in first.addrs() {
        let other = lab.start(|config| {
            config.listen.clear();
            config.node.weight = 0;
            config.node.bootstrap = vec![addr.to_string().into()];
        });
        other.meet(1, 1);
        other.stop();
    }
    first.stop();
}

/// What runs may finish, and nothing is begun.
pub fn a_shutdown_lets_running_operations_finish_and_takes_no_new_ones(lab: &Lab) {
    let member = lab.start(|_| {});
    let (blocking, data) = (member.blocking(), bytes(2 << 20, 7));
    let mut file = blocking.put(put("f")).unwrap();
    file.write_all(&data).unwrap();
    let end = member.client.shutdown(SOON);
    let late = member.client.put(put("late"));
    assert_eq!(late.unwrap_err(), ClientError::ShuttingDown);
    file.finish().unwrap();
    member.wait(end);
    assert_eq!(blocking.status().unwrap_err(), ClientError::Closed);
    drop((file, blocking));
    let member = lab.start_in(member.ended(), |_| {});
    member.holds("f", &data);
    member.stop();
}

/// Only time ends what nobody finishes.
pub fn a_shutdown_cancels_what_runs_when_its_limit_is_over(lab: &Lab) {
    let member = lab.start(|_| {});
    let blocking = member.blocking();
    let mut file = blocking.put(put("f")).unwrap();
    file.write_all(&bytes(1 << 20, 7)).unwrap();
    blocking
        .wait_until(|status| status.operations == 1)
        .unwrap();
    blocking.shutdown(Duration::from_millis(100)).unwrap();
    let error = file.finish().unwrap_err();
    assert!(matches!(error, ClientError::Op(_)), "{error}");
    drop((file, blocking));
    member.ended();
}

/// A node with a peer ends, though the peer takes its time.
pub fn a_shutdown_waits_for_no_peer_longer_than_it_may(lab: &Lab) {
    let member = lab.start(|config| {
        config.insecure = true;
        config.close_timeout = Duration::from_secs(600);
    });
    // It never ends its side.
    let _peer = TcpStream::connect(member.addr()).unwrap();
    let mut greeting = *b"PEERHOL1................................";
    greeting[8..].fill(9);
    (&_peer).write_all(&greeting).unwrap();
    let blocking = member.blocking();
    blocking.shutdown(Duration::from_millis(100)).unwrap();
    drop(blocking);
    member.ended();
}

/// Nobody is left to ask it anything.
pub fn dropping_the_last_handle_ends_the_driver(lab: &Lab) {
    let member = lab.start(|_| {});
    member.put("f", &Bytes::from_static(b"content"));
    let second = member.client.clone();
    let unfinished = second.put(put("g")).unwrap();
    drop(second);
    drop(unfinished);
    // It drops the one that is left.
    member.ended();
}

/// A driver that is dropped in the middle of its work.
pub fn a_dropped_driver_ends_pending_calls_and_frees_the_directory(lab: &Lab) {
    let member = lab.start(|_| {});
    let addr = member.addr();
    member.put("before", &Bytes::from_static(b"content"));
    let mut file = member.client.put(put("f")).unwrap();
    let mut notices = member.notices();
    let waiting = member.blocking();
    let waiting = thread::spawn(move || waiting.wait_until(|_| false));
    let (client, dir) = member.abandon();
    assert_eq!(waiting.join().unwrap(), Err(ClientError::Closed));
    let blocking = client.blocking();
    let end = |future| blocking.wait(future).unwrap();
    assert_eq!(end(file.finish()).unwrap_err(), ClientError::Closed);
    assert_eq!(client.put(put("g")).unwrap_err(), ClientError::Closed);
    assert_eq!(
        blocking.get_bytes(get("before"), 100).unwrap_err(),
        ClientError::Closed
    );
    assert!(notices.by_ref().count() < 1000, "they end");
    blocking.shutdown(Duration::ZERO).unwrap();
    assert!(TcpStream::connect(addr).is_err(), "nobody listens");
    let member = lab.start_in(dir, |_| {});
    member.holds("before", &Bytes::from_static(b"content"));
    member.stop();
}

/// A driver that was opened and never ran.
pub fn a_driver_that_never_ran_frees_the_directory(lab: &Lab) {
    let member = lab.start(|_| {});
    let dir = member.stop();
    lab.try_open(alone(dir.path())).unwrap();
    lab.start_in(dir, |_| {}).stop();
}

/// Nodes that know each other are dropped while they send.
pub fn nodes_are_dropped_while_they_send_to_each_other(lab: &Lab) {
    let members = lab.cluster(3, |_, _| {});
    let mut files = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let mut file = member.blocking().put(put(&index.to_string())).unwrap();
        file.write_all(&bytes(4 << 20, index as u64)).unwrap();
        files.push(file);
    }
    let dirs: Vec<TempDir> = members.into_iter().map(|it| it.abandon().1).collect();
    drop(files);
    for dir in dirs {
        lab.start_in(dir, |_| {}).stop();
    }
}

/// Threads and descriptors after many starts and stops are as many as after
/// the first.
pub fn nothing_is_left_after_fifty_starts_and_stops(lab: &Lab) {
    const TIMES: usize = 50;
    if !Path::new("/proc/self/task").exists() || !Path::new("/proc/self/fd").exists() {
        eprintln!("{}: not run, as there is no /proc to count in", lab.test());
        return;
    }
    // Other tests' threads come and go.
    if !lab.is_alone("exec \"$@\"") {
        return;
    }
    let round = |abrupt: bool| {
        let members = lab.cluster(2, |_, config| crate::lab::two(config));
        members[0].put("f", &bytes(100 << 10, 1));
        if abrupt {
            members
                .into_iter()
                .for_each(|member| drop(member.abandon()));
        } else {
            stop_all(members);
        }
    };
    round(false);
    let first = left(None);
    for index in 1..TIMES {
        round(index % 2 == 0);
        let now = left(Some(first));
        assert_eq!(now, first, "after {} starts and stops", index + 1);
    }
}

/// How many threads and descriptors the process has. A thread that has been
/// joined may be listed for a moment longer, and a socket may, so a number that
/// is `wanted` is waited for.
pub(crate) fn left(wanted: Option<(usize, usize)>) -> (usize, usize) {
    let count = |dir| fs::read_dir(dir).unwrap().count();
    let until = Instant::now() + Duration::from_secs(20);
    let mut same = 0;
    let mut last = (0, 0);
    loop {
        let now = (count("/proc/self/task"), count("/proc/self/fd"));
        same = if now == last { same + 1 } else { 0 };
        last = now;
        let settled = match wanted {
            Some(wanted) => now == wanted,
            None => same > 1000,
        };
        if settled || Instant::now() > until {
            return now;
        }
        thread::yield_now();
    }
}
