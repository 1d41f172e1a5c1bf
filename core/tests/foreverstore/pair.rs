//! Two of our connections with each other.

use std::collections::BTreeMap;

use peerhold_core::foreverstore::{
    Config, Event, FileKey, Framing, Limits, NotKept, OpError, Outcome, OwnerId,
};
use quickcheck::quickcheck;

use crate::host::{Host, Pair, config, content};

const SIZES: [usize; 8] = [0, 1, 15, 16, 17, 1012, 32 << 10, 1 << 20];

#[test]
fn files_of_any_size_go_out_and_come_back() {
    for framing in [Framing::Marked, Framing::Envelopes] {
        let mut pair = pair(framing, || usize::MAX);
        for size in SIZES {
            round_trip(&mut pair, &format!("file of {size}"), &content(size));
        }
    }
}

#[test]
fn names_of_any_length_will_do() {
    let mut pair = pair(Framing::Marked, || usize::MAX);
    for len in 1..=300 {
        round_trip(&mut pair, &"n".repeat(len), &content(len));
    }
    for name in [
        "ünïcödé/名前",
        "🦀",
        "..",
        "../../etc/passwd",
        "/",
        "a\0b",
        " ",
    ] {
        round_trip(&mut pair, name, name.as_bytes());
    }
    let replicas = pair.b.files.files.len();
    assert_eq!(replicas, 307, "each name has a place of its own");
}

#[test]
fn both_may_store_and_fetch_at_once() {
    let mut pair = pair(Framing::Marked, {
        let mut turn = 0;
        move || {
            turn += 1;
            [1000, 70_000, 3][turn % 3]
        }
    });
    let (of_a, of_b) = (content(300_000), content(200_001));
    pair.a.has_own("x", &of_a);
    pair.b.has_own("x", &of_b);
    let mut ops = Vec::new();
    for verify in [true, false] {
        ops.push((pair.a.store("x", verify), pair.b.store("x", verify)));
    }
    ops.push((pair.a.get("x"), pair.b.get("x")));
    pair.run();
    for (a, b) in ops {
        assert!(
            matches!(pair.a.result(a), Some(Ok(_))),
            "{:?}",
            pair.a.events
        );
        assert!(
            matches!(pair.b.result(b), Some(Ok(_))),
            "{:?}",
            pair.b.events
        );
    }
    assert_eq!(pair.a.own("x"), Some(&of_a[..]));
    assert_eq!(pair.b.own("x"), Some(&of_b[..]));
    assert_eq!(pair.a.files.open() + pair.b.files.open(), 0);
}

#[test]
fn a_later_store_of_a_name_is_the_one_that_is_kept() {
    let mut pair = pair(Framing::Marked, || 7);
    for turn in 0..5_u8 {
        let bytes = vec![turn; 100 - usize::from(turn)];
        pair.a.has_own("n", &bytes);
        let op = pair.a.store("n", true);
        pair.run();
        let size = bytes.len() as u64 + 16;
        assert_eq!(pair.a.result(op), Some(&Ok(Outcome::Verified { size })));
    }
}

#[test]
fn a_replica_that_is_not_what_was_sent_is_found_out() {
    let mut pair = pair(Framing::Marked, || usize::MAX);
    pair.a.has_own("n", b"plain");
    let (owner, key) = (pair.a.id, FileKey::of("n"));
    for damage in [
        &b"IVIVIVIVIVIVIVIVplaim"[..],
        b"IVIVIVIVIVIVIVIVplai",
        b"",
        b"short",
    ] {
        let op = pair.a.store("n", true);
        // Until the store is wholly written; the get that follows waits for its
        // pause.
        while pair.b.replica(&owner, &key).is_none() {
            let bytes = pair.a.write_until_pause();
            pair.b.receive(&bytes);
        }
        pair.b.has_replica(&owner, &key, damage);
        pair.run();
        pair.b.files.files.clear();
        let error = pair.a.result(op).unwrap().as_ref().unwrap_err();
        assert!(
            matches!(error, OpError::Differs | OpError::NotSealed(_)),
            "{error} for {damage:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_not_stored() {
    let mut pair = pair(Framing::Marked, || usize::MAX);
    let op = pair.a.store("none", true);
    assert_eq!(pair.run(), 0, "something went out");
    let error = OpError::Disk(peerhold_core::disk::DiskError::NotFound);
    assert_eq!(pair.a.result(op), Some(&Err(error)));
    round_trip(&mut pair, "next", b"works");
}

#[test]
fn a_file_over_the_limit_is_not_sent() {
    let mut small = config(1);
    small.limits.file = 1000;
    let mut pair = Pair {
        a: Host::with(small),
        b: Host::new(2),
        cut: || usize::MAX,
    };
    pair.a.has_own("n", &content(985));
    let op = pair.a.store("n", false);
    assert_eq!(pair.run(), 0);
    let error = OpError::TooLong {
        size: 985,
        max: 1000,
    };
    assert_eq!(pair.a.result(op), Some(&Err(error)));
    assert_eq!(pair.a.files.open(), 0);
    round_trip(&mut pair, "m", &content(984));
}

#[test]
fn a_nodes_own_files_are_neither_given_nor_overwritten() {
    // Whoever claims to be this node, with a name that is a key.
    let name = FileKey::of("n").to_string();
    let mut pair = Pair {
        a: Host::new(1),
        b: Host::new(1),
        cut: || usize::MAX,
    };
    pair.b.has_own(&name, b"secret");
    pair.a.has_own("n", b"intruder");
    let stored = pair.a.store("n", false);
    pair.run();
    assert_eq!(pair.a.result(stored), Some(&Ok(Outcome::Sent { size: 24 })));
    assert_eq!(pair.b.own(&name), Some(&b"secret"[..]));
    let (owner, key) = (OwnerId([1; 32]), FileKey::of("n"));
    let why = NotKept::Ours;
    assert_eq!(pair.b.events, [Event::NotKept { owner, key, why }]);

    let got = pair.a.get("n");
    pair.run();
    assert_eq!(pair.a.result(got), None, "silence");
    assert!(matches!(
        pair.b.events.last(),
        Some(Event::NotServed { .. })
    ));
}

quickcheck! {
    fn any_files_in_any_cutting(sizes: Vec<u16>, cuts: Vec<u16>, small: bool) -> bool {
        let mut cuts = cuts.into_iter().chain([1, 5000]).cycle();
        let mut pair = pair(Framing::Marked, move || cuts.next().map_or(1, |cut| usize::from(cut.max(1))));
        if small {
            pair.b = Host::with(Config { limits: tight(), ..config(2) });
        }
        for (at, size) in sizes.into_iter().take(10).enumerate() {
            round_trip(&mut pair, &format!("{at}"), &content(usize::from(size)));
        }
        true
    }
}

fn tight() -> Limits {
    Limits {
        window: 100,
        chunk: 30,
        files: 1,
        ..Limits::default()
    }
}

fn pair<F: FnMut() -> usize>(framing: Framing, cut: F) -> Pair<F> {
    let [a, b] = [1, 2].map(|id| {
        Host::with(Config {
            framing,
            ..config(id)
        })
    });
    Pair { a, b, cut }
}

/// Stores a file at `b`, verified, then loses it and has it back.
fn round_trip<F: FnMut() -> usize>(pair: &mut Pair<F>, name: &str, bytes: &[u8]) {
    pair.a.has_own(name, bytes);
    let stored = pair.a.store(name, true);
    pair.run();
    let size = bytes.len() as u64 + 16;
    assert_eq!(
        pair.a.result(stored),
        Some(&Ok(Outcome::Verified { size })),
        "{name}"
    );
    let sealed = pair.b.replica(&pair.a.id, &FileKey::of(name)).unwrap();
    assert_eq!(sealed.len() as u64, size);
    let head = &bytes[..bytes.len().min(16)];
    assert!(
        head.len() < 16 || !sealed.windows(16).any(|part| part == head),
        "in clear"
    );

    pair.a.files.files = BTreeMap::new();
    let got = pair.a.get(name);
    pair.run();
    let size = bytes.len() as u64;
    assert_eq!(
        pair.a.result(got),
        Some(&Ok(Outcome::Got { size })),
        "{name}"
    );
    assert_eq!(pair.a.own(name), Some(bytes));
    assert_eq!(pair.a.files.open() + pair.b.files.open(), 0);
    pair.a.events.clear();
    pair.b.events.clear();
}
