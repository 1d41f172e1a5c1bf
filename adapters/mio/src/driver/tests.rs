//! What is this driver's own: its thread, its waits, its sockets.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::task::Poll as TaskPoll;
use std::thread;

use bytes::Bytes;
use mio::Interest;
use mio::unix::SourceFd;
use peerhold_host::peerhold_core::{Bootstrap, ClusterKey, Name, NamespaceSecret, Put, Writer};
use peerhold_host::{BUFFER_MIN, ClientError, HostConfig, Notice, PutError};
use tempfile::TempDir;

use super::*;
use crate::net::listen;
use crate::{Handle, Later, open};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Fails what hangs.
fn within_limit(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        test();
    });
    let hangs = end.recv_timeout(Duration::from_secs(60));
    assert_eq!(hangs, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A node by itself, that listens.
fn alone(dir: &TempDir) -> HostConfig {
    let mut config = HostConfig::new(dir.path(), ClusterKey::from_bytes([7; 32])).unwrap();
    config.listen = vec![LOCAL];
    (config.node.replicas, config.node.durable) = (1, 1);
    config.node.timing.dial_min = Duration::from_millis(20);
    config.node.timing.dial_max = Duration::from_millis(100);
    config
}

fn writer() -> Writer {
    NamespaceSecret::from_bytes([4; 32]).writer()
}

fn name() -> Name {
    Name::new("file").unwrap()
}

/// Turns these until the answer is there.
fn answer<T>(drivers: &mut [&mut Driver], mut later: Later<T>) -> T {
    loop {
        if let TaskPoll::Ready(answer) = later.try_take() {
            return answer;
        }
        for driver in &mut *drivers {
            let _ = driver.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }
}

/// Turns it until nothing is left to do at once.
fn settle(handle: &Handle, driver: &mut Driver) {
    answer(&mut [driver], handle.try_wait_for(1, 0)).unwrap();
    while driver.deadline().is_some_and(|at| at <= Instant::now()) {
        let _ = driver.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn the_turning_thread_is_told_that_it_would_wait_for_itself() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let (handle, mut driver) = open(alone(&dir)).unwrap();
        settle(&handle, &mut driver);
        assert_eq!(handle.status(), Err(ClientError::WouldDeadlock));
        let put = handle.put(&writer(), &name(), &b"data"[..]);
        assert!(matches!(
            put,
            Err(PutError::Node(ClientError::WouldDeadlock))
        ));
        let get = handle.get(writer().reader(), &name());
        assert_eq!(get.unwrap_err(), ClientError::WouldDeadlock);
        assert_eq!(
            handle.shutdown(Duration::ZERO),
            Err(ClientError::WouldDeadlock)
        );
        let mut events = handle.events();
        assert_eq!(events.next(), Some(Err(ClientError::WouldDeadlock)));
        let mut writes = handle
            .put_writer(Put {
                writer: writer(),
                name: name(),
                modified: None,
            })
            .unwrap();
        let error = writes.write(b"data").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock);
        drop(writes);
        // None of it was begun: the node has no such file.
        let get = answer(
            &mut [&mut driver],
            handle.try_get(writer().reader(), &name()),
        );
        assert!(matches!(get, Err(ClientError::Op(_))), "{get:?}");
        // Other threads may wait, and this one when the node has ended.
        let other = thread::spawn({
            let handle = handle.clone();
            move || handle.shutdown(Duration::from_secs(10))
        });
        while driver.turn(None).unwrap() == Turned::Running {}
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(handle.status(), Err(ClientError::Closed));
        assert_eq!(driver.turn(None).unwrap(), Turned::Ended);
    });
}

#[test]
fn files_are_written_and_read_with_the_standard_librarys_traits() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let (handle, driver) = open(alone(&dir)).unwrap();
        let thread = thread::spawn(|| driver.run());
        let mut put = handle
            .put_writer(Put {
                writer: writer(),
                name: name(),
                modified: None,
            })
            .unwrap();
        put.write_all(b"one\ntwo\n").unwrap();
        put.write_all(&[b'x'; 100_000]).unwrap();
        put.finish().unwrap();
        let mut get = handle.get(writer().reader(), &name()).unwrap();
        let mut lines = String::new();
        assert_eq!(get.read_line(&mut lines).unwrap(), 4);
        assert_eq!(get.by_ref().lines().next().unwrap().unwrap(), "two");
        let mut rest = Vec::new();
        get.read_to_end(&mut rest).unwrap();
        assert!(lines == "one\n" && rest == [b'x'; 100_000]);
        let part = handle.get_range(writer().reader(), &name(), 4..7).unwrap();
        assert_eq!(std::io::read_to_string(part).unwrap(), "two");
        drop(get);
        drop(put);
        // The last handle's end is the node's.
        drop(handle);
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn a_turn_ends_with_its_timeout_and_when_a_handle_wants_something() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let (handle, mut driver) = open(alone(&dir)).unwrap();
        settle(&handle, &mut driver);
        // What the node has to do later ends no turn of this test's.
        let later = |driver: &mut Driver| driver.deadline.take_if(|at| *at > Instant::now());
        let (begin, timeout) = (Instant::now(), Duration::from_millis(50));
        while begin.elapsed() < timeout {
            later(&mut driver);
            assert_eq!(driver.turn(Some(timeout)).unwrap(), Turned::Running);
        }
        let other = thread::spawn(move || {
            handle.status().unwrap();
            handle.shutdown(Duration::ZERO)
        });
        while driver.turn(Some(Duration::from_secs(3600))).unwrap() == Turned::Running {
            later(&mut driver);
        }
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}

#[test]
fn another_poll_is_told_when_there_is_something_to_do() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let (handle, mut driver) = open(alone(&dir)).unwrap();
        settle(&handle, &mut driver);
        let mut outer = Poll::new().unwrap();
        let fd = driver.as_raw_fd();
        let interest = Interest::READABLE;
        let registry = outer.registry();
        registry
            .register(&mut SourceFd(&fd), Token(0), interest)
            .unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            // From a handle, and from a peer.
            let other = thread::spawn({
                let handle = handle.clone();
                move || handle.status().is_ok()
            });
            while !other.is_finished() {
                outer
                    .poll(&mut events, Some(Duration::from_millis(10)))
                    .unwrap();
                if !events.is_empty() {
                    let _ = driver.turn(Some(Duration::ZERO)).unwrap();
                }
            }
            assert!(other.join().unwrap());
        }
        let _visitor = TcpStream::connect(handle.addrs()[0]).unwrap();
        while driver.sockets.is_empty() {
            outer.poll(&mut events, None).unwrap();
            let _ = driver.turn(Some(Duration::ZERO)).unwrap();
        }
    });
}

#[test]
fn one_thread_turns_two_nodes_in_the_smallest_rounds() {
    within_limit(|| {
        let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let two = |dir| {
            let mut config = alone(dir);
            (config.node.replicas, config.node.durable) = (2, 2);
            config.round_bytes = BUFFER_MIN;
            config.read_buffer = BUFFER_MIN;
            (config.outbox_low, config.outbox_high) = (BUFFER_MIN, BUFFER_MIN);
            config
        };
        let (first, mut one) = open(two(&dirs[0])).unwrap();
        let mut config = two(&dirs[1]);
        config.node.bootstrap = vec![Bootstrap::from(first.addrs()[0].to_string())];
        let (second, mut other) = open(config).unwrap();
        let mut drivers = [&mut one, &mut other];
        answer(&mut drivers, first.try_wait_for(2, 1)).unwrap();
        let data: Bytes = (0..3_000_000_u32).map(|at| (at / 1000) as u8).collect();
        let put = first.try_put(&writer(), &name(), data.clone());
        assert_eq!(answer(&mut drivers, put).unwrap().copies, 2);
        let get = second.try_get(writer().reader(), &name());
        let mut file = answer(&mut drivers, get).unwrap();
        let mut read = Vec::new();
        loop {
            match file.try_next_bytes() {
                TaskPoll::Ready(Ok(Some(piece))) => read.extend_from_slice(&piece),
                TaskPoll::Ready(end) => break assert_eq!(end, Ok(None)),
                TaskPoll::Pending => {
                    for driver in &mut drivers {
                        let _ = driver.turn(Some(Duration::from_millis(1))).unwrap();
                    }
                }
            }
        }
        assert!(read == data);
        answer(&mut drivers, second.try_shutdown(Duration::from_secs(10)));
    });
}

#[test]
fn a_dial_that_is_refused_is_over_at_once_and_tried_again() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let free = TcpListener::bind(LOCAL).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let mut config = alone(&dir);
        config.node.bootstrap = vec![Bootstrap::from(addr.to_string())];
        // So that nothing but the refusal ends it.
        config.open_timeout = Duration::from_secs(3600);
        let (handle, mut driver) = open(config).unwrap();
        for _ in 0..3 {
            while driver.sockets.is_empty() {
                let _ = driver.turn(None).unwrap();
            }
            while !driver.sockets.is_empty() {
                let _ = driver.turn(None).unwrap();
            }
        }
        assert!(driver.conns.is_empty() && driver.ready.is_empty());
        let listener = TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut dialled = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let _ = driver.turn(None).unwrap();
        };
        // What it then sends shows that it knows that it stands.
        dialled.set_nonblocking(true).unwrap();
        while dialled.read(&mut [0]).is_err() {
            let _ = driver.turn(Some(Duration::from_millis(1))).unwrap();
        }
        drop(handle);
    });
}

#[test]
fn a_listener_that_fails_pauses_and_keeps_no_other_from_accepting() {
    within_limit(|| {
        let dir = TempDir::new().unwrap();
        let mut config = alone(&dir);
        let pause = Duration::from_millis(50);
        config.accept_pause = pause;
        let (client, engine) = Engine::open(config, Vec::new()).unwrap();
        let real = listen(&[LOCAL]).unwrap();
        let addr = crate::net::local_addrs(&real).unwrap()[0];
        // A socket that does not listen cannot accept.
        let other = TcpListener::bind(LOCAL).unwrap();
        let stream = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        let broken = Listener::new(mio::net::TcpListener::from_std(
            OwnedFd::from(stream).into(),
        ));
        let mut listeners: Vec<Listener> = std::iter::once(broken).chain(real).collect();
        let poll = Poll::new().unwrap();
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(index)).unwrap();
        }
        let mut driver = Driver::new(engine, poll, listeners).unwrap();
        let mut events = client.blocking().events();
        let begin = Instant::now();
        let _visitor = TcpStream::connect(addr).unwrap();
        let mut failures = 0;
        while failures < 3 {
            let _ = driver.turn(None).unwrap();
            while let TaskPoll::Ready(Some(notice)) = events.try_next() {
                failures += u32::from(matches!(notice, Notice::Accept(_)));
            }
        }
        assert!(begin.elapsed() >= 2 * pause);
        assert_eq!(driver.sockets.len(), 1);
    });
}
