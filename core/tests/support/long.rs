//! Inputs of decoders that are longer than those of a corpus.

use bytes::{Bytes, BytesMut};
use peerhold_core::foreverstore::{Message, Rpc};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::members::{MEMBERS_MAX, Member, MemberEntry, Members, State};
use peerhold_core::seal::{
    ChunkBuffer, Content, Draft, Entry, FANOUT_MAX, HEAD_MAX, INLINE_MAX, META_MAX, Meta, Name,
    PAYLOAD_MAX, SealedRecord, seal_chunk, seal_node, seal_record,
};
use peerhold_core::wire::frame::{BODY_MAX, Flags, Frame, encode};
use peerhold_core::wire::message::{self, *};
use peerhold_core::{ClusterKey, Config, Input, Instant, RecordId, Taped, UnixMillis, Version};

use crate::gob_bombs::{bombs, nested_interfaces, slice, text, value_of};
use crate::mutate::{Dice, mutated};
use crate::{MIB, WRITER};

/// An input of this length: one of the corpus over and over, all in any order,
/// or what mutations make of them.
pub(crate) fn grown(dice: &mut Dice, corpus: &[Vec<u8>], len: usize, how: usize) -> Vec<u8> {
    let one = dice.one(corpus).clone();
    let mut input = Vec::with_capacity(len);
    while input.len() < len {
        match how {
            0 => input.extend_from_slice(&one),
            1 => input.extend(dice.one(corpus)),
            _ => input.extend(mutated(dice, corpus)),
        }
    }
    input.truncate(len);
    input
}

/// Inputs of a target that its corpus has too few of.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "goconn" => vec![[&[1, 0][..], &envelopes(1, 64)].concat()],
        "record" => {
            let SealedRecord {
                head,
                meta,
                content,
            } = record(100);
            vec![[&[0][..], &parts(&head.bytes()[..], &meta), &content].concat()]
        }
        _ => Vec::new(),
    }
}

/// Real ones that are as long as they may be, or longer.
pub(crate) fn inputs() -> Vec<(String, Vec<u8>)> {
    let record = record(INLINE_MAX);
    let record = [
        &parts(record.head.bytes(), &record.meta)[..],
        &record.content,
    ]
    .concat();
    let children: Vec<Entry> = (0..FANOUT_MAX as u32).map(child).collect();
    let node = seal_node(WRITER.reader(), 1, &children).unwrap().bytes;
    let mut buffer = ChunkBuffer::with_capacity(PAYLOAD_MAX);
    assert_eq!(buffer.extend(&vec![5; PAYLOAD_MAX]), PAYLOAD_MAX);
    let chunk = seal_chunk(WRITER.reader(), buffer, 1).unwrap().bytes;
    let mut all = messages();
    all.extend(streams());
    all.extend([
        ("a record", record),
        ("a node", node.to_vec()),
        ("a chunk", chunk.to_vec()),
        ("a tape", long_tape()),
        ("a long text", [b"phnode1", &b"q".repeat(MIB)[..]].concat()),
    ]);
    all.extend(bombs().into_iter().map(|(what, stream, _)| (what, stream)));
    all.push(("interfaces very deep", nested_interfaces(4000)));
    let all = all.into_iter();
    all.map(|(what, input)| (what.to_owned(), input)).collect()
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let member = |at: u32| MemberEntry {
        node: node(at),
        member: Member {
            counter: u64::MAX,
            state: State::Active,
            weight: 1000,
            zone: 1000,
        },
    };
    let entries: Vec<MemberEntry> = (0..MEMBERS_MAX).map(member).collect();
    let mut kept = Members::new();
    for MemberEntry { node, member } in &entries {
        kept.insert(*node, *member);
    }
    let peer = |at| PeerEntry {
        node: node(at),
        addresses: vec!["a".repeat(240); ADDRESSES_MAX],
    };
    let blob = |at| BlobEntry {
        id: child(at).id,
        len: u32::MAX,
    };
    let claim = ClaimBlobs {
        namespace: NamespaceId([1; 32]),
        tag: NameTag([2; 32]),
        put: PutId([3; 16]),
        blobs: (0..CLAIMS_MAX as u32).map(blob).collect(),
        authority: Some(Authority::Head(vec![7; 60_000].into())),
    };
    let parts = |content: usize| RecordParts {
        head: vec![1; HEAD_MAX].into(),
        meta: vec![2; META_MAX].into(),
        content: vec![3; content].into(),
    };
    let damaged = |at| RowParts {
        record: None,
        damaged: Some(Box::new(DamagedRow {
            tag: NameTag(node(at).0),
            id: RecordId {
                version: Version::MAX,
                head: [9; 32],
            },
        })),
    };
    let whole = |_| RowParts {
        record: Some(parts(0)),
        damaged: None,
    };
    let rows = |rows| Rows { rows, more: true };
    let answers = |index| ClaimAnswer {
        index,
        refusal: Some(Refusal::PeerQuota(Quota {
            limit: u64::MAX,
            used: u64::MAX,
        })),
    };
    let keep = Keep {
        record: parts(60_000),
        repair: true,
    };
    let found = Found {
        record: Some(parts(INLINE_MAX)),
    };
    let (holding, peers) = (true, (0..PEERS_MAX as u32).map(peer).collect());
    let members = MembersUpdate { entries, holding };
    let answers = (0..CLAIMS_MAX as u8).map(answers).collect();
    vec![
        ("members", message::encode(&members).into()),
        ("kept members", kept.encode().into()),
        ("peers", message::encode(&PeersUpdate { peers }).into()),
        ("a claim", message::encode(&claim).into()),
        ("answers", message::encode(&Claimed { answers }).into()),
        ("a record to keep", message::encode(&keep).into()),
        ("a record found", message::encode(&found).into()),
        (
            "damaged rows",
            message::encode(&rows((0..ROWS_MAX as u32).map(damaged).collect())).into(),
        ),
        (
            "rows",
            message::encode(&rows((0..15).map(whole).collect())).into(),
        ),
    ]
}

fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |len: usize| Frame {
        kind: kind::DATA,
        flags: Flags::RESPONSE | Flags::MORE,
        request: 1,
        body: vec![7; len].into(),
    };
    let frames = |len: usize| {
        let mut out = BytesMut::new();
        while out.len() < MIB {
            encode(&mut out, &frame(len)).unwrap();
        }
        out.to_vec()
    };
    let ints = value_of(64, &[&[0, 0xff, 200][..], &[2; 200]].concat());
    let ints = [slice(64, 2), ints.repeat(MIB / 206)].concat();
    let texts = value_of(6, &[&[0], &text(&[b'a'; 60_000])[..]].concat());
    let asked = |len: usize| Message::Get {
        id: "1".repeat(64),
        key: "2".repeat(len),
    };
    let marked = |message: &Message| [&[1], &message.encode()[..]].concat();
    let store = Message::Store {
        id: "1".repeat(64),
        key: "2".repeat(32),
        size: MIB as i64,
    };
    vec![
        ("full frames", frames(BODY_MAX as usize)),
        ("small frames", frames(1)),
        ("integers", ints),
        ("strings", texts.repeat(MIB / 60_000)),
        ("a long message", asked(60_000).encode()),
        ("messages", marked(&asked(32)).repeat(MIB / 200)),
        ("long messages", marked(&asked(60_000)).repeat(16)),
        (
            "a file",
            [&marked(&store)[..], &[2], &vec![7; MIB]].concat(),
        ),
        ("envelopes", envelopes(MIB / 400, 32)),
        ("long envelopes", envelopes(16, 60_000)),
    ]
}

/// So many envelopes of messages with a key of this length.
fn envelopes(count: usize, key: usize) -> Vec<u8> {
    let message = Message::Get {
        id: "1".repeat(64),
        key: "2".repeat(key),
    };
    let payload = message.encode().into();
    let rpc = Rpc {
        payload,
        ..Rpc::default()
    };
    rpc.encode().repeat(count)
}

/// Head and meta, each behind its length.
fn parts(head: &[u8], meta: &[u8]) -> Vec<u8> {
    let sized = |part: &[u8]| [&(part.len() as u16).to_be_bytes(), part].concat();
    [sized(head), sized(meta)].concat()
}

fn record(len: usize) -> SealedRecord {
    let meta = Meta {
        name: Name::new(&"n".repeat(Name::MAX)).unwrap(),
        size: len as u64,
        modified: Some(UnixMillis(u64::MAX)),
        chunk_size: 1 << 20,
    };
    let draft = Draft {
        epoch: u32::MAX,
        version: Version::MAX,
        put: PutId([3; 16]),
        floor: Version::MAX,
        ext: vec![7; 1000].into(),
    };
    let content = Content::Inline(vec![1; len].into());
    seal_record(&WRITER, draft, &meta, &content).unwrap()
}

fn child(at: u32) -> Entry {
    Entry {
        id: BlobId(node(at).0),
        key: peerhold_core::seal::BlobKey::from_bytes([3; 32]),
        len: 1 << 20,
    }
}

fn node(at: u32) -> NodeId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&at.to_be_bytes());
    NodeId(id)
}

/// What a node was told, very often.
fn long_tape() -> Vec<u8> {
    let config = Config::new(NodeId([1; 32]), ClusterKey::from_bytes([2; 32]));
    let mut node = Taped::recorded(config, [3; 32], Instant::ZERO).unwrap();
    let mut tape = Vec::new();
    while tape.len() < MIB / 2 {
        node.handle(Instant::ZERO, Input::Wall(UnixMillis(1)));
        node.poll_event();
        tape.extend_from_slice(&node.take());
    }
    tape
}

/// A tape of these bodies, its links right.
pub(crate) fn tape_of(bodies: &[Bytes]) -> Vec<u8> {
    let mut tape = b"peerhold tape 1\n".to_vec();
    let mut link = blake3::hash(&tape);
    for body in bodies.iter().take_while(|body| !body.is_empty()) {
        link = blake3::keyed_hash(link.as_bytes(), body);
        tape.extend((body.len() as u32).to_be_bytes());
        tape.extend(&link.as_bytes()[..8]);
        tape.extend_from_slice(body);
    }
    tape
}
