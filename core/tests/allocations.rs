//! What decoding allocates is bounded by what was fed, whatever was fed: at
//! any moment at most twice that and 64 KiB, and in all no more than grows in
//! step with it. So no input costs more than its length.
//!
//! Every decoder of the core, on the corpus of its fuzz target, mutations of
//! it, inputs of up to 1 MiB grown from it, real ones that are as long as they
//! may be, and bodies made to cost most.
//!
//! One test alone in its process, so that what is counted is its own.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Buf, Bytes};
use minicbor::Encoder;
use peerhold_core::admission::Admission;
use peerhold_core::check;
use peerhold_core::foreverstore::{
    self, Connection, FileData, FileKind, Framing, OwnerId, OwnerKey, Reader,
};
use peerhold_core::gob::{self, Decoder};
use peerhold_core::members::Members;
use peerhold_core::path::{Layout, sha1_path};
use peerhold_core::seal::{
    BlobKey, Grant, Head, NamespaceSecret, ReadKey, SealedRecord, Shape, Writer, children,
    open_chunk, open_meta, open_node, open_record, open_shared_node, open_shared_record,
};
use peerhold_core::tape::Replayer;
use peerhold_core::wire::frame::{self, BODY_MAX, FrameLimits};
use peerhold_core::wire::message::{self, *};
use peerhold_core::{
    BlobId, ClusterKey, FileCapability, Instant, NamespaceId, NodeId, PutId, RecordId, Role, Ticket,
};

#[path = "support/counting.rs"]
mod counting;
#[path = "support/gob_bombs.rs"]
mod gob_bombs;
#[path = "support/long.rs"]
mod long;
#[path = "support/mutate.rs"]
mod mutate;

use counting::{Cost, Counting, cost_of};
use mutate::{Dice, inputs, mutated};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Mutations of each target's corpus.
const MUTATIONS: usize = 3000;
/// Inputs grown from a target's corpus to each of these lengths.
const GROWN: usize = 3;
const LENGTHS: [usize; 3] = [64 << 10, 256 << 10, MIB];
const MIB: usize = 1 << 20;

/// What may be held for `n` bytes at any moment.
const fn peak_max(n: usize) -> usize {
    2 * n + (64 << 10)
}

/// What may be allocated for `n` bytes in all, and in how many blocks.
///
/// The most that there is by length are 39.7 bytes a byte, where gob's integers of
/// one byte become values of 40; and a block for each fourth byte, where a connection
/// of the Go program hears one short message after the other. What does not depend on
/// the length is the buffer of one frame, 64 KiB, and 47 blocks of a connection.
const fn total_max(n: usize) -> (usize, usize) {
    (48 * n + (64 << 10), n / 2 + 128)
}

/// A decoder.
struct Case {
    what: &'static str,
    /// The fuzz target whose corpus it has.
    target: &'static str,
    /// What it decodes of an input of that target.
    part: fn(&[u8]) -> Vec<u8>,
    decode: fn(&Bytes),
}

const fn case(
    what: &'static str,
    target: &'static str,
    part: fn(&[u8]) -> Vec<u8>,
    decode: fn(&Bytes),
) -> Case {
    Case {
        what,
        target,
        part,
        decode,
    }
}

const CASES: [Case; 46] = [
    case("frame", "frame", behind_cuts::<2>, frames),
    case(
        "frame, in pieces",
        "frame",
        behind_cuts::<2>,
        frames_in_pieces,
    ),
    case("gob", "gob", behind_cuts::<0>, gob),
    case("gob, in pieces", "gob", behind_cuts::<0>, gob_in_pieces),
    case("units", "goconn", behind_cuts::<1>, units::<false>),
    case("envelopes", "goconn", behind_cuts::<1>, units::<true>),
    case(
        "connection",
        "goconn",
        behind_cuts::<1>,
        connection::<false>,
    ),
    case(
        "connection of envelopes",
        "goconn",
        behind_cuts::<1>,
        connection::<true>,
    ),
    case("its message", "goconn", behind_cuts::<1>, go_message),
    case("hello", "message", behind::<1>, as_message::<Hello>),
    case("proof", "message", behind::<1>, as_message::<Proof>),
    case(
        "members",
        "message",
        behind::<1>,
        as_message::<MembersUpdate>,
    ),
    case("peers", "message", behind::<1>, as_message::<PeersUpdate>),
    case("claim", "message", behind::<1>, as_message::<ClaimBlobs>),
    case("claimed", "message", behind::<1>, as_message::<Claimed>),
    case("fetch", "message", behind::<1>, as_message::<Fetch>),
    case("lookup", "message", behind::<1>, as_message::<Lookup>),
    case("found", "message", behind::<1>, as_message::<Found>),
    case("keep", "message", behind::<1>, as_message::<Keep>),
    case("list", "message", behind::<1>, as_message::<List>),
    case("history", "message", behind::<1>, as_message::<History>),
    case("rows", "message", behind::<1>, as_message::<Rows>),
    case("refused", "message", behind::<1>, as_message::<Refused>),
    case("kept members", "message", behind::<1>, members),
    case("hello, taken", "admission", behind::<3>, hello),
    case("record", "record", behind::<1>, record),
    case(
        "record, as its owner seals it",
        "record",
        behind::<0>,
        owned_record,
    ),
    case("head", "record", behind::<1>, head),
    case("grant", "record", behind::<1>, grant),
    case("children", "manifest", behind::<1>, of_node),
    case("node", "manifest", behind::<1>, node),
    case("shared node", "manifest", behind::<1>, shared_node),
    case("chunk", "manifest", behind::<1>, chunk),
    case("tape", "tape", tape_of, tape),
    case("tape, in pieces", "tape", tape_of, tape_in_pieces),
    case("path", "path", behind::<32>, path),
    case("node id", "text", behind::<1>, text::<NodeId>),
    case("namespace id", "text", behind::<1>, text::<NamespaceId>),
    case("blob id", "text", behind::<1>, text::<BlobId>),
    case("put id", "text", behind::<1>, text::<PutId>),
    case("record id", "text", behind::<1>, text::<RecordId>),
    case("read key", "text", behind::<1>, text::<ReadKey>),
    case(
        "namespace secret",
        "text",
        behind::<1>,
        text::<NamespaceSecret>,
    ),
    case("cluster key", "text", behind::<1>, text::<ClusterKey>),
    case(
        "file capability",
        "text",
        behind::<1>,
        text::<FileCapability>,
    ),
    case("ticket", "text", behind::<1>, text::<Ticket>),
];

/// What is behind `N` bytes that are not the decoder's.
fn behind<const N: usize>(input: &[u8]) -> Vec<u8> {
    input.get(N..).unwrap_or_default().to_vec()
}

/// The same, where the lengths of pieces follow them.
fn behind_cuts<const N: usize>(input: &[u8]) -> Vec<u8> {
    let rest = input.get(N..).unwrap_or_default();
    let cuts = rest.first().map_or(0, |cuts| 1 + usize::from(*cuts));
    rest.get(cuts..).unwrap_or_default().to_vec()
}

/// The tape that an input is, or that is made of the bodies in it.
fn tape_of(input: &[u8]) -> Vec<u8> {
    let rest = behind_cuts::<1>(input);
    if input.first().is_none_or(|choices| choices & 1 == 0) {
        return rest;
    }
    let mut bodies = Vec::new();
    let mut rest = Bytes::from(rest);
    while let Ok(len) = rest.try_get_u16() {
        bodies.push(rest.split_to(rest.len().min(len.into())));
    }
    long::tape_of(&bodies)
}

fn frames(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut decoder = frame::Decoder::new(FrameLimits { body_max: BODY_MAX });
    while let Ok(Some(_)) = decoder.decode(&mut input) {}
}

fn frames_in_pieces(bytes: &Bytes) {
    let mut decoder = frame::Decoder::new(FrameLimits { body_max: BODY_MAX });
    let mut left = bytes.clone();
    while !left.is_empty() {
        let mut input = left.split_to(left.len().min(7));
        while let Ok(Some(_)) = decoder.decode(&mut input) {}
    }
}

fn gob(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut decoder = Decoder::new(gob::Limits::default(), &["a"]);
    while let Ok(Some(_)) = decoder.decode(&mut input) {}
}

fn gob_in_pieces(bytes: &Bytes) {
    let mut decoder = Decoder::new(gob::Limits::default(), &["a"]);
    let mut left = bytes.clone();
    while !left.is_empty() {
        let mut input = left.split_to(left.len().min(7));
        while let Ok(Some(_)) = decoder.decode(&mut input) {}
    }
}

fn framing(envelopes: bool) -> Framing {
    match envelopes {
        true => Framing::Envelopes,
        false => Framing::Marked,
    }
}

/// Raw bytes are taken for the next unit: how many there are, only a
/// connection knows.
fn units<const ENVELOPES: bool>(bytes: &Bytes) {
    let mut input = bytes.clone();
    let mut reader = Reader::new(framing(ENVELOPES), gob::Limits::default());
    while let Ok(Some(_)) = reader.read(&mut input) {}
}

fn go_message(bytes: &Bytes) {
    let _ = foreverstore::Message::decode(bytes.clone(), gob::Limits::default());
}

/// A connection of a window of 4 KiB, which are within the 64, on files that
/// keep nothing. A driver hands it no more than it reads.
fn connection<const ENVELOPES: bool>(bytes: &Bytes) {
    let mut config = foreverstore::Config::new(OwnerId([0xcc; 32]), OwnerKey::from_bytes([7; 32]));
    config.framing = framing(ENVELOPES);
    config.timing.pause = Duration::ZERO;
    config.limits.file = 1 << 20;
    config.limits.window = 4096;
    config.limits.chunk = FILE.len();
    let now = Instant::ZERO;
    let mut connection = Connection::new(config, now).expect("limits above zero");
    connection.get(now, "b".into()).expect("room");
    let mut left = bytes.clone();
    while !left.is_empty() {
        settle(&mut connection);
        let piece = left.split_to(left.len().min(connection.read_budget()));
        if piece.is_empty() {
            break;
        }
        connection.handle(now, foreverstore::Input::Received(piece));
    }
    connection.handle(now, foreverstore::Input::Closed);
    settle(&mut connection);
}

/// What stands in every file that a connection reads.
static FILE: [u8; 1024] = [1; 1024];

fn settle(connection: &mut Connection) {
    loop {
        if let Some(op) = connection.poll_file() {
            let data = match op.kind() {
                FileKind::Open { .. } => FileData::Opened { len: 3000 },
                FileKind::Read { len, .. } => FileData::Read(Bytes::from_static(&FILE[..*len])),
                _ => FileData::Done,
            };
            let done = foreverstore::Input::File(op.complete(Ok(data)));
            connection.handle(Instant::ZERO, done);
        } else if connection.poll_transmit(usize::MAX).is_some() {
            connection.handle(Instant::ZERO, foreverstore::Input::Written);
        } else if connection.poll_event().is_none() {
            return;
        }
    }
}

fn as_message<M: for<'b> minicbor::Decode<'b, ()>>(bytes: &Bytes) {
    let _ = message::decode::<M>(bytes);
}

fn members(bytes: &Bytes) {
    drop(Members::decode(bytes));
}

fn hello(bytes: &Bytes) {
    let key = ClusterKey::from_bytes([5; 32]);
    let (us, them) = (NodeId([1; 32]), NodeId([2; 32]));
    let mut admission = Admission::new(us, Role::Dialer, them, [7; 32], 100);
    let _ = admission.take_hello(bytes, &key);
    let _ = admission.take_proof(bytes, &[key]);
}

static WRITER: LazyLock<Writer> = LazyLock::new(|| NamespaceSecret::from_bytes([7; 32]).writer());

/// Head and meta behind their lengths, and a content: verified, and opened by
/// a reader and by who was given a capability.
fn record(bytes: &Bytes) {
    let mut rest = bytes.clone();
    let mut sized = || {
        let len = rest.try_get_u16().unwrap_or(0);
        rest.split_to(rest.len().min(len.into()))
    };
    let (head, meta) = (sized(), sized());
    let Ok(record) = SealedRecord::from_parts(head, meta, rest) else {
        return;
    };
    let SealedRecord {
        head,
        meta,
        content,
    } = &record;
    let reader = WRITER.reader();
    let _ = open_meta(reader, head, meta);
    let _ = open_record(reader, head, meta, content);
    if let Some(file) = reader.share(head.key(), head.id(), &head.head().siv) {
        let _ = open_shared_record(&file, head, meta, content);
    }
}

/// What stands in metas and contents is whatever their owner has sealed. Both
/// sealing and opening are counted here.
fn owned_record(bytes: &Bytes) {
    check::record(bytes);
}

fn head(bytes: &Bytes) {
    let _ = Head::decode(bytes);
}

fn grant(bytes: &Bytes) {
    let _ = Grant::verify(bytes);
}

fn of_node(bytes: &Bytes) {
    let _ = children(bytes);
}

fn node(bytes: &Bytes) {
    let (id, key) = (BlobId::of(bytes), BlobKey::from_bytes([3; 32]));
    let _ = open_node(WRITER.reader(), &id, &key, &shape_of(bytes), bytes);
}

fn shared_node(bytes: &Bytes) {
    let (id, key) = (BlobId::of(bytes), BlobKey::from_bytes([3; 32]));
    let _ = open_shared_node(&id, &key, &shape_of(bytes), bytes);
}

fn shape_of(node: &Bytes) -> Shape {
    Shape {
        level: node.get(8).copied().unwrap_or(1),
        len: 1,
        chunk_size: 1 << 20,
    }
}

fn chunk(bytes: &Bytes) {
    let key = BlobKey::from_bytes([3; 32]);
    let _ = open_chunk(&BlobId::of(bytes), &key, 1, bytes.clone(), false);
}

fn tape(bytes: &Bytes) {
    let mut replayer = Replayer::new();
    let _ = replayer.feed(bytes);
    let _ = replayer.finish();
}

fn tape_in_pieces(bytes: &Bytes) {
    let mut replayer = Replayer::new();
    let mut pieces = bytes.chunks(1000);
    while pieces
        .next()
        .is_some_and(|piece| replayer.feed(piece).is_ok())
    {}
    let _ = replayer.finish();
}

fn path(bytes: &Bytes) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = Layout::from_name(text);
        drop(sha1_path(text));
        let _ = OwnerId::from_hex(text);
        let _ = foreverstore::FileKey::from_hex(text);
        drop(foreverstore::FilePath::own(&OwnerId([7; 32]), text));
    }
}

fn text<T: std::str::FromStr>(bytes: &Bytes) {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<T>();
    }
}

/// The most that any input has cost, and what its length does not explain.
#[derive(Default)]
struct Most {
    peak: usize,
    total: usize,
    blocks: usize,
}

impl Most {
    fn check(&mut self, what: &str, decode: fn(&Bytes), input: &[u8]) {
        // It is there before it is decoded.
        let input = &Bytes::copy_from_slice(input);
        drop(input.clone());
        let Cost {
            peak,
            total,
            blocks,
        } = cost_of(|| decode(input));
        let n = input.len();
        let (total_max, blocks_max) = total_max(n);
        let begins = &input[..n.min(200)];
        assert!(
            peak <= peak_max(n),
            "{what}: {peak} bytes are held for {n}: {begins:02x?}"
        );
        assert!(
            total <= total_max && blocks <= blocks_max,
            "{what}: {total} bytes in {blocks} blocks are allocated for {n}: {begins:02x?}"
        );
        self.peak = self.peak.max(peak.saturating_sub(2 * n));
        self.total = self.total.max(total);
        self.blocks = self.blocks.max(blocks);
    }
}

#[test]
fn decoding_allocates_in_step_with_what_was_fed() {
    let mut most = Most::default();
    let bombs = [bombs(), long::inputs()].concat();
    for Case {
        what,
        target,
        part,
        decode,
    } in CASES
    {
        let mut inputs = inputs(target);
        assert!(!inputs.is_empty(), "{target} has no corpus");
        inputs.extend(long::seeds(target));
        for input in &inputs {
            most.check(what, decode, &part(input));
        }
        let mut dice = Dice(0x5eed);
        for _ in 0..MUTATIONS {
            most.check(what, decode, &part(&mutated(&mut dice, &inputs)));
        }
        let mut parts: Vec<Vec<u8>> = inputs.iter().map(|input| part(input)).collect();
        parts.retain(|part| !part.is_empty());
        for len in LENGTHS {
            for how in 0..GROWN {
                let grown = long::grown(&mut dice, &parts, len, how);
                most.check(&format!("{what}, grown to {len}"), decode, &grown);
            }
        }
        for (bomb, input) in &bombs {
            most.check(&format!("{what}, {bomb}"), decode, input);
        }
    }
    // The check would not fail if nothing were counted.
    assert!(most.peak > 16 << 10, "only {} bytes at most", most.peak);
    assert!(most.total > 1 << 20, "only {} bytes in all", most.total);
    assert!(most.blocks > 1000, "only {} blocks", most.blocks);
}

/// Bodies that cost a decoder most within its limits, or would beyond them.
fn bombs() -> Vec<(String, Vec<u8>)> {
    let mut bombs = Vec::new();
    for len in [10, 700, 5000, 65_536] {
        // Lists of the cheapest items that there are, in the fields that
        // messages have lists in.
        for (item, bytes) in [
            ("empty maps", &[0xa0][..]),
            ("answers", &[0xa1, 0, 0]),
            (
                "records of nothing",
                &[0xa1, 0, 0xa3, 0, 0x40, 1, 0x40, 2, 0x40],
            ),
            ("empty texts", &[0x60]),
            ("arrays", &[0x80]),
            ("open arrays", &[0x9f]),
            ("open maps", &[0xbf]),
            ("maps in maps", &[0xa1, 0]),
            ("tags", &[0xc1]),
        ] {
            let count = (len / bytes.len()) as u64;
            for field in [0, 1, 3, 23] {
                for count in [Some(count), Some(u64::MAX), Some(682), Some(64), None] {
                    let mut body = Vec::new();
                    let mut e = Encoder::new(&mut body);
                    e.map(2).unwrap().u8(field).unwrap();
                    match count {
                        Some(count) => e.array(count).unwrap(),
                        None => e.begin_array().unwrap(),
                    };
                    body.extend(bytes.repeat(len / bytes.len()));
                    body.extend([0xff, 1, 0xf4]);
                    body.truncate(BODY_MAX as usize);
                    bombs.push((format!("{item} in {len}, field {field}, {count:?}"), body));
                }
            }
        }
        // A header that promises a whole body, of which one byte comes.
        bombs.push((format!("a long frame, {len}"), {
            let header = [0, 1, 0, 0, 0, 0, 0, 1, 1, 0];
            [&header[..], &vec![7; len]].concat()
        }));
        bombs.push((format!("letters, {len}"), b"phticket1".repeat(len / 9)));
        bombs.push((format!("noise, {len}"), vec![0x5a; len]));
    }
    bombs
}
