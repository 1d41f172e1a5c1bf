//! Sealing against whatever a peer, or an owner who wishes us ill, can make.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::chunk::{BLOB_HEADER, BlobHeader, BlobKind, open_chunk, verify_blob};
use super::cipher;
use super::error::OpenError;
use super::grant::Grant;
use super::head::{Head, RecordKind, RootRef, SignedHead};
use super::keys::{BlobKey, NamespaceSecret, Writer};
use super::manifest::{FANOUT_MAX, Root, Shape, children, open_node, seal_node};
use super::record::{Draft, Meta, SealedRecord, apply_body, open_meta, open_record, seal_record};
use super::share::{open_shared_node, open_shared_record};
use super::walk::RangeWalk;
use crate::check::Source;
use crate::id::{BlobId, NameTag, PutId};
use crate::version::Version;

fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

/// Records: what is verified or opened is written as the bytes that it came
/// from.
///
/// `data` is one byte that says which, and: a head, a meta and a content, the
/// first two behind their lengths in two bytes; a head without a signature; a
/// grant; or what the namespace's own writer may seal, see `sealed_by_owner`.
///
/// # Panics
/// If it is not.
pub fn record(data: &[u8]) {
    let mut source = Source::new(data);
    match source.byte() % 4 {
        0 => {
            let [head, meta] = [source.sized(), source.sized()].map(Bytes::copy_from_slice);
            let content = Bytes::copy_from_slice(source.rest());
            if let Ok(record) = SealedRecord::from_parts(head.clone(), meta, content) {
                assert_eq!(record.head.bytes(), &head);
                let stored = record.to_stored();
                assert_eq!(SealedRecord::from_stored(stored), Ok(record.clone()));
                drop(open_record(
                    writer().reader(),
                    &record.head,
                    &record.meta,
                    &record.content,
                ));
            }
        }
        1 => {
            let bytes = source.rest();
            if let Ok(head) = Head::decode(bytes) {
                assert_eq!(head.encode(), bytes);
            }
        }
        2 => {
            let bytes = source.rest();
            if let Ok(grant) = Grant::peek(bytes) {
                assert!(bytes.starts_with(&grant.encode()));
                let signed = grant.sign(&writer());
                let own = grant.namespace == writer().namespace();
                assert_eq!(Grant::verify(&signed).is_ok(), own);
            }
            let _ = Grant::verify(bytes);
        }
        _ => sealed_by_owner(source),
    }
}

/// What only the owner of a namespace can make: a head that is signed, over
/// parts that hash right. Their meta and content are what the input says.
///
/// `source` is one byte for the kind, one for the depth of a tree; a version,
/// a floor and a put id of 16 bytes each, an epoch of 4, the id of a root of
/// 32; the meta behind its length in two bytes; and the content.
fn sealed_by_owner(mut source: Source<'_>) {
    let writer = writer();
    let reader = writer.reader();
    let (choice, depth) = (source.byte(), source.byte());
    let kind = match choice & 1 {
        0 => RecordKind::Put,
        _ => RecordKind::Remove,
    };
    let draft = Draft {
        version: Version::from_bytes(source.array()),
        floor: Version::from_bytes(source.array()),
        put: PutId(source.array()),
        epoch: source.u32(),
        ext: Bytes::new(),
    };
    let blob = BlobId(source.array());
    let root = (choice & 2 != 0).then_some(RootRef { blob, depth });
    let mut meta = source.sized().to_vec();
    let mut content = source.rest().to_vec();
    let tag = Meta::decode(&meta).map_or(NameTag([0; 32]), |meta| reader.tag(&meta.name));
    let mut head = Head {
        epoch: draft.epoch,
        namespace: writer.namespace(),
        tag,
        version: draft.version,
        put: draft.put,
        kind,
        floor: draft.floor,
        root,
        ext: draft.ext.clone(),
        siv: [0; 32],
        meta_hash: [0; 32],
        content_hash: [0; 32],
    };
    head.siv = reader.siv(&head.bound(), &meta, &content).into();
    apply_body(&reader.body_key(&head.siv), &mut meta, &mut content).expect("a short body");
    head.meta_hash = blake3::hash(&meta).into();
    head.content_hash = blake3::hash(&content).into();
    let Ok(head) = SignedHead::sign(&writer, head) else {
        return;
    };
    let opened = open_record(reader, &head, &meta, &content);
    let name = open_meta(reader, &head, &meta);
    let file = reader
        .share(head.key(), head.id(), &head.head().siv)
        .expect("its own namespace");
    let shared = open_shared_record(&file, &head, &meta, &content);
    let Ok((opened_meta, opened_content)) = opened else {
        return;
    };
    assert_eq!(name.as_ref(), Ok(&opened_meta));
    assert_eq!(
        shared.as_ref(),
        Ok(&(opened_meta.clone(), opened_content.clone()))
    );
    let again = seal_record(&writer, draft, &opened_meta, &opened_content);
    let sealed = SealedRecord {
        head,
        meta: meta.into(),
        content: content.into(),
    };
    assert_eq!(again, Ok(sealed), "sealed otherwise than opened");
}

/// Blobs: manifest nodes and chunks. What is opened is sealed to the bytes that
/// it came from, and a walk over it stays within its range.
///
/// `data` is one byte that says which, and: any blob; a node as its writer may
/// seal it (its level; what its place asks for, a level, a length of 8 bytes, a
/// chunk size of 4; a range of two times 8 bytes; children of 72 bytes each);
/// or a chunk (its length in 4 bytes, and what is in it).
///
/// # Panics
/// If any of this does not hold.
pub fn manifest(data: &[u8]) {
    let mut source = Source::new(data);
    match source.byte() % 3 {
        0 => any_blob(source.rest()),
        1 => node(source),
        _ => chunk(source.u32(), source.rest()),
    }
}

fn any_blob(bytes: &[u8]) {
    let id = BlobId::of(bytes);
    let header = BlobHeader::parse(bytes);
    assert_eq!(verify_blob(&id, bytes), header.is_ok());
    assert!(!verify_blob(&BlobId([0; 32]), bytes));
    let found = children(bytes);
    if let Ok((level, ids)) = &found {
        assert!((1..=8).contains(level) && (1..=FANOUT_MAX).contains(&ids.len()));
        assert_eq!(header.map(|header| header.kind), Ok(BlobKind::Manifest));
    }
    let shape = Shape {
        level: found.as_ref().map_or(1, |(level, _)| *level),
        len: 1,
        chunk_size: 1,
    };
    let (key, writer) = (BlobKey::from_bytes([3; 32]), writer());
    let opened = open_node(writer.reader(), &id, &key, &shape, bytes);
    assert!(opened.is_err(), "opened by a key that is not its own");
    assert_eq!(
        open_node(writer.reader(), &BlobId([0; 32]), &key, &shape, bytes),
        Err(OpenError::OtherBlob)
    );
    // By a capability any key is as good as its giver; the lengths still must
    // fit.
    let _ = open_shared_node(&id, &key, &shape, bytes);
    let _ = open_chunk(&id, &key, 1, Bytes::copy_from_slice(bytes), false);
}

fn node(mut source: Source<'_>) {
    const CHILD: usize = 72;
    let level = source.byte();
    let shape = Shape {
        level: source.byte(),
        len: source.u64(),
        chunk_size: source.u32(),
    };
    let range = source.u64()..source.u64();
    let (listed, _) = source.rest().as_chunks::<CHILD>();
    let count = listed.len() as u16;
    let mut bytes = BlobHeader {
        kind: BlobKind::Manifest,
        payload: (3 + listed.len() * CHILD) as u32,
    }
    .to_bytes()
    .to_vec();
    bytes.push(level);
    bytes.extend_from_slice(&count.to_be_bytes());
    for (ids, sealed) in [(0, 32), (32, CHILD)].map(|(from, to)| (from, to)) {
        for child in listed {
            bytes.extend_from_slice(&child[ids..sealed]);
        }
    }
    let writer = writer();
    let key = writer.reader().node_key(&bytes);
    let clear = BLOB_HEADER + 3 + 32 * listed.len();
    cipher::apply(key.expose(), 0, &mut bytes[clear..]).expect("a short node");
    let id = BlobId::of(&bytes);
    let Ok(node) = open_node(writer.reader(), &id, &key, &shape, &bytes) else {
        return;
    };
    let sealed = seal_node(writer.reader(), level, &node.entries).expect("it was opened");
    assert_eq!(
        (sealed.id, &sealed.key, &sealed.bytes[..]),
        (id, &key, &bytes[..])
    );
    assert_eq!((sealed.len, node.level), (shape.len, level));
    let shared = open_shared_node(&id, &key, &shape, &bytes);
    assert_eq!(shared.as_ref(), Ok(&node));
    assert_eq!(
        children(&bytes),
        Ok((level, node.entries.iter().map(|entry| entry.id).collect()))
    );
    let root = Root {
        id,
        key,
        depth: level,
        len: shape.len,
    };
    walk(&root, shape.chunk_size, range, node);
}

/// The node's children that a range needs are those that overlap it.
fn walk(root: &Root, chunk_size: u32, range: Range<u64>, node: super::Node) {
    let mut walk = RangeWalk::new(root, chunk_size, range.clone());
    let wanted = range.start..range.end.min(root.len);
    let Some(need) = walk.next_need() else {
        return assert!(wanted.is_empty(), "nothing is needed");
    };
    assert_eq!((need.id, need.level), (root.id, root.depth));
    assert_eq!(need.wanted, wanted);
    let entries = node.entries.clone();
    walk.expand(node).expect("the node that was asked for");
    let (mut at, mut left) = (wanted.start, Vec::new());
    while let Some(need) = walk.next_need() {
        assert!(need.wanted.start == at && !need.wanted.is_empty());
        assert!(entries.iter().any(|entry| entry.id == need.id));
        assert!(need.part().end as u64 <= need.covers());
        at = need.wanted.end;
        left.push(need.id);
        // Behind a node that is waited for nothing comes.
        if need.level > 0 {
            return assert!(walk.is_waiting() && walk.next_need().is_none());
        }
    }
    assert!(walk.is_done() && at == wanted.end);
    assert!(left.len() <= entries.len());
}

fn chunk(len: u32, payload: &[u8]) {
    let mut bytes = BlobHeader {
        kind: BlobKind::Chunk,
        payload: payload.len() as u32,
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(payload);
    let writer = writer();
    let key = writer.reader().chunk_key(payload);
    cipher::apply(key.expose(), 0, &mut bytes[BLOB_HEADER..]).expect("a short chunk");
    let id = BlobId::of(&bytes);
    let Ok(plain) = open_chunk(&id, &key, len, bytes.into(), false) else {
        return;
    };
    let (content, padding) = payload.split_at(len as usize);
    assert_eq!(plain, content);
    assert!(padding.iter().all(|byte| *byte == 0));
}
