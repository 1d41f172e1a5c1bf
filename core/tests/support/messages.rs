//! Values of every message: those that vectors write down, and any others.

use peerhold_core::disk::{Part, RecordKey};
use peerhold_core::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use peerhold_core::members::{Member, MemberEntry, State};
use peerhold_core::version::{RecordId, Version};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{
    ADDRESSES_MAX, Authority, BlobEntry, ClaimAnswer, ClaimBlobs, Claimed, DamagedRow, Fetch,
    Found, Hello, History, Keep, List, Lookup, MembersUpdate, PAGE_MAX, PeerEntry, PeersUpdate,
    Proof, Quota, RecordParts, Refusal, Refused, RowParts, Rows, kind,
};
use quickcheck::{Arbitrary, Gen};

use super::{Debug, Decode, Encode};

/// What messages have in common.
pub(crate) trait Message: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug {}

impl<M: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug> Message for M {}

/// Who is shown messages of all types.
pub(crate) trait Visitor {
    /// One message, the name of its vector and what stands in its header.
    fn visit<M: Message>(
        &mut self,
        name: &'static str,
        kind: u8,
        flags: Flags,
        request: u32,
        value: M,
    );
}

const NONE: Flags = Flags::NONE;
const ANSWER: Flags = Flags::RESPONSE;
const NAMESPACE: NamespaceId = NamespaceId([0x11; 32]);
const TAG: NameTag = NameTag([0x22; 32]);
const PUT: PutId = PutId([0x33; 16]);
const A: BlobId = BlobId([0x44; 32]);
const ID: RecordId = RecordId {
    version: Version::from_bytes([0x55; 16]),
    head: [0x66; 32],
};

/// Shows every message that a vector writes down.
pub(crate) fn every_message(v: &mut impl Visitor) {
    admission(v);
    updates(v);
    blobs(v);
    records(v);
    listings(v);
    refusals(v);
}

fn admission(v: &mut impl Visitor) {
    let hello = |version, features, nonce, requests| Hello {
        version,
        features,
        nonce: [nonce; 32],
        requests,
    };
    v.visit("hello", kind::HELLO, NONE, 0, hello(1, 0, 0x77, 512));
    let greatest = hello(u16::MAX, u64::MAX, 0xff, u32::MAX);
    v.visit("hello-greatest", kind::HELLO, NONE, 0, greatest);
    let proof = Proof {
        key: [0x88; 8],
        mac: [0x99; 32],
    };
    v.visit("proof", kind::PROOF, NONE, 0, proof);
}

fn updates(v: &mut impl Visitor) {
    let entry = |node, counter, state, weight, zone| MemberEntry {
        node: NodeId([node; 32]),
        member: Member {
            counter,
            state,
            weight,
            zone,
        },
    };
    let none = MembersUpdate {
        entries: Vec::new(),
        holding: false,
    };
    v.visit("members-none", kind::MEMBERS, NONE, 0, none);
    let some = MembersUpdate {
        entries: vec![
            entry(0x51, 1, State::Joining, 0, 0),
            entry(0x52, u64::MAX, State::Gone, u16::MAX, u16::MAX),
            entry(0x53, 300, State::Active, 100, 7),
            entry(0x54, 70_000, State::Leaving, 1, 0),
        ],
        holding: true,
    };
    v.visit("members", kind::MEMBERS, NONE, 0, some);

    let none = PeersUpdate { peers: Vec::new() };
    v.visit("peers-none", kind::PEERS, NONE, 0, none);
    let addresses = [
        "127.0.0.1:3000",
        "[::1]:7000",
        "b\u{fc}cher.example:5000",
        "x",
    ];
    let peer = |node, addresses: &[&str]| PeerEntry {
        node: NodeId([node; 32]),
        addresses: addresses.iter().map(|text| (*text).into()).collect(),
    };
    let some = PeersUpdate {
        peers: vec![peer(0x51, &[]), peer(0x52, &addresses)],
    };
    v.visit("peers", kind::PEERS, NONE, 0, some);
}

fn blobs(v: &mut impl Visitor) {
    let claim = |blobs: &[(u8, u32)]| ClaimBlobs {
        namespace: NAMESPACE,
        tag: TAG,
        put: PUT,
        blobs: blobs
            .iter()
            .map(|&(id, len)| BlobEntry {
                id: BlobId([id; 32]),
                len,
            })
            .collect(),
        authority: None,
    };
    v.visit("claim-one", kind::CLAIM, NONE, 1, claim(&[(0x44, 9)]));
    let two = claim(&[(0x44, 1_048_584), (0x45, 65_536)]);
    v.visit("claim-two", kind::CLAIM, NONE, u32::MAX, two);
    let most: Vec<(u8, u32)> = (0..64).zip(100..).collect();
    v.visit("claim-most", kind::CLAIM, NONE, 2, claim(&most));
    for (name, authority) in [
        ("claim-granted", Authority::Grant(vec![0xaa; 130].into())),
        ("claim-head", Authority::Head(b"head".to_vec().into())),
        ("claim-asks", Authority::Ask),
    ] {
        let authority = Some(authority);
        let claim = ClaimBlobs {
            authority,
            ..claim(&[(0x44, 9)])
        };
        v.visit(name, kind::CLAIM, NONE, 1, claim);
    }

    let claimed = |answers: &[(u8, Option<Refusal>)]| Claimed {
        answers: answers
            .iter()
            .map(|&(index, refusal)| ClaimAnswer { index, refusal })
            .collect(),
    };
    let durable = claimed(&[(1, None)]);
    let more = Flags::RESPONSE | Flags::MORE;
    v.visit("claimed-durable-more", kind::CLAIM, more, 1, durable);
    let refused = claimed(&[(0, Some(Refusal::Missing))]);
    v.visit("claimed-refused", kind::CLAIM, ANSWER, 1, refused);
    let both = claimed(&[(63, Some(Refusal::Failed)), (0, None)]);
    v.visit("claimed-both", kind::CLAIM, ANSWER, 1, both);

    let fetch = |max| Fetch { id: A, max };
    v.visit("fetch", kind::FETCH, NONE, 3, fetch(1_048_584));
    v.visit("fetch-nothing", kind::FETCH, NONE, 3, fetch(0));
}

fn records(v: &mut impl Visitor) {
    let lookup = |part| Lookup {
        key: RecordKey {
            namespace: NAMESPACE,
            tag: TAG,
        },
        part,
        at: None,
    };
    v.visit("lookup-head", kind::LOOKUP, NONE, 4, lookup(Part::Head));
    v.visit("lookup-meta", kind::LOOKUP, NONE, 5, lookup(Part::Meta));
    v.visit("lookup-all", kind::LOOKUP, NONE, 6, lookup(Part::All));
    let at = Lookup {
        at: Some(ID),
        ..lookup(Part::All)
    };
    v.visit("lookup-at", kind::LOOKUP, NONE, 7, at);

    let found = |record| Found { record };
    v.visit("found-none", kind::LOOKUP, ANSWER, 4, found(None));
    let head = found(Some(parts(b"head", b"", b"")));
    v.visit("found-head", kind::LOOKUP, ANSWER, 4, head);
    let all = found(Some(parts(&[b'h'; 24], &[b'm'; 256], b"c")));
    v.visit("found-all", kind::LOOKUP, ANSWER, 4, all);

    let new = Keep {
        record: parts(b"head", b"meta", b"content"),
        repair: false,
    };
    v.visit("keep-new", kind::KEEP, NONE, 5, new);
    let handed_on = Keep {
        record: parts(b"head", b"meta", b""),
        repair: true,
    };
    v.visit("keep-handed-on", kind::KEEP, NONE, 5, handed_on);
}

fn listings(v: &mut impl Visitor) {
    let list = |after, max| List {
        namespace: NAMESPACE,
        after,
        max,
    };
    v.visit("list-first", kind::LIST, NONE, 8, list(None, PAGE_MAX));
    v.visit("list-on", kind::LIST, NONE, 9, list(Some(TAG), 4256));
    let rows = |rows, more| Rows { rows, more };
    let record = |head, meta| RowParts {
        record: Some(parts(head, meta, b"")),
        damaged: None,
    };
    let damaged = RowParts {
        record: None,
        damaged: Some(DamagedRow { tag: TAG, id: ID }.into()),
    };
    v.visit(
        "listed-none",
        kind::LIST,
        ANSWER,
        8,
        rows(Vec::new(), false),
    );
    let two = vec![record(b"head", b"meta"), damaged];
    v.visit("listed", kind::LIST, ANSWER, 8, rows(two, true));

    let history = |below, max| History {
        key: RecordKey {
            namespace: NAMESPACE,
            tag: TAG,
        },
        below,
        max,
    };
    v.visit("history-first", kind::HISTORY, NONE, 10, history(None, 0));
    let on = history(Some(ID), u32::MAX);
    v.visit("history-on", kind::HISTORY, NONE, 11, on);
    let one = vec![record(&[b'h'; 24], &[b'm'; 256])];
    v.visit("versions", kind::HISTORY, ANSWER, 10, rows(one, false));
}

fn refusals(v: &mut impl Visitor) {
    for (name, reason) in REFUSALS {
        v.visit(name, kind::REFUSED, ANSWER, 6, Refused { reason });
    }
}

const REFUSALS: [(&str, Refusal); 13] = [
    ("refused-missing", Refusal::Missing),
    ("refused-no-space", Refusal::NoSpace),
    ("refused-busy", Refusal::Busy),
    ("refused-not-storing", Refusal::NotStoring),
    ("refused-invalid", Refusal::Invalid),
    ("refused-too-far-ahead", Refusal::TooFarAhead),
    ("refused-too-long", Refusal::TooLong),
    ("refused-cancelled", Refusal::Cancelled),
    ("refused-failed", Refusal::Failed),
    ("refused-unauthorized", Refusal::Unauthorized),
    ("refused-not-replica", Refusal::NotReplica),
    (
        "refused-namespace-quota",
        Refusal::NamespaceQuota(Quota {
            limit: 1 << 40,
            used: 70_000,
        }),
    ),
    (
        "refused-peer-quota",
        Refusal::PeerQuota(Quota {
            limit: u64::MAX,
            used: 0,
        }),
    ),
];

fn parts(head: &[u8], meta: &[u8], content: &[u8]) -> RecordParts {
    RecordParts {
        head: head.to_vec().into(),
        meta: meta.to_vec().into(),
        content: content.to_vec().into(),
    }
}

/// Any message of any type.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    Hello(Hello),
    Proof(Proof),
    Members(MembersUpdate),
    Peers(PeersUpdate),
    Claim(ClaimBlobs),
    Claimed(Claimed),
    Fetch(Fetch),
    Lookup(Lookup),
    Found(Found),
    Keep(Keep),
    List(List),
    History(History),
    Rows(Rows),
    Refused(Refused),
}

impl Any {
    pub(crate) fn visit(self, v: &mut impl Visitor) {
        match self {
            Self::Hello(value) => v.visit("", 0, NONE, 0, value),
            Self::Proof(value) => v.visit("", 0, NONE, 0, value),
            Self::Members(value) => v.visit("", 0, NONE, 0, value),
            Self::Peers(value) => v.visit("", 0, NONE, 0, value),
            Self::Claim(value) => v.visit("", 0, NONE, 0, value),
            Self::Claimed(value) => v.visit("", 0, NONE, 0, value),
            Self::Fetch(value) => v.visit("", 0, NONE, 0, value),
            Self::Lookup(value) => v.visit("", 0, NONE, 0, value),
            Self::Found(value) => v.visit("", 0, NONE, 0, value),
            Self::Keep(value) => v.visit("", 0, NONE, 0, value),
            Self::List(value) => v.visit("", 0, NONE, 0, value),
            Self::History(value) => v.visit("", 0, NONE, 0, value),
            Self::Rows(value) => v.visit("", 0, NONE, 0, value),
            Self::Refused(value) => v.visit("", 0, NONE, 0, value),
        }
    }
}

impl Arbitrary for Any {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 14 {
            0 => Self::Hello(Hello {
                version: u16::arbitrary(g),
                features: u64::arbitrary(g),
                nonce: array(g),
                requests: u32::arbitrary(g),
            }),
            1 => Self::Proof(Proof {
                key: array(g),
                mac: array(g),
            }),
            2 => Self::Members(MembersUpdate {
                entries: list(g, member),
                holding: bool::arbitrary(g),
            }),
            3 => Self::Peers(PeersUpdate {
                peers: list(g, |g| PeerEntry {
                    node: NodeId(array(g)),
                    addresses: (0..usize::arbitrary(g) % (ADDRESSES_MAX + 1))
                        .map(|_| String::arbitrary(g))
                        .collect(),
                }),
            }),
            4 => Self::Claim(ClaimBlobs {
                namespace: NamespaceId(array(g)),
                tag: NameTag(array(g)),
                put: PutId(array(g)),
                blobs: list(g, |g| BlobEntry {
                    id: BlobId(array(g)),
                    len: u32::arbitrary(g),
                }),
                authority: authority(g),
            }),
            5 => Self::Claimed(Claimed {
                answers: list(g, |g| ClaimAnswer {
                    index: u8::arbitrary(g),
                    refusal: bool::arbitrary(g).then(|| refusal(g)),
                }),
            }),
            6 => Self::Fetch(Fetch {
                id: BlobId(array(g)),
                max: u32::arbitrary(g),
            }),
            7 => Self::Lookup(Lookup {
                key: RecordKey {
                    namespace: NamespaceId(array(g)),
                    tag: NameTag(array(g)),
                },
                part: *g.choose(&[Part::Head, Part::Meta, Part::All]).unwrap(),
                at: bool::arbitrary(g).then(|| record_id(g)),
            }),
            8 => Self::Found(Found {
                record: bool::arbitrary(g).then(|| record(g)),
            }),
            9 => Self::Keep(Keep {
                record: record(g),
                repair: bool::arbitrary(g),
            }),
            10 => Self::List(List {
                namespace: NamespaceId(array(g)),
                after: bool::arbitrary(g).then(|| NameTag(array(g))),
                max: u32::arbitrary(g),
            }),
            11 => Self::History(History {
                key: RecordKey {
                    namespace: NamespaceId(array(g)),
                    tag: NameTag(array(g)),
                },
                below: bool::arbitrary(g).then(|| record_id(g)),
                max: u32::arbitrary(g),
            }),
            12 => Self::Rows(Rows {
                rows: list(g, |g| RowParts {
                    record: bool::arbitrary(g).then(|| record(g)),
                    damaged: bool::arbitrary(g).then(|| {
                        let (tag, id) = (NameTag(array(g)), record_id(g));
                        DamagedRow { tag, id }.into()
                    }),
                }),
                more: bool::arbitrary(g),
            }),
            _ => Self::Refused(Refused { reason: refusal(g) }),
        }
    }
}

fn array<const N: usize>(g: &mut Gen) -> [u8; N] {
    std::array::from_fn(|_| u8::arbitrary(g))
}

fn list<T>(g: &mut Gen, mut make: impl FnMut(&mut Gen) -> T) -> Vec<T> {
    let len = u8::arbitrary(g) % 20;
    (0..len).map(|_| make(g)).collect()
}

fn member(g: &mut Gen) -> MemberEntry {
    let states = [State::Joining, State::Active, State::Leaving, State::Gone];
    MemberEntry {
        node: NodeId(array(g)),
        member: Member {
            counter: u64::arbitrary(g),
            state: *g.choose(&states).unwrap(),
            weight: u16::arbitrary(g),
            zone: u16::arbitrary(g),
        },
    }
}

fn refusal(g: &mut Gen) -> Refusal {
    g.choose(&REFUSALS).unwrap().1
}

fn authority(g: &mut Gen) -> Option<Authority> {
    let bytes = Vec::arbitrary(g).into();
    match u8::arbitrary(g) % 4 {
        0 => None,
        1 => Some(Authority::Grant(bytes)),
        2 => Some(Authority::Head(bytes)),
        _ => Some(Authority::Ask),
    }
}

fn record_id(g: &mut Gen) -> RecordId {
    RecordId {
        version: Version::from_bytes(array(g)),
        head: array(g),
    }
}

fn record(g: &mut Gen) -> RecordParts {
    let [head, meta, content] = [(); 3].map(|()| Vec::<u8>::arbitrary(g));
    parts(&head, &meta, &content)
}
