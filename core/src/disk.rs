//! Disk operations: what the core asks of a store, and what it gets back.
//!
//! A [`DiskOp`] owns a ticket that cannot be cloned, so only
//! [`DiskOp::complete`] makes the one [`DiskDone`] that answers it. Completion
//! of a write means durable: on stable storage, under its final place, checked
//! against its id. The core never has two operations on one key in flight
//! unless both only read.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::id::{BlobId, NameTag, NamespaceId, NodeId, PutId};
use crate::seal::{META_MAX, SIGNED_HEAD_MAX};
use crate::version::{RecordId, Version};

/// Why a replica keeps a blob: the put that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The blob that is needed.
    pub blob: BlobId,
    /// Its length in bytes, header included.
    pub len: u32,
    /// Whose file it belongs to.
    pub namespace: NamespaceId,
    /// The name that the put writes.
    pub tag: NameTag,
    /// The put.
    pub put: PutId,
}

/// The name of a file as replicas know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct RecordKey {
    /// The owner.
    #[n(0)]
    pub namespace: NamespaceId,
    /// The name, hashed under the owner's name key.
    #[n(1)]
    pub tag: NameTag,
}

/// A record as it is stored: what was received, verbatim. The store reads no
/// more of it than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Whose name it speaks of.
    pub key: RecordKey,
    /// Its place in the history, first by this..
    pub version: Version,
    /// ..then by the BLAKE3 hash of the head.
    pub head_hash: [u8; 32],
    /// The signed head with its signature, as received.
    pub head: Bytes,
    /// The sealed meta.
    pub meta: Bytes,
    /// The sealed content. Empty where only the head or meta was asked for.
    pub content: Bytes,
}

/// How much of a record a read brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Part {
    /// The signed head alone.
    #[n(0)]
    Head,
    /// Head and sealed meta.
    #[n(1)]
    Meta,
    /// Head, meta and content.
    #[n(2)]
    All,
}

impl StoredRecord {
    /// Its place in its name's history.
    pub fn id(&self) -> RecordId {
        RecordId {
            version: self.version,
            head: self.head_hash,
        }
    }
}

/// Some rows of a listing, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows; none only if there are no more.
    pub rows: Vec<Row>,
    /// Whether there are rows behind the last.
    pub more: bool,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// A record: head and sealed meta, no content.
    Record(StoredRecord),
    /// That this store held a record is all that is left of it here.
    Damaged {
        /// The name that it spoke of.
        tag: NameTag,
        /// Which record.
        id: RecordId,
    },
}

impl Row {
    /// Keys, lengths and the like of one row, in bytes.
    pub(crate) const OVERHEAD: usize = 96;
    /// The greatest [`Row::cost`] that a row can have.
    pub const COST_MAX: usize = Self::OVERHEAD + SIGNED_HEAD_MAX + META_MAX;

    /// The name that it speaks of.
    pub fn tag(&self) -> NameTag {
        match self {
            Self::Record(record) => record.key.tag,
            Self::Damaged { tag, .. } => *tag,
        }
    }

    /// Which record.
    pub fn id(&self) -> RecordId {
        match self {
            Self::Record(record) => record.id(),
            Self::Damaged { id, .. } => *id,
        }
    }

    /// What it counts towards the length of a page, in bytes.
    pub fn cost(&self) -> usize {
        match self {
            Self::Record(record) => {
                let len = record.head.len().saturating_add(record.meta.len());
                len.saturating_add(Self::OVERHEAD)
            }
            Self::Damaged { .. } => Self::OVERHEAD,
        }
    }
}

/// A copy that a member still has to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Debt {
    /// The member that lacks it.
    pub target: NodeId,
    /// What it lacks.
    pub owed: Owed,
}

/// What a debt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// A blob, with the claim that the target is to keep.
    Blob {
        /// The claim.
        claim: Claim,
        /// The record that its put has made: its head is the authority to have
        /// the blob kept.
        id: RecordId,
    },
    /// A record, or where nobody has that one any more, a later one of the
    /// same name.
    Record {
        /// Whose name.
        key: RecordKey,
        /// The record that the target has missed.
        id: RecordId,
    },
}

/// What a node has seen of a name: it must not answer with less later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Which name.
    pub key: RecordKey,
    /// The newest of its records that the node has known at W replicas.
    pub id: RecordId,
    /// Which of what was noted this is: later ones have greater numbers.
    pub order: u64,
}

/// What the store is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskKind {
    /// The first operation of every node: count this start durably and answer
    /// [`DiskData::Loaded`].
    Load,
    /// Keep a blob and its claim. The bytes have been checked against the id.
    PutBlob {
        /// The claim; its `blob` is the id of `bytes`.
        claim: Claim,
        /// The blob.
        bytes: Bytes,
    },
    /// If the blob is held, make this claim on it durable. Answers
    /// [`DiskData::Claimed`], or [`DiskError::Quota`] also where the blob is not
    /// held and would be too much for its namespace.
    Claim(Claim),
    /// Say whether a blob is held. Answers [`DiskData::Claimed`], though
    /// nothing is.
    HasBlob(BlobId),
    /// Read a blob whole and check it against its id. Answers
    /// [`DiskData::Blob`].
    GetBlob(BlobId),
    /// Drop the local copy of a blob, its claims with it. Done too if there is
    /// none.
    ForgetBlob(BlobId),
    /// Add a record to its name's history. One that is there is kept once,
    /// unless it has been found damaged: then it is written anew.
    PutRecord(StoredRecord),
    /// Read one record of a name. Answers [`DiskData::Record`], or
    /// [`DiskError::Corrupt`] as long as that one is damaged; for the newest
    /// never an older one instead: until it is put again, or a newer one is.
    GetRecord {
        /// Which name.
        key: RecordKey,
        /// Which of its records; the newest if `None`.
        at: Option<RecordId>,
        /// How much of it.
        part: Part,
    },
    /// Read the newest record of each name of a namespace, in the order of
    /// their tags. Answers [`DiskData::Page`].
    ListNames {
        /// Whose names.
        namespace: NamespaceId,
        /// Begin behind this one.
        after: Option<NameTag>,
        /// The most that the rows' [`Row::cost`] may come to, but for the
        /// first.
        max: u32,
    },
    /// Read the records of a name, the newest first. Answers
    /// [`DiskData::Page`].
    ListVersions {
        /// Which name.
        key: RecordKey,
        /// Begin below this one.
        below: Option<RecordId>,
        /// As for [`DiskKind::ListNames`].
        max: u32,
    },
    /// Keep the member map, replacing the one before.
    PutMembers(Bytes),
    /// Remember debts. One that is there already is kept once.
    PutDebts(Vec<Debt>),
    /// Forget debts that are paid. Those that are not there are passed over.
    ClearDebts(Vec<Debt>),
    /// Note what was seen of these names, each in the place of what was noted
    /// of it before, and forget what was noted of others. Those of which
    /// nothing is noted are passed over.
    NoteSeen {
        /// What to note, of each name once.
        seen: Vec<Seen>,
        /// Names to forget; none that is in `seen`.
        forget: Vec<RecordKey>,
    },
}

/// The resource that an operation touches: operations on one key are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskKey {
    /// The store as a whole, before anything else.
    Start,
    /// One blob and its claims.
    Blob(BlobId),
    /// One name's records.
    Record(RecordKey),
    /// The names of a namespace: read as they are, beside what is written to
    /// any of them.
    Names(NamespaceId),
    /// The member map.
    Members,
    /// The table of debts.
    Debts,
    /// What was seen of names.
    Seen,
}

impl DiskKind {
    /// The key that this operation touches, and whether it only reads it.
    pub fn key(&self) -> (DiskKey, bool) {
        match self {
            Self::Load => (DiskKey::Start, false),
            Self::PutBlob { claim, .. } | Self::Claim(claim) => (DiskKey::Blob(claim.blob), false),
            Self::GetBlob(id) | Self::HasBlob(id) => (DiskKey::Blob(*id), true),
            Self::ForgetBlob(id) => (DiskKey::Blob(*id), false),
            Self::PutRecord(record) => (DiskKey::Record(record.key), false),
            Self::GetRecord { key, .. } | Self::ListVersions { key, .. } => {
                (DiskKey::Record(*key), true)
            }
            Self::ListNames { namespace, .. } => (DiskKey::Names(*namespace), true),
            Self::PutMembers(_) => (DiskKey::Members, false),
            Self::PutDebts(_) | Self::ClearDebts(_) => (DiskKey::Debts, false),
            Self::NoteSeen { .. } => (DiskKey::Seen, false),
        }
    }

    /// Whether it reads a page of a listing, which takes as long as many reads
    /// of one record.
    pub const fn is_page(&self) -> bool {
        matches!(self, Self::ListNames { .. } | Self::ListVersions { .. })
    }

    /// Bytes of payload that the operation carries to the disk.
    pub fn cost(&self) -> usize {
        match self {
            Self::PutBlob { bytes, .. } => bytes.len(),
            Self::PutRecord(r) => [&r.head, &r.meta, &r.content].map(Bytes::len).iter().sum(),
            Self::PutMembers(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// What [`DiskKind::Load`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// How many times this store has been started, this one included: 1 for a
    /// new store.
    pub starts: u64,
    /// The member map as it was last kept.
    pub members: Option<Bytes>,
    /// Debts not yet paid.
    pub debts: Vec<Debt>,
    /// What was noted as seen, in any order.
    pub seen: Vec<Seen>,
    /// How many records the store holds, all versions counted.
    pub records: u64,
    /// How many blobs it holds.
    pub blobs: u64,
    /// How many durable entries of its log could not be read when it was
    /// opened: what they said is lost.
    pub lost: u64,
    /// Its index was missing or unsound, and was made anew when it was opened.
    pub index_rebuilt: bool,
}

/// What a successful operation brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskData {
    /// Nothing: it is done, durably.
    Done,
    /// The state at start.
    Loaded(Loaded),
    /// Whether the blob is held; if so, the claim is durable.
    Claimed {
        /// The blob is held and the claim durable.
        held: bool,
    },
    /// The blob's bytes, checked against its id.
    Blob(Bytes),
    /// The record, if the name has it, or any.
    Record(Option<StoredRecord>),
    /// Rows of a listing.
    Page(Page),
}

/// Why an operation was not done. The store is unchanged unless said
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no such blob here.
    #[error("not in this store")]
    NotFound,
    /// What is stored is not what its id or checksum says. It has been put
    /// out of the way and will not be served again.
    #[error("stored data is damaged")]
    Corrupt,
    /// The disk is full, or the store has reached its configured size.
    #[error("no space left in the store")]
    NoSpace,
    /// The namespace has as many bytes in this store as it may.
    #[error("the namespace may keep {limit} bytes in this store and has {used}")]
    Quota {
        /// How many it may have.
        limit: u64,
        /// How many it has: blobs that it claims, and records.
        used: u64,
    },
    /// A sync failed: what was being written may or may not be there after a
    /// restart. The store takes no more writes.
    #[error("a sync failed; the store takes no more writes until it is opened again")]
    SyncFailed,
    /// The operating system said no.
    #[error("input/output error: {0}")]
    Io(String),
}

/// The right to complete one operation, once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) NonZeroU64);

/// One operation for the store, to be completed exactly once.
#[must_use = "a disk operation must be executed and completed"]
#[derive(Debug)]
pub struct DiskOp {
    ticket: Ticket,
    kind: DiskKind,
}

impl DiskOp {
    pub(crate) fn new(ticket: Ticket, kind: DiskKind) -> Self {
        Self { ticket, kind }
    }

    pub(crate) fn ticket(&self) -> NonZeroU64 {
        self.ticket.0
    }

    /// What to do.
    pub fn kind(&self) -> &DiskKind {
        &self.kind
    }

    /// Reports the outcome.
    pub fn complete(self, result: Result<DiskData, DiskError>) -> DiskDone {
        DiskDone {
            ticket: self.ticket,
            result,
        }
    }

    /// An operation outside any node, for tests and tools that drive a store
    /// by themselves. A node that is handed its completion ignores it.
    pub fn detached(kind: DiskKind) -> Self {
        Self {
            ticket: Ticket(NonZeroU64::MAX),
            kind,
        }
    }
}

/// The outcome of one [`DiskOp`].
#[must_use = "a completion must be handed to the node"]
#[derive(Debug)]
pub struct DiskDone {
    pub(crate) ticket: Ticket,
    pub(crate) result: Result<DiskData, DiskError>,
}

impl DiskDone {
    /// The outcome, for logs and for those who drive a store by themselves.
    pub fn result(&self) -> &Result<DiskData, DiskError> {
        &self.result
    }
}
