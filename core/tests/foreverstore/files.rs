//! Files that are slow, full or damaged, and what is held of them in memory.

use peerhold_core::disk::DiskError;
use peerhold_core::foreverstore::{
    Event, Fault, FileData, FileKey, FileKind, Input, Message, NotKept, OpError, Outcome, OwnerId,
};

use crate::host::{Host, config, content};

const PEER: OwnerId = OwnerId([2; 32]);
const FILE: FileKey = FileKey([0; 16]);

#[test]
fn what_is_received_waits_for_the_files_in_a_window() {
    let limits = config(1).limits;
    let mut host = Host::new(1);
    host.slow_files = true;
    host.receive(&store_message(10 << 20));
    host.receive(&[2]);
    let mut held = 0;
    while host.conn.read_budget() > 0 {
        let piece = vec![1; host.conn.read_budget()];
        held += piece.len();
        host.receive(&piece);
    }
    assert_eq!(held, limits.window);
    // Each operation makes room again, for as much as it took.
    let mut came = held;
    while came < 10 << 20 {
        host.execute_waiting();
        let budget = host.conn.read_budget().min((10 << 20) - came);
        assert!(budget > 0 && budget <= limits.window);
        host.receive(&vec![1; budget]);
        came += budget;
    }
    host.execute_waiting();
    assert_eq!(host.replica(&PEER, &FILE).unwrap().len(), 10 << 20);
}

#[test]
fn what_is_sent_is_read_ahead_in_a_window() {
    let limits = config(1).limits;
    let mut host = Host::new(1);
    host.has_own("n", &content(3 << 20));
    host.slow_files = true;
    host.store("n", false);
    let read = read_ahead(&mut host);
    assert!(
        read > 0 && read <= limits.window + limits.chunk,
        "{read} bytes"
    );
    host.slow_files = false;
    assert!(host.write_all().len() > 3 << 20);
    assert_eq!(host.files.open(), 0);
}

#[test]
fn a_flood_of_small_stores_stops_being_read() {
    let mut host = Host::new(1);
    host.slow_files = true;
    let one = [&store_message(16)[..], &[2], &[0; 16]].concat();
    let mut stores = 0;
    while host.conn.read_budget() > 0 {
        host.receive(&one);
        stores += 1;
    }
    assert_eq!(stores, config(1).limits.files);
    host.execute_waiting();
    assert!(host.conn.read_budget() > 0);
    let kept = host
        .events
        .iter()
        .filter(|event| matches!(event, Event::Kept { .. }));
    assert_eq!(kept.count(), stores);
}

#[test]
fn events_that_nobody_takes_stop_the_reading() {
    let mut host = Host::new(1);
    let (id, key) = (host.id.to_string(), FILE.to_string());
    let get = framed(&Message::Get { id, key });
    let mut gets = 0;
    while host.conn.read_budget() > 0 {
        let data = bytes::Bytes::from(get.clone());
        host.conn.handle(host.now, Input::Received(data));
        gets += 1;
    }
    assert_eq!(gets, config(1).limits.requests + 1);
    host.drain();
    assert!(host.conn.read_budget() > 0);
}

#[test]
fn a_full_disk_costs_the_peer_its_store_and_nothing_else() {
    for failing in 0..3 {
        let mut host = Host::new(1);
        host.slow_files = true;
        host.receive(&store_message(100));
        host.receive(&[2]);
        host.receive(&[3; 90]);
        let mut operation = 0;
        let mut come = 90;
        while let Some(op) = host.waiting.pop_front() {
            let fail = operation == failing && !matches!(op.kind(), FileKind::Discard { .. });
            let done = if fail {
                op.complete(Err(DiskError::NoSpace))
            } else {
                host.files.execute(op)
            };
            operation += 1;
            host.conn.handle(host.now, Input::File(done));
            host.drain();
            if come == 90 {
                host.receive(&[3; 10]);
                come = 100;
            }
        }
        let (owner, key, why) = (PEER, FILE, NotKept::Disk(DiskError::NoSpace));
        assert_eq!(host.events, [Event::NotKept { owner, key, why }]);
        assert_eq!(host.replica(&PEER, &FILE), None);

        host.slow_files = false;
        host.receive(&[&store_message(20)[..], &[2], &[4; 20]].concat());
        assert_eq!(host.replica(&PEER, &FILE), Some(&[4; 20][..]));
    }
}

#[test]
fn a_get_that_the_disk_has_no_room_for_fails() {
    let mut host = Host::new(1);
    host.has_own("n", b"before");
    let op = host.get("n");
    host.write_all();
    host.slow_files = true;
    host.receive(&[&[2, 20], &[0; 7][..], &[0; 20]].concat());
    let create = host.waiting.pop_front().unwrap();
    let done = create.complete(Err(DiskError::NoSpace));
    host.conn.handle(host.now, Input::File(done));
    host.drain();
    host.execute_waiting();
    let error = OpError::Disk(DiskError::NoSpace);
    assert_eq!(host.result(op), Some(&Err(error)));
    assert_eq!(host.own("n"), Some(&b"before"[..]));
    assert_eq!(host.fault(), None);
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_ends_the_connection() {
    for short in [false, true] {
        let mut host = Host::new(1);
        host.has_own("n", &content(300_000));
        let op = host.store("n", false);
        host.slow_files = true;
        while host.waiting.is_empty() {
            assert!(!host.write_until_pause().is_empty(), "it waits for nothing");
        }
        let read = host.waiting.pop_front().unwrap();
        assert!(matches!(read.kind(), FileKind::Read { .. }));
        let bytes = bytes::Bytes::from_static(b"short");
        let result = if short {
            Ok(FileData::Read(bytes))
        } else {
            Err(DiskError::Corrupt)
        };
        host.conn
            .handle(host.now, Input::File(read.complete(result)));
        host.drain();
        host.execute_waiting();
        assert_eq!(host.fault(), Some(Fault::Unreadable));
        assert!(matches!(host.result(op), Some(Err(OpError::Disk(_)))));
        assert!(host.conn.is_over());
        assert_eq!(host.files.open(), 0);
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_not_served() {
    let mut host = Host::new(1);
    host.slow_files = true;
    let (id, key) = (PEER.to_string(), FILE.to_string());
    host.receive(&framed(&Message::Get { id, key }));
    let open = host.waiting.pop_front().unwrap();
    let why = DiskError::Io("no".into());
    host.conn
        .handle(host.now, Input::File(open.complete(Err(why.clone()))));
    host.drain();
    assert!(host.write_all().is_empty());
    let (owner, key) = (PEER, FILE);
    assert_eq!(host.events, [Event::NotServed { owner, key, why }]);
    assert_eq!(host.fault(), None);
}

#[test]
fn as_many_operations_run_as_may() {
    let mut host = Host::new(1);
    let max = config(1).limits.operations;
    let ops: Vec<_> = (0..max).map(|at| host.get(&format!("{at}"))).collect();
    let refused = host.conn.get(host.now, "one more".into());
    assert_eq!(refused, Err(peerhold_core::Busy("one more".to_owned())));
    host.write_all();
    host.receive(&[&[2, 16], &[0; 7][..], &[0; 16]].concat());
    assert_eq!(host.result(ops[0]), Some(&Ok(Outcome::Got { size: 0 })));
    host.get("one more");
}

/// How much it reads of a file before anything is written.
fn read_ahead(host: &mut Host) -> usize {
    let mut read = 0;
    while let Some(op) = host.waiting.pop_front() {
        if let FileKind::Read { len, .. } = op.kind() {
            read += len;
        }
        let done = host.files.execute(op);
        host.conn.handle(host.now, Input::File(done));
        host.drain();
    }
    read
}

fn framed(message: &Message) -> Vec<u8> {
    [&[1], &message.encode()[..]].concat()
}

fn store_message(size: i64) -> Vec<u8> {
    let (id, key) = (PEER.to_string(), FILE.to_string());
    framed(&Message::Store { id, key, size })
}

#[test]
fn a_later_store_is_not_overtaken_by_an_earlier_one() {
    let mut host = Host::new(1);
    host.slow_files = true;
    for byte in [1, 2] {
        host.receive(&[&store_message(16)[..], &[2], &[byte; 16]].concat());
    }
    // The later one's operations are all done first, as long as there are any.
    while let Some(op) = host.waiting.pop_back() {
        let done = host.files.execute(op);
        host.conn.handle(host.now, Input::File(done));
        host.drain();
    }
    assert_eq!(host.replica(&PEER, &FILE), Some(&[2; 16][..]));
}
