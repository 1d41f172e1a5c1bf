//! Who means no good takes nothing from who does, and ceilings hold.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_host::peerhold_core::Forget;
use peerhold_host::peerhold_core::disk::DiskError;
use peerhold_host::{Notice, StartError};

use crate::abusers::{Insider, client_hello, drain, list_requests, long_frame, ping};
use crate::ends::left;
use crate::lab::{Lab, Member, alone, bytes, cluster_key, name, put, stop_all, three, two, writer};

/// How long a node waits for whoever is to do something.
const DEADLINE: Duration = Duration::from_millis(300);
/// For what has to happen some time.
const PATIENCE: Duration = Duration::from_secs(60);

/// An abuser's secret, each its own.
fn seed(number: u8) -> [u8; 32] {
    let mut seed = [0xAB; 32];
    seed[0] = number;
    seed
}

fn enter(addr: SocketAddr, number: u8) -> Insider {
    Insider::enter(addr, &cluster_key(), seed(number)).unwrap()
}

/// Sends these bytes one by one, to all at once, until nobody is left who takes
/// any.
fn dribble(victims: &mut [(Insider, Bytes)], raw: &mut [(TcpStream, Bytes)]) {
    let begun = Instant::now();
    loop {
        let mut left = 0;
        for (insider, bytes) in victims.iter_mut() {
            if !bytes.is_empty() && insider.say(&bytes.split_to(1)).is_ok() {
                left += 1;
            } else {
                bytes.clear();
            }
        }
        for (socket, bytes) in raw.iter_mut() {
            if !bytes.is_empty() && socket.write_all(&bytes.split_to(1)).is_ok() {
                left += 1;
            } else {
                bytes.clear();
            }
        }
        if left == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{left} are still heard");
        thread::sleep(Duration::from_millis(20));
    }
}

/// All kinds of abusers at once, a few of each, and somebody honest.
pub fn an_honest_peer_is_served_while_all_kinds_of_abusers_are_connected(lab: &Lab) {
    if !Path::new("/proc/self/fd").exists() {
        eprintln!("{}: not run, as there is no /proc to count in", lab.test());
        return;
    }
    // Descriptors are counted.
    if !lab.is_alone("exec \"$@\"") {
        return;
    }
    let victim = lab.start(|config| {
        config.open_timeout = DEADLINE;
        config.close_timeout = DEADLINE;
        config.node.timing.admission = DEADLINE;
        config.node.timing.keep_alive = DEADLINE / 2;
        config.node.timing.idle = DEADLINE;
    });
    let client = lab.start(|config| {
        config.node.weight = 0;
        config.listen.clear();
        config.node.bootstrap = vec![victim.bootstrap()];
    });
    client.meet(1, 1);
    let data = bytes(40 << 10, 1);
    for index in 0..100 {
        client.put(&format!("before {index}"), &data);
    }
    let before = left(None);
    abuse(&victim, &client);
    assert_eq!(left(Some(before)), before, "threads and descriptors");
    client.stop();
    victim.stop();
}

fn abuse(victim: &Member, client: &Member) {
    let addr = victim.addr();
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let hello = Bytes::from(client_hello(1).unwrap());
    let mut handshakes: Vec<(TcpStream, Bytes)> = (0..5)
        .map(|_| (TcpStream::connect(addr).unwrap(), hello.clone()))
        .collect();
    // In a header, and in a body.
    let frame = long_frame();
    let mut dribbling: Vec<(Insider, Bytes)> = Vec::new();
    for number in 0..10_u8 {
        let mut insider = enter(addr, number);
        let begun = usize::from(number % 2) * 100;
        insider.say(&frame[..begun]).unwrap();
        dribbling.push((insider, frame.slice(begun..)));
    }
    let lists = list_requests(writer().namespace(), 512);
    let mut deaf: Vec<Insider> = (20..25).map(|number| enter(addr, number)).collect();
    for insider in &mut deaf {
        insider.say(&lists).unwrap();
    }
    let ended = AtomicBool::new(false);
    let over = || ended.load(Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| dribble(&mut dribbling, &mut handshakes));
        // Says that it is alive, and takes nothing.
        scope.spawn(|| {
            while !over() && deaf.iter_mut().any(|one| one.say(&ping()).is_ok()) {
                thread::sleep(DEADLINE / 10);
            }
        });
        scope.spawn(|| {
            let much = list_requests(writer().namespace(), 2000);
            let mut number = 30;
            while !over() {
                // Its session ends for it, at the latest when it is found again.
                if let Ok(mut insider) = Insider::enter(addr, &cluster_key(), seed(number)) {
                    let _ = insider.say(&much);
                    drain(insider.socket(), PATIENCE);
                }
                number = 30 + number % 10;
            }
        });
        scope.spawn(|| {
            while !over() {
                drop(TcpStream::connect(addr));
                thread::sleep(Duration::from_millis(1));
            }
        });
        let data = bytes(100 << 10, 2);
        for index in 0..20 {
            let name = format!("{index}");
            client.put(&name, &data);
            client.holds(&name, &data);
        }
        ended.store(true, Ordering::Relaxed);
    });
    // Nobody is left but who is honest.
    for socket in silent.iter().chain(handshakes.iter().map(|(it, _)| it)) {
        assert!(drain(socket, PATIENCE), "it is still there");
    }
    for insider in dribbling.iter().map(|(it, _)| it).chain(&deaf) {
        assert!(drain(insider.socket(), PATIENCE), "it is still there");
    }
    let only = |status: &peerhold_host::peerhold_core::Status| status.peers.len() == 1;
    victim.blocking().wait_until(only).unwrap();
}

/// As many files as the process may open.
fn hoard() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Opens files until this node cannot even dial, which it tells.
fn undialled(member: &Member) -> Vec<File> {
    let mut notices = member.notices();
    let told = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let words = member.told(&mut notices, |notice| match notice {
                Notice::Dial(words) => Some(words),
                _ => None,
            });
            told.store(true, Ordering::Relaxed);
            words
        });
        let mut hoarded = Vec::new();
        // A socket that was open before may be closed in between.
        while !told.load(Ordering::Relaxed) {
            hoarded.extend(hoard());
            thread::sleep(Duration::from_millis(5));
        }
        let words = waiting.join().unwrap();
        assert!(words.contains("open files"), "{words}");
        hoarded.extend(hoard());
        hoarded
    })
}

/// Nobody can open anything, for a while.
pub fn without_descriptors_a_node_waits_and_goes_on_when_there_are_some(lab: &Lab) {
    const PAUSE: Duration = Duration::from_millis(50);
    if !Path::new("/dev/null").exists() {
        eprintln!("{}: not run, as there is no /dev/null to open", lab.test());
        return;
    }
    // Few enough for all of them to be opened.
    if !lab.is_alone("ulimit -n 400 && exec \"$@\"") {
        return;
    }
    let change = |config: &mut peerhold_host::HostConfig| {
        two(config);
        config.accept_pause = PAUSE;
        config.node.limits.connections = 32;
        config.store.open_segments = 4;
        config.store.small_blob_max = 1000;
        config.node.timing.operation = Duration::from_millis(500);
        config.descriptors = 100;
    };
    let first = lab.start(change);
    let second = lab.start(|config| {
        change(config);
        config.node.bootstrap = vec![first.bootstrap()];
    });
    for member in [&first, &second] {
        member.meet(2, 1);
    }
    let file = |index: u64| (format!("{index}"), bytes(100 << 10, index));
    for index in 0..5 {
        let (name, data) = file(index);
        first.put(&name, &data);
    }
    // Nobody is there: it dials again and again.
    let third = lab.start(|config| {
        change(config);
        config.listen.clear();
        config.node.bootstrap = vec!["127.0.0.1:1".into()];
    });
    third.blocking().wait_until(|status| status.ready).unwrap();
    let (mut notices, mut at_second) = (first.notices(), second.notices());
    let mut hoarded = undialled(&third);
    assert!(hoarded.len() > 50, "only {} files", hoarded.len());
    // The visitor has the last one, and there is none to accept it with.
    hoarded.pop();
    let begun = Instant::now();
    let visitor = TcpStream::connect(first.addr()).unwrap();
    let mut accept = || {
        first.told(&mut notices, |notice| match notice {
            Notice::Accept(words) => Some(words),
            _ => None,
        })
    };
    let words = accept();
    accept();
    accept();
    assert!(begun.elapsed() >= 2 * PAUSE, "it does not rest");
    assert!(words.contains("open files"), "{words}");
    // A file cannot be stored now, and what was stored is not touched.
    let (name, data) = file(100);
    let failed = first.try_put(&name, &data);
    assert!(failed.is_err(), "{failed:?}");
    // Nobody at the other one asks for its copy, who would hear of it.
    let trouble = second.told(&mut at_second, |notice| match notice {
        Notice::Trouble(error) => Some(error),
        _ => None,
    });
    assert!(
        matches!(&trouble, DiskError::Io(words) if words.contains("open files")),
        "{trouble:?}"
    );
    drop(hoarded);
    assert!(!drain(&visitor, Duration::from_millis(1)), "it is accepted");
    for index in 5..10 {
        let (name, data) = file(index);
        first.put(&name, &data);
    }
    for index in 0..10 {
        let (name, data) = file(index);
        first.holds(&name, &data);
        second.holds(&name, &data);
    }
    stop_all([third, second, first]);
}

/// A member whose store may hold no more.
pub fn a_store_that_is_full_refuses_tells_and_recovers(lab: &Lab) {
    let members = lab.cluster(3, |index, config| {
        three(config);
        if index == 2 {
            config.store.capacity_bytes = Some(1 << 20);
        }
        // What is owed is offered again so often.
        config.node.timing.request = Duration::from_millis(300);
    });
    let full = &members[2];
    let mut notices = full.notices();
    let file = |index: u64| (format!("{index}"), bytes(300 << 10, index));
    for index in 0..4 {
        let (name, data) = file(index);
        // The two others are enough.
        assert!(members[0].put(&name, &data).copies >= 2);
    }
    let trouble = full.told(&mut notices, |notice| match notice {
        Notice::Trouble(error) => Some(error),
        _ => None,
    });
    assert_eq!(trouble, DiskError::NoSpace);
    let forget = |text: &str| {
        let (reader, name) = (writer().reader().clone(), name(text));
        full.blocking().forget(Forget { reader, name }).unwrap()
    };
    assert!((0..4).map(|at| forget(&at.to_string()).blobs).sum::<u64>() > 0);
    let (_, data) = file(10);
    members[0].put_settled("with room again", &data);
    for index in 0..4 {
        let (name, data) = file(index);
        full.holds(&name, &data);
    }
    stop_all(members);
}

/// Many bytes, over a connection on which few may go in a second.
pub fn bandwidth_is_kept_to(lab: &Lab) {
    const RATE: u64 = 2 << 20;
    const SIZE: usize = 1 << 20;
    let time = |upload, download| {
        let listener = lab.start(|config| {
            config.node.limits.download = download;
        });
        let client = lab.start(|config| {
            config.node.weight = 0;
            config.node.bootstrap = vec![listener.bootstrap()];
            config.node.limits.upload = upload;
        });
        client.meet(1, 1);
        let data = bytes(SIZE, 1);
        let begun = Instant::now();
        client.put("f", &data);
        let time = begun.elapsed();
        client.holds("f", &data);
        stop_all([client, listener]);
        time
    };
    // All but the first turn's share has to be waited for.
    let least = Duration::from_secs(SIZE as u64) * 9 / 10 / RATE as u32;
    for (upload, download) in [(Some(RATE), None), (None, Some(RATE))] {
        let took = time(upload, download);
        assert!(took >= least, "{took:?} with {upload:?} and {download:?}");
    }
}

/// Configurations that would run out of descriptors.
pub fn limits_that_need_more_descriptors_than_there_may_be_are_refused(lab: &Lab) {
    if !lab.is_alone("ulimit -n 300 && exec \"$@\"") {
        return;
    }
    let refused = |connections: u32, descriptors: u64| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = alone(dir.path());
        config.node.limits.connections = connections;
        config.descriptors = descriptors;
        let needed = config.descriptors_needed();
        (needed, lab.try_open(config).unwrap_err())
    };
    let (needed, error) = refused(200, 250);
    let own = matches!(error, StartError::Descriptors { needed: by, allowed: 250 } if by == needed);
    assert!(own, "{error}");
    let (needed, error) = refused(300, 5000);
    let of_process = matches!(
        error,
        StartError::ProcessDescriptors { needed: by, allowed: 300 } if by == needed
    );
    assert!(of_process, "{error}");
    let few = lab.start(|config| config.node.limits.connections = 50);
    let put = put("f");
    few.blocking()
        .put_bytes(put, Bytes::from_static(b"x"))
        .unwrap();
    few.stop();
}
