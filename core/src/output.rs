//! What a node tells its driver and its embedder, and what they can ask it.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::disk::DiskError;
use crate::error::{OpError, PeerFault};
use crate::id::{BlobId, ConnId, NodeId, OpId, PutId};
use crate::input::{CloseReason, PeerAddr};
use crate::members::Member;
use crate::seal::{Name, Reader, Writer};
use crate::time::{Instant, UnixMillis};
use crate::version::Version;

/// What a put is told at its start; the file's bytes follow by
/// [`crate::Node::push`].
#[derive(Clone, Debug)]
pub struct Put {
    /// The namespace, by its secret.
    pub writer: Writer,
    /// The file's name.
    pub name: Name,
    /// When the file was last changed, if that is to be kept.
    pub modified: Option<UnixMillis>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Get {
    /// The namespace, by its read key.
    pub reader: Reader,
    /// The file's name.
    pub name: Name,
    /// Which bytes; all if `None`. A range that reaches past the end is cut
    /// there; one that starts past it is an error.
    pub range: Option<Range<u64>>,
    /// Fail rather than answer with a version that too few replicas confirm.
    pub confirmed: bool,
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct Remove {
    /// The namespace, by its secret.
    pub writer: Writer,
    /// The file's name.
    pub name: Name,
}

/// Whose local copies to forget.
#[derive(Clone, Debug)]
pub struct Forget {
    /// The namespace, by its read key.
    pub reader: Reader,
    /// The file's name.
    pub name: Name,
}

/// Something that happened, from [`crate::Node::poll_event`].
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The store is loaded: from now on commands are taken.
    Ready,
    /// Open a stream to `addr` and report it as `conn`: `Opened`, or
    /// `DialFailed`.
    Dial {
        /// What to call it.
        conn: ConnId,
        /// Where.
        addr: PeerAddr,
        /// Who must be there, if that is known.
        expect: Option<NodeId>,
    },
    /// Send what [`crate::Node::poll_transmit`] still has, then close.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// A peer was admitted.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// An admitted peer's session ended.
    PeerDown {
        /// Who.
        peer: NodeId,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
    },
    /// A connection ended before admission.
    Refused {
        /// The connection.
        conn: ConnId,
        /// Who its channel said was there.
        peer: Option<NodeId>,
        /// What it did wrong, if that was why.
        fault: Option<PeerFault>,
        /// How it ended.
        reason: Option<CloseReason>,
    },
    /// The member map changed.
    Members,
    /// A peer has for long placed by other members, weights or zones than this
    /// node: what one of them stores the other may look for elsewhere. Most
    /// often their policies differ ([`crate::Policy`]). [`PeerStatus::differs`]
    /// tells whether it still does.
    MapDiffers {
        /// Who.
        peer: NodeId,
    },
    /// A get has found its file; its bytes follow.
    Opened {
        /// The operation.
        op: OpId,
        /// The file.
        file: FileInfo,
    },
    /// [`crate::Node::poll_data`] has bytes for this get.
    Readable {
        /// The operation.
        op: OpId,
    },
    /// A put that was busy takes data again.
    Writable {
        /// The operation.
        op: OpId,
    },
    /// How far an operation has come: one value, the latest.
    Progress {
        /// The operation.
        op: OpId,
        /// Plaintext bytes durable at W replicas (put), handed to the caller
        /// (get), or looked at (forget).
        bytes: u64,
    },
    /// An operation ended. A put that ended well may still settle.
    Finished {
        /// The operation.
        op: OpId,
        /// How.
        result: Result<Outcome, OpError>,
    },
    /// A put or remove has all R copies of everything. Comes after
    /// `Finished`, perhaps much later, perhaps never.
    Settled {
        /// The operation.
        op: OpId,
    },
    /// A peer sent something whose hash, signature or seal is wrong.
    Lied {
        /// Who.
        peer: NodeId,
    },
    /// This store's copy of a blob was damaged and has been dropped; reads
    /// come from other replicas.
    Damaged {
        /// Which blob.
        blob: BlobId,
    },
    /// The store failed at something that no operation waits for.
    Trouble(DiskError),
}

/// How an operation ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A put: the file is durable.
    Stored(Stored),
    /// A get: every byte asked for was handed over.
    Read(FileInfo),
    /// A remove: the tombstone is durable.
    Removed(Stored),
    /// A forget: so many local blobs were dropped.
    Forgotten {
        /// Blobs dropped here.
        blobs: u64,
        /// Blobs kept, as too few other replicas have them.
        kept: u64,
    },
}

/// A version that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// The put that wrote it.
    pub put: PutId,
    /// The file's size in bytes.
    pub size: u64,
    /// Copies of its record that were durable when it finished, W to R. The
    /// blobs had at least W each.
    pub copies: u8,
    /// How many there are to be: R.
    pub replicas: u8,
}

/// What a reader learns of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name.
    pub name: Name,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, as its writer said.
    pub modified: Option<UnixMillis>,
    /// The version read.
    pub version: Version,
    /// The bytes that are handed over.
    pub range: Range<u64>,
    /// Set if fewer replicas than a confirmed read needs have answered: there
    /// may be a newer version.
    pub unconfirmed: Option<Unconfirmed>,
}

/// How many replicas stand behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Replicas that answered.
    pub answered: u8,
    /// Answers that a confirmed read needs.
    pub needed: u8,
}

/// Why a node wants to be woken, with [`crate::Node::poll_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wake {
    /// Something is undrained.
    Undrained,
    /// A connection's admission.
    Admission,
    /// A session's sign of life.
    KeepAlive,
    /// A request's progress.
    Request,
    /// A read's missing answers.
    Answer,
    /// An operation's progress.
    Operation,
    /// An address to dial again.
    Dial,
    /// A peer's member map that differs.
    Members,
}

/// A look at a node, for people and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Whether its store is loaded.
    pub ready: bool,
    /// The member map as this node's policy lets it count, in order of node id.
    pub members: Vec<(NodeId, Member)>,
    /// Admitted sessions.
    pub peers: Vec<PeerStatus>,
    /// Nodes that get no session, in order of node id.
    pub denied: Vec<NodeId>,
    /// Operations of the embedder that run.
    pub operations: usize,
    /// Copies owed to members that are away.
    pub debts: usize,
    /// Bytes of files in memory.
    pub memory: usize,
}

impl Status {
    /// How many members hold data.
    pub fn active(&self) -> usize {
        self.members
            .iter()
            .filter(|(_, member)| member.is_active())
            .count()
    }
}

/// One admitted session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who.
    pub peer: NodeId,
    /// The connection that carries it.
    pub conn: ConnId,
    /// The address it was dialled at, if this node dialled.
    pub addr: Option<String>,
    /// Since when it has placed by other members, weights or zones than this
    /// node, if it does.
    pub differs: Option<Instant>,
}
