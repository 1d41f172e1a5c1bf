//! File capabilities: they open one version of one file, and nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerhold_core::seal::{
    ChunkBuffer, Content, Draft, Meta, RangeWalk, RecordError, Root, SealedRecord, open_chunk,
    open_record, open_shared_node, open_shared_record, seal_chunk, seal_node, seal_record,
};
use peerhold_core::{
    BlobId, FileCapability, Name, NamespaceSecret, PutId, TextError, UnixMillis, Version, Writer,
};
use quickcheck::quickcheck;

const CHUNK: usize = 64;

fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

fn seal(name: &str, version: u64, size: usize, content: &Content) -> SealedRecord {
    let draft = Draft {
        epoch: 0,
        version: Version::next(UnixMillis(version), Version::ZERO, [1; 8]).unwrap(),
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    };
    let meta = Meta {
        name: Name::new(name).unwrap(),
        size: size as u64,
        modified: None,
        chunk_size: CHUNK as u32,
    };
    seal_record(&writer(), draft, &meta, content).unwrap()
}

fn inline(name: &str, version: u64, data: &'static [u8]) -> SealedRecord {
    let content = Content::Inline(Bytes::from_static(data));
    seal(name, version, data.len(), &content)
}

fn share(record: &SealedRecord) -> FileCapability {
    let head = &record.head;
    let shared = writer()
        .reader()
        .share(head.key(), head.id(), &head.head().siv);
    shared.expect("it is of this namespace")
}

fn open(file: &FileCapability, record: &SealedRecord) -> Result<(Meta, Content), RecordError> {
    open_shared_record(file, &record.head, &record.meta, &record.content)
}

#[test]
fn a_capability_opens_its_version_as_the_namespaces_reader_does() {
    let record = inline("name", 1, b"content");
    let file: FileCapability = share(&record).to_text().parse().unwrap();
    assert_eq!(file, share(&record));
    let opened = open(&file, &record);
    let own = open_record(
        writer().reader(),
        &record.head,
        &record.meta,
        &record.content,
    );
    assert!(opened.is_ok());
    assert_eq!(opened, own);
}

#[test]
fn no_other_version_and_no_other_name_is_opened() {
    let file = share(&inline("name", 1, b"content"));
    for (name, version, data) in [
        ("name", 2, b"content".as_slice()),
        ("name", 1, b"another"),
        ("other", 1, b"content"),
    ] {
        let record = inline(name, version, data);
        assert_eq!(open(&file, &record), Err(RecordError::OtherRecord));
        // Nor with the ids of the other one: the key is not its key.
        let mut forged = *share(&record).to_bytes();
        forged[112..].copy_from_slice(&file.to_bytes()[112..]);
        let opened = open(&FileCapability::from_bytes(&forged), &record);
        assert!(opened.is_err(), "{opened:?}");
    }
}

#[test]
fn sealed_parts_that_were_not_signed_are_refused() {
    let record = inline("name", 1, b"content");
    let (file, other) = (share(&record), inline("name", 1, b"another"));
    let head = &record.head;
    assert_eq!(
        open_shared_record(&file, head, &other.meta, &record.content),
        Err(RecordError::OtherMeta)
    );
    assert_eq!(
        open_shared_record(&file, head, &record.meta, &other.content),
        Err(RecordError::OtherContent)
    );
}

#[test]
fn a_reader_of_another_namespace_shares_nothing() {
    let head = inline("name", 1, b"content").head;
    let stranger = NamespaceSecret::from_bytes([8; 32]).writer();
    let shared = stranger
        .reader()
        .share(head.key(), head.id(), &head.head().siv);
    assert_eq!(shared, None);
}

#[test]
fn debug_and_errors_show_no_key() {
    let file = share(&inline("name", 1, b"content"));
    let shown = format!("{file:?}").replace(", ", "");
    let key: String = file.to_bytes()[112..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!(0..key.len() - 8).any(|at| shown.contains(&key[at..at + 8])));
    let text = file.to_text();
    let refused = text.parse::<peerhold_core::ReadKey>().unwrap_err();
    assert!(matches!(refused, TextError::WrongKind { .. }));
    assert!(refused.to_string().contains("keep it secret"));
}

quickcheck! {
    fn a_tree_is_read_with_what_stands_in_it(data: Vec<u8>, flipped: usize) -> bool {
        let data: Vec<u8> = data.into_iter().chain([1]).cycle().take(CHUNK * 5 + 7).collect();
        let (record, blobs) = tree(&data);
        let Ok((meta, Content::Root(root))) = open(&share(&record), &record) else {
            return false;
        };
        let mut read = Vec::new();
        let mut walk = RangeWalk::new(&root, meta.chunk_size, 0..meta.size);
        while let Some(need) = walk.next_need() {
            let bytes = &blobs[&need.id];
            if need.level > 0 {
                let mut wrong = bytes.to_vec();
                wrong[flipped % bytes.len()] ^= 1;
                if open_shared_node(&need.id, &need.key, &need.shape(), &wrong).is_ok() {
                    return false;
                }
                let node = open_shared_node(&need.id, &need.key, &need.shape(), bytes).unwrap();
                walk.expand(node).unwrap();
            } else {
                let len = need.covers() as u32;
                read.extend(open_chunk(&need.id, &need.key, len, bytes.clone(), false).unwrap());
            }
        }
        read == data
    }
}

/// A file of more than one chunk: its record, and its blobs.
fn tree(data: &[u8]) -> (SealedRecord, BTreeMap<BlobId, Bytes>) {
    let (writer, mut blobs) = (writer(), BTreeMap::new());
    let mut entries = Vec::new();
    for piece in data.chunks(CHUNK) {
        let mut chunk = ChunkBuffer::with_capacity(CHUNK);
        assert_eq!(chunk.extend(piece), piece.len());
        let sealed = seal_chunk(writer.reader(), chunk, 1).unwrap();
        entries.push(sealed.entry());
        blobs.insert(sealed.id, sealed.bytes);
    }
    let node = seal_node(writer.reader(), 1, &entries).unwrap();
    let root = Root {
        id: node.id,
        key: node.key,
        depth: 1,
        len: node.len,
    };
    blobs.insert(node.id, node.bytes);
    let record = seal("name", 1, data.len(), &Content::Root(root));
    (record, blobs)
}
