//! Vectors that pin every format and derivation of sealing.
//!
//! `vectors/seal_*.jsonl`: one flat object of strings per line, bytes in hex,
//! numbers in decimal. Each line holds what went in and what must come out.

use bytes::Bytes;
use peerhold_core::id::{BlobId, PutId};
use peerhold_core::seal::{
    BlobKey, ChunkBuffer, Content, Draft, Entry, Meta, Name, NamespaceSecret, Reader, Root,
    SealedRecord, Shape, children, open_chunk, open_node, open_record, seal_chunk, seal_node,
    seal_record,
};
use peerhold_core::time::UnixMillis;
use peerhold_core::version::Version;

const KEYS: &str = include_str!("vectors/seal_keys.jsonl");
const CHUNKS: &str = include_str!("vectors/seal_chunks.jsonl");
const NODES: &str = include_str!("vectors/seal_nodes.jsonl");
const RECORDS: &str = include_str!("vectors/seal_records.jsonl");

#[test]
fn keys_are_derived_as_pinned() {
    for line in lines(KEYS) {
        let secret = NamespaceSecret::from_bytes(line.array("secret"));
        let writer = secret.writer();
        assert_eq!(writer.namespace().0, line.array("namespace"));
        let read_key = writer.read_key().to_bytes();
        assert_eq!(read_key[32..], line.bytes("read_key"));
        let name = Name::new(line.text("name")).unwrap();
        assert_eq!(writer.reader().tag(&name).0, line.array("tag"));
        // The subkeys themselves never leave the library: derived here once more.
        for (field, context, from) in [
            (
                "signing_key",
                "peerhold 2026-11 namespace signing key",
                "secret",
            ),
            ("read_key", "peerhold 2026-11 namespace read key", "secret"),
            ("name_key", "peerhold 2026-11 name key", "read_key"),
            ("chunk_root", "peerhold 2026-11 chunk root", "read_key"),
            (
                "manifest_root",
                "peerhold 2026-11 manifest root",
                "read_key",
            ),
            ("record_root", "peerhold 2026-11 record root", "read_key"),
            ("seal_root", "peerhold 2026-11 seal root", "read_key"),
        ] {
            assert_eq!(
                blake3::derive_key(context, &line.bytes(from)),
                line.array(field),
                "{field}"
            );
        }
        let tag = blake3::keyed_hash(&line.array("name_key"), line.text("name").as_bytes());
        assert_eq!(*tag.as_bytes(), line.array("tag"));
    }
}

#[test]
fn chunks_are_sealed_and_opened_as_pinned() {
    for line in lines(CHUNKS) {
        let plain = line.bytes("plain").repeat(line.number("times"));
        let mut buffer = ChunkBuffer::with_capacity(plain.len());
        assert_eq!(buffer.extend(&plain), plain.len());
        let sealed = seal_chunk(&reader(), buffer, line.number("pad_to")).unwrap();
        assert_eq!(*sealed.key.expose(), line.array("key"));
        assert_eq!(sealed.id.0, line.array("id"));
        assert_eq!(sealed.bytes[..line.bytes("blob").len()], line.bytes("blob"));
        assert_eq!(sealed.bytes.len(), line.number("blob_len"));
        let key = BlobKey::from_bytes(line.array("key"));
        let opened = open_chunk(&sealed.id, &key, plain.len() as u32, sealed.bytes, false);
        assert!(opened.unwrap() == plain);
    }
}

#[test]
fn nodes_are_sealed_and_opened_as_pinned() {
    for line in lines(NODES) {
        let entries = entries(&line.bytes("children"));
        let sealed = seal_node(&reader(), line.number("level") as u8, &entries).unwrap();
        assert_eq!(*sealed.key.expose(), line.array("key"));
        assert_eq!(sealed.id.0, line.array("id"));
        assert_eq!(sealed.bytes, line.bytes("blob"));
        let level = line.number("level") as u8;
        let shape = Shape {
            level,
            len: sealed.len,
            chunk_size: line.number("chunk_size") as u32,
        };
        let node = open_node(
            &reader(),
            &sealed.id,
            &sealed.key,
            &shape,
            &line.bytes("blob"),
        );
        assert_eq!(node.unwrap().entries, entries);
        let ids = entries.iter().map(|entry| entry.id).collect();
        assert_eq!(children(&line.bytes("blob")), Ok((level, ids)));
    }
}

#[test]
fn records_are_sealed_and_opened_as_pinned() {
    for line in lines(RECORDS) {
        let (draft, meta, content) = inputs(&line);
        let writer = NamespaceSecret::from_bytes(SECRET).writer();
        let sealed = seal_record(&writer, draft, &meta, &content).unwrap();
        assert_eq!(sealed.head.head().siv, line.array("siv"));
        assert_eq!(*sealed.head.hash(), line.array("hash"));
        assert_eq!(*sealed.head.bytes(), line.bytes("head"));
        assert_eq!(sealed.meta, line.bytes("sealed_meta"));
        assert_eq!(sealed.content, line.bytes("sealed_content"));
        let parts =
            ["head", "sealed_meta", "sealed_content"].map(|part| Bytes::from(line.bytes(part)));
        let [head, sealed_meta, sealed_content] = parts;
        let received = SealedRecord::from_parts(head, sealed_meta, sealed_content).unwrap();
        let opened = open_record(&reader(), &received.head, &received.meta, &received.content);
        assert_eq!(opened, Ok((meta, content)));
    }
}

/// Writes the vectors anew: only after a format was changed on purpose.
#[test]
#[ignore = "overwrites the pinned vectors"]
fn write_the_vectors() {
    let keys: String = [([7; 32], "a"), (SECRET, "holidays/2026 – sea.jpg")]
        .map(keys_line)
        .concat();
    let chunks = [
        chunk_line(b"a", 1, 1),
        chunk_line(b"a", 1, 16),
        chunk_line(b"sixteen bytes...", 1, 16),
        chunk_line(b"seventeen bytes..", 1, 32),
        chunk_line(b"0123456789abcdef", 65_536, 1),
        chunk_line(b"0123456789abcde", 69_905, 4096),
    ];
    let one = |number: u8, len: u64| Entry {
        id: BlobId([number; 32]),
        key: BlobKey::from_bytes([!number; 32]),
        len,
    };
    let nodes = [
        node_line(1, 1 << 20, &[one(1, 1)]),
        node_line(1, 1 << 20, &[one(1, 1 << 20), one(2, 1 << 20), one(3, 77)]),
        node_line(2, 4096, &[one(4, 4096 * 512), one(5, 4096 * 512)]),
        node_line(8, 1, &[one(9, u64::MAX - 1), one(8, 1)]),
    ];
    let content = "\"content\":\"inline\",\"data\"";
    let root = format!("{}{}02", "11".repeat(32), "22".repeat(32));
    let records = [
        record_line(&format!("{content}:\"\""), "0", "", ""),
        record_line(
            &format!("{content}:\"{}\"", hex(b"hello world")),
            "11",
            "1790000000000",
            "",
        ),
        record_line(
            &format!("{content}:\"{}\"", "61".repeat(40)),
            "40",
            "0",
            "a16101",
        ),
        record_line(
            &format!("\"content\":\"root\",\"data\":\"{root}\""),
            "5000000000",
            "1",
            "",
        ),
        record_line("\"content\":\"removed\",\"data\":\"\"", "0", "", ""),
    ];
    for (name, lines) in [
        ("keys", keys),
        ("chunks", chunks.concat()),
        ("nodes", nodes.concat()),
        ("records", records.concat()),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
        std::fs::write(format!("{folder}/seal_{name}.jsonl"), lines).unwrap();
    }
}

const SECRET: [u8; 32] = *b"vectors: 32 bytes of a namespace";

fn reader() -> Reader {
    NamespaceSecret::from_bytes(SECRET)
        .writer()
        .reader()
        .clone()
}

fn keys_line((secret, name): ([u8; 32], &str)) -> String {
    let writer = NamespaceSecret::from_bytes(secret).writer();
    let read_key = writer.read_key().to_bytes();
    let derive = |purpose: &str, from: &[u8]| {
        hex(&blake3::derive_key(
            &format!("peerhold 2026-11 {purpose}"),
            from,
        ))
    };
    let from_read_key = |purpose: &str| derive(purpose, &read_key[32..]);
    object(&[
        ("secret", hex(&secret)),
        ("signing_key", derive("namespace signing key", &secret)),
        ("namespace", hex(&writer.namespace().0)),
        ("read_key", hex(&read_key[32..])),
        ("name_key", from_read_key("name key")),
        ("chunk_root", from_read_key("chunk root")),
        ("manifest_root", from_read_key("manifest root")),
        ("record_root", from_read_key("record root")),
        ("seal_root", from_read_key("seal root")),
        ("name", name.to_owned()),
        (
            "tag",
            hex(&writer.reader().tag(&Name::new(name).unwrap()).0),
        ),
    ])
}

fn chunk_line(plain: &[u8], times: usize, pad_to: usize) -> String {
    let whole = plain.repeat(times);
    let mut buffer = ChunkBuffer::with_capacity(whole.len());
    assert_eq!(buffer.extend(&whole), whole.len());
    let sealed = seal_chunk(&reader(), buffer, pad_to).unwrap();
    let shown = sealed.bytes.len().min(64);
    object(&[
        ("plain", hex(plain)),
        ("times", times.to_string()),
        ("pad_to", pad_to.to_string()),
        ("key", hex(sealed.key.expose())),
        ("id", hex(&sealed.id.0)),
        ("blob_len", sealed.bytes.len().to_string()),
        ("blob", hex(&sealed.bytes[..shown])),
    ])
}

fn node_line(level: u8, chunk_size: u32, entries: &[Entry]) -> String {
    let sealed = seal_node(&reader(), level, entries).unwrap();
    let child = |entry: &Entry| {
        format!(
            "{}{}{:016x}",
            hex(&entry.id.0),
            hex(entry.key.expose()),
            entry.len
        )
    };
    object(&[
        ("level", level.to_string()),
        ("chunk_size", chunk_size.to_string()),
        ("children", entries.iter().map(child).collect()),
        ("key", hex(sealed.key.expose())),
        ("id", hex(&sealed.id.0)),
        ("blob", hex(&sealed.bytes)),
    ])
}

fn record_line(content: &str, size: &str, modified: &str, ext: &str) -> String {
    let version =
        Version::next(UnixMillis(1_790_000_000_123), Version::ZERO, *b"writer-1").unwrap();
    let floor = if ext.is_empty() {
        Version::ZERO
    } else {
        version
    };
    let given = object(&[
        ("epoch", if ext.is_empty() { "0" } else { "300" }.to_owned()),
        ("version", hex(&version.to_bytes())),
        ("put", "0f".repeat(16)),
        ("floor", hex(&floor.to_bytes())),
        ("ext", ext.to_owned()),
        ("name", "holidays/2026 – sea.jpg".to_owned()),
        ("size", size.to_owned()),
        ("modified", modified.to_owned()),
        ("chunk_size", (1 << 20).to_string()),
    ]);
    let given = given.trim_end().trim_end_matches('}');
    let line = format!("{given},{content}}}");
    let (draft, meta, content) = inputs(&Line(&line));
    let writer = NamespaceSecret::from_bytes(SECRET).writer();
    let sealed = seal_record(&writer, draft, &meta, &content).unwrap();
    let made = object(&[
        ("siv", hex(&sealed.head.head().siv)),
        ("hash", hex(sealed.head.hash())),
        ("head", hex(sealed.head.bytes())),
        ("sealed_meta", hex(&sealed.meta)),
        ("sealed_content", hex(&sealed.content)),
    ]);
    format!(
        "{},{}",
        line.trim_end_matches('}'),
        made.trim_start_matches('{')
    )
}

fn inputs(line: &Line<'_>) -> (Draft, Meta, Content) {
    let data = line.bytes("data");
    let size = line.text("size").parse().unwrap();
    let content = match line.text("content") {
        "inline" => Content::Inline(data.into()),
        "removed" => Content::Removed,
        _ => Content::Root(Root {
            id: BlobId(data[..32].try_into().unwrap()),
            key: BlobKey::from_bytes(data[32..64].try_into().unwrap()),
            depth: data[64],
            len: size,
        }),
    };
    let draft = Draft {
        epoch: line.number("epoch") as u32,
        version: Version::from_bytes(line.array("version")),
        put: PutId(line.array("put")),
        floor: Version::from_bytes(line.array("floor")),
        ext: line.bytes("ext").into(),
    };
    let modified = line.text("modified").parse().ok().map(UnixMillis);
    let chunk_size = line.number("chunk_size") as u32;
    (
        draft,
        Meta {
            name: Name::new(line.text("name")).unwrap(),
            size,
            modified,
            chunk_size,
        },
        content,
    )
}

fn entries(bytes: &[u8]) -> Vec<Entry> {
    let entry = |child: &[u8; 72]| Entry {
        id: BlobId(child[..32].try_into().unwrap()),
        key: BlobKey::from_bytes(child[32..64].try_into().unwrap()),
        len: u64::from_be_bytes(child[64..].try_into().unwrap()),
    };
    bytes.as_chunks().0.iter().map(entry).collect()
}

fn lines(file: &str) -> impl Iterator<Item = Line<'_>> {
    assert!(!file.is_empty(), "a file without vectors checks nothing");
    file.lines().map(Line)
}

/// One flat JSON object of strings without escapes.
struct Line<'a>(&'a str);

impl<'a> Line<'a> {
    fn text(&self, field: &str) -> &'a str {
        let start = format!("\"{field}\":\"");
        let (_, rest) = self
            .0
            .split_once(&start)
            .unwrap_or_else(|| panic!("no {field}"));
        rest.split_once('"').expect("a closing quote").0
    }

    fn number(&self, field: &str) -> usize {
        self.text(field).parse().unwrap()
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        let hex = self.text(field);
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap()
    }
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .collect();
    format!("{{{}}}\n", fields.join(","))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
