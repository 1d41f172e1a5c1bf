//! Messages: what frames mean.
//!
//! Control bodies are CBOR (RFC 8949): maps with numbered fields, unknown ones
//! skipped, so that a field can be added without a new version. The bodies of
//! [`kind::DATA`] frames are bytes of blobs and never become message values.
//! `core/PROTOCOL.md` states them, `tests/vectors/messages.txt` pins them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode};

use super::frame::{self, BODY_MAX, Flags, FrameError};
use crate::disk::{Page, Part, RecordKey, Row, StoredRecord};
use crate::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use crate::members::{MEMBERS_MAX, MemberEntry};
use crate::version::RecordId;

/// The numbers by which frames name their meaning.
pub mod kind {
    /// First frame each way: [`super::Hello`].
    pub const HELLO: u8 = 0x00;
    /// Second frame each way: [`super::Proof`].
    pub const PROOF: u8 = 0x01;
    /// A sign of life is wanted.
    pub const PING: u8 = 0x02;
    /// A sign of life.
    pub const PONG: u8 = 0x03;
    /// [`super::MembersUpdate`].
    pub const MEMBERS: u8 = 0x10;
    /// [`super::PeersUpdate`].
    pub const PEERS: u8 = 0x11;
    /// [`super::ClaimBlobs`], answered by [`super::Claimed`].
    pub const CLAIM: u8 = 0x20;
    /// [`super::Fetch`], answered by DATA frames.
    pub const FETCH: u8 = 0x21;
    /// [`super::Lookup`], answered by [`super::Found`].
    pub const LOOKUP: u8 = 0x22;
    /// [`super::Keep`], answered by an empty frame.
    pub const KEEP: u8 = 0x23;
    /// The request of this id is no longer wanted; its answer may be cut
    /// short by [`REFUSED`].
    pub const CANCEL: u8 = 0x24;
    /// [`super::List`], answered by [`super::Rows`].
    pub const LIST: u8 = 0x25;
    /// [`super::History`], answered by [`super::Rows`].
    pub const HISTORY: u8 = 0x26;
    /// Bytes of a blob, in answer to a fetch.
    pub const DATA: u8 = 0x30;
    /// [`super::Refused`]: any request may be answered so.
    pub const REFUSED: u8 = 0x31;
}

/// The fewest requests that a node may allow its peers: enough for one
/// operation's look-ups, claims and fetches at the same time.
pub const REQUESTS_MIN: u32 = 8;
/// The most blobs that one claim names.
pub const CLAIMS_MAX: usize = 64;
/// The most peers that one update names.
pub const PEERS_MAX: usize = 64;
/// The most addresses of one peer that travel.
pub const ADDRESSES_MAX: usize = 4;

/// The most that the rows of a page may come to, by [`Row::cost`]: a row's is
/// no less than what it takes on the wire, and the rest is for what stands
/// around them in the frame.
pub const PAGE_MAX: u32 = BODY_MAX - 64;
/// The most arrays and maps of indefinite length in one body.
const OPEN_MAX: usize = 128;

/// The most rows of a page: none costs less than one of a damaged record.
pub const ROWS_MAX: usize = PAGE_MAX as usize / Row::OVERHEAD;

/// What a node says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// The protocol's major version.
    #[n(0)]
    pub version: u16,
    /// Optional abilities, a bit each; none is defined yet.
    #[n(1)]
    pub features: u64,
    /// 32 random bytes, so that no proof serves twice.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// How many requests the peer may have outstanding here: at least
    /// [`REQUESTS_MIN`].
    #[n(3)]
    pub requests: u32,
}

/// The proof that a node holds a cluster key.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proof {
    /// A short hash of the key that was used.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub key: [u8; 8],
    /// The keyed hash; see [`crate::admission`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub mac: [u8; 32],
}

impl core::fmt::Debug for Proof {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// The sender's member map, whole: after admission and after every change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MembersUpdate {
    /// The map: at most [`crate::members::MEMBERS_MAX`].
    #[cbor(n(0), decode_with = "list::<{ MEMBERS_MAX as usize }, _, _>")]
    pub entries: Vec<MemberEntry>,
    /// Whether the sender holds any record or blob.
    #[n(1)]
    pub holding: bool,
}

/// Where peers can be reached, the sender first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PeersUpdate {
    /// At most [`PEERS_MAX`].
    #[cbor(n(0), decode_with = "list::<PEERS_MAX, _, _>")]
    pub peers: Vec<PeerEntry>,
}

/// Where one peer can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PeerEntry {
    /// Who.
    #[n(0)]
    pub node: NodeId,
    /// At most [`ADDRESSES_MAX`] addresses.
    #[cbor(n(1), decode_with = "list::<ADDRESSES_MAX, _, _>")]
    pub addresses: Vec<String>,
}

/// Asks a replica to hold blobs of one put. It answers each when it is
/// durable there, after fetching those that it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClaimBlobs {
    /// Whose file they belong to.
    #[n(0)]
    pub namespace: NamespaceId,
    /// The name that the put writes.
    #[n(1)]
    pub tag: NameTag,
    /// The put.
    #[n(2)]
    pub put: PutId,
    /// The blobs, 1 to [`CLAIMS_MAX`].
    #[cbor(n(3), decode_with = "list::<CLAIMS_MAX, _, _>")]
    pub blobs: Vec<BlobEntry>,
    /// What gives it the right to; without any it is refused.
    #[n(4)]
    pub authority: Option<Authority>,
}

/// What lets a claim have bytes kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Authority {
    /// A signed [`crate::seal::Grant`] for the claim's put.
    #[n(0)]
    Grant(#[n(0)] ByteVec),
    /// The signed head of the record that the claim's put has made.
    #[n(1)]
    Head(#[n(0)] ByteVec),
    /// Nothing: whoever claims only asks whether the blobs are there. None is
    /// fetched, and no claim kept.
    #[n(2)]
    Ask,
}

/// One blob of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlobEntry {
    /// The blob.
    #[n(0)]
    pub id: BlobId,
    /// Its length in bytes, header included.
    #[n(1)]
    pub len: u32,
}

/// Some answers to a claim. The last one comes without the MORE flag.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claimed {
    /// Each blob is answered once.
    #[cbor(n(0), decode_with = "list::<CLAIMS_MAX, _, _>")]
    pub answers: Vec<ClaimAnswer>,
}

/// The answer for one blob of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClaimAnswer {
    /// Which of the claim's blobs, counted from 0.
    #[n(0)]
    pub index: u8,
    /// Why not; absent if blob and claim are durable.
    #[n(1)]
    pub refusal: Option<Refusal>,
}

/// Asks for a blob. Whoever asks has room for `max` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fetch {
    /// The blob.
    #[n(0)]
    pub id: BlobId,
    /// A longer one is refused.
    #[n(1)]
    pub max: u32,
}

/// Asks for one record of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lookup {
    /// The name.
    #[n(0)]
    pub key: RecordKey,
    /// How much of it.
    #[n(1)]
    pub part: Part,
    /// Which of its records; the newest if `None`.
    #[n(2)]
    pub at: Option<RecordId>,
}

/// The answer to a look-up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// The record, if the replica has it.
    #[n(0)]
    pub record: Option<RecordParts>,
}

/// A record's parts as they were signed and sealed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RecordParts {
    /// Head and signature.
    #[n(0)]
    pub head: ByteVec,
    /// Sealed meta; empty if only the head was asked for.
    #[n(1)]
    pub meta: ByteVec,
    /// Sealed content; empty if it was not asked for.
    #[n(2)]
    pub content: ByteVec,
}

impl From<&StoredRecord> for RecordParts {
    fn from(record: &StoredRecord) -> Self {
        Self {
            head: record.head.to_vec().into(),
            meta: record.meta.to_vec().into(),
            content: record.content.to_vec().into(),
        }
    }
}

/// Asks a replica to keep a record. It comes whole, as it is small.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Keep {
    /// The record.
    #[n(0)]
    pub record: RecordParts,
    /// Set when it is handed on rather than new from its writer: then its
    /// version may be ahead of the replica's clock.
    #[n(1)]
    pub repair: bool,
}

/// Asks for the newest record of each name of a namespace, in the order of
/// their tags: head and meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct List {
    /// Whose names.
    #[n(0)]
    pub namespace: NamespaceId,
    /// Begin behind this one.
    #[n(1)]
    pub after: Option<NameTag>,
    /// The most that the rows' [`Row::cost`] may come to, but for the first.
    #[n(2)]
    pub max: u32,
}

/// Asks for the records of a name, the newest first: head and meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct History {
    /// The name.
    #[n(0)]
    pub key: RecordKey,
    /// Begin below this one.
    #[n(1)]
    pub below: Option<RecordId>,
    /// As for [`List`].
    #[n(2)]
    pub max: u32,
}

/// The answer to both: a page.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rows {
    /// In order, at most [`ROWS_MAX`].
    #[cbor(n(0), decode_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<RowParts>,
    /// Whether there are rows behind the last.
    #[n(1)]
    pub more: bool,
}

/// One row of a page: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RowParts {
    /// The record, without its content.
    #[n(0)]
    pub record: Option<RecordParts>,
    /// A record that the replica holds no more than the name of. In a box, as
    /// a row is to be small: an empty one is a byte on the wire.
    #[n(1)]
    pub damaged: Option<Box<DamagedRow>>,
}

/// Which record it is that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DamagedRow {
    /// The name.
    #[n(0)]
    pub tag: NameTag,
    /// Which of its records.
    #[n(1)]
    pub id: RecordId,
}

impl From<&Page> for Rows {
    fn from(page: &Page) -> Self {
        let row = |row: &Row| match row {
            Row::Record(record) => RowParts {
                record: Some(RecordParts {
                    head: record.head.to_vec().into(),
                    meta: record.meta.to_vec().into(),
                    content: Vec::new().into(),
                }),
                damaged: None,
            },
            Row::Damaged { tag, id } => RowParts {
                record: None,
                damaged: Some(Box::new(DamagedRow { tag: *tag, id: *id })),
            },
        };
        Self {
            rows: page.rows.iter().map(row).collect(),
            more: page.more,
        }
    }
}

/// A request is not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// Why.
    #[n(0)]
    pub reason: Refusal,
}

/// Why a replica does not do what it was asked. What its number is on the
/// wire stands in PROTOCOL.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not have the blob, and could not get it.
    Missing,
    /// It has no space left.
    NoSpace,
    /// It is too busy, or still starting; later may do.
    Busy,
    /// It holds no data: it is a client.
    NotStoring,
    /// The record or blob is not what it says it is.
    Invalid,
    /// The record's version is more than ten minutes ahead of its clock.
    TooFarAhead,
    /// The blob is longer than was allowed.
    TooLong,
    /// The request was cancelled.
    Cancelled,
    /// Its store failed, or a reason that this version does not know.
    Failed,
    /// The claim's authority is missing, forged, expired, for something else,
    /// or used up.
    Unauthorized,
    /// It is no replica of that, by the member map that both sides have.
    NotReplica,
    /// The namespace has as many bytes there as it may.
    NamespaceQuota(Quota),
    /// The asker has as many bytes on their way there as it may; later will
    /// do.
    PeerQuota(Quota),
}

/// A limit that was reached, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quota {
    /// How many there may be.
    pub limit: u64,
    /// How many there are.
    pub used: u64,
}

impl<C> Encode<C> for Refusal {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let number = match self {
            Self::Missing => 0,
            Self::NoSpace => 1,
            Self::Busy => 2,
            Self::NotStoring => 3,
            Self::Invalid => 4,
            Self::TooFarAhead => 5,
            Self::TooLong => 6,
            Self::Cancelled => 7,
            Self::Failed => 8,
            Self::Unauthorized => 9,
            Self::NotReplica => 10,
            Self::NamespaceQuota(Quota { limit, used }) => {
                return e.array(3)?.u8(11)?.u64(*limit)?.u64(*used)?.ok();
            }
            Self::PeerQuota(Quota { limit, used }) => {
                return e.array(3)?.u8(12)?.u64(*limit)?.u64(*used)?.ok();
            }
        };
        e.u8(number)?.ok()
    }
}

/// By hand: a derived decoder makes an unknown number of an optional field an
/// absent one, and a claim's answer without a reason says that it is held.
impl<'b, C> Decode<'b, C> for Refusal {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::Array {
            return with_numbers(d);
        }
        //# MSG-10: A reason that the receiver does not know MUST count as 8, failed.
        Ok(match d.u64()? {
            0 => Self::Missing,
            1 => Self::NoSpace,
            2 => Self::Busy,
            3 => Self::NotStoring,
            4 => Self::Invalid,
            5 => Self::TooFarAhead,
            6 => Self::TooLong,
            7 => Self::Cancelled,
            9 => Self::Unauthorized,
            10 => Self::NotReplica,
            _ => Self::Failed,
        })
    }
}

/// A reason with what was counted: the reason, the limit, what is used.
fn with_numbers(d: &mut Decoder<'_>) -> Result<Refusal, minicbor::decode::Error> {
    let known = <(u64, u64, u64)>::decode(&mut d.probe(), &mut ());
    d.skip()?;
    let quota = |limit, used| Quota { limit, used };
    Ok(match known {
        Ok((11, limit, used)) => Refusal::NamespaceQuota(quota(limit, used)),
        Ok((12, limit, used)) => Refusal::PeerQuota(quota(limit, used)),
        _ => Refusal::Failed,
    })
}

/// Why a control body is not a message. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not the CBOR that this kind of frame carries.
    #[error("a body is not the message that its frame names")]
    Malformed,
    /// Bytes follow the message.
    #[error("bytes follow a message")]
    Trailing,
    /// A list is longer than it may be, or empty where it may not.
    #[error("a list is longer or shorter than it may be")]
    TooMany,
}

/// Decodes one message, which must fill `body`.
pub fn decode<'b, M: Decode<'b, ()>>(body: &'b [u8]) -> Result<M, MessageError> {
    //# MSG-4: A control body MUST be exactly one CBOR map of the fields in its table, with
    //# nothing behind it; anything else is a fault. A receiver MUST skip fields whose
    //# numbers it does not know.
    check_open(body)?;
    let mut decoder = Decoder::new(body);
    let message = decoder.decode().map_err(|error| match error.is_custom() {
        // Nothing else here makes an error of its own.
        true => MessageError::TooMany,
        false => MessageError::Malformed,
    })?;
    if decoder.position() == body.len() {
        Ok(message)
    } else {
        Err(MessageError::Trailing)
    }
}

/// Who skips an unknown field remembers every array and map of indefinite
/// length that it is in, in more memory than that has bytes, so that they are
/// bounded.
fn check_open(body: &[u8]) -> Result<(), MessageError> {
    let opens = |byte: &&u8| matches!(**byte, 0x9f | 0xbf);
    let mut left = OPEN_MAX;
    // Most bodies have too few such bytes anywhere.
    if body.iter().filter(opens).count() <= left {
        return Ok(());
    }
    let mut d = Decoder::new(body);
    while d.position() < body.len() {
        use minicbor::data::Type;
        let read = match d.datatype() {
            Ok(Type::ArrayIndef) => d.array().map(|_| true),
            Ok(Type::MapIndef) => d.map().map(|_| true),
            Ok(Type::Array) => d.array().map(|_| false),
            Ok(Type::Map) => d.map().map(|_| false),
            Ok(Type::Tag) => d.tag().map(|_| false),
            Ok(_) => d.skip().map(|()| false),
            Err(error) => Err(error),
        };
        match read {
            Ok(true) => left = left.checked_sub(1).ok_or(MessageError::TooMany)?,
            Ok(false) => {}
            Err(_) => return Err(MessageError::Malformed),
        }
    }
    Ok(())
}

/// Decodes a list of at most `MAX` items. Refused before it is read if it says
/// that it is longer: some items are a byte on the wire and a hundred in
/// memory.
pub(crate) fn list<'b, const MAX: usize, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    //# MSG-12: A CLAIM names 1 to 64 blobs and a part of its answer at most 64, PEERS at most
    //# 64 nodes with at most 4 addresses each, MEMBERS at most 1,000 nodes, a page has at most
    //# 682 rows, and any body at most 128 arrays and maps of indefinite length; other numbers
    //# are a fault.
    let too_many = || minicbor::decode::Error::custom(MessageError::TooMany);
    let said = d.array()?;
    let most = match said {
        Some(said) => usize::try_from(said).ok().filter(|said| *said <= MAX),
        None => Some(MAX),
    };
    let most = most.ok_or_else(too_many)?;
    // No item is less than a byte, and none is moved when another one comes.
    let left = d.input().len().saturating_sub(d.position());
    let mut items = Vec::with_capacity(most.min(left));
    while said.is_none() || items.len() < most {
        if said.is_none() && d.datatype()? == minicbor::data::Type::Break {
            d.skip()?;
            break;
        }
        if items.len() == most {
            return Err(too_many());
        }
        items.push(T::decode(d, context)?);
    }
    Ok(items)
}

/// Encodes one message.
pub fn encode<M: Encode<()>>(message: &M) -> Bytes {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = minicbor::encode(message, &mut out);
    out.into()
}

/// Appends one control frame to `out`, or nothing if its body is longer than
/// a frame's may be.
pub fn append(
    out: &mut BytesMut,
    kind: u8,
    flags: Flags,
    request: u32,
    body: &[u8],
) -> Result<(), FrameError> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    frame::encode_header(out, kind, flags, request, len)?;
    out.extend_from_slice(body);
    Ok(())
}

impl ClaimBlobs {
    /// Decodes and checks the list's length.
    pub fn decode_checked(body: &[u8]) -> Result<Self, MessageError> {
        let claim: Self = decode(body)?;
        match claim.blobs.is_empty() {
            true => Err(MessageError::TooMany),
            false => Ok(claim),
        }
    }
}
