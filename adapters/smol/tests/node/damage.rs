//! What a node has stored is damaged while it is down: reads through it are
//! right all the same, from another replica, and it tells what was damaged.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::{
    Member, alone, bytes, cluster as start_cluster, name, read, stop_all, writer,
};
use futures_lite::future::or;
use peerhold_smol::peerhold_core::{Damage, PeerAddr, Put};
use peerhold_smol::{Events, Notice, open};
use smol::Timer;
use tempfile::TempDir;

/// Two files that stand in the log, and two whose blobs are files.
const FILES: [(&str, usize); 4] = [
    ("small a", 40 << 10),
    ("small b", 40 << 10),
    ("large a", 1 << 20),
    ("large b", 1 << 20),
];

/// Kinds of entries of the log.
const SMALL_BLOB: u8 = 1;
const RECORD: u8 = 6;

fn content(index: usize) -> Vec<u8> {
    bytes(FILES[index].1, index as u64 + 1)
}

/// Damages what one of three nodes has stored, reads everything through it,
/// and gives what it told until all of `expected` was told.
fn after_damage(damage: impl FnOnce(&Path), expected: &[fn(&Damage) -> bool]) {
    smol::block_on(async {
        let mut members = start_cluster(3, |_, _| {}).await;
        for (index, (file, _)) in FILES.iter().enumerate() {
            let put = Put {
                writer: writer(),
                name: name(file),
                modified: None,
            };
            let mut file = members[0].handle.put_writer(put).unwrap();
            file.push(content(index).into()).await.unwrap();
            file.finish().await.unwrap();
            file.settled().await.unwrap();
        }
        let dir = members.pop().unwrap().stop().await;
        damage(dir.path());
        let bootstrap = members[0].handle.addrs()[0].to_string().into();
        let (third, mut events) = back(dir, bootstrap);
        third.handle.wait_for(3, 2).await.unwrap();
        for (index, (file, _)) in FILES.iter().enumerate() {
            let found = read(&third.handle, &name(file)).await;
            assert!(found == content(index), "{file} differs");
        }
        told(&mut events, expected).await;
        let (data, name) = (bytes(2 << 20, 9), name("new"));
        let stored = third.handle.put(&writer(), &name, &data[..]).await;
        assert_eq!(stored.unwrap().size, data.len() as u64);
        assert!(read(&third.handle, &name).await == data);
        third.stop().await;
        stop_all(members).await;
    });
}

/// A node again, and all that it tells from its start on.
fn back(dir: TempDir, bootstrap: PeerAddr) -> (Member, Events) {
    let mut config = alone(&dir);
    config.node.replicas = 3;
    config.node.durable = 2;
    config.node.bootstrap = vec![bootstrap.into()];
    let (handle, driver) = open(config).unwrap();
    let events = handle.events();
    let driver = smol::spawn(driver);
    let member = Member {
        handle,
        driver,
        dir,
    };
    (member, events)
}

async fn told(events: &mut Events, expected: &[fn(&Damage) -> bool]) {
    let mut seen = Vec::new();
    let all = async {
        while !expected.iter().all(|expect| seen.iter().any(expect)) {
            match events.next().await {
                Some(Notice::Damaged(damage)) => seen.push(damage),
                Some(_) => {}
                None => break,
            }
        }
        true
    };
    let late = async {
        Timer::after(Duration::from_secs(30)).await;
        false
    };
    assert!(or(all, late).await, "told only {seen:?}");
    assert!(expected.iter().all(|expect| seen.iter().any(expect)));
}

fn blob(damage: &Damage) -> bool {
    matches!(damage, Damage::Blob(_))
}

fn record(damage: &Damage) -> bool {
    matches!(damage, Damage::Record(_))
}

fn index(damage: &Damage) -> bool {
    *damage == Damage::Index
}

fn log(damage: &Damage) -> bool {
    matches!(damage, Damage::Log { entries } if *entries > 0)
}

/// All files below a part of the store.
fn files(root: &Path, part: &str) -> Vec<PathBuf> {
    let mut todo = vec![root.join(part)];
    let mut files = Vec::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let inside = fs::read_dir(path).unwrap();
            todo.extend(inside.map(|entry| entry.unwrap().path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Where the bodies of the entries of one kind stand in a segment.
fn bodies(segment: &[u8], kind: u8) -> Vec<Range<usize>> {
    let mut at = 80;
    let mut found = Vec::new();
    while at + 56 <= segment.len() {
        let number = |at: usize, len: usize| {
            let bytes = &segment[at..at + len];
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        let (body, key) = (number(at + 48, 4), number(at + 52, 2));
        let start = at + 56 + key;
        if segment[at + 54] == kind {
            found.push(start..start + body);
        }
        at = (start + body).next_multiple_of(8);
    }
    found
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The only segment there is yet.
fn segment(root: &Path) -> PathBuf {
    let mut segments = files(root, "log");
    assert_eq!(segments.len(), 1);
    segments.remove(0)
}

fn blob_files(root: &Path) -> [PathBuf; 2] {
    files(root, "blobs").try_into().unwrap()
}

#[test]
fn one_bit_that_has_changed_in_a_blobs_file() {
    let damage = |root: &Path| {
        for path in blob_files(root) {
            change(&path, |bytes| bytes[500_000] ^= 1);
        }
    };
    after_damage(damage, &[blob]);
}

#[test]
fn one_bit_that_has_changed_inside_a_segment() {
    let damage = |root: &Path| {
        change(&segment(root), |bytes| {
            for body in bodies(bytes, SMALL_BLOB) {
                bytes[body.start + 20_000] ^= 1;
            }
            for body in bodies(bytes, RECORD) {
                bytes[body.end - 1] ^= 0x80;
            }
        });
    };
    after_damage(damage, &[blob, record]);
}

#[test]
fn a_blobs_file_that_was_truncated() {
    let damage = |root: &Path| {
        let [half, empty] = blob_files(root);
        change(&half, |bytes| bytes.truncate(bytes.len() / 2));
        change(&empty, Vec::clear);
    };
    after_damage(damage, &[blob]);
}

#[test]
fn a_segment_that_was_truncated() {
    let damage = |root: &Path| {
        change(&segment(root), |bytes| {
            // In the second of the two small blobs; all that came behind it is
            // gone, too.
            let [_, second] = bodies(bytes, SMALL_BLOB).try_into().unwrap();
            bytes.truncate(second.start + 1000);
        });
    };
    after_damage(damage, &[index, log, record]);
}

#[test]
fn a_blobs_file_that_was_replaced_by_another_blob() {
    let damage = |root: &Path| {
        let [a, b] = blob_files(root);
        let (a_bytes, b_bytes) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        fs::write(a, b_bytes).unwrap();
        fs::write(b, a_bytes).unwrap();
    };
    after_damage(damage, &[blob]);
}

#[test]
fn a_blob_inside_a_segment_that_was_replaced_by_another_one() {
    let damage = |root: &Path| {
        change(&segment(root), |bytes| {
            let [first, second] = bodies(bytes, SMALL_BLOB).try_into().unwrap();
            assert_eq!(first.len(), second.len());
            bytes.copy_within(second, first.start);
        });
    };
    after_damage(damage, &[blob]);
}
