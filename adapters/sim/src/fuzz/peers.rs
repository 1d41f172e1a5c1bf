//! What the peers of a node say.

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use peerhold_core::admission::Admission;
use peerhold_core::disk::{Claim, DiskKind, Page, Part, Row, StoredRecord};
use peerhold_core::id::{BlobId, NameTag, NodeId, PutId};
use peerhold_core::members::{Member, MemberEntry, State};
use peerhold_core::seal::{
    ChunkBuffer, Content, Draft, Grant, Meta, Root, seal_chunk, seal_record,
};
use peerhold_core::version::Version;
use peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::{
    self, Authority, BlobEntry, ClaimAnswer, ClaimBlobs, Claimed, Fetch, Found, History, Keep,
    List, Lookup, MembersUpdate, PeerEntry, PeersUpdate, RecordParts, Refusal, Refused, Rows, kind,
};
use peerhold_core::{Role, UnixMillis};

use super::node::{ME, key, name, peer_id, writer};

/// A message that decodes.
#[derive(Arbitrary, Debug)]
pub(super) enum Say {
    Members {
        node: u8,
        counter: u8,
        state: u8,
        weight: u8,
        holding: bool,
    },
    Peers {
        node: u8,
        addresses: u8,
    },
    Claim {
        blobs: u8,
        put: u8,
        authority: u8,
    },
    Claimed {
        index: u8,
        refusal: Option<u8>,
    },
    Fetch {
        blob: u8,
        max: u32,
    },
    Lookup {
        record: u8,
        part: u8,
        at: bool,
    },
    Found {
        record: Option<u8>,
        part: u8,
    },
    Keep {
        record: u8,
        repair: bool,
        forged: bool,
    },
    List {
        after: Option<u8>,
        max: u16,
    },
    History {
        name: u8,
        below: Option<u8>,
        max: u16,
    },
    Rows {
        records: [u8; 3],
        damaged: bool,
        more: bool,
    },
    Data {
        blob: u8,
        from: u16,
        len: u16,
    },
    Refused {
        reason: u8,
    },
    Ping,
    Pong,
    Cancel,
}

/// Blobs and records that peers speak of. The node holds every other one.
pub(super) struct Things {
    blobs: Vec<Bytes>,
    records: Vec<StoredRecord>,
}

impl Things {
    pub(super) fn get() -> &'static Self {
        static THINGS: OnceLock<Things> = OnceLock::new();
        THINGS.get_or_init(Self::make)
    }

    fn make() -> Self {
        let reader = writer().reader();
        let mut roots = Vec::new();
        let blobs = [100, 5000, 64 << 10, 1 << 20].map(|len| {
            let mut plain = ChunkBuffer::with_capacity(1 << 20);
            let taken = plain.extend(&vec![len as u8; len]);
            assert_eq!(taken, len);
            let blob = seal_chunk(reader, plain, 1).expect("some bytes");
            roots.push(Root {
                id: blob.id,
                key: blob.key.clone(),
                depth: 0,
                len: blob.len,
            });
            blob.bytes
        });
        let records = (0..8_u8).map(|number| {
            let content = match number % 4 {
                0 => Content::Inline(Bytes::from_static(b"inline")),
                3 => Content::Removed,
                _ => Content::Root(roots[usize::from(number / 2)].clone()),
            };
            let size = match &content {
                Content::Inline(bytes) => bytes.len() as u64,
                Content::Root(root) => root.len,
                Content::Removed => 0,
            };
            let meta = Meta {
                name: name(number / 2),
                size,
                modified: None,
                chunk_size: 1 << 20,
            };
            let wall = UnixMillis(1_600_000_000_000 + u64::from(number));
            let draft = Draft {
                epoch: 0,
                version: Version::next(wall, Version::ZERO, [number; 8]).expect("one above"),
                put: PutId([number; 16]),
                floor: Version::ZERO,
                ext: Bytes::new(),
            };
            let record = seal_record(writer(), draft, &meta, &content);
            record.expect("a sound record").to_stored()
        });
        Self {
            blobs: blobs.into(),
            records: records.collect(),
        }
    }

    fn blob(&self, which: u8) -> &Bytes {
        &self.blobs[usize::from(which) % self.blobs.len()]
    }

    fn record(&self, which: u8) -> &StoredRecord {
        &self.records[usize::from(which) % self.records.len()]
    }

    /// What a store is given of them.
    pub(super) fn stored(&self) -> Vec<DiskKind> {
        let blobs = self.blobs.iter().step_by(2).zip(0..);
        let blobs = blobs.map(|(bytes, put)| DiskKind::PutBlob {
            claim: Claim {
                blob: BlobId::of(bytes),
                len: bytes.len() as u32,
                namespace: writer().namespace(),
                tag: self.records[0].key.tag,
                put: PutId([put; 16]),
            },
            bytes: bytes.clone(),
        });
        let records = self.records.iter().step_by(2).cloned();
        blobs.chain(records.map(DiskKind::PutRecord)).collect()
    }
}

/// A peer's end of a connection with the node.
pub(super) struct Wire {
    admission: Admission,
    decoder: Decoder,
    /// What the node has asked and was not answered.
    asked: Vec<Frame>,
}

impl Wire {
    pub(super) fn new(peer: NodeId, role: Role) -> Self {
        Self {
            admission: Admission::new(peer, role, ME, [peer.0[0]; 32], 16),
            decoder: Decoder::new(FrameLimits { body_max: BODY_MAX }),
            asked: Vec::new(),
        }
    }

    pub(super) fn frame(kind: u8, flags: u8, request: u32, body: &[u8]) -> BytesMut {
        let flags = Flags::from_bits(flags).unwrap_or_default();
        let mut out = BytesMut::new();
        // What is too long for a frame is not sent.
        let _ = message::append(&mut out, kind, flags, request, body);
        out
    }

    /// The peer's part of an admission, in answer to what the node said first.
    pub(super) fn admission(&mut self, said: &Bytes) -> BytesMut {
        let mut said = said.clone();
        let mut out = BytesMut::new();
        while let Ok(Some(frame)) = self.decoder.decode(&mut said) {
            if frame.kind != kind::HELLO {
                continue;
            }
            if let Ok(proof) = self.admission.take_hello(&frame.body, &key(0)) {
                out.unsplit(Self::frame(kind::HELLO, 0, 0, self.admission.hello()));
                out.unsplit(Self::frame(kind::PROOF, 0, 0, &proof));
            }
        }
        out
    }

    /// Reads what the node says.
    pub(super) fn read(&mut self, said: &Bytes) {
        let mut said = said.clone();
        while let Some(frame) = self.decoder.decode(&mut said).expect("the node's frames") {
            if !frame.flags.contains(Flags::RESPONSE) && frame.kind >= kind::CLAIM {
                self.asked.push(frame);
            }
        }
    }

    /// Answers what the node has asked first, as well as things go.
    pub(super) fn serve(&mut self) -> BytesMut {
        if self.asked.is_empty() {
            return BytesMut::new();
        }
        let Frame {
            kind: of,
            request,
            body,
            ..
        } = self.asked.remove(0);
        let things = Things::get();
        let response = Flags::RESPONSE.bits();
        match of {
            kind::FETCH => {
                let asked = message::decode::<Fetch>(&body).expect("the node's message");
                let found = things
                    .blobs
                    .iter()
                    .find(|blob| BlobId::of(blob) == asked.id);
                let Some(blob) = found else {
                    let reason = Refusal::Missing;
                    let body = message::encode(&Refused { reason });
                    return Self::frame(kind::REFUSED, response, request, &body);
                };
                let mut out = BytesMut::new();
                let mut pieces = blob.chunks(BODY_MAX as usize).peekable();
                while let Some(piece) = pieces.next() {
                    let more = pieces.peek().map_or(0, |_| Flags::MORE.bits());
                    out.unsplit(Self::frame(kind::DATA, response | more, request, piece));
                }
                out
            }
            kind::CLAIM => {
                let asked = message::decode::<ClaimBlobs>(&body).expect("the node's message");
                let held = |index| ClaimAnswer {
                    index,
                    refusal: None,
                };
                let answers = (0..asked.blobs.len() as u8).map(held).collect();
                let body = message::encode(&Claimed { answers });
                Self::frame(of, response, request, &body)
            }
            kind::LOOKUP => {
                let asked = message::decode::<Lookup>(&body).expect("the node's message");
                let mut found = things.records.iter().rev();
                let found = found.find(|record| record.key == asked.key);
                let record = found.map(|record| parts(record, asked.part));
                let body = message::encode(&Found { record });
                Self::frame(of, response, request, &body)
            }
            kind::LIST | kind::HISTORY => {
                let page = Page::default();
                let body = message::encode(&Rows::from(&page));
                Self::frame(of, response, request, &body)
            }
            _ => Self::frame(of, response, request, &[]),
        }
    }

    /// The frame of a message. An answer is one to what was asked last, or to
    /// a request of this number.
    pub(super) fn say(&mut self, say: &Say, answer: bool, more: bool, request: u8) -> BytesMut {
        let (of, body) = say.body();
        let mut flags = 0;
        let mut request = u32::from(request % 8);
        if answer {
            flags |= Flags::RESPONSE.bits();
            let last = self.asked.last().map(|asked| asked.request);
            request = last.unwrap_or(request);
        }
        if more {
            flags |= Flags::MORE.bits();
        }
        Self::frame(of, flags, request, &body)
    }
}

fn parts(record: &StoredRecord, part: Part) -> RecordParts {
    let mut parts = RecordParts::from(record);
    if part != Part::All {
        parts.content = Vec::new().into();
    }
    if part == Part::Head {
        parts.meta = Vec::new().into();
    }
    parts
}

fn part(which: u8) -> Part {
    [Part::Head, Part::Meta, Part::All][usize::from(which % 3)]
}

fn refusal(which: u8) -> Refusal {
    let all = [
        Refusal::Missing,
        Refusal::NoSpace,
        Refusal::Busy,
        Refusal::NotStoring,
        Refusal::Invalid,
        Refusal::TooFarAhead,
        Refusal::TooLong,
        Refusal::Cancelled,
        Refusal::Failed,
        Refusal::Unauthorized,
        Refusal::NotReplica,
    ];
    all[usize::from(which) % all.len()]
}

impl Say {
    fn body(&self) -> (u8, Bytes) {
        let things = Things::get();
        match self {
            Self::Members {
                node,
                counter,
                state,
                weight,
                holding,
            } => {
                let states = [State::Joining, State::Active, State::Leaving, State::Gone];
                let member = Member {
                    counter: (*counter).into(),
                    state: states[usize::from(state % 4)],
                    weight: (weight % 3).into(),
                    zone: 0,
                };
                let node = peer_id(*node);
                let entries = vec![MemberEntry { node, member }];
                let holding = *holding;
                let body = message::encode(&MembersUpdate { entries, holding });
                (kind::MEMBERS, body)
            }
            Self::Peers { node, addresses } => {
                let node = peer_id(*node);
                let addresses = (0..addresses % 6)
                    .map(|at| format!("address:{at}"))
                    .collect();
                let peers = vec![PeerEntry { node, addresses }];
                (kind::PEERS, message::encode(&PeersUpdate { peers }))
            }
            Self::Claim {
                blobs,
                put,
                authority,
            } => (kind::CLAIM, claim(*blobs, *put, *authority)),
            Self::Claimed {
                index,
                refusal: why,
            } => {
                let (index, refusal) = (*index, why.map(refusal));
                let answers = vec![ClaimAnswer { index, refusal }];
                (kind::CLAIM, message::encode(&Claimed { answers }))
            }
            Self::Fetch { blob, max } => {
                let (id, max) = (BlobId::of(things.blob(*blob)), *max);
                (kind::FETCH, message::encode(&Fetch { id, max }))
            }
            Self::Data { blob, from, len } => {
                let blob = things.blob(*blob);
                let from = usize::from(*from).min(blob.len());
                let to = (from + usize::from(*len)).min(blob.len());
                (kind::DATA, blob.slice(from..to))
            }
            Self::Refused { reason } => {
                let reason = refusal(*reason);
                (kind::REFUSED, message::encode(&Refused { reason }))
            }
            Self::Ping => (kind::PING, Bytes::new()),
            Self::Pong => (kind::PONG, Bytes::new()),
            Self::Cancel => (kind::CANCEL, Bytes::new()),
            about => about.records(),
        }
    }

    /// Messages about records.
    fn records(&self) -> (u8, Bytes) {
        let things = Things::get();
        match self {
            Self::Lookup {
                record,
                part: of,
                at,
            } => {
                let record = things.record(*record);
                let lookup = Lookup {
                    key: record.key,
                    part: part(*of),
                    at: at.then(|| record.id()),
                };
                (kind::LOOKUP, message::encode(&lookup))
            }
            Self::Found { record, part: of } => {
                let record = record.map(|which| parts(things.record(which), part(*of)));
                (kind::LOOKUP, message::encode(&Found { record }))
            }
            Self::Keep {
                record,
                repair,
                forged,
            } => {
                let mut record = RecordParts::from(things.record(*record));
                if let Some(last) = record.head.last_mut().filter(|_| *forged) {
                    *last ^= 1;
                }
                let repair = *repair;
                (kind::KEEP, message::encode(&Keep { record, repair }))
            }
            Self::List { after, max } => {
                let list = List {
                    namespace: writer().namespace(),
                    after: after.map(|byte| NameTag([byte; 32])),
                    max: (*max).into(),
                };
                (kind::LIST, message::encode(&list))
            }
            Self::History {
                name: which,
                below,
                max,
            } => {
                let history = History {
                    key: writer().reader().key(&name(*which)),
                    below: below.map(|which| things.record(which).id()),
                    max: (*max).into(),
                };
                (kind::HISTORY, message::encode(&history))
            }
            Self::Rows {
                records,
                damaged,
                more,
            } => {
                let rows = records.iter().zip(0..).map(|(which, at)| {
                    let mut record = things.record(*which).clone();
                    record.content = Bytes::new();
                    if *damaged && at == 1 {
                        let (tag, id) = (record.key.tag, record.id());
                        Row::Damaged { tag, id }
                    } else {
                        Row::Record(record)
                    }
                });
                let (rows, more) = (rows.collect(), *more);
                (
                    kind::LIST,
                    message::encode(&Rows::from(&Page { rows, more })),
                )
            }
            _ => (kind::PING, Bytes::new()),
        }
    }
}

fn claim(blobs: u8, put: u8, authority: u8) -> Bytes {
    let things = Things::get();
    let entry = |which| {
        let blob = things.blob(which);
        let (id, len) = (BlobId::of(blob), blob.len() as u32);
        BlobEntry { id, len }
    };
    let put = PutId([put % 8; 16]);
    let grant = Grant {
        namespace: writer().namespace(),
        put,
        limit: 1 << 21,
        expires: UnixMillis(u64::MAX),
    };
    let authority = match authority % 4 {
        0 => Some(Authority::Grant(grant.sign(writer()).to_vec().into())),
        1 => {
            let record = things.record(put.0[0]);
            Some(Authority::Head(record.head.to_vec().into()))
        }
        2 => Some(Authority::Ask),
        _ => None,
    };
    message::encode(&ClaimBlobs {
        namespace: writer().namespace(),
        tag: things.records[0].key.tag,
        put,
        blobs: (0..=blobs % 66).map(entry).collect(),
        authority,
    })
}
