//! Secrets stay secret: in `Debug`, in sealed bytes, and between bodies.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::Bytes;
use peerhold_core::id::PutId;
use peerhold_core::seal::{
    BlobKey, ChunkBuffer, Content, Draft, Entry, Meta, Name, NameError, NamespaceSecret, RangeWalk,
    ReadKey, RecordError, Root, SealedBlob, SealedRecord, TreeBuilder, open_meta, open_record,
    seal_chunk, seal_node, seal_record,
};
use peerhold_core::time::UnixMillis;
use peerhold_core::version::Version;

const SECRET: [u8; 32] = *b"q7#Zk!vW2^xJ9$Lm@4pR~8tB%0hYd&5u";
const PLAIN: &[u8] = b"canary-plaintext-that-nobody-else-may-see";
const NAME: &str = "canary-name-of-the-file";

#[test]
fn debug_prints_no_secret() {
    let secret = NamespaceSecret::from_bytes(SECRET);
    let writer = secret.writer();
    let read_key = writer.read_key().clone();
    let blob = sealed_chunk(&secret, PLAIN);
    let root = Root {
        id: blob.id,
        key: blob.key.clone(),
        depth: 0,
        len: blob.len,
    };
    let mut walk = RangeWalk::new(&root, 1 << 20, 0..10);
    let mut tree = TreeBuilder::new(2);
    tree.push(0, blob.entry()).unwrap();
    tree.push(1, blob.entry()).unwrap();
    let node = tree.take_full().unwrap();
    let secrets = [
        SECRET,
        *read_key.to_bytes().last_chunk().unwrap(),
        *blob.key.expose(),
    ];
    let printed = [
        show(&secret),
        show(&writer),
        show(writer.reader()),
        show(&read_key),
        show(&blob),
        show(&blob.key),
        show(&blob.entry()),
        show(&root),
        show(&walk),
        show(&walk.next_need().unwrap()),
        show(&tree),
        show(&node),
        show(&Content::Root(root.clone())),
        show(&Content::Inline(Bytes::copy_from_slice(&SECRET))),
    ];
    for text in &printed {
        for secret in &secrets {
            assert!(!leaks(text, secret), "{text}");
        }
    }
    // The check itself sees a secret where there is one.
    assert!(leaks(&show(&SECRET), &SECRET));
}

#[test]
fn sealed_bytes_hold_neither_plaintext_nor_name_nor_key() {
    let secret = NamespaceSecret::from_bytes(SECRET);
    let blob = sealed_chunk(&secret, PLAIN);
    let node = seal_node(secret.writer().reader(), 1, &[blob.entry()]).unwrap();
    let inline = record(&secret, 1, Content::Inline(Bytes::from_static(PLAIN)));
    let root = Root {
        id: blob.id,
        key: blob.key.clone(),
        depth: 0,
        len: blob.len,
    };
    let rooted = record(&secret, 2, Content::Root(root));
    let canaries: [&[u8]; 4] = [PLAIN, NAME.as_bytes(), &SECRET, blob.key.expose()];
    for sealed in [
        &blob.bytes,
        &node.bytes,
        inline.head.bytes(),
        &inline.meta,
        &inline.content,
        rooted.head.bytes(),
        &rooted.meta,
        &rooted.content,
    ] {
        for canary in canaries {
            assert!(!sealed.windows(8).any(|seen| seen == &canary[..8]));
        }
    }
}

#[test]
fn bodies_that_differ_in_anything_share_no_keystream() {
    let secret = || NamespaceSecret::from_bytes(SECRET);
    let (this, that) = ([b'a'; 64], [b'b'; 64]);
    // Clones and restarts of one writer: the same name, version and put id.
    let keystreams = [
        keystream(&secret(), draft(1), &this),
        keystream(&secret(), draft(1), &that),
        keystream(&secret(), draft(2), &this),
        keystream(
            &secret(),
            Draft {
                put: PutId([9; 16]),
                ..draft(1)
            },
            &this,
        ),
        keystream(
            &secret(),
            Draft {
                epoch: 1,
                ..draft(1)
            },
            &this,
        ),
        keystream(
            &secret(),
            Draft {
                ext: Bytes::from_static(b"x"),
                ..draft(1)
            },
            &this,
        ),
        keystream(&NamespaceSecret::from_bytes([1; 32]), draft(1), &this),
    ];
    assert_eq!(BTreeSet::from(keystreams.clone()).len(), keystreams.len());
    // And the same body again is the same bytes, not other ones.
    assert_eq!(keystream(&secret(), draft(1), &this), keystreams[0]);
}

quickcheck::quickcheck! {
    fn different_chunks_get_different_keys_and_equal_ones_dedupe(a: Vec<u8>, b: Vec<u8>) -> bool {
        let secret = NamespaceSecret::from_bytes(SECRET);
        let (a, b) = ([&a[..], &[1]].concat(), [&b[..], &[1]].concat());
        let (first, second) = (sealed_chunk(&secret, &a), sealed_chunk(&secret, &b));
        let again = sealed_chunk(&secret, &a);
        first == again && (first.key == second.key) == (a == b)
    }

    fn different_bodies_get_different_keys(a: Vec<u8>, b: Vec<u8>) -> bool {
        let secret = NamespaceSecret::from_bytes(SECRET);
        let clone = NamespaceSecret::from_bytes(*secret.expose());
        let first = record(&secret, 1, Content::Inline(a.clone().into()));
        let second = record(&clone, 1, Content::Inline(b.clone().into()));
        (first.head.head().siv == second.head.head().siv) == (a == b)
    }
}

#[test]
fn a_reader_opens_what_the_writer_seals_and_a_stranger_does_not() {
    let secret = NamespaceSecret::from_bytes(SECRET);
    let reader = ReadKey::from_bytes(&secret.writer().read_key().to_bytes()).reader();
    let sealed = record(&secret, 1, Content::Inline(Bytes::from_static(PLAIN)));
    let (meta, content) =
        open_record(&reader, &sealed.head, &sealed.meta, &sealed.content).unwrap();
    assert_eq!(
        (meta.name.as_str(), content),
        (NAME, Content::Inline(PLAIN.into()))
    );

    let stranger = NamespaceSecret::from_bytes([2; 32]).writer();
    let other = RecordError::OtherNamespace(secret.writer().namespace());
    let opened = open_meta(stranger.reader(), &sealed.head, &sealed.meta);
    assert_eq!(opened, Err(other));
    let opened = open_record(
        stranger.reader(),
        &sealed.head,
        &sealed.meta,
        &sealed.content,
    );
    assert_eq!(opened, Err(other));
    // One who lies about the namespace has the wrong keys all the same.
    let mut liar = *stranger.read_key().to_bytes();
    liar[..32].copy_from_slice(secret.writer().namespace().as_bytes());
    let liar = ReadKey::from_bytes(&liar).reader();
    assert!(open_meta(&liar, &sealed.head, &sealed.meta).is_err());
    assert!(open_record(&liar, &sealed.head, &sealed.meta, &sealed.content).is_err());
}

#[test]
fn two_namespaces_share_no_blob_tag_or_key() {
    let (one, two) = (
        NamespaceSecret::from_bytes([1; 32]),
        NamespaceSecret::from_bytes([2; 32]),
    );
    let name = Name::new(NAME).unwrap();
    assert_ne!(
        one.writer().reader().tag(&name),
        two.writer().reader().tag(&name)
    );
    assert_ne!(sealed_chunk(&one, PLAIN).id, sealed_chunk(&two, PLAIN).id);
    assert_ne!(sealed_chunk(&one, PLAIN).key, sealed_chunk(&two, PLAIN).key);
}

#[test]
fn names_have_their_limits() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new("a\0b"), Err(NameError::Nul { at: 1 }));
    assert_eq!(
        Name::new(&"x".repeat(1025)),
        Err(NameError::TooLong { len: 1025 })
    );
    assert!(Name::new(&"x".repeat(1024)).is_ok());
    assert!(Name::new("/ä/../✓").is_ok());
    assert_eq!(
        format!("{:?}", Name::new("a\nERROR").unwrap()),
        "\"a\\nERROR\""
    );
}

fn show(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

/// Whether a text shows four bytes of a secret in a row: as hex in one
/// piece or byte by byte, as decimal bytes, or as they are.
fn leaks(text: &str, secret: &[u8; 32]) -> bool {
    let lower = text.to_lowercase();
    let spaced: String = lower.split_whitespace().collect();
    let joined = spaced.replace("0x", "").replace(',', "");
    secret.windows(4).any(|part| {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let decimal: String = part.iter().map(|byte| format!("{byte},")).collect();
        let plain = String::from_utf8_lossy(part).to_lowercase();
        joined.contains(&hex) || spaced.contains(&decimal) || lower.contains(&plain)
    })
}

fn sealed_chunk(secret: &NamespaceSecret, plain: &[u8]) -> SealedBlob {
    let mut buffer = ChunkBuffer::with_capacity(1 << 20);
    assert_eq!(buffer.extend(plain), plain.len());
    seal_chunk(secret.writer().reader(), buffer, 1).unwrap()
}

fn record(secret: &NamespaceSecret, version: u64, content: Content) -> SealedRecord {
    let size = match &content {
        Content::Inline(bytes) => bytes.len() as u64,
        Content::Root(root) => root.len,
        _ => 0,
    };
    seal_record(&secret.writer(), draft(version), &meta(size), &content).unwrap()
}

/// What the content of a record was covered with.
fn keystream(secret: &NamespaceSecret, draft: Draft, content: &[u8; 64]) -> Vec<u8> {
    let inline = Content::Inline(Bytes::copy_from_slice(content));
    let sealed = seal_record(&secret.writer(), draft, &meta(64), &inline).unwrap();
    sealed
        .content
        .iter()
        .zip(content)
        .map(|(a, b)| a ^ b)
        .collect()
}

fn draft(version: u64) -> Draft {
    let version = Version::next(UnixMillis(version), Version::ZERO, [1; 8]).unwrap();
    let put = PutId([3; 16]);
    Draft {
        epoch: 0,
        version,
        put,
        floor: Version::ZERO,
        ext: Bytes::new(),
    }
}

fn meta(size: u64) -> Meta {
    let name = Name::new(NAME).unwrap();
    Meta {
        name,
        size,
        modified: Some(UnixMillis(7)),
        chunk_size: 1 << 20,
    }
}

#[test]
fn keys_compare_by_all_their_bytes() {
    let mut other = SECRET;
    other[31] ^= 1;
    assert_eq!(BlobKey::from_bytes(SECRET), BlobKey::from_bytes(SECRET));
    assert_ne!(BlobKey::from_bytes(SECRET), BlobKey::from_bytes(other));
    let entry = |key| Entry {
        id: [0; 32].into(),
        key: BlobKey::from_bytes(key),
        len: 1,
    };
    assert_ne!(entry(SECRET), entry(other));
}
