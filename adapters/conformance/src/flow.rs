//! Who is slow slows down nobody else, and nothing grows without bound.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use peerhold_host::HostConfig;
use peerhold_host::peerhold_core::seal::BLOB_MAX;
use peerhold_host::peerhold_core::{Forget, Limits};

use crate::between::Between;
use crate::files::smallest_buffers;
use crate::lab::{Lab, Member, Numbers, bytes, get, name, put, stop_all, three, writer};

/// As large as the others are to each other in [`little_memory`].
const LARGE: usize = 24 << 20;

/// Two nodes of which each gets a large file from the other.
pub fn with_the_smallest_buffers_two_nodes_that_read_from_each_other_both_finish(lab: &Lab) {
    cross(lab, 24 << 20);
}

/// As above, for minutes.
pub fn with_the_smallest_buffers_two_nodes_that_read_1_gib_from_each_other_both_finish(lab: &Lab) {
    cross(lab, 1 << 30);
}

fn cross(lab: &Lab, size: u64) {
    /// Without content: neither side holds anything of what it reads.
    const FORGOTTEN: &str = "the copies here are forgotten";
    let mut members = lab.cluster(3, |_, config| {
        smallest_buffers(config);
        config.node.limits = Limits {
            operations: 2,
            memory: 10 * BLOB_MAX,
            requests: 8,
            disk_operations: 1,
            ..Limits::default()
        };
    });
    for (at, text) in [(0, "of 0"), (1, "of 1")] {
        let mut op = members[at].blocking().put(put(text)).unwrap();
        let mut source = Pattern::new(at as u64, size);
        std::io::copy(&mut source, &mut op).unwrap();
        op.finish().unwrap();
        op.settled().unwrap();
    }
    for (at, text) in [(0, "of 1"), (1, "of 0")] {
        let forget = Forget {
            reader: writer().reader().clone(),
            name: name(text),
        };
        let forgotten = members[at].blocking().forget(forget).unwrap();
        assert_eq!(forgotten.kept, 0, "{FORGOTTEN}");
        assert!(forgotten.blobs >= size >> 20, "{FORGOTTEN}");
    }
    // From now on each has only the other to read from.
    members.remove(2).stop();
    thread::scope(|scope| {
        scope.spawn(|| same(&members[0], "of 1", Pattern::new(1, size)));
        same(&members[1], "of 0", Pattern::new(0, size));
    });
    stop_all(members);
}

/// Reads the file and compares it with what it should be.
fn same(member: &Member, text: &str, mut expected: Pattern) {
    let mut reader = member.blocking().get(get(text)).unwrap();
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0;
    loop {
        let count = reader.read(&mut left).unwrap();
        if count == 0 {
            break;
        }
        expected.read_exact(&mut right[..count]).unwrap();
        assert!(
            left[..count] == right[..count],
            "{text} differs behind byte {at}"
        );
        at += count as u64;
    }
    assert_eq!(expected.left, 0, "{text} ends after {at} bytes");
}

/// A source of bytes that repeat nowhere near.
struct Pattern {
    numbers: Numbers,
    left: u64,
}

impl Pattern {
    fn new(seed: u64, size: u64) -> Self {
        Self {
            numbers: Numbers::new(seed),
            left: size,
        }
    }
}

impl Read for Pattern {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        for byte in &mut buf[..count] {
            *byte = (self.numbers.next() >> 32) as u8;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A file of this many bytes has many times more than a share of this memory.
fn little_memory(config: &mut HostConfig) {
    config.node.limits.operations = 4;
    config.node.limits.memory = 12 * BLOB_MAX;
    // Nobody is to give up on who is slow here.
    config.node.timing.operation = Duration::from_secs(600);
}

/// The most that such a node has in memory of files.
fn bounded(member: &Member) {
    let held = member.blocking().status().unwrap().memory;
    assert!(held <= 12 * BLOB_MAX, "{held} bytes are in memory");
}

/// A get whose caller does not read.
pub fn a_reader_that_does_not_read_holds_up_nobody_else(lab: &Lab) {
    let members = lab.cluster(3, |_, config| little_memory(config));
    let (large, small) = (bytes(LARGE, 8), Bytes::from_static(b"small"));
    members[0].put("large", &large);
    let other = &members[1];
    let mut slow = other.blocking().get(get("large")).unwrap();
    for index in 0..20 {
        let name = format!("small {index}");
        other.put(&name, &small);
        other.holds(&name, &small);
        bounded(other);
    }
    let mut read = Vec::new();
    slow.read_to_end(&mut read).unwrap();
    assert!(read == large);
    stop_all(members);
}

/// A put whose caller is slow, and one that gives more than there is room for.
pub fn a_writer_that_dawdles_holds_up_nobody_else(lab: &Lab) {
    let members = lab.cluster(3, |_, config| little_memory(config));
    let (data, small) = (bytes(LARGE, 8), Bytes::from_static(b"small"));
    let node = &members[0];
    let mut slow = node.blocking().put(put("slow")).unwrap();
    for (index, piece) in data.chunks(LARGE / 20).enumerate() {
        slow.write_all(piece).unwrap();
        let name = format!("small {index}");
        node.put(&name, &small);
        members[1].holds(&name, &small);
        bounded(node);
    }
    slow.finish().unwrap();
    members[2].holds("slow", &data);
    stop_all(members);
}

/// A peer that takes nothing any more, though its connection stands.
pub fn a_peer_that_stops_reading_holds_up_nobody_else(lab: &Lab) {
    let between = Between::new();
    let little_memory = |config: &mut HostConfig| {
        little_memory(config);
        three(config);
        // What is owed is offered again so often.
        config.node.timing.request = Duration::from_millis(300);
    };
    let mut members = vec![lab.start(little_memory)];
    let first = members[0].bootstrap();
    members.push(lab.start(|config| {
        little_memory(config);
        config.node.bootstrap = vec![first];
        config.node.advertise = vec![between.addr().to_string().into()];
    }));
    between.lead(members[1].addr());
    // Nobody but the third dials the second by that place.
    members.push(lab.start(|config| {
        little_memory(config);
        config.listen.clear();
        config.node.bootstrap = vec![between.addr().to_string().into()];
    }));
    for member in &members[1..] {
        member.meet(3, 1);
    }
    members[1].meet(3, 2);
    between.freeze();
    // W = 2 of the three can be had, and the third one's copies are late.
    let data = bytes(LARGE, 3);
    let node = &members[1];
    let mut stuck = node.blocking().put(put("large")).unwrap();
    stuck.write_all(&data).unwrap();
    stuck.finish().unwrap();
    for index in 0..10 {
        let (name, small) = (format!("small {index}"), bytes(100, index));
        node.put(&name, &small);
        members[0].holds(&name, &small);
        bounded(node);
    }
    between.thaw();
    stuck.settled().unwrap();
    members[2].holds("large", &data);
    drop(stuck);
    stop_all(members);
}

/// One that reads much leaves room for one that reads little.
///
/// A get of 1 KiB finishes before 16 MiB more of one of 256 MiB have been
/// handed to its reader.
pub fn a_small_get_does_not_wait_for_a_large_one(lab: &Lab) {
    const WHOLE: u64 = 256 << 20;
    const MEANWHILE: u64 = 16 << 20;
    const TRIES: u64 = 8;
    let members = lab.cluster(1, |_, config| {
        (config.node.replicas, config.node.durable) = (1, 1);
    });
    // A client has nothing by itself: all of it comes over one connection.
    let client = lab.start(|config| {
        config.node.weight = 0;
        config.node.bootstrap = vec![members[0].bootstrap()];
    });
    client.meet(1, 1);
    let mut large = members[0].blocking().put(put("large")).unwrap();
    std::io::copy(&mut Pattern::new(1, WHOLE), &mut large).unwrap();
    large.finish().unwrap();
    let small = bytes(1 << 10, 2);
    members[0].put("small", &small);

    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = client.blocking().get(get("large")).unwrap();
            while let Some(data) = reader.next_bytes().unwrap() {
                read.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        });
        let come = |bytes| {
            while read.load(Ordering::Relaxed) < bytes {
                thread::yield_now();
            }
        };
        for index in 0..TRIES {
            come(1 + index * (WHOLE - MEANWHILE) / TRIES);
            let before = read.load(Ordering::Relaxed);
            assert!(before < WHOLE, "the large file has come already");
            client.holds("small", &small);
            let meanwhile = read.load(Ordering::Relaxed) - before;
            assert!(
                meanwhile < MEANWHILE,
                "{meanwhile} bytes of the large file came meanwhile"
            );
        }
    });
    assert_eq!(read.into_inner(), WHOLE);
    client.stop();
    stop_all(members);
}
