//! What the parts of a node wait for, and what comes of it: the words in which
//! they leave word for each other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::disk::{Claim, Debt, DiskError, Page, StoredRecord};
use crate::id::{BlobId, ConnId, NodeId, OpId};
use crate::wire::message::{Quota, Refusal};

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// An operation, at one of its steps.
    Op(OpId, Step),
    /// This node as a replica, which gets a blob for others.
    Acquire(Wanted),
    /// A debt that is being paid.
    Debt(Debt),
    /// The answer changes nothing.
    Nobody,
}

/// Which step of an operation asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What replicas hold of the name.
    Lookup,
    /// The version that a new record is to follow.
    Newest,
    /// The whole of the record that was chosen.
    Body,
    /// The newest record, at replicas that lack it: what was taken for that, by
    /// its number in the operation.
    Copies(u32),
    /// One of a put's blobs, by its number in the put.
    Blob(u64),
    /// One of a get's blobs, by its number in the get.
    Piece(u64),
    /// The record that is being written.
    Record,
    /// Debts that are being written down.
    Debts,
    /// The grant for a put's blobs.
    Grant,
    /// A page of a listing, or what is made of its rows.
    Page,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answer {
    /// The record that was asked for, if it is there. Not verified.
    Record(Option<Box<StoredRecord>>),
    /// Rows of the kind and in the order that were asked for. Not verified.
    Page(Page),
    /// Blob or record are durable there.
    Held,
    /// The blob; `verified` if its hash has been checked on this node.
    Blob { bytes: Bytes, verified: bool },
    /// Nothing came of it.
    No(No),
}

/// Why nothing came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// There is no session with that peer, or it ended.
    Unreachable,
    /// The peer made no progress for too long.
    Silent,
    /// The peer said no.
    Refused(Refusal),
    /// This node's own disk failed.
    Disk(DiskError),
}

/// What a disk operation was for.
#[derive(Debug)]
pub(super) enum DiskTask {
    Load,
    Reach(Waiter),
    /// A peer's request, served from the disk.
    Lookup {
        conn: ConnId,
        request: u32,
    },
    /// A page of the kind of answer that this is.
    Page {
        conn: ConnId,
        request: u32,
        kind: u8,
    },
    Keep {
        conn: ConnId,
        request: u32,
    },
    Serve {
        conn: ConnId,
        request: u32,
    },
    /// With how many bytes its put may have kept, unless its own are counted.
    Claim(ClaimRef, Claim, Option<u64>),
    /// A peer only asks whether a blob is here.
    Asked(ClaimRef),
    /// An acquired blob is being written.
    Acquired(Wanted),
    Members,
    /// A claim that this node makes of itself.
    Hold(Waiter, Claim),
    /// A record for a member that has missed it.
    DebtRecord(Debt),
    DebtsCleared,
    /// What was seen is being written down.
    Seen,
}

impl DiskTask {
    /// Whose connection has asked for it, if it was one.
    pub(super) const fn owner(&self) -> Option<ConnId> {
        match *self {
            Self::Lookup { conn, .. }
            | Self::Page { conn, .. }
            | Self::Keep { conn, .. }
            | Self::Serve { conn, .. }
            | Self::Claim((conn, ..), ..)
            | Self::Asked((conn, ..)) => Some(conn),
            _ => None,
        }
    }

    /// Whether it is peers who want it, and not the node's own embedder or the
    /// node itself, which hear of its outcome otherwise.
    pub(super) const fn is_for_peers(&self) -> bool {
        matches!(
            self,
            Self::Lookup { .. }
                | Self::Page { .. }
                | Self::Keep { .. }
                | Self::Serve { .. }
                | Self::Claim(..)
                | Self::Asked(_)
                | Self::Acquired(_)
                | Self::DebtRecord(_)
        )
    }
}

/// What a job was for.
#[derive(Debug)]
pub(super) enum JobTask {
    Op(OpId, Step),
    /// A peer's record is checked before it is kept.
    Keep {
        conn: ConnId,
        request: u32,
        repair: bool,
    },
    /// A blob is checked before it is kept.
    Acquire(Wanted),
    /// Two records of one version, each with who told of it.
    Fork(Box<[Vec<NodeId>; 2]>),
    /// A peer's record is checked before it is handed on to who lacks it.
    Debt(Debt, NodeId),
    /// What a peer shows with its claims, by its hash.
    Authority(ConnId, [u8; 32]),
}

/// Who wants a blob to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A claim of a peer's, one of its blobs.
    Peer(ClaimRef),
    /// This node itself, for what waits here.
    Own(Waiter),
}

/// One blob of a peer's claim: connection, request, index.
pub(super) type ClaimRef = (ConnId, u32, u8);

/// A blob and the length that its claims give it. Whoever claims one at a
/// wrong length comes to nothing by itself, and hinders nobody else.
pub(super) type Wanted = (BlobId, u32);

/// How a store's failure is told to a peer.
pub(super) fn refusal(error: &DiskError) -> Refusal {
    match *error {
        DiskError::NotFound | DiskError::Corrupt => Refusal::Missing,
        DiskError::NoSpace => Refusal::NoSpace,
        //# QUOTA-1: A replica that limits the bytes of a namespace MUST refuse, as over that
        //# quota, the claim of a blob and the KEEP of a record by which they would be more,
        //# before it fetches anything.
        DiskError::Quota { limit, used } => Refusal::NamespaceQuota(Quota { limit, used }),
        DiskError::SyncFailed | DiskError::Io(_) => Refusal::Failed,
    }
}
