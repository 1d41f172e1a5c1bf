//! The Go program's language on a port of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerhold_host::foreverstore::{
    BlockingForeverstore, ForeverstoreConfig, ForeverstoreError, Told,
};
use peerhold_host::peerhold_core::disk::DiskError;
use peerhold_host::peerhold_core::foreverstore::{
    Event, Fault, FileKey, FilePath, Message, NotKept, OpError, OwnerId, OwnerKey,
};
use peerhold_host::peerhold_core::gob::Limits;
use peerhold_host::{HostConfig, Notice};

use crate::lab::{Lab, Member, SOON, bytes, stop_all};

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Has a node speak the language, as the node of this number, with short
/// deadlines.
fn speak(config: &mut HostConfig, number: u8, bootstrap: &[SocketAddr]) {
    let root = config.data_dir.join("go");
    let (id, key) = (OwnerId([number; 32]), OwnerKey::from_bytes([number; 32]));
    let mut port = ForeverstoreConfig::new(root, id, key);
    port.listen = vec![SocketAddr::from(LOCAL)];
    port.bootstrap = bootstrap.to_vec();
    port.timing.pause = Duration::from_millis(1);
    port.redial = Duration::from_millis(50);
    port.next_peer = Duration::from_millis(100);
    config.foreverstore = Some(port);
}

fn start(lab: &Lab, number: u8, bootstrap: &[SocketAddr]) -> Member {
    lab.start(|config| speak(config, number, bootstrap))
}

fn port(member: &Member) -> BlockingForeverstore {
    member.client.foreverstore().unwrap().blocking()
}

fn addr(member: &Member) -> SocketAddr {
    port(member).port().addrs()[0]
}

fn root(member: &Member) -> std::path::PathBuf {
    member.dir().join("go")
}

fn replica(root: &Path, number: u8, name: &str) -> Vec<u8> {
    let path = FilePath::replica(&OwnerId([number; 32]), &FileKey::of(name));
    std::fs::read(root.join(path.as_str())).unwrap()
}

/// Sees that a connection has come about at the second port.
fn up(member: &Member, notices: &mut impl Iterator<Item = Notice>) {
    member.told(notices, |notice| match notice {
        Notice::Foreverstore(Told::Up { .. }) => Some(()),
        _ => None,
    });
}

fn read(port: &BlockingForeverstore, name: &str) -> Result<Vec<u8>, ForeverstoreError> {
    let mut data = Vec::new();
    let size = port.get(name, &mut data)?;
    assert_eq!(size, data.len() as u64);
    Ok(data)
}

/// Stores a file at so many peers, loses it here, and has it back.
fn round(port: &BlockingForeverstore, name: &str, data: &Bytes, peers: usize) {
    let spread = port.store(name, &data[..]).unwrap();
    assert!(
        spread.is_whole() && spread.confirmed == peers,
        "{name}: {spread}"
    );
    assert!(port.remove(name).unwrap());
    assert!(!port.remove(name).unwrap());
    assert!(read(port, name).unwrap() == *data, "{name} differs");
    assert!(port.remove(name).unwrap(), "it is here again");
}

/// Two nodes, and one that dials both: each stores, keeps, serves and gets.
pub fn the_go_programs_language_carries_files_in_every_role(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let b = start(lab, 2, &[]);
    let mut notices = [a.notices(), b.notices()];
    let c = start(lab, 3, &[addr(&a), addr(&b)]);
    up(&a, &mut notices[0]);
    up(&b, &mut notices[1]);
    for (at, size) in [0, 1, 15, 16, 17, 1012, 32 << 10, 1 << 20]
        .into_iter()
        .enumerate()
    {
        let name = format!("file of {size} bytes");
        let data = bytes(size, at as u64);
        round(&port(&c), &name, &data, 2);
        for other in [&a, &b] {
            let sealed = replica(&root(other), 3, &name);
            assert_eq!(sealed.len(), size + 16);
            assert!(size < 16 || !sealed.windows(16).any(|part| part == &data[..16]));
        }
    }
    // Who was dialled stores at who dialled it; all three at once.
    thread::scope(|scope| {
        for (member, peers) in [(&a, 1), (&b, 1), (&c, 2)] {
            scope.spawn(move || {
                for len in [1, 2, 31, 32, 33, 255, 256, 300] {
                    let data = bytes(40_000 + len, len as u64);
                    round(&port(member), &"n".repeat(len), &data, peers);
                }
            });
        }
    });
    // It is no part of the cluster.
    for member in [&a, &b, &c] {
        assert!(member.blocking().status().unwrap().peers.is_empty());
    }
    stop_all([a, b, c]);
}

/// Everything in the thread that turns the node.
pub fn the_go_programs_language_needs_no_workers(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let to = [addr(&a)];
    let b = lab.start(|config| {
        config.workers = 0;
        speak(config, 2, &to);
    });
    round(&port(&b), "name", &bytes(300_000, 1), 1);
    stop_all([a, b]);
}

/// A reader to whom a message is what one read gives, and who reads late.
pub fn a_reader_of_single_reads_has_every_message_whole(lab: &Lab) {
    let pause = Duration::from_millis(150);
    let (to, reader) = fake(move |mut socket| {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let (mut messages, mut announced) = (0, None);
        let mut mark = [0];
        while socket.read(&mut mark).unwrap() == 1 {
            if mark == [2] {
                let (key, size): (String, i64) = announced.take().expect("announced");
                let mut file = vec![0; usize::try_from(size).unwrap()];
                socket.read_exact(&mut file).unwrap();
                files.push((key, file));
                continue;
            }
            thread::sleep(pause / 5);
            let mut one = [0; 1028];
            let count = socket.read(&mut one).unwrap();
            let message = Bytes::copy_from_slice(&one[..count]);
            messages += 1;
            match Message::decode(message, Limits::default()).expect("a whole message") {
                Message::Store { key, size, .. } => announced = Some((key, size)),
                Message::Get { key, .. } => {
                    let file = files.iter().rev().find(|(of, _)| *of == key);
                    let (_, file) = file.expect("a file that was sent");
                    socket.write_all(&[2]).unwrap();
                    socket
                        .write_all(&(file.len() as i64).to_le_bytes())
                        .unwrap();
                    socket.write_all(file).unwrap();
                }
            }
        }
        messages
    });
    let member = lab.start(|config| {
        speak(config, 1, &[to]);
        let port = config.foreverstore.as_mut().unwrap();
        port.timing.pause = pause;
        port.attempts = 1;
    });
    let port = port(&member);
    thread::scope(|scope| {
        // What is asked for meanwhile waits for its turn.
        for (name, size) in [("small", 5), ("large", 1 << 20)] {
            let port = &port;
            scope.spawn(move || round(port, name, &bytes(size, 1), 1));
        }
    });
    drop(port);
    member.stop();
    assert_eq!(
        reader.join().unwrap(),
        6,
        "two stores, each asked for twice"
    );
}

/// A peer that is not one of ours: where it listens, and what became of the first
/// connection there.
fn fake<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind(SocketAddr::from(LOCAL)).unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
    (addr, thread)
}

/// One peer that says nothing, and one that has the file.
pub fn a_get_asks_on_where_a_peer_is_silent_and_ends_where_all_are(lab: &Lab) {
    let (silent, listening) = fake(|mut socket| {
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).unwrap();
        heard.len()
    });
    let a = start(lab, 1, &[]);
    let to = [silent, addr(&a)];
    let b = lab.start(|config| {
        speak(config, 2, &to);
        let port = config.foreverstore.as_mut().unwrap();
        port.timing.answer = Duration::from_millis(200);
        port.timing.late = Duration::from_millis(50);
        port.attempts = 2;
    });
    let spread = port(&b).store("name", &b"text"[..]).unwrap();
    assert_eq!(
        (spread.confirmed, spread.is_whole()),
        (1, false),
        "{spread}"
    );
    assert_eq!(spread.failed, [(Some(silent), OpError::Silent)]);
    assert!(port(&b).remove("name").unwrap());
    assert_eq!(read(&port(&b), "name").unwrap(), b"text");
    match read(&port(&b), "none") {
        Err(ForeverstoreError::NotFound(asked)) => assert_eq!(asked.len(), 2),
        other => panic!("{other:?}"),
    }
    stop_all([a, b]);
    assert!(listening.join().unwrap() > 0, "it was asked");
}

/// A peer that sends back what it was not sent.
pub fn a_peer_that_holds_something_else_does_not_count(lab: &Lab) {
    let (liar, lying) = fake(|mut socket| {
        let (mut gets, mut heard) = (0, [0; 4096]);
        while let Ok(count @ 1..) = socket.read(&mut heard) {
            // In one read there is one message, or a store's bytes: pauses part them.
            let message = Bytes::copy_from_slice(&heard[1..count]);
            if let Ok(Message::Get { .. }) = Message::decode(message, Limits::default()) {
                gets += 1;
                let answer = [&[2], &20_i64.to_le_bytes()[..], &[9; 20]].concat();
                socket.write_all(&answer).unwrap();
            }
        }
        gets
    });
    let member = lab.start(|config| {
        speak(config, 1, &[liar]);
        let port = config.foreverstore.as_mut().unwrap();
        port.timing.pause = Duration::from_millis(100);
        port.attempts = 2;
    });
    let spread = port(&member).store("name", &b"text"[..]).unwrap();
    assert_eq!(spread.failed, [(Some(liar), OpError::Differs)], "{spread}");
    member.stop();
    assert_eq!(lying.join().unwrap(), 2);
}

/// A link where a peer's files would be.
#[cfg(unix)]
pub fn no_link_below_the_second_ports_root_is_followed_for_a_peer(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let outside = tempfile::tempdir().unwrap();
    let owner = root(&a).join(OwnerId([2; 32]).to_string());
    std::os::unix::fs::symlink(outside.path(), owner).unwrap();
    let mut notices = a.notices();
    let to = [addr(&a)];
    let b = lab.start(|config| {
        speak(config, 2, &to);
        let port = config.foreverstore.as_mut().unwrap();
        port.timing.answer = Duration::from_millis(200);
        port.attempts = 1;
    });
    let spread = port(&b).store("name", &b"text"[..]).unwrap();
    assert_eq!(spread.failed, [(Some(to[0]), OpError::Silent)], "{spread}");
    let event = a.told(&mut notices, |notice| match notice {
        Notice::Foreverstore(Told::Peer(event)) => Some(event),
        _ => None,
    });
    assert!(matches!(event, Event::NotKept { .. }), "{event:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    stop_all([a, b]);
}

/// A peer that is lost and comes back at its address.
pub fn a_lost_peer_of_the_go_program_is_dialled_again(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let at = addr(&a);
    let b = start(lab, 2, &[at]);
    round(&port(&b), "before", &bytes(10, 1), 1);
    let mut notices = b.notices();
    let dir = a.stop();
    let unreachable = b.told(&mut notices, |notice| match notice {
        Notice::Foreverstore(Told::Unreachable { addr }) => Some(addr),
        _ => None,
    });
    assert_eq!(unreachable, at);
    // Alone, with a peer that should be there.
    let spread = port(&b).store("alone", &b"text"[..]).unwrap();
    assert_eq!((spread.confirmed, spread.is_whole()), (0, false));
    assert_eq!(spread.unreached, [at]);
    let a = lab.start_in(dir, |config| {
        speak(config, 1, &[]);
        config.foreverstore.as_mut().unwrap().listen = vec![at];
    });
    up(&b, &mut notices);
    round(&port(&b), "after", &bytes(10, 1), 1);
    stop_all([a, b]);
}

/// Others' connections, as many as may be, and one more.
pub fn connections_of_the_second_port_are_limited_and_kept_apart(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let to = [addr(&a)];
    let b = lab.start(|config| {
        speak(config, 2, &to);
        let port = config.foreverstore.as_mut().unwrap();
        port.connections = 3;
        (port.attempts, port.timing.answer) = (1, Duration::from_millis(300));
    });
    let mut notices = b.notices();
    let connect = |_| TcpStream::connect(addr(&b)).unwrap();
    let held: Vec<TcpStream> = (0..3).map(connect).collect();
    (0..3).for_each(|_| up(&b, &mut notices));
    // Dropped at once, whatever it says.
    let mut more = connect(3);
    let mut nothing = Vec::new();
    assert_eq!(more.read_to_end(&mut nothing).unwrap_or(0), 0);
    // Those that this node dials are not among them.
    let spread = port(&b).store("name", &b"text"[..]).unwrap();
    assert_eq!((spread.confirmed, spread.failed.len()), (1, 3), "{spread}");
    // What a session begins with is no message there.
    let mut other = &held[0];
    other.write_all(&[22, 3, 1, 0, 100]).unwrap();
    let fault = b.told(&mut notices, |notice| match notice {
        Notice::Foreverstore(Told::Down { fault, .. }) => Some(fault),
        _ => None,
    });
    assert!(matches!(fault, Some(Fault::Message(_))), "{fault:?}");
    // It has what was sent to it till then, and the end, good or bad.
    let _ = other.read_to_end(&mut Vec::new());
    // And nobody speaks it on the port of sessions.
    let get = Message::Get {
        id: OwnerId([1; 32]).to_string(),
        key: FileKey::of("name").to_string(),
    };
    let mut session = TcpStream::connect(b.addr()).unwrap();
    session
        .write_all(&[&[1], &get.encode()[..]].concat())
        .unwrap();
    let mut alert = Vec::new();
    session.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "an alert of TLS");
    stop_all([a, b]);
}

/// Files of peers, more than there may be below a root.
pub fn the_second_port_keeps_no_more_bytes_than_it_may(lab: &Lab) {
    let keeper = lab.start(|config| {
        speak(config, 1, &[]);
        config.foreverstore.as_mut().unwrap().capacity_bytes = Some(100_000);
    });
    let to = [addr(&keeper)];
    let client = lab.start(|config| {
        speak(config, 2, &to);
        let port = config.foreverstore.as_mut().unwrap();
        (port.attempts, port.timing.answer) = (1, Duration::from_millis(300));
    });
    let mut notices = keeper.notices();
    up(&keeper, &mut notices);
    let store = |name, size| port(&client).store(name, &bytes(size, 1)[..]).unwrap();
    assert!(store("first", 60_000).is_whole());
    assert_eq!(store("more than there is room for", 60_000).confirmed, 0);
    let why = keeper.told(&mut notices, |notice| match notice {
        Notice::Foreverstore(Told::Peer(Event::NotKept { why, .. })) => Some(why),
        _ => None,
    });
    assert_eq!(why, NotKept::Disk(DiskError::NoSpace));
    assert!(store("what there is room for", 30_000).is_whole());
    assert_eq!(replica(&root(&keeper), 2, "first").len(), 60_016);
    stop_all([keeper, client]);
}

/// Many bytes, over connections on which few may go in a second.
pub fn the_second_ports_bandwidth_is_kept_to(lab: &Lab) {
    const RATE: u64 = 2 << 20;
    const SIZE: usize = 1 << 20;
    let time = |upload, download| {
        let keeper = lab.start(|config| {
            speak(config, 1, &[]);
            config.foreverstore.as_mut().unwrap().download = download;
        });
        let to = [addr(&keeper)];
        let client = lab.start(|config| {
            speak(config, 2, &to);
            config.foreverstore.as_mut().unwrap().upload = upload;
        });
        let begun = Instant::now();
        round(&port(&client), "name", &bytes(SIZE, 1), 1);
        let time = begun.elapsed();
        stop_all([keeper, client]);
        time
    };
    // All but the first turn's share has to be waited for.
    let least = Duration::from_secs(SIZE as u64) * 9 / 10 / RATE as u32;
    for (upload, download) in [(Some(RATE), None), (None, Some(RATE))] {
        let took = time(upload, download);
        assert!(took >= least, "{took:?} with {upload:?} and {download:?}");
    }
}

/// An end while a file is on its way, and while one is waited for.
pub fn an_end_leaves_nothing_of_the_second_port(lab: &Lab) {
    let (deaf, listening) = fake(|socket| {
        let mut first = [0];
        (&socket).read_exact(&mut first).unwrap();
        socket
    });
    let member = start(lab, 1, &[deaf]);
    let waits = port(&member);
    let (begun, begins) = std::sync::mpsc::channel();
    let storing = thread::spawn(move || {
        begun.send(()).unwrap();
        waits.store("name", &bytes(20 << 20, 1)[..])
    });
    begins.recv().unwrap();
    let mut socket = listening.join().unwrap();
    member
        .blocking()
        .shutdown(Duration::from_millis(100))
        .unwrap();
    assert!(storing.join().unwrap().is_err(), "nobody has it");
    let dir = member.ended();
    let mut rest = Vec::new();
    // It is closed, if not in good order.
    let _ = socket.read_to_end(&mut rest);
    // What was kept is here, and the root is free.
    let again = lab.start_in(dir, |config| speak(config, 1, &[]));
    assert_eq!(read(&port(&again), "name").unwrap().len(), 20 << 20);
    let left = std::fs::read_dir(root(&again).join(".peerhold/tmp")).unwrap();
    assert_eq!(left.count(), 0);
    again.blocking().shutdown(SOON).unwrap();
    again.ended();
}

/// A root that is another's, a setting that makes no sense.
pub fn a_second_port_that_cannot_be_opened_is_said_plainly(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let (taken, at) = (root(&a), addr(&a));
    let failed = |change: &dyn Fn(&mut ForeverstoreConfig)| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::lab::alone(dir.path());
        speak(&mut config, 2, &[]);
        change(config.foreverstore.as_mut().unwrap());
        lab.try_open(config).unwrap_err().to_string()
    };
    let error = failed(&|port| port.root.clone_from(&taken));
    assert!(error.contains("already open"), "{error}");
    let error = failed(&|port| port.listen = vec![at]);
    assert!(error.contains("in use"), "{error}");
    let error = failed(&|port| port.attempts = 0);
    assert!(error.contains("foreverstore.attempts"), "{error}");
    round(
        &port(&lab.start(|config| speak(config, 3, &[at]))),
        "name",
        &bytes(9, 1),
        1,
    );
    a.stop();
}

/// 300 MiB, in bounded memory.
pub fn a_file_of_300_mib_goes_round_in_the_go_programs_language(lab: &Lab) {
    let a = start(lab, 1, &[]);
    let b = start(lab, 2, &[addr(&a)]);
    round(&port(&b), "large", &bytes(300 << 20, 1), 1);
    stop_all([a, b]);
}
