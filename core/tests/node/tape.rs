//! Tapes: what is changed on one is noticed, and where; none can do harm.
//! That they replay, every other test here shows when its nodes are dropped.

use std::time::Duration;

use peerhold_core::tape::{End, ReplayError, Replayed, Replayer, replay};
use peerhold_core::{CloseReason, Config, Input, Outcome, Role};
use quickcheck::{QuickCheck, TestResult};

use crate::fake_peer::id;
use crate::host::{Host, ME, config, noise};

/// Bytes of an entry before its body.
const HEADER: usize = 12;
/// Bytes before the first entry.
const MAGIC: usize = 16;

#[test]
fn a_small_tape_is_as_written_down() {
    let vectors = include_str!("../vectors/tape.txt");
    let hex = |tape: &[u8]| -> String { tape.iter().map(|byte| format!("{byte:02x}")).collect() };
    let tape = small_tape();
    let other = join(&with_another_conn(&tape));
    assert!(matches!(replay(&other), Err(ReplayError::Differs(_))));
    for line in [
        format!("identical {}", hex(&tape)),
        format!("differs {}", hex(&other)),
    ] {
        assert!(vectors.lines().any(|pinned| pinned == line), "now {line}");
    }
}

#[test]
fn a_replay_accounts_for_what_was_done() {
    let tape = tape_of_files();
    let replayed = replay(&tape).unwrap();
    assert_eq!((replayed.node, replayed.end), (ME, End::Whole));
    assert_eq!((replayed.operations, replayed.put), (4, 150_040));
    assert_eq!(replayed.got, 150_040);
    assert_eq!(replayed.bytes, tape.len() as u64);
    assert_eq!(replayed.entries, split(&tape).len() as u64);
    assert!(replayed.span >= Duration::from_secs(30));
}

#[test]
fn the_cutting_of_a_tape_changes_nothing() {
    let tape = small_tape();
    let whole = replay(&tape).unwrap();
    for piece in [1, 2, 11, 12, 13, 100] {
        let mut replayer = Replayer::new();
        tape.chunks(piece)
            .for_each(|piece| replayer.feed(piece).unwrap());
        assert_eq!(replayer.finish(), Ok(whole.clone()));
    }
}

#[test]
fn every_byte_that_is_changed_is_noticed_at_its_entry() {
    let tape = small_tape();
    let ends = ends(&tape);
    for at in 0..tape.len() {
        for bit in [0x01, 0x80] {
            let mut changed = tape.clone();
            changed[at] ^= bit;
            let entry = 1 + ends.iter().filter(|end| **end <= at).count() as u64;
            match replay(&changed) {
                Err(ReplayError::NotATape | ReplayError::Format) => assert!(at < MAGIC),
                Err(ReplayError::Damaged { entry: told, .. }) => assert_eq!(told, entry),
                // Its length reaches beyond the end.
                Ok(Replayed {
                    end: End::Torn { .. },
                    entries,
                    ..
                }) => assert_eq!(entries + 1, entry),
                Err(ReplayError::Empty) => assert_eq!(entry, 1),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_torn_tape_replays_up_to_its_last_whole_entry() {
    let tape = small_tape();
    let ends = ends(&tape);
    for at in 0..tape.len() {
        let whole = ends.iter().filter(|end| **end <= at).count() as u64;
        match replay(&tape[..at]) {
            Err(ReplayError::Empty) => assert_eq!(whole, 0),
            Ok(replayed) => {
                assert_eq!(replayed.entries, whole);
                let left = at as u64 - replayed.bytes;
                let end = if left > 0 {
                    End::Torn { bytes: left }
                } else {
                    End::Open
                };
                assert_eq!(replayed.end, end);
            }
            other => panic!("{at} bytes: {other:?}"),
        }
    }
}

#[test]
fn entries_left_out_repeated_or_exchanged_are_noticed() {
    let tape = small_tape();
    let ends = ends(&tape);
    for at in 1..ends.len() - 1 {
        let (from, to) = (ends[at - 1], ends[at]);
        let without = [&tape[..from], &tape[to..]].concat();
        let twice = [&tape[..to], &tape[from..]].concat();
        let exchanged = [&tape[..from], &tape[to..ends[at + 1]], &tape[from..to]].concat();
        for changed in [without, twice, exchanged] {
            assert!(
                matches!(replay(&changed), Err(ReplayError::Damaged { .. })),
                "{at}"
            );
        }
    }
}

/// As if the node had been another one: the same calls, another content.
#[test]
fn one_changed_byte_of_an_input_is_found_where_it_first_makes_a_difference() {
    let tape = tape_of_files();
    let mut entries = split(&tape);
    let name =
        |entry: &Vec<u8>| String::from_utf8_lossy(&entry[..40.min(entry.len())]).into_owned();
    let pushed = entries
        .iter()
        .position(|entry| name(entry).contains("Push"))
        .unwrap();
    *entries[pushed].last_mut().unwrap() ^= 1;
    let Err(ReplayError::Differs(difference)) = replay(&join(&entries)) else {
        panic!("another content gives the same");
    };
    // The job that seals it is the same work; what it makes is another blob,
    // and the first that shows of it is the order to the disk.
    assert!(difference.entry as usize > pushed + 1, "{difference}");
    assert_eq!(difference.call, "poll_disk");
    let shown = difference.to_string();
    assert!(
        shown.contains("PutBlob") || shown.contains("PutRecord"),
        "{shown}"
    );
    let before = &entries[difference.entry as usize - 2];
    assert!(name(before).contains("drained"), "{shown}");
}

#[test]
fn another_seed_is_another_node() {
    let tape = tape_of_files();
    let mut entries = split(&tape);
    let seed = *ME.as_bytes();
    // The node's id is the first that equals the seed, which follows it.
    let at = entries[0]
        .windows(32)
        .rposition(|window| window == seed)
        .unwrap();
    entries[0][at] ^= 1;
    assert!(matches!(
        replay(&join(&entries)),
        Err(ReplayError::Differs(_))
    ));
}

#[test]
fn what_cannot_be_where_it_is_is_refused() {
    let entries = split(&small_tape());
    let end = entries.last().unwrap().clone();
    let gave = vec![0x82, 0x64, b'g', b'a', b'v', b'e', 0xf6];
    let told_job = [
        &[0x83, 0x64][..],
        b"told",
        &[0x00, 0x82, 0x63],
        b"Job",
        &[0x18, 99],
    ]
    .concat();
    let misplaced = [
        vec![end.clone()],
        vec![entries[0].clone(), entries[0].clone()],
        vec![entries[0].clone(), gave],
        vec![entries[0].clone(), end.clone(), end],
        vec![entries[0].clone(), told_job],
    ];
    for entries in misplaced {
        assert!(matches!(
            replay(&join(&entries)),
            Err(ReplayError::OutOfOrder { .. })
        ));
    }
    let unknown = vec![entries[0].clone(), vec![0x81, 0x64, b'n', b'o', b'n', b'e']];
    assert!(matches!(
        replay(&join(&unknown)),
        Err(ReplayError::Malformed { entry: 2, .. })
    ));
    assert_eq!(replay(b""), Err(ReplayError::Empty));
    assert_eq!(
        replay(b"something else entirely"),
        Err(ReplayError::NotATape)
    );
    assert_eq!(replay(b"peerhold tape 2\n"), Err(ReplayError::Format));
}

#[test]
fn no_tape_can_do_harm_whoever_made_it() {
    let tape = split(&tape_of_files());
    let property = move |entry: usize, changes: Vec<(usize, u8)>, drop: Option<usize>| {
        let mut entries = tape.clone();
        let count = entries.len();
        let entry = &mut entries[entry % count];
        for (at, byte) in changes.into_iter().take(4) {
            // Most of a body is plaintext or hashes; its structure is in front.
            let len = entry.len().min(400);
            entry[at % len] = byte;
        }
        if let Some(at) = drop {
            entries.remove(at % count);
        }
        // Whatever it says, it comes back.
        let _ = replay(&join(&entries));
        TestResult::passed()
    };
    QuickCheck::new()
        .tests(400)
        .quickcheck(Property(Box::new(property)));
}

#[test]
fn a_tape_is_not_shown_by_debug() {
    let mut host = Host::new(config(ME));
    let shown = format!("{:?}", *host.node);
    assert_eq!(
        shown,
        format!(
            "Taped {{ node: Node {{ node: {ME:?}, now: Instant(0), .. }}, tape: Some(Tape(..)) }}"
        )
    );
    assert!(host.node.tape().starts_with(b"peerhold tape 1\n"));
}

type Changes = Vec<(usize, u8)>;

/// A closure as a property.
struct Property(Box<dyn Fn(usize, Changes, Option<usize>) -> TestResult>);

impl quickcheck::Testable for Property {
    fn result(&self, gen_: &mut quickcheck::Gen) -> TestResult {
        use quickcheck::Arbitrary;
        (self.0)(
            usize::arbitrary(gen_),
            Vec::arbitrary(gen_),
            Option::arbitrary(gen_),
        )
    }
}

fn single() -> Config {
    Config {
        replicas: 1,
        durable: 1,
        ..config(ME)
    }
}

/// A node that starts, meets somebody, and is left again.
fn small_tape() -> Vec<u8> {
    let mut host = Host::new(single());
    let conn = host.node.accept(host.now).unwrap();
    let (role, peer) = (Role::Listener, id(2));
    host.handle(Input::Opened { conn, role, peer });
    assert!(host.node.poll_transmit(conn, 1000).is_some());
    host.handle(Input::Received {
        conn,
        data: bytes::Bytes::from_static(b"not a frame"),
    });
    host.run();
    let reason = CloseReason::Eof;
    host.handle(Input::Closed { conn, reason });
    host.run();
    host.node.end_tape();
    host.node.tape().to_vec()
}

/// The small tape as if `accept` had named another connection.
fn with_another_conn(tape: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = split(tape);
    let accept = entries
        .iter()
        .position(|entry| entry.ends_with(b"Accept"))
        .unwrap();
    *entries[accept + 1].last_mut().unwrap() += 1;
    entries
}

/// A node by itself that puts, gets and removes files.
fn tape_of_files() -> Vec<u8> {
    let mut host = Host::founded(single(), &[]);
    let data = noise(150_000);
    for (name, data) in [("large", &data[..]), ("small", &data[..40])] {
        let put = host.put(name, data);
        assert!(matches!(host.result(put), Some(Ok(Outcome::Stored(_)))));
    }
    for (name, len) in [("large", 150_000), ("small", 40)] {
        let get = host.get(name);
        assert_eq!(host.read(get).len(), len);
    }
    host.pass(Duration::from_secs(30));
    host.node.end_tape();
    host.node.tape().to_vec()
}

/// The bodies of a tape's entries.
fn split(tape: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut rest = &tape[MAGIC..];
    while let Some((header, behind)) = rest.split_at_checked(HEADER) {
        let len = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
        let (body, next) = behind.split_at(len);
        entries.push(body.to_vec());
        rest = next;
    }
    entries
}

/// Where a tape's entries end.
fn ends(tape: &[u8]) -> Vec<usize> {
    let mut at = MAGIC;
    let lens = split(tape).into_iter().map(|entry| HEADER + entry.len());
    lens.map(|len| {
        at += len;
        at
    })
    .collect()
}

/// A sound tape of these entries: TAPE-1 to TAPE-3, written again.
fn join(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tape = b"peerhold tape 1\n".to_vec();
    let mut link = *blake3::hash(&tape).as_bytes();
    for body in entries {
        link = *blake3::keyed_hash(&link, body).as_bytes();
        tape.extend((body.len() as u32).to_be_bytes());
        tape.extend(&link[..8]);
        tape.extend(body);
    }
    tape
}
