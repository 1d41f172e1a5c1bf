//! Every error, by layer.
//!
//! - [`ConfigError`]: before a node exists.
//! - [`Busy`]: a command refused whole, before any state changed; the argument
//!   comes back. [`PushError`]: the part of a put's data that was not taken.
//! - [`PeerFault`]: a peer broke the protocol; its session was closed. These
//!   never come back from [`crate::Node::handle`], only as events.
//! - [`OpError`]: how an operation failed; each says what became of it.

use alloc::format;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::disk::DiskError;
use crate::id::NodeId;
use crate::version::{RecordId, Version};

/// A configuration that cannot work. No node was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no key to prove or accept.
    #[error("no cluster key is given; a node needs at least one")]
    NoClusterKey,
    /// W must be more than half of R and at most R.
    #[error(
        "{durable} durable copies of {replicas} replicas cannot work: more than half and at most all must be durable"
    )]
    Quorum {
        /// R as given.
        replicas: u8,
        /// W as given.
        durable: u8,
    },
    /// The chunk size is out of range.
    #[error("a chunk of {0} bytes cannot be used: it must be a power of two from 64 KiB to 1 MiB")]
    ChunkBytes(u32),
    /// The padding is out of range.
    #[error("padding to {0} bytes cannot be used: it must be from 1 to the chunk size")]
    PadBytes(u32),
    /// An address is too long.
    #[error("an address of {bytes} bytes is too long: at most 256 are told to peers")]
    LongAddress {
        /// Its length.
        bytes: usize,
    },
    /// The node denies itself.
    #[error("the node's own id is on its deny list")]
    DeniesItself,
    /// More nodes may store than the map may hold.
    #[error("{allowed} nodes may store here, but the limit `members` is {members}")]
    ManyAllowed {
        /// Nodes on the list, and this one.
        allowed: usize,
        /// The limit.
        members: u32,
    },
    /// A limit is zero.
    #[error("the limit `{0}` is zero; it must be at least 1")]
    ZeroLimit(&'static str),
    /// The member map would not fit in one message.
    #[error("a map of {members} members cannot be exchanged: at most {max}")]
    TooManyMembers {
        /// As given.
        members: u32,
        /// The most that fit.
        max: u32,
    },
    /// Too few requests may be outstanding.
    #[error("{0} requests at once are too few for a session: at least 8")]
    FewRequests(u32),
    /// The memory does not hold what the other limits allow.
    #[error("{memory} bytes of memory are too few for these limits: at least {needed}")]
    LittleMemory {
        /// As given.
        memory: usize,
        /// The least that works.
        needed: usize,
    },
    /// Less bandwidth than a session needs.
    #[error("{0} bytes per second are too few for sessions to stand: at least 65,536")]
    LittleBandwidth(u64),
    /// A peer could not have one blob kept.
    #[error("{0} bytes on their way for one peer are too few: at least 1,048,584, one blob")]
    PeerBytes(u64),
    /// A deadline is zero.
    #[error("the deadline `{0}` is zero; it must be longer")]
    ZeroDeadline(&'static str),
    /// Two deadlines are the wrong way round.
    #[error("the deadline `{shorter}` must be shorter than `{longer}`")]
    Order {
        /// The one that must be shorter.
        shorter: &'static str,
        /// The one that must be longer.
        longer: &'static str,
    },
}

/// A command refused because a limit is reached or the node is not ready:
/// nothing changed, and the argument comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Busy<T>(pub T);

/// Data that a put did not take; what was in front of it has been taken.
#[derive(Debug, PartialEq, Eq)]
pub enum PushError {
    /// There is no room now; [`crate::Event::Writable`] tells when to try
    /// again.
    Busy(Bytes),
    /// The operation takes no more: it ended, was finished, or never was.
    Gone(Bytes),
}

/// How a peer broke the protocol. Its session was closed; nothing of what
/// broke it was acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// It did not finish admission in time.
    #[error("admission took too long")]
    AdmissionTimeout,
    /// It speaks another major version.
    #[error("it speaks protocol version {0}, this node speaks {ours}", ours = crate::wire::VERSION)]
    Version(u16),
    /// It does not know a cluster key that this node accepts.
    #[error("it proved no cluster key that is accepted here")]
    WrongKey,
    /// It is on this node's deny list.
    #[error("it is denied here")]
    Denied,
    /// It claims to be this node.
    #[error("it is this node itself")]
    Myself,
    /// It is not the node that was dialled.
    #[error("it is another node than the one expected")]
    WrongPeer,
    /// A frame was malformed or over its limit.
    #[error("it sent a malformed or over-long frame")]
    BadFrame,
    /// A message could not be decoded.
    #[error("it sent a malformed message")]
    BadMessage,
    /// A message came where it must not.
    #[error("it sent a message out of turn")]
    OutOfTurn,
    /// It sent data or an answer that nobody asked for.
    #[error("it sent what was not asked for")]
    Unrequested,
    /// It exceeded the requests that it was told it may have outstanding.
    #[error("it has more requests outstanding than it was told it may")]
    TooManyRequests,
    /// It was silent for too long, took nothing of what was sent to it, or did
    /// not come to the end of a frame.
    #[error("it was silent, took nothing, or left a frame unfinished, for too long")]
    Silent,
}

/// How an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// No version of this name is known. Nothing changed.
    #[error("there is no such file")]
    NotFound,
    /// The version that was to be restored removed the file. Nothing changed.
    #[error("that version removed the file: it has no content to restore")]
    NothingToRestore,
    /// Too few replicas could be reached. For a put or remove that had sent
    /// its record the outcome is unknown, which `unknown` says; otherwise the
    /// name is unchanged. For a get that asked for what is confirmed: too few
    /// replicas hold the newest version.
    #[error("{copies} of {needed} required copies{}", doubt(*unknown))]
    Unavailable {
        /// Durable copies, or answers, that there were.
        copies: u8,
        /// How many are required.
        needed: u8,
        /// Whether the record had been sent to any replica.
        unknown: bool,
    },
    /// As many copies are owed to members that are away as may be remembered.
    /// The name is unchanged.
    #[error("{debts} copies are owed to members that are away, and no more may be")]
    Indebted {
        /// How many are owed.
        debts: usize,
    },
    /// A member's quota leaves no room: too few others are left for the
    /// required copies. The name is unchanged, unless `unknown`.
    #[error("{member} keeps at most {limit} bytes {of} and has {used}{}", doubt(*unknown))]
    OverQuota {
        /// Whose quota.
        member: NodeId,
        /// What it counts.
        of: QuotaOf,
        /// How many bytes there may be.
        limit: u64,
        /// How many there are.
        used: u64,
        /// Whether the record had been sent to any replica, and is perhaps
        /// kept by one.
        unknown: bool,
    },
    /// The replicas that answer hold nothing as new as what this node has seen
    /// of the name at W of them: they were set back, or they lie, or those that
    /// hold it cannot be reached. Nothing changed. A get may be told to take
    /// what there is ([`crate::Get::older`]); a put goes above both.
    #[error(
        "{}, and this node has seen version {}: replicas that hold that one are away, were set back or lie; try again, accept the older one, or write the file anew",
        found_of(*found), seen.version
    )]
    Older {
        /// The newest that was found, if any.
        found: Option<RecordId>,
        /// The newest that this node has seen.
        seen: RecordId,
    },
    /// A confirmed answer was asked for and too few replicas answered.
    #[error("unconfirmed: {answered} of {needed} required answers")]
    Unconfirmed {
        /// Replicas that answered.
        answered: u8,
        /// How many are required.
        needed: u8,
    },
    /// No replica could supply a piece of the file undamaged. For a restore:
    /// the name is unchanged.
    #[error("a piece of the file could not be had from any replica")]
    Missing,
    /// The keys do not open the record, or it contradicts itself.
    #[error("the file's record cannot be opened: {0}")]
    Unreadable(&'static str),
    /// The range ends before it starts or starts past the end.
    #[error("the range {start}..{end} does not lie in a file of {size} bytes")]
    Range {
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// No version lies above the one that is there.
    #[error("no version lies above {0}")]
    NoVersion(Version),
    /// The file is larger than a manifest can describe.
    #[error("the file is larger than a manifest can describe")]
    TooLarge,
    /// This node's own store failed, and the operation needed it.
    #[error("this node's store failed: {0}")]
    Disk(DiskError),
    /// The caller cancelled it. For a put or remove that had sent its record
    /// the outcome is unknown.
    #[error("cancelled{}", doubt(*unknown))]
    Cancelled {
        /// Whether the record had been sent to any replica.
        unknown: bool,
    },
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaOf {
    /// Bytes that are kept of a namespace.
    Namespace,
    /// Bytes that are on their way at once for one peer.
    Peer,
}

impl fmt::Display for QuotaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "of this namespace",
            Self::Peer => "on their way for one peer",
        })
    }
}

fn found_of(found: Option<RecordId>) -> String {
    found.map_or("no such file was found".into(), |found| {
        format!("the newest version found is {}", found.version)
    })
}

fn doubt(unknown: bool) -> &'static str {
    if unknown {
        "; whether the new version took hold is not known"
    } else {
        ""
    }
}
