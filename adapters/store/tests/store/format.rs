//! FORMAT.md, pinned by bytes.

use crate::support::*;
use peerhold_core::disk::DiskKind;
use peerhold_core::id::BlobId;
use peerhold_store::Store;
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};

/// A segment, as hex: lines that start with `#` are comments.
const SEGMENT: &str = include_str!("../vectors/segment.txt");
const FORMAT: &str = "peerhold store 1\nlayout flat\nsecret \
    b4d1776fbe8a13961fc1b48f551622071ad615f610907d000f9f00cdce6a49b1\n";

fn operations() -> Vec<DiskKind> {
    vec![
        put_blob(&bytes(1, 20), 1),
        put_blob(&bytes(2, 600), 2),
        DiskKind::PutRecord(record(1, 7, 12)),
        DiskKind::PutMembers(bytes(3, 9)),
        DiskKind::PutDebts(vec![debt(1, 1), debt(2, 1)]),
        DiskKind::ClearDebts(vec![debt(1, 1)]),
        DiskKind::ForgetBlob(BlobId::of(&bytes(1, 20))),
        note(seen(1, 7), 2),
        note(seen(2, 8), 1),
    ]
}

fn read(vfs: &MemVfs, path: &str) -> Vec<u8> {
    let file = vfs.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pinned() -> String {
    let lines = SEGMENT.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(|line| line.split_whitespace()).collect()
}

#[test]
fn a_segment_has_the_bytes_that_the_format_says() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    load(&store);
    assert!(run(&store, operations()).iter().all(Result::is_ok));
    assert_eq!(String::from_utf8(read(&vfs, "FORMAT")).unwrap(), FORMAT);
    assert_eq!(hex(&read(&vfs, "log/00000001.seg")), pinned());
}

#[test]
fn a_store_made_of_the_pinned_bytes_is_read() {
    let vfs = MemVfs::new();
    vfs.create_dir("log").unwrap();
    let bytes_of = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len() / 2).map(|at| &hex[2 * at..2 * at + 2]);
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    };
    vfs.create_new("FORMAT")
        .unwrap()
        .write_at(FORMAT.as_bytes(), 0)
        .unwrap();
    let segment = vfs.create_new("log/00000001.seg").unwrap();
    segment.write_at(&bytes_of(&pinned()), 0).unwrap();
    let store: Store<MemVfs> = open(vfs);
    assert_eq!(
        (store.recovery().damaged, store.recovery().cut_bytes),
        (0, 0)
    );
    let loaded = load(&store);
    assert_eq!((loaded.starts, loaded.blobs, loaded.records), (2, 1, 1));
    assert_eq!(loaded.members, Some(bytes(3, 9)));
    assert_eq!(loaded.debts, vec![debt(2, 1)]);
    assert_eq!(loaded.seen, vec![seen(2, 8)]);
    assert_eq!(newest(&store, key(1)), Ok(Some(record(1, 7, 12))));
}
